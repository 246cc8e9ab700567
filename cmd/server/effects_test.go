package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/eventstore"
	"docket/internal/config"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type jobPage struct {
	Items []struct {
		ID                          int64
		Kind, State, EventID, Error string
		Attempt, MaxAttempts, Run   int
		Cancelling                  bool
		DueAt, EndedAt              *time.Time
		OrganizationID              string
	}
	Next *string
}

// deadJob makes a job that was given up, of a kind that nobody works on.
func deadJob(t *testing.T, s *servertest.Server, organization string) (id int64, event uuid.UUID) {
	t.Helper()
	event = uuid.New()
	args := fmt.Sprintf(`{"event":%q,"tenant":%q,"correlation":%q,"args":{}}`, event, organization, event)
	err := s.Postgres().QueryRow(t.Context(), `insert into effects.river_job (kind, queue, state, args, attempt, max_attempts, finalized_at, errors)
		values ('test.gone', 'test-gone', 'discarded', $1, 3, 3, now(), array['{"at":"2026-01-01T00:00:00Z","attempt":3,"error":"no paper","trace":""}'::jsonb]) returning id`, args).Scan(&id)
	require.NoError(t, err)
	return id, event
}

func TestOperatorsLookAfterJobs(t *testing.T) {
	s := servertest.Start(t)
	sales := s.Organization("Sales")
	id, event := deadJob(t, s, servertest.GlobalID)
	hidden, _ := deadJob(t, s, uuid.NewString())
	list := func(s *servertest.Server, query string) jobPage {
		t.Helper()
		var page jobPage
		s.Get("/admin/v1/jobs?kind=test.gone" + query).Is(http.StatusOK).JSON(&page)
		return page
	}
	require.Len(t, list(s, "").Items, 2)
	page := list(s, "&limit=1")
	require.Equal(t, hidden, page.Items[0].ID, "the newest first")
	page = list(s, "&limit=1&after="+*page.Next)
	require.Equal(t, id, page.Items[0].ID)
	require.Nil(t, page.Next)
	page = list(s, "&state=dead&event="+event.String())
	require.Len(t, page.Items, 1)
	j := page.Items[0]
	require.Equal(t, []any{id, "test.gone", "dead", event.String(), "no paper", 3, 1}, []any{j.ID, j.Kind, j.State, j.EventID, j.Error, j.Attempt, j.Run})
	require.NotNil(t, j.EndedAt)
	require.Nil(t, j.DueAt)
	require.Empty(t, list(s, "&state=waiting").Items)
	s.Get("/admin/v1/jobs?state=x").Is(http.StatusBadRequest)
	s.Get("/admin/v1/jobs?after=x").Is(http.StatusBadRequest)
	s.Get("/admin/v1/jobs?sate=dead").Is(http.StatusBadRequest)

	path := fmt.Sprintf("/admin/v1/jobs/%d", id)
	watcher := s.Member(servertest.GlobalID, "operations.view")
	require.Equal(t, "dead", watcher.Get(path).Is(http.StatusOK).Map()["state"])
	watcher.Post(path+"/retry", nil).Is(http.StatusForbidden)
	watcher.Post(path+"/cancel", nil).Is(http.StatusForbidden)
	s.As("").Get("/admin/v1/jobs").Is(http.StatusUnauthorized)
	stranger := s.Member(sales, "operations.view", "operations.edit")
	require.Empty(t, list(stranger, "").Items)
	for _, answer := range []servertest.Answer{stranger.Get(path), stranger.Post(path+"/retry", nil), stranger.Post(path+"/cancel", nil), s.Get("/admin/v1/jobs/999999"), s.Post("/admin/v1/jobs/999999/retry", nil)} {
		answer.Is(http.StatusNotFound)
	}

	s.Post(path+"/cancel", nil).Is(http.StatusConflict)
	s.Post(path+"/retry", nil).Is(http.StatusNoContent)
	j = list(s, "&state=waiting").Items[0]
	require.Equal(t, []any{id, 0, 2, false}, []any{j.ID, j.Attempt, j.Run, j.Cancelling})
	s.Post(path+"/cancel", nil).Is(http.StatusNoContent)
	require.True(t, list(s, "&state=waiting").Items[0].Cancelling)
}

