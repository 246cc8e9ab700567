package demo

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"docket/cmd/docket/client"

	"github.com/google/uuid"
)

// theme is the look of all organizations of the demo.
var theme = uuid.NewSHA1(uuid.NameSpaceURL, []byte("docket demo theme"))

func (f *Filler) findRoles(ctx context.Context) (err error) {
	f.roles, err = f.existing(ctx, "/security/roles", func(t thing) string { return t.Name })
	return err
}

func (f *Filler) makeOrganizations(ctx context.Context) error {
	there, err := f.existing(ctx, "/organizations", func(t thing) string { return key(t.Name) })
	if err != nil {
		return err
	}
	f.organizations, err = f.make(ctx, "organizations", f.Sizes.Organizations, there, "/api/v2/organizations", func(n int) (string, object) {
		name := numbered(companies, n)
		return key(name), object{"name": name, "displayName": name, "description": "A customer of the demo.", "themeId": theme}
	})
	if err != nil {
		return err
	}
	return f.awaitVisible(ctx)
}

// awaitVisible waits until the caller's rights reach the new organizations,
// which takes them a moment unless they see everything.
func (f *Filler) awaitVisible(ctx context.Context) error {
	for _, id := range f.organizations {
		err := retry(ctx, func() error {
			err := f.API.Do(ctx, client.Request{Method: http.MethodGet, Path: "/api/v2/organizations/" + id}, nil)
			if client.Is(err, http.StatusNotFound) {
				return &client.Refused{Status: http.StatusServiceUnavailable, Message: "organization " + id + " is not visible to the caller"}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// home is the organization that the nth thing of a kind belongs to.
func (f *Filler) home(n int) string { return f.organizations[n%len(f.organizations)] }

// headquarters begins the names of groups in the caller's own organization,
// which Qlik's API shows to the caller; it knows no organizations below.
const headquarters = "HQ "

func (f *Filler) makeGroups(ctx context.Context) error {
	there, err := f.existing(ctx, "/groups", func(t thing) string {
		if strings.HasPrefix(t.Name, headquarters) {
			return key(t.Name)
		}
		return key(t.Organization.ID, t.Name)
	})
	if err != nil {
		return err
	}
	f.groups, err = f.make(ctx, "groups", f.Sizes.Groups, there, "/api/v2/groups", func(n int) (string, object) {
		name, home := numbered(departments, n/f.groupHomes()), n%f.groupHomes()
		body := object{"name": name, "description": "Everybody in " + name + ".", "isActive": true}
		if home == len(f.organizations) {
			name = headquarters + name
			body["name"] = name
			return key(name), body
		}
		body["organizationId"] = f.organizations[home]
		return key(f.organizations[home], name), body
	})
	return err
}

// groupHomes is how many organizations groups are spread over: the caller's own
// comes last.
func (f *Filler) groupHomes() int { return len(f.organizations) + 1 }

// groupsAt are the groups of the organization with this number.
func (f *Filler) groupsAt(organization int) []string {
	var ids []string
	for n := organization; n < len(f.groups); n += f.groupHomes() {
		ids = append(ids, f.groups[n])
	}
	return ids
}

// usersAt are the users of the organization with this number.
func (f *Filler) usersAt(organization int) []string {
	var ids []string
	for n := organization; n < len(f.users); n += len(f.organizations) {
		ids = append(ids, f.users[n])
	}
	return ids
}

// makeUsers makes people: one in five logs in, the others only receive.
func (f *Filler) makeUsers(ctx context.Context) error {
	there, err := f.existing(ctx, "/users", func(t thing) string { return key(t.Email) })
	if err != nil {
		return err
	}
	f.users = make([]string, f.Sizes.Users)
	return f.stage(ctx, "users", f.Sizes.Users, func(ctx context.Context, n int) (bool, error) {
		r := random("user", n)
		first, last := pick(r, firstNames), pick(r, lastNames)
		email := address(first, last, n)
		if id, ok := there[key(email)]; ok {
			f.users[n] = id
			return false, nil
		}
		body := object{"firstName": first, "lastName": last, "email": email, "isActive": r.IntN(20) > 0, "isoLanguage": pick(r, languages),
			"organizations": []object{ref(f.home(n))}, "groups": some(r.Perm, f.groupsAt(n%len(f.organizations)), 1+r.IntN(3))}
		path := "/api/v2/users/recipients"
		if n%5 == 0 {
			path, body["roles"] = "/api/v2/users", []object{ref(f.roles["Users"])}
		}
		id, err := f.post(ctx, path, body)
		f.users[n] = id
		return true, err
	})
}

// some are up to n of the ids, as references.
func some(permutation func(int) []int, ids []string, n int) []object {
	refs := []object{}
	for _, i := range permutation(len(ids))[:min(n, len(ids))] {
		refs = append(refs, ref(ids[i]))
	}
	return refs
}

func (f *Filler) makeProjects(ctx context.Context) error {
	there, err := f.existing(ctx, "/projects", func(t thing) string { return key(t.Organization.ID, t.Name) })
	if err != nil {
		return err
	}
	f.projects, err = f.make(ctx, "projects", f.Sizes.Projects, there, "/admin/v1/projects", func(n int) (string, object) {
		r, place := random("project", n), n/len(f.organizations)
		name := fmt.Sprintf("%s %s", numbered(departments, place), pick(r, regions))
		reports := make([]object, 2+r.IntN(5))
		for i, s := range r.Perm(len(subjects))[:len(reports)] {
			reports[i] = object{"name": subjects[s], "description": subjects[s] + " for " + name, "type": pick(r, reportTypes)}
		}
		return key(f.home(n), name), object{"name": name, "description": "Reports of " + name, "organizationId": f.home(n), "reports": reports}
	})
	return err
}

func (f *Filler) makeTasks(ctx context.Context) error {
	there, err := f.existing(ctx, "/tasks", func(t thing) string { return key(t.Project.ID, t.Name) })
	if err != nil {
		return err
	}
	f.tasks, err = f.make(ctx, "tasks", f.Sizes.Tasks, there, "/api/v2/tasks", func(n int) (string, object) {
		r, project := random("task", n), f.projects[n%len(f.projects)]
		name := fmt.Sprintf("%s %s %s", pick(r, rhythms), pick(r, subjects), pick(r, regions))
		if round := n / len(f.projects); round > 0 {
			name = fmt.Sprintf("%s %d", name, round+1)
		}
		return key(project, name), object{"name": name, "projectId": project, "description": "Sends " + name + " to those who need it."}
	})
	return err
}

// addRecipients gives every task a group and a few people of its organization.
// A task that has them already refuses, which is fine.
func (f *Filler) addRecipients(ctx context.Context) error {
	return f.stage(ctx, "recipients of tasks", len(f.tasks), func(ctx context.Context, n int) (bool, error) {
		r, organization := random("recipients", n), n%len(f.projects)%len(f.organizations)
		var list []object
		for _, x := range some(r.Perm, f.groupsAt(organization), 1) {
			list = append(list, object{"id": x["id"], "type": "group", "sendEmail": true, "seeInHub": true})
		}
		for _, x := range some(r.Perm, f.usersAt(organization), r.IntN(6)) {
			list = append(list, object{"id": x["id"], "type": "user", "sendEmail": r.IntN(4) > 0, "seeInHub": r.IntN(2) == 0})
		}
		if len(list) == 0 {
			return false, nil
		}
		request := client.Request{Method: http.MethodPost, Path: "/api/v2/tasks/" + f.tasks[n] + "/recipients", Body: list, Key: f.run + "/" + f.tasks[n]}
		err := retry(ctx, func() error { return f.API.Do(ctx, request, nil) })
		if client.Is(err, http.StatusConflict) {
			return false, nil
		}
		return true, err
	})
}

// activateTasks switches four of five tasks on, some at a time.
func (f *Filler) activateTasks(ctx context.Context) error {
	const chunk = 100
	return f.stage(ctx, "activations", (len(f.tasks)+chunk-1)/chunk, func(ctx context.Context, n int) (bool, error) {
		var list []object
		for i := n * chunk; i < min((n+1)*chunk, len(f.tasks)); i++ {
			list = append(list, object{"id": f.tasks[i], "isActive": i%5 != 4})
		}
		return true, retry(ctx, func() error {
			return f.API.Do(ctx, client.Request{Method: http.MethodPut, Path: "/api/v2/tasks/activation", Body: list}, nil)
		})
	})
}
