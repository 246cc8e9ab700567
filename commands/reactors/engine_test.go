package reactors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const patience = 30 * time.Second

// Somebody asks; the reactor counts. Counting twice makes another event, so
// that only ids fixed by the event keep it from happening.
type (
	asked struct {
		N int `json:"n"`
	}
	counted struct {
		N  int       `json:"n"`
		At time.Time `json:"at"`
	}
	// askedToo begins with the name of asked.
	askedToo struct{}
)

func (asked) EventType() string    { return "test.asked" }
func (counted) EventType() string  { return "test.counted" }
func (askedToo) EventType() string { return "test.asked-too" }

type tally struct{ Seen []int }

func (s tally) Apply(e domain.Event) tally {
	if c, ok := e.(counted); ok {
		s.Seen = append(slices.Clone(s.Seen), c.N)
	}
	return s
}
func (s tally) Exists() bool               { return len(s.Seen) > 0 }
func (s tally) Organizations() []domain.ID { return nil }
func (s tally) Keys() []domain.Key         { return nil }

var (
	tallyID = domain.WellKnownID(0x200)
	tenant  = domain.WellKnownID(0x201)
	origin  = domain.WellKnownID(0x202) // correlation of what is asked
)

type count struct{ n int }

func (c count) Name() string       { return "test.count" }
func (c count) Stream() string     { return "tally-" + tallyID.String() }
func (c count) Permission() string { return "" }
func (c count) Decide(_ tally, env commands.Env) ([]domain.Event, error) {
	return []domain.Event{counted{c.n, env.Now}}, nil
}

type world struct {
	t     *testing.T
	store *memory.Store
	codec *eventstore.Codec
	pool  *pgxpool.Pool
}

func newWorld(t *testing.T) *world {
	t.Cleanup(func() { goleak.VerifyNone(t, goleak.IgnoreTopFunction("os/exec.(*Cmd).watchCtx")) })
	return &world{t: t, store: memory.New(), codec: eventstore.NewCodec(append(commands.Events(), asked{}, counted{}, askedToo{})...), pool: pgtest.New(t)}
}

// process is an engine with a bus of its own.
type process struct {
	*Engine
	stop func() error
}

// counter is a reactor that counts what is asked.
func (w *world) counter(start Start) Reactor {
	bus := w.bus()
	return New("test.counter", start, On(func(ctx context.Context, e asked, _ Event) error {
		_, err := commands.Send(ctx, bus, count{e.N})
		return err
	}))
}

func (w *world) bus() *commands.Bus {
	bus := commands.NewBus(commands.Config{Store: w.store, Codec: w.codec, Digest: func(a, b string) string { return a + b }, Logger: slog.New(slog.DiscardHandler)})
	commands.Register[tally](bus, "tally")
	return bus
}

func (w *world) run(reactors ...Reactor) *process {
	e, err := NewEngine(Config{Store: w.store, Codec: w.codec, Pool: w.pool, Reactors: reactors, Logger: slog.New(slog.DiscardHandler), StoppedFor: 20 * time.Millisecond})
	require.NoError(w.t, err)
	return w.start(e)
}

func (w *world) start(e *Engine) *process {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	p := &process{e, sync.OnceValue(func() error { cancel(); return <-ended })}
	w.t.Cleanup(func() { require.NoError(w.t, p.stop()) })
	return p
}

// ask appends events of what somebody asks, in a stream each.
func (w *world) ask(numbers ...int) []uuid.UUID {
	w.t.Helper()
	ids := make([]uuid.UUID, len(numbers))
	for i, n := range numbers {
		ids[i] = w.append(asked{n})
	}
	return ids
}

func (w *world) append(e domain.Event) uuid.UUID {
	w.t.Helper()
	data, err := w.codec.Encode(e)
	require.NoError(w.t, err)
	id := uuid.New()
	meta := fmt.Appendf(nil, `{"tenant":%q,"$correlationId":%q}`, tenant, origin)
	_, err = w.store.Append(context.Background(), "asked-"+id.String(), eventstore.NoStream, []eventstore.Proposed{{ID: id, Type: e.EventType(), Data: data, Meta: meta}})
	require.NoError(w.t, err)
	return id
}

// counted are the events that the reactor made.
func (w *world) counted() []eventstore.Recorded {
	w.t.Helper()
	var all []eventstore.Recorded
	for r, err := range w.store.Load(context.Background(), count{}.Stream(), 0) {
		require.NoError(w.t, err)
		all = append(all, r)
	}
	return all
}

