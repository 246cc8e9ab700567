package qalyptus_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"docket/internal/httpx"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Who may do what, and who sees what.
func TestRights(t *testing.T) {
	root := start(t)
	for name, test := range map[string]func(*testing.T, *api){
		"permissions": neededPermissions, "organizations": organizationScope, "below the caller's organization": administratorBelow,
		"projects of a role": projectScope, "nobody gives more than they have": escalation,
		"keys": credentials, "own permissions": ownPermissions,
	} {
		t.Run(name, func(t *testing.T) { test(t, root.in(t)) })
	}
}

// unguarded are the operations that any user with a key may call: about oneself,
// and names of roles to choose from.
var unguarded = map[string]bool{"100": true, "105": true, "178": true}

// Every operation asks for its permission, before it looks at anything else.
func neededPermissions(t *testing.T, a *api) {
	nobody, _ := a.member(global, object{})
	for _, registered := range a.APIs() {
		if registered.Dialect().Name != "qalyptus" {
			continue
		}
		for _, op := range registered.Operations() {
			if unguarded[op.ID] || op.Permission == "apiKeys.use" {
				require.Contains(t, []string{"", "apiKeys.use"}, op.Permission)
				continue
			}
			refusal := nobody.refused(http.StatusForbidden, op.Method, nowhere(op), map[bool]any{true: "{", false: nil}[op.Method != http.MethodGet])
			require.Contains(t, refusal["error"], op.Permission)
			a.as("").refused(http.StatusUnauthorized, op.Method, nowhere(op), nil)
		}
	}
	for id := range unguarded {
		for _, op := range operation(a, id) {
			nobody.Do(op.Method, op.Full, nil).Is(http.StatusOK)
		}
	}
}

func operation(a *api, id string) (found []httpx.Operation) {
	for _, registered := range a.APIs() {
		for _, op := range registered.Operations() {
			if registered.Dialect().Name == "qalyptus" && op.ID == id {
				found = append(found, op)
			}
		}
	}
	return found
}

// everyRight are the permissions that this API's operations need.
func everyRight(a *api) (all []string) {
	for _, registered := range a.APIs() {
		for _, op := range registered.Operations() {
			if registered.Dialect().Name == "qalyptus" && op.Permission != "" {
				all = append(all, op.Permission)
			}
		}
	}
	return append(all, "projects.create")
}

