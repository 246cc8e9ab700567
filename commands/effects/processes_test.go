package effects

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// child is a process that begins a job and never ends it.
func child() {
	pool, err := pgxpool.New(context.Background(), os.Getenv("DOCKET_TEST_WORKER"))
	if err != nil {
		panic(err)
	}
	o := quick()
	o.Workers = 1
	stuck := Define("test.work", o, func(context.Context, args, Job) error {
		fmt.Println("begun")
		select {}
	}, nil)
	e, err := NewEngine(Config{Pool: pool, Kinds: []AnyKind{stuck}, Process: "victim", Logger: slog.New(slog.DiscardHandler), poll: 5 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	panic(e.Run(context.Background()))
}

// victim starts a process that has begun a job, and gives what kills it.
func (w *world) victim() (kill func()) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DOCKET_TEST_WORKER="+w.pool.Config().ConnString())
	out, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, cmd.Start())
	dead := false
	kill = func() {
		if !dead {
			dead = true
			require.NoError(w.t, cmd.Process.Kill()) // SIGKILL
			_ = cmd.Wait()
		}
	}
	w.t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	require.True(w.t, lines.Scan())
	require.Equal(w.t, "begun", lines.Text())
	return kill
}

// After kill -9 the process that has the same data folder goes on at once.
func TestKilledAndStartedAgain(t *testing.T) {
	w := newWorld(t)
	var seen attempts
	k := w.kind(quick(), func(_ context.Context, _ args, job Job) error { seen.add(job); return nil })
	w.add(w.engine(w.config()), k, 1)
	w.victim()()
	c := w.config()
	c.Kinds, c.Process, c.grace = []AnyKind{k}, "victim", time.Hour
	p := w.start(c)
	job := w.jobs(p.Engine, Done, 1)[0]
	require.Equal(t, cutOff, job.Error)
	require.Equal(t, []Job{{ID: job.ID, Kind: "test.work", Attempt: 2, MaxAttempts: 3, Repeat: true, Run: 1, Event: job.Event, Tenant: tenant}}, seen.all())
}

// Another process leaves the jobs of one that lives alone, and takes those of
// one that is gone.
func TestKilledBesideOthers(t *testing.T) {
	w := newWorld(t)
	var seen attempts
	k := w.kind(quick(), func(_ context.Context, _ args, job Job) error { seen.add(job); return nil })
	c := w.config()
	c.Kinds, c.grace = []AnyKind{k}, time.Nanosecond
	first := w.add(w.engine(c), k, 1)
	kill := w.victim()
	p := w.start(c)
	w.add(p.Engine, k, 2)
	require.NotEqual(t, first, w.jobs(p.Engine, Done, 1)[0].Event)
	require.Equal(t, first, w.jobs(p.Engine, Running, 1)[0].Event, "it still runs")
	kill()
	w.jobs(p.Engine, Done, 2)
	require.True(t, seen.all()[1].Repeat)
}

// A job that takes its process along each time is given up like others.
func TestKilledByTheJob(t *testing.T) {
	w := newWorld(t)
	var runs atomic.Int32
	o := quick()
	o.MaxAttempts = 2
	k := w.kind(o, func(context.Context, args, Job) error { runs.Add(1); return nil })
	w.add(w.engine(w.config()), k, 7)
	w.victim()()
	w.exec("update effects.river_job set attempt = 2")
	c := w.config()
	c.Kinds, c.Process = []AnyKind{k}, "victim"
	p := w.start(c)
	require.Equal(t, cutOff, w.jobs(p.Engine, Dead, 1)[0].Error)
	events, _ := w.recorded()
	require.Equal(t, givenUp{7, cutOff}, events[0])
	require.Zero(t, runs.Load())
}

func TestTwoProcessesShareTheWork(t *testing.T) {
	w := newWorld(t)
	var seen attempts
	start := func() *process {
		return w.run(w.kind(quick(), func(_ context.Context, _ args, job Job) error { seen.add(job); return nil }))
	}
	first, second := start(), start()
	numbers := make([]int, 60)
	for i := range numbers {
		numbers[i] = i + 1
	}
	w.ask(numbers...)
	w.jobs(second.Engine, Done, len(numbers))
	require.Len(t, seen.all(), len(numbers), "each job ran once")
	events := make(map[uuid.UUID]bool)
	for _, j := range seen.all() {
		events[j.Event] = true
		require.False(t, j.Repeat)
	}
	require.Len(t, events, len(numbers))
	first.stop()
	w.ask(100)
	w.jobs(second.Engine, Done, len(numbers)+1)
}

func TestOutageOfPostgres(t *testing.T) {
	w := newWorld(t)
	p := w.run(w.kind(quick(), func(ctx context.Context, a args, _ Job) error { return w.answer(ctx, a.N) }))
	for n := 1; n < 5; n++ {
		w.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		w.ask(n)
		w.jobs(p.Engine, Done, n)
	}
	events, _ := w.recorded()
	require.Len(t, events, 4)
	w.eventually(func() bool { return p.Status().State == Live })
}

