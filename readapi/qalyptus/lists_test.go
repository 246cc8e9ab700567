package qalyptus_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain/directory"
	"docket/internal/textfold"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type object = map[string]any

// listed is one list with the orders and filters that the vendor documents for
// it, by their documented names, and where the answer has the value.
type listed struct {
	path    string
	sorts   map[string]string
	texts   map[string]string // filters by equal, contains, startswith, endswith
	exact   map[string]string // filters by the whole value alone
	without map[string]string // operators that a text filter does not have
	byName  string            // the order without sort_by; "name" unless given
	ties    map[string]string // what orders equal values, unless it is the id
	items   []object          // the whole list in that order
}

// page is an answer.
type page struct {
	Data       []object
	IsSuccess  bool
	Pagination *struct{ Page, PageSize, TotalItems, TotalPages int }
}

func get(t *testing.T, s *servertest.Server, path string) page {
	t.Helper()
	var p page
	s.Get("/api/v2" + path).Is(http.StatusOK).JSON(&p)
	require.True(t, p.IsSuccess)
	require.NotNil(t, p.Pagination)
	return p
}

func ids(items []object) []string {
	list := make([]string, len(items))
	for i, x := range items {
		list[i] = x["id"].(string)
	}
	return list
}

// value is what stands at a place of an item ("organization.name"); "#" counts.
func value(item object, place string) any {
	if list, ok := strings.CutSuffix(place, "#"); ok {
		return float64(len(item[list].([]any)))
	}
	var v any = item
	for name := range strings.SplitSeq(place, ".") {
		v = v.(object)[name]
	}
	return v
}

// compare orders values as clients expect: texts without case, false first.
func compare(a, b any) int {
	switch a := a.(type) {
	case string:
		if x, err := time.Parse(time.RFC3339Nano, a); err == nil {
			y, _ := time.Parse(time.RFC3339Nano, b.(string))
			return x.Compare(y)
		}
		return cmp.Compare(textfold.Fold(a), textfold.Fold(b.(string)))
	case bool:
		return cmp.Compare(number(a), number(b.(bool)))
	}
	return cmp.Compare(a.(float64), b.(float64))
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sorted is the whole list in another order.
func (l listed) sorted(place string, descending bool) []object {
	items, tie := slices.Clone(l.items), cmp.Or(l.ties[place], "id")
	slices.SortFunc(items, func(a, b object) int {
		c := cmp.Or(compare(value(a, place), value(b, place)), cmp.Compare(a[tie].(string), b[tie].(string)))
		if descending {
			return -c
		}
		return c
	})
	return items
}

// matches are the operators of texts.
var matches = map[string]func(s, part string) bool{
	"": func(s, v string) bool { return s == v }, "[equal]": func(s, v string) bool { return s == v }, "[equals]": func(s, v string) bool { return s == v },
	"[contains]": strings.Contains, "[startswith]": strings.HasPrefix, "[StartsWith]": strings.HasPrefix, "[EndsWith]": strings.HasSuffix, "[endswith]": strings.HasSuffix,
}

// parts of a text that operators look for, in other letters.
func parts(text string) []string {
	r := []rune(text)
	n := len(r)
	return []string{text, strings.ToUpper(text), strings.ToLower(string(r[:(n+2)/3])), strings.ToUpper(string(r[n/2:])), string(r[n/4 : (3*n+3)/4]), "%", "_", "no such text"}
}

func with(path string, parameters ...string) string {
	sign := "?"
	for i := 0; i < len(parameters); i += 2 {
		path += sign + url.QueryEscape(parameters[i]) + "=" + url.QueryEscape(parameters[i+1])
		sign = "&"
	}
	return path
}

// Every documented filter and order of every list, against the whole list.
func TestLists(t *testing.T) {
	s := servertest.Start(t)
	for _, l := range fill(t, s) {
		t.Run(l.path, func(t *testing.T) {
			s := s.For(t)
			l.byName = cmp.Or(l.byName, "name")
			whole := get(t, s, with(l.path, "get_all", "true"))
			l.items = whole.Data
			n := len(l.items)
			require.Greater(t, n, 10, "more than a page")
			require.Equal(t, []int{1, n, n, 1}, []int{whole.Pagination.Page, whole.Pagination.PageSize, whole.Pagination.TotalItems, whole.Pagination.TotalPages})
			require.Equal(t, ids(l.sorted(l.byName, false)), ids(l.items))
			t.Run("pages", func(t *testing.T) { l.pages(t, s.For(t)) })
			t.Run("orders", func(t *testing.T) { l.orders(t, s.For(t)) })
			t.Run("filters", func(t *testing.T) { l.filters(t, s.For(t)) })
			t.Run("mistakes", func(t *testing.T) { l.mistakes(t, s.For(t)) })
		})
	}
}

func (l listed) pages(t *testing.T, s *servertest.Server) {
	n := len(l.items)
	first := get(t, s, l.path)
	require.Equal(t, l.items[:10], first.Data, "ten unless asked for more, each as in the whole list")
	require.Equal(t, []int{1, 10, n, (n + 9) / 10}, []int{first.Pagination.Page, first.Pagination.PageSize, first.Pagination.TotalItems, first.Pagination.TotalPages})
	for _, size := range []int{1, 3, 100} {
		var all []object
		for p := 1; p <= (n+size-1)/size; p++ {
			got := get(t, s, with(l.path, "page", fmt.Sprint(p), "page_size", fmt.Sprint(size)))
			require.Equal(t, n, got.Pagination.TotalItems)
			all = append(all, got.Data...)
		}
		require.Equal(t, ids(l.items), ids(all))
	}
	beyond := get(t, s, with(l.path, "page", "1000000"))
	require.Empty(t, beyond.Data)
	require.NotNil(t, beyond.Data)
	require.Equal(t, n, beyond.Pagination.TotalItems)
}

func (l listed) orders(t *testing.T, s *servertest.Server) {
	for name, place := range l.sorts {
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			require.Equal(t, ids(l.sorted(place, false)), ids(get(t, s, with(l.path, "sort_by", spelling, "page_size", "100")).Data), spelling)
		}
		want := l.sorted(place, true)
		require.Equal(t, ids(want), ids(get(t, s, with(l.path, "sort_by", name, "sort_direction", "desc", "get_all", "true")).Data), name)
		require.Equal(t, ids(want[3:6]), ids(get(t, s, with(l.path, "sort_by", name, "sort_direction", "DESC", "page_size", "3", "page", "2")).Data), name)
	}
	require.Equal(t, ids(l.sorted(l.byName, true)), ids(get(t, s, with(l.path, "sort_direction", "desc", "get_all", "true")).Data))
}

