package qlik_test

import (
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	base       = "/api/v1/groups"
	settingsAt = base + "/settings"
	everyoneID = "000000000000000000000001"
)

type object = map[string]any
type list = []any

type role struct{ ID, Name, Type, Level string }

type group struct {
	ID, Name, Status, TenantID string
	CreatedAt, LastUpdatedAt   time.Time
	AssignedRoles              []role
}

func (g group) roles() []string { return names(g.AssignedRoles) }

func names(roles []role) []string {
	all := []string{}
	for _, r := range roles {
		all = append(all, r.Name)
	}
	return all
}

type settings struct {
	TenantID                        string
	AutoCreateGroups, SyncIdpGroups bool
	SystemGroups                    map[string]struct {
		ID, Name                 string
		Enabled                  bool
		CreatedAt, LastUpdatedAt time.Time
		AssignedRoles            []role
	}
	Links struct{ Self struct{ Href string } }
}

// tenant is a member of a new organization with some roles in it: A, B and C,
// which let their holders view tasks, and Chief, which gives more than the member
// has.
type tenant struct {
	*servertest.Server
	id    string
	roles map[string]string // ids, as this API writes them
}

func newTenant(t *testing.T, root *servertest.Server, name string) tenant {
	t.Helper()
	id := root.Organization(name)
	s := tenant{Server: root.Member(id, "groups.view", "groups.create", "groups.edit", "groups.delete", "roles.view", "roles.create", "roles.delete", "tasks.view"), id: id, roles: map[string]string{}}
	chief := root.Member(id, "roles.create", "tasks.view", "tasks.run")
	for _, name := range []string{"A", "B", "C", "Chief"} {
		body := object{"name": name, "allProjects": true, "isActive": true, "permissions": object{"tasks": object{"view": true, "run": name == "Chief"}}}
		s.roles[name] = short(t, chief.Post("/api/v2/security/roles", body).Is(http.StatusCreated).ID())
	}
	return s
}

func (s tenant) create(body object) (g group) {
	s.Post(base, body).Is(http.StatusCreated).JSON(&g)
	return g
}

func (s tenant) group(id string) (g group) {
	s.Get(base + "/" + id).Is(http.StatusOK).JSON(&g)
	return g
}

func (s tenant) settings() (all settings) {
	s.Get(settingsAt).Is(http.StatusOK).JSON(&all)
	return all
}

func (s tenant) count() int64 {
	var p struct{ TotalResults int64 }
	s.Get(base + "?totalResults=true").Is(http.StatusOK).JSON(&p)
	return p.TotalResults
}

// named and numbered refer to roles.
func named(names ...string) list {
	all := list{}
	for _, n := range names {
		all = append(all, object{"name": n})
	}
	return all
}

func (s tenant) numbered(names ...string) list {
	all := list{}
	for _, n := range names {
		all = append(all, object{"id": s.roles[n]})
	}
	return all
}

func replace(path string, value any) object {
	return object{"op": "replace", "path": path, "value": value}
}

func short(t *testing.T, id string) string {
	t.Helper()
	parsed, err := uuid.Parse(id)
	require.NoError(t, err)
	return domain.ShortID(parsed)
}

func long(t *testing.T, id string) string {
	t.Helper()
	parsed, err := domain.ParseShortID(id)
	require.NoError(t, err)
	return parsed.String()
}

// problem is one entry of the documented error body; Source is a pointer.
type problem struct {
	Code, Source string
}

// fails checks an answer against the documented error body.
func fails(t *testing.T, a servertest.Answer, status int, want ...problem) {
	t.Helper()
	a.Is(status)
	var f struct {
		Errors []struct {
			Code, Title, Detail string
			Status              int
			Source              struct{ Pointer string }
		}
		TraceID string
	}
	a.JSON(&f)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Regexp(t, "^[0-9a-f]{32}$", f.TraceID)
	got := []problem{}
	for _, e := range f.Errors {
		require.Equal(t, status, e.Status)
		require.NotEmpty(t, e.Title)
		require.NotEmpty(t, e.Detail)
		got = append(got, problem{e.Code, e.Source.Pointer})
	}
	require.ElementsMatch(t, want, got, "%s", a.Body)
}
