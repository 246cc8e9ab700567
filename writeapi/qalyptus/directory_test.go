package qalyptus_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Every write of groups, roles, organizations, users and keys: what it answers,
// and what reads show afterwards.
func TestDirectoryWrites(t *testing.T) {
	root := start(t)
	for name, test := range map[string]func(*testing.T, *api){
		"groups": groups, "group members": groupMembers, "roles": roles, "organizations": organizations,
		"users": users, "recipients": recipients, "conversion": conversion, "API keys": apiKeys,
		"a group is the same in Qlik's API": sameInQlik,
	} {
		t.Run(name, func(t *testing.T) { test(t, root.in(t)) })
	}
}

// shaped checks that a thing has these members and no others, and that its times
// are times.
func shaped(t *testing.T, thing object, times []string, members ...string) {
	t.Helper()
	var names []string
	for name := range thing {
		names = append(names, name)
	}
	require.ElementsMatch(t, append(members, times...), names)
	for _, name := range times {
		_, err := time.Parse(time.RFC3339, thing[name].(string))
		require.NoError(t, err)
	}
}

var dates = []string{"createdDate", "modifiedDate"}

// has checks some members of a thing.
func has(t *testing.T, thing, members object) {
	t.Helper()
	for name, value := range members {
		require.EqualValues(t, value, thing[name], name)
	}
}

func groups(t *testing.T, a *api) {
	org := a.create("/organizations", organizationBody(unique("Groups")))
	name := unique("Group")
	made := a.create("/groups", object{"name": "  " + name + " ", "description": "First", "organizationId": id(org), "isActive": true})
	shaped(t, made, dates, "id", "name", "description", "type", "isActive", "organization", "users")
	has(t, made, object{"name": name, "description": "First", "type": "Custom", "isActive": true, "organization": ref(org), "users": 0})
	require.Equal(t, made, a.get("/groups/"+id(made)))

	changed := a.update("/groups/"+id(made), object{"name": name + "!", "isActive": false})
	has(t, changed, object{"id": id(made), "name": name + "!", "description": "", "isActive": false, "organization": ref(org), "createdDate": made["createdDate"]})
	require.Equal(t, changed, a.get("/groups/"+id(made)))
	require.Equal(t, false, a.update("/groups/"+id(made), object{"name": name, "description": nil, "organizationId": nil})["isActive"], "absent isActive leaves it")

	// Without an organization it belongs to the caller's; without isActive it is active.
	bare := a.create("/groups", object{"name": unique("Group"), "description": nil})
	has(t, bare, object{"isActive": true, "description": "", "organization": object{"id": global, "name": "Global"}})

	// Names are unique within an organization; their case counts.
	a.refused(http.StatusConflict, http.MethodPost, "/groups", object{"name": name, "organizationId": id(org)}, "name")
	a.refused(http.StatusConflict, http.MethodPut, "/groups/"+id(bare), object{"name": a.create("/groups", object{"name": unique("Taken")})["name"]}, "name")
	a.create("/groups", object{"name": name})
	a.refused(http.StatusBadRequest, http.MethodPut, "/groups/"+id(bare), object{"name": "x", "organizationId": id(org)}, "organizationId")

	a.remove("/groups/"+id(made), nil)
	a.missing("/groups/" + id(made))
	a.create("/groups", object{"name": name, "organizationId": id(org)}) // the name is free again

	more := a.create("/groups", object{"name": unique("Group")})
	a.remove("/groups", ids(bare, more))
	a.missing("/groups/" + id(bare))
	a.missing("/groups/" + id(more))
}

