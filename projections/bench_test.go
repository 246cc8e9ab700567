package projections

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"docket/domain"
	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// The benchmarks compare within one run, since absolute figures say more about
// the machine and what else it does. One operation is one event.
//
//	go test -run '^$' -bench . -benchtime 20000x ./projections

// article is a table with the indexes of a searchable list.
type article struct {
	ID           uuid.UUID `db:"id,pk"`
	Organization uuid.UUID `db:"organization_id"`
	Project      uuid.UUID `db:"project_id"`
	Name         string    `db:"name"`
	NameF        string    `db:"name_f,fold"`
	Description  string    `db:"description"`
	Status       string    `db:"status"`
	Revision     int64     `db:"revision"`
	CreatedAt    time.Time `db:"created_at"`
	UpdatedAt    time.Time `db:"updated_at"`
}

type (
	articleCreated struct {
		Organization, Project uuid.UUID
		Name, Description     string
	}
	articleChanged struct{ Name, Status string }
	articleDeleted struct{}
)

func (articleCreated) EventType() string { return "bench.created" }
func (articleChanged) EventType() string { return "bench.changed" }
func (articleDeleted) EventType() string { return "bench.deleted" }

func articles(indexed bool) *Group {
	var options []TableOption
	if indexed {
		options = []TableOption{Index("name_f", "id"), Index("created_at", "id"), Index("organization_id", "name_f", "id"),
			Index("project_id", "id"), Trigram("name_f"), Reverse("name_f"), CountBy("organization_id")}
	}
	table := NewTable[article]("articles", options...)
	return NewGroup("bench", eventstore.Filter{TypePrefixes: []string{"bench."}}, table,
		Put(table, func(e articleCreated, rec Rec) article {
			return article{ID: rec.StreamID(), Organization: e.Organization, Project: e.Project, Name: e.Name, Description: e.Description,
				Status: "new", Revision: int64(rec.Revision), CreatedAt: rec.Created, UpdatedAt: rec.Created}
		}),
		Update(table, ByStream[articleChanged], func(row *article, e articleChanged, rec Rec) {
			row.Name, row.Status, row.Revision, row.UpdatedAt = e.Name, e.Status, int64(rec.Revision), rec.Created
		}),
		Delete(table, ByStream[articleDeleted]))
}

// articleLog is n events: 40% created, 50% changed, 10% deleted; 80% of the
// changes meet the newest tenth.
func articleLog(b *bench, n int) {
	b.codec = eventstore.NewCodec(articleCreated{}, articleChanged{}, articleDeleted{})
	b.log.codec = b.codec
	random := rand.New(rand.NewPCG(1, 2))
	var live []uuid.UUID
	orgs := ids(200)
	pick := func() int {
		if tenth := len(live) / 10; tenth > 0 && random.IntN(10) < 8 {
			return len(live) - 1 - random.IntN(tenth)
		}
		return random.IntN(len(live))
	}
	for i := range n {
		switch r := random.IntN(10); {
		case r < 4 || len(live) < 10:
			id := domain.NewID(time.UnixMilli(int64(1_700_000_000_000+i)), random.Uint64())
			live = append(live, id)
			b.log.append(id, articleCreated{orgs[random.IntN(200)], orgs[random.IntN(200)], fmt.Sprintf("Report %06d of the quarter", random.IntN(1e6)),
				"What is to be told about it takes a sentence or two, as people write them."})
		case r < 9:
			b.log.append(live[pick()], articleChanged{fmt.Sprintf("Changed %06d", random.IntN(1e6)), "done"})
		default:
			at := pick()
			b.log.append(live[at], articleDeleted{})
			live = slices.Delete(live, at, at+1)
		}
	}
}

// emptyTables makes the live tables at the start of the log.
func (b *bench) emptyTables(g *Group) *Engine {
	e, err := NewEngine(Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: []*Group{g}, RebuildRows: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b.t, err)
	builder, err := e.runners[g.name].newBuilder(context.Background(), liveSchema(g.name), nil)
	require.NoError(b.t, err)
	defer builder.close()
	require.NoError(b.t, builder.create(true))
	_, err = builder.conn.Exec(context.Background(), "delete from docket_projections.checkpoints")
	require.NoError(b.t, err)
	require.NoError(b.t, builder.firstCheckpoint())
	return e
}

