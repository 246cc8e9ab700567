package effects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// attempts gathers how a kind's jobs were run.
type attempts struct {
	mu   sync.Mutex
	seen []Job
}

func (a *attempts) add(j Job) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, j)
	return len(a.seen)
}

func (a *attempts) all() []Job {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Job(nil), a.seen...)
}

func TestAFailedAttemptIsRepeated(t *testing.T) {
	w := newWorld(t)
	var seen attempts
	var ids []domain.ID
	var waits []int
	o := quick()
	o.Backoff = func(attempt int) time.Duration { waits = append(waits, attempt); return 0 }
	k := w.kind(o, func(ctx context.Context, a args, job Job) error {
		ids = append(ids, commands.NewID(ctx))
		switch seen.add(job) {
		case 1:
			return errors.New("no paper \x00 \xff")
		case 2:
			panic("no ink")
		}
		return w.answer(ctx, a.N)
	})
	p := w.run(k)
	w.ask(1)
	job := w.jobs(p.Engine, Done, 1)[0]
	all := seen.all()
	require.Len(t, all, 3)
	for i, j := range all {
		require.Equal(t, i+1, j.Attempt)
		require.Equal(t, i > 0, j.Repeat)
		require.Equal(t, 1, j.Run)
		require.Equal(t, ids[0], ids[i], "all attempts make the same ids")
	}
	require.Equal(t, []int{1, 2}, waits)
	require.Equal(t, 3, job.Attempt)
	require.Equal(t, "panicked: no ink", job.Error)
	require.Equal(t, "no paper  �", scan[string](w, "select errors[1]->>'error' from effects.river_job"))
}

// An outcome that was recorded and whose answer got lost is not recorded again.
func TestTheOutcomeIsRecordedOnce(t *testing.T) {
	w := newWorld(t)
	var seen attempts
	k := w.kind(quick(), func(ctx context.Context, a args, job Job) error {
		n := seen.add(job)
		if err := w.answer(ctx, a.N); err != nil || n == 2 {
			return err
		}
		return errors.New("died before the end was stored")
	})
	p := w.run(k)
	w.ask(1)
	w.jobs(p.Engine, Done, 1)
	events, _ := w.recorded()
	require.Len(t, events, 1)
	require.Len(t, seen.all(), 2)
}

func TestGivenUpAfterTheLastAttempt(t *testing.T) {
	for _, c := range []struct {
		err      error
		attempts int
	}{{errors.New("no paper"), 3}, {Permanent(errors.New("no such printer")), 1}, {Permanent(fault.New(fault.Unavailable, "x", "for good")), 1}} {
		t.Run(c.err.Error(), func(t *testing.T) {
			w := newWorld(t)
			var seen attempts
			p := w.run(w.kind(quick(), func(_ context.Context, _ args, job Job) error { seen.add(job); return c.err }))
			ids := w.ask(7)
			job := w.jobs(p.Engine, Dead, 1)[0]
			require.Len(t, seen.all(), c.attempts)
			require.Equal(t, c.attempts, job.Attempt)
			require.Equal(t, c.err.Error(), job.Error)
			events, raw := w.recorded()
			require.Equal(t, []domain.Event{givenUp{7, c.err.Error()}}, events)
			m, err := eventstore.DecodeMetadata(raw[0].Meta)
			require.NoError(t, err)
			require.Equal(t, ids[0], m.Causation)
			require.Equal(t, tenant, m.Tenant)
		})
	}
}

// Until it is recorded that a job is given up it is not over, but not run any more either.
func TestGivingUpIsRecordedFirst(t *testing.T) {
	w := newWorld(t)
	var seen attempts
	var down atomic.Bool
	var refused atomic.Int32
	down.Store(true)
	w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
		if down.Load() && c.Stream == (record{}).Stream() {
			refused.Add(1)
			return memory.Drop
		}
		return memory.Pass
	})
	k := w.kind(quick(), func(_ context.Context, _ args, job Job) error {
		seen.add(job)
		return Permanent(errors.New("no printer"))
	})
	p := w.run(k)
	w.ask(7)
	w.eventually(func() bool { return refused.Load() > 5 })
	require.Empty(t, w.jobs(p.Engine, Dead, 0))
	all, err := p.Jobs(context.Background(), Filter{})
	require.NoError(t, err)
	require.Len(t, all, 1)
	w.eventually(func() bool {
		all, err = p.Jobs(context.Background(), Filter{State: Waiting})
		return err == nil && len(all) == 1 && all[0].Error != ""
	})
	require.Contains(t, all[0].Error, "to record that it was given up")

	// The decision outlives the process.
	p.stop()
	p = w.run(k)
	down.Store(false)
	job := w.jobs(p.Engine, Dead, 1)[0]
	require.Equal(t, "no printer", job.Error)
	require.Len(t, seen.all(), 1)
	events, _ := w.recorded()
	require.Equal(t, []domain.Event{givenUp{7, "no printer"}}, events)
}

