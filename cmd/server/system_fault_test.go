package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/eventstore"
	"docket/eventstore/embedded"
	"docket/internal/config"
	"docket/internal/postgres"
	"docket/projections"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// startPrivate runs a private Postgres in dir.
func startPrivate(t *testing.T, dir string) *postgres.Server {
	t.Helper()
	pg, err := postgres.Start(t.Context(), postgres.Options{Dir: dir, FallbackDir: dir, NoSync: true, Settings: map[string]string{"shared_buffers": "32MB"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pg.Stop()) })
	return pg
}

// outages keeps those that a test makes out of its output, and writes from
// waiting long for read models that stand still.
func outages(c *config.Config) { c.LogLevel, c.WriteWait = slog.LevelError+1, time.Second }

// openDir is a temporary folder that other users may pass: as root, Postgres
// runs as one of them.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docket-system")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// Postgres stops, is killed and (in the long form) stands still under a load of
// reads and writes.
func TestPostgresGoneAndBack(t *testing.T) {
	dir := openDir(t)
	pg := startPrivate(t, dir)
	s := servertest.Start(t, func(c *config.Config) { outages(c); c.PostgresURL = pg.URL() })
	w := startWork(t, s, 4)
	w.more("before", everybody, 5)

	require.NoError(t, pg.Stop())
	w.turnedAway("stopped", everybody)
	require.Equal(t, http.StatusServiceUnavailable, s.Get("/readyz").Status)
	s.Get("/healthz").Is(http.StatusOK)
	admin := s.Get("/admin/v1/events").Is(http.StatusServiceUnavailable)
	require.NotEmpty(t, admin.Header.Get("Retry-After"))
	require.Empty(t, wrongError("admin", reply{admin.Status, admin.Header, admin.Body}))

	again := startPrivate(t, dir)
	require.Equal(t, pg.URL(), again.URL())
	back := time.Now()
	w.more("started again", everybody, 1)
	t.Logf("all clients served again %v after Postgres was back", time.Since(back))
	w.more("going on", everybody, 5)

	// A crash of the server, which is started again by its supervisor.
	killed := again.Pid()
	require.NoError(t, syscall.Kill(killed, syscall.SIGKILL))
	require.Eventually(t, func() bool { return again.Healthy() && again.Pid() != killed }, patience, 10*time.Millisecond)
	w.more("after the crash", everybody, 5)

	if long(t) {
		for _, pid := range family(t, again.Pid()) {
			require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		}
		w.turnedAway("standing still", everybody)
		for _, pid := range family(t, again.Pid()) {
			require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		}
		w.more("after standing still", everybody, 5)
	}
	s.AwaitReady()
	w.finish(s)
}

// family is a process and its children.
func family(t *testing.T, pid int) []int {
	pids := []int{pid}
	children, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	require.NoError(t, err)
	for _, file := range children {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, word := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(word)
			require.NoError(t, err)
			pids = append(pids, child)
		}
	}
	return pids
}