// statement is what a plain projection would do for an event.
func statement(it *item) (string, []any) {
	id := it.rec.StreamID()
	switch e := it.event.(type) {
	case articleCreated:
		return `insert into rm_bench.articles (id, organization_id, project_id, name, name_f, description, status, revision, created_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, 'new', $7, $8, $8)`,
			[]any{id, e.Organization, e.Project, e.Name, FoldText(e.Name), e.Description, int64(it.rec.Revision), it.rec.Created}
	case articleChanged:
		return "update rm_bench.articles set name = $2, name_f = $3, status = $4, revision = $5, updated_at = $6 where id = $1",
			[]any{id, e.Name, FoldText(e.Name), e.Status, int64(it.rec.Revision), it.rec.Created}
	}
	return "delete from rm_bench.articles where id = $1", []any{id}
}

// usually applies the log as most do: a transaction per event, a round trip per
// statement.
func (b *bench) usually(g *Group, e *Engine, finished func()) {
	ctx := context.Background()
	conn, err := e.connect(ctx)
	require.NoError(b.t, err)
	defer closeConn(conn)
	events, _ := b.log.after(0)
	for i := range events {
		it := newItem(g, b.codec, &events[i])
		require.NoError(b.t, it.err)
		sql, args := statement(&it)
		require.NoError(b.t, pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, sql, args...); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "update docket_projections.checkpoints set position = $2 where group_name = $1", g.name, it.position)
			return err
		}))
	}
	finished()
}

// plainly applies the log the plain way: a transaction per so many events, one
// statement per event, sent together.
func (b *bench) plainly(g *Group, e *Engine, size int, finished func()) {
	ctx := context.Background()
	conn, err := e.connect(ctx)
	require.NoError(b.t, err)
	defer closeConn(conn)
	events, _ := b.log.after(0)
	for chunk := range slices.Chunk(events, size) {
		batch := &pgx.Batch{}
		for i := range chunk {
			it := newItem(g, b.codec, &chunk[i])
			require.NoError(b.t, it.err)
			sql, args := statement(&it)
			batch.Queue(sql, args...)
		}
		batch.Queue("update docket_projections.checkpoints set position = $2 where group_name = $1", g.name, chunk[len(chunk)-1].Position)
		require.NoError(b.t, conn.SendBatch(ctx, batch).Close())
	}
	finished()
}

