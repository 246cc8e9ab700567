package query

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"golang.org/x/sync/errgroup"

	"docket/domain"
)

// ID is the key of a row.
type ID = domain.ID

// execution finds one page. order is the direction of reading, which is not
// the plan's own when the page lies nearer to the end.
type execution struct {
	rd     *Reader
	q      *plan
	sink   sink
	order  order
	from   *position
	limit  int64
	offset int64
	keyset bool

	wantTotal bool
	totalKey  string
	total     int64 // -1 while unknown

	tableRows float64 // the planner's idea of them; 0 when it has none
	probeKeys int64

	rows      int64
	positions []*position // of the rows, for cursors
	strategy  Strategy
	turned    bool
}

func (x *execution) page() Page {
	p := Page{Count: int(x.rows), Total: -1, Strategy: x.strategy, Turned: x.turned}
	if x.wantTotal {
		p.Total = x.total
	}
	return p
}

// run chooses the strategy by what is known and what the planner estimates.
func (x *execution) run(ctx context.Context) error {
	if done, err := x.lookUpTotal(ctx); done || err != nil {
		return err
	}
	if x.q.direct() {
		return x.runDirect(ctx)
	}
	if err := x.measure(ctx); err != nil {
		return err
	}
	few, err := x.few(ctx)
	if err != nil {
		return err
	}
	if few {
		if done, err := x.filterFirst(ctx); done || err != nil {
			return err
		}
	}
	return x.runMany(ctx)
}

// runDirect reads a page that costs what it shows. The rows are only counted
// when it does not end the list.
func (x *execution) runDirect(ctx context.Context) error {
	if err := x.approach(ctx); err != nil {
		return err
	}
	if err := x.readDirect(ctx); err != nil {
		return err
	}
	return x.countAfter(ctx)
}

// measure fetches the size of the table, which bounds what a probe may cost.
func (x *execution) measure(ctx context.Context) (err error) {
	x.tableRows, err = x.rd.tableRows(ctx, x.q.r.Table)
	x.probeKeys = x.rd.tuning.probeKeys
	if x.tableRows > 0 {
		x.probeKeys = min(x.probeKeys, max(1000, int64(x.tableRows/20)))
	}
	return err
}

// few tells whether to find all matches first. When they need not be counted
// that must be cheaper than to walk until the page is full, which takes
// (offset+limit) * rows / matches steps.
func (x *execution) few(ctx context.Context) (bool, error) {
	matches := float64(x.total)
	if x.total < 0 {
		var err error
		if matches, err = x.estimate(ctx); err != nil {
			return false, err
		}
	}
	most := x.rd.tuning.filterFirst
	if (x.total >= 0 || !x.wantTotal) && x.tableRows > 0 {
		most = min(most, math.Sqrt(float64(x.offset+x.limit)*x.tableRows))
	}
	return matches <= most, nil
}

// lookUpTotal uses a total that costs nothing. The page is done when it lies
// beyond the end.
func (x *execution) lookUpTotal(ctx context.Context) (done bool, err error) {
	if x.q.nothing() {
		x.total, x.strategy = 0, Nothing
		return true, nil
	}
	x.totalKey = x.rd.totalKey(x.q)
	if !x.wantTotal && x.offset < x.rd.tuning.countFirst {
		return false, nil
	}
	n, ok, err := x.rd.knownTotal(ctx, x.q, x.totalKey)
	if !ok || err != nil {
		return false, err
	}
	x.total = n
	return !x.keyset && x.offset >= n, nil
}

// approach prepares a page far down: there the total is worth counting first,
// since the page may be nearer to the end.
func (x *execution) approach(ctx context.Context) error {
	if x.total < 0 && x.wantTotal && x.offset >= x.rd.tuning.countFirst {
		if err := x.countNow(ctx); err != nil {
			return err
		}
	}
	x.turn()
	return nil
}

// runMany reads a page of many matches and counts them meanwhile, on a second
// connection.
func (x *execution) runMany(ctx context.Context) error {
	if err := x.approach(ctx); err != nil {
		return err
	}
	if x.total >= 0 || !x.wantTotal {
		return x.readMany(ctx)
	}
	// The first error cancels the other query; otherwise both run to their end,
	// since cancelling costs a connection.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return x.countNow(ctx) })
	group.Go(func() error { return x.readMany(ctx) })
	return group.Wait()
}

