package postgres_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"docket/internal/postgres"
)

func TestAKilledSupervisorLeavesNoServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux tells a child that its parent was killed")
	}
	dir := openDir(t)
	c := startChild(t, childOrder{Dir: dir}, nil)
	require.Empty(t, c.Error)
	execute(t, c.URL, "create table kept (n int); insert into kept values (7)")
	c.kill(t)
	require.Eventually(t, func() bool { return len(postgres.ProcessesIn(c.DataDir)) == 0 }, 10*time.Second, 5*time.Millisecond)

	s := start(t, options(t, dir))
	require.Equal(t, 7, query[int](t, s.URL(), "select n from kept"))
}

// Supervisor and server killed together, in the middle of writing.
func TestKillingEverythingLosesNothing(t *testing.T) {
	dir := openDir(t)
	c := startChild(t, childOrder{Dir: dir}, nil)
	require.Empty(t, c.Error)
	execute(t, c.URL, "create table kept (n int primary key)")
	w := write(c.URL, 1)
	w.reach(t, 50)
	require.NoError(t, syscall.Kill(c.Pid, syscall.SIGKILL))
	c.kill(t)
	acknowledged := w.failed()

	s := start(t, options(t, dir))
	require.GreaterOrEqual(t, query[int](t, s.URL(), "select count(*)::int from kept where n <= $1", acknowledged), acknowledged)
}

// A server whose supervisor is gone but which did not notice, as happens where
// the system has no parent-death signal.
func TestAnOrphanIsStopped(t *testing.T) {
	dir := openDir(t)
	s, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	execute(t, s.URL(), "create table kept (n int); insert into kept values (7)")
	data := s.DataDir()
	require.NoError(t, s.Stop())
	orphan, err := s.LaunchUnsupervised(t.Context())
	require.NoError(t, err)
	require.Contains(t, postgres.ProcessesIn(data), orphan)

	again := start(t, options(t, dir))
	require.NotEqual(t, orphan, again.Pid())
	require.Equal(t, 7, query[int](t, again.URL(), "select n from kept"))
	require.NotContains(t, postgres.ProcessesIn(data), orphan)
	log, err := os.ReadFile(again.LogFile())
	require.NoError(t, err)
	require.NotContains(t, string(log), "not properly shut down")
}

func TestTwentyKillsLoseNoCommittedRow(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the 20 kill cycles do not run with -short")
	}
	s := start(t, options(t, openDir(t)))
	execute(t, s.URL(), "create table kept (n int primary key)")
	acknowledged := 0
	for cycle := range 20 {
		w := write(s.URL(), acknowledged+1)
		w.reach(t, acknowledged+20)
		before := s.Pid()
		require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
		acknowledged = w.failed()
		requireBack(t, s, before)
		require.Equal(t, acknowledged, query[int](t, s.URL(), "select count(*)::int from kept where n <= $1", acknowledged), "cycle %d", cycle)
		// The row under way when the server died may be there or not.
		execute(t, s.URL(), fmt.Sprintf("delete from kept where n > %d", acknowledged))
	}
	t.Logf("20 kills, %d committed rows, none lost", acknowledged)
}

// writer inserts n, n+1, ... into kept, one transaction each, until the server
// is gone.
type writer struct {
	reached chan int
	last    chan int
}

func write(url string, n int) *writer {
	ctx := context.Background()
	w := &writer{reached: make(chan int), last: make(chan int, 1)}
	go func() {
		last := n - 1
		defer func() { w.last <- last }()
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return
		}
		defer conn.Close(ctx)
		for {
			if _, err := conn.Exec(ctx, "insert into kept values ($1)", last+1); err != nil {
				return
			}
			last++
			select {
			case w.reached <- last:
			default:
			}
		}
	}()
	return w
}

// reach waits until the row n is committed.
func (w *writer) reach(t *testing.T, n int) {
	t.Helper()
	for {
		select {
		case got := <-w.reached:
			if got >= n {
				return
			}
		case last := <-w.last:
			w.last <- last
			require.FailNow(t, "the writer ended early", "at %d", last)
		}
	}
}

// failed waits until the writer has lost its server and returns its last
// acknowledged row.
func (w *writer) failed() int { return <-w.last }
