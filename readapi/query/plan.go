package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Request asks for rows. Shape, Scope and either Size or Limit are needed.
type Request struct {
	Shape  Layout // what a row looks like, and of which resource
	Scope  Scope  // who asks
	Filter Expr   // nil: all rows
	Sort   Sort   // zero: the resource's default
	Env    any    // handed to computed fields, for example a link's prefix

	// Total asks for the exact number of matching rows.
	Total bool

	// Pages by number (List): the first page is 1.
	Page, Size int

	// Pages by cursor (Keyset): at most one of Next and Prev, as an earlier
	// page gave them.
	Limit      int
	Next, Prev string
}

// plan is a request made ready: everything resolved, nothing written yet.
type plan struct {
	r      *Resource
	shape  Layout
	scope  Scope
	filter node
	order  order
	// the client's filter, for cursors
	filterText string
}

func (rd *Reader) plan(ctx context.Context, req Request) (*plan, error) {
	if req.Shape == nil {
		return nil, errors.New("query: request without a shape")
	}
	r := req.Shape.resource()
	if req.Scope.kind == scopeUnset {
		return nil, fmt.Errorf("query: request for %s without a scope", r.Name)
	}
	if err := r.CheckSort(req.Sort, "sort"); err != nil {
		return nil, err
	}
	filter, err := r.bind(req.Filter)
	if err != nil {
		return nil, err
	}
	q := &plan{r: r, shape: req.Shape, scope: req.Scope, order: r.order(req.Sort), filterText: describe(req.Filter)}
	if q.scoped() && len(q.scope.ids) == 0 {
		filter = nBool(false)
	}
	if err := rd.learnLetters(ctx); err != nil {
		return nil, err
	}
	resolved, err := rd.resolve(ctx, r, filter)
	if err != nil {
		return nil, err
	}
	q.filter = simplify(resolved)
	return q, nil
}

// scoped tells whether the scope narrows the rows.
func (q *plan) scoped() bool { return !q.r.Unscoped && q.scope.kind == scopeSome }

// nothing tells that no row can match.
func (q *plan) nothing() bool { return q.filter == nBool(false) }

// unfiltered tells that every visible row matches.
func (q *plan) unfiltered() bool { return q.filter == nBool(true) }

func (q *plan) ownKeys(o order) []string {
	if o.key == "" {
		return []string{"t." + q.r.Key}
	}
	return []string{"t." + o.key, "t." + q.r.Key}
}

// direct tells whether one index gives the matching rows in order, so that a
// page costs what it shows.
func (q *plan) direct() bool {
	if q.unfiltered() && !q.scoped() {
		return true
	}
	if q.order.join != nil {
		return false
	}
	fixed, ok := q.fixedColumns()
	if !ok {
		return false
	}
	if len(fixed) == 0 {
		return true // ranges of the sort column only
	}
	for _, ix := range q.r.Indexes {
		if leads(ix, fixed, q.order.key) {
			return true
		}
	}
	return false
}

// fixedColumns are the columns that the scope and the filter hold at one
// value, when all else they do is to select ranges of the sort column.
func (q *plan) fixedColumns() (map[string]bool, bool) {
	fixed := map[string]bool{}
	if q.scoped() {
		if q.r.ScopeVia != nil || len(q.scope.ids) != 1 {
			return nil, false
		}
		fixed[q.r.ScopeColumn] = true
	}
	parts := []node{q.filter}
	if and, ok := q.filter.(nAnd); ok {
		parts = and
	}
	for _, p := range parts {
		switch p := p.(type) {
		case nBool:
		case nCmp:
			if p.f.Join != "" || p.f.Sub != nil {
				return nil, false
			}
			column := p.f.column()
			switch {
			case column == q.order.key && (Range | Eq | Starts).Has(p.op):
			case p.op == Eq:
				fixed[column] = true
			default:
				return nil, false
			}
		case nRefs:
			if len(p.ids) != 1 {
				return nil, false
			}
			fixed[p.fk] = true
		default:
			return nil, false
		}
	}
	return fixed, true
}

// leads tells whether an index starts with exactly the fixed columns, in any
// sequence, and then has the sort column.
func leads(index string, fixed map[string]bool, key string) bool {
	columns := splitColumns(index)
	if key == "" {
		columns = append(columns, "")
	}
	n := len(fixed)
	if len(columns) <= n || columns[n] != key {
		return false
	}
	for _, c := range columns[:n] {
		if !fixed[c] {
			return false
		}
	}
	return true
}

