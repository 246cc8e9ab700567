// Package bracket reads lists asked for in URL parameters with operators in
// brackets:
//
//	?name[contains]=sales&is_active=true&page=2&page_size=50&sort_by=Project.Name&sort_direction=desc
//
// A plain parameter means equal. Names, operators and sort fields are matched
// without case, and filter names with or without underscores. Several filters
// must all hold. An empty value is no value: the parameter counts as not given.
//
// Parameters in brackets that the resource does not know are refused, since
// ignoring a filter would show more than was asked for; other unknown
// parameters are ignored. So are page and page_size with get_all=true.
package bracket

import (
	"net/url"
	"sort"
	"strconv"
	"strings"

	"docket/domain/fault"
	"docket/readapi/query"
)

// Sizes of pages.
const (
	DefaultSize = 10
	MaxSize     = 100
)

// Query is a list as it was asked for.
type Query struct {
	Filter query.Expr // nil: none
	Sort   query.Sort // zero: the resource's default
	Page   int        // from 1
	Size   int        // from 1 to MaxSize
	All    bool       // get_all: no pages
}

// Request starts a request with what the query says.
func (q Query) Request() query.Request {
	return query.Request{Filter: q.Filter, Sort: q.Sort, Page: q.Page, Size: q.Size}
}

// Equal is the value that a field must equal, nil if none was asked for.
func (q Query) Equal(field string) any {
	parts, several := q.Filter.(query.And)
	if !several {
		parts = query.And{q.Filter}
	}
	for _, part := range parts {
		if c, ok := part.(query.Compare); ok && c.Op == query.Eq && c.Field == field {
			return c.Value
		}
	}
	return nil
}

var operators = map[string]query.Op{
	"equal":      query.Eq,
	"equals":     query.Eq,
	"contains":   query.Contains,
	"startswith": query.Starts,
	"endswith":   query.Ends,
}

// Parse reads a list's parameters. What is wrong with them is a fault of kind
// Invalid that names the parameter.
func Parse(r *query.Resource, values url.Values) (Query, error) {
	p := parser{resource: r, query: Query{Page: 1, Size: DefaultSize}, seen: map[string]bool{}}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names) // the first mistake is the same one every time
	for _, name := range names {
		if err := p.parameter(name, values[name]); err != nil {
			return Query{}, err
		}
	}
	switch {
	case p.query.All: // page and page_size are ignored, whatever they are
		p.query.Page, p.query.Size = 1, DefaultSize
	case p.badPage != nil:
		return Query{}, p.badPage
	}
	if p.query.Sort.Field == "" && p.descending {
		p.query.Sort.Desc = true
	}
	p.query.Filter = query.All(p.filters...)
	return p.query, nil
}

type parser struct {
	resource   *query.Resource
	query      Query
	filters    []query.Expr
	descending bool
	badPage    error // what is wrong with page or page_size
	seen       map[string]bool
}

func (p *parser) parameter(name string, values []string) error {
	lower := strings.ToLower(name)
	set, known := p.paging(lower)
	if known {
		value, err := p.single(name, lower, values)
		if value == "" || err != nil {
			return err
		}
		return set(name, value)
	}
	base, operator, bracketed := strings.Cut(name, "[")
	if bracketed {
		if !strings.HasSuffix(operator, "]") || base == "" {
			return fault.InvalidQuery(name, "is not written as name[operator]")
		}
		operator = strings.TrimSuffix(operator, "]")
	}
	field, ok := p.field(base)
	if !ok {
		if bracketed {
			return fault.InvalidQuery(name, "unknown filter")
		}
		return nil
	}
	op := query.Eq
	if bracketed {
		if op, ok = operators[strings.ToLower(operator)]; !ok {
			return fault.InvalidQuery(name, "unknown operator; use equal, contains, startswith or endswith")
		}
	}
	value, err := p.single(name, field.Name+"["+op.String(), values)
	if value == "" || err != nil {
		return err
	}
	return p.filter(name, field, op, value)
}

// single refuses a parameter that is given twice, be it in another spelling.
func (p *parser) single(name, key string, values []string) (string, error) {
	if len(values) != 1 || p.seen[key] {
		return "", fault.InvalidQuery(name, "is given more than once")
	}
	p.seen[key] = true
	return values[0], nil
}

func (p *parser) field(name string) (*query.Field, bool) {
	f, ok := p.resource.Field(name)
	if !ok {
		f, ok = p.resource.Field(strings.ReplaceAll(name, "_", ""))
	}
	if !ok || !Offers(f) {
		return nil, false
	}
	return f, true
}

// Offers tells whether this grammar can filter a field at all: there are fields
// with operators for the server's own use only.
func Offers(f *query.Field) bool {
	return !f.Hidden && f.Ops&(query.Eq|query.Substring) != 0
}

func (p *parser) filter(name string, f *query.Field, op query.Op, text string) error {
	if !f.Ops.Has(op) {
		return fault.InvalidQuery(name, "this field cannot be filtered so")
	}
	value, err := f.ParseText(text)
	if err != nil {
		return fault.InvalidQuery(name, "%s", err)
	}
	p.filters = append(p.filters, query.Compare{Field: f.Name, Op: op, Value: value})
	return nil
}

// paging gives the reader of a parameter that is not a filter.
func (p *parser) paging(lower string) (func(name, value string) error, bool) {
	switch lower {
	case "page":
		return p.page, true
	case "page_size":
		return p.size, true
	case "get_all":
		return p.all, true
	case "sort_by":
		return p.sortBy, true
	case "sort_direction":
		return p.sortDirection, true
	}
	return nil, false
}

func (p *parser) page(name, value string) error {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 1 {
		p.refusePage(name, "must be a whole number from 1")
	}
	p.query.Page = int(n)
	return nil
}

func (p *parser) size(name, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > MaxSize {
		p.refusePage(name, "must be a whole number from 1 to %d", MaxSize)
	}
	p.query.Size = n
	return nil
}

// refusePage keeps the first mistake until it is known that there are pages.
func (p *parser) refusePage(name, format string, args ...any) {
	if p.badPage == nil {
		p.badPage = fault.InvalidQuery(name, format, args...)
	}
}

func (p *parser) all(name, value string) error {
	all, err := strconv.ParseBool(strings.ToLower(value))
	if err != nil {
		return fault.InvalidQuery(name, "must be true or false")
	}
	p.query.All = all
	return nil
}

func (p *parser) sortBy(name, value string) error {
	if err := p.resource.CheckSort(query.Sort{Field: value}, name); err != nil {
		return err
	}
	p.query.Sort = query.Sort{Field: value, Desc: p.descending}
	return nil
}

func (p *parser) sortDirection(name, value string) error {
	switch strings.ToLower(value) {
	case "asc":
	case "desc":
		p.descending = true
		p.query.Sort.Desc = true
	default:
		return fault.InvalidQuery(name, "must be asc or desc")
	}
	return nil
}