func TestWhatFailsInGivingUpIsRepeated(t *testing.T) {
	w := newWorld(t)
	var n atomic.Int32
	k := Define("test.work", quick(), func(context.Context, args, Job) error { return Permanent(errors.New("x")) },
		func(context.Context, args, Job, error) error {
			switch n.Add(1) {
			case 1:
				return errors.New("refused")
			case 2:
				panic("oh")
			}
			return nil
		})
	p := w.run(k)
	w.ask(1)
	w.jobs(p.Engine, Dead, 1)
	require.EqualValues(t, 3, n.Load())
}

func TestOutagesOfTheStoreCostNoAttempt(t *testing.T) {
	w := newWorld(t)
	var down atomic.Bool
	var refused atomic.Int32
	down.Store(true)
	w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
		if down.Load() && c.Stream == (record{}).Stream() {
			refused.Add(1)
			return memory.Drop
		}
		return memory.Pass
	})
	var seen attempts
	o := quick()
	o.MaxAttempts = 1
	p := w.run(w.kind(o, func(ctx context.Context, a args, job Job) error { seen.add(job); return w.answer(ctx, a.N) }))
	w.ask(1)
	w.eventually(func() bool { return refused.Load() > 5 })
	w.eventually(func() bool {
		all, err := p.Jobs(context.Background(), Filter{State: Waiting})
		return err == nil && len(all) == 1 && all[0].Error != "" && all[0].Attempt == 0
	})
	down.Store(false)
	job := w.jobs(p.Engine, Done, 1)[0]
	require.Equal(t, 1, job.Attempt)
	require.Empty(t, job.Error)
	for i, j := range seen.all() {
		require.Equal(t, 1, j.Attempt)
		require.Equal(t, i > 0, j.Repeat, "what it did before the store was away may count")
	}
	events, _ := w.recorded()
	require.Len(t, events, 1)
}

// A peer that does not answer is not one of our stores.
func TestWhoseErrorItIs(t *testing.T) {
	refused := fmt.Errorf("dial: %w", errors.Join(errors.New("connection refused"), context.DeadlineExceeded))
	for _, c := range []struct {
		err  error
		ours bool
	}{
		{errors.New("what?"), false},
		{refused, false},
		{context.DeadlineExceeded, false},
		{fault.New(fault.Conflict, "document.gone", "x"), false},
		{fault.New(fault.Unavailable, "contended", "x"), true},
		{fault.New(fault.Unavailable, "store.unavailable", "x").Because(refused), true},
		{fmt.Errorf("reading: %w", eventstore.ErrUnavailable), true},
		{Unavailable(errors.New("the folder of documents")), true},
		{Permanent(eventstore.ErrUnavailable), false},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "23505"}, false},
		{&pgconn.ConnectError{}, true},
		{fmt.Errorf("reading: %w", pgconn.ErrConnClosed), true},
		{syscall.ECONNRESET, false},
		{OfPostgres(fmt.Errorf("reading: %w", &net.OpError{Op: "read", Err: syscall.ECONNRESET})), true},
		{OfPostgres(context.DeadlineExceeded), true},
		{OfPostgres(context.Canceled), false},
		{OfPostgres(&pgconn.PgError{Code: "23505"}), false},
		{OfPostgres(nil), false},
	} {
		require.Equal(t, c.ours, ours(c.err), "%v", c.err)
	}
}

// secretText stands for what drivers say: addresses, users, statements.
const secretText = "host=db.internal user=docket relation users"

