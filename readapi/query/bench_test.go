package query

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// The benchmark's tasks: 200 organizations of very different size, a project
// per 20 tasks, names made of words of known frequency. DOCKET_BENCH_ROWS sets
// how many there are.
const benchSchema = `
select setseed(0.42);
create schema b;
create table b.organizations (id uuid primary key, name text not null, name_f text collate "C" not null);
insert into b.organizations select md5('o'||i)::uuid, 'Org '||md5(i::text), 'org '||md5(i::text) from generate_series(0, 199) i;
create table b.projects (id uuid primary key, n int, organization_id uuid not null, name text not null, name_f text collate "C" not null);
insert into b.projects select md5('p'||i)::uuid, i, md5('o'||floor(200*power(random(), 1.75)))::uuid,
	(array['Finance','Retail','Energy','Health','Banking','Travel','Media','Public'])[1+floor(8*random())]||' '||substr(md5(i::text), 1, 8), ''
	from generate_series(0, greatest(%[1]d/20, 10)-1) i;
update b.projects set name_f = lower(name);
create table b.tasks (
	id uuid not null, organization_id uuid not null, project_id uuid not null,
	project_name text not null, project_name_f text collate "C" not null,
	name text not null, name_f text collate "C" not null, description text,
	status text collate "C" not null, is_active bool not null, runs int not null,
	created_at timestamptz not null, modified_at timestamptz not null) with (fillfactor = 90);
insert into b.tasks
select md5('t'||i)::uuid, p.organization_id, p.id, p.name, p.name_f, n.name, lower(n.name), md5(n.name)||md5(n.name||'x'),
	case when n.r < 0.6 then 'enabled' when n.r < 0.9 then 'disabled' else 'draft' end, n.r < 0.8, floor(n.r*1000),
	timestamptz '2023-01-01' + i * interval '37 s' * (0.5+n.r), timestamptz '2025-01-01' + n.r * interval '300 d'
from (select i, random() as r, floor((greatest(%[1]d/20, 10))*power(random(), 1.2))::int as project,
	(array['Monthly','Weekly','Daily','Annual','Hourly','Nightly','Urgent','Custom'])[1+floor(8*random())]||' '||
	'noun'||chr(97+floor(16*random())::int)||chr(97+floor(10*random())::int)||' '||
	(array['report','dashboard','extract','invoice','forecast','summary'])[1+floor(6*random())]||' '||
	case when random() < 0.03 then 'zq ' else '' end||lpad(i::text, 8, '0')||' '||
	(array['north','south','east','west','central','upper','lower','inner','outer','coast'])[1+floor(10*random())] as name
	from generate_series(1, %[1]d) i) n join b.projects p on p.n = n.project;
create table b.counters (table_name text, key text, n bigint, primary key (table_name, key));
insert into b.counters select 'tasks', '', count(*) from b.tasks;
insert into b.counters select 'tasks', 'organization_id='||organization_id, count(*) from b.tasks group by 2;
insert into b.counters select 'tasks', 'status='||status, count(*) from b.tasks group by 2;
alter table b.tasks add primary key (id);
create index on b.tasks (name_f, id);
create index on b.tasks (created_at, id);
create index on b.tasks (project_name_f, id);
create index on b.tasks (status, id);
create index on b.tasks (organization_id, name_f, id);
create index on b.tasks (organization_id, id);
create index on b.tasks (project_id, id);
create index on b.tasks (reverse(name_f));
create index on b.tasks using gin (name_f gin_trgm_ops);
create index on b.projects using gin (name_f gin_trgm_ops);
create index on b.organizations (name_f, id);
alter table b.tasks alter column name_f set statistics 1000;
`

var benchTasks = MustDefine(Resource{
	Name: "task", Table: "b.tasks", ScopeColumn: "organization_id",
	Joins: []Join{
		{Name: "organization", Table: "b.organizations", FK: "organization_id", Required: true},
		{Name: "project", Table: "b.projects", FK: "project_id", Required: true},
	},
	Fields: []Field{
		{Name: "id", Column: "id", Kind: UUID, Ops: Equality, Sortable: true},
		{Name: "name", Column: "name", Folded: "name_f", Ops: TextOps, Sortable: true, Reversed: true},
		{Name: "project", Column: "project_name", Folded: "project_name_f", Sortable: true},
		{Name: "project.name", Column: "name", Folded: "name_f", Ops: TextOps, Join: "project"},
		{Name: "organization.name", Column: "name", Folded: "name_f", Sortable: true, Join: "organization"},
		{Name: "organizationId", Column: "organization_id", Kind: UUID, Ops: Equality},
		{Name: "status", Column: "status", Exact: true, Ops: Equality, Sortable: true},
		{Name: "createdDate", Column: "created_at", Kind: Time, Ops: OrderOps, Sortable: true},
	},
	DefaultSort: Sort{Field: "name"},
	Indexes:     []string{"organization_id,name_f", "organization_id"},
	Counters:    []string{"", "organization_id", "status"},
})

