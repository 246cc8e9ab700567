package qalyptus_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/domain/directory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// object is a JSON object.
type object = map[string]any

// api is a running Docket, seen by one caller of its Qalyptus API.
type api struct {
	*servertest.Server
	t *testing.T
}

func start(t *testing.T) *api { return &api{servertest.Start(t), t} }

// in is the same API for a subtest.
func (a *api) in(t *testing.T) *api { return &api{a.For(t), t} }

// as is the API for the holder of another key.
func (a *api) as(key string) *api { return &api{a.As(key), a.t} }

// do sends a request, checks status and envelope and returns the data.
func (a *api) do(status int, method, path string, body any, headers ...string) any {
	a.t.Helper()
	answer := a.Do(method, "/api/v2"+path, body, headers...).Is(status).Map()
	require.Equal(a.t, true, answer["isSuccess"])
	for _, member := range []string{"data", "error", "errorDetails"} {
		require.Contains(a.t, answer, member)
	}
	require.Nil(a.t, answer["error"])
	require.Nil(a.t, answer["errorDetails"])
	return answer["data"]
}

func (a *api) get(path string) object {
	a.t.Helper()
	return a.do(http.StatusOK, http.MethodGet, path, nil).(object)
}

// list is a whole list.
func (a *api) list(path string) []any {
	a.t.Helper()
	return a.do(http.StatusOK, http.MethodGet, path, nil).([]any)
}

func (a *api) create(path string, body any) object {
	a.t.Helper()
	return a.do(http.StatusCreated, http.MethodPost, path, body).(object)
}

func (a *api) update(path string, body any) object {
	a.t.Helper()
	return a.do(http.StatusOK, http.MethodPut, path, body).(object)
}

func (a *api) remove(path string, body any) {
	a.t.Helper()
	require.Nil(a.t, a.do(http.StatusOK, http.MethodDelete, path, body))
}

// refused checks an answer's status, envelope and which fields it names.
func (a *api) refused(status int, method, path string, body any, fields ...string) object {
	a.t.Helper()
	answer := a.Do(method, "/api/v2"+path, body).Is(status).Map()
	require.Equal(a.t, false, answer["isSuccess"])
	require.Nil(a.t, answer["data"])
	require.NotEmpty(a.t, answer["error"])
	details, _ := answer["errorDetails"].([]any)
	var named []string
	for _, d := range details {
		require.NotEmpty(a.t, d.(object)["message"])
		named = append(named, d.(object)["field"].(string))
	}
	for _, f := range fields {
		require.Contains(a.t, named, f, "%v", answer)
	}
	return answer
}

// missing checks that things are not there for the caller.
func (a *api) missing(path string) {
	a.t.Helper()
	a.refused(http.StatusNotFound, http.MethodGet, path, nil)
}

// with is a body with other members; nil takes one away.
func with(body object, changes object) object {
	body = maps.Clone(body)
	for k, v := range changes {
		if body[k] = v; v == absent {
			delete(body, k)
		}
	}
	return body
}

// absent takes a member out of a body.
const absent = "\x00absent"

// id of a thing in an answer.
func id(thing object) string { return thing["id"].(string) }

func ids(things ...object) []string {
	list := make([]string, len(things))
	for i, x := range things {
		list[i] = id(x)
	}
	return list
}

// refs name things by id, as bodies do.
func refs(list ...string) []object {
	all := make([]object, len(list))
	for i, x := range list {
		all[i] = object{"id": x, "name": "any"}
	}
	return all
}

// ref is a thing as answers refer to it.
func ref(thing object) object { return object{"id": thing["id"], "name": thing["name"]} }

var (
	global         = directory.GlobalID.String()
	administrators = directory.AdministratorsID.String()
	usersRole      = directory.UsersID.String()
	hubUsers       = directory.HubUsersID.String()
)

// unique is a name that nothing else has.
func unique(prefix string) string { return prefix + " " + uuid.NewString() }