// Reads from Postgres that cannot be done now cost no attempt, and nobody but the
// log is told what the driver says.
func TestReadsThatFailCostNoAttempt(t *testing.T) {
	refused, err := pgconn.ParseConfig("host=127.0.0.1 port=1 user=docket dbname=docket sslmode=disable")
	require.NoError(t, err)
	_, connecting := pgconn.ConnectConfig(context.Background(), refused)
	require.ErrorContains(t, connecting, "127.0.0.1")
	for name, failure := range map[string]error{
		"cannot connect":       connecting,
		"too many connections": &pgconn.PgError{Code: "53300", Message: secretText},
		"restart":              fmt.Errorf(secretText+": %w", &pgconn.PgError{Code: "57P01", Message: secretText}),
		"connection lost":      OfPostgres(fmt.Errorf(secretText+": %w", io.ErrUnexpectedEOF)),
		"no free connection":   OfPostgres(fmt.Errorf(secretText+": %w", context.DeadlineExceeded)),
		"event store":          fmt.Errorf(secretText+": %w", eventstore.ErrUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var up atomic.Bool
			var seen attempts
			o := quick()
			o.MaxAttempts = 1
			p := w.run(w.kind(o, func(ctx context.Context, a args, job Job) error {
				if seen.add(job); !up.Load() {
					return failure
				}
				return w.answer(ctx, a.N)
			}))
			w.ask(1)
			w.eventually(func() bool { return len(seen.all()) > 5 })
			w.eventually(func() bool {
				all, err := p.Jobs(context.Background(), Filter{State: Waiting})
				return err == nil && len(all) == 1 && all[0].Attempt == 0 && all[0].Error == "one of our own stores did not answer; the server's log says more"
			})
			up.Store(true)
			require.Equal(t, 1, w.jobs(p.Engine, Done, 1)[0].Attempt)
			for _, j := range seen.all() {
				require.Equal(t, 1, j.Attempt)
			}
			events, _ := w.recorded()
			require.Len(t, events, 1)
			require.IsType(t, answered{}, events[0])
		})
	}
}

// A statement that is refused for good ends the job. What it was stands in the log only.
func TestRefusedStatementsAreNotTold(t *testing.T) {
	w := newWorld(t)
	mistake := fmt.Errorf(secretText+": %w", &pgconn.PgError{Code: "42P01", Message: secretText})
	c := w.config()
	var log lines
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	k := w.kind(quick(), func(context.Context, args, Job) error { return mistake })
	c.Kinds = []AnyKind{k}
	p := w.start(c, enqueue(k))
	w.ask(7)
	const told = "our database refused a statement (SQLSTATE 42P01); the server's log says why"
	job := w.jobs(p.Engine, Dead, 1)[0]
	require.Equal(t, told, job.Error)
	require.Equal(t, 3, job.Attempt)
	events, _ := w.recorded()
	require.Equal(t, []domain.Event{givenUp{7, told}}, events)
	require.NotContains(t, scan[string](w, "select metadata::text || errors::text from effects.river_job"), secretText)
	require.Contains(t, log.String(), secretText)
}

// Out of time while a store was asked: that is told without what the driver says.
func TestOutOfTimeInAStore(t *testing.T) {
	w := newWorld(t)
	o := quick()
	o.MaxAttempts, o.Timeout = 1, time.Millisecond
	p := w.run(w.kind(o, func(ctx context.Context, _ args, _ Job) error {
		<-ctx.Done()
		return OfPostgres(fmt.Errorf(secretText+": %w", ctx.Err()))
	}))
	w.ask(1)
	job := w.jobs(p.Engine, Dead, 1)[0]
	require.Contains(t, job.Error, "took longer than 1ms")
	require.NotContains(t, job.Error, secretText)
}

