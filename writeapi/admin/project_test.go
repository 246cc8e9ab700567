package admin_test

import (
	"net/http"
	"testing"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

// problem is the body of an error.
type problem struct {
	Status int
	Code   string
	Detail string
	Errors []struct{ In, Path, Message string }
}

// refused checks status and the fields that are named.
func refused(t *testing.T, a servertest.Answer, status int, fields ...string) problem {
	t.Helper()
	a.Is(status)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	var p problem
	a.JSON(&p)
	require.Equal(t, status, p.Status)
	var named []string
	for _, e := range p.Errors {
		named = append(named, e.Path)
	}
	require.Equal(t, fields, named, "%s", a.Body)
	return p
}

type object = map[string]any
type list = []any

func TestPublishProject(t *testing.T) {
	s := servertest.Start(t)
	sales := s.Organization("Sales")
	answer := s.Post("/admin/v1/projects", object{"name": " Quarterly ", "description": "All of it", "organizationId": sales, "reports": list{
		object{"name": "Revenue", "description": "r", "type": "Excel", "outputFormats": list{"Xlsx", "Pdf"}},
		object{"name": "Letter", "type": "Word"},
	}}).Is(http.StatusCreated)
	var made struct {
		ID      string
		Reports []struct{ ID, Name string }
	}
	answer.JSON(&made)
	require.Len(t, made.Reports, 2)
	require.Equal(t, "Revenue", made.Reports[0].Name)
	require.Equal(t, "Letter", made.Reports[1].Name)
	require.NotEqual(t, made.Reports[0].ID, made.Reports[1].ID)

	project := s.Get("/api/v2/projects").Is(http.StatusOK).Map()["data"].(list)[0].(object)
	require.Equal(t, made.ID, project["id"])
	require.Equal(t, "Quarterly", project["name"])
	s.Post("/api/v2/tasks", object{"name": "T", "projectId": made.ID}).Is(http.StatusCreated)

	// Without an organization it is the caller's own; there the name is free.
	s.Post("/admin/v1/projects", object{"name": "Quarterly"}).Is(http.StatusCreated)
	refused(t, s.Post("/admin/v1/projects", object{"name": "quarterly"}), http.StatusConflict, "name")

	again := []string{"Idempotency-Key", "once"}
	first := s.Post("/admin/v1/projects", object{"name": "Once"}, again...).Is(http.StatusCreated)
	require.Equal(t, first.Body, s.Post("/admin/v1/projects", object{"name": "Once"}, again...).Is(http.StatusCreated).Body)
}

func TestPublishIsRefused(t *testing.T) {
	s := servertest.Start(t)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	path := "/admin/v1/projects"
	refused(t, s.As("").Post(path, object{"name": "P"}), http.StatusUnauthorized)
	refused(t, s.Member(sales, "projects.view").Post(path, object{"name": "P"}), http.StatusForbidden)
	publisher := s.Member(sales, "projects.create", "projects.view")
	refused(t, publisher.Post(path, object{"name": "P", "organizationId": lab}), http.StatusBadRequest, "organizationId")
	publisher.Post(path, object{"name": "P"}).Is(http.StatusCreated)

	for name, c := range map[string]struct {
		body   any
		fields []string
	}{
		"nothing":            {object{}, []string{"name"}},
		"empty name":         {object{"name": ""}, []string{"name"}},
		"blank name":         {object{"name": "  "}, []string{"name"}},
		"wrong types":        {object{"name": 1, "description": list{}, "organizationId": "x", "reports": "none"}, []string{"description", "name", "organizationId", "reports"}},
		"null name":          {`{"name":null}`, []string{"name"}},
		"member twice":       {`{"name":"a","Name":"b"}`, []string{"Name"}},
		"unknown type":       {object{"name": "Q", "reports": list{object{"name": "r", "type": "Pdf"}}}, []string{"reports[0].type"}},
		"unknown format":     {object{"name": "Q", "reports": list{object{"name": "r", "type": "Word", "outputFormats": list{"Docx", "Xlsx"}}}}, []string{"reports[0].outputFormats[1]"}},
		"report without":     {object{"name": "Q", "reports": list{object{}}}, []string{"reports[0].name", "reports[0].type"}},
		"same report twice":  {object{"name": "Q", "reports": list{object{"name": "r", "type": "Word"}, object{"name": "R", "type": "Word"}}}, []string{"reports[1].name"}},
		"template elsewhere": {object{"name": "Q", "reports": list{object{"name": "r", "type": "Word", "template": "a.docx"}}}, []string{"reports[0].template"}},
	} {
		t.Run(name, func(t *testing.T) { // imports follow the same rules
			refused(t, s.Post(path, c.body), http.StatusBadRequest, c.fields...)
			refused(t, s.Post(path+"/import", c.body), http.StatusBadRequest, c.fields...)
		})
	}
	refused(t, s.Post(path, `{"name":`), http.StatusBadRequest)
	refused(t, s.Post(path+"/import", `{"name":`), http.StatusBadRequest)
	require.Equal(t, float64(1), s.Get("/api/v2/projects").Map()["pagination"].(object)["totalItems"], "nothing was made of what was refused")
}