func (l listed) filters(t *testing.T, s *servertest.Server) {
	check := func(want []object, parameters ...string) {
		t.Helper()
		got := get(t, s, with(l.path, append(parameters, "page_size", "100")...))
		require.Equal(t, ids(want), ids(got.Data), "%v", parameters)
		require.Equal(t, len(want), got.Pagination.TotalItems, "%v", parameters)
	}
	for name, place := range l.texts {
		for operator, match := range matches {
			if l.without[name] != "" && strings.Contains(strings.ToLower(l.without[name]), strings.ToLower(operator)) && operator != "" {
				refused(t, s, with(l.path, name+operator, "x"), name+operator)
				continue
			}
			for _, part := range parts(value(l.items[len(l.items)/2], place).(string)) {
				if part == "" {
					continue // no value is no filter
				}
				var want []object
				for _, item := range l.items {
					if match(textfold.Fold(value(item, place).(string)), textfold.Fold(part)) {
						want = append(want, item)
					}
				}
				check(want, name+operator, part)
			}
		}
	}
	for name, place := range l.exact {
		seen := map[string][]object{}
		for _, item := range l.items {
			v := fmt.Sprint(value(item, place))
			seen[v] = append(seen[v], item)
		}
		for v, want := range seen {
			check(want, name, v)
			check(want, name, strings.ToUpper(v[:1])+v[1:])
		}
		other := uuid.NewString()
		if _, boolean := value(l.items[0], place).(bool); boolean {
			if len(seen) == 2 {
				continue
			}
			other = fmt.Sprint(!value(l.items[0], place).(bool))
		}
		if place != "type" {
			check(nil, name, other)
		}
	}
	// Filters are joined by and.
	if len(l.texts) > 0 && len(l.exact) > 0 {
		item := l.items[0]
		for text, textPlace := range l.texts {
			for exact, place := range l.exact {
				part, v := value(item, textPlace).(string), fmt.Sprint(value(item, place))
				if part == "" {
					continue
				}
				var want []object
				for _, x := range l.items {
					if textfold.Fold(value(x, textPlace).(string)) == textfold.Fold(part) && fmt.Sprint(value(x, place)) == v {
						want = append(want, x)
					}
				}
				check(want, text, part, exact, v)
			}
		}
	}
}