func userBody(organizations ...string) object {
	if organizations == nil {
		organizations = []string{global}
	}
	name := uuid.NewString()
	return object{"firstName": "Ann", "lastName": name, "email": name + "@example.com", "isActive": true, "organizations": refs(organizations...)}
}

func organizationBody(name string) object {
	return object{"name": name, "displayName": name + " Ltd", "themeId": uuid.NewString()}
}

// project publishes a project and returns it.
func (a *api) project(name, organization string) object {
	a.t.Helper()
	published := a.Post("/admin/v1/projects", object{"name": name, "organizationId": organization,
		"reports": []object{{"name": "Sales", "type": "Excel", "outputFormats": []string{"Xlsx"}}}}).Is(http.StatusCreated).Map()
	return a.get("/projects/" + id(published))
}

// permissions as bodies of roles have them.
func permissions(keys ...string) object {
	p := object{}
	for _, k := range keys {
		area, action, _ := strings.Cut(k, ".")
		if p[area] == nil {
			p[area] = object{}
		}
		p[area].(object)[action] = true
	}
	return p
}

func roleBody(keys ...string) object {
	return object{"name": unique("Role"), "allProjects": true, "permissions": permissions(keys...), "isActive": true}
}

// member is the API for a new user of an organization with these permissions,
// and that user. changes are to the role.
func (a *api) member(organization string, changes object, keys ...string) (*api, object) {
	a.t.Helper()
	role := a.create("/security/roles", with(roleBody(append(keys, "apiKeys.use")...), changes))
	user := a.create("/users", with(userBody(organization), object{"roles": refs(id(role))}))
	return a.as(a.issue(id(user), organization)), user
}

// issue gives a user a key.
func (a *api) issue(user, organization string) string {
	a.t.Helper()
	answer := a.Post("/admin/v1/api-keys", object{"userId": user, "organizationId": organization, "name": "issued", "expiryDate": time.Now().Add(time.Hour)})
	return answer.Is(http.StatusCreated).Map()["key"].(string)
}

// journal reads the log of what happened through this API.
type journal struct{ after string }

// next are the events since the last call, or since the beginning.
func (j *journal) next(a *api) (events []object) {
	a.t.Helper()
	marker := id(a.create("/groups", object{"name": unique("Marker")}))
	require.Eventually(a.t, func() bool {
		var page struct{ Items []object }
		a.Get("/admin/v1/events?dialect=qalyptus&limit=1000&after=" + j.after).Is(http.StatusOK).JSON(&page)
		events = page.Items
		return len(events) > 0 && events[len(events)-1]["stream"] == "group-"+marker
	}, 10*time.Second, 20*time.Millisecond)
	last := events[len(events)-1]
	j.after = strconv.FormatFloat(last["position"].(float64), 'f', 0, 64)
	return slices.DeleteFunc(events, func(e object) bool { return e["correlation"] == last["correlation"] })
}

// userDirectoryBody is one that nobody answers for.
func userDirectoryBody() object {
	return object{"type": "ActiveDirectory", "name": unique("D"), "hostName": "127.0.0.1:1", "sendNotification": false, "synchronization": "Manual", "isActive": true, "organizationId": global}
}

// soon is when a key may end.
func soon() string { return time.Now().Add(time.Hour).Format(time.RFC3339) }

// shortID is a thing's id in Qlik's API.
func shortID(thing object) string { return domain.ShortID(uuid.MustParse(id(thing))) }

// escape makes a value of a query of a text.
func escape(text any) string { return url.QueryEscape(text.(string)) }

// How long to wait for read models, and how often to look.
const (
	waitLong = 10 * time.Second
	tick     = 5 * time.Millisecond
)

// eventually waits for what the key cache may hold back, which is less than a
// second by contract.
func eventually(t *testing.T, met func() bool) {
	t.Helper()
	require.Eventually(t, met, time.Second, 10*time.Millisecond)
}
