package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"docket/cmd/server/servertest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type object = map[string]any
type list = []any

// event is an event as the API shows it.
type event struct {
	Position                                                int64
	ID, Type, Stream                                        string
	Revision                                                int64
	RecordedAt                                              time.Time
	Tenant, Actor, Command, CommandID, Correlation, Dialect string
	APIKey                                                  *string
	Data                                                    map[string]any
}

type page struct {
	Items []event
	Next  *string
}

func events(s *servertest.Server, query string) page {
	var p page
	s.Get("/admin/v1/events" + query).Is(http.StatusOK).JSON(&p)
	return p
}

// awaitEvents blocks until the audit trail, which nobody who writes waits for,
// has so many events of a query.
func awaitEvents(t *testing.T, s *servertest.Server, query string, n int) page {
	t.Helper()
	var p page
	require.Eventually(t, func() bool { p = events(s, query); return len(p.Items) >= n }, 30*time.Second, 20*time.Millisecond)
	require.Len(t, p.Items, n)
	return p
}

func group(s *servertest.Server, name string, headers ...string) string {
	return s.Post("/api/v2/groups", object{"name": name}, headers...).Is(http.StatusCreated).ID()
}

func TestEvents(t *testing.T) {
	s := servertest.Start(t)
	id := group(s, "Readers")
	body := object{"name": "Writers", "isActive": true}
	s.Put("/api/v2/groups/"+id, body).Is(http.StatusOK)
	s.Put("/api/v2/groups/"+id, object{"name": "Editors", "isActive": true}).Is(http.StatusOK)
	stream := "group-" + id

	var whole page
	s.Get("/admin/v1/streams/" + stream + "/events").Is(http.StatusOK).JSON(&whole)
	require.Len(t, whole.Items, 3)
	first := whole.Items[0]
	require.Equal(t, "directory.group-created", first.Type)
	require.Equal(t, stream, first.Stream)
	require.Equal(t, "directory.create-group", first.Command)
	require.Equal(t, "qalyptus", first.Dialect)
	require.Equal(t, servertest.GlobalID, first.Tenant)
	require.NotNil(t, first.APIKey)
	require.Equal(t, "Readers", first.Data["name"])

	t.Run("the audit trail tells the same", func(t *testing.T) {
		require.Equal(t, whole, awaitEvents(t, s, "?stream="+stream, 3))
		desc := events(s, "?order=desc&stream="+stream)
		require.Equal(t, whole.Items[2], desc.Items[0])
		require.Equal(t, whole.Items[0], desc.Items[2])
	})
	t.Run("one event", func(t *testing.T) {
		var one event
		s.Get("/admin/v1/events/" + first.ID).Is(http.StatusOK).JSON(&one)
		require.Equal(t, first, one)
		s.Get("/admin/v1/events/" + uuid.NewString()).Is(http.StatusNotFound)
		s.Get("/admin/v1/events/x").Is(http.StatusBadRequest)
	})
	t.Run("pages", func(t *testing.T) {
		var got []event
		for query := "?limit=1&stream=" + stream; ; {
			p := events(s, query)
			got = append(got, p.Items...)
			if p.Next == nil {
				break
			}
			query = "?limit=1&stream=" + stream + "&after=" + *p.Next
		}
		require.Equal(t, whole.Items, got)
		back := events(s, fmt.Sprintf("?order=desc&stream=%s&after=%d", stream, whole.Items[2].Position))
		require.Equal(t, []event{whole.Items[1], whole.Items[0]}, back.Items)

		got = nil
		for query := "?limit=2"; ; {
			var p page
			s.Get("/admin/v1/streams/" + stream + "/events" + query).Is(http.StatusOK).JSON(&p)
			got = append(got, p.Items...)
			if p.Next == nil {
				break
			}
			query = "?limit=2&after=" + *p.Next
		}
		require.Equal(t, whole.Items, got)
		var late page
		s.Get("/admin/v1/streams/" + stream + "/events?from=2").Is(http.StatusOK).JSON(&late)
		require.Equal(t, whole.Items[2:], late.Items)
	})
	t.Run("filters", func(t *testing.T) {
		count := func(query string) int { return len(events(s, "?stream="+stream+query).Items) }
		require.Equal(t, 1, count("&type=directory.group-created"))
		require.Equal(t, 3, count("&type=directory."))
		require.Equal(t, 0, count("&type=reporting."))
		require.Equal(t, 3, count("&actor="+first.Actor))
		require.Equal(t, 0, count("&actor="+uuid.NewString()))
		require.Equal(t, 3, count("&organization="+first.Tenant))
		require.Equal(t, 0, count("&organization="+uuid.NewString()))
		require.Equal(t, 3, count("&dialect=qalyptus"))
		require.Equal(t, 0, count("&dialect=qlik"))
		require.Equal(t, 2, count("&command=directory.update-group"))
		require.Equal(t, 1, count("&correlation="+first.Correlation))
		at := url.QueryEscape(whole.Items[1].RecordedAt.Format(time.RFC3339Nano))
		require.Equal(t, 2, count("&from="+at), "from is included")
		require.Equal(t, 1, count("&to="+at), "to is not")
	})
	t.Run("bad input", func(t *testing.T) {
		for _, query := range []string{"limit=0", "limit=1001", "limit=x", "after=x", "after=-1", "actor=x", "from=yesterday", "order=up", "type=directory", "type=nonsense.", "stram=x"} {
			a := s.Get("/admin/v1/events?" + query).Is(http.StatusBadRequest)
			require.Contains(t, string(a.Body), `"in":"query"`, query)
		}
		for _, query := range []string{"from=-1", "limit=0", "after=x"} {
			s.Get("/admin/v1/streams/" + stream + "/events?" + query).Is(http.StatusBadRequest)
		}
		s.Get("/admin/v1/streams/group-" + uuid.NewString() + "/events").Is(http.StatusNotFound)
	})
}

