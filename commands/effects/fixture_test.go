package effects

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/reactors"
	"docket/domain"
	"docket/eventstore"
	"docket/eventstore/memory"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("DOCKET_TEST_WORKER") != "" {
		child()
		return
	}
	pgtest.Main(m)
}

const patience = 30 * time.Second

// Somebody asks; a job answers, or it is recorded that it was given up.
type (
	asked struct {
		N int `json:"n"`
	}
	answered struct {
		N  int       `json:"n"`
		At time.Time `json:"at"`
		ID domain.ID `json:"id"` // made anew
	}
	givenUp struct {
		N   int    `json:"n"`
		Why string `json:"why"`
	}
)

func (asked) EventType() string    { return "test.asked" }
func (answered) EventType() string { return "test.answered" }
func (givenUp) EventType() string  { return "test.given-up" }

type tally struct{ Events int }

func (s tally) Apply(domain.Event) tally   { s.Events++; return s }
func (s tally) Exists() bool               { return s.Events > 0 }
func (s tally) Organizations() []domain.ID { return nil }
func (s tally) Keys() []domain.Key         { return nil }

var (
	tallyID = domain.WellKnownID(0x200)
	tenant  = domain.WellKnownID(0x201)
	origin  = domain.WellKnownID(0x202) // correlation of what is asked
)

// record appends an event, whatever is there: only its id keeps it from being
// there twice.
type record struct {
	name  string
	event func(env commands.Env) domain.Event
}

func (c record) Name() string       { return c.name }
func (c record) Stream() string     { return "tally-" + tallyID.String() }
func (c record) Permission() string { return "" }
func (c record) Decide(_ tally, env commands.Env) ([]domain.Event, error) {
	return []domain.Event{c.event(env)}, nil
}

type args struct{ N int }

type world struct {
	t     *testing.T
	store *memory.Store
	codec *eventstore.Codec
	pool  *pgxpool.Pool
}

func newWorld(t *testing.T) *world {
	t.Cleanup(func() { goleak.VerifyNone(t, goleak.IgnoreTopFunction("os/exec.(*Cmd).watchCtx")) })
	return &world{t: t, store: memory.New(), codec: eventstore.NewCodec(append(commands.Events(), asked{}, answered{}, givenUp{})...), pool: pgtest.New(t)}
}

// bus is one with an empty cache.
func (w *world) bus() *commands.Bus {
	bus := commands.NewBus(commands.Config{Store: w.store, Codec: w.codec, Digest: func(a, b string) string { return a + b }, Logger: slog.New(slog.DiscardHandler)})
	commands.Register[tally](bus, "tally")
	return bus
}

// answer records the outcome of a job.
func (w *world) answer(ctx context.Context, n int) error {
	id := commands.NewID(ctx)
	_, err := commands.Send(ctx, w.bus(), record{"test.answer", func(env commands.Env) domain.Event { return answered{n, env.Now, id} }})
	return err
}

// giveUp records that a job was given up.
func (w *world) giveUp(ctx context.Context, a args, _ Job, cause error) error {
	_, err := commands.Send(ctx, w.bus(), record{"test.give-up", func(commands.Env) domain.Event { return givenUp{a.N, cause.Error()} }})
	return err
}

// quick are options for tests of what happens, not when.
func quick() Options {
	return Options{MaxAttempts: 3, Backoff: func(int) time.Duration { return time.Millisecond }}
}

// kind runs jobs of events that ask.
func (w *world) kind(o Options, run func(ctx context.Context, a args, job Job) error) *Kind[args] {
	return Define("test.work", o, run, w.giveUp)
}

func enqueue(k *Kind[args]) reactors.Reactor {
	return reactors.New("test.enqueue", reactors.AtBeginning, On(k, func(_ context.Context, e asked, _ reactors.Event) (args, bool) { return args(e), e.N > 0 }))
}

// process is what runs in one process.
type process struct {
	*Engine
	reactors *reactors.Engine
	stop     func()
}

func (w *world) config(timers ...Timer) Config {
	return Config{Pool: w.pool, Timers: timers, Logger: slog.New(slog.DiscardHandler), beat: 5 * time.Millisecond, poll: 5 * time.Millisecond, waits: time.Millisecond}
}