// A job that ended, but for Postgres not, does not stay in between for ever.
func TestAnEndThatWasNotStored(t *testing.T) {
	w := newWorld(t)
	var seen attempts
	k := w.kind(quick(), func(_ context.Context, _ args, job Job) error { seen.add(job); return nil })
	c := w.config()
	c.Kinds, c.settle = []AnyKind{k}, 500*time.Millisecond
	p := w.start(c, enqueue(k))
	w.ask(1)
	w.jobs(p.Engine, Done, 1)
	w.exec("update effects.river_job set state = 'running', finalized_at = null")
	w.eventually(func() bool { return len(seen.all()) == 2 })
	require.True(t, seen.all()[1].Repeat)
	w.jobs(p.Engine, Done, 1)
}

func TestManyBeginAtOnce(t *testing.T) {
	w := newWorld(t)
	k := w.kind(quick(), func(context.Context, args, Job) error { return nil })
	errs := make(chan error, 8)
	for range cap(errs) {
		e := w.engine(w.config())
		go func() { errs <- e.Prepare(context.Background()) }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	p := w.run(k)
	w.ask(1)
	w.jobs(p.Engine, Done, 1)
}

// beats counts how often an engine looks after everything.
type beats struct {
	noMetrics
	n atomic.Int32
}

func (b *beats) Counted(Count) { b.n.Add(1) }

func TestTimersRunOncePerDueTime(t *testing.T) {
	w := newWorld(t)
	var runs, together atomic.Int32
	var engines [2]*beats
	timer := Every("test.timer", time.Hour, func(ctx context.Context, _ time.Time) error {
		if together.Add(1) > 1 {
			t.Error("two at once")
		}
		defer together.Add(-1)
		if runs.Add(1) <= 3 { // both look while it runs
			for _, b := range engines {
				seen := b.n.Load()
				w.eventually(func() bool { return b.n.Load() >= seen+2 })
			}
		}
		return w.answer(asSystem(ctx), 1)
	})
	idle := w.kind(quick(), func(context.Context, args, Job) error { return nil })
	var processes [2]*process
	for i := range engines {
		engines[i] = &beats{}
	}
	for i, b := range engines {
		c := w.config(timer)
		c.Metrics, c.Kinds = b, []AnyKind{idle}
		processes[i] = w.start(c)
	}
	first, second := processes[0], processes[1]
	ran := func(n int32) time.Time {
		t.Helper()
		w.eventually(func() bool {
			return runs.Load() == n && scan[bool](w, "select due > now() and ran_at > now() - interval '1 minute' from effects.timer")
		})
		return scan[time.Time](w, "select due from effects.timer")
	}
	due := ran(1)
	require.WithinDuration(t, time.Now().Add(time.Hour), due, time.Minute)
	w.exec("update effects.timer set due = due - interval '90 minutes', ran_at = null")
	require.Equal(t, due.Add(-30*time.Minute), ran(2), "the rhythm stays")
	w.exec("update effects.timer set due = due - interval '1000 minutes', ran_at = null") // nobody was there
	require.Equal(t, due.Add(-10*time.Minute), ran(3), "made up for once")
	first.stop()
	w.exec("update effects.timer set due = now(), ran_at = null")
	ran(4)
	second.stop()
	require.EqualValues(t, 4, runs.Load())
	events, _ := w.recorded()
	require.Len(t, events, 4)
}

// What is due is known across restarts.
func TestTimersCatchUp(t *testing.T) {
	w := newWorld(t)
	var runs atomic.Int32
	timer := Every("test.timer", time.Hour, func(context.Context, time.Time) error { runs.Add(1); return nil })
	p := w.start(w.config(timer))
	w.eventually(func() bool { return scan[bool](w, "select ran_at is not null from effects.timer") })
	p.stop()
	other := Every("test.other", time.Hour, func(context.Context, time.Time) error { runs.Add(100); return nil })
	p = w.start(w.config(timer, other))
	w.eventually(func() bool { return runs.Load() == 101 }) // not the timer: it is not due
	p.stop()
	w.exec("update effects.timer set due = now() - interval '3 days' where name = 'test.timer'")
	p = w.start(w.config(timer, other))
	w.eventually(func() bool { return runs.Load() == 102 })
	p.stop()
	// A shorter interval counts from now on.
	w.start(w.config(Every("test.timer", time.Minute, func(context.Context, time.Time) error { runs.Add(1); return nil })))
	w.eventually(func() bool {
		return runs.Load() == 103 && scan[bool](w, "select due < now() + interval '2 minutes' from effects.timer where name = 'test.timer'")
	})
}

func TestTimersThatFail(t *testing.T) {
	w := newWorld(t)
	var runs atomic.Int32
	p := w.start(w.config(Every("test.timer", time.Hour, func(ctx context.Context, _ time.Time) error {
		switch runs.Add(1) {
		case 1:
			if err := w.answer(asSystem(ctx), 1); err != nil {
				return err
			}
			panic("oh")
		}
		return w.answer(asSystem(ctx), 1)
	})))
	w.eventually(func() bool { return scan[string](w, "select error from effects.timer") == "panicked: oh" })
	w.eventually(func() bool { return scan[bool](w, "select ran_at is not null and error = '' from effects.timer") })
	events, _ := w.recorded()
	require.Len(t, events, 1, "the same due time, the same commands")
	_ = p
}
