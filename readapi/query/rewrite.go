package query

import (
	"sort"
	"time"

	"github.com/google/uuid"

	"docket/domain/fault"
	"docket/internal/textfold"
)

// Labels is a Field.Rewrite for an enumeration that clients see as words and
// the row holds as something else: {"active": true, "disabled": false} over a
// boolean field. Words compare without case; one that is none of the labels
// equals nothing.
func Labels(field string, labels map[string]any) func(Compare) (Expr, error) {
	words := make([]string, 0, len(labels))
	for word := range labels {
		words = append(words, word)
	}
	sort.Strings(words)
	return func(c Compare) (Expr, error) {
		switch c.Op {
		case Present:
			return Compare{Field: field, Op: Present}, nil
		case Ne:
			return Not{X: Compare{Field: c.Field, Op: Eq, Value: c.Value}}, nil
		}
		match, err := labelMatcher(c)
		if err != nil {
			return nil, err
		}
		values := []any{}
		for _, word := range words {
			if match(textfold.Fold(word)) {
				values = append(values, labels[word])
			}
		}
		return Compare{Field: field, Op: In, Value: values}, nil
	}
}

// labelMatcher evaluates a text comparison over labels.
func labelMatcher(c Compare) (func(label string) bool, error) {
	f := &Field{Name: c.Field, Kind: Text, Ops: TextOps | Range}
	var n node
	var err error
	if c.Op == In {
		n, err = bindList(f, c.Value)
	} else {
		n, err = bindValue(f, c.Op, c.Value)
	}
	if err != nil {
		return nil, fault.InvalidQuery(c.Field, "wants a value of type %s", Text)
	}
	return func(label string) bool {
		return eval(n, oneText(label))
	}, nil
}

// oneText is a row whose only value is a text.
type oneText string

func (t oneText) Values(*Field) []any    { return []any{string(t)} }
func (t oneText) Key() (none uuid.UUID)  { return none }
func (t oneText) Joined(*Join) uuid.UUID { return uuid.UUID{} }

// Before is a Field.Rewrite for a boolean that follows from a time and the
// moment of asking: "expired" is Before("expiryDate", time.Now). A row without
// the time is not before anything.
func Before(field string, now func() time.Time) func(Compare) (Expr, error) {
	return func(c Compare) (Expr, error) {
		var before Expr = Compare{Field: field, Op: Le, Value: now()}
		want, ok := c.Value.(bool)
		switch {
		case ok && (c.Op == Eq && want || c.Op == Ne && !want):
			return before, nil
		case ok && (c.Op == Eq || c.Op == Ne):
			return Not{X: before}, nil
		}
		return nil, fault.InvalidQuery(c.Field, "wants a value of type %s", Bool)
	}
}
