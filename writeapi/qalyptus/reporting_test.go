package qalyptus_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Every write of projects, tasks and recipients of tasks: what it answers, and
// what reads show afterwards.
func TestReportingWrites(t *testing.T) {
	root := start(t)
	for name, test := range map[string]func(*testing.T, *api){
		"projects": projects, "tasks": tasks, "activation": activation, "copies": copies, "recipients": taskRecipients,
	} {
		t.Run(name, func(t *testing.T) { test(t, root.in(t)) })
	}
}

func projects(t *testing.T, a *api) {
	org := a.create("/organizations", organizationBody(unique("Projects")))
	me := a.get("/users/profile")
	p := a.project(unique("Project"), id(org))
	shaped(t, p, dates, "id", "name", "description", "organization", "owner", "ownerName", "isMine", "isActive", "reports", "tasks", "modifiedBy")
	has(t, p, object{"description": "", "organization": ref(org), "owner": id(me), "ownerName": me["fullName"], "isMine": true, "isActive": true,
		"reports": 1, "tasks": 0, "modifiedBy": id(me)})

	// What is in it goes with it.
	task := a.create("/tasks", object{"name": "T", "projectId": id(p)})
	group := a.create("/groups", object{"name": "G", "organizationId": id(org)})
	a.do(http.StatusCreated, http.MethodPost, "/tasks/"+id(task)+"/recipients", []object{recipientOf(group, "group")})
	require.EqualValues(t, 1, a.get("/projects/" + id(p))["tasks"])
	a.remove("/projects/"+id(p)+"?deleteFiles=true", nil)
	a.missing("/projects/" + id(p))
	a.missing("/tasks/" + id(task))
	a.missing("/tasks/" + id(task) + "/recipients")
	require.Empty(t, a.list("/tasks?project_id="+id(p)))
	a.refused(http.StatusNotFound, http.MethodPut, "/tasks/"+id(task), taskBody())
	a.refused(http.StatusNotFound, http.MethodPost, "/tasks/"+id(task)+"/duplicate", object{})
	a.refused(http.StatusBadRequest, http.MethodPost, "/tasks", object{"name": "T", "projectId": id(p)}, "projectId")

	one, two := a.project(unique("Project"), global), a.project(unique("Project"), global)
	a.refused(http.StatusNotFound, http.MethodDelete, "/projects", refs(id(one), uuid.NewString()), "[1]")
	require.Nil(t, a.refused(http.StatusNotFound, http.MethodDelete, "/projects/"+uuid.NewString(), nil)["errorDetails"], "there is no body")
	a.refused(http.StatusBadRequest, http.MethodDelete, "/projects?deleteFiles=perhaps", refs(id(one)), "deleteFiles")
	a.get("/projects/" + id(one))
	a.remove("/projects", refs(ids(one, two)...))
	a.missing("/projects/" + id(one))
	a.missing("/projects/" + id(two))
}

// taskBody is what an update has to send.
func taskBody() object { return object{"name": unique("Task"), "isActive": true} }

