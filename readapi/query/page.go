package query

import (
	"context"
	"encoding/json"
	"fmt"

	"docket/domain/fault"
)

// Page is what a list request finds.
type Page struct {
	Items json.RawMessage // the rows as a JSON array; not set by Fetch
	Count int             // rows on this page
	Total int64           // matching rows in all; -1 when not asked for

	// Cursor pages only. A cursor is empty where there is no such page.
	HasNext, HasPrev bool
	Next, Prev       string

	Strategy Strategy // how the page was found
	Turned   bool     // it was read from the end of the list
}

// Strategy is the way a page was found.
type Strategy uint8

// The strategies.
const (
	Nothing     Strategy = iota // known to be empty without looking
	Direct                      // one index gives the rows in order
	FilterFirst                 // few rows match: find them, then sort
	Probe                       // many match: the head of the sort index has enough
	Whole                       // many match, far down: as the planner likes
	Anchored                    // direct, from a remembered place nearby
)

var strategyNames = [...]string{"nothing", "direct", "filter-first", "probe", "whole", "anchored"}

func (s Strategy) String() string { return strategyNames[s] }

// MaxPage and MaxSize bound pages by number.
const (
	MaxPage = 1 << 31
	MaxSize = 10_000
)

// List reads a page by number. Requests beyond the end give an empty page.
func (rd *Reader) List(ctx context.Context, req Request) (Page, error) {
	sink := newJSONSink(req)
	page, err := rd.list(ctx, req, sink)
	page.Items = sink.items()
	return page, err
}

// Keyset reads a page by cursor: the first one, or the one behind Next or
// before Prev of an earlier page. Cursors outlive the rows they point at.
func (rd *Reader) Keyset(ctx context.Context, req Request) (Page, error) {
	sink := newJSONSink(req)
	page, err := rd.keyset(ctx, req, sink)
	page.Items = sink.items()
	return page, err
}

// Get reads one row as JSON. A row outside the scope or the request's Filter
// does not exist.
func (rd *Reader) Get(ctx context.Context, req Request, id ID) ([]byte, error) {
	sink := newJSONSink(req)
	if err := rd.get(ctx, req, id, sink); err != nil {
		return nil, err
	}
	items := sink.items()
	return items[1 : len(items)-1], nil
}

// Count counts the rows that match.
func (rd *Reader) Count(ctx context.Context, req Request) (int64, error) {
	q, err := rd.plan(ctx, req)
	if err != nil {
		return 0, err
	}
	key := rd.totalKey(q)
	if n, ok, err := rd.knownTotal(ctx, q, key); ok || err != nil {
		return n, err
	}
	return rd.count(ctx, q, key)
}

// Fetch is List, or Keyset when Limit is set, into values. Shape replaces the
// request's.
func Fetch[T any](ctx context.Context, rd *Reader, shape *Shape[T], req Request) ([]T, Page, error) {
	req.Shape = shape
	sink := &valueSink[T]{shape: shape}
	read := rd.list
	if req.Limit > 0 {
		read = rd.keyset
	}
	page, err := read(ctx, req, sink)
	if err != nil {
		return nil, Page{}, err
	}
	return sink.values, page, nil
}

// FetchOne is Get into a value.
func FetchOne[T any](ctx context.Context, rd *Reader, shape *Shape[T], req Request, id ID) (T, error) {
	req.Shape = shape
	sink := &valueSink[T]{shape: shape}
	var none T
	if err := rd.get(ctx, req, id, sink); err != nil {
		return none, err
	}
	return sink.values[0], nil
}

// FetchAll reads all rows that match, in order, into values. It is for lists
// that are small by their nature; Stream has no such limit.
func FetchAll[T any](ctx context.Context, rd *Reader, shape *Shape[T], req Request) ([]T, error) {
	req.Shape = shape
	sink := &valueSink[T]{shape: shape}
	if err := rd.stream(ctx, req, sink.add); err != nil {
		return nil, err
	}
	return sink.values, nil
}

func (rd *Reader) list(ctx context.Context, req Request, sink sink) (Page, error) {
	if req.Page < 1 || req.Page > MaxPage {
		return Page{}, fault.InvalidQuery("page", "must be an integer from 1 to %d", MaxPage)
	}
	if req.Size < 1 || req.Size > MaxSize {
		return Page{}, fault.InvalidQuery("size", "must be an integer from 1 to %d", MaxSize)
	}
	q, err := rd.plan(ctx, req)
	if err != nil {
		return Page{}, err
	}
	x := execution{
		rd: rd, q: q, sink: sink, order: q.order, wantTotal: req.Total, total: -1,
		limit: int64(req.Size), offset: int64(req.Page-1) * int64(req.Size),
	}
	if err := x.run(ctx); err != nil {
		return Page{}, err
	}
	return x.page(), nil
}