func refused(t *testing.T, s *servertest.Server, path, parameter string) {
	t.Helper()
	answer := s.Get("/api/v2" + path).Is(http.StatusBadRequest).Map()
	require.Equal(t, false, answer["isSuccess"])
	require.Nil(t, answer["data"])
	require.NotEmpty(t, answer["error"])
	require.Equal(t, parameter, answer["errorDetails"].([]any)[0].(object)["field"], "%v", answer)
}

func (l listed) mistakes(t *testing.T, s *servertest.Server) {
	for _, m := range [][2]string{{"page", "0"}, {"page", "-1"}, {"page", "two"}, {"page_size", "0"}, {"page_size", "101"}, {"page_size", "x"}, {"get_all", "perhaps"},
		{"sort_by", "colour"}, {"sort_by", "id; drop table x"}, {"sort_direction", "up"}, {"name[like]", "x"}, {"colour[contains]", "x"}} {
		refused(t, s, with(l.path, m[0], m[1]), m[0])
	}
	for name := range l.exact {
		refused(t, s, with(l.path, name, "neither"), name)
		refused(t, s, with(l.path, name+"[contains]", "a"), name+"[contains]")
	}
	get(t, s, with(l.path, "utm_source", "x")) // strangers are left alone
	require.Equal(t, l.items, get(t, s, with(l.path, "get_all", "true", "page", "0", "page_size", "1000")).Data, "ignored with get_all")
	// A filter that can't be read is not left out: that would show more than was asked for.
	for _, broken := range []string{"name=%zz", "name[contains]=%"} {
		name, _, _ := strings.Cut(broken, "=")
		refused(t, s, l.path+"?"+broken, name)
	}
}