// What stands in another organization doesn't exist for one.
func organizationScope(t *testing.T, a *api) {
	here, there := a.create("/organizations", organizationBody(unique("Here"))), a.create("/organizations", organizationBody(unique("There")))
	m, _ := a.member(id(here), object{}, everyRight(a)...)
	theirs := map[string]object{
		"/groups": a.create("/groups", object{"name": "G", "organizationId": id(there)}), "/organizations": there,
		"/projects": a.project("P", id(there)), "/users": a.create("/users", userBody(id(there))), "/users/recipients": a.create("/users/recipients", userBody(id(there))),
	}
	theirs["/tasks"] = a.create("/tasks", object{"name": "T", "projectId": theirs["/projects"]["id"]})
	elsewhere := a.as(a.issue(id(theirs["/users"]), id(there))) // may not use keys: nothing but a holder
	require.Equal(t, http.StatusUnauthorized, elsewhere.Get("/api/v2/users/profile").Status)
	other, _ := a.member(id(there), object{}, "apiKeys.use", "roles.create", "roles.view")
	theirs["/security/roles"] = other.create("/security/roles", roleBody())
	theirs["/api-keys/admin"] = with(other.create("/api-keys", object{"name": "K", "expiryDate": soon()}), nil)

	good := map[string]any{
		"/groups": object{"name": "X"}, "/organizations": organizationBody("X"), "/users": userBody(id(here)), "/users/recipients": userBody(id(here)),
		"/tasks": taskBody(), "/security/roles": roleBody(),
	}
	for collection, thing := range theirs {
		path := collection + "/" + id(thing)
		if collection != "/api-keys/admin" {
			m.missing(path)
		}
		if body := good[collection]; body != nil {
			m.refused(http.StatusNotFound, http.MethodPut, path, body)
		}
		if collection == "/users/recipients" {
			collection, path = "/users", "/users/"+id(thing)
		}
		m.refused(http.StatusNotFound, http.MethodDelete, path, nil)
		var several any = []string{id(thing)}
		if collection == "/projects" {
			several = refs(id(thing))
		}
		m.refused(http.StatusNotFound, http.MethodDelete, collection, several)
		for _, listed := range m.list(collection + "?get_all=true") {
			require.NotEqual(t, id(thing), id(listed.(object)))
		}
	}
	task := id(theirs["/tasks"])
	for _, path := range []string{"/tasks/" + task + "/recipients", "/groups/" + id(theirs["/groups"]) + "/members", "/organizations/" + id(there) + "/members"} {
		m.missing(path)
	}
	m.refused(http.StatusNotFound, http.MethodPost, "/tasks/"+task+"/duplicate", object{})
	m.refused(http.StatusNotFound, http.MethodPut, "/tasks/activation", []object{{"id": task, "isActive": true}})
	m.refused(http.StatusNotFound, http.MethodPut, "/groups/members", object{"groupId": id(theirs["/groups"]), "name": "X", "userIds": []string{}})
	m.refused(http.StatusNotFound, http.MethodPost, "/users/recipients/"+id(theirs["/users/recipients"])+"/convert", object{"roles": refs(usersRole), "isActive": true, "language": "en"})
	m.refused(http.StatusBadRequest, http.MethodPost, "/groups", object{"name": "X", "organizationId": id(there)}, "organizationId")
	m.refused(http.StatusBadRequest, http.MethodPost, "/users", userBody(id(there)), "organizations[0].id")
	m.refused(http.StatusBadRequest, http.MethodPost, "/tasks", object{"name": "T", "projectId": id(theirs["/projects"])}, "projectId")
	mine := m.create("/tasks", object{"name": "T", "projectId": id(a.project("P", id(here)))})
	m.refused(http.StatusBadRequest, http.MethodPost, "/tasks/"+id(mine)+"/recipients", []object{recipientOf(theirs["/users"], "user")}, "[0].id")

	// Totals count what one sees.
	for _, path := range []string{"/tasks", "/organizations", "/projects"} {
		require.EqualValues(t, 1, m.Get("/api/v2" + path).Map()["pagination"].(object)["totalItems"], path)
	}
	require.EqualValues(t, 0, m.Get("/api/v2/tasks?project_id=" + id(theirs["/projects"])).Map()["pagination"].(object)["totalItems"])

	// Of somebody who is in both, one sees what is here, and changes no more.
	group := a.create("/groups", object{"name": "Ours", "organizationId": id(here)})
	both := a.create("/users", with(userBody(id(there), id(here)), object{"groups": refs(id(theirs["/groups"]), id(group)), "roles": refs(id(theirs["/security/roles"]), usersRole)}))
	seen := m.get("/users/" + id(both))
	require.Equal(t, []any{ref(here)}, seen["organizations"])
	require.Equal(t, []any{ref(group)}, seen["groups"])
	require.Equal(t, []any{object{"id": usersRole, "name": "Users"}}, seen["roles"])
	for group, count := range map[string]int{id(theirs["/groups"]): 0, id(group): 1} {
		require.Len(t, m.list("/users?group_id="+group), count, "who is in a group that one doesn't see")
	}
	require.Equal(t, seen["organizations"], m.update("/users/"+id(both), with(seen, object{"firstName": "New", "roles": absent}))["organizations"])
	whole := a.get("/users/" + id(both))
	require.Len(t, whole["organizations"], 2)
	require.Len(t, whole["groups"], 2)
	require.Len(t, whole["roles"], 2)
	m.refused(http.StatusForbidden, http.MethodDelete, "/users/"+id(both), nil)
}

