package query

import (
	"bytes"
	"strings"
	"time"

	"github.com/google/uuid"

	"docket/internal/textfold"
)

// Row is one row in memory, as the evaluator sees it.
type Row interface {
	// Values are those the field has, in the type of its Kind and text as
	// stored, not folded: none when it is missing, several for a Sub.
	Values(f *Field) []any
	// Key is the row's id.
	Key() uuid.UUID
	// Joined is the id of the joined row, where there is one.
	Joined(j *Join) uuid.UUID
}

// Match evaluates a filter in memory. It is what the SQL means, and serves
// lists that live in memory as well as tests of the compiler.
func (r *Resource) Match(e Expr, row Row) (bool, error) {
	n, err := r.bind(e)
	if err != nil {
		return false, err
	}
	return eval(n, row), nil
}

func eval(n node, row Row) bool {
	switch n := n.(type) {
	case nBool:
		return bool(n)
	case nAnd:
		for _, p := range n {
			if !eval(p, row) {
				return false
			}
		}
		return true
	case nOr:
		for _, p := range n {
			if eval(p, row) {
				return true
			}
		}
		return false
	case nNot:
		return !eval(n.x, row)
	case nCmp:
		for _, v := range row.Values(n.f) {
			if evalValue(n, v) {
				return true
			}
		}
	}
	return false
}

func evalValue(c nCmp, v any) bool {
	if s, ok := v.(string); ok && !c.f.Exact {
		v = textfold.Fold(s)
	}
	switch c.op {
	case Present:
		return true
	case In:
		for _, x := range c.vs {
			if compareValues(v, x) == 0 {
				return true
			}
		}
		return false
	case Contains:
		return strings.Contains(v.(string), c.v.(string))
	case Starts:
		return strings.HasPrefix(v.(string), c.v.(string))
	case Ends:
		return strings.HasSuffix(v.(string), c.v.(string))
	}
	d := compareValues(v, c.v)
	switch c.op {
	case Eq:
		return d == 0
	case Gt:
		return d > 0
	case Ge:
		return d >= 0
	case Lt:
		return d < 0
	}
	return d <= 0
}

// compareValues orders two values of one kind as Postgres does: text and
// uuids by bytes, false before true.
func compareValues(a, b any) int {
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case uuid.UUID:
		b := b.(uuid.UUID)
		return bytes.Compare(a[:], b[:])
	case time.Time:
		return a.Compare(b.(time.Time))
	case bool:
		return compareInts(bit(a), bit(b.(bool)))
	}
	return compareInts(a.(int64), b.(int64))
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Compare orders two rows as a list sorted by s has them: by the field, NULLs
// last (first when descending), then by joined row where the field is joined,
// then by key.
func (r *Resource) Compare(s Sort, a, b Row) int {
	o := r.order(s)
	d := 0
	if o.field != nil {
		ka, kb := a.Values(o.field), b.Values(o.field)
		d = compareKeys(o, ka, kb)
		if d == 0 && o.join != nil && len(ka) > 0 {
			d = compareValues(a.Joined(o.join), b.Joined(o.join))
		}
	}
	if d == 0 {
		d = compareValues(a.Key(), b.Key())
	}
	if o.desc {
		return -d
	}
	return d
}

func compareKeys(o order, a, b []any) int {
	if len(a) == 0 || len(b) == 0 {
		return compareInts(int64(len(b)), int64(len(a)))
	}
	return compareValues(folded(o.field, a[0]), folded(o.field, b[0]))
}

func folded(f *Field, v any) any {
	if s, ok := v.(string); ok && !f.Exact {
		return textfold.Fold(s)
	}
	return v
}