// cpu is what this process and the server's processes of this database used.
// Where there is no /proc, only the former.
func (b *bench) cpu() time.Duration {
	var u syscall.Rusage
	require.NoError(b.t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	total := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	for _, pid := range b.strings("select pid::text from pg_stat_activity where datname = current_database()") {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, ticks := range fields[11:13] { // utime and stime, in hundredths of a second
			n, err := strconv.Atoi(ticks)
			require.NoError(b.t, err)
			total += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return total
}

// cost is what some way of applying the log took.
type cost struct{ wall, cpu time.Duration }

// measure applies the log to empty tables. do calls finished when it is done but
// still connected, since the server's share is read from its processes.
func (b *bench) measure(indexed bool, do func(g *Group, e *Engine, finished func())) (c cost) {
	g := articles(indexed)
	e := b.emptyTables(g)
	start, before := time.Now(), b.cpu()
	do(g, e, func() { c = cost{time.Since(start), b.cpu() - before} })
	return c
}

// BenchmarkCatchUp measures how fast a backlog is worked off, by the engine, by
// a rebuild and by the plain ways, and the ratios between them.
func BenchmarkCatchUp(b *testing.B) {
	for _, indexed := range []bool{false, true} {
		b.Run(fmt.Sprintf("indexed=%t", indexed), func(b *testing.B) {
			bench := newBench(b)
			articleLog(bench, b.N)
			ctx := context.Background()
			head, err := bench.log.Head(ctx)
			require.NoError(b, err)
			b.ResetTimer()
			single := bench.measure(indexed, bench.usually)
			batched := bench.measure(indexed, func(g *Group, e *Engine, finished func()) { bench.plainly(g, e, 1000, finished) })
			engine := bench.measure(indexed, func(g *Group, e *Engine, finished func()) {
				running, stop := context.WithCancel(ctx)
				ended := make(chan error)
				go func() { ended <- e.Run(running) }()
				require.True(b, e.Await(ctx, head, g.EventTypes()))
				finished()
				stop()
				require.NoError(b, <-ended)
			})
			rebuild := bench.measure(indexed, func(g *Group, e *Engine, finished func()) {
				require.NoError(b, e.Rebuild(ctx, g.name, func(p Progress) {
					if p.Phase == "swapping" {
						finished()
					}
				}))
			})
			for name, c := range map[string]cost{"tx": single, "batch": batched, "engine": engine, "rebuild": rebuild} {
				b.ReportMetric(float64(b.N)/c.wall.Seconds(), name+"-ev/s")
				b.ReportMetric(float64(c.cpu.Nanoseconds())/1000/float64(b.N), name+"-cpu-us/ev")
			}
			b.ReportMetric(single.wall.Seconds()/engine.wall.Seconds(), "engine:tx-wall")
			b.ReportMetric(single.cpu.Seconds()/engine.cpu.Seconds(), "engine:tx-cpu")
			b.ReportMetric(batched.wall.Seconds()/rebuild.wall.Seconds(), "rebuild:batch-wall")
			b.ReportMetric(batched.cpu.Seconds()/rebuild.cpu.Seconds(), "rebuild:batch-cpu")
			b.ReportMetric(0, "ns/op") // the sum of the four says nothing
		})
	}
}

// BenchmarkAwait measures how long a writer waits until reads see its event, in
// commits of one such row, in the same process and from another (by NOTIFY).
func BenchmarkAwait(b *testing.B) {
	bench := newBench(b)
	articleLog(bench, 100)
	g, remote := articles(true), articles(true)
	e := bench.start(nil, g)
	watcher := bench.start(func(c *Config) { c.WatchOnly = true }, remote)
	bench.awaitState(e, "bench", Live)
	ctx := context.Background()
	conn, err := e.connect(ctx)
	require.NoError(b, err)
	defer closeConn(conn)
	var commits, here, there []time.Duration
	b.ResetTimer()
	for range b.N {
		// A commit of the same row and a checkpoint, by itself.
		it := item{event: articleCreated{Name: "n"}, rec: Rec{Recorded: eventstore.Recorded{Stream: "x-" + uuid.NewString()}}}
		sql, args := statement(&it)
		batch := &pgx.Batch{}
		batch.Queue(sql, args...)
		batch.Queue("update docket_projections.checkpoints set updated_at = now() where group_name = 'none'")
		start := time.Now()
		require.NoError(b, conn.SendBatch(ctx, batch).Close())
		commits = append(commits, time.Since(start))

		id := uuid.New()
		start = time.Now()
		p := bench.log.append(id, articleCreated{Name: "n"})
		require.True(b, e.Await(ctx, p, g.EventTypes()))
		here = append(here, time.Since(start))

		start = time.Now()
		p = bench.log.append(id, articleChanged{Name: "m"})
		require.True(b, watcher.Await(ctx, p, g.EventTypes()))
		there = append(there, time.Since(start))
	}
	at := func(list []time.Duration, q float64) float64 {
		slices.Sort(list)
		return float64(list[int(q*float64(len(list)-1))].Microseconds())
	}
	base := at(commits, .5)
	b.ReportMetric(base, "commit-p50-us")
	b.ReportMetric(at(here, .5)/base, "await-p50/commit")
	b.ReportMetric(at(here, .99), "await-p99-us")
	b.ReportMetric(at(there, .5)/base, "await-notify-p50/commit")
	b.ReportMetric(at(there, .99), "await-notify-p99-us")
}
