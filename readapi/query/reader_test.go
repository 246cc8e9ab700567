package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"docket/domain/fault"
)

var name = Sort{Field: "name"}

// request asks for everything of a resource by name.
func (w *world) request(r *Resource) Request {
	return Request{Shape: w.shapes[r], Scope: Everything(), Sort: name, Page: 1, Size: 10, Total: true}
}

func TestGet(t *testing.T) {
	w := newWorld(t, 30)
	ctx := context.Background()
	var row modelRow
	for _, row = range w.rows {
		if row.organization != nil && *row.organization == w.organizations[2].id {
			break
		}
	}
	req := w.request(byColumn)
	got, err := w.reader.Get(ctx, req, row.id)
	require.NoError(t, err)
	require.Contains(t, string(got), `"id":"`+row.id.String()+`"`)

	req.Scope = Organizations(w.organizations[2].id)
	_, err = w.reader.Get(ctx, req, row.id)
	require.NoError(t, err)
	value, err := FetchOne(ctx, w.reader, w.shapes[byColumn], req, row.id)
	require.NoError(t, err)
	require.Equal(t, row.name, value.Name)

	missing := func(req Request, id uuid.UUID) {
		t.Helper()
		_, err := w.reader.Get(ctx, req, id)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		require.Equal(t, "item.not-found", fault.Of(err).Code)
	}
	missing(req, uuid.New())
	req.Scope = Organizations(w.organizations[3].id)
	missing(req, row.id)
	req.Scope = Organizations()
	missing(req, row.id)
	req.Scope, req.Filter = Everything(), Not{Equals("id", row.id)}
	missing(req, row.id)
}

func TestPagesOutOfBoundsAreRefused(t *testing.T) {
	reader := NewReader(nil, Options{})
	shape := MustShape[item](byColumn)
	for path, req := range map[string]Request{
		"page": {Page: 0, Size: 10},
		"size": {Page: 1, Size: MaxSize + 1},
		"sort": {Page: 1, Size: 1, Sort: Sort{Field: "label"}},
	} {
		req.Shape, req.Scope = shape, Everything()
		_, err := reader.List(context.Background(), req)
		require.True(t, fault.Is(err, fault.Invalid))
		require.Equal(t, path, fault.Of(err).Fields[0].Path)
	}
	for path, req := range map[string]Request{
		"limit": {Limit: 0},
		"next":  {Limit: 1, Next: "a", Prev: "b"},
		"sort":  {Limit: 1, Sort: Sort{Field: "secret"}}, // hidden
	} {
		req.Shape, req.Scope = shape, Everything()
		_, err := reader.Keyset(context.Background(), req)
		require.True(t, fault.Is(err, fault.Invalid))
		require.Equal(t, path, fault.Of(err).Fields[0].Path)
	}
}

func TestCursorsBelongToTheirQuery(t *testing.T) {
	w := newWorld(t, 40)
	ctx := context.Background()
	first := Request{Shape: w.shapes[byColumn], Scope: Everything(), Sort: Sort{Field: "dueAt"}, Limit: 3, Filter: Equals("isActive", true)}
	page, err := w.reader.Keyset(ctx, first)
	require.NoError(t, err)
	require.NotEmpty(t, page.Next)

	again := first
	again.Next = page.Next
	_, err = w.reader.Keyset(ctx, again)
	require.NoError(t, err)
	again.Limit = 7 // another size is still the same list
	_, err = w.reader.Keyset(ctx, again)
	require.NoError(t, err)

	refused := func(adjust func(*Request)) {
		t.Helper()
		for _, parameter := range []string{"next", "prev"} {
			req := first
			adjust(&req)
			if req.Next == "" {
				req.Next = page.Next
			}
			if parameter == "prev" {
				req.Next, req.Prev = "", req.Next
			}
			_, err := w.reader.Keyset(ctx, req)
			require.True(t, fault.Is(err, fault.Invalid), "%v", err)
			require.Equal(t, parameter, fault.Of(err).Fields[0].Path)
		}
	}
	refused(func(r *Request) { r.Sort.Desc = true })
	refused(func(r *Request) { r.Sort = name })
	refused(func(r *Request) { r.Filter = Equals("isActive", false) })
	refused(func(r *Request) { r.Filter = nil })
	refused(func(r *Request) { r.Next = "!" })
	refused(func(r *Request) { r.Next = "AAAA" })
	q, err := w.reader.plan(ctx, first)
	require.NoError(t, err)
	forged := func(r *Request, sort Sort, p *position) {
		r.Sort = sort
		q, err := w.reader.plan(ctx, *r)
		require.NoError(t, err)
		r.Next = q.cursor(p)
	}
	refused(func(r *Request) { forged(r, name, &position{null: true}) }) // names are never missing
	refused(func(r *Request) { forged(r, name, &position{key: "a\x00"}) })
	refused(func(r *Request) { forged(r, Sort{Field: "createdAt"}, &position{key: time.UnixMicro(math.MinInt64)}) })
	refused(func(r *Request) { forged(r, Sort{Field: "project.name"}, &position{null: true}) })
	refused(func(r *Request) { forged(r, Sort{Field: "isActive"}, &position{key: "text"}) })
	require.NotPanics(t, func() { _, _ = q.place("next", q.cursor(&position{null: true})) })
}