func TestEffectsTellTheirState(t *testing.T) {
	s := servertest.Start(t)
	id, _ := deadJob(t, s, servertest.GlobalID)
	_, err := s.Postgres().Exec(t.Context(), "update effects.river_job set kind = 'printing.deliver' where id = $1", id)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return contains(s, "/readyz", "printing.deliver 0 waiting 0 running 1 dead")
	}, 30*time.Second, 50*time.Millisecond)
	require.True(t, contains(s.As(""), "/metrics", `docket_effect_jobs{kind="printing.deliver",state="dead"} 1`))
	require.Eventually(t, func() bool { return contains(s.As(""), "/metrics", `docket_effect_timer_seconds_count{result="done"`) }, 30*time.Second, 50*time.Millisecond)
}

// Without the role no job is run. Operators can look after them all the same.
func TestOperatorsLookAfterWhatRunsElsewhere(t *testing.T) {
	settings, err := config.FromEnviron([]string{"DOCKET_DATA_DIR=" + t.TempDir(), "DOCKET_HTTP_ADDR=127.0.0.1:0", "DOCKET_SAFEQ_ADDR=off",
		"DOCKET_POSTGRES_URL=" + pgtest.URL(t), "DOCKET_BOOTSTRAP_KEY=" + servertest.Key, "DOCKET_WRITE_WAIT=20s", "DOCKET_LOG_LEVEL=error"})
	require.NoError(t, err)
	const name = "reporting.end-orphaned-tasks"
	type reactor struct {
		Name, State string
		Failure     *struct{ EventID, EventType, Error string }
	}
	get := func(s *servertest.Server) reactor {
		var all struct{ Items []reactor }
		s.Get("/admin/v1/reactors").Is(http.StatusOK).JSON(&all)
		for _, r := range all.Items {
			if r.Name == name {
				return r
			}
		}
		t.Fatal("no such reactor")
		return reactor{}
	}
	poison := eventstore.Proposed{ID: uuid.New(), Type: "reporting.project-deleted", Data: []byte(`{"id":3}`), Meta: []byte(`{"schema":1,"n":1}`)}
	t.Run("stopped", func(t *testing.T) {
		s := servertest.Run(t, settings)
		_, err := s.EventStore().Append(t.Context(), "project-"+uuid.NewString(), eventstore.NoStream, []eventstore.Proposed{poison})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return get(s).Failure != nil }, 30*time.Second, 10*time.Millisecond)
		require.Equal(t, "stopped", get(s).State)
		for _, group := range []string{"reporting", "printing"} { // only the reactor is to stay stopped
			require.Eventually(t, func() bool {
				return s.Post("/admin/v1/projections/"+group+"/skip", object{"eventId": poison.ID, "reason": "made by a test"}).Status == http.StatusNoContent
			}, 30*time.Second, 10*time.Millisecond, group)
		}
	})
	t.Run("elsewhere", func(t *testing.T) {
		without := *settings
		without.Roles = config.Roles{config.API, config.Projections}
		s := servertest.Run(t, &without)
		r := get(s)
		require.Equal(t, "stopped", r.State)
		require.Equal(t, []string{poison.ID.String(), poison.Type}, []string{r.Failure.EventID, r.Failure.EventType})
		path := "/admin/v1/reactors/" + name + "/skip"
		body := object{"eventId": poison.ID, "reason": "made by a test"}
		s.Member(servertest.GlobalID, "operations.view").Post(path, body).Is(http.StatusForbidden)
		s.Post("/admin/v1/reactors/nonsense/skip", body).Is(http.StatusNotFound)
		s.Post(path, object{"eventId": uuid.New(), "reason": "another"}).Is(http.StatusConflict)
		s.Post(path, object{"eventId": poison.ID, "reason": ""}).Is(http.StatusBadRequest)
		s.Post(path, body).Is(http.StatusNoContent)
		require.Equal(t, "elsewhere", get(s).State)
		s.Post(path, body).Is(http.StatusConflict)
		id, _ := deadJob(t, s, servertest.GlobalID)
		s.Post(fmt.Sprintf("/admin/v1/jobs/%d/retry", id), nil).Is(http.StatusNoContent)
		require.NotContains(t, string(s.Get("/readyz").Body), "effects: live")
	})
	t.Run("on", func(t *testing.T) {
		s := servertest.Run(t, settings)
		require.Eventually(t, func() bool { return get(s).State == "live" }, 30*time.Second, 10*time.Millisecond)
		require.Nil(t, get(s).Failure)
	})
}

func contains(s *servertest.Server, path, text string) bool {
	return strings.Contains(string(s.Get(path).Body), text)
}