func groupMembers(t *testing.T, a *api) {
	group := a.create("/groups", object{"name": unique("Members"), "description": "Kept"})
	one, two := a.create("/users", userBody()), a.create("/users", userBody())
	members := func() []string {
		var list []string
		for _, m := range a.list("/groups/" + id(group) + "/members") {
			list = append(list, id(m.(object)))
		}
		return list
	}
	body := object{"groupId": id(group), "name": group["name"], "description": "Kept"}
	set := a.update("/groups/members", with(body, object{"userIds": ids(one, two)}))
	has(t, set, object{"id": id(group), "users": 2, "description": "Kept"})
	require.ElementsMatch(t, ids(one, two), members())
	require.Equal(t, []any{ref(group)}, a.get("/users/" + id(one))["groups"])

	has(t, a.update("/groups/members", with(body, object{"userIds": ids(two)})), object{"users": 1})
	require.Equal(t, ids(two), members())
	for _, unchanged := range []any{nil, absent} {
		has(t, a.update("/groups/members", with(body, object{"userIds": unchanged})), object{"users": 1})
	}
	has(t, a.update("/groups/members", object{"groupId": id(group), "name": "Renamed", "userIds": []string{}}), object{"users": 0, "name": "Renamed", "description": ""})
	require.Empty(t, members())

	a.refused(http.StatusNotFound, http.MethodPut, "/groups/members", with(body, object{"groupId": uuid.NewString()}))
	unknown := a.refused(http.StatusNotFound, http.MethodPut, "/groups/members", with(body, object{"groupId": uuid.NewString(), "userIds": ids(one)}))
	require.Nil(t, unknown["errorDetails"], "no user is to blame")
	a.refused(http.StatusBadRequest, http.MethodPut, "/groups/members", with(body, object{"name": strings.Repeat("x", 257), "userIds": []string{uuid.NewString()}}), "name")
	a.refused(http.StatusNotFound, http.MethodPut, "/groups/members", with(body, object{"userIds": []string{id(one), uuid.NewString()}}))
	a.refused(http.StatusBadRequest, http.MethodPut, "/groups/members", with(body, object{"userIds": []string{id(one), id(one)}}), "userIds[1]")
	a.refused(http.StatusConflict, http.MethodPut, "/groups/members", with(body, object{"name": a.create("/groups", object{"name": unique("Taken")})["name"], "userIds": ids(one)}))
	require.Empty(t, members(), "a refused list changes nothing")

	// Who is in it leaves with the organization, and when the person goes.
	org := a.create("/organizations", organizationBody(unique("Members")))
	there := a.create("/groups", object{"name": "There", "organizationId": id(org)})
	body2 := with(userBody(global, id(org)), object{"groups": refs(id(there))})
	person := a.create("/users", body2)
	has(t, a.get("/groups/"+id(there)), object{"users": 1})
	a.refused(http.StatusBadRequest, http.MethodPut, "/groups/members", object{"groupId": id(there), "name": "There", "userIds": ids(one)}, "userIds[0]")
	left := a.update("/users/"+id(person), with(body2, object{"organizations": refs(global), "groups": absent}))
	require.Empty(t, left["groups"])
	has(t, a.get("/groups/"+id(there)), object{"users": 0})
}