func TestCursorsOutliveTheirRow(t *testing.T) {
	w := newWorld(t, 40)
	ctx := context.Background()
	req := Request{Shape: w.shapes[unscoped], Scope: Everything(), Sort: name, Limit: 10}
	page, err := w.reader.Keyset(ctx, req)
	require.NoError(t, err)
	want := w.expected(t, unscoped, req)
	execute(t, w.reader.pool, "delete from m.items where id = $1", [16]byte(want[9]))
	req.Next = page.Next
	values, _, err := Fetch(ctx, w.reader, w.shapes[unscoped], req)
	require.NoError(t, err)
	require.Equal(t, want[10], values[0].ID)
}

// A total and a place may be remembered while the version stays, not longer.
func TestNewVersionsAreNoticed(t *testing.T) {
	w := newWorld(t, 60)
	ctx := context.Background()
	version := uint64(1)
	w.reader.options = Options{Counter: noCounters, Version: func(string) (uint64, bool) { return version, true }}
	w.reader.tuning.anchorFrom, w.reader.tuning.anchorEvery, w.reader.tuning.countFirst = 10, 5, 10
	req := w.request(unscoped)
	req.Page, req.Size = 6, 5
	list := func() ([]item, Page) {
		values, page, err := Fetch(ctx, w.reader, w.shapes[unscoped], req)
		require.NoError(t, err)
		return values, page
	}
	before, page := list()
	require.Equal(t, Anchored, page.Strategy)
	require.EqualValues(t, 60, page.Total)
	statements := 0
	w.reader.trace = func(*statement) { statements++ }
	list()
	require.Equal(t, 1, statements, "neither count nor walk again")

	later := func() time.Time { return time.Now().Add(cacheAge + time.Second) }
	w.reader.totals.now, w.reader.anchors.now = later, later
	list()
	require.Equal(t, 1+3, statements, "old knowledge is not trusted even so")
	w.reader.totals.now, w.reader.anchors.now = time.Now, time.Now

	req.Page = 4 // before the last place that is known
	nearer, page := list()
	require.Equal(t, Anchored, page.Strategy)
	require.Equal(t, w.expected(t, unscoped, req)[15], nearer[0].ID)
	req.Page = 6

	first := w.expected(t, unscoped, req)[0]
	execute(t, w.reader.pool, "delete from m.items where id = $1", [16]byte(first))
	version++
	after, page := list()
	require.EqualValues(t, 59, page.Total)
	require.Equal(t, before[1:], after[:4])
}