// maxRefs is how many rows of a joined table become a list of ids in the
// query; beyond that the joined table is part of the query.
const maxRefs = 2000

// resolve looks comparisons of joined tables up first: with the ids at hand
// the planner knows how many rows they select.
func (rd *Reader) resolve(ctx context.Context, r *Resource, n node) (node, error) {
	switch n := n.(type) {
	case nAnd:
		parts, err := rd.resolveAll(ctx, r, n)
		return nAnd(parts), err
	case nOr:
		parts, err := rd.resolveAll(ctx, r, n)
		return nOr(parts), err
	case nNot:
		x, err := rd.resolve(ctx, r, n.x)
		return nNot{x}, err
	case nCmp:
		if n.f.Join != "" {
			return rd.resolveJoin(ctx, r, n)
		}
	}
	return n, nil
}

func (rd *Reader) resolveAll(ctx context.Context, r *Resource, parts []node) ([]node, error) {
	resolved := make([]node, len(parts))
	for i, p := range parts {
		var err error
		if resolved[i], err = rd.resolve(ctx, r, p); err != nil {
			return nil, err
		}
	}
	return resolved, nil
}

func (rd *Reader) resolveJoin(ctx context.Context, r *Resource, c nCmp) (node, error) {
	j := r.joins[c.f.Join]
	s := rd.statement()
	s.write("select j.", j.Key, " from ", j.Table, " j where ")
	s.compare("j", c)
	s.limit(maxRefs+1, 0)
	var ids []uuid.UUID
	err := rd.query(ctx, rd.pool, s, func(raw [][]byte) error {
		ids = append(ids, uuid.UUID(raw[0]))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(ids) > maxRefs {
		return c, nil
	}
	return nRefs{fk: j.FK, ids: ids}, nil
}

// canonical writes a bound filter as text that is equal for equal filters.
func canonical(n node) string {
	switch n := n.(type) {
	case nAnd:
		return "(and " + canonicalList(n) + ")"
	case nOr:
		return "(or " + canonicalList(n) + ")"
	case nNot:
		return "(not " + canonical(n.x) + ")"
	case nRefs:
		ids := make([]string, len(n.ids))
		for i, id := range n.ids {
			ids[i] = id.String()
		}
		sort.Strings(ids)
		return fmt.Sprintf("(%s %q)", n.fk, ids)
	case nCmp:
		if n.op == In {
			values := make([]string, len(n.vs))
			for i, v := range n.vs {
				values[i] = canonicalValue(v)
			}
			return fmt.Sprintf("(%s in %q)", n.f.Name, values)
		}
		return fmt.Sprintf("(%s %s %q)", n.f.Name, n.op, canonicalValue(n.v))
	}
	return fmt.Sprint(n)
}

func canonicalList(parts []node) string {
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = canonical(p)
	}
	return strings.Join(texts, " ")
}

func canonicalValue(v any) string {
	if t, ok := v.(time.Time); ok {
		return t.Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

// describe writes a filter as the client gave it. Unlike the bound filter it
// does not depend on the moment of asking.
func describe(e Expr) string {
	switch e := e.(type) {
	case And:
		return "(and" + describeList(e) + ")"
	case Or:
		return "(or" + describeList(e) + ")"
	case Not:
		return "(not " + describe(e.X) + ")"
	case Compare:
		list, ok := e.Value.([]any)
		if !ok {
			list = []any{e.Value}
		}
		text := fmt.Sprintf("(%s %s", strings.ToLower(e.Field), e.Op)
		for _, v := range list {
			text += fmt.Sprintf(" %q", canonicalValue(v))
		}
		return text + ")"
	}
	return ""
}

func describeList(parts []Expr) string {
	text := ""
	for _, p := range parts {
		text += " " + describe(p)
	}
	return text
}

// scopeText tells scopes apart in cache keys.
func (q *plan) scopeText() string {
	if !q.scoped() {
		return "*"
	}
	ids := make([]string, len(q.scope.ids))
	for i, id := range q.scope.ids {
		ids[i] = id.String()
	}
	sort.Strings(ids)
	return strings.Join(ids, ",")
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}