// What operators are told says what the log says, and no more than they may see.
func TestWhatIsShown(t *testing.T) {
	cause := &pgconn.PgError{Code: "57P01", Message: secretText}
	f := fault.New(fault.Unavailable, "query.unavailable", "the read models cannot be reached").Because(cause)
	require.Equal(t, "unavailable query.unavailable: the read models cannot be reached", text(f))
	require.Contains(t, inFull(f), secretText)
	require.Equal(t, "no paper", text(errors.New("no paper")))
	require.NotContains(t, text(Permanent(cause)), secretText)
	require.NotContains(t, text(Unavailable(errors.New(secretText))), secretText)
	require.ErrorIs(t, shown(Unavailable(cause)), cause, "the error itself is still there")
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestOutOfTime(t *testing.T) {
	w := newWorld(t)
	o := quick()
	o.MaxAttempts, o.Timeout = 1, time.Millisecond
	p := w.run(w.kind(o, func(ctx context.Context, _ args, _ Job) error {
		<-ctx.Done()
		return fault.New(fault.Unavailable, "store.unavailable", "as commands say").Because(ctx.Err())
	}))
	w.ask(1)
	require.Contains(t, w.jobs(p.Engine, Dead, 1)[0].Error, "took longer than 1ms")
}

// Stopping ends the attempt under way, which costs nothing, but may have had its effect.
func TestStopWhileWorking(t *testing.T) {
	w := newWorld(t)
	begun := make(chan struct{}, 1)
	first := w.config()
	first.StopWithin = time.Millisecond
	k := w.kind(quick(), func(ctx context.Context, _ args, _ Job) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	first.Kinds = []AnyKind{k}
	p := w.start(first, enqueue(k))
	w.ask(1)
	<-begun
	p.stop()
	var seen attempts
	p = w.run(w.kind(quick(), func(_ context.Context, _ args, job Job) error { seen.add(job); return nil }))
	w.jobs(p.Engine, Done, 1)
	require.Equal(t, 1, seen.all()[0].Attempt)
	require.True(t, seen.all()[0].Repeat)
}

// A job may end when the engine stops.
func TestStopWaits(t *testing.T) {
	w := newWorld(t)
	begun, free := make(chan struct{}), make(chan struct{})
	p := w.run(w.kind(quick(), func(ctx context.Context, _ args, _ Job) error {
		close(begun)
		<-free
		return ctx.Err()
	}))
	w.ask(1)
	<-begun
	stopped := make(chan struct{})
	go func() { p.stop(); close(stopped) }()
	w.eventually(p.stopping)
	select {
	case <-stopped:
		t.Fatal("left a job behind")
	default:
	}
	close(free)
	<-stopped
	w.jobs(p.Engine, Done, 1)
}

func TestOperatorsRepeatDeadJobs(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	var seen attempts
	k := w.kind(quick(), func(ctx context.Context, a args, job Job) error {
		seen.add(job)
		if job.Run == 3 {
			return w.answer(ctx, a.N)
		}
		return errors.New("no paper")
	})
	p := w.run(k)
	w.ask(7)
	id := w.jobs(p.Engine, Dead, 1)[0].ID
	var missing *fault.Error
	require.ErrorAs(t, p.Retry(ctx, id+1), &missing)
	require.Equal(t, fault.NotFound, missing.Kind)
	require.NoError(t, w.engine(w.config()).Retry(ctx, id), "any process can")
	w.eventually(func() bool { return len(seen.all()) == 6 })
	job := w.jobs(p.Engine, Dead, 1)[0]
	require.Equal(t, 2, job.Run)
	require.Equal(t, 3, job.Attempt)
	require.NoError(t, p.Retry(ctx, id))
	job = w.jobs(p.Engine, Done, 1)[0]
	require.Equal(t, 3, job.Run)
	require.Equal(t, 1, job.Attempt)
	for i, j := range seen.all() {
		require.Equal(t, i%3+1, j.Attempt)
		require.Equal(t, i/3+1, j.Run)
		require.Equal(t, i > 0, j.Repeat)
	}
	events, _ := w.recorded()
	require.Len(t, events, 3, "each run has an outcome of its own: %v", events)
	require.Equal(t, givenUp{7, "no paper"}, events[1])
	require.IsType(t, answered{}, events[2])
	require.True(t, fault.Is(p.Retry(ctx, id), fault.Conflict))
	require.True(t, fault.Is(p.Cancel(ctx, id, "op"), fault.Conflict))
}

func TestOperatorsHurryJobs(t *testing.T) {
	w := newWorld(t)
	o := quick()
	o.Backoff = func(int) time.Duration { return time.Hour }
	var n atomic.Int32
	p := w.run(w.kind(o, func(context.Context, args, Job) error {
		if n.Add(1) == 1 {
			return errors.New("no paper")
		}
		return nil
	}))
	w.ask(1)
	job := w.jobs(p.Engine, Again, 1)[0]
	require.Greater(t, job.DueAt, time.Now().Add(50*time.Minute))
	require.Equal(t, "no paper", job.Error)
	require.NoError(t, p.Retry(context.Background(), job.ID))
	require.Equal(t, 1, w.jobs(p.Engine, Done, 1)[0].Run)
}

func TestOperatorsCancelJobs(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	o := quick()
	o.Workers = 1
	begun := make(chan struct{}, 9)
	p := w.run(w.kind(o, func(ctx context.Context, _ args, _ Job) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}))
	w.ask(1)
	<-begun
	w.ask(2)
	waiting := w.jobs(p.Engine, Waiting, 1)[0]
	running := w.jobs(p.Engine, Running, 1)[0]
	require.NoError(t, p.Cancel(ctx, waiting.ID, "Ada"))
	waiting = w.jobs(p.Engine, Waiting, 1)[0]
	require.True(t, waiting.Cancelling)
	require.NoError(t, w.engine(w.config()).Cancel(ctx, running.ID, "Ada"))
	jobs := w.jobs(p.Engine, Cancelled, 2)
	require.Equal(t, "cancelled by Ada", jobs[0].Error)
	require.False(t, jobs[0].Cancelling)
	require.Empty(t, begun, "the one that waited never ran")
	events, _ := w.recorded()
	require.ElementsMatch(t, []domain.Event{givenUp{1, ErrCancelled.Error()}, givenUp{2, ErrCancelled.Error()}}, events)

	require.NoError(t, p.Retry(ctx, running.ID))
	<-begun // not cancelled any more
	require.NoError(t, p.Cancel(ctx, running.ID, "Ada"))
	w.jobs(p.Engine, Cancelled, 2)
	events, _ = w.recorded()
	require.Len(t, events, 3)
}

// Fresh requests are each attempt's own, with the same cause.
func TestFreshCommands(t *testing.T) {
	w := newWorld(t)
	var n atomic.Int32
	k := w.kind(quick(), func(ctx context.Context, a args, _ Job) error {
		if err := w.answer(Fresh(ctx), a.N); err != nil || n.Add(1) == 2 {
			return err
		}
		return errors.New("again")
	})
	p := w.run(k)
	ids := w.ask(1)
	w.jobs(p.Engine, Done, 1)
	_, raw := w.recorded()
	require.Len(t, raw, 2)
	for _, r := range raw {
		m, err := eventstore.DecodeMetadata(r.Meta)
		require.NoError(t, err)
		require.Equal(t, ids[0], m.Causation)
		require.Equal(t, origin, m.Correlation)
		require.Equal(t, domain.SystemID, m.Actor)
	}
}

func TestListingJobs(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	k := w.kind(quick(), func(_ context.Context, a args, _ Job) error {
		if a.N == 2 {
			return Permanent(errors.New("no"))
		}
		return nil
	})
	p := w.run(k)
	ids := w.ask(1, 2, 3)
	w.jobs(p.Engine, Done, 2)
	w.jobs(p.Engine, Dead, 1)
	list := func(f Filter) []uuid.UUID {
		jobs, err := p.Jobs(ctx, f)
		require.NoError(t, err)
		events := []uuid.UUID{}
		for _, j := range jobs {
			events = append(events, j.Event)
		}
		return events
	}
	require.Equal(t, []uuid.UUID{ids[2], ids[1], ids[0]}, list(Filter{}))
	require.Equal(t, []uuid.UUID{ids[1]}, list(Filter{State: Dead}))
	require.Equal(t, []uuid.UUID{ids[1]}, list(Filter{Event: ids[1], Kind: "test.work"}))
	require.Empty(t, list(Filter{Kind: "test.other"}))
	require.Len(t, list(Filter{Tenants: []domain.ID{tenant}}), 3)
	require.Empty(t, list(Filter{Tenants: []domain.ID{}}))
	require.Empty(t, list(Filter{Tenants: []domain.ID{origin}}))
	page, err := p.Jobs(ctx, Filter{Limit: 2})
	require.NoError(t, err)
	require.Len(t, page, 2)
	require.Equal(t, []uuid.UUID{ids[0]}, list(Filter{Before: page[1].ID}))
	_, err = p.Jobs(ctx, Filter{State: "x"})
	require.True(t, fault.Is(err, fault.Invalid))
	one, err := p.Job(ctx, page[0].ID, nil)
	require.NoError(t, err)
	require.Equal(t, page[0], one)
	_, err = p.Job(ctx, page[0].ID, []domain.ID{origin})
	require.True(t, fault.Is(err, fault.NotFound))
	w.eventually(func() bool {
		s := p.Status()
		return s.State == Live && len(s.Counts) == 1 && s.Counts[0].Dead == 1 && s.Counts[0].Waiting+s.Counts[0].Running == 0
	})
}

// What was put into a job by a program that meant something else by it is given up, loudly.
func TestUnreadableArguments(t *testing.T) {
	w := newWorld(t)
	p := w.engine(w.config())
	old := Define("test.work", quick(), func(context.Context, struct{ N string }, Job) error { return nil }, nil)
	k := Define("test.work", quick(), func(context.Context, args, Job) error { return nil }, nil)
	w.add(p, k, 1)
	c := w.config()
	c.Kinds = []AnyKind{old}
	q := w.start(c)
	require.Contains(t, w.jobs(q.Engine, Dead, 1)[0].Error, "arguments cannot be read")
}