func roles(t *testing.T, a *api) {
	p := a.project(unique("Roles"), global)
	body := object{"name": unique("Role"), "description": "Reads", "allProjects": false, "projects": refs(id(p)), "isActive": true,
		"permissions": permissions("tasks.view", "tasks.edit", "projects.view")}
	body["permissions"].(object)["tasks"].(object)["delete"] = false
	made := a.create("/security/roles", body)
	shaped(t, made, dates, "id", "name", "description", "type", "isActive", "allProjects", "projects", "permissions")
	has(t, made, object{"name": body["name"], "description": "Reads", "type": "custom", "isActive": true, "allProjects": false, "projects": []any{ref(p)}})
	rights := made["permissions"].(object)
	require.Equal(t, object{"view": true, "create": false, "edit": true, "delete": false, "run": false, "stop": false}, rights["tasks"])
	require.Contains(t, rights, "documents", "every area is named")
	require.Equal(t, made, a.get("/security/roles/"+id(made)))
	require.Contains(t, a.list("/security/roles/info?get_all=true"), any(object{"id": made["id"], "name": made["name"]}))

	changed := a.update("/security/roles/"+id(made), object{"name": "x" + body["name"].(string), "allProjects": true, "permissions": object{}, "isActive": false})
	has(t, changed, object{"description": "", "allProjects": true, "projects": []any{}, "isActive": false})
	require.Equal(t, false, changed["permissions"].(object)["tasks"].(object)["view"])
	require.Equal(t, changed, a.get("/security/roles/"+id(made)))
	require.Equal(t, body["name"], a.update("/security/roles/"+id(made), made)["name"], "what was read can be sent back")

	a.refused(http.StatusConflict, http.MethodPost, "/security/roles", body, "name")
	a.refused(http.StatusBadRequest, http.MethodPost, "/security/roles", with(body, object{"name": "y", "permissions": object{"tasks": object{"fly": true}, "moon": object{"view": true}}}),
		"permissions.tasks.fly", "permissions.moon")
	a.refused(http.StatusBadRequest, http.MethodPost, "/security/roles", with(body, object{"name": "y", "projects": refs(uuid.NewString())}), "projects[0].id")
	unknown := object{}
	for _, area := range strings.Split("zyxwvutsrqponmlkjihgfedcba", "") {
		unknown[area] = object{}
	}
	for range 3 {
		refusal := a.refused(http.StatusBadRequest, http.MethodPost, "/security/roles", with(body, object{"permissions": unknown}))
		require.Contains(t, refusal["error"], "permissions.a", "the first one, every time")
	}

	// Default roles stay as they are.
	system := a.get("/security/roles/" + usersRole)
	require.Equal(t, "default", system["type"])
	a.refused(http.StatusConflict, http.MethodPut, "/security/roles/"+usersRole, with(body, object{"name": "Renamed"}))
	a.refused(http.StatusConflict, http.MethodDelete, "/security/roles/"+usersRole, nil)
	a.refused(http.StatusConflict, http.MethodDelete, "/security/roles", []string{id(made), usersRole}, "[1]")
	a.get("/security/roles/" + id(made))

	holder := a.create("/users", with(userBody(), object{"roles": refs(id(made), usersRole)}))
	a.remove("/security/roles/"+id(made), nil)
	a.missing("/security/roles/" + id(made))
	require.Equal(t, []any{object{"id": usersRole, "name": "Users"}}, a.get("/users/" + id(holder))["roles"])
	b, c := a.create("/security/roles", roleBody()), a.create("/security/roles", roleBody())
	a.remove("/security/roles", ids(b, c))
	a.missing("/security/roles/" + id(b))
	a.missing("/security/roles/" + id(c))
}

func organizations(t *testing.T, a *api) {
	body := organizationBody(unique("Org"))
	body["description"] = "One"
	made := a.create("/organizations", body)
	shaped(t, made, dates, "id", "name", "displayName", "description", "themeId", "parentId", "isDefault")
	has(t, made, object{"name": body["name"], "displayName": body["displayName"], "description": "One", "themeId": body["themeId"], "parentId": global, "isDefault": false})
	require.Equal(t, made, a.get("/organizations/"+id(made)))
	require.Contains(t, a.list("/organizations/all"), any(made))

	theme := uuid.NewString()
	changed := a.update("/organizations/"+id(made), object{"displayName": "Other", "themeId": theme})
	has(t, changed, object{"name": body["name"], "displayName": "Other", "description": "", "themeId": theme}) // the name stays
	require.Equal(t, changed, a.get("/organizations/"+id(made)))
	named := unique("Only display")
	require.Equal(t, named, a.create("/organizations", object{"name": nil, "displayName": named, "themeId": theme})["name"])

	a.refused(http.StatusConflict, http.MethodPost, "/organizations", with(body, object{"name": strings.ToUpper(body["name"].(string))}), "name")
	a.refused(http.StatusConflict, http.MethodPut, "/organizations/"+global, body)
	a.refused(http.StatusConflict, http.MethodDelete, "/organizations/"+global, nil)

	// What holds something stays.
	group := a.create("/groups", object{"name": "G", "organizationId": id(made)})
	require.Nil(t, a.refused(http.StatusConflict, http.MethodDelete, "/organizations/"+id(made), nil)["errorDetails"], "there is no body")
	require.Nil(t, a.refused(http.StatusNotFound, http.MethodDelete, "/organizations/"+uuid.NewString(), nil)["errorDetails"])
	a.remove("/groups/"+id(group), nil)
	person := a.create("/users", userBody(id(made)))
	other := a.create("/organizations", organizationBody(unique("Org")))
	refusal := a.refused(http.StatusConflict, http.MethodDelete, "/organizations", ids(other, made), "[1]")
	require.Contains(t, refusal["error"], "1 users and recipients")
	a.get("/organizations/" + id(other))
	members := a.list("/organizations/" + id(made) + "/members")
	require.Len(t, members, 1)
	has(t, members[0].(object), object{"id": id(person), "type": "user", "name": person["fullName"], "email": person["email"], "isActive": true})
	a.remove("/users/"+id(person), nil)
	a.remove("/organizations/"+id(made), nil)
	a.missing("/organizations/" + id(made))

	// A tree goes together.
	below := a.administratorOf(id(other)).create("/organizations", organizationBody(unique("Below")))
	require.Equal(t, id(other), below["parentId"])
	a.refused(http.StatusConflict, http.MethodDelete, "/organizations/"+id(other), nil)
	for _, m := range a.list("/organizations/" + id(other) + "/members") {
		a.remove("/users/"+id(m.(object)), nil)
	}
	a.remove("/organizations", ids(other, below))
	a.missing("/organizations/" + id(below))
}

