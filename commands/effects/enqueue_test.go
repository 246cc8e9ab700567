package effects

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"docket/commands/reactors"
	"docket/domain"
	"docket/eventstore"
	"docket/projections"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestAnEventLeadsToOneJob(t *testing.T) {
	w := newWorld(t)
	var seen Job
	k := w.kind(quick(), func(ctx context.Context, a args, job Job) error {
		seen = job
		actor, _ := domain.ActorOf(ctx)
		require.Equal(t, domain.System(tenant), actor)
		return w.answer(ctx, a.N)
	})
	ids := w.ask(1, -1)
	begun := time.Now()
	p := w.run(k)
	jobs := w.jobs(p.Engine, Done, 1)
	require.Equal(t, Job{ID: jobs[0].ID, Kind: "test.work", Attempt: 1, MaxAttempts: 3, Run: 1, Event: ids[0], Tenant: tenant}, seen)
	require.Equal(t, ids[0], jobs[0].Event)
	events, raw := w.recorded()
	require.Len(t, events, 1)
	m, err := eventstore.DecodeMetadata(raw[0].Meta)
	require.NoError(t, err)
	require.Equal(t, ids[0], m.Causation)
	require.Equal(t, origin, m.Correlation)
	require.Equal(t, "t", m.Traceparent)
	require.Equal(t, domain.SystemID, m.Actor)
	require.Equal(t, tenant, m.Tenant)
	require.WithinRange(t, events[0].(answered).At, begun.Truncate(precision), time.Now(), "an outcome has a time of its own")

	// However the event comes again, while the job is kept there is no other.
	p.stop()
	w.exec("update reactors.checkpoint set position = 0")
	again := w.run(k)
	w.passed(again)
	require.Equal(t, 1, scan[int](w, "select count(*) from effects.river_job"))
}

// What breaks between the insert and the commit leaves neither job nor
// checkpoint; the event comes again.
func TestJobAndCheckpointAreOne(t *testing.T) {
	for _, broken := range []string{"reactors.checkpoint", "effects.river_job"} {
		t.Run(broken, func(t *testing.T) {
			w := newWorld(t)
			var runs atomic.Int32
			k := w.kind(quick(), func(context.Context, args, Job) error { runs.Add(1); return nil })
			w.ask(-1)
			p := w.run(k)
			w.passed(p)
			before := scan[int64](w, "select position from reactors.checkpoint")
			tries := "create sequence tries"
			w.exec(tries)
			// A deferred trigger fails the commit itself, when all is written.
			w.exec(`create function refuse() returns trigger language plpgsql as $$ begin perform nextval('public.tries'); raise exception 'not now'; end $$`)
			w.exec("create constraint trigger refusal after insert or update on " + broken + " deferrable initially deferred for each row execute function refuse()")
			w.ask(1)
			w.eventually(func() bool { return scan[int64](w, "select last_value from tries") >= 3 })
			require.Equal(t, before, scan[int64](w, "select position from reactors.checkpoint"))
			require.Zero(t, scan[int](w, "select count(*) from effects.river_job"))
			require.Zero(t, runs.Load())
			w.exec("drop trigger refusal on " + broken)
			w.jobs(p.Engine, Done, 1)
			w.passed(p)
			require.EqualValues(t, 1, runs.Load())
		})
	}
}

// A connection that breaks while it commits leaves it open what is stored. The
// reactor looks, and goes on from there.
func TestEnqueuingUnderLostConnections(t *testing.T) {
	w := newWorld(t)
	var runs atomic.Int32
	p := w.run(w.kind(quick(), func(context.Context, args, Job) error { runs.Add(1); return nil }))
	w.ask(-1)
	w.passed(p)
	const n = 200
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			w.ask(i + 1)
		}
	}()
	for range 20 {
		w.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and pid in (select pid from pg_locks where locktype = 'advisory')")
	}
	<-done
	w.eventually(func() bool { return scan[int](w, "select count(distinct args->>'event') from effects.river_job") == n })
	w.passed(p)
	require.Equal(t, n, scan[int](w, "select count(*) from effects.river_job"))
}

