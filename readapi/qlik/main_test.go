package qlik_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const base = "/api/v1/groups"

type object = map[string]any
type list = []any

type role struct{ ID, Name, Type, Level string }

type link struct{ Href string }

type group struct {
	ID, Name, Status, TenantID string
	CreatedAt, LastUpdatedAt   time.Time
	Links                      struct{ Self link }
	AssignedRoles              *[]role
}

type page struct {
	Data  []group
	Links struct {
		Self       link
		Next, Prev *link
	}
	TotalResults *int64
}

func (p page) names() []string {
	names := []string{}
	for _, g := range p.Data {
		names = append(names, g.Name)
	}
	return names
}

// failure is the documented error body.
type failure struct {
	Errors []struct {
		Code, Title, Detail string
		Status              int
		Source              struct{ Pointer, Parameter string }
	}
	TraceID string
}

// tenant is a member of a new organization who may do everything with groups and
// roles.
func tenant(s *servertest.Server, name string, more ...string) *servertest.Server {
	return s.Member(s.Organization(name), append([]string{"groups.view", "groups.create", "groups.edit", "groups.delete", "roles.view", "roles.create", "tasks.view"}, more...)...)
}

func create(s *servertest.Server, body object) group {
	var g group
	s.Post(base, body).Is(http.StatusCreated).JSON(&g)
	return g
}

// fails checks an answer against the documented error body. place is "?name" for
// a parameter, "/path" for a pointer, "" for none.
func fails(t *testing.T, a servertest.Answer, status int, code, place string) failure {
	t.Helper()
	a.Is(status)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	var f failure
	a.JSON(&f)
	require.Regexp(t, "^[0-9a-f]{32}$", f.TraceID)
	require.NotEmpty(t, f.Errors)
	e := f.Errors[0]
	require.Equal(t, code, e.Code, "%s", a.Body)
	require.Equal(t, status, e.Status)
	require.NotEmpty(t, e.Title)
	require.NotEmpty(t, e.Detail)
	got := e.Source.Pointer
	if e.Source.Parameter != "" {
		got = "?" + e.Source.Parameter
	}
	require.Equal(t, place, got, "%s", a.Body)
	return f
}

func read(s *servertest.Server, query url.Values) page {
	var p page
	s.Get(base + "?" + query.Encode()).Is(http.StatusOK).JSON(&p)
	return p
}

// longID is how the other APIs write an id of this one, shortID the reverse.
func longID(t *testing.T, id string) string {
	t.Helper()
	long, err := domain.ParseShortID(id)
	require.NoError(t, err)
	return long.String()
}

func shortID(t *testing.T, id string) string {
	t.Helper()
	parsed, err := uuid.Parse(id)
	require.NoError(t, err)
	return domain.ShortID(parsed)
}
