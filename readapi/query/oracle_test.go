package query

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// world is the model in memory and in the database.
type world struct {
	*model
	reader  *Reader
	shapes  map[*Resource]*Shape[item]
	used    map[Strategy]int
	turned  int
	counted int
}

func newWorld(t testing.TB, rows int) *world {
	pool := listPool(t)
	w := &world{model: makeModel(7, rows), used: map[Strategy]int{}, shapes: map[*Resource]*Shape[item]{}}
	w.store(t, pool)
	w.reader = NewReader(pool, Options{})
	for _, r := range []*Resource{byColumn, byMembership, unscoped} {
		w.shapes[r] = MustShape[item](r)
	}
	return w
}

// expected are the ids of a request's rows, in order, by the evaluator.
func (w *world) expected(t require.TestingT, r *Resource, req Request) []uuid.UUID {
	var rows []modelRow
	for _, row := range w.rows {
		ok, err := r.Match(req.Filter, w.values(row))
		require.NoError(t, err)
		if ok && row.visible(r, req.Scope) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b modelRow) int {
		return r.Compare(req.Sort, w.values(a), w.values(b))
	})
	ids := make([]uuid.UUID, len(rows))
	for i, row := range rows {
		ids[i] = row.id
	}
	return ids
}

func drawText(t *rapid.T) string {
	seed := rapid.Uint64().Draw(t, "text")
	return randomText(rand.New(rand.NewPCG(seed, 2)), 3)
}

func (w *world) drawValue(t *rapid.T, f *Field) any {
	row := w.rows[rapid.IntRange(0, len(w.rows)-1).Draw(t, "row")]
	switch f.Name {
	case "status":
		return rapid.SampledFrom([]string{"active", "Disabled", "a", "deleted", "ABLED", ""}).Draw(t, "status")
	case "tag":
		return rapid.SampledFrom(letters[:6]).Draw(t, "tag")
	case "organizationId":
		if row.organization == nil {
			return uuid.Nil
		}
		return *row.organization
	}
	switch f.Kind {
	case UUID:
		return row.id
	case Bool:
		return rapid.Bool().Draw(t, "bool")
	case Int:
		return rapid.IntRange(-5, 5).Draw(t, "int")
	case Time:
		at := row.created
		if row.due != nil && strings.HasPrefix(f.Name, "due") {
			at = *row.due
		}
		return at.Add(rapid.SampledFrom([]time.Duration{0, 0, time.Microsecond, 250 * time.Millisecond}).Draw(t, "shift"))
	}
	text := drawText(t)
	if rapid.IntRange(0, 20).Draw(t, "nul") == 0 {
		text += "\x00"
	}
	if rapid.Bool().Draw(t, "stored") {
		if stored := w.values(row).Values(f); len(stored) > 0 {
			text = stored[0].(string)
			if runes := []rune(text); len(runes) > 0 && rapid.Bool().Draw(t, "part") {
				from := rapid.IntRange(0, len(runes)-1).Draw(t, "from")
				text = string(runes[from:rapid.IntRange(from, len(runes)).Draw(t, "to")])
			}
		}
	}
	return text
}

func (w *world) drawCompare(t *rapid.T, r *Resource) Expr {
	f := &r.Fields[rapid.IntRange(0, len(r.Fields)-1).Draw(t, "field")]
	var ops []Op
	for op := Eq; op <= Present; op <<= 1 {
		if f.Ops.Has(op) {
			ops = append(ops, op)
		}
	}
	c := Compare{Field: f.Name, Op: rapid.SampledFrom(ops).Draw(t, "op")}
	switch c.Op {
	case Present:
	case In:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "values") {
			list = append(list, w.drawValue(t, f))
		}
		c.Value = list
	default:
		c.Value = w.drawValue(t, f)
	}
	return c
}

func (w *world) drawExpr(t *rapid.T, r *Resource, depth int) Expr {
	kind := 3
	if depth > 0 {
		kind = rapid.IntRange(0, 6).Draw(t, "kind")
	}
	switch kind {
	case 0, 1:
		parts := make([]Expr, rapid.IntRange(0, 3).Draw(t, "parts"))
		for i := range parts {
			parts[i] = w.drawExpr(t, r, depth-1)
		}
		if kind == 0 {
			return And(parts)
		}
		return Or(parts)
	case 2:
		return Not{w.drawExpr(t, r, depth-1)}
	}
	return w.drawCompare(t, r)
}

