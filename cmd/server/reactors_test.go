package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/commands/reactors"
	"docket/domain"
	"docket/eventstore"
	"docket/internal/config"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// streamEvents is what stands in a stream.
func streamEvents(t *testing.T, s *servertest.Server, name string) []eventstore.Recorded {
	t.Helper()
	var all []eventstore.Recorded
	for r, err := range s.EventStore().Load(t.Context(), name, 0) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

func last(t *testing.T, s *servertest.Server, name string) eventstore.Recorded {
	t.Helper()
	all := streamEvents(t, s, name)
	require.NotEmpty(t, all)
	return all[len(all)-1]
}

// requireEnd waits until a stream ends with an event of a type that the system
// appended because of the last event of another stream.
func requireEnd(t *testing.T, s *servertest.Server, name, eventType, because string) {
	t.Helper()
	require.Eventually(t, func() bool { return last(t, s, name).Type == eventType }, 30*time.Second, 10*time.Millisecond, "%s has no %s", name, eventType)
	requireCause(t, last(t, s, name), last(t, s, because))
}

func requireCause(t *testing.T, effect, cause eventstore.Recorded) {
	t.Helper()
	m, err := eventstore.DecodeMetadata(effect.Meta)
	require.NoError(t, err)
	before, err := eventstore.DecodeMetadata(cause.Meta)
	require.NoError(t, err)
	require.Equal(t, cause.ID, m.Causation)
	require.Equal(t, before.Correlation, m.Correlation)
	require.Equal(t, before.Tenant, m.Tenant)
	require.Equal(t, domain.SystemID, m.Actor)
	require.Equal(t, "system", m.Dialect)
}

// requireClean waits for the read models and compares them with what a rebuild makes.
func requireClean(t *testing.T, s *servertest.Server, groups ...string) {
	t.Helper()
	for _, g := range groups {
		require.Equal(t, float64(0), s.Post("/admin/v1/projections/"+g+"/verify", nil).Is(http.StatusOK).Map()["differences"], g)
	}
}

func project(s *servertest.Server) string {
	return s.Post("/admin/v1/projects", map[string]any{"name": "P " + uuid.NewString()}).Is(http.StatusCreated).ID()
}

func task(s *servertest.Server, project string) string {
	return s.Post("/api/v2/tasks", map[string]any{"name": "T", "projectId": project}).Is(http.StatusCreated).ID()
}

func user(s *servertest.Server, organization string) string {
	return s.Post("/api/v2/users", map[string]any{"firstName": "A", "lastName": "B", "email": uuid.NewString() + "@example.com", "isActive": true,
		"roles": []any{}, "organizations": []any{map[string]any{"id": organization}}}).Is(http.StatusCreated).ID()
}

func key(s *servertest.Server, user, organization string) string {
	return s.Post("/admin/v1/api-keys", map[string]any{"userId": user, "organizationId": organization, "name": "k", "expiryDate": time.Now().Add(time.Hour)}).Is(http.StatusCreated).ID()
}

func TestDeletedProjectEndsItsTasks(t *testing.T) {
	s := servertest.Start(t)
	p, other := project(s), project(s)
	var tasks []string
	for range 5 {
		tasks = append(tasks, task(s, p))
	}
	kept, ended := task(s, other), task(s, p)
	s.Delete("/api/v2/tasks/"+ended, nil).Is(http.StatusOK)
	s.Delete("/api/v2/projects/"+p, nil).Is(http.StatusOK)
	for _, id := range tasks {
		requireEnd(t, s, "task-"+id, "reporting.task-deleted", "project-"+p)
	}
	var e struct {
		ProjectID string
		DeletedAt time.Time
	}
	require.NoError(t, json.Unmarshal(last(t, s, "task-"+tasks[0]).Data, &e))
	require.Equal(t, p, e.ProjectID)
	require.Equal(t, last(t, s, "project-"+p).Created.UTC().Truncate(time.Microsecond), e.DeletedAt)
	require.Len(t, streamEvents(t, s, "task-"+ended), 2, "ended once")
	require.Equal(t, "reporting.task-created", last(t, s, "task-"+kept).Type)
	requireClean(t, s, "reporting")
	requireNoWork(t, s)
	require.Equal(t, float64(1), s.Get("/api/v2/projects/" + other).Is(http.StatusOK).Map()["data"].(map[string]any)["tasks"])
}

// requireNoWork waits until the lists of orphans are empty.
func requireNoWork(t *testing.T, s *servertest.Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		err := s.Postgres().QueryRow(context.Background(), `select (select count(*) from rm_reporting.orphaned_tasks)
			+ (select count(*) from rm_reporting.orphaned_recipients) + (select count(*) from rm_directory.orphaned_keys) + (select count(*) from rm_directory.orphaned_access)`).Scan(&n)
		return err == nil && n == 0
	}, 30*time.Second, 10*time.Millisecond)
}