func (w *world) awaitCount(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return len(w.counted()) >= n }, patience, 2*time.Millisecond)
}

// numbers are what was counted, in order.
func (w *world) numbers() []int {
	w.t.Helper()
	var s tally
	for _, r := range w.counted() {
		e, _, err := w.codec.DecodeRecorded(r)
		require.NoError(w.t, err)
		s = s.Apply(e)
	}
	return s.Seen
}

func (w *world) awaitState(p *process, s State) Status {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return p.Status()[0].State == s }, patience, time.Millisecond, "%+v", p.Status())
	return p.Status()[0]
}

// awaitCheckpoint waits until the place of a reactor is stored.
func (w *world) awaitCheckpoint(name string, at eventstore.Position) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		var have eventstore.Position
		err := w.pool.QueryRow(context.Background(), "select position from reactors.checkpoint where name = $1", name).Scan(&have)
		return err == nil && have >= at
	}, patience, 2*time.Millisecond)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err)
}

func (w *world) head() eventstore.Position {
	w.t.Helper()
	head, err := w.store.Head(context.Background())
	require.NoError(w.t, err)
	return head
}

func TestEffectsCarryTheirCause(t *testing.T) {
	w := newWorld(t)
	ids := w.ask(1, 2)
	w.append(askedToo{})
	p := w.run(w.counter(AtBeginning))
	w.awaitCount(2)
	w.awaitState(p, Live)
	ids = append(ids, w.ask(3)...)
	w.awaitCount(3)
	require.Equal(t, []int{1, 2, 3}, w.numbers())
	created := make(map[uuid.UUID]time.Time)
	for r, err := range w.store.ReadAll(context.Background(), 0, eventstore.Filter{}) {
		require.NoError(t, err)
		created[r.ID] = r.Created
	}
	for i, r := range w.counted() {
		m, err := eventstore.DecodeMetadata(r.Meta)
		require.NoError(t, err)
		require.Equal(t, ids[i], m.Causation)
		require.Equal(t, origin, m.Correlation)
		require.Equal(t, domain.SystemID, m.Actor)
		require.Equal(t, tenant, m.Tenant)
		require.Equal(t, "system", m.Dialect)
		e, _, err := w.codec.DecodeRecorded(r)
		require.NoError(t, err)
		require.Equal(t, created[m.Causation].Truncate(time.Microsecond), e.(counted).At, "an effect's time is that of its cause")
	}
	w.awaitCheckpoint("test.counter", w.head())
}

// A crash between the effect and its checkpoint shows the events again.
func TestRedeliveryChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.ask(1, 2, 3)
	p := w.run(w.counter(AtBeginning))
	w.awaitCount(3)
	w.awaitState(p, Live)
	require.NoError(t, p.stop())
	w.exec("update reactors.checkpoint set position = 0")

	p = w.run(w.counter(AtBeginning)) // with empty caches
	w.awaitState(p, Live)
	w.ask(4)
	w.awaitCount(4)
	require.Equal(t, []int{1, 2, 3, 4}, w.numbers())
}

func TestLostAnswersAndOutagesOfTheStore(t *testing.T) {
	w := newWorld(t)
	p := w.run(w.counter(AtBeginning))
	w.awaitState(p, Live)
	w.store.Nth(memory.OpAppend, 2, memory.LoseAnswer) // the first is ask's
	w.ask(1)
	w.awaitCount(1)
	w.awaitState(p, Live)

	var down atomic.Bool
	w.ask(2)
	w.awaitCount(2)
	w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
		if down.Load() && c.Stream == (count{}).Stream() {
			return memory.Drop
		}
		return memory.Pass
	})
	down.Store(true)
	w.ask(3)
	status := w.awaitState(p, Retrying)
	require.NotEmpty(t, status.Retry)
	down.Store(false)
	w.awaitCount(3)
	require.Empty(t, w.awaitState(p, Live).Retry)
	require.Equal(t, []int{1, 2, 3}, w.numbers())
}

func TestOutageOfPostgres(t *testing.T) {
	w := newWorld(t)
	p := w.run(w.counter(AtBeginning))
	w.ask(1)
	w.awaitCount(1)
	w.awaitState(p, Live)
	for n := 2; n < 5; n++ {
		w.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		w.ask(n)
		w.awaitCount(n)
		w.awaitCheckpoint("test.counter", w.head()-1) // the newest event is the reactor's own
	}
	require.Equal(t, []int{1, 2, 3, 4}, w.numbers())
}