func (w *world) drawRequest(t *rapid.T) (*Resource, Request) {
	r := []*Resource{byColumn, byMembership, unscoped}[rapid.IntRange(0, 2).Draw(t, "resource")]
	req := Request{Shape: w.shapes[r], Scope: Everything(), Total: rapid.Bool().Draw(t, "total")}
	if rapid.Bool().Draw(t, "scoped") {
		var ids []uuid.UUID
		for range rapid.IntRange(0, 3).Draw(t, "organizations") {
			ids = append(ids, w.organizations[rapid.IntRange(0, len(w.organizations)-1).Draw(t, "organization")].id)
		}
		req.Scope = Organizations(ids...)
	}
	if rapid.IntRange(0, 3).Draw(t, "filtered") > 0 {
		req.Filter = w.drawExpr(t, r, 3)
	}
	var sorts []string
	for _, f := range r.Fields {
		if f.Sortable && !f.Hidden {
			sorts = append(sorts, f.Name)
		}
	}
	sorts = append(sorts, "")
	req.Sort = Sort{Field: rapid.SampledFrom(sorts).Draw(t, "sort"), Desc: rapid.Bool().Draw(t, "desc")}
	return r, req
}

// drawReader varies the thresholds so that every strategy meets every query,
// and what the reader is told about counters and versions.
func (w *world) drawReader(t *rapid.T) {
	w.reader.tuning = tuning{
		filterFirst: rapid.SampledFrom([]float64{0, 30, 20_000}).Draw(t, "filterFirst"),
		overflow:    rapid.SampledFrom([]int64{5, 40_000}).Draw(t, "overflow"),
		probeKeys:   rapid.SampledFrom([]int64{50, 20_000}).Draw(t, "probeKeys"),
		countFirst:  rapid.SampledFrom([]int64{10, 10_000}).Draw(t, "countFirst"),
		anchorFrom:  rapid.SampledFrom([]int64{20, 50_000}).Draw(t, "anchorFrom"),
		anchorEvery: rapid.Int64Range(1, 9).Draw(t, "anchorEvery"),
	}
	w.reader.options = Options{Counter: noCounters}
	if rapid.Bool().Draw(t, "versions") {
		version := rapid.Uint64Range(1, 3).Draw(t, "version")
		w.reader.options.Version = func(string) (uint64, bool) { return version, true }
	}
	if rapid.Bool().Draw(t, "counters") {
		w.reader.options.Counter = w.counters
	}
	// Cached places depend on the distance between them.
	w.reader.anchors = newCache[*anchors](64, time.Hour)
}

// favourAnchors makes it likely that a request is answered by an anchor, for
// which much has to come together.
func (w *world) favourAnchors(req *Request) {
	req.Filter = nil
	if len(req.Scope.ids) != 1 {
		req.Scope = Everything()
	}
	w.reader.tuning.anchorFrom = 1
	w.reader.tuning.anchorEvery = 1 + w.reader.tuning.anchorEvery%3
	w.reader.options.Version = func(string) (uint64, bool) { return 1, true }
}

// favourFew makes it likely that all matches are found first.
func (w *world) favourFew(req *Request) {
	req.Scope, req.Filter, req.Total = Everything(), Compare{Field: "label", Op: Present}, true
	w.reader.tuning.filterFirst, w.reader.tuning.overflow = 20_000, 40_000
}

// favourProbes makes it likely that the head of the list is enough.
func (w *world) favourProbes(req *Request) {
	req.Scope, req.Filter = Everything(), Compare{Field: "size", Op: Ge, Value: -3}
	req.Sort = Sort{Field: "createdAt", Desc: req.Sort.Desc}
	w.reader.tuning.filterFirst = 0
	w.reader.tuning.probeKeys = 20_000
}

// favourCounters makes it likely that the total is known beforehand, which lets
// pages be read from the end.
func (w *world) favourCounters(req *Request) {
	req.Scope, req.Filter, req.Total = Everything(), nil, true
	w.reader.options = Options{Counter: w.counters}
}

// favourNothing asks for what cannot be.
func favourNothing(req *Request) { req.Filter = Or{} }

// drawFavour prepares half of the requests for one strategy each, evenly, which
// drawing a number does not do. Those that need more luck come twice.
func (w *world) drawFavour(t *rapid.T, req *Request) {
	favours := []func(*Request){w.favourAnchors, w.favourAnchors, w.favourFew, w.favourProbes, w.favourCounters, w.favourCounters, favourNothing}
	seed := rapid.Uint64().Draw(t, "favour")
	if i := rand.New(rand.NewPCG(seed, 3)).IntN(2 * len(favours)); i < len(favours) {
		favours[i](req)
	}
}