func (rd *Reader) keyset(ctx context.Context, req Request, sink sink) (Page, error) {
	if req.Limit < 1 || req.Limit > MaxSize {
		return Page{}, fault.InvalidQuery("limit", "must be an integer from 1 to %d", MaxSize)
	}
	if req.Next != "" && req.Prev != "" {
		return Page{}, fault.InvalidQuery("next", "next and prev exclude each other")
	}
	q, err := rd.plan(ctx, req)
	if err != nil {
		return Page{}, err
	}
	x := execution{
		rd: rd, q: q, sink: sink, order: q.order, wantTotal: req.Total, total: -1,
		limit: int64(req.Limit) + 1, keyset: true,
	}
	switch {
	case req.Next != "":
		x.from, err = q.place("next", req.Next)
	case req.Prev != "":
		x.from, err = q.place("prev", req.Prev)
		x.order = q.order.turned()
	}
	if err != nil {
		return Page{}, err
	}
	if err := x.run(ctx); err != nil {
		return Page{}, err
	}
	more := x.rows > int64(req.Limit)
	if more {
		x.dropSurplus(req.Prev != "")
	}
	page := x.page()
	x.cursors(&page, req, more)
	return page, nil
}

// cursors tells whether there are pages beside this one. Behind a page reached
// by prev there is always the page it was reached from, and the reverse.
func (x *execution) cursors(page *Page, req Request, more bool) {
	if len(x.positions) == 0 {
		return
	}
	page.HasNext = more
	page.HasPrev = req.Next != ""
	if req.Prev != "" {
		page.HasNext, page.HasPrev = true, more
	}
	if page.HasNext {
		page.Next = x.q.cursor(x.positions[len(x.positions)-1])
	}
	if page.HasPrev {
		page.Prev = x.q.cursor(x.positions[0])
	}
}

func (rd *Reader) get(ctx context.Context, req Request, id ID, sink sink) error {
	q, err := rd.plan(ctx, req)
	if err != nil {
		return err
	}
	missing := fault.Missing(q.r.Name, id)
	if q.nothing() {
		return missing
	}
	s := rd.statement()
	s.selectList(q)
	s.write(" from ", q.r.Table, " t")
	s.displayJoins(q)
	s.where(q, q.filter, func() { s.write("t.", q.r.Key, " = ", s.arg(id)) })
	found := false
	err = rd.query(ctx, rd.options.Points, s, func(raw [][]byte) error {
		found = true
		return sink.add(raw)
	})
	if err == nil && !found {
		return missing
	}
	return err
}

// sink takes rows in the order of the answer.
type sink interface {
	add(raw [][]byte) error
	reset()          // forget all rows
	drop(first bool) // forget the first or the last row
}

// jsonSink appends rows to a JSON array.
type jsonSink struct {
	shape  Layout
	env    any
	buf    []byte
	starts []int
}

func newJSONSink(req Request) *jsonSink { return &jsonSink{shape: req.Shape, env: req.Env} }

func (k *jsonSink) add(raw [][]byte) error {
	if k.buf == nil {
		k.buf = make([]byte, 0, 4096)
	}
	k.buf = append(k.buf, ',')
	k.starts = append(k.starts, len(k.buf)-1)
	k.buf = k.shape.append(k.buf, RawRow{raw: raw, Env: k.env})
	return nil
}

func (k *jsonSink) reset() { k.buf, k.starts = k.buf[:0], k.starts[:0] }

func (k *jsonSink) drop(first bool) {
	last := len(k.starts) - 1
	if first {
		k.starts = k.starts[1:]
		return
	}
	k.buf = k.buf[:k.starts[last]]
	k.starts = k.starts[:last]
}

// items closes the array. The comma before the first row becomes its bracket.
func (k *jsonSink) items() []byte {
	if len(k.starts) == 0 {
		return []byte("[]")
	}
	items := append(k.buf[k.starts[0]:], ']')
	items[0] = '['
	return items
}

// valueSink scans rows into values.
type valueSink[T any] struct {
	shape  *Shape[T]
	values []T
}

func (k *valueSink[T]) add(raw [][]byte) error {
	var v T
	if err := k.shape.scan(raw, &v); err != nil {
		return fmt.Errorf("query: scan a row of %s: %w", k.shape.r.Name, err)
	}
	k.values = append(k.values, v)
	return nil
}

func (k *valueSink[T]) reset() { k.values = k.values[:0] }

func (k *valueSink[T]) drop(first bool) {
	if first {
		k.values = k.values[1:]
	} else {
		k.values = k.values[:len(k.values)-1]
	}
}