func TestOneOwnerAmongProcesses(t *testing.T) {
	w := newWorld(t)
	first := w.run(w.counter(AtBeginning))
	w.awaitState(first, Live)
	second := w.run(w.counter(AtBeginning))
	w.awaitState(second, Standby)
	w.ask(1, 2)
	w.awaitCount(2)
	require.Equal(t, Standby, second.Status()[0].State)
	require.NoError(t, first.stop())
	w.ask(3)
	w.awaitCount(3)
	w.awaitState(second, Live)
	require.Equal(t, []int{1, 2, 3}, w.numbers())
}

// Who has lost the lock without noticing may act, but not move the checkpoint.
func TestCheckpointMovedByOthers(t *testing.T) {
	w := newWorld(t)
	p := w.run(w.counter(AtBeginning))
	w.ask(1)
	w.awaitCount(1)
	w.awaitState(p, Live)
	w.awaitCheckpoint("test.counter", w.head()-1)
	w.exec("update reactors.checkpoint set position = 1")
	w.ask(2)
	w.awaitCount(2)
	w.awaitCheckpoint("test.counter", w.head()-1)
	require.Equal(t, []int{1, 2}, w.numbers())
}

func TestPoisonStopsOneReactor(t *testing.T) {
	w := newWorld(t)
	var sick atomic.Bool
	sick.Store(true)
	var mu sync.Mutex
	var handled []int
	poisoned := New("test.poisoned", AtBeginning, On(func(_ context.Context, e asked, in Event) error {
		if e.N == 2 && sick.Load() {
			panic("no good")
		}
		mu.Lock()
		defer mu.Unlock()
		handled = append(handled, e.N)
		return nil
	}))
	ids := w.ask(1, 2, 3)
	p := w.run(poisoned, w.counter(AtBeginning))
	w.awaitCount(3)
	w.awaitState(p, Stopped)
	f := p.Status()[0].Failure
	require.Equal(t, ids[1], f.EventID)
	require.Equal(t, "test.asked", f.EventType)
	require.Contains(t, f.Error, "no good")
	mu.Lock()
	require.Equal(t, []int{1}, handled, "nothing is skipped")
	mu.Unlock()
	require.Nil(t, p.Status()[1].Failure)

	sick.Store(false)
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(handled) == 3 }, patience, time.Millisecond)
	require.Nil(t, w.awaitState(p, Live).Failure)
	require.Equal(t, []int{1, 2, 3}, handled)
}

// Where it stopped is known in all processes, and there an operator can have the
// event left out.
func TestSkip(t *testing.T) {
	w := newWorld(t)
	var handled atomic.Int32
	poisoned := New("test.poisoned", AtBeginning, On(func(_ context.Context, e asked, _ Event) error {
		if e.N == 2 {
			return errors.New("no \x00 good")
		}
		handled.Add(1)
		return nil
	}))
	ids := w.ask(1, 2, 3)
	engine := func() *Engine {
		e, err := NewEngine(Config{Store: w.store, Codec: w.codec, Pool: w.pool, Reactors: []Reactor{poisoned}, Logger: slog.New(slog.DiscardHandler), StoppedFor: time.Hour})
		require.NoError(t, err)
		return e
	}
	ctx, operators := context.Background(), engine() // never runs
	none, err := operators.Overview(ctx)
	require.NoError(t, err)
	require.Nil(t, none[0].Failure)
	require.ErrorIs(t, operators.Skip(ctx, "test.poisoned", ids[1], "op", "why"), ErrNotStopped)
	require.ErrorContains(t, operators.Skip(ctx, "test.other", ids[1], "op", "why"), "no reactor")
	require.ErrorContains(t, operators.Skip(ctx, "test.poisoned", ids[1], "op", ""), "a reason")

	p := w.start(engine())
	var seen Status
	require.Eventually(t, func() bool {
		all, err := operators.Overview(ctx)
		require.NoError(t, err)
		seen = all[0]
		return seen.Failure != nil
	}, patience, time.Millisecond)
	require.Equal(t, ids[1], seen.Failure.EventID)
	require.Equal(t, "asked-"+ids[1].String(), seen.Failure.Stream)
	require.Less(t, seen.Position, seen.Failure.Position)
	require.ErrorIs(t, operators.Skip(ctx, "test.poisoned", ids[0], "op", "why"), ErrNotStopped)
	require.NoError(t, operators.Skip(ctx, "test.poisoned", ids[1], "op", "known bug"))

	require.Nil(t, w.awaitState(p, Live).Failure)
	w.awaitCheckpoint("test.poisoned", w.head())
	require.EqualValues(t, 2, handled.Load())
	all, err := operators.Overview(ctx)
	require.NoError(t, err)
	require.Nil(t, all[0].Failure)
	var who string
	require.NoError(t, w.pool.QueryRow(ctx, "select actor || ': ' || reason from reactors.skip where event_type = 'test.asked'").Scan(&who))
	require.Equal(t, "op: known bug", who)

	require.NoError(t, p.stop())
	w.exec("update reactors.checkpoint set position = 0")
	w.start(engine())
	w.awaitCheckpoint("test.poisoned", w.head())
	require.EqualValues(t, 4, handled.Load(), "it is left out for good")
}

