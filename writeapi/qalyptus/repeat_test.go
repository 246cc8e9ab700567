package qalyptus_test

import (
	"net/http"
	"testing"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// A request sent twice under one Idempotency-Key happens once and is answered
// the same.
func TestRepeatedRequests(t *testing.T) {
	a, log := start(t), &journal{}
	task := func() object {
		return a.create("/tasks", object{"name": "T", "projectId": id(a.project(unique("P"), global))})
	}
	group := a.create("/groups", object{"name": unique("G")})
	doomed := a.create("/groups", object{"name": unique("G")})
	key := func() string { return uuid.NewString() }
	for _, c := range []struct {
		name, method, path string
		body, other        any
		status             int
	}{
		{"create", http.MethodPost, "/groups", object{"name": unique("Once")}, object{"name": unique("Other")}, http.StatusCreated},
		{"create a key", http.MethodPost, "/api-keys", object{"name": "K", "expiryDate": soon()}, object{"name": "L", "expiryDate": soon()}, http.StatusCreated},
		{"update", http.MethodPut, "/groups/" + id(group), object{"name": unique("Updated")}, object{"name": unique("Other")}, http.StatusOK},
		{"copy", http.MethodPost, "/tasks/" + id(task()) + "/duplicate", object{}, object{"newName": "Other"}, http.StatusCreated},
		{"delete", http.MethodDelete, "/groups/" + id(doomed), nil, "[]", http.StatusOK},
		{"delete several", http.MethodDelete, "/tasks", ids(task(), task()), []string{}, http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, key := a.in(t), key()
			log.next(a)
			first := a.Do(c.method, "/api/v2"+c.path, c.body, "Idempotency-Key", key).Is(c.status)
			happened := log.next(a)
			require.NotEmpty(t, happened)
			second := a.Do(c.method, "/api/v2"+c.path, c.body, "Idempotency-Key", key).Is(c.status)
			require.Equal(t, "true", second.Header.Get("Idempotent-Replayed"))
			require.Empty(t, first.Header.Get("Idempotent-Replayed"))
			require.Equal(t, string(first.Body), string(second.Body))
			require.Empty(t, log.next(a), "it happened once")
			answer := a.Do(c.method, "/api/v2"+c.path, c.other, "Idempotency-Key", key).Is(http.StatusUnprocessableEntity).Map()
			require.Equal(t, "Idempotency-Key", answer["errorDetails"].([]any)[0].(object)["field"])
			require.Empty(t, log.next(a))
		})
	}
	t.Run("a key that was made twice is one key", func(t *testing.T) {
		a, key, body := a.in(t), key(), object{"name": unique("K"), "expiryDate": soon()}
		send := func() string {
			return a.do(http.StatusCreated, http.MethodPost, "/api-keys", body, "Idempotency-Key", key).(object)["key"].(string)
		}
		shown := send()
		require.Equal(t, shown, send())
		a.as(shown).get("/users/profile")
		require.Len(t, a.list("/api-keys?get_all=true&name="+escape(body["name"])), 1)
	})
	t.Run("keys of others are other keys", func(t *testing.T) {
		a, key := a.in(t), key()
		m, _ := a.member(global, object{}, "groups.create")
		one := a.do(http.StatusCreated, http.MethodPost, "/groups", object{"name": unique("Mine")}, "Idempotency-Key", key).(object)
		two := m.do(http.StatusCreated, http.MethodPost, "/groups", object{"name": unique("Theirs")}, "Idempotency-Key", key).(object)
		require.NotEqual(t, id(one), id(two))
	})
}

// When writes don't wait for the read models, answers come from what the
// command knows, and have the same shape and say the same.
func TestAnswersBeforeTheReadModels(t *testing.T) {
	a := &api{servertest.Start(t, func(c *config.Config) { c.WriteWait = 0 }), t}
	require.Eventually(t, func() bool { return a.Get("/api/v2/users/profile").Status == http.StatusOK }, waitLong, tick) // the first key is no exception
	// shown waits until the read models show what is answered.
	shown := func(path string, thing object) {
		t.Helper()
		var read object
		require.Eventually(t, func() bool {
			answer := a.Get("/api/v2" + path + "/" + id(thing))
			if answer.Status != http.StatusOK {
				return false
			}
			read = answer.Map()["data"].(object)
			return read["modifiedDate"] == thing["modifiedDate"]
		}, waitLong, tick)
		require.Equal(t, read, thing)
	}
	post := func(path string, body any) object {
		t.Helper()
		made := a.create(path, body)
		thing := with(made, object{"key": absent})
		shown(path, thing)
		return made
	}
	org := post("/organizations", organizationBody("Org"))
	shown("/organizations", a.update("/organizations/"+id(org), organizationBody("Renamed")))
	group := post("/groups", object{"name": "Group", "organizationId": id(org)})
	role := post("/security/roles", roleBody("tasks.view"))
	user := post("/users", with(userBody(id(org)), object{"roles": refs(id(role), usersRole), "groups": refs(id(group))}))
	shown("/users", a.update("/users/"+id(user), with(userBody(id(org)), object{"firstName": "Other"})))
	recipient := post("/users/recipients", userBody(id(org)))
	post("/api-keys", object{"name": "K", "expiryDate": soon()})
	shown("/groups", a.update("/groups/"+id(group), object{"name": "Group!"}))

	published := a.Post("/admin/v1/projects", object{"name": "P", "organizationId": id(org)}).Is(http.StatusCreated).Map()
	require.Eventually(t, func() bool { return a.Get("/api/v2/projects/"+id(published)).Status == http.StatusOK }, waitLong, tick)
	limited := post("/security/roles", with(roleBody("tasks.view"), object{"allProjects": false, "projects": refs(id(published))}))
	require.Equal(t, []any{object{"id": id(published), "name": "P"}}, limited["projects"])
	task := post("/tasks", object{"name": "T", "projectId": id(published)})
	shown("/tasks", a.update("/tasks/"+id(task), taskBody()))
	shown("/tasks", a.create("/tasks/"+id(task)+"/duplicate", object{}))

	path := "/tasks/" + id(task) + "/recipients"
	added := a.do(http.StatusCreated, http.MethodPost, path, []object{recipientOf(recipient, "user")}).([]any)
	require.Eventually(t, func() bool { return len(a.list(path)) == 1 }, waitLong, tick)
	require.Equal(t, a.list(path), added)
	a.remove("/tasks/"+id(task), nil)
	require.Eventually(t, func() bool { return a.Get("/api/v2/tasks/"+id(task)).Status == http.StatusNotFound }, waitLong, tick)
}