// fill makes enough of everything and says what each list offers.
func fill(t *testing.T, s *servertest.Server) []listed {
	create := func(path string, body any) object {
		t.Helper()
		return s.Post("/api/v2"+path, body).Is(http.StatusCreated).Map()["data"].(object)
	}
	ref := func(thing object) []object { return []object{{"id": thing["id"], "name": "x"}} }
	names := []string{"alpha", "Beta", "Ärger", "ÄRGERNIS", "zeta", "Zulu 100%", "a_b", "Éclair", "omega", "Omega 2", "gamma", "delta"}
	global := object{"id": directory.GlobalID.String(), "name": "Global"}

	var organizations, groups, users, tasks []object
	for i, name := range names {
		organizations = append(organizations, create("/organizations", object{"name": name, "displayName": names[len(names)-1-i], "description": "About " + names[(i*5)%len(names)], "themeId": uuid.New()}))
	}
	org := organizations[0]
	for i, name := range names {
		in := []object{global, org}[i%2]
		groups = append(groups, create("/groups", object{"name": name, "organizationId": in["id"]}))
	}
	for i, name := range names {
		body := object{"firstName": name, "lastName": "Doe", "email": fmt.Sprintf("%c%d@example.com", 'a'+(i*7)%26, i), "isActive": i%3 != 0,
			"organizations": append(ref(global), ref(org)...), "domainAccount": fmt.Sprint("corp", i)}
		for _, g := range groups[:i%4] {
			if g["organization"].(object)["id"] == org["id"] {
				body["groups"] = append(asList(body["groups"]), ref(g)...)
			}
		}
		users = append(users, create([]string{"/users", "/users/recipients"}[i%2], body))
	}
	for i, name := range names {
		create("/security/roles", object{"name": name, "permissions": object{}, "isActive": i%2 == 0})
		create("/api-keys", object{"name": name, "description": names[(i*7)%len(names)], "expiryDate": time.Now().Add(time.Duration(i*i+1) * time.Hour)})
	}
	for range 2 {
		create("/api-keys", object{"name": "Expired", "expiryDate": time.Now().Add(50 * time.Millisecond)})
	}
	var project object
	for i, name := range names {
		body := object{"name": name, "description": "On " + names[(i*5)%len(names)], "organizationId": []object{global, org}[i%2]["id"]}
		id := s.Post("/admin/v1/projects", body).Is(http.StatusCreated).Map()["id"]
		for range i % 3 {
			tasks = append(tasks, create("/tasks", object{"name": names[(i*7)%len(names)], "projectId": id, "description": name}))
		}
		if project == nil {
			project = object{"id": id}
		}
	}
	for i, x := range tasks {
		s.Put("/api/v2/tasks/"+x["id"].(string), object{"name": x["name"], "description": x["description"], "isActive": i%2 == 0, "testMode": i%3 == 0, "testModeRecipients": "t@example.com"}).Is(http.StatusOK)
	}
	task := create("/tasks", object{"name": "Sent", "projectId": project["id"]})
	var recipients []object
	for i, u := range users {
		recipients = append(recipients, object{"id": u["id"], "type": "user", "sendEmail": i%2 == 0, "seeInHub": true})
	}
	recipients = append(recipients, object{"id": groups[0]["id"], "type": "group", "sendEmail": true, "seeInHub": false}, object{"id": groups[2]["id"], "type": "group", "sendEmail": false, "seeInHub": false})
	added := s.Post("/api/v2/tasks/"+task["id"].(string)+"/recipients", recipients).Is(http.StatusCreated)
	require.Len(t, added.Map()["data"], len(recipients))
	require.Eventually(t, func() bool { return get(t, s, "/api-keys?expired=true").Pagination.TotalItems == 2 }, 5*time.Second, 10*time.Millisecond)

	name := map[string]string{"name": "name"}
	described := map[string]string{"name": "name", "description": "description"}
	return []listed{
		{path: "/api-keys", sorts: map[string]string{"Name": "name", "Description": "description", "Organization.name": "organization.name", "CreatedAt": "createdAt", "ExpiryDate": "expiryDate"},
			texts: described, exact: map[string]string{"expired": "expired"}},
		{path: "/api-keys/admin", sorts: map[string]string{"Name": "name", "Description": "description", "CreatedAt": "createdAt", "ExpiryDate": "expiryDate"},
			texts: described, exact: map[string]string{"expired": "expired", "user_id": "user.id"}},
		{path: "/groups", texts: name, sorts: map[string]string{"Name": "name", "Type": "type", "Organization.Name": "organization.name", "Users": "users", "CreatedDate": "createdDate", "ModifiedDate": "modifiedDate"}},
		{path: "/organizations", sorts: map[string]string{"Name": "name", "DisplayName": "displayName", "Description": "description"}, texts: described},
		{path: "/organizations/" + org["id"].(string) + "/members", sorts: map[string]string{"Type": "type", "Name": "name", "Email": "email"}, texts: name, exact: map[string]string{"type": "type"}},
		{path: "/projects", sorts: map[string]string{"Name": "name", "Description": "description", "Organization.name": "organization.name", "IsActive": "isActive", "Tasks": "tasks",
			"CreatedDate": "createdDate", "ModifiedDate": "modifiedDate"}, texts: described, exact: map[string]string{"organization_id": "organization.id", "modified_by": "modifiedBy", "is_active": "isActive"}},
		{path: "/security/roles", sorts: map[string]string{"Name": "name", "Type": "type", "CreatedDate": "createdDate", "ModifiedDate": "modifiedDate"}, texts: name, exact: map[string]string{"is_active": "isActive"}},
		{path: "/security/roles/info", sorts: map[string]string{"Name": "name"}, texts: name},
		{path: "/tasks", sorts: map[string]string{"Name": "name", "Description": "description", "Project": "project.name", "Organization": "organization.name", "Enable": "isActive",
			"TestMode": "testMode", "Scheduled": "isScheduled", "CreatedDate": "createdDate"}, texts: described, without: map[string]string{"name": "[startswith][endswith]"},
			exact: map[string]string{"project_id": "project.id", "is_active": "isActive", "is_scheduled": "isScheduled"}},
		{path: "/tasks/" + task["id"].(string) + "/recipients", sorts: map[string]string{"type": "type", "name": "name", "email_address": "email", "sendEmail": "sendEmail", "seeInHub": "seeInHub"},
			texts: map[string]string{"name": "name", "email_address": "email"}, exact: map[string]string{"type": "type"},
			ties: map[string]string{"name": "recipientID", "email": "recipientID"}},
		{path: "/users", sorts: map[string]string{"FullName": "fullName", "Email": "email", "UserName": "userName", "IsActive": "isActive", "Groups": "groups#", "Type": "type",
			"CreatedDate": "createdDate", "ModifiedDate": "modifiedDate"}, texts: map[string]string{"full_name": "fullName", "email": "email"},
			exact: map[string]string{"is_active": "isActive", "type": "type"}, byName: "fullName"},
	}
}