// The event store goes away and comes back. Reads need it not.
func TestEventStoreGoneAndBack(t *testing.T) {
	dir := t.TempDir()
	open := func(addr string) *embedded.Server {
		store, err := embedded.Open(dir, embedded.Options{Addr: addr, NoSync: true, SocketDir: t.TempDir()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	}
	store := open("127.0.0.1:0")
	addr := store.Addr().String()
	s := servertest.Start(t, func(c *config.Config) { outages(c); c.EventstoreURL = "esdb://" + addr + "?tls=false" })
	w := startWork(t, s, 4)
	w.more("before", everybody, 5)

	// Twice: for a moment, which writes wait out, and for longer.
	require.NoError(t, store.Close())
	w.more("reads go on", func(p *progress) bool { return !p.writer }, 20)
	store = open(addr)
	w.more("after a moment", everybody, 5)

	require.NoError(t, store.Close())
	w.turnedAway("stopped", theWriters)
	w.more("reads go on", func(p *progress) bool { return !p.writer }, 5)
	require.Equal(t, http.StatusServiceUnavailable, s.Get("/readyz").Status)
	open(addr)
	back := time.Now()
	w.more("opened again", theWriters, 1)
	t.Logf("all writers served again %v after the event store was back", time.Since(back))
	w.more("going on", everybody, 5)
	for _, p := range w.clients {
		require.True(t, p.writer || p.refused == 0, "%s was turned away", p.what)
	}
	s.AwaitReady()
	w.finish(s)
}

// An event that cannot be digested stops the group that reads it, and nothing
// else, until an operator says to leave it out.
func TestPoisonEvent(t *testing.T) {
	s := servertest.Start(t, func(c *config.Config) { c.WriteWait = time.Minute })
	project := publishProject(s)
	task := func(name string) reply {
		// A request that waited for the stopped group would outlast this.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := newClient(t, s.URL, s.Key).do(ctx, http.MethodPost, "/api/v2/tasks", object{"name": name, "projectId": project})
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, r.status, "%s", r.body)
		return r
	}
	before := idOf(task("before").body)

	poison, of := uuid.New(), uuid.New()
	meta := []byte(`{"$correlationId":"` + uuid.NewString() + `"}`)
	_, err := s.EventStore().Append(t.Context(), "task-"+of.String(), eventstore.NoStream,
		[]eventstore.Proposed{{ID: poison, Type: "reporting.task-created", Data: []byte(`{"id":7}`), Meta: meta}})
	require.NoError(t, err)
	awaitState(t, s, "reporting", projections.Stopped)
	for _, group := range []string{"directory", "audit"} {
		require.Equal(t, projections.Live, stateOf(s, group).State)
	}
	require.Eventually(t, func() bool { // the audit trail has it all the same
		return len(s.Get("/admin/v1/events?stream=task-" + of.String()).Is(http.StatusOK).Map()["items"].([]any)) == 1
	}, patience, 10*time.Millisecond)

	ready := s.Get("/readyz").Is(http.StatusServiceUnavailable)
	require.Contains(t, string(ready.Body), "reporting stopped")
	named := false
	for _, item := range s.Get("/admin/v1/projections").Is(http.StatusOK).Map()["items"].([]any) {
		if one := item.(map[string]any); one["group"] == "reporting" {
			failure := one["failure"].(map[string]any)
			named = failure["eventId"] == poison.String() && failure["eventType"] == "reporting.task-created" && failure["stream"] == "task-"+of.String()
		}
	}
	require.True(t, named)

	// The rest serves on: reads of the stopped group's rows, everything else whole.
	s.Get("/api/v2/tasks/" + before).Is(http.StatusOK)
	s.Get("/api/v2/tasks").Is(http.StatusOK)
	group := s.Post("/api/v2/groups", object{"name": "While stopped"}).Is(http.StatusCreated).ID()
	s.Get("/api/v2/groups/" + group).Is(http.StatusOK)
	after := idOf(task("after").body)
	s.Get("/api/v2/tasks/" + after).Is(http.StatusNotFound) // written, not shown yet

	skip := func(group string) int {
		return s.Post("/admin/v1/projections/"+group+"/skip", object{"eventId": poison, "reason": "made by a test"}).Status
	}
	require.Equal(t, http.StatusConflict, skip("directory"))
	require.Eventually(t, func() bool { return skip("reporting") == http.StatusNoContent }, patience, 10*time.Millisecond)
	awaitState(t, s, "reporting", projections.Live)
	require.Eventually(t, func() bool { return s.Get("/api/v2/tasks/"+after).Status == http.StatusOK }, patience, 10*time.Millisecond)
	caughtUp(t, s)
	s.AwaitReady()
	verifyAll(t, s)
}

// All read models are built anew while they are read and written.
func TestRebuildUnderLoad(t *testing.T) {
	s := servertest.Start(t)
	w := startWork(t, s, 2)
	rounds := 2
	if long(t) {
		rounds = 20
	}
	w.more("before", everybody, 20)
	for range rounds {
		for _, group := range []string{"directory", "reporting", "audit"} {
			s.Post("/admin/v1/projections/"+group+"/rebuild", nil).Is(http.StatusAccepted)
			require.Eventually(t, func() bool {
				for _, item := range s.Get("/admin/v1/projections").Is(http.StatusOK).Map()["items"].([]any) {
					last, _ := item.(map[string]any)["lastRebuild"].(map[string]any)
					if item.(map[string]any)["group"] == group && last != nil && last["finishedAt"] != nil {
						require.Equal(t, false, last["failed"])
						return true
					}
				}
				return false
			}, patience, 10*time.Millisecond)
			w.more("after a rebuild", everybody, 5)
		}
	}
	for _, p := range w.clients {
		require.Zero(t, p.refused, "%s was turned away", p.what)
	}
	w.finish(s)
}