// learnTotal derives the total from a page that the list ended on.
func (x *execution) learnTotal() bool {
	if x.from != nil || x.turned || x.rows >= x.limit || x.rows == 0 && x.offset > 0 {
		return false
	}
	x.total = x.offset + x.rows
	x.rd.remember(x.totalKey, x.total)
	return true
}

func (x *execution) countAfter(ctx context.Context) error {
	if x.total >= 0 || !x.wantTotal || x.learnTotal() {
		return nil
	}
	return x.countNow(ctx)
}

func (x *execution) countNow(ctx context.Context) (err error) {
	x.total, err = x.rd.count(ctx, x.q, x.totalKey)
	return err
}

// turn reads pages of the second half from the end.
func (x *execution) turn() {
	if x.keyset || x.total < 0 || x.offset <= x.total/2 {
		return
	}
	rest := x.total - x.offset
	if rest <= 0 {
		return
	}
	x.limit = min(x.limit, rest)
	x.offset = rest - x.limit
	x.order = x.order.turned()
	x.turned = true
}

func (x *execution) readDirect(ctx context.Context) error {
	if x.offset >= x.rd.tuning.anchorFrom && x.q.unfiltered() {
		if err := x.anchor(ctx); err != nil {
			return err
		}
	}
	if x.strategy != Anchored {
		x.strategy = Direct
	}
	return x.read(ctx, false)
}

// readMany probes the head of the list where the page may be in it.
func (x *execution) readMany(ctx context.Context) error {
	if x.offset+x.limit <= x.probeKeys/10 {
		if done, err := x.probe(ctx); done || err != nil {
			return err
		}
	}
	return x.readWhole(ctx)
}

func (x *execution) readWhole(ctx context.Context) error {
	x.strategy = Whole
	return x.read(ctx, true)
}

// read runs the page query. With an offset it finds the ids first, so that
// rows are only read for the page itself.
func (x *execution) read(ctx context.Context, walk bool) error {
	s := x.rd.statement()
	s.walk = walk
	star := x.offset == 0
	s.page(x.q, star, func() { s.ordered(x.q, x.order, x.q.filter, x.from, star, x.limit, x.offset) })
	return x.collect(ctx, s)
}

// probe looks for the page among the first keys of the sort index. It is done
// when that fills the page.
func (x *execution) probe(ctx context.Context) (done bool, err error) {
	if x.order.join != nil {
		return false, nil // reading by joined rows stops early by itself
	}
	x.strategy = Probe
	s := x.rd.statement()
	s.walk = true
	s.page(x.q, true, func() {
		s.write("select * from (")
		unscoped := *x.q
		unscoped.scope = Everything()
		s.ordered(&unscoped, x.order, nBool(true), x.from, true, x.probeKeys, 0)
		s.write(") t")
		s.where(x.q, x.q.filter)
		s.write(" order by ", x.order.by(x.order.hidden("t")...))
		s.limit(x.limit, x.offset)
	})
	if err := x.collect(ctx, s); err != nil {
		return false, err
	}
	return x.rows == x.limit, nil
}

// filterFirst collects the matching rows' keys, then sorts them; that gives
// the total as well. It is not done when too many rows match after all.
func (x *execution) filterFirst(ctx context.Context) (done bool, err error) {
	x.strategy = FilterFirst
	q, o := x.q, x.order
	s := x.rd.statement()
	s.write("with m as materialized (select t.", q.r.Key, " as _id")
	if o.join != nil {
		s.write(", o.", o.key, " as _k, o.", o.join.Key, " as _j")
	} else if o.key != "" {
		s.write(", t.", o.key, " as _k")
	}
	s.write(" from ", q.r.Table, " t")
	if o.join != nil {
		s.write(" left join ", o.join.Table, " o on o.", o.join.Key, " = t.", o.join.FK)
	}
	s.where(q, q.filter)
	s.limit(x.rd.tuning.overflow+1, 0)
	s.write("), p as (select * from m")
	s.afterPosition(o, x.from)
	s.write(" order by ", o.by(o.hidden("m")...))
	s.limit(x.limit, x.offset)
	s.write(") ")
	s.selectList(q)
	for _, h := range o.hidden("p") {
		s.write(", ", h)
	}
	s.write(", n.n from (select count(*) as n from m) n left join p on true left join ", q.r.Table, " t on t.", q.r.Key, " = p._id")
	s.displayJoins(q)
	s.write(" order by ", q.order.by(o.hidden("p")...))

	total := int64(0)
	x.clear()
	err = x.rd.query(ctx, x.rd.pool, s, func(raw [][]byte) error {
		last := len(raw) - 1
		total = rawInt(raw[last])
		if raw[last-1] == nil {
			return nil // the total alone
		}
		return x.add(raw[:last])
	})
	if err != nil || total > x.rd.tuning.overflow {
		x.clear()
		return false, err
	}
	x.total = total
	x.rd.remember(x.totalKey, total)
	return true, nil
}