// Counters are used for what they count, within the scope.
func TestTotalsFromCounters(t *testing.T) {
	w := newWorld(t, 200)
	a, b, c := w.organizations[2].id, w.organizations[3].id, w.organizations[4].id
	inOrganization := func(ids ...uuid.UUID) Expr { return OneOf("organizationId", ids...) }
	for _, used := range []struct {
		scope   Scope
		filter  Expr
		counted bool
	}{
		{Everything(), nil, true},
		{Organizations(a, b), nil, true},
		{Organizations(a, b, a), inOrganization(b, c, b), true},
		{Organizations(a, b), inOrganization(c), true},
		{Organizations(a), And{inOrganization(a, b), Equals("isActive", true)}, true},
		{Everything(), Equals("status", "disabled"), true},
		{Everything(), And{inOrganization(a), inOrganization(b)}, true},
		{Everything(), Compare{Field: "organization.name", Op: Eq, Value: w.organizations[2].name}, true},
		{Everything(), Not{inOrganization(a)}, false},
		{Everything(), Or{inOrganization(a), Equals("isActive", true)}, false},
		{Everything(), And{inOrganization(a), Equals("size", 1)}, false},
	} {
		req := w.request(byColumn)
		req.Scope, req.Filter = used.scope, used.filter
		w.counted = 0
		w.reader.options.Counter = w.counters
		n, err := w.reader.Count(context.Background(), req)
		require.NoError(t, err)
		require.EqualValues(t, len(w.expected(t, byColumn, req)), n)
		require.Equal(t, used.counted, w.counted == 1, "%v", used.filter)
	}
}