func TestState(t *testing.T) {
	s := servertest.Start(t)
	id := group(s, "Readers")
	s.Put("/api/v2/groups/"+id, object{"name": "Writers", "isActive": true}).Is(http.StatusOK)
	path := "/admin/v1/streams/group-" + id
	var log page
	s.Get(path + "/events").Is(http.StatusOK).JSON(&log)
	s.Delete("/api/v2/groups/"+id, nil).Is(http.StatusOK)

	type state struct {
		Revision      int64
		At            time.Time
		Exists        bool
		Organizations []string
		State         struct{ Name string }
	}
	get := func(query string) (st state) {
		s.Get(path + "/state" + query).Is(http.StatusOK).JSON(&st)
		return st
	}
	now := get("")
	require.False(t, now.Exists)
	require.Equal(t, int64(2), now.Revision)
	require.Equal(t, now, get("?revision=99"))
	require.Equal(t, state{0, log.Items[0].RecordedAt, true, []string{servertest.GlobalID}, struct{ Name string }{"Readers"}}, get("?revision=0"))
	require.Equal(t, "Writers", get("?revision=1").State.Name)
	at := func(moment time.Time) string { return "?time=" + url.QueryEscape(moment.Format(time.RFC3339Nano)) }
	require.Equal(t, "Readers", get(at(log.Items[1].RecordedAt.Add(-time.Microsecond))).State.Name)
	require.Equal(t, "Writers", get(at(log.Items[1].RecordedAt)).State.Name)
	s.Get(path + "/state" + at(log.Items[0].RecordedAt.Add(-time.Microsecond))).Is(http.StatusNotFound)

	s.Get("/admin/v1/streams/group-" + uuid.NewString() + "/state").Is(http.StatusNotFound)
	s.Get("/admin/v1/streams/nonsense/state").Is(http.StatusNotFound)
	for _, query := range []string{"?revision=-1", "?revision=x", "?time=x", "?revision=0&time=2026-01-01T00:00:00Z"} {
		s.Get(path + "/state" + query).Is(http.StatusBadRequest)
	}
}