// administratorOf is the API for somebody who may make organizations below one.
func (a *api) administratorOf(organization string) *api {
	a.t.Helper()
	m, _ := a.member(organization, object{}, "organizations.view", "organizations.create")
	return m
}

func users(t *testing.T, a *api) {
	group := a.create("/groups", object{"name": unique("Users")})
	body := with(userBody(), object{"domainAccount": `CORP\` + uuid.NewString(), "password": "a long secret", "isoLanguage": "fr", "sendNotification": true,
		"roles": refs(usersRole), "groups": refs(id(group))})
	made := a.create("/users", body)
	shaped(t, made, dates, "id", "type", "userName", "domainAccount", "firstName", "lastName", "fullName", "email", "isActive", "isoLanguage", "roles", "organizations", "groups")
	has(t, made, object{"type": "user", "userName": "", "domainAccount": body["domainAccount"], "firstName": "Ann", "lastName": body["lastName"],
		"fullName": "Ann " + body["lastName"].(string), "email": body["email"], "isActive": true, "isoLanguage": "fr",
		"roles": []any{object{"id": usersRole, "name": "Users"}}, "organizations": []any{object{"id": global, "name": "Global"}}, "groups": []any{ref(group)}})
	require.Equal(t, made, a.get("/users/"+id(made)))
	require.Equal(t, made, a.list("/groups/" + id(group) + "/members")[0])

	// What PUT leaves out: texts and flags are cleared; password, language, roles
	// and groups stay.
	changed := a.update("/users/"+id(made), object{"firstName": "Bea", "lastName": "Doe", "isActive": false, "organizations": refs(global), "roles": nil})
	has(t, changed, object{"fullName": "Bea Doe", "email": "", "domainAccount": "", "isActive": false, "isoLanguage": "fr", "roles": made["roles"], "groups": made["groups"]})
	require.Equal(t, changed, a.get("/users/"+id(made)))
	has(t, a.update("/users/"+id(made), with(body, object{"roles": []any{}, "groups": []any{}})), object{"roles": []any{}, "groups": []any{}, "email": body["email"]})

	// Mail addresses and domain accounts are unique, whatever their case.
	a.refused(http.StatusConflict, http.MethodPost, "/users", with(body, object{"email": strings.ToUpper(body["email"].(string)), "domainAccount": nil}), "email")
	a.refused(http.StatusConflict, http.MethodPost, "/users", with(body, object{"email": nil, "sendNotification": false}), "domainAccount")
	a.refused(http.StatusConflict, http.MethodPost, "/users/recipients", with(userBody(), object{"email": body["email"]}), "email")
	for _, c := range []struct {
		change object
		field  string
	}{
		{object{"organizations": []any{}}, "organizations"}, {object{"organizations": refs(uuid.NewString())}, "organizations[0].id"},
		{object{"roles": refs(uuid.NewString())}, "roles[0].id"}, {object{"groups": refs(uuid.NewString())}, "groups[0].id"},
		{object{"email": "no address"}, "email"}, {object{"isoLanguage": "xx"}, "isoLanguage"}, {object{"password": "short"}, "password"},
		{object{"sendNotification": true, "email": nil}, "email"}, {object{"firstName": " "}, "firstName"},
	} {
		a.refused(http.StatusBadRequest, http.MethodPost, "/users", with(userBody(), c.change), c.field)
		a.refused(http.StatusBadRequest, http.MethodPut, "/users/"+id(made), with(userBody(), c.change), c.field)
	}

	me := a.get("/users/profile")
	require.Equal(t, "System Administrator", me["fullName"])
	a.refused(http.StatusConflict, http.MethodDelete, "/users/"+id(me), nil)
	a.refused(http.StatusConflict, http.MethodDelete, "/users", []string{id(made), id(me)}, "[1]")
	a.get("/users/" + id(made))
	a.remove("/users/"+id(made), nil)
	a.missing("/users/" + id(made))
	x, y := a.create("/users", userBody()), a.create("/users/recipients", userBody())
	a.remove("/users", ids(x, y))
	a.missing("/users/" + id(x))
	a.missing("/users/recipients/" + id(y))
}

func recipients(t *testing.T, a *api) {
	body := with(userBody(), object{"password": "for later on"})
	made := a.create("/users/recipients", body)
	has(t, made, object{"type": "recipient", "email": body["email"], "roles": []any{object{"id": hubUsers, "name": "Hub users"}}})
	require.Equal(t, made, a.get("/users/recipients/"+id(made)))
	require.Equal(t, made, a.get("/users/"+id(made)))
	changed := a.update("/users/recipients/"+id(made), with(body, object{"firstName": "Cleo", "isActive": false}))
	has(t, changed, object{"type": "recipient", "firstName": "Cleo", "isActive": false, "roles": made["roles"]})
	require.Equal(t, changed, a.get("/users/recipients/"+id(made)))

	// The two kinds have operations of their own.
	user := a.create("/users", userBody())
	a.missing("/users/recipients/" + id(user))
	a.refused(http.StatusNotFound, http.MethodPut, "/users/recipients/"+id(user), body)
	a.refused(http.StatusNotFound, http.MethodPut, "/users/"+id(made), body)
	// Recipients don't act: nobody can give them a key.
	a.Post("/admin/v1/api-keys", object{"userId": id(made), "name": "k", "expiryDate": time.Now().Add(time.Hour)}).Is(http.StatusBadRequest)
}

func conversion(t *testing.T, a *api) {
	made := a.create("/users/recipients", with(userBody(), object{"isActive": false}))
	path := "/users/recipients/" + id(made) + "/convert"
	body := object{"roles": refs(usersRole), "isActive": true, "sendNotification": true, "language": "fr", "domain": `CORP\` + uuid.NewString()}
	a.refused(http.StatusBadRequest, http.MethodPost, path, with(body, object{"roles": []any{}}), "roles")
	a.refused(http.StatusBadRequest, http.MethodPost, path, with(body, object{"language": "klingon"}), "language")
	converted := a.do(http.StatusOK, http.MethodPost, path, body).(object)
	has(t, converted, object{"id": id(made), "type": "user", "isActive": true, "isoLanguage": "fr", "domainAccount": body["domain"], "email": made["email"],
		"roles": []any{object{"id": usersRole, "name": "Users"}}})
	require.Equal(t, converted, a.get("/users/"+id(made)))
	a.missing("/users/recipients/" + id(made))
	a.refused(http.StatusConflict, http.MethodPost, path, body)
	// Now they can act.
	require.Equal(t, id(made), id(a.as(a.issue(id(made), global)).get("/users/profile")))
}

func apiKeys(t *testing.T, a *api) {
	expiry := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	body := object{"name": unique("Key"), "description": "For tests", "expiryDate": expiry.In(time.FixedZone("", 7200))}
	made := a.create("/api-keys", body)
	shaped(t, made, []string{"createdAt", "expiryDate"}, "id", "name", "description", "expired", "user", "organization", "key")
	has(t, made, object{"name": body["name"], "description": "For tests", "expired": false, "organization": object{"id": global, "name": "Global"},
		"user": object{"id": id(a.get("/users/profile")), "name": "System Administrator"}, "expiryDate": expiry.Format(time.RFC3339)})
	require.Equal(t, id(made), id(a.as(made["key"].(string)).get("/api-keys/"+id(made))), "the key works at once")
	shown := with(made, object{"key": absent})
	require.Equal(t, shown, a.get("/api-keys/"+id(made)))

	exact := a.create("/api-keys", with(body, object{"expiryDate": expiry.Format("2006-01-02T15:04:05") + ".123456789Z"}))
	require.Equal(t, a.get("/api-keys/" + id(exact))["expiryDate"], exact["expiryDate"], "as a GET reads it")

	changed := a.update("/api-keys/"+id(made), object{"name": "Renamed", "description": nil})
	require.Equal(t, with(shown, object{"name": "Renamed", "description": ""}), changed)
	require.Equal(t, changed, a.get("/api-keys/"+id(made)))

	for expiry, why := range map[time.Time]string{time.Now().Add(-time.Second): "past", time.Now().AddDate(0, 0, 181): "too far"} {
		a.refused(http.StatusBadRequest, http.MethodPost, "/api-keys", with(body, object{"expiryDate": expiry}), "expiryDate")
		require.NotEmpty(t, why)
	}

	works := func(key any) bool {
		return a.as(key.(string)).Get("/api/v2/users/profile").Status == http.StatusOK
	}
	a.remove("/api-keys/"+id(made), nil)
	a.missing("/api-keys/" + id(made))
	eventually(t, func() bool { return !works(made["key"]) })
	one, two := a.create("/api-keys", body), a.create("/api-keys", body) // names need not differ
	a.refused(http.StatusNotFound, http.MethodDelete, "/api-keys", []string{id(one), uuid.NewString()}, "[1]")
	require.True(t, works(one["key"]))
	a.remove("/api-keys", ids(one, two))
	eventually(t, func() bool { return !works(one["key"]) && !works(two["key"]) })

	// Keys of others: only by the administrator's operations.
	other, user := a.member(global, object{}, "users.view")
	theirs := other.create("/api-keys", body)
	a.missing("/api-keys/" + id(theirs))
	a.refused(http.StatusNotFound, http.MethodPut, "/api-keys/"+id(theirs), body)
	a.refused(http.StatusNotFound, http.MethodDelete, "/api-keys/"+id(theirs), nil)
	other.refused(http.StatusForbidden, http.MethodGet, "/api-keys/admin", nil)
	other.refused(http.StatusForbidden, http.MethodDelete, "/api-keys/admin/"+id(theirs), nil)
	listed := a.list("/api-keys/admin?user_id=" + id(user))
	require.Len(t, listed, 2)
	require.Contains(t, listed, any(with(theirs, object{"key": absent})))
	a.remove("/api-keys/admin/"+id(theirs), nil)
	second, third := other.create("/api-keys", body), other.create("/api-keys", body)
	a.remove("/api-keys/admin", ids(second, third))
	require.Len(t, a.list("/api-keys/admin?user_id="+id(user)), 1)
	eventually(t, func() bool { return !works(theirs["key"]) && !works(second["key"]) && !works(third["key"]) })
}

func sameInQlik(t *testing.T, a *api) {
	made := a.create("/groups", object{"name": unique("Both"), "isActive": false})
	status := func() any { return a.Get("/api/v1/groups/" + shortID(made)).Is(http.StatusOK).Map()["status"] }
	require.Equal(t, "disabled", status())
	a.update("/groups/"+id(made), object{"name": made["name"], "isActive": true})
	require.Equal(t, "active", status())
	theirs := a.Post("/api/v1/groups", object{"name": unique("Theirs")}).Is(http.StatusCreated).Map()
	require.Contains(t, a.list("/groups?name=" + escape(theirs["name"]))[0], "users")
	a.remove("/groups/"+id(made), nil)
	a.Get("/api/v1/groups/" + shortID(made)).Is(http.StatusNotFound)
}