func TestDeletedOwnersEndTheirKeys(t *testing.T) {
	s := servertest.Start(t)
	organization := s.Organization("Doomed")
	stays, leaves := user(s, servertest.GlobalID), user(s, servertest.GlobalID)
	both := s.Post("/api/v2/users", map[string]any{"firstName": "A", "lastName": "B", "email": uuid.NewString() + "@example.com", "isActive": true,
		"roles": []any{}, "organizations": []any{map[string]any{"id": servertest.GlobalID}, map[string]any{"id": organization}}}).Is(http.StatusCreated).ID()
	kept, gone, also := key(s, stays, servertest.GlobalID), key(s, leaves, servertest.GlobalID), key(s, leaves, servertest.GlobalID)
	inOrganization := key(s, both, organization)

	s.Delete("/api/v2/users/"+leaves, nil).Is(http.StatusOK)
	requireEnd(t, s, "apikey-"+gone, "directory.apikey-revoked", "user-"+leaves)
	requireEnd(t, s, "apikey-"+also, "directory.apikey-revoked", "user-"+leaves)

	s.Put("/api/v2/users/"+both, map[string]any{"firstName": "A", "lastName": "B", "email": uuid.NewString() + "@example.com", "isActive": true,
		"roles": []any{}, "organizations": []any{map[string]any{"id": servertest.GlobalID}}}).Is(http.StatusOK)
	s.Delete("/api/v2/organizations/"+organization, nil).Is(http.StatusOK)
	requireEnd(t, s, "apikey-"+inOrganization, "directory.apikey-revoked", "organization-"+organization)
	require.Equal(t, "directory.apikey-created", last(t, s, "apikey-"+kept).Type)
	requireNoWork(t, s)
	requireClean(t, s, "directory")
}

func TestDeletedUsersAndGroupsLeaveTheirTasks(t *testing.T) {
	s := servertest.Start(t)
	p := project(s)
	one, two := task(s, p), task(s, p)
	u, stays := user(s, servertest.GlobalID), user(s, servertest.GlobalID)
	g := s.Post("/api/v2/groups", map[string]any{"name": "G"}).Is(http.StatusCreated).ID()
	recipient := func(id, kind string) map[string]any {
		return map[string]any{"id": id, "type": kind, "sendEmail": true, "seeInHub": true}
	}
	s.Post("/api/v2/tasks/"+one+"/recipients", []any{recipient(u, "user"), recipient(g, "group"), recipient(stays, "user")}).Is(http.StatusCreated)
	s.Post("/api/v2/tasks/"+two+"/recipients", []any{recipient(g, "group")}).Is(http.StatusCreated)
	s.Delete("/api/v2/users/"+u, nil).Is(http.StatusOK)
	requireEnd(t, s, "task-"+one, "reporting.task-recipients-removed", "user-"+u)
	s.Delete("/api/v2/groups/"+g, nil).Is(http.StatusOK)
	requireEnd(t, s, "task-"+two, "reporting.task-recipients-removed", "group-"+g)
	requireNoWork(t, s)
	requireCause(t, last(t, s, "task-"+one), last(t, s, "group-"+g))
	requireClean(t, s, "reporting", "directory")
}

