package query

import (
	"fmt"
	"strings"

	"docket/domain/fault"
)

// Op is a comparison operator, or a set of them.
type Op uint16

// The operators. A comparison of a missing (NULL) value is false, except Ne,
// which is always the opposite of Eq; logic is two-valued throughout.
const (
	Eq Op = 1 << iota
	Ne
	Gt
	Ge
	Lt
	Le
	Contains
	Starts
	Ends
	In      // Value is a []any
	Present // Value is ignored
)

// Usual sets of operators.
const (
	Equality  = Eq | Ne | In | Present
	Substring = Contains | Starts | Ends
	Range     = Gt | Ge | Lt | Le
	TextOps   = Equality | Substring
	OrderOps  = Equality | Range
)

var opNames = [...]string{"eq", "ne", "gt", "ge", "lt", "le", "contains", "starts", "ends", "in", "present"}

// String lists the operators of the set, separated by commas.
func (o Op) String() string {
	var names []string
	for i, name := range opNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Has tells whether all operators of x are in the set.
func (o Op) Has(x Op) bool { return x != 0 && o&x == x }

// Expr is a filter: And, Or, Not or Compare. A nil Expr is no filter.
type Expr interface{ expr() }

// And holds when all of its parts do; an empty And always does.
type And []Expr

// Or holds when one of its parts does; an empty Or never does.
type Or []Expr

// Not holds when X does not.
type Not struct{ X Expr }

// Compare compares a field, named as the resource's definition names it, with
// a value: string, uuid.UUID, bool, int64 (or int), time.Time as the field's
// Kind asks.
type Compare struct {
	Field string
	Op    Op
	Value any
}

func (And) expr()     {}
func (Or) expr()      {}
func (Not) expr()     {}
func (Compare) expr() {}

// Equals compares a field with one value.
func Equals(field string, value any) Expr { return Compare{Field: field, Op: Eq, Value: value} }

// OneOf compares a field with several values.
func OneOf[T any](field string, values ...T) Expr {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return Compare{Field: field, Op: In, Value: list}
}

// All joins filters by And and drops those that are nil. It is nil when
// nothing is left.
func All(parts ...Expr) Expr {
	var and And
	for _, p := range parts {
		if p != nil {
			and = append(and, p)
		}
	}
	switch len(and) {
	case 0:
		return nil
	case 1:
		return and[0]
	}
	return and
}

// Limits of every filter, whatever grammar it came from.
const (
	MaxDepth       = 100    // nested And, Or, Not
	MaxComparisons = 500    // comparisons in all
	MaxValues      = 10_000 // values of one In
)

// checkLimits refuses filters that no honest client sends.
func checkLimits(e Expr) error {
	comparisons := 0
	var walk func(e Expr, depth int) error
	walk = func(e Expr, depth int) error {
		if depth > MaxDepth {
			return tooComplex("nested deeper than %d", MaxDepth)
		}
		var parts []Expr
		switch e := e.(type) {
		case And:
			parts = e
		case Or:
			parts = e
		case Not:
			parts = []Expr{e.X}
		case Compare:
			if comparisons++; comparisons > MaxComparisons {
				return tooComplex("more than %d comparisons", MaxComparisons)
			}
			if list, ok := e.Value.([]any); ok && len(list) > MaxValues {
				return tooComplex("more than %d values for %s", MaxValues, e.Field)
			}
		default:
			return fmt.Errorf("query: %T is no filter", e)
		}
		for _, p := range parts {
			if err := walk(p, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if e == nil {
		return nil
	}
	return walk(e, 1)
}

func tooComplex(format string, args ...any) error {
	return fault.InvalidQuery("filter", "too complex: "+format, args...)
}
