// Package scim reads filters in the notation of RFC 7644, section 3.4.2.2:
//
//	name co "sales" and (status eq "active" or not (createdAt lt "2024-01-01T00:00:00Z"))
//
// Attribute names and operators are matched without case, and so are texts
// unless their field is exact. Value paths (roles[type eq "x"]) and attributes
// with a schema URI are refused. "x eq null" asks for a missing value.
package scim

import (
	"strings"
	"time"

	"encoding/json"

	filter "github.com/scim2/filter-parser/v2"

	"docket/domain/fault"
	"docket/readapi/query"
)

// Limits of one filter.
const (
	MaxLength        = 8 << 10 // bytes
	MaxNesting       = 32      // parentheses within each other
	MaxIDComparisons = 100     // of the resource's key
	MaxComparisons   = 200
)

// Parse reads a filter. An empty one is nil. What is wrong with it is a fault
// of kind Invalid about the parameter "filter"; in is where it stands, "query"
// or "body".
func Parse(r *query.Resource, text, in string) (query.Expr, error) {
	p := parser{resource: r, in: in}
	if len(text) > MaxLength {
		return nil, p.fault("is longer than %d bytes", MaxLength)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	raw, nesting := prepare(text)
	if nesting > MaxNesting {
		return nil, p.fault("has parentheses nested deeper than %d", MaxNesting)
	}
	parsed, err := filter.ParseFilterNumber(raw)
	if err != nil {
		return nil, p.fault("is not a filter as RFC 7644 describes them").Because(err)
	}
	return p.expression(parsed)
}

// prepare measures the nesting, so that the recursive parser cannot be driven
// deep, and writes the digits of \u escapes in upper case, the only ones the
// parser knows.
func prepare(text string) (raw []byte, nesting int) {
	raw = []byte(text)
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			if i+1 < len(raw) && raw[i+1] == 'u' {
				for j := i + 2; j < min(i+6, len(raw)); j++ {
					if raw[j] >= 'a' && raw[j] <= 'f' {
						raw[j] -= 'a' - 'A'
					}
				}
			}
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
			nesting = max(nesting, depth)
		case c == ')':
			depth--
		}
	}
	return raw, nesting
}

type parser struct {
	resource    *query.Resource
	in          string
	comparisons int
	ids         int
}

func (p *parser) fault(format string, args ...any) *fault.Error {
	f := fault.InvalidQuery("filter", format, args...)
	f.Fields[0].In = p.in
	return f
}

func (p *parser) expression(e filter.Expression) (query.Expr, error) {
	switch e := e.(type) {
	case *filter.AttributeExpression:
		return p.attribute(e)
	case *filter.NotExpression:
		x, err := p.expression(e.Expression)
		if err != nil {
			return nil, err
		}
		return query.Not{X: x}, nil
	case *filter.LogicalExpression:
		return p.logical(e)
	case *filter.ValuePath:
		return nil, p.fault("value paths such as %s[...] are not supported", e.AttributePath)
	}
	return nil, p.fault("holds an expression that is not supported")
}

// logical flattens chains of one operator, which the parser nests to the left.
func (p *parser) logical(e *filter.LogicalExpression) (query.Expr, error) {
	var operands []filter.Expression
	chain := filter.Expression(e)
	for {
		l, ok := chain.(*filter.LogicalExpression)
		if !ok || l.Operator != e.Operator {
			operands = append(operands, chain)
			break
		}
		operands = append(operands, l.Right)
		chain = l.Left
	}
	parts := make([]query.Expr, len(operands))
	for i, operand := range operands {
		var err error
		if parts[len(parts)-1-i], err = p.expression(operand); err != nil {
			return nil, err
		}
	}
	if e.Operator == filter.AND {
		return query.And(parts), nil
	}
	return query.Or(parts), nil
}

var operators = map[filter.CompareOperator]query.Op{
	filter.PR: query.Present, filter.EQ: query.Eq, filter.NE: query.Ne,
	filter.CO: query.Contains, filter.SW: query.Starts, filter.EW: query.Ends,
	filter.GT: query.Gt, filter.GE: query.Ge, filter.LT: query.Lt, filter.LE: query.Le,
}

func (p *parser) attribute(e *filter.AttributeExpression) (query.Expr, error) {
	name := e.AttributePath.String()
	f, ok := p.resource.Field(name)
	if !ok || f.Hidden || f.Ops == 0 {
		return nil, p.fault("unknown attribute %q", name)
	}
	if p.comparisons++; p.comparisons > MaxComparisons {
		return nil, p.fault("has more than %d comparisons", MaxComparisons)
	}
	op, ok := operators[e.Operator]
	if !ok || !f.Ops.Has(op) {
		return nil, p.fault("operator %q is not supported for attribute %q", e.Operator, name)
	}
	if f.Column == p.resource.Key && f.Join == "" && f.Sub == nil && op != query.Present {
		if p.ids++; p.ids > MaxIDComparisons {
			return nil, p.fault("has more than %d comparisons of %s", MaxIDComparisons, f.Name)
		}
	}
	if op == query.Present {
		return query.Compare{Field: f.Name, Op: op}, nil
	}
	return p.compare(f, op, e.CompareValue)
}

func (p *parser) compare(f *query.Field, op query.Op, value any) (query.Expr, error) {
	if value == nil {
		return p.null(f, op)
	}
	switch v := value.(type) {
	case bool:
		if f.Kind == query.Bool {
			return query.Compare{Field: f.Name, Op: op, Value: v}, nil
		}
	case json.Number:
		if f.Kind == query.Int {
			n, err := v.Int64()
			if err != nil {
				return nil, p.fault("%s is not a whole number", v)
			}
			return query.Compare{Field: f.Name, Op: op, Value: n}, nil
		}
	case string:
		return p.text(f, op, v)
	}
	return nil, p.fault("attribute %q wants a value of type %s", f.Name, f.Kind)
}

func (p *parser) null(f *query.Field, op query.Op) (query.Expr, error) {
	present := query.Compare{Field: f.Name, Op: query.Present}
	switch {
	case !f.Ops.Has(query.Present):
	case op == query.Eq:
		return query.Not{X: present}, nil
	case op == query.Ne:
		return present, nil
	}
	return nil, p.fault("attribute %q cannot be compared with null so", f.Name)
}

// text reads a quoted value. The parser leaves escapes in it.
func (p *parser) text(f *query.Field, op query.Op, quoted string) (query.Expr, error) {
	var text string
	if err := json.Unmarshal([]byte(`"`+quoted+`"`), &text); err != nil {
		return nil, p.fault("holds a text that is not a JSON string").Because(err)
	}
	switch f.Kind {
	case query.Bool, query.Int:
		return nil, p.fault("attribute %q wants a value of type %s", f.Name, f.Kind)
	case query.Time:
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return nil, p.fault("attribute %q wants an RFC 3339 time", f.Name)
		}
	}
	value, err := f.ParseText(text)
	if err != nil {
		// A text that is no identifier is an identifier nobody has.
		if op == query.Ne {
			return query.And{}, nil
		}
		return query.Or{}, nil
	}
	return query.Compare{Field: f.Name, Op: op, Value: value}, nil
}