func TestScope(t *testing.T) {
	s := servertest.Start(t)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	auditor := s.Member(sales, "audit.view")
	salesman, chemist := s.Member(sales, "groups.create"), s.Member(lab, "groups.create")
	visible, foreign := "group-"+group(salesman, "G"), "group-"+group(chemist, "G")
	mine, others := awaitEvents(t, s, "?stream="+visible, 1).Items[0], awaitEvents(t, s, "?stream="+foreign, 1).Items[0]

	all := events(auditor, "?limit=1000").Items
	require.NotEmpty(t, all)
	for _, e := range all {
		require.Equal(t, sales, e.Tenant)
	}
	require.Len(t, events(auditor, "?stream="+visible).Items, 1)
	require.Empty(t, events(auditor, "?stream="+foreign).Items)
	require.Empty(t, events(auditor, "?organization="+lab).Items)
	auditor.Get("/admin/v1/events/" + mine.ID).Is(http.StatusOK)
	auditor.Get("/admin/v1/events/" + others.ID).Is(http.StatusNotFound)
	for _, what := range []string{"/events", "/state"} {
		auditor.Get("/admin/v1/streams/" + visible + what).Is(http.StatusOK)
		auditor.Get("/admin/v1/streams/" + foreign + what).Is(http.StatusNotFound)
		s.Get("/admin/v1/streams/" + foreign + what).Is(http.StatusOK)
	}
	// The machinery belongs to no organization.
	claims := events(s, "?type=kernel.&limit=1").Items
	require.NotEmpty(t, claims)
	s.Get("/admin/v1/streams/" + claims[0].Stream + "/events").Is(http.StatusOK)
	auditor.Get("/admin/v1/streams/" + claims[0].Stream + "/events").Is(http.StatusNotFound)

	for _, path := range []string{"/admin/v1/events", "/admin/v1/events/" + mine.ID, "/admin/v1/streams/" + visible + "/events", "/admin/v1/streams/" + visible + "/state"} {
		s.As("").Get(path).Is(http.StatusUnauthorized)
		s.As("dk_unknown").Get(path).Is(http.StatusUnauthorized)
		salesman.Get(path).Is(http.StatusForbidden)
	}
}

func TestSecretsAndPersonalData(t *testing.T) {
	s := servertest.Start(t)
	sales := s.Organization("Sales")
	user := s.Post("/api/v2/users", object{"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com", "password": "correct horse battery", "isActive": true,
		"organizations": list{object{"id": sales}}}).Is(http.StatusCreated).ID()
	path := "/admin/v1/streams/user-" + user
	data := func(s *servertest.Server) map[string]any {
		var p page
		s.Get(path + "/events").Is(http.StatusOK).JSON(&p)
		return p.Items[0].Data
	}
	auditor, clerk := s.Member(sales, "audit.view"), s.Member(sales, "audit.view", "users.view")
	for _, s := range []*servertest.Server{s, clerk} {
		require.Equal(t, "Ada", data(s)["firstName"])
		require.Equal(t, "ada@example.com", data(s)["email"])
		require.Equal(t, "(hidden)", data(s)["passwordHash"])
		body := string(s.Get(path + "/state").Is(http.StatusOK).Body)
		require.Contains(t, body, "Lovelace")
		require.NotContains(t, body, "argon2id")
	}
	for _, member := range []string{"firstName", "lastName", "email", "passwordHash"} {
		require.Equal(t, "(hidden)", data(auditor)[member])
	}
	require.Equal(t, user, data(auditor)["id"])
	auditor.Get(path + "/state").Is(http.StatusForbidden)

	raw, err := json.Marshal(awaitEvents(t, s, "?type=directory.apikey-created", 3)) // the first administrator's, and the two members'
	require.NoError(t, err)
	require.Contains(t, string(raw), `"hash":"(hidden)"`)
}

func TestProjections(t *testing.T) {
	s := servertest.Start(t)
	var list struct {
		Items []struct {
			Group, Version, State  string
			Position               int64
			Head, Lag              *int64
			BehindSeconds          float64
			Failure, Build, Broken any
		}
	}
	s.Get("/admin/v1/projections").Is(http.StatusOK).JSON(&list)
	var names []string
	for _, g := range list.Items {
		names = append(names, g.Group)
		require.Equal(t, "live", g.State)
		require.NotEmpty(t, g.Version)
		require.NotNil(t, g.Head)
		require.Positive(t, *g.Head)
		require.Nil(t, g.Failure)
	}
	require.Equal(t, []string{"audit", "directory", "printing", "reporting"}, names)
	s.As("").Get("/admin/v1/projections").Is(http.StatusUnauthorized)
	s.Member(servertest.GlobalID, "audit.view").Get("/admin/v1/projections").Is(http.StatusForbidden)
	s.Member(servertest.GlobalID, "operations.view").Get("/admin/v1/projections").Is(http.StatusOK)
}

func TestDocuments(t *testing.T) {
	s := servertest.Start(t)
	doc := s.As("").Get("/admin/openapi.json").Is(http.StatusOK).Map()
	paths := doc["paths"].(object)
	for _, path := range []string{"/events", "/events/{id}", "/audit", "/streams/{stream}/events", "/streams/{stream}/state", "/projections", "/projections/{group}/rebuild",
		"/projections/{group}/verify", "/projections/{group}/skip", "/projects", "/projects/import", "/api-keys", "/sync-runs", "/sync-runs/{id}", "/sync-runs/{id}/stop"} {
		require.Contains(t, paths, "/admin/v1"+path)
	}
	s.As("").Get("/admin/docs").Is(http.StatusOK)
}