func asList(v any) []object { list, _ := v.([]object); return list }

// Lists without pages: the plain envelope.
func TestWholeLists(t *testing.T) {
	s := servertest.Start(t)
	group := s.Post("/api/v2/groups", object{"name": "G"}).Is(http.StatusCreated).Map()["data"].(object)
	path := "/api/v2/groups/" + group["id"].(string) + "/members"
	require.JSONEq(t, `{"data":[],"isSuccess":true,"error":null,"errorDetails":null}`, string(s.Get(path).Is(http.StatusOK).Body))
	user := object{"firstName": "A", "lastName": "B", "isActive": true, "organizations": []object{{"id": directory.GlobalID}}, "groups": []object{group}}
	made := s.Post("/api/v2/users", user).Is(http.StatusCreated).Map()["data"]
	require.Equal(t, []any{made}, s.Get(path).Map()["data"])
	byGroup := get(t, s, "/users?group_id="+group["id"].(string))
	require.Equal(t, []object{made.(object)}, byGroup.Data)
	require.Empty(t, get(t, s, "/users?group_id="+uuid.NewString()).Data)
	refused(t, s, "/users?group_id=x", "group_id")

	for path, pages := range map[string]string{"?name=none": `"pageSize":10`, "?name=none&get_all=true": `"pageSize":0`} {
		require.Contains(t, string(s.Get("/api/v2/groups"+path).Is(http.StatusOK).Body), `{"data":[],"isSuccess":true,"error":null,"errorDetails":null,"pagination":{"page":1,`+pages+`,"totalItems":0,"totalPages":0}}`)
	}

	whole := s.Get("/api/v2/organizations/all").Is(http.StatusOK).Map()
	require.NotContains(t, whole, "pagination")
	require.Len(t, whole["data"], 1)
	for _, missing := range []string{"/groups/" + uuid.NewString() + "/members", "/organizations/" + uuid.NewString() + "/members", "/tasks/" + uuid.NewString() + "/recipients"} {
		s.Get("/api/v2" + missing).Is(http.StatusNotFound)
	}
	s.Get("/api/v2/groups/x/members").Is(http.StatusBadRequest)
}

// The description of the API names every filter and order that lists take.
func TestListsAreDescribed(t *testing.T) {
	s := servertest.Start(t)
	var spec struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In, Description string }
			Responses  map[string]json.RawMessage
		}
	}
	s.As("").Get("/qalyptus/openapi.json").Is(http.StatusOK).JSON(&spec)
	find := func(path, name string) string {
		for _, p := range spec.Paths[path]["get"].Parameters {
			if p.Name == name && p.In == "query" {
				return p.Description
			}
		}
		require.Fail(t, "not described", "%s %s", path, name)
		return ""
	}
	require.Contains(t, find("/api/v2/tasks", "name"), "contains")
	require.NotContains(t, find("/api/v2/tasks", "name"), "startswith")
	require.Contains(t, find("/api/v2/users", "full_name"), "startswith")
	require.Contains(t, find("/api/v2/users", "sort_by"), "type")
	find("/api/v2/users", "group_id")
	find("/api/v2/tasks/{id}/recipients", "email_address")
	find("/api/v2/groups", "page_size")
	for _, p := range spec.Paths["/api/v2/api-keys"]["get"].Parameters {
		require.NotEqual(t, "expiryDate", p.Name, "an order, no filter")
	}
}
