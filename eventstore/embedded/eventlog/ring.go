package eventlog

import (
	"sort"
	"sync"
)

const (
	ringEvents = 8192
	ringBytes  = 64 << 20
)

// ring holds the newest events for readers. It is bounded in number and in bytes.
type ring struct {
	mu    sync.RWMutex
	buf   []*Event
	head  int // index of the oldest
	n     int
	bytes int
	floor uint64 // every published event after this position is here
}

func newRing(floor uint64) *ring { return &ring{buf: make([]*Event, ringEvents), floor: floor} }

func (r *ring) at(i int) *Event { return r.buf[(r.head+i)%len(r.buf)] }

// push adds events in log order.
func (r *ring) push(events []*Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if r.n == len(r.buf) {
			r.drop()
		}
		r.buf[(r.head+r.n)%len(r.buf)] = e
		r.n++
		r.bytes += e.size()
	}
	for r.bytes > ringBytes && r.n > 1 {
		r.drop()
	}
}

func (r *ring) drop() {
	e := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	r.bytes -= e.size()
	r.floor = e.Position
}

// search is the index of the first event after position pos. The caller holds the lock.
func (r *ring) search(pos uint64) int {
	return sort.Search(r.n, func(i int) bool { return r.at(i).Position > pos })
}

// after appends up to max events that follow position pos and precede end to dst. It reports false when the ring does
// not reach back that far.
func (r *ring) after(pos, end uint64, max int, dst []*Event) ([]*Event, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if pos < r.floor {
		return dst, false
	}
	for i := r.search(pos); i < r.n && max > 0; i++ {
		e := r.at(i)
		if e.Position >= end {
			break
		}
		dst = append(dst, e)
		max--
	}
	return dst, true
}

// get is the event at exactly pos, or nil.
func (r *ring) get(pos uint64) *Event {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if pos <= r.floor || r.n == 0 {
		return nil
	}
	if i := r.search(pos - 1); i < r.n {
		if e := r.at(i); e.Position == pos {
			return e
		}
	}
	return nil
}

// streamAfter returns the events of one stream that follow position pos and precede end, in order.
func (r *ring) streamAfter(stream string, pos, end uint64) ([]*Event, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if pos < r.floor {
		return nil, false
	}
	var out []*Event
	for i := r.search(pos); i < r.n; i++ {
		e := r.at(i)
		if e.Position >= end {
			break
		}
		if e.Stream == stream {
			out = append(out, e)
		}
	}
	return out, true
}

func (r *ring) reaches(pos uint64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return pos >= r.floor
}
