package projections

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"docket/domain"
	"docket/eventstore"
)

// item is one message of the subscription on its way into the tables.
type item struct {
	position eventstore.Position
	caughtUp bool
	// For an event that the group handles:
	event    domain.Event
	rec      Rec
	handlers []*handler
	memo     []any // what each handler's plan returned
	err      error // it could not be decoded
	// last tells that no further event of the same append follows.
	last bool
}

func (it *item) handled() bool { return it.handlers != nil }

// newItem decodes an event if the group handles it, as far as it is looked at.
func newItem(g *Group, codec *eventstore.Codec, r *eventstore.Recorded) item {
	it := item{position: r.Position, last: true, handlers: g.handlers[r.Type]}
	if !it.handled() {
		return it
	}
	it.rec.Recorded = *r
	// Here already, so that what a handler keeps in memory is what it would read back from a table.
	it.rec.Data = storableJSON(r.Data)
	if slices.ContainsFunc(it.handlers, func(h *handler) bool { return !h.undecoded }) {
		it.event, it.rec.Meta, it.err = codec.DecodeRecorded(it.rec.Recorded)
	} else {
		it.rec.Meta, it.err = eventstore.DecodeMetadata(r.Meta)
	}
	it.last = it.rec.Meta.Index+1 >= it.rec.Meta.Count
	it.rec.Created = storableTime(r.Created)
	return it
}

// eventError says which event a group cannot digest.
type eventError struct {
	event eventstore.Recorded
	cause error
}

func (e *eventError) Error() string {
	return fmt.Sprintf("event %s (%s, %s@%d, position %d): %v", e.event.ID, e.event.Type, e.event.Stream, e.event.Revision, e.event.Position, e.cause)
}

func (e *eventError) Unwrap() error { return e.cause }

// errCut says that the events before this one must be written first.
var errCut = errors.New("rows are looked up by a column that a set operation before them assigns")

// handlerPanic is a panic of a handler.
type handlerPanic struct {
	value any
	stack []byte
}

func (p *handlerPanic) Error() string { return fmt.Sprintf("handler panicked: %v", p.value) }

// apply runs an event's handlers. After an error the fold is of no use.
func (f *fold) apply(it *item) (err error) {
	if it.err != nil {
		return &eventError{it.rec.Recorded, it.err}
	}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case loadFailed:
			err = p.err
		case cutHere:
			err = errCut
		default:
			err = &eventError{it.rec.Recorded, &handlerPanic{p, debug.Stack()}}
		}
	}()
	rec := it.rec
	rec.rows = f
	for i, h := range it.handlers {
		var memo any
		if it.memo != nil {
			memo = it.memo[i]
		}
		h.apply(f, it.event, rec, memo)
	}
	return nil
}

// wants collects the keys of rows that a batch needs from the tables.
type wants struct {
	group   *Group
	careful map[*core]bool // tables whose puts may meet existing rows
	wanted  []map[key]bool // by table; false: made within the batch, not needed
	skip    map[*handler]bool
}

func newWants(g *Group, careful map[*core]bool) *wants {
	w := &wants{group: g, careful: careful, wanted: make([]map[key]bool, len(g.tables)), skip: map[*handler]bool{}}
	for i := range w.wanted {
		w.wanted[i] = map[key]bool{}
	}
	return w
}

func (w *wants) want(t *core, k key) {
	if t.group != w.group {
		return // the handler will fail when it reads
	}
	if _, decided := w.wanted[t.place][k]; !decided {
		w.wanted[t.place][k] = true
	}
}

func (w *wants) made(t *core, k key) {
	if _, decided := w.wanted[t.place][k]; !decided {
		w.wanted[t.place][k] = w.careful[t]
	}
}

// keys lists what is wanted of a table.
func (w *wants) keys(t *core) []key {
	var keys []key
	for k, needed := range w.wanted[t.place] {
		if needed {
			keys = append(keys, k)
		}
	}
	return keys
}

// plan asks the handlers of an event what they will need.
func (w *wants) plan(it *item) {
	if it.err != nil || !it.handled() {
		return
	}
	if it.memo == nil {
		it.memo = make([]any, len(it.handlers))
	}
	for i, h := range it.handlers {
		if !w.skip[h] {
			it.memo[i] = w.planOne(h, it)
		}
	}
}

// planOne survives handlers that look at rows to find their keys: those fetch
// what they need when they run. A panic of another cause comes again then.
func (w *wants) planOne(h *handler, it *item) (memo any) {
	defer func() {
		if recover() != nil {
			w.skip[h] = true
			memo = nil
		}
	}()
	for _, prefetch := range h.prefetch {
		prefetch(w, it.event, it.rec)
	}
	if h.plan == nil {
		return nil
	}
	return h.plan(w, it.event, it.rec)
}