// What is below is seen from above, at once.
func administratorBelow(t *testing.T, a *api) {
	top := a.create("/organizations", organizationBody(unique("Top")))
	m, _ := a.member(id(top), object{}, everyRight(a)...)
	below := m.create("/organizations", organizationBody(unique("Below")))
	require.Equal(t, id(top), below["parentId"])
	require.Equal(t, below, m.get("/organizations/"+id(below)))
	group := m.create("/groups", object{"name": "G", "organizationId": id(below)})
	require.Equal(t, ref(below), group["organization"])
	require.Len(t, m.list("/groups"), 1)
	m.update("/organizations/"+id(below), organizationBody("Renamed"))
	m.remove("/groups/"+id(group), nil)
	m.remove("/organizations/"+id(below), nil)
	m.missing("/organizations/" + id(below))
	// One's own organization: what one is in can't go.
	m.refused(http.StatusConflict, http.MethodDelete, "/organizations/"+id(top), nil)
	m.missing("/organizations/" + global)
}

// Rights that are limited to projects end with these.
func projectScope(t *testing.T, a *api) {
	one, two := a.project(unique("One"), global), a.project(unique("Two"), global)
	role := object{"allProjects": false, "projects": refs(id(one))}
	m, _ := a.member(global, role, "projects.view", "projects.delete", "tasks.view", "tasks.create", "tasks.edit", "tasks.delete", "roles.view")
	mine, other := a.create("/tasks", object{"name": "T", "projectId": id(one)}), a.create("/tasks", object{"name": "T", "projectId": id(two)})
	require.Len(t, m.list("/projects"), 1)
	require.Len(t, m.list("/tasks"), 1)
	m.get("/tasks/" + id(mine))
	m.missing("/projects/" + id(two))
	m.missing("/tasks/" + id(other))
	m.missing("/tasks/" + id(other) + "/recipients")
	m.refused(http.StatusNotFound, http.MethodPut, "/tasks/"+id(other), taskBody())
	m.refused(http.StatusNotFound, http.MethodDelete, "/tasks/"+id(other), nil)
	m.refused(http.StatusNotFound, http.MethodDelete, "/projects/"+id(two), nil)
	m.refused(http.StatusNotFound, http.MethodPost, "/tasks/"+id(other)+"/duplicate", object{})
	m.refused(http.StatusNotFound, http.MethodPut, "/tasks/activation", []object{{"id": id(mine), "isActive": true}, {"id": id(other), "isActive": true}})
	m.refused(http.StatusBadRequest, http.MethodPost, "/tasks", object{"name": "T", "projectId": id(two)}, "projectId")
	m.create("/tasks", object{"name": "T", "projectId": id(one)})

	own := m.get("/security/permissions")
	require.Equal(t, []any{ref(one)}, own["projects"])
	require.Equal(t, false, own["allProjects"])
	wider := a.create("/security/roles", with(roleBody("tasks.view"), object{"allProjects": false, "projects": refs(id(one), id(two))}))
	require.Len(t, wider["projects"], 2)
	require.Equal(t, []any{ref(one)}, m.get("/security/roles/" + id(wider))["projects"])
	a.remove("/projects/"+id(one), nil)
	require.Empty(t, m.get("/security/permissions")["projects"])
}

func escalation(t *testing.T, a *api) {
	m, user := a.member(global, object{}, "users.view", "users.create", "users.edit", "groups.edit", "roles.create", "roles.edit", "tasks.view")
	m.refused(http.StatusForbidden, http.MethodPost, "/users", with(userBody(), object{"roles": refs(administrators)}), "roles[0].id")
	m.refused(http.StatusForbidden, http.MethodPut, "/users/"+id(user), with(userBody(), object{"roles": refs(administrators)}), "roles[0].id")
	m.refused(http.StatusForbidden, http.MethodPost, "/security/roles", roleBody("tasks.delete"), "permissions.tasks.delete")
	m.create("/security/roles", roleBody("tasks.view"))
	powerful := a.create("/groups", object{"name": unique("Powerful")})
	a.Patch("/api/v1/groups/"+shortID(powerful), []object{{"op": "replace", "path": "/assignedRoles", "value": []object{{"name": "Developers"}}}}).Is(http.StatusNoContent)
	recipient := a.create("/users/recipients", with(userBody(), object{"groups": refs(id(powerful))}))
	m.refused(http.StatusForbidden, http.MethodPost, "/users/recipients/"+id(recipient)+"/convert", object{"roles": []object{{"id": user["roles"].([]any)[0].(object)["id"]}}, "isActive": true, "language": "en"}, "groups")
	admin := id(a.get("/users/profile"))
	m.refused(http.StatusForbidden, http.MethodPut, "/users/"+admin, with(userBody(), object{"sendNotification": true}), "email")
	m.refused(http.StatusForbidden, http.MethodPut, "/users/"+admin, with(userBody(), object{"password": "taken over!"}), "password")
}