type benchTask struct {
	ID          uuid.UUID `json:"id" col:"id"`
	Name        string    `json:"name" col:"name"`
	Description *string   `json:"description" col:"description"`
	Status      string    `json:"status" col:"status"`
	Active      bool      `json:"isActive" col:"is_active"`
	Runs        int32     `json:"runs" col:"runs"`
	Created     time.Time `json:"createdDate" col:"created_at"`
	Modified    time.Time `json:"modifiedDate" col:"modified_at"`
	Project     struct {
		ID   uuid.UUID `json:"id" col:"project_id"`
		Name string    `json:"name" col:"project_name"`
	} `json:"project"`
	Organization struct {
		ID   uuid.UUID `json:"id" col:"organization_id"`
		Name string    `json:"name" col:"organization.name"`
	} `json:"organization"`
}

var benchShape = MustShape[benchTask](benchTasks)

const benchSelect = `select t.id, t.name, t.description, t.status, t.is_active, t.runs, t.created_at, t.modified_at, p.id, p.name, o.id, o.name`
const benchFrom = ` from b.tasks t join b.projects p on p.id = t.project_id join b.organizations o on o.id = t.organization_id`

type bench struct {
	pool   *pgxpool.Pool
	reader *Reader
	rows   int
	pk     uuid.UUID
}

