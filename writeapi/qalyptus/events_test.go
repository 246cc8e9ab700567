package qalyptus_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// deed is a request that changes something.
type deed struct {
	path string
	body any
}

// deeds are successful requests of all operations that change something, by
// their numbers. Each prepares what it needs.
func deeds() map[string]func(a *api) deed {
	deleting := func(path string, make func(a *api) object) func(*api) deed {
		return func(a *api) deed { return deed{path + "/" + id(make(a)), nil} }
	}
	deletingMany := func(path string, make func(a *api) object) func(*api) deed {
		return func(a *api) deed { return deed{path, []string{id(make(a)), id(make(a))}} }
	}
	key := func(a *api) object { return a.create("/api-keys", object{"name": "K", "expiryDate": soon()}) }
	group := func(a *api) object { return a.create("/groups", object{"name": unique("G")}) }
	organization := func(a *api) object { return a.create("/organizations", organizationBody(unique("O"))) }
	project := func(a *api) object { return a.project(unique("P"), global) }
	role := func(a *api) object { return a.create("/security/roles", roleBody("tasks.view")) }
	task := func(a *api) object { return a.create("/tasks", object{"name": "T", "projectId": id(project(a))}) }
	user := func(a *api) object { return a.create("/users", userBody()) }
	recipient := func(a *api) object { return a.create("/users/recipients", userBody()) }
	directory := func(a *api) object { return a.create("/user-directories", userDirectoryBody()) }
	sent := func(a *api) (path string, body object) {
		t, u := task(a), user(a)
		path, body = "/tasks/"+id(t)+"/recipients", recipientOf(u, "user")
		a.do(http.StatusCreated, http.MethodPost, path, []object{body})
		return path, body
	}
	return map[string]func(a *api) deed{
		"1": func(*api) deed { return deed{"/api-keys", object{"name": "K", "expiryDate": soon()}} },
		"3": func(a *api) deed { return deed{"/api-keys/" + id(key(a)), object{"name": "Other"}} },
		"5": deleting("/api-keys", key), "6": deletingMany("/api-keys", key), "7": deleting("/api-keys/admin", key), "8": deletingMany("/api-keys/admin", key),
		"22": func(*api) deed { return deed{"/groups", object{"name": unique("G")}} },
		"24": deletingMany("/groups", group), "27": deleting("/groups", group),
		"25": func(a *api) deed {
			return deed{"/groups/" + id(group(a)), object{"name": unique("G"), "isActive": false}}
		},
		"29": func(a *api) deed {
			g := group(a)
			return deed{"/groups/members", object{"groupId": id(g), "name": g["name"], "userIds": ids(user(a), user(a))}}
		},
		"55": func(*api) deed { return deed{"/organizations", organizationBody(unique("O"))} },
		"57": func(a *api) deed { return deed{"/organizations/" + id(organization(a)), organizationBody(unique("O"))} },
		"59": deleting("/organizations", organization), "69": deletingMany("/organizations", organization),
		"72": func(a *api) deed { return deed{"/projects", refs(ids(project(a), project(a))...)} }, "73": deleting("/projects", project),
		"99":  func(*api) deed { return deed{"/security/roles", roleBody("tasks.view")} },
		"102": deleting("/security/roles", role), "104": deletingMany("/security/roles", role),
		"103": func(a *api) deed { return deed{"/security/roles/" + id(role(a)), roleBody()} },
		"136": func(a *api) deed { return deed{"/tasks", object{"name": "T", "projectId": id(project(a))}} },
		"138": deletingMany("/tasks", task), "142": deleting("/tasks", task),
		"139": func(a *api) deed { return deed{"/tasks/" + id(task(a)), taskBody()} },
		"141": func(a *api) deed { return deed{"/tasks/" + id(task(a)) + "/duplicate", object{}} },
		"143": func(a *api) deed { return deed{"/tasks/activation", []object{{"id": id(task(a)), "isActive": true}}} },
		"151": func(a *api) deed {
			return deed{"/tasks/" + id(task(a)) + "/recipients", []object{recipientOf(user(a), "user"), recipientOf(group(a), "group")}}
		},
		"152": func(a *api) deed { path, body := sent(a); return deed{path, []object{body}} },
		"153": func(a *api) deed { path, body := sent(a); return deed{path, with(body, object{"seeInHub": true})} },
		"171": func(*api) deed { return deed{"/users", userBody()} },
		"173": func(*api) deed { return deed{"/users/recipients", userBody()} },
		"174": func(a *api) deed { return deed{"/users/" + id(user(a)), userBody()} },
		"181": func(a *api) deed { return deed{"/users/recipients/" + id(recipient(a)), userBody()} },
		"176": deleting("/users", user), "179": deletingMany("/users", user),
		"185": func(*api) deed { return deed{"/user-directories", userDirectoryBody()} },
		"188": func(a *api) deed {
			return deed{"/user-directories/" + id(directory(a)), with(userDirectoryBody(), object{"prefix": "corp"})}
		},
		"189": deleting("/user-directories", directory), "186": deletingMany("/user-directories", directory),
		"190": func(a *api) deed {
			return deed{"/user-directories/" + id(directory(a)) + "/synchronize", nil}
		},
		"183": func(a *api) deed {
			return deed{"/users/recipients/" + id(recipient(a)) + "/convert", object{"roles": refs(usersRole), "isActive": true, "language": "en"}}
		},
	}
}

// Every operation that changes something leaves events that say who did what by
// which request through which API.
func TestEveryWriteIsRecorded(t *testing.T) {
	a := start(t)
	me := id(a.get("/users/profile"))
	all, log := deeds(), &journal{}
	for _, op := range writesOf(t, a) {
		t.Run(op.ID+" "+op.Summary, func(t *testing.T) {
			a := a.in(t)
			prepare, known := all[op.ID]
			require.True(t, known, "a new operation wants a deed here")
			d := prepare(a)
			log.next(a)
			answer := a.Do(op.Method, "/api/v2"+d.path, d.body)
			require.Equal(t, max(op.Success, http.StatusOK), answer.Status, "%s", answer.Body)
			body := strings.ReplaceAll(strings.ToLower(string(answer.Body)), "onetimepasswords", "") // a right
			for _, secret := range []string{"argon2", "hash", "password"} {
				require.NotContains(t, body, secret)
			}
			events := log.next(a)
			require.True(t, slices.ContainsFunc(events, func(e object) bool { return !strings.HasPrefix(e["type"].(string), "kernel.") }), "%v", events)
			for _, e := range events {
				require.Equal(t, me, e["actor"])
				require.Equal(t, "qalyptus", e["dialect"])
				require.NotEmpty(t, e["command"])
				require.NotEmpty(t, e["apiKey"])
				require.NotEqual(t, uuid.Nil.String(), e["commandId"])
				require.NotEqual(t, uuid.Nil.String(), e["correlation"])
				require.Equal(t, events[0]["correlation"], e["correlation"], "one request")
			}
		})
	}
}
