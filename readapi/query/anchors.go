package query

import (
	"context"
	"strconv"
	"sync"
)

// anchors are places in an unfiltered list: marks[i] lies behind row
// (i+1)*every. They are learned by the first request that walks that far and
// hold for one version of the tables.
type anchors struct {
	mu    sync.Mutex
	marks []*position
}

// nearest gives the last mark at or before an offset and how many rows lie
// before it.
func (a *anchors) nearest(offset, every int64) (*position, int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(offset/every, int64(len(a.marks)))
	if n == 0 {
		return nil, 0
	}
	return a.marks[n-1], n * every
}

// extend adds marks that follow those before rows*.
func (a *anchors) extend(before, every int64, marks []*position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if int64(len(a.marks)) == before/every {
		a.marks = append(a.marks, marks...)
	}
}

// anchor moves the start of the page to the nearest known place, after
// learning those on the way. Without versions nothing is known.
func (x *execution) anchor(ctx context.Context) error {
	version, ok := x.rd.versions(x.q.r)
	if !ok {
		return nil
	}
	every := x.rd.tuning.anchorEvery
	key := digest(version, x.q.r.Table, x.q.scopeText(), x.q.cursorQuery(), x.order.word())
	a, ok := x.rd.anchors.get(key)
	if !ok {
		a = &anchors{}
		x.rd.anchors.put(key, a)
	}
	place, before := a.nearest(x.offset, every)
	if x.offset-before >= every {
		marks, err := x.learn(ctx, place, x.offset-before)
		if err != nil {
			return err
		}
		a.extend(before, every, marks)
		if n := int64(len(marks)); n > 0 {
			place, before = marks[n-1], before+n*every
		}
	}
	if place != nil {
		x.from, x.offset, x.strategy = place, x.offset-before, Anchored
	}
	return nil
}

// learn walks the sort index from a place and takes every so many'th key.
func (x *execution) learn(ctx context.Context, from *position, rows int64) ([]*position, error) {
	s := x.rd.statement()
	s.write("select ")
	for i, h := range x.order.hidden("w") {
		if i > 0 {
			s.write(", ")
		}
		s.write(h)
	}
	s.write(" from (select u.*, row_number() over () as _n from (")
	s.ordered(x.q, x.order, x.q.filter, from, false, rows, 0)
	s.write(") u) w where w._n % ", strconv.FormatInt(x.rd.tuning.anchorEvery, 10), " = 0 order by w._n")
	var marks []*position
	err := x.rd.query(ctx, x.rd.pool, s, func(raw [][]byte) error {
		marks = append(marks, x.order.hiddenPosition(raw))
		return nil
	})
	return marks, err
}