func TestPatternsAreTakenLiterally(t *testing.T) {
	w := newWorld(t, 5)
	ctx := context.Background()
	w.rows = nil
	for _, text := range []string{"abc_d%ef", `abcxd\%ef`, "abc_dxef", `abc\`, `xab\cd`} {
		row := modelRow{id: uuid.New(), project: w.projects[0].id, name: text}
		w.rows = append(w.rows, row)
	}
	execute(t, w.reader.pool, "truncate m.items")
	for _, r := range w.rows {
		execute(t, w.reader.pool, `insert into m.items select $1, null, $2, $3, $3, null, null, '', true, 0, now(), null, '{}', '{}', '{}'`,
			[16]byte(r.id), [16]byte(r.project), r.name)
	}
	for _, op := range []Op{Eq, Contains, Starts, Ends} {
		for _, text := range []string{"abc_", "%ef", "_d%e", `\%ef`, `abc\`, "abc%", `\cd`, "____", "abc_d%ef", `b\c`} {
			for _, walk := range []float64{0, 20_000} {
				w.reader.tuning.filterFirst = walk
				req := w.request(unscoped)
				req.Filter = Compare{Field: "name", Op: op, Value: text}
				values, _, err := Fetch(ctx, w.reader, w.shapes[unscoped], req)
				require.NoError(t, err)
				var ids []uuid.UUID
				for _, v := range values {
					ids = append(ids, v.ID)
				}
				require.ElementsMatch(t, w.expected(t, unscoped, req), ids, "%s %q", op, text)
			}
		}
	}
}

// explain tells what Postgres does for the statements of a request.
func explain(t *testing.T, w *world, run func()) string {
	t.Helper()
	var mu sync.Mutex
	var statements []*statement
	w.reader.trace = func(s *statement) {
		mu.Lock()
		defer mu.Unlock()
		if !strings.HasPrefix(s.String(), "explain") {
			statements = append(statements, s)
		}
	}
	run()
	w.reader.trace = nil
	var plans strings.Builder
	for _, s := range statements {
		rows, err := w.reader.pool.Query(context.Background(), "explain "+s.String(), s.args...)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plans.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return plans.String()
}

func TestStrategies(t *testing.T) {
	w := newWorld(t, 3000)
	ctx := context.Background()
	organization := w.organizations[2].id
	contains := func(text string) Expr { return Compare{Field: "name", Op: Contains, Value: text} }
	for _, c := range []struct {
		name   string
		adjust func(*Request)
		want   Strategy
		turned bool
		uses   string // an index in the plan
	}{
		{"first page", func(r *Request) {}, Direct, false, "items_name_f_id_idx"},
		{"last page", func(r *Request) { r.Page = 300 }, Direct, true, "Backward using items_name_f_id_idx"},
		{"beyond the end", func(r *Request) { r.Page = 301 }, Nothing, false, ""},
		{"far down", func(r *Request) { r.Page = 140 }, Anchored, false, "items_name_f_id_idx"},
		{"prefix of the sort column", func(r *Request) { r.Filter = Compare{Field: "name", Op: Starts, Value: "ab"} }, Direct, false, "items_name_f_id_idx"},
		{"one organization", func(r *Request) { r.Filter = Equals("organizationId", organization) }, Direct, false, "items_organization_id_name_f_id_idx"},
		{"scope of one organization", func(r *Request) { r.Scope = Organizations(organization) }, Direct, false, "items_organization_id_name_f_id_idx"},
		{"by joined name", func(r *Request) { r.Sort = Sort{Field: "organization.name", Desc: false} }, Direct, false, "items_organization_id"},
		{"rare", func(r *Request) { r.Filter = contains("sales日本") }, FilterFirst, false, "items_name_f_idx"},
		{"rare ending", func(r *Request) { r.Filter = Compare{Field: "name", Op: Ends, Value: "sales日本"} }, FilterFirst, false, "items_reverse_idx"},
		{"frequent, counted", func(r *Request) { r.Filter = contains("sales") }, FilterFirst, false, ""},
		{"frequent, not counted", func(r *Request) { r.Filter, r.Total = contains("sales"), false }, Probe, false, "items_name_f_id_idx"},
		{"too short for trigrams", func(r *Request) { r.Filter = contains("ab") }, FilterFirst, false, ""},
		{"too short, not counted", func(r *Request) { r.Filter, r.Total = contains("ab"), false }, Probe, false, "items_name_f_id_idx"},
		{"too short and rare", func(r *Request) { r.Filter = contains("\n\u2028") }, FilterFirst, false, "~~"}, // of the rows or of an index in order, but not by trigrams
		{"impossible", func(r *Request) { r.Filter = Or{} }, Nothing, false, ""},
		{"no such organization", func(r *Request) {
			r.Filter = Compare{Field: "organization.name", Op: Eq, Value: "nobody is called so"}
		}, Nothing, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.reader = NewReader(w.reader.pool, Options{Version: func(string) (uint64, bool) { return 1, true }})
			w.reader.tuning.anchorFrom, w.reader.tuning.anchorEvery = 1000, 100
			w.reader.tuning.probeKeys = 1000
			req := w.request(byColumn)
			c.adjust(&req)
			var page Page
			run := func() {
				var err error
				page, err = w.reader.List(ctx, req)
				require.NoError(t, err)
			}
			if c.uses == "" {
				run()
			} else {
				plan := explain(t, w, run)
				require.Contains(t, plan, c.uses)
				if c.uses == "~~" {
					require.NotContains(t, plan, "items_name_f_idx")
				}
			}
			require.Equal(t, c.want.String(), page.Strategy.String())
			require.Equal(t, c.turned, page.Turned)
			if req.Total {
				require.EqualValues(t, len(w.expected(t, byColumn, req)), page.Total)
			}
		})
	}
}

// Page and count run on two connections, but one is enough.
func TestOneConnectionIsEnough(t *testing.T) {
	w := newWorld(t, 400)
	config := w.reader.pool.Config()
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	defer pool.Close()
	w.reader = NewReader(pool, Options{})
	w.reader.tuning.filterFirst = 0
	req := w.request(byColumn)
	req.Filter = Equals("isActive", true)
	page, err := w.reader.List(context.Background(), req)
	require.NoError(t, err)
	require.EqualValues(t, len(w.expected(t, byColumn, req)), page.Total)
}

// fails is a shape whose rows cannot be computed from the given size on.
func fails(size int) Layout {
	return MustShape[struct {
		ID  uuid.UUID `json:"id" col:"id"`
		One int       `json:"one" col:"one"`
	}](unscoped, Virtual("one", fmt.Sprintf("1 / (case when t.size < %d then 1 else 0 end)", size)))
}

func TestStreamsFailLoudly(t *testing.T) {
	w := newWorld(t, 5000)
	ctx := context.Background()
	after := func(n int64) []byte { return fmt.Appendf(nil, `,"n":%d}`, n) }
	req := Request{Shape: w.shapes[unscoped], Scope: Everything(), Sort: Sort{Field: "size"}}

	whole := httptest.NewRecorder()
	require.NoError(t, w.reader.Respond(ctx, whole, req, []byte(`{"rows":`), after))
	var answer struct {
		Rows []item
		N    int
	}
	require.NoError(t, json.Unmarshal(whole.Body.Bytes(), &answer))
	require.Len(t, answer.Rows, 5000)
	require.Equal(t, 5000, answer.N)

	// From the first row on: an ordinary error, nothing was written.
	req.Shape = fails(-100)
	untouched := httptest.NewRecorder()
	err := w.reader.Respond(ctx, untouched, req, []byte(`{"rows":`), after)
	require.Error(t, err)
	require.Zero(t, untouched.Body.Len())
	require.NotContains(t, fault.Of(err).Public, "division")

	// In the middle: the connection is cut.
	req.Shape = fails(4)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = w.reader.Respond(r.Context(), rw, req, []byte(`{"rows":`), after)
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	require.NoError(t, err)
	defer response.Body.Close()
	half, err := io.ReadAll(response.Body)
	require.NotEmpty(t, half)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	// A reader that goes away ends the query; the pool stays usable.
	req.Shape = w.shapes[unscoped]
	gone := errors.New("gone")
	_, err = w.reader.Stream(ctx, brokenWriter{gone}, req)
	require.ErrorIs(t, err, gone)
	_, err = FetchAll(ctx, w.reader, w.shapes[unscoped], req)
	require.NoError(t, err)
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

func TestSlowQueriesAreUnavailable(t *testing.T) {
	w := newWorld(t, 10)
	req := w.request(unscoped)
	req.Shape = MustShape[struct {
		ID   uuid.UUID `json:"id" col:"id"`
		Slow string    `json:"slow" col:"slow"`
	}](unscoped, Virtual("slow", "pg_sleep(60)::text"))
	config := w.reader.pool.Config()
	config.ConnConfig.RuntimeParams["statement_timeout"] = "50"
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	defer pool.Close()
	_, err = NewReader(pool, Options{}).List(context.Background(), req)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.Positive(t, fault.Of(err).RetryAfter)
}

// A rebuilt read model may have other column types; connections that prepared
// statements for the old one go on.
func TestRebuiltTablesAreNoticed(t *testing.T) {
	w := newWorld(t, 40)
	config := w.reader.pool.Config()
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	defer pool.Close()
	reader := NewReader(pool, Options{})
	req := w.request(unscoped)
	before, err := reader.List(context.Background(), req)
	require.NoError(t, err)
	execute(t, w.reader.pool, "alter table m.items alter column size type bigint")
	after, err := reader.List(context.Background(), req)
	require.NoError(t, err)
	require.Equal(t, string(before.Items), string(after.Items))

	all, err := FetchAll(context.Background(), reader, w.shapes[unscoped], req)
	require.NoError(t, err)
	execute(t, w.reader.pool, "alter table m.items alter column size type int")
	again, err := FetchAll(context.Background(), reader, w.shapes[unscoped], req)
	require.NoError(t, err)
	require.Equal(t, all, again)
}

// A request does not wait for another whose connection hangs.
func TestFirstRequestsAreIndependent(t *testing.T) {
	dialled, release := make(chan struct{}, 8), make(chan struct{})
	config := listPool(t).Config()
	config.ConnConfig.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		dialled <- struct{}{}
		<-release
		return nil, errors.New("no connection")
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	defer pool.Close()
	var hanging sync.WaitGroup
	defer hanging.Wait()
	defer close(release)
	reader := NewReader(pool, Options{})
	req := Request{Shape: MustShape[item](unscoped), Scope: Everything(), Page: 1, Size: 1}
	hanging.Go(func() { _, _ = reader.List(context.Background(), req) })
	<-dialled

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	answered := make(chan error, 1)
	go func() { _, err := reader.List(ctx, req); answered <- err }()
	select {
	case err := <-answered:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(30 * time.Second):
		t.Fatal("the second request waits for the first")
	}
}

func TestStorageFaults(t *testing.T) {
	require.NoError(t, storageFault(nil))
	require.Equal(t, context.Canceled, storageFault(context.Canceled))
	require.True(t, fault.Is(storageFault(&pgconn.PgError{Code: "53300"}), fault.Unavailable))
	require.True(t, fault.Is(storageFault(&pgconn.PgError{Code: "57P01"}), fault.Unavailable))
	plain := storageFault(&pgconn.PgError{Code: "42P01", Message: "relation does not exist"})
	require.Equal(t, fault.Internal, fault.Of(plain).Kind)
	require.NotContains(t, fault.Of(plain).Public, "relation")
}