func newBench(b *testing.B) *bench {
	rows := 50_000
	if s := os.Getenv("DOCKET_BENCH_ROWS"); s != "" {
		var err error
		rows, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	x := &bench{pool: listPool(b), rows: rows}
	_, err := x.pool.Exec(context.Background(), fmt.Sprintf("set maintenance_work_mem = '512MB';"+benchSchema, rows))
	require.NoError(b, err)
	x.vacuum(b)
	x.pool.Reset()
	x.reader = NewReader(x.pool, Options{})
	require.NoError(b, x.pool.QueryRow(context.Background(), "select id from b.tasks limit 1 offset $1", rows/3).Scan(&x.pk))
	return x
}

// vacuum makes all pages visible to index-only scans, as after a rebuild; a
// snapshot that autovacuum holds meanwhile would prevent it.
func (x *bench) vacuum(b *testing.B) {
	for range 50 {
		execute(b, x.pool, "vacuum analyze")
		var done bool
		require.NoError(b, x.pool.QueryRow(context.Background(), "select relallvisible >= relpages - 1 from pg_class where oid = 'b.tasks'::regclass").Scan(&done))
		if done {
			return
		}
	}
	b.Fatal("the table does not become all-visible")
}

// median runs f so many times and gives the median time.
func median(n int, f func()) time.Duration {
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		f()
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[n/2]
}

func (x *bench) lookUp(b *testing.B) {
	_, err := x.reader.Get(context.Background(), Request{Shape: benchShape, Scope: Everything()}, x.pk)
	require.NoError(b, err)
}

// naive runs the usual SQL: joins, lower(), count(*) over(), offset.
func (x *bench) naive(b *testing.B, where, order string, limit, offset int, args ...any) {
	sql := benchSelect + ", count(*) over()" + benchFrom
	if where != "" {
		sql += " where " + where
	}
	sql += fmt.Sprintf(" order by %s, t.id limit %d offset %d", order, limit, offset)
	rows, err := x.pool.Query(context.Background(), sql, args...)
	require.NoError(b, err)
	for rows.Next() {
	}
	require.NoError(b, rows.Err())
}

type benchCase struct {
	name   string
	req    Request
	where  string // naive
	order  string
	args   []any
	keyset bool
	again  bool // measured with totals and places remembered
}

// run measures a case against a primary-key lookup and the naive SQL, all in
// one run: naive/ours and ours/pk are what to compare between machines.
func (x *bench) run(b *testing.B, c benchCase) {
	b.Run(c.name, func(b *testing.B) {
		ctx := context.Background()
		c.req.Shape, c.req.Scope = benchShape, Everything()
		reader := NewReader(x.pool, Options{})
		if c.again {
			reader.options.Version = func(string) (uint64, bool) { return 1, true }
		}
		var page Page
		read := func() {
			var err error
			if c.keyset {
				page, err = reader.Keyset(ctx, c.req)
			} else {
				page, err = reader.List(ctx, c.req)
			}
			require.NoError(b, err)
		}
		read()
		x.lookUp(b)
		var times, pks []time.Duration
		for b.Loop() {
			times = append(times, median(1, read))
			for range 4 {
				pks = append(pks, median(1, func() { x.lookUp(b) }))
			}
		}
		slices.Sort(times)
		slices.Sort(pks)
		ours, pk := times[len(times)/2], pks[len(pks)/2]
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(ours.Seconds()*1000, "ms")
		b.ReportMetric(float64(ours)/float64(pk), "xpk")
		if c.order != "" {
			offset := (c.req.Page - 1) * c.req.Size
			naive := median(3, func() { x.naive(b, c.where, c.order, c.req.Size, max(offset, 0), c.args...) })
			b.ReportMetric(float64(naive)/float64(ours), "naive/ours")
		}
		b.Logf("%s: %d rows of %d, %s turned=%v pk=%s", c.name, page.Count, page.Total, page.Strategy, page.Turned, pk)
	})
}

func (x *bench) list(field string, desc bool, page int, filter Expr) Request {
	return Request{Sort: Sort{Field: field, Desc: desc}, Filter: filter, Page: page, Size: 50, Total: true}
}

func BenchmarkList(b *testing.B) {
	x := newBench(b)
	last := (x.rows + 49) / 50
	b.Run("sort", func(b *testing.B) {
		orders := map[string]string{"name": "lower(t.name)", "createdDate": "t.created_at", "project": "lower(p.name)", "organization.name": "lower(o.name)", "status": "t.status"}
		for _, field := range []string{"name", "createdDate", "project", "organization.name", "status"} {
			x.run(b, benchCase{name: field + "/p1", req: x.list(field, false, 1, nil), order: orders[field]})
			x.run(b, benchCase{name: field + "/desc", req: x.list(field, true, 1, nil)})
			x.run(b, benchCase{name: field + "/p1000", req: x.list(field, false, min(1000, last/3), nil)})
			x.run(b, benchCase{name: field + "/last", req: x.list(field, false, last, nil)})
		}
		x.run(b, benchCase{name: "name/middle", req: x.list("name", false, last/2, nil), order: "lower(t.name)"})
		x.run(b, benchCase{name: "name/middle-anchored", req: x.list("name", false, last/2, nil), again: true})
		next := Request{Sort: Sort{Field: "name"}, Limit: 50}
		x.run(b, benchCase{name: "name/cursor", req: x.cursorAt(b, next, last/2*50), keyset: true})
		back := x.cursorAt(b, next, last/2*50)
		back.Prev, back.Next = back.Next, ""
		x.run(b, benchCase{name: "name/cursor-prev", req: back, keyset: true})
	})
	b.Run("filter", func(b *testing.B) { x.filters(b) })
	b.Run("all", func(b *testing.B) { x.all(b) })
}

// cursorAt gives a request that goes on behind some row in the middle.
func (x *bench) cursorAt(b *testing.B, req Request, offset int) Request {
	ctx := context.Background()
	list := Request{Shape: benchShape, Scope: Everything(), Sort: req.Sort, Page: offset / 50, Size: 50}
	tasks, _, err := Fetch(ctx, x.reader, benchShape, list)
	require.NoError(b, err)
	req.Shape, req.Scope = benchShape, Everything()
	q, err := x.reader.plan(ctx, req)
	require.NoError(b, err)
	lastTask := tasks[len(tasks)-1]
	var folded string
	require.NoError(b, x.pool.QueryRow(ctx, "select name_f from b.tasks where id = $1", [16]byte(lastTask.ID)).Scan(&folded))
	req.Next = q.cursor(&position{key: folded, id: lastTask.ID})
	return req
}

func (x *bench) filters(b *testing.B) {
	ctx := context.Background()
	var name, organization string
	require.NoError(b, x.pool.QueryRow(ctx, "select name from b.tasks where id = $1", [16]byte(x.pk)).Scan(&name))
	require.NoError(b, x.pool.QueryRow(ctx, "select organization_id::text from b.tasks group by 1 order by count(*) desc limit 1").Scan(&organization))
	number := name[len(name)-15 : len(name)-6]
	compare := func(op Op, v string) Expr { return Compare{Field: "name", Op: op, Value: v} }
	const byName, byProject, byDate = "lower(t.name)", "lower(p.name)", "t.created_at"
	like := "lower(t.name) like $1"
	cases := []benchCase{
		{name: "equal", req: x.list("name", false, 1, compare(Eq, name)), where: "lower(t.name) = lower($1)", order: byName, args: []any{name}},
		{name: "starts-rare", req: x.list("name", false, 1, compare(Starts, name[:len(name)-6])), where: "lower(t.name) like lower($1)||'%'", order: byName, args: []any{name[:len(name)-6]}},
		{name: "ends-rare", req: x.list("name", false, 1, compare(Ends, name[len(name)-15:])), where: "lower(t.name) like '%'||lower($1)", order: byName, args: []any{name[len(name)-15:]}},
		{name: "contains-rare", req: x.list("name", false, 1, compare(Contains, number)), where: like, order: byName, args: []any{"%" + number + "%"}},
		{name: "contains-none", req: x.list("name", false, 1, compare(Contains, "xyzzyx")), where: like, order: byName, args: []any{"%xyzzyx%"}},
		{name: "contains-0.6%/name", req: x.list("name", false, 1, compare(Contains, "nouncd")), where: like, order: byName, args: []any{"%nouncd%"}},
		{name: "contains-0.6%/project", req: x.list("project", false, 1, compare(Contains, "nouncd")), where: like, order: byProject, args: []any{"%nouncd%"}},
		{name: "contains-0.6%/created", req: x.list("createdDate", false, 1, compare(Contains, "nouncd")), where: like, order: byDate, args: []any{"%nouncd%"}},
		{name: "starts-12%/name", req: x.list("name", false, 1, compare(Starts, "Weekly")), where: like, order: byName, args: []any{"weekly%"}},
		{name: "starts-12%/created", req: x.list("createdDate", false, 1, compare(Starts, "Weekly")), where: like, order: byDate, args: []any{"weekly%"}},
		{name: "contains-17%/name", req: x.list("name", false, 1, compare(Contains, "forecast")), where: like, order: byName, args: []any{"%forecast%"}},
		{name: "contains-17%/project", req: x.list("project", false, 1, compare(Contains, "forecast")), where: like, order: byProject, args: []any{"%forecast%"}},
		{name: "contains-17%/organization", req: x.list("organization.name", false, 1, compare(Contains, "forecast")), where: like, order: "lower(o.name)", args: []any{"%forecast%"}},
		{name: "ends-10%/name", req: x.list("name", false, 1, compare(Ends, "coast")), where: like, order: byName, args: []any{"%coast"}},
		{name: "contains-2-letters-3%", req: x.list("name", false, 1, compare(Contains, "zq")), where: like, order: byName, args: []any{"%zq%"}},
		{name: "contains-2-letters-none", req: x.list("name", false, 1, compare(Contains, "qj")), where: like, order: byName, args: []any{"%qj%"}},
		{name: "status-60%", req: x.list("name", false, 1, Equals("status", "enabled")), where: "t.status = $1", order: byName, args: []any{"enabled"}},
		{name: "status-10%", req: x.list("createdDate", false, 1, Equals("status", "draft")), where: "t.status = $1", order: byDate, args: []any{"draft"}},
		{name: "organization", req: x.list("name", false, 1, Equals("organizationId", uuid.MustParse(organization))), where: "t.organization_id = $1::uuid", order: byName, args: []any{organization}},
		{name: "project.name-12%", req: x.list("name", false, 1, Compare{Field: "project.name", Op: Starts, Value: "energy"}), where: "lower(p.name) like $1", order: byName, args: []any{"energy%"}},
		{name: "project.name-rare", req: x.list("name", false, 1, Compare{Field: "project.name", Op: Contains, Value: "y 1a2"}), where: "lower(p.name) like $1", order: byName, args: []any{"%y 1a2%"}},
	}
	for _, c := range cases {
		x.run(b, c)
		again := c
		again.name, again.order, again.again = c.name+"/remembered", "", true
		x.run(b, again)
	}
	deep := x.list("name", false, min(1000, x.rows/10/50), compare(Contains, "forecast"))
	x.run(b, benchCase{name: "contains-17%/p1000", req: deep, where: like, order: byName, args: []any{"%forecast%"}})
}

// all measures the whole list, by row.
func (x *bench) all(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		if n > x.rows {
			continue
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var stats runtime.MemStats
			req := Request{Shape: benchShape, Scope: Everything(), Sort: Sort{Field: "name"}}
			if n < x.rows {
				var until time.Time
				require.NoError(b, x.pool.QueryRow(context.Background(), "select created_at from b.tasks order by created_at offset $1 limit 1", n).Scan(&until))
				req.Filter = Compare{Field: "createdDate", Op: Lt, Value: until}
			}
			var rows int64
			var peak uint64
			b.ReportAllocs()
			for b.Loop() {
				var err error
				counter := &watching{first: time.Time{}}
				start := time.Now()
				rows, err = x.reader.Stream(context.Background(), counter, req)
				require.NoError(b, err)
				runtime.ReadMemStats(&stats)
				peak = max(peak, stats.HeapInuse)
				b.ReportMetric(counter.first.Sub(start).Seconds()*1000, "first-ms")
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(rows), "us/row")
			b.ReportMetric(float64(peak)/(1<<20), "heap-MB")
		})
	}
}

type watching struct{ first time.Time }

func (w *watching) Write(p []byte) (int, error) {
	if w.first.IsZero() {
		w.first = time.Now()
	}
	return io.Discard.Write(p)
}