// What was recorded after the end of what it belongs to ends, too. No command
// does that on purpose: its look at the other stream was a moment old.
func TestLateCreationsEnd(t *testing.T) {
	s := servertest.Start(t)
	p, u := project(s), user(s, servertest.GlobalID)
	s.Delete("/api/v2/projects/"+p, nil).Is(http.StatusOK)
	s.Delete("/api/v2/users/"+u, nil).Is(http.StatusOK)
	late := func(stream, eventType string, body map[string]any) {
		data, err := json.Marshal(body)
		require.NoError(t, err)
		meta, err := json.Marshal(eventstore.Metadata{Tenant: uuid.MustParse(servertest.GlobalID), Correlation: uuid.New(), Schema: 1, Count: 1})
		require.NoError(t, err)
		_, err = s.EventStore().Append(t.Context(), stream, eventstore.NoStream, []eventstore.Proposed{{ID: uuid.New(), Type: eventType, Data: data, Meta: meta}})
		require.NoError(t, err)
		created := last(t, s, stream)
		require.Eventually(t, func() bool { return len(streamEvents(t, s, stream)) == 2 }, 30*time.Second, 10*time.Millisecond)
		requireCause(t, last(t, s, stream), created)
	}
	id := domain.WellKnownID(0x300).String()
	late("task-"+id, "reporting.task-created", map[string]any{"id": id, "projectId": p, "organizationId": servertest.GlobalID, "ownerId": u, "name": "T", "description": "", "createdAt": time.Now()})
	late("apikey-"+id, "directory.apikey-created", map[string]any{"id": id, "userId": u, "organizationId": servertest.GlobalID, "name": "K", "description": "", "hash": []byte("x"),
		"expiresAt": time.Now(), "createdAt": time.Now()})
	requireNoWork(t, s)
	requireClean(t, s, "reporting", "directory")
}

// Without the role nothing is done. The next process that has it makes up for that.
func TestReactorsNeedTheirRole(t *testing.T) {
	settings, err := config.FromEnviron([]string{"DOCKET_DATA_DIR=" + t.TempDir(), "DOCKET_HTTP_ADDR=127.0.0.1:0", "DOCKET_SAFEQ_ADDR=off",
		"DOCKET_POSTGRES_URL=" + pgtest.URL(t), "DOCKET_BOOTSTRAP_KEY=" + servertest.Key, "DOCKET_WRITE_WAIT=20s", "DOCKET_LOG_LEVEL=error", "DOCKET_ROLES=api,projections"})
	require.NoError(t, err)
	var p, id string
	t.Run("without", func(t *testing.T) {
		s := servertest.Run(t, settings)
		require.Empty(t, s.Reactors())
		p = project(s)
		id = task(s, p)
		s.Delete("/api/v2/projects/"+p, nil).Is(http.StatusOK)
	})
	t.Run("with", func(t *testing.T) {
		settings.Roles = append(settings.Roles, config.Reactors)
		s := servertest.Run(t, settings)
		requireEnd(t, s, "task-"+id, "reporting.task-deleted", "project-"+p)
		require.Len(t, streamEvents(t, s, "task-"+id), 2)
	})
}

func TestReactorsTellTheirState(t *testing.T) {
	s := servertest.Start(t)
	require.Eventually(t, func() bool {
		for _, st := range s.Reactors() {
			if st.State != reactors.Live {
				return false
			}
		}
		return len(s.Reactors()) > 3
	}, 30*time.Second, 10*time.Millisecond)
	require.Contains(t, string(s.Get("/readyz").Is(http.StatusOK).Body), "reporting.end-orphaned-tasks live")
	require.Contains(t, string(s.As("").Get("/metrics").Is(http.StatusOK).Body), `docket_reactor_state{reactor="reporting.end-orphaned-tasks",state="live"} 1`)
}