// run starts a process that enqueues and works.
func (w *world) run(k *Kind[args]) *process {
	c := w.config()
	c.Kinds = []AnyKind{k}
	return w.start(c, enqueue(k))
}

func (w *world) engine(c Config) *Engine {
	e, err := NewEngine(c)
	require.NoError(w.t, err)
	return e
}

func (w *world) start(c Config, reacting ...reactors.Reactor) *process {
	p := &process{Engine: w.engine(c)}
	var err error
	p.reactors, err = reactors.NewEngine(reactors.Config{Store: w.store, Codec: w.codec, Pool: w.pool, Reactors: reacting, Prepare: p.Prepare,
		Logger: slog.New(slog.DiscardHandler), StoppedFor: 20 * time.Millisecond})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx) }()
	go func() {
		if len(reacting) > 0 {
			ended <- p.reactors.Run(ctx)
			return
		}
		ended <- nil
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			assert.NoError(w.t, <-ended)
		}
	})
	w.t.Cleanup(p.stop)
	return p
}

// ask appends events of what somebody asks.
func (w *world) ask(numbers ...int) (ids []uuid.UUID) {
	w.t.Helper()
	for _, n := range numbers {
		id := uuid.New()
		data, err := w.codec.Encode(asked{n})
		require.NoError(w.t, err)
		meta := fmt.Appendf(nil, `{"tenant":%q,"$correlationId":%q,"traceparent":"t"}`, tenant, origin)
		_, err = w.store.Append(context.Background(), "asked-"+id.String(), eventstore.NoStream, []eventstore.Proposed{{ID: id, Type: "test.asked", Data: data, Meta: meta}})
		require.NoError(w.t, err)
		ids = append(ids, id)
	}
	return ids
}

// recorded are the outcomes so far.
func (w *world) recorded() (events []domain.Event, raw []eventstore.Recorded) {
	w.t.Helper()
	for r, err := range w.store.Load(context.Background(), record{}.Stream(), 0) {
		require.NoError(w.t, err)
		e, _, err := w.codec.DecodeRecorded(r)
		require.NoError(w.t, err)
		events, raw = append(events, e), append(raw, r)
	}
	return events, raw
}

func (w *world) eventually(condition func() bool) {
	w.t.Helper()
	require.Eventually(w.t, condition, patience, 2*time.Millisecond)
}

// jobs are all jobs, oldest first, once they are n in a state.
func (w *world) jobs(e *Engine, state JobState, n int) []JobInfo {
	w.t.Helper()
	var all []JobInfo
	require.Eventually(w.t, func() bool {
		var err error
		all, err = e.Jobs(context.Background(), Filter{State: state})
		return err == nil && len(all) == n
	}, patience, 2*time.Millisecond, "never %d jobs %s", n, state)
	return all
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err)
}

// scan reads one value; the zero value while there is no row or no table.
func scan[T any](w *world, sql string, args ...any) (value T) {
	w.t.Helper()
	err := w.pool.QueryRow(context.Background(), sql, args...).Scan(&value)
	var server *pgconn.PgError
	noTable := errors.As(err, &server) && server.Code == "42P01"
	if !noTable && !errors.Is(err, pgx.ErrNoRows) {
		require.NoError(w.t, err)
	}
	return value
}

// passed waits until a reactor is past everything that is recorded now.
func (w *world) passed(p *process) {
	w.t.Helper()
	head, err := w.store.Head(context.Background())
	require.NoError(w.t, err)
	w.eventually(func() bool {
		all, err := p.reactors.Overview(context.Background())
		return err == nil && all[0].Position >= head
	})
}

// add enqueues a job without a reactor.
func (w *world) add(e *Engine, k *Kind[args], n int) uuid.UUID {
	w.t.Helper()
	ctx, in := context.Background(), reactors.Event{Recorded: eventstore.Recorded{ID: uuid.New(), Created: time.Now()}, Meta: eventstore.Metadata{Tenant: tenant}}
	require.NoError(w.t, e.Prepare(ctx))
	job, err := envelop(k.name, args{n}, in)
	require.NoError(w.t, err)
	require.NoError(w.t, pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return insert(ctx, tx, &k.definition, job) }))
	return in.ID
}

// asSystem is the context of a timer that works in the tenant.
func asSystem(ctx context.Context) context.Context {
	return domain.WithActor(ctx, domain.System(tenant))
}
