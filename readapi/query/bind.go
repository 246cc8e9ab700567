package query

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"docket/domain/fault"
	"docket/internal/textfold"
)

// A bound filter is an Expr whose fields are resolved and whose values have
// the column's type, text folded. The compiler and the evaluator both start
// from it.
type (
	node  interface{}
	nAnd  []node
	nOr   []node
	nNot  struct{ x node }
	nBool bool
	nCmp  struct {
		f  *Field
		op Op // never Ne
		v  any
		vs []any // for In
	}
	// nRefs stands for a comparison in a joined table after its rows were
	// looked up: the foreign key is one of ids.
	nRefs struct {
		fk  string
		ids []uuid.UUID
	}
)

// bind resolves a filter against the resource. It refuses unknown fields,
// operators a field does not offer and values of the wrong type.
func (r *Resource) bind(e Expr) (node, error) {
	if err := checkLimits(e); err != nil {
		return nil, err
	}
	n, err := r.bindExpr(e, 0)
	if err != nil {
		return nil, err
	}
	return simplify(n), nil
}

func (r *Resource) bindExpr(e Expr, rewrites int) (node, error) {
	switch e := e.(type) {
	case nil:
		return nBool(true), nil
	case And:
		parts, err := r.bindAll(e, rewrites)
		return nAnd(parts), err
	case Or:
		parts, err := r.bindAll(e, rewrites)
		return nOr(parts), err
	case Not:
		x, err := r.bindExpr(e.X, rewrites)
		return nNot{x}, err
	case Compare:
		return r.bindCompare(e, rewrites)
	}
	return nil, fmt.Errorf("query: %T is no filter", e)
}

func (r *Resource) bindAll(exprs []Expr, rewrites int) ([]node, error) {
	parts := make([]node, len(exprs))
	for i, e := range exprs {
		var err error
		if parts[i], err = r.bindExpr(e, rewrites); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func (r *Resource) bindCompare(c Compare, rewrites int) (node, error) {
	f, ok := r.Field(c.Field)
	if !ok {
		return nil, fault.InvalidQuery(clip(c.Field), "unknown field")
	}
	if !f.Ops.Has(c.Op) {
		return nil, fault.InvalidQuery(f.Name, "operator %s is not supported", c.Op)
	}
	if f.Rewrite != nil {
		if rewrites > 4 {
			return nil, fmt.Errorf("query: field %s is rewritten without end", f.Name)
		}
		e, err := f.Rewrite(c)
		if err != nil {
			return nil, err
		}
		return r.bindExpr(e, rewrites+1)
	}
	switch c.Op {
	case Present:
		return nCmp{f: f, op: Present}, nil
	case Ne:
		eq, err := bindValue(f, Eq, c.Value)
		return nNot{eq}, err
	case In:
		return bindList(f, c.Value)
	}
	return bindValue(f, c.Op, c.Value)
}

func bindList(f *Field, value any) (node, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, fault.InvalidQuery(f.Name, "wants a list of values")
	}
	if f.Seconds {
		or := make(nOr, len(list))
		for i, v := range list {
			var err error
			if or[i], err = bindValue(f, Eq, v); err != nil {
				return nil, err
			}
		}
		return or, nil
	}
	var vs []any
	for _, v := range list {
		v, ok, err := f.value(v)
		if err != nil {
			return nil, err
		}
		if ok {
			vs = append(vs, v)
		}
	}
	switch len(vs) {
	case 0:
		return nBool(false), nil
	case 1:
		return nCmp{f: f, op: Eq, v: vs[0]}, nil
	}
	return nCmp{f: f, op: In, vs: vs}, nil
}

func bindValue(f *Field, op Op, value any) (node, error) {
	v, ok, err := f.value(value)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nBool(false), nil
	}
	if t, isTime := v.(time.Time); isTime && f.Seconds {
		return bindSecond(f, op, t), nil
	}
	return nCmp{f: f, op: op, v: v}, nil
}

// bindSecond compares with the whole second a client was shown.
func bindSecond(f *Field, op Op, t time.Time) node {
	from := t.Truncate(time.Second)
	next := from.Add(time.Second)
	whole := t.Equal(from)
	switch op {
	case Eq:
		if !whole {
			return nBool(false)
		}
		return nAnd{nCmp{f: f, op: Ge, v: from}, nCmp{f: f, op: Lt, v: next}}
	case Gt:
		return nCmp{f: f, op: Ge, v: next}
	case Le:
		return nCmp{f: f, op: Lt, v: next}
	case Ge, Lt:
		if !whole {
			from = next
		}
		return nCmp{f: f, op: op, v: from}
	}
	return nBool(false)
}

// value gives a value the type the column has; text is folded. It is not ok
// when no stored value can compare with it.
func (f *Field) value(v any) (typed any, ok bool, err error) {
	switch x := v.(type) {
	case string:
		if f.Kind == Text {
			if strings.ContainsRune(x, 0) || !utf8.ValidString(x) {
				return nil, false, nil // Postgres stores no such text
			}
			if !f.Exact {
				x = textfold.Fold(x)
			}
			return x, true, nil
		}
	case uuid.UUID:
		if f.Kind == UUID {
			return x, true, nil
		}
	case bool:
		if f.Kind == Bool {
			return x, true, nil
		}
	case int:
		if f.Kind == Int {
			return int64(x), true, nil
		}
	case int32:
		if f.Kind == Int {
			return int64(x), true, nil
		}
	case int64:
		if f.Kind == Int {
			return x, true, nil
		}
	case time.Time:
		if f.Kind == Time {
			if !storable(x) {
				return nil, false, nil
			}
			return x.UTC().Truncate(time.Microsecond), true, nil
		}
	}
	return nil, false, fault.InvalidQuery(f.Name, "wants a value of type %s", f.Kind)
}

// storable tells whether a column can hold a time: Postgres knows the years 4713
// BC to 294276.
func storable(t time.Time) bool {
	y := t.Year()
	return y >= -4000 && y <= 200000
}

// simplify removes constants, so that a filter that cannot match costs
// nothing and one that always matches is no filter.
func simplify(n node) node {
	switch n := n.(type) {
	case nAnd:
		return simplifyList(n, true)
	case nOr:
		return simplifyList(n, false)
	case nNot:
		switch x := simplify(n.x).(type) {
		case nBool:
			return !x
		case nNot:
			return x.x
		default:
			return nNot{x}
		}
	case nRefs:
		if len(n.ids) == 0 {
			return nBool(false)
		}
	}
	return n
}

// simplifyList drops parts that equal unit (true for and, false for or) and
// becomes the opposite when one part is it.
func simplifyList(parts []node, unit nBool) node {
	var kept []node
	for _, p := range parts {
		switch p := simplify(p).(type) {
		case nBool:
			if p != unit {
				return p
			}
		case nAnd:
			if unit {
				kept = append(kept, p...)
			} else {
				kept = append(kept, p)
			}
		default:
			kept = append(kept, p)
		}
	}
	switch {
	case len(kept) == 0:
		return unit
	case len(kept) == 1:
		return kept[0]
	case bool(unit):
		return nAnd(kept)
	}
	return nOr(kept)
}
