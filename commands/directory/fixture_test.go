package directory

import (
	"slices"
	"testing"
	"time"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/reporting"
)

// Ids of the tests. Sales and Lab lie below Global; the clerk sees only Sales.
var (
	sales, lab, gone       = id(0x100), id(0x101), id(0x102)
	me, ann, bob           = id(0x110), id(0x111), id(0x112)
	staff, labGroup, chief = id(0x120), id(0x121), id(0x122)
	reader, boss, labRole  = id(0x130), id(0x131), id(0x132)
	north, south           = id(0x140), id(0x141)
	key                    = id(0x150)
	before                 = spec.Now.Add(-time.Hour)
)

func id(n uint32) domain.ID { return domain.WellKnownID(n) }

func ids(list ...domain.ID) []domain.ID { return append([]domain.ID{}, list...) }

func ptr[T any](v T) *T { return &v }

// clerk sees Sales only and holds what managing people takes, and tasks.view.
var clerk = domain.Actor{UserID: me, Tenant: sales, Organizations: ids(sales), Permissions: permissions(
	"users.create", "users.edit", "users.delete", "groups.create", "groups.edit", "groups.delete", "roles.create", "roles.edit", "roles.delete",
	"organizations.create", "organizations.edit", "organizations.delete", "tasks.view", "apiKeys.use")}

func permissions(keys ...string) map[string]bool {
	all := make(map[string]bool)
	for _, k := range keys {
		all[k] = true
	}
	return all
}

func global() directory.OrganizationCreated {
	return directory.OrganizationCreated{ID: directory.GlobalID, Number: 1, Ancestors: ids(), Name: "Global", DisplayName: "Global", CreatedAt: before}
}

func organization(id domain.ID, name string) directory.OrganizationCreated {
	return directory.OrganizationCreated{ID: id, Number: 2, ParentID: &directory.GlobalID, Ancestors: ids(directory.GlobalID), Name: name, DisplayName: name, CreatedAt: before}
}

func group(id, organization domain.ID, roles ...domain.ID) directory.GroupCreated {
	return directory.GroupCreated{ID: id, Number: 3, OrganizationID: organization, Name: "Group", Description: "d", Active: true, Roles: ids(roles...), CreatedAt: before}
}

func role(id, organization domain.ID, permissions ...string) directory.RoleCreated {
	return directory.RoleCreated{ID: id, Number: 4, OrganizationID: organization, Name: "Role", AllProjects: true, Projects: ids(),
		Permissions: append([]string{}, permissions...), Active: true, CreatedAt: before}
}

func user(id domain.ID, organizations ...domain.ID) directory.UserCreated {
	return directory.UserCreated{ID: id, Number: 5, Kind: directory.KindUser, FirstName: "Ann", LastName: "Lee", Email: "ann@example.com", PasswordHash: "h", Active: true,
		Language: "fr", Roles: ids(reader), Organizations: ids(organizations...), Groups: ids(), CreatedAt: before}
}

func recipient(id domain.ID, organizations ...domain.ID) directory.UserCreated {
	u := user(id, organizations...)
	u.Kind, u.Roles = directory.KindRecipient, ids(directory.HubUsersID)
	return u
}

// given is a scenario in which all aggregates of the tests are there.
func given[S domain.State[S]](t *testing.T, events ...domain.Event) spec.Scenario[S] {
	hub := role(directory.HubUsersID, directory.GlobalID, "hubFiles.view")
	hub.System = true
	s := spec.Given[S](t, events...)
	for _, o := range []directory.OrganizationCreated{global(), organization(sales, "Sales"), organization(lab, "Lab")} {
		s = s.Ref(directory.OrganizationStream(o.ID), directory.Organization{}.Apply(o))
	}
	s = s.Ref(directory.OrganizationStream(gone), directory.Organization{}.Apply(organization(gone, "Gone")).Apply(directory.OrganizationDeleted{ID: gone}))
	for _, g := range []directory.GroupCreated{group(staff, sales, reader), group(labGroup, lab), group(chief, sales, reader, boss)} {
		s = s.Ref(directory.GroupStream(g.ID), directory.Group{}.Apply(g))
	}
	for _, r := range []directory.RoleCreated{role(reader, sales, "tasks.view"), role(boss, sales, "tasks.view", "tasks.run"), role(labRole, lab, "tasks.view"), hub} {
		s = s.Ref(directory.RoleStream(r.ID), directory.Role{}.Apply(r))
	}
	for p, o := range map[domain.ID]domain.ID{north: sales, south: lab} {
		s = s.Ref(reporting.ProjectStream(p), reporting.Project{}.Apply(reporting.ProjectPublished{ID: p, OrganizationID: o, Name: "P", Reports: []reporting.Report{}}))
	}
	for _, u := range []directory.UserCreated{user(me, sales), recipient(bob, sales)} {
		s = s.Ref(directory.UserStream(u.ID), directory.User{}.Apply(u))
	}
	return s
}

// many are n distinct ids.
func many(n int) []domain.ID {
	all := make([]domain.ID, n)
	for i := range all {
		all[i] = id(uint32(0x1000 + i))
	}
	return all
}

// with changes an event.
func with[E any](e E, change func(*E)) E {
	change(&e)
	return e
}

var long = string(slices.Repeat([]byte("x"), 2001))
