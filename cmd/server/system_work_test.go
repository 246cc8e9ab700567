package server_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain/directory"
	"docket/domain/reporting"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// work is a load of writers and readers that goes on through outages. A writer
// sends each of its creates under one Idempotency-Key until it is acknowledged.
type work struct {
	t       *testing.T
	client  *client
	project string

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{}
	acked    map[string]bool // names of what was created
	clients  []*progress
	problems []string
}

// progress is how one client fares.
type progress struct {
	writer  bool
	what    string
	good    int // acknowledged writes or reads
	refused int // answers 503
	busy    int // told that the first try is still under way
	last    string
}

// readPaths are what readers ask for, by dialect.
var readPaths = map[string]string{"qalyptus": "/api/v2/tasks?page_size=5", "qlik": "/api/v1/groups?limit=5"}

// startWork begins with writers of three kinds and two readers per dialect.
func startWork(t *testing.T, s *servertest.Server, writers int) *work {
	w := &work{t: t, client: newClient(t, s.URL, s.Key), project: publishProject(s), changed: make(chan struct{}), acked: map[string]bool{}}
	w.ctx, w.stop = context.WithCancel(context.WithoutCancel(t.Context()))
	for i := range writers {
		p := &progress{writer: true, what: "writer"}
		w.clients = append(w.clients, p)
		w.running.Go(func() {
			for n := 0; w.ctx.Err() == nil; n++ {
				w.create(p, i+n)
			}
		})
	}
	for dialect, path := range readPaths {
		for range 2 {
			p := &progress{what: "reader of " + dialect}
			w.clients = append(w.clients, p)
			w.running.Go(func() {
				for w.ctx.Err() == nil {
					answer, err := w.client.do(context.Background(), http.MethodGet, path, nil)
					w.judge(p, dialect, "", answer, err)
					w.rest()
				}
			})
		}
	}
	t.Cleanup(func() { w.stop(); w.running.Wait() })
	return w
}

// rest keeps clients from using all of the machine: those that are turned away
// come again a little later, as Retry-After asks on a larger scale.
func (w *work) rest() { <-time.After(25 * time.Millisecond) }

// create makes one thing with a name of its own, however often it has to ask. It
// goes on after stop, so that nothing is left in doubt.
func (w *work) create(p *progress, n int) {
	name, key := "W "+uuid.NewString(), uuid.NewString()
	dialect, path, body := "qalyptus", "/api/v2/tasks", object{"name": name, "projectId": w.project}
	switch n % 3 {
	case 1:
		path, body = "/api/v2/groups", object{"name": name}
	case 2:
		dialect, path, body = "qlik", "/api/v1/groups", object{"name": name}
	}
	for begun := time.Now(); ; w.rest() {
		answer, err := w.client.do(context.Background(), http.MethodPost, path, body, "Idempotency-Key", key)
		if w.judge(p, dialect, name, answer, err) {
			return
		}
		if time.Since(begun) > 3*patience {
			w.problem("%s was not acknowledged for too long: %d %s %v", path, answer.status, answer.body, err)
			return
		}
	}
}

// judge takes an answer in and tells whether it was a success. What may be
// answered beside it: 503 with Retry-After, and for a write that was interrupted
// that the first try is still under way.
func (w *work) judge(p *progress, dialect, created string, r reply, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() {
		close(w.changed)
		w.changed = make(chan struct{})
	}()
	retry := r.header.Get("Retry-After") != ""
	p.last = fmt.Sprintf("%d %.200s", r.status, r.body)
	switch {
	case err != nil:
		w.note("%s: no answer: %v", p.what, err)
	case r.ok():
		p.good++
		if created != "" {
			w.acked[created] = true
		}
		return true
	case r.status == http.StatusServiceUnavailable && retry:
		p.refused++
		if wrong := wrongError(dialect, r); wrong != "" {
			w.note("%s: %s", p.what, wrong)
		}
	case r.status == http.StatusConflict && retry && p.writer:
		p.busy++
	default:
		w.note("%s: %d %v %s", p.what, r.status, r.header, r.body)
	}
	return false
}

func (w *work) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(format, args...)
}

func (w *work) note(format string, args ...any) {
	if len(w.problems) < 5 {
		w.problems = append(w.problems, fmt.Sprintf(format, args...))
	}
}

// await waits until all clients (or those that are chosen) are as said.
func (w *work) await(what string, chosen, is func(p *progress) bool) {
	w.t.Helper()
	begun, timeout := time.Now(), time.NewTimer(patience)
	defer timeout.Stop()
	for {
		w.mu.Lock()
		missing := ""
		for _, p := range w.clients {
			if chosen(p) && !is(p) {
				missing = fmt.Sprintf("%s: %+v", p.what, *p)
			}
		}
		changed, problems := w.changed, w.problems
		w.mu.Unlock()
		require.Empty(w.t, problems)
		if missing == "" {
			w.t.Logf("%s: after %v", what, time.Since(begun).Round(time.Millisecond))
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			w.t.Fatalf("%s: %s", what, missing)
		}
	}
}

func everybody(*progress) bool    { return true }
func theWriters(p *progress) bool { return p.writer }

// more waits until the chosen clients have had some more successes.
func (w *work) more(what string, chosen func(p *progress) bool, n int) {
	w.t.Helper()
	at := w.now()
	w.await(what, chosen, func(p *progress) bool { return p.good >= at[p].good+n })
}

// turnedAway waits until the chosen clients have met 503.
func (w *work) turnedAway(what string, chosen func(p *progress) bool) {
	w.t.Helper()
	at := w.now()
	w.await(what, chosen, func(p *progress) bool { return p.refused > at[p].refused })
}

// now is how all clients fare.
func (w *work) now() map[*progress]progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[*progress]progress{}
	for _, p := range w.clients {
		all[p] = *p
	}
	return all
}

// finish ends the load and makes sure that what was acknowledged happened, and
// everything once.
func (w *work) finish(s *servertest.Server) {
	w.t.Helper()
	w.stop()
	w.running.Wait()
	require.Empty(w.t, w.problems)
	require.NotEmpty(w.t, w.acked)
	caughtUp(w.t, s)
	times := map[string]int{}
	for _, r := range readLog(w.t, s) {
		switch e := r.event.(type) {
		case reporting.TaskCreated:
			times[e.Name]++
		case directory.GroupCreated:
			times[e.Name]++
		}
	}
	for name := range w.acked {
		require.Equal(w.t, 1, times[name], "created so often: %s", name)
	}
	require.Len(w.t, times, len(w.acked), "all were acknowledged in the end")
	var rows int
	require.NoError(w.t, s.Pools().Main.QueryRow(w.t.Context(), `select (select count(*) from rm_reporting.tasks) + (select count(*) from rm_directory.groups)`).Scan(&rows))
	require.Equal(w.t, len(w.acked), rows)
	verifyAll(w.t, s)
	w.t.Logf("%d creates acknowledged, each there once", len(w.acked))
}