// Who lost the reactor without noticing enqueues nothing: the checkpoint is not
// where it left it.
func TestTheLoserOfAReactorEnqueuesNothing(t *testing.T) {
	w := newWorld(t)
	k := w.kind(quick(), func(context.Context, args, Job) error { return nil })
	begun, free := make(chan struct{}, 100), make(chan struct{})
	slow := reactors.New("test.enqueue", reactors.AtBeginning, reactors.OnWriting(func(_ context.Context, e asked, in reactors.Event) ([]reactors.Write, error) {
		begun <- struct{}{}
		<-free
		job, err := envelop(k.name, args(e), in)
		job.Event = uuid.New() // uniqueness does not help
		return []reactors.Write{func(ctx context.Context, tx pgx.Tx) error { return insert(ctx, tx, &k.definition, job) }}, err
	}))
	first := w.start(w.config(), slow)
	w.ask(1)
	<-begun
	head, err := w.store.Head(context.Background())
	require.NoError(t, err)
	w.exec("update reactors.checkpoint set position = $1", int64(head)) // the winner is done
	close(free)
	w.eventually(func() bool {
		s := first.reactors.Status()[0]
		return s.State == reactors.Live && s.Position == head && s.Failure == nil
	})
	w.ask(2)
	<-begun
	w.eventually(func() bool { return scan[int](w, "select count(*) from effects.river_job") > 0 })
	require.Equal(t, []int{2}, scan[[]int](w, "select array_agg((args->'args'->>'N')::int) from effects.river_job"))
}

// Read models that are built anew read the log, too, but nobody enqueues.
func TestRebuildingReadModelsEnqueuesNothing(t *testing.T) {
	w := newWorld(t)
	var runs atomic.Int32
	p := w.run(w.kind(quick(), func(context.Context, args, Job) error { runs.Add(1); return nil }))
	type row struct {
		ID uuid.UUID `db:"id,pk"`
		N  int       `db:"n"`
	}
	table := projections.NewTable[row]("questions")
	handler := projections.Put(table, func(e asked, rec projections.Rec) row { return row{rec.StreamID(), e.N} })
	models, err := projections.NewEngine(projections.Config{Store: w.store, Codec: w.codec, Pool: w.pool, Groups: []*projections.Group{projections.NewGroup("questions", eventstore.Filter{TypePrefixes: []string{"test.asked"}}, table, handler)},
		Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- models.Run(ctx) }()
	w.ask(1, 2, 3)
	w.jobs(p.Engine, Done, 3)
	head, err := w.store.Head(ctx)
	require.NoError(t, err)
	require.True(t, models.Await(ctx, head, []string{"test.asked"}))
	w.exec("delete from effects.river_job") // uniqueness does not help
	require.NoError(t, models.Rebuild(ctx, "questions", nil))
	require.Equal(t, 3, scan[int](w, "select count(*) from rm_questions.questions"))
	w.ask(4)
	w.jobs(p.Engine, Done, 1)
	require.EqualValues(t, 4, runs.Load())
	cancel()
	require.NoError(t, <-ended)
}

func TestTwoKindsOfOneEvent(t *testing.T) {
	w := newWorld(t)
	none := func(context.Context, args, Job) error { return nil }
	one, two := w.kind(quick(), none), Define("test.other", Options{Queue: "test.work"}, none, nil)
	all := func(_ context.Context, e asked, _ reactors.Event) (args, bool) { return args(e), true }
	c := w.config()
	c.Kinds = []AnyKind{one, two}
	p := w.start(c, reactors.New("a", reactors.AtBeginning, On(one, all)), reactors.New("b", reactors.AtBeginning, On(two, all)), reactors.New("c", reactors.AtBeginning, On(one, all)))
	w.ask(1)
	jobs := w.jobs(p.Engine, Done, 2)
	require.NotEqual(t, jobs[0].Kind, jobs[1].Kind)
}

func TestDeclarations(t *testing.T) {
	none := func(context.Context, args, Job) error { return nil }
	require.Panics(t, func() { Define("", Options{}, none, nil) })
	require.Panics(t, func() { Define("Upper case", Options{}, none, nil) })
	require.Panics(t, func() { Define[args]("x", Options{}, nil, nil) })
	require.Panics(t, func() { Every("x", 0, func(context.Context, time.Time) error { return nil }) })
	k, timer := Define("x", Options{}, none, nil), Every("x", time.Hour, func(context.Context, time.Time) error { return nil })
	_, err := NewEngine(Config{})
	require.Error(t, err)
	w := newWorld(t)
	_, err = NewEngine(Config{Pool: w.pool, Kinds: []AnyKind{k, k}})
	require.Error(t, err)
	_, err = NewEngine(Config{Pool: w.pool, Timers: []Timer{timer, timer}})
	require.Error(t, err)
	_, err = envelop("x", "\x00", reactors.Event{})
	require.Error(t, err)
	_, err = envelop("x", func() {}, reactors.Event{})
	require.Error(t, err)
	wait := Exponential(time.Second, time.Minute)
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 100: time.Minute} {
		for range 100 {
			got := wait(attempt)
			require.GreaterOrEqual(t, got, want*3/4)
			require.LessOrEqual(t, got, want*5/4)
		}
	}
	require.NotEqual(t, wait(3), wait(3))
	require.Nil(t, Permanent(nil))
	require.Nil(t, Unavailable(nil))
}