// ids checks that the JSON of a page says what its values say, and gives the
// ids.
func (w *world) ids(t require.TestingT, r *Resource, req Request, page Page, values []item) []uuid.UUID {
	want, err := json.Marshal(values)
	require.NoError(t, err)
	if values == nil {
		want = []byte("[]")
	}
	require.JSONEq(t, string(want), string(page.Items))
	require.Equal(t, len(values), page.Count)
	ids := make([]uuid.UUID, len(values))
	for i, v := range values {
		ids[i] = v.ID
	}
	return ids
}

func noCounters(context.Context, Querier, string, []string) (int64, bool, error) {
	return 0, false, nil
}

// counters are those of the table, and remembers that they were asked.
func (w *world) counters(ctx context.Context, db Querier, table string, keys []string) (int64, bool, error) {
	w.counted++
	return ReadCounters(ctx, db, table, keys)
}

func slice(ids []uuid.UUID, from, n int) []uuid.UUID {
	from = min(from, len(ids))
	return ids[from:min(from+n, len(ids))]
}

func TestListsMeanWhatTheEvaluatorSays(t *testing.T) {
	w := newWorld(t, 300)
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		w.drawReader(t)
		r, req := w.drawRequest(t)
		w.drawFavour(t, &req)
		want := w.expected(t, r, req)
		req.Size = rapid.IntRange(1, 40).Draw(t, "size")
		req.Page = rapid.IntRange(1, len(want)/req.Size+2).Draw(t, "page")
		if n := len(want) / req.Size; n > 0 && rapid.Bool().Draw(t, "from the end") {
			req.Page = max(1, n+1-req.Page) // small numbers are drawn most
		}

		page, err := w.reader.List(ctx, req)
		require.NoError(t, err)
		values, _, err := Fetch(ctx, w.reader, w.shapes[r], req)
		require.NoError(t, err)
		require.Equal(t, slice(want, (req.Page-1)*req.Size, req.Size), w.ids(t, r, req, page, values), "%s", page.Strategy)
		if req.Total {
			require.EqualValues(t, len(want), page.Total, "%s", page.Strategy)
		}
		n, err := w.reader.Count(ctx, req)
		require.NoError(t, err)
		require.EqualValues(t, len(want), n)
		w.used[page.Strategy]++
		if page.Turned {
			w.turned++
		}
	})
	t.Log(w.used, "turned", w.turned, "counted", w.counted)
	if !t.Failed() {
		for s := Nothing; s <= Anchored; s++ {
			require.NotZero(t, w.used[s], "no request was answered by %s", s)
		}
		require.NotZero(t, w.turned)
		require.NotZero(t, w.counted)
	}
}

func TestCursorsWalkTheWholeList(t *testing.T) {
	w := newWorld(t, 120)
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		w.drawReader(t)
		r, req := w.drawRequest(t)
		want := w.expected(t, r, req)
		req.Limit = rapid.IntRange(1, 60).Draw(t, "limit")

		read := func() ([]uuid.UUID, Page) {
			page, err := w.reader.Keyset(ctx, req)
			require.NoError(t, err)
			values, _, err := Fetch(ctx, w.reader, w.shapes[r], req)
			require.NoError(t, err)
			if req.Total {
				require.EqualValues(t, len(want), page.Total)
			}
			return w.ids(t, r, req, page, values), page
		}
		at := 0
		ids, page := read()
		require.False(t, page.HasPrev)
		for {
			require.Equal(t, slice(want, at, req.Limit), ids, "forward at %d, %s", at, page.Strategy)
			require.Equal(t, at+req.Limit < len(want), page.HasNext)
			if !page.HasNext {
				break
			}
			at += req.Limit
			req.Next, req.Prev = page.Next, ""
			ids, page = read()
			require.True(t, page.HasPrev)
		}
		for page.HasPrev {
			req.Next, req.Prev = "", page.Prev
			ids, page = read()
			from := max(0, at-req.Limit)
			require.Equal(t, want[from:at], ids, "backward at %d, %s", at, page.Strategy)
			require.Equal(t, from > 0, page.HasPrev)
			require.True(t, page.HasNext)
			at = from
		}
		require.Zero(t, at)
	})
}

func TestStreamsAreWholeAndInOrder(t *testing.T) {
	w := newWorld(t, 200)
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		w.drawReader(t)
		r, req := w.drawRequest(t)
		want := w.expected(t, r, req)
		var out strings.Builder
		n, err := w.reader.Stream(ctx, &out, req)
		require.NoError(t, err)
		require.EqualValues(t, len(want), n)
		values, err := FetchAll(ctx, w.reader, w.shapes[r], req)
		require.NoError(t, err)
		page := Page{Items: json.RawMessage(out.String()), Count: int(n)}
		require.Equal(t, slice(want, 0, len(want)), append([]uuid.UUID{}, w.ids(t, r, req, page, values)...))
	})
}