func tasks(t *testing.T, a *api) {
	me, p := a.get("/users/profile"), a.project(unique("Tasks"), global)
	made := a.create("/tasks", object{"name": " Daily ", "projectId": id(p), "description": nil})
	shaped(t, made, dates, "id", "name", "description", "project", "organization", "owner", "ownerName", "isMine", "isActive", "isScheduled", "testMode", "testModeRecipients",
		"sendNotifications", "notifyIfError", "notifyIfWarning", "notifyIfSuccess", "notificationRecipients", "notificationCc", "notificationBcc")
	has(t, made, object{"name": "Daily", "description": "", "project": ref(p), "organization": object{"id": global, "name": "Global"}, "owner": id(me),
		"ownerName": me["fullName"], "isMine": true, "isActive": false, "isScheduled": false, "testMode": false, "sendNotifications": false})
	require.Equal(t, made, a.get("/tasks/"+id(made)))
	a.create("/tasks", object{"name": "Daily", "projectId": id(p)}) // names need not differ

	full := object{"name": "Weekly", "description": "All\nof it", "isActive": true, "sendNotifications": true, "notifyIfError": true, "notifyIfWarning": true, "notifyIfSuccess": true,
		"notificationRecipients": "a@example.com; b@example.com", "notificationCc": "c@example.com", "notificationBcc": "d@example.com",
		"testMode": true, "testModeRecipients": "e@example.com"}
	changed := a.update("/tasks/"+id(made), full)
	has(t, changed, full)
	has(t, changed, object{"id": id(made), "project": ref(p), "createdDate": made["createdDate"]})
	require.Equal(t, changed, a.get("/tasks/"+id(made)))

	// The whole object is replaced: what is left out is off or empty.
	bare := a.update("/tasks/"+id(made), object{"name": "Weekly", "isActive": false})
	for name := range with(full, object{"name": absent}) {
		require.Empty(t, bare[name], name)
	}
	for change, field := range map[string]object{
		"notificationRecipients": {"notificationRecipients": "nobody"}, "notificationCc": {"notificationCc": "a@example.com, x"}, "notificationBcc": {"notificationBcc": "@"},
		"testModeRecipients": {"testMode": true}, "name": {"name": "\t"}, "description": {"description": strings.Repeat("x", 2001)},
	} {
		a.refused(http.StatusBadRequest, http.MethodPut, "/tasks/"+id(made), with(taskBody(), field), change)
	}
	a.remove("/tasks/"+id(made), nil)
	a.missing("/tasks/" + id(made))
	require.EqualValues(t, 1, a.get("/projects/" + id(p))["tasks"])
	one, two := a.create("/tasks", object{"name": "1", "projectId": id(p)}), a.create("/tasks", object{"name": "2", "projectId": id(p)})
	a.refused(http.StatusNotFound, http.MethodDelete, "/tasks", []string{id(one), id(made)}, "[1]")
	a.refused(http.StatusBadRequest, http.MethodDelete, "/tasks", []string{id(one), id(one)}, "[1]")
	a.get("/tasks/" + id(one))
	a.remove("/tasks", ids(one, two))
	a.missing("/tasks/" + id(two))
}

func activation(t *testing.T, a *api) {
	p := a.project(unique("Activation"), global)
	one, two := a.create("/tasks", object{"name": "1", "projectId": id(p)}), a.create("/tasks", object{"name": "2", "projectId": id(p)})
	set := func(status int, list ...object) any {
		return a.Put("/api/v2/tasks/activation", list).Is(status).Map()["data"]
	}
	active := func() []any {
		return []any{a.get("/tasks/" + id(one))["isActive"], a.get("/tasks/" + id(two))["isActive"]}
	}
	require.Nil(t, set(http.StatusOK, object{"id": id(one), "isActive": true}, object{"id": id(two), "isActive": false}))
	require.Equal(t, []any{true, false}, active())
	set(http.StatusNotFound, object{"id": id(two), "isActive": true}, object{"id": uuid.NewString(), "isActive": true})
	set(http.StatusBadRequest, object{"id": id(two), "isActive": true}, object{"id": id(one)})
	a.refused(http.StatusBadRequest, http.MethodPut, "/tasks/activation", []object{{"id": id(one), "isActive": 1}}, "[0].isActive")
	require.Equal(t, []any{true, false}, active(), "a refused list changes nothing")
	set(http.StatusOK, object{"id": id(one), "isActive": false}, object{"id": id(two), "isActive": true})
	require.Equal(t, []any{false, true}, active())
}

func copies(t *testing.T, a *api) {
	p := a.project(unique("Copies"), global)
	source := a.create("/tasks", object{"name": "Original", "projectId": id(p), "description": "D"})
	source = a.update("/tasks/"+id(source), object{"name": "Original", "description": "D", "isActive": true, "notifyIfError": true, "notificationCc": "c@example.com",
		"testMode": true, "testModeRecipients": "t@example.com"})
	user, group := a.create("/users", userBody()), a.create("/groups", object{"name": unique("Copies")})
	a.do(http.StatusCreated, http.MethodPost, "/tasks/"+id(source)+"/recipients", []object{recipientOf(user, "user"), recipientOf(group, "group")})

	made := a.create("/tasks/"+id(source)+"/duplicate", object{})
	has(t, made, object{"name": "Original (copy)", "description": "D", "project": ref(p), "isActive": false, "notifyIfError": true, "notificationCc": "c@example.com",
		"testMode": true, "testModeRecipients": "t@example.com"})
	require.NotEqual(t, id(source), id(made))
	plain := func(task object) (list []object) {
		for _, r := range a.list("/tasks/" + id(task) + "/recipients") {
			list = append(list, with(r.(object), object{"id": absent}))
		}
		return list
	}
	require.Len(t, plain(made), 2)
	require.Equal(t, plain(source), plain(made))
	require.Equal(t, "Named", a.create("/tasks/"+id(source)+"/duplicate", object{"newName": "Named", "overwriteReportApps": nil})["name"])
	a.refused(http.StatusBadRequest, http.MethodPost, "/tasks/"+id(source)+"/duplicate", object{"newName": strings.Repeat("x", 257)}, "newName")
	a.refused(http.StatusBadRequest, http.MethodPost, "/tasks/"+id(source)+"/duplicate", object{"overwriteReportApps": []object{{"reportId": uuid.NewString()}}}, "overwriteReportApps[0].reportId")
	a.refused(http.StatusNotFound, http.MethodPost, "/tasks/"+uuid.NewString()+"/duplicate", object{})
}