// What was handled in the end is a failure no more, in no process.
func TestFailureEnds(t *testing.T) {
	w := newWorld(t)
	var sick atomic.Bool
	sick.Store(true)
	moody := New("test.moody", AtBeginning, On(func(context.Context, asked, Event) error {
		if sick.Load() {
			return errors.New("no good")
		}
		return nil
	}))
	w.ask(1)
	p := w.run(moody)
	failed := func() bool {
		all, err := p.Overview(context.Background())
		require.NoError(t, err)
		return all[0].Failure != nil
	}
	require.Eventually(t, failed, patience, time.Millisecond)
	sick.Store(false)
	require.Nil(t, w.awaitState(p, Live).Failure)
	require.Eventually(t, func() bool { return !failed() }, patience, time.Millisecond)
}

// Who has lost the lock without noticing does what its successor did already.
func TestTwoOwners(t *testing.T) {
	w := newWorld(t)
	bus := w.bus()
	begun, free, done := make(chan struct{}), make(chan struct{}), make(chan error)
	slow := New("test.counter", AtBeginning, On(func(ctx context.Context, e asked, _ Event) error {
		begun <- struct{}{}
		<-free
		// Its view of the stream holds what the successor did.
		_, _, err := commands.Load[tally](context.Background(), bus, count{}.Stream())
		if err == nil {
			_, err = commands.Send(context.WithoutCancel(ctx), bus, count{e.N})
		}
		done <- err
		return ctx.Err()
	}))
	first := w.run(slow)
	w.awaitState(first, Live)
	w.ask(1)
	<-begun
	w.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and pid in (select pid from pg_locks where locktype = 'advisory')")
	w.run(w.counter(AtBeginning))
	w.awaitCount(1)
	close(free)
	require.NoError(t, <-done)
	require.Equal(t, []int{1}, w.numbers())
	require.NoError(t, first.stop())
}

// What is written with the checkpoint is written once and in order, also when it
// comes faster than Postgres takes it.
func TestWritesGoWithTheCheckpoint(t *testing.T) {
	w := newWorld(t)
	w.exec("create table written (id bigserial, n int)")
	const n = 2*maxWrites + 500
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	w.ask(numbers...)
	writer := func() Reactor {
		return New("test.writer", AtBeginning, OnWriting(func(_ context.Context, e asked, _ Event) ([]Write, error) {
			return []Write{func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "insert into written (n) values ($1)", e.N)
				return err
			}}, nil
		}))
	}
	first, second := w.run(writer()), w.run(writer())
	for range 5 { // they take the reactor from each other, in the middle of it
		w.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and pid in (select pid from pg_locks where locktype = 'advisory')")
	}
	w.awaitCheckpoint("test.writer", w.head())
	var written []int
	rows, err := w.pool.Query(context.Background(), "select n from written order by id")
	require.NoError(t, err)
	written, err = pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	require.Equal(t, numbers, written)
	require.NoError(t, first.stop())
	require.NoError(t, second.stop())
}

// A write that fails is neither stored nor passed over.
func TestWritesThatFail(t *testing.T) {
	w := newWorld(t)
	w.exec("create table written (n int)")
	var tries atomic.Int32
	p := w.run(New("test.writer", AtBeginning, OnWriting(func(_ context.Context, e asked, _ Event) ([]Write, error) {
		return []Write{func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "insert into written (n) values ($1)", e.N); err != nil {
				return err
			}
			if tries.Add(1) < 4 {
				return errors.New("not now")
			}
			return nil
		}}, nil
	})))
	w.ask(7)
	w.awaitCheckpoint("test.writer", w.head())
	var written []int
	require.NoError(t, w.pool.QueryRow(context.Background(), "select array_agg(n) from written").Scan(&written))
	require.Equal(t, []int{7}, written)
	require.EqualValues(t, 4, tries.Load())
	require.Equal(t, Live, w.awaitState(p, Live).State)
}

