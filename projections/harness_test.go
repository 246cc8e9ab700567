package projections

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"docket/domain"
	"docket/eventstore"
	"docket/internal/postgres/pgtest"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const patience = 30 * time.Second

// bench is a log, a database and engines over them.
type bench struct {
	t     testing.TB
	log   *log
	pool  *pgxpool.Pool
	codec *eventstore.Codec
}

func newBench(t testing.TB) *bench {
	codec := newCodec()
	return &bench{t: t, log: &log{newMemoryStore(), t, codec}, pool: pgtest.New(t), codec: codec}
}

// engine is a running engine.
type engine struct {
	*Engine
	stop func()
}

// start runs an engine until the test or stop ends it.
func (b *bench) start(change func(*Config), groups ...*Group) *engine {
	c := Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: groups, Logger: slog.New(slog.DiscardHandler), DropAfter: time.Millisecond}
	if change != nil {
		change(&c)
	}
	e, err := NewEngine(c)
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := e.Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(); <-ended })
	b.t.Cleanup(stop)
	return &engine{e, stop}
}

// await waits for a position.
func (b *bench) await(e *engine, p eventstore.Position, events ...domain.Event) {
	b.t.Helper()
	require.True(b.t, b.reaches(e, p, events...), "%+v", e.Status(context.Background()))
}

func (b *bench) reaches(e *engine, p eventstore.Position, events ...domain.Event) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	types := []string{projectCreated{}.EventType()}
	for _, e := range events {
		types = append(types, e.EventType())
	}
	return e.Await(ctx, p, types)
}

// awaitState waits until a group is in a state.
func (b *bench) awaitState(e *engine, group string, state State) Status {
	b.t.Helper()
	var s Status
	require.Eventually(b.t, func() bool {
		s = e.runners[group].snapshot()
		return s.State == state
	}, patience, 2*time.Millisecond, "want %s, have %+v", state, &s)
	return s
}

// dump is everything in a group's tables, as text by table.
func (b *bench) dump(g *Group) map[string][]string { return b.dumpSchema(g, liveSchema(g.name)) }

func (b *bench) dumpSchema(g *Group, schema string) map[string][]string {
	b.t.Helper()
	out := map[string][]string{}
	for _, t := range append(g.tables, &core{name: countersTable}) {
		out[t.name] = b.strings(fmt.Sprintf("select t::text from %s.%s t order by 1", schema, t.name))
	}
	return out
}

func (b *bench) strings(sql string, args ...any) []string {
	b.t.Helper()
	rows, err := b.pool.Query(context.Background(), sql, args...)
	require.NoError(b.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return list
}

func (b *bench) number(sql string, args ...any) int64 {
	b.t.Helper()
	var n int64
	require.NoError(b.t, b.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

// requireCounts compares the counters with counts of the rows.
func (b *bench) requireCounts(g *Group) {
	b.t.Helper()
	want := map[string]int64{}
	for _, t := range g.tables {
		// Grouping by every counted list is what deltaSQL does for all rows.
		rows, err := b.pool.Query(context.Background(), fmt.Sprintf("select key, n from (%s) x where n <> 0", t.deltaSQL(t.Name(), 1)))
		require.NoError(b.t, err)
		var key string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&key, &n}, func() error { want[t.name+" "+key] = n; return nil })
		require.NoError(b.t, err)
	}
	got := map[string]int64{}
	rows, err := b.pool.Query(context.Background(), "select table_name || ' ' || key, n from "+g.Counters())
	require.NoError(b.t, err)
	var key string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&key, &n}, func() error { got[key] = n; return nil })
	require.NoError(b.t, err)
	require.Equal(b.t, want, got)
}

func ids(n int) []uuid.UUID {
	list := make([]uuid.UUID, n)
	for i := range list {
		list[i] = domain.WellKnownID(uint32(1000 + i))
	}
	return list
}

// noLeaks fails the test when goroutines survive it. Call it first.
func noLeaks(t *testing.T) {
	t.Cleanup(func() {
		goleak.VerifyNone(t, goleak.IgnoreTopFunction("os/exec.(*Cmd).watchCtx"))
	})
}