// recipientOf is a user or group as tasks' bodies name them.
func recipientOf(thing object, kind string) object {
	return object{"id": thing["id"], "type": kind, "sendEmail": true, "seeInHub": false}
}

func taskRecipients(t *testing.T, a *api) {
	org := a.create("/organizations", organizationBody(unique("Recipients")))
	p := a.project(unique("Recipients"), global)
	task := a.create("/tasks", object{"name": "T", "projectId": id(p)})
	user, recipient, group := a.create("/users", userBody()), a.create("/users/recipients", userBody()), a.create("/groups", object{"name": unique("Recipients")})
	path := "/tasks/" + id(task) + "/recipients"
	add := func(list ...object) []any {
		t.Helper()
		return a.do(http.StatusCreated, http.MethodPost, path, append([]object{}, list...)).([]any)
	}
	made := add(recipientOf(user, "user"), with(recipientOf(group, "group"), object{"sendEmail": false, "seeInHub": true}))
	require.Len(t, made, 2)
	byType := map[any]object{}
	for _, m := range made {
		byType[m.(object)["type"]] = m.(object)
	}
	shaped(t, byType["user"], nil, "id", "recipientID", "type", "name", "email", "sendEmail", "seeInHub")
	has(t, byType["user"], object{"recipientID": id(user), "name": user["fullName"], "email": user["email"], "sendEmail": true, "seeInHub": false})
	has(t, byType["group"], object{"recipientID": id(group), "name": group["name"], "email": "", "sendEmail": false, "seeInHub": true})
	require.ElementsMatch(t, made, a.list(path))
	has(t, add(recipientOf(recipient, "user"))[0].(object), object{"recipientID": id(recipient), "name": recipient["fullName"]})
	require.Len(t, a.list(path), 3)

	changed := a.do(http.StatusOK, http.MethodPut, path, object{"id": id(user), "type": "user", "sendEmail": false, "seeInHub": true}).([]any)
	require.Len(t, changed, 1)
	require.Equal(t, with(byType["user"], object{"sendEmail": false, "seeInHub": true}), changed[0])
	require.Contains(t, a.list(path), changed[0])

	stranger := a.create("/users", userBody(id(org)))
	third := a.create("/users", userBody())
	a.refused(http.StatusConflict, http.MethodPost, path, []object{recipientOf(third, "user"), recipientOf(user, "user")}, "[1].id")
	for field, list := range map[string][]object{
		"[1].id":        {recipientOf(third, "user"), recipientOf(stranger, "user")}, // of another organization than the project
		"[0].type":      {recipientOf(third, "robot")},
		"[0].id":        {recipientOf(third, "group")},
		"[0].seeInHub":  {with(recipientOf(third, "user"), object{"seeInHub": absent})},
		"[1].sendEmail": {recipientOf(third, "user"), with(recipientOf(recipient, "user"), object{"sendEmail": "yes"})},
	} {
		a.refused(http.StatusBadRequest, http.MethodPost, path, list, field)
	}
	require.Len(t, a.list(path), 3, "a refused list changes nothing")
	a.refused(http.StatusNotFound, http.MethodPut, path, recipientOf(third, "user"), "id")
	require.Equal(t, []any{}, add())
	a.refused(http.StatusBadRequest, http.MethodPut, path, recipientOf(user, "robot"), "type")
	a.refused(http.StatusNotFound, http.MethodDelete, path, []object{recipientOf(user, "user"), recipientOf(third, "user")}, "[1].id")
	a.refused(http.StatusNotFound, http.MethodPost, "/tasks/"+uuid.NewString()+"/recipients", []object{recipientOf(user, "user")})
	require.Len(t, a.list(path), 3)

	// Flags don't matter for taking away.
	a.remove(path, []object{recipientOf(user, "user"), recipientOf(recipient, "user")})
	require.Len(t, a.list(path), 1)
	// Who is gone is no recipient any more.
	a.remove("/groups/"+id(group), nil)
	require.Empty(t, a.list(path))
}