// afterPosition writes the condition of the rows of m behind a position.
func (s *statement) afterPosition(o order, from *position) {
	if from == nil {
		return
	}
	s.write(" where ")
	compare := func(columns ...string) {
		s.write("(")
		for i, c := range columns {
			if i > 0 {
				s.write(", ")
			}
			s.write(c)
		}
		s.write(")", o.beyond(), "(")
	}
	switch {
	case o.key == "":
		compare("_id")
		s.write(s.arg(from.id), ")")
	case from.null && o.desc: // NULLs are first
		s.write("(_k is not null or _id < ", s.arg(from.id), ")")
	case from.null:
		s.write("(_k is null and _id > ", s.arg(from.id), ")")
	default:
		s.write("(")
		if o.join != nil {
			compare("_k", "_j", "_id")
			s.write(s.arg(from.key), ", ", s.arg(from.joined), ", ", s.arg(from.id), ")")
		} else {
			compare("_k", "_id")
			s.write(s.arg(from.key), ", ", s.arg(from.id), ")")
		}
		if !o.desc {
			s.write(" or _k is null")
		}
		s.write(")")
	}
}

// page writes the query around a source of ids (or of whole rows, star) in
// order.
func (s *statement) page(q *plan, star bool, source func()) {
	alias := "p"
	if star {
		alias = "t"
	}
	s.selectList(q)
	for _, h := range q.order.hidden(alias) {
		s.write(", ", h)
	}
	s.write(" from (")
	source()
	s.write(") ", alias)
	if !star {
		s.write(" join ", q.r.Table, " t on t.", q.r.Key, " = p._id")
	}
	s.displayJoins(q)
	s.write(" order by ", q.order.by(q.order.hidden(alias)...))
}

func (s *statement) selectList(q *plan) {
	s.write("select ")
	for i, c := range q.shape.columns() {
		if i > 0 {
			s.write(", ")
		}
		for j, part := range strings.Split(c, visibleMark) {
			if j%2 == 0 {
				s.write(part)
			} else {
				s.visible(part, q.scope)
			}
		}
	}
}

// visible writes what Visible stands for.
func (s *statement) visible(column string, scope Scope) {
	if scope.kind == scopeAll {
		s.write("true")
		return
	}
	s.write(column)
	s.anyID(scope.ids)
}

func (s *statement) displayJoins(q *plan) {
	for _, j := range q.shape.joins() {
		s.write(" left join ", j.Table, " j_", j.Name, " on j_", j.Name, ".", j.Key, " = t.", j.FK)
	}
}

// collect runs a page query into the sink.
func (x *execution) collect(ctx context.Context, s *statement) error {
	x.clear()
	return x.rd.query(ctx, x.rd.pool, s, x.add)
}

func (x *execution) clear() {
	x.sink.reset()
	x.rows, x.positions = 0, x.positions[:0]
}

// add takes a row: the select list, then the hidden columns.
func (x *execution) add(raw [][]byte) error {
	n := len(x.q.shape.columns())
	if x.keyset {
		x.positions = append(x.positions, x.q.order.hiddenPosition(raw[n:]))
	}
	x.rows++
	return x.sink.add(raw[:n])
}

// dropSurplus removes the row beyond the page that tells whether there is
// more; it is the first one when the page was read backwards.
func (x *execution) dropSurplus(first bool) {
	x.sink.drop(first)
	x.rows--
	if first {
		x.positions = x.positions[1:]
	} else {
		x.positions = x.positions[:len(x.positions)-1]
	}
}

// estimate asks the planner how many rows match.
func (x *execution) estimate(ctx context.Context) (float64, error) {
	s := x.rd.statement()
	s.write("explain (format json) select from ", x.q.r.Table, " t")
	s.where(x.q, x.q.filter)
	var explained []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	err := x.rd.query(ctx, x.rd.pool, s, func(raw [][]byte) error {
		return json.Unmarshal(raw[0], &explained)
	})
	if err != nil {
		return 0, err
	}
	if len(explained) != 1 {
		return 0, fmt.Errorf("query: explain gave %d plans", len(explained))
	}
	return explained[0].Plan.Rows, nil
}