func ownPermissions(t *testing.T, a *api) {
	m, user := a.member(global, object{}, "tasks.view", "tasks.run")
	own := m.get("/security/permissions")
	require.Equal(t, user["roles"], own["roles"])
	require.Len(t, own["roles"], 1)
	require.Equal(t, true, own["allProjects"])
	require.Equal(t, []any{}, own["projects"])
	rights := own["permissions"].(object)
	require.Equal(t, object{"view": true, "run": true, "create": false, "edit": false, "delete": false, "stop": false}, rights["tasks"])
	require.Equal(t, object{"use": true, "manageAll": false}, rights["apiKeys"])
	for area, actions := range a.get("/security/permissions")["permissions"].(object) {
		for action, allowed := range actions.(object) {
			require.Equal(t, true, allowed, "%s.%s", area, action)
		}
	}
}

// What a key may do follows its user within a second.
func credentials(t *testing.T, a *api) {
	role := a.create("/security/roles", roleBody("apiKeys.use", "tasks.view"))
	group := a.create("/groups", object{"name": unique("Keys")})
	user := a.create("/users", with(userBody(), object{"roles": refs(id(role))}))
	m := a.as(a.issue(id(user), global))
	status := func(want int) {
		t.Helper()
		eventually(t, func() bool { return m.Get("/api/v2/tasks").Status == want })
	}
	status(http.StatusOK)
	body := object{"firstName": "A", "lastName": "B", "isActive": true, "organizations": refs(global)}
	a.update("/users/"+id(user), with(body, object{"isActive": false}))
	status(http.StatusUnauthorized)
	m.refused(http.StatusUnauthorized, http.MethodGet, "/users/profile", nil)
	a.update("/users/"+id(user), body)
	status(http.StatusOK)
	a.update("/security/roles/"+id(role), with(roleBody("apiKeys.use"), object{"name": role["name"]}))
	status(http.StatusForbidden)
	a.update("/security/roles/"+id(role), with(roleBody("apiKeys.use", "tasks.view"), object{"isActive": false}))
	status(http.StatusUnauthorized) // no role in force: no right to use keys
	a.Patch("/api/v1/groups/"+shortID(group), []object{{"op": "replace", "path": "/assignedRoles", "value": []object{{"name": "Users"}}}}).Is(http.StatusNoContent)
	a.update("/groups/members", object{"groupId": id(group), "name": group["name"], "userIds": ids(user)})
	status(http.StatusOK) // through the group
	a.update("/groups/"+id(group), object{"name": group["name"], "isActive": false})
	status(http.StatusUnauthorized)
	a.update("/groups/"+id(group), object{"name": group["name"], "isActive": true})
	status(http.StatusOK)
	a.remove("/users/"+id(user), nil)
	status(http.StatusUnauthorized)

	expiring := a.create("/api-keys", object{"name": "K", "expiryDate": time.Now().Add(300 * time.Millisecond)})
	short := a.as(expiring["key"].(string))
	eventually(t, func() bool { return short.Get("/api/v2/users/profile").Status == http.StatusUnauthorized })
	require.Contains(t, short.refused(http.StatusUnauthorized, http.MethodGet, "/users/profile", nil)["error"], "expired")
	require.Equal(t, true, a.get("/api-keys/" + id(expiring))["expired"])

	for _, header := range []string{"", "Basic abc", "Bearer ", "Bearer " + uuid.NewString(), "Bearer " + strings.Repeat("x", 5000)} {
		answer := a.as("").Get("/api/v2/users/profile", "Authorization", header).Is(http.StatusUnauthorized)
		require.Equal(t, false, answer.Map()["isSuccess"])
		require.NotEmpty(t, answer.Header.Get("WWW-Authenticate"))
	}
}