func TestRefusalsStop(t *testing.T) {
	for _, c := range []struct {
		err  error
		stop bool
	}{
		{errors.New("what?"), true},
		{fault.New(fault.NotFound, "x.not-found", "x"), true},
		{fault.New(fault.Conflict, "x.exists", "x"), true},
		{fault.New(fault.Unavailable, "contended", "x"), false},
		{fault.New(fault.Unavailable, "store.unavailable", "x"), false},
		{fmt.Errorf("reading: %w", eventstore.ErrUnavailable), false},
		{context.DeadlineExceeded, false},
	} {
		require.Equal(t, !c.stop, passing(c.err), "%v", c.err)
	}
}

func TestStartAtEnd(t *testing.T) {
	w := newWorld(t)
	w.ask(1)
	p := w.run(w.counter(AtEnd))
	w.awaitState(p, Live)
	w.ask(2)
	w.awaitCount(1)
	require.NoError(t, p.stop())
	w.ask(3) // the end counts only the first time
	w.run(w.counter(AtEnd))
	w.awaitCount(2)
	require.Equal(t, []int{2, 3}, w.numbers())
}

// Stopping ends the handler under way; its event comes again.
func TestStopWhileHandling(t *testing.T) {
	w := newWorld(t)
	w.ask(1)
	begun := make(chan struct{}, 1)
	slow := New("test.counter", AtBeginning, On(func(ctx context.Context, _ asked, _ Event) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}))
	p := w.run(slow)
	<-begun
	require.NoError(t, p.stop())
	require.Nil(t, p.Status()[0].Failure)
	w.run(w.counter(AtBeginning))
	w.awaitCount(1)
}

// A handler that doesn't notice is left behind after a while.
func TestStopDespiteAHandlerThatDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	w.ask(1)
	begun, free := make(chan struct{}), make(chan struct{})
	stuck := New("test.stuck", AtBeginning, On(func(context.Context, asked, Event) error {
		close(begun)
		<-free
		return nil
	}))
	e, err := NewEngine(Config{Store: w.store, Codec: w.codec, Pool: w.pool, Reactors: []Reactor{stuck}, Logger: slog.New(slog.DiscardHandler), CloseWithin: time.Millisecond})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	<-begun
	cancel()
	require.Error(t, <-ended)
	close(free)
}

func TestAnotherLogIsRefused(t *testing.T) {
	w := newWorld(t)
	w.ask(1)
	p := w.run(w.counter(AtBeginning))
	w.awaitCount(1)
	w.awaitState(p, Live)
	require.NoError(t, p.stop())
	w.exec("update reactors.checkpoint set position = 1000000")
	p = w.run(w.counter(AtBeginning))
	require.Contains(t, w.awaitState(p, Retrying).Retry, "another log")
}

func TestMessageSurvivesTheJourney(t *testing.T) {
	in := eventstore.Recorded{ID: uuid.New(), Stream: "asked-1", Revision: 3, Position: 1<<63 + 5, Type: "test.asked",
		Created: time.Date(2030, 1, 2, 3, 4, 5, 6789, time.UTC), Data: []byte(`{"n":1}`), Meta: []byte(`{"dialect":"qlik"}`)}
	m, err := newMessage(context.Background(), &in)
	require.NoError(t, err)
	out, err := recorded(m)
	require.NoError(t, err)
	require.Equal(t, Event{Recorded: in}, out)
	for _, key := range []string{MetaRevision, MetaPosition, MetaCreated} {
		broken := m.Copy()
		broken.Metadata.Set(key, "x")
		_, err := recorded(broken)
		require.Error(t, err)
	}
}

func TestDeclarations(t *testing.T) {
	react := On(func(context.Context, asked, Event) error { return nil })
	require.Panics(t, func() { New("", AtEnd, react) })
	require.Panics(t, func() { New("x", 0, react) })
	require.Panics(t, func() { New("x", AtEnd) })
	require.Panics(t, func() { New("x", AtEnd, react, react) })
	x := New("x", AtEnd, react)
	complete := Config{Store: memory.New(), Codec: eventstore.NewCodec(asked{}), Pool: new(pgxpool.Pool)}
	_, err := NewEngine(complete)
	require.NoError(t, err)
	twice := complete
	twice.Reactors = []Reactor{x, x}
	_, err = NewEngine(twice)
	require.Error(t, err)
	unknown := complete
	unknown.Codec, unknown.Reactors = eventstore.NewCodec(), []Reactor{x}
	_, err = NewEngine(unknown)
	require.Error(t, err)
	_, err = NewEngine(Config{})
	require.Error(t, err)
}
