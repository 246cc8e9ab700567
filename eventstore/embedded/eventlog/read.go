package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// End as a position means behind the last event.
const End = math.MaxUint64

// Chunk sizes of long reads. Nothing is held open between chunks, so a slow consumer pins nothing.
const (
	chunkEvents = 1024
	chunkScan   = 8192 // events looked at when a filter drops most
	chunkBytes  = 4 << 20
)

// chunk is a part of the log as one read found it.
type chunk struct {
	events     []*Event
	considered int
	last       uint64 // position of the last event considered
	more       bool   // false when the end was reached
}

// parseAt checks and parses the record under the iterator and returns its length.
func parseAt(it *pebble.Iterator, r *record) (int, error) {
	pos := binary.BigEndian.Uint64(it.Key()[1:])
	v, err := it.ValueAndErr()
	if err != nil {
		return 0, readError(pos, false, err)
	}
	return len(v), r.parse(pos, v)
}

func streamNoOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:]) }

// forward reads what follows position after and precedes end: at most scan events are considered, at most limit returned.
func (l *Log) forward(after, end uint64, f *Filter, scan, limit int) (chunk, error) {
	if after >= end {
		return chunk{last: after}, nil
	}
	if f == nil {
		scan = min(scan, limit)
	}
	if events, ok := l.ring.after(after, end, scan, nil); ok {
		c := chunk{last: after, more: len(events) == scan}
		c.events = events[:0]
		for _, e := range events {
			if len(c.events) == limit {
				c.more = true
				break
			}
			c.considered++
			c.last = e.Position
			if f.Match(e.Stream, e.Type) {
				c.events = append(c.events, e)
			}
		}
		return c, nil
	}
	return l.forwardDB(after, end, f, scan, limit)
}

func (l *Log) forwardDB(after, end uint64, f *Filter, scan, limit int) (c chunk, err error) {
	c.last = after
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: logKey(after + 1), UpperBound: logKey(end)})
	if err != nil {
		return c, readError(after, true, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	d := l.decoders.Get().(*decoder)
	defer l.decoders.Put(d)
	var r record
	var prev link // of the event before, once one was read here
	bytes := 0
	for ok := it.First(); ok; ok = it.Next() {
		if c.considered == scan || len(c.events) == limit || bytes >= chunkBytes {
			c.more = true
			return c, nil
		}
		n, err := parseAt(it, &r)
		if err != nil {
			return c, err
		}
		if r.prev.pos > c.last || prev.pos != 0 && (r.prev.pos != prev.pos || r.prev.crc != prev.crc) {
			return c, &CorruptionError{Position: c.last, AfterPosition: true, Cause: errors.New("an event is missing")}
		}
		prev = link{pos: r.pos, crc: r.crc}
		c.considered++
		c.last = r.pos
		if f.Match(view(r.stream), view(r.typ)) {
			c.events = append(c.events, d.event(&r))
			bytes += n
		}
	}
	if err := it.Error(); err != nil {
		return c, readError(c.last, true, err)
	}
	return c, nil
}

// backwardDB reads what precedes before, newest first.
func (l *Log) backwardDB(before uint64, f *Filter, scan, limit int) (c chunk, err error) {
	c.last = before
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyLog}, UpperBound: logKey(before)})
	if err != nil {
		return c, readError(before, false, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	d := l.decoders.Get().(*decoder)
	defer l.decoders.Put(d)
	var r record
	bytes := 0
	for ok := it.Last(); ok; ok = it.Prev() {
		if c.considered == scan || len(c.events) == limit || bytes >= chunkBytes {
			c.more = true
			return c, nil
		}
		n, err := parseAt(it, &r)
		if err != nil {
			return c, err
		}
		c.considered++
		c.last = r.pos
		if f.Match(view(r.stream), view(r.typ)) {
			c.events = append(c.events, d.event(&r))
			bytes += n
		}
	}
	if err := it.Error(); err != nil {
		return c, readError(c.last, false, err)
	}
	return c, nil
}

// AllRead says what to read of the whole log.
type AllRead struct {
	// From is the first position returned forwards, and the one to stop before backwards. 0 and End are the two ends.
	From      uint64
	Backwards bool
	Limit     uint64 // most events returned; 0 means all
	Filter    *Filter
}

// ReadAll reads the log as it is at the call, in $all order. It is the fast way to rebuild from the log in the same
// process. Events are checked as they are read: damage ends the sequence with a *CorruptionError.
func (l *Log) ReadAll(ctx context.Context, q AllRead) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		end := l.end()
		if q.Backwards {
			end = min(end, q.From)
		}
		after := max(q.From, 1) - 1
		left := q.Limit
		if left == 0 {
			left = math.MaxUint64
		}
		for left > 0 {
			limit := int(min(left, chunkEvents))
			scan := chunkScan
			if q.Filter == nil {
				scan = limit
			}
			c, err := l.allChunk(ctx, q, after, end, scan, limit)
			for _, e := range c.events {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !c.more {
				return
			}
			left -= uint64(len(c.events))
			if q.Backwards {
				end = c.last
			} else {
				after = c.last
			}
		}
	}
}

func (l *Log) allChunk(ctx context.Context, q AllRead, after, end uint64, scan, limit int) (chunk, error) {
	if err := ctx.Err(); err != nil {
		return chunk{}, err
	}
	if err := l.enter(); err != nil {
		return chunk{}, err
	}
	defer l.leave()
	if q.Backwards {
		return l.backwardDB(end, q.Filter, scan, limit)
	}
	return l.forward(after, end, q.Filter, scan, limit)
}
