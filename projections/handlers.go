package projections

import (
	"fmt"
	"reflect"

	"docket/domain"
	"docket/eventstore"
	"github.com/google/uuid"
)

// Rec is a recorded event's envelope, and the handler's view of the tables.
// Handlers may be called more than once for an event, so they must depend on
// nothing but their arguments and what Get and Where tell.
type Rec struct {
	eventstore.Recorded
	Meta eventstore.Metadata
	rows *fold // nil while keys are collected
}

// StreamID is the id at the end of the stream's name ("...-<uuid>"), that is,
// the aggregate's. It panics when there is none.
func (r Rec) StreamID() uuid.UUID {
	const length = 36
	if n := len(r.Stream); n >= length {
		if id, err := uuid.Parse(r.Stream[n-length:]); err == nil {
			return id
		}
	}
	panic("stream name ends in no id: " + r.Stream)
}

// ByStream is the key function for rows whose key is the aggregate's id.
func ByStream[E domain.Event](_ E, rec Rec) uuid.UUID { return rec.StreamID() }

// Get reads a row as it stands at this event, from any table of the same group.
// Rows not in memory cost a query each, unless Prefetch announced them. The row
// must not be written to.
func Get[R, K any](rec Rec, table *Table[R], key K) (R, bool) {
	row := rec.rows.read(table.core).get(table.keyFrom(key)).now
	if row == nil {
		var none R
		return none, false
	}
	return *row.(*R), true
}

// Where reads the rows with a value in a column as they stand at this event, in
// the order of their keys. The column must be declared by LookUpBy, DeleteWhere
// or SetWhere. The rows must not be written to.
func Where[R any](rec Rec, table *Table[R], column string, value any) []R {
	entries := rec.rows.read(table.core).find(table.column(column), scalar(reflect.ValueOf(value)))
	rows := make([]R, len(entries))
	for i, e := range entries {
		rows[i] = *e.now.(*R)
	}
	return rows
}

// LookUpBy declares that handlers look rows up by a column with Where; the
// column gets an index if it leads none.
func LookUpBy(column string) TableOption {
	return func(t *core) { t.lookUpBy(column) }
}

// handler is one reaction of one table to one event type.
type handler struct {
	table     *core
	kind      string
	eventType string
	undecoded bool // the handler looks at the record only
	// plan announces the rows the handler will need, where it can tell from the
	// event alone. It runs before the fold and may panic.
	plan func(w *wants, e domain.Event, rec Rec) any
	// apply changes rows. memo is what plan returned, nil if it panicked.
	apply func(f *fold, e domain.Event, rec Rec, memo any)
	// prefetch announces rows that apply will read.
	prefetch []func(w *wants, e domain.Event, rec Rec)
}

func (h *handler) what() string { return h.kind + " " + h.table.name }

func (h *handler) addTo(g *Group) { g.handlers[h.eventType] = append(g.handlers[h.eventType], h) }

// HandlerOption adds to a handler.
type HandlerOption func(*handler)

// Prefetch announces rows that the handler reads with Get, so that a batch reads
// them all in one query.
func Prefetch[E domain.Event, R, K any](table *Table[R], keys func(e E, rec Rec) []K) HandlerOption {
	table.checkKeyType(reflect.TypeFor[K]())
	return func(h *handler) {
		h.prefetch = append(h.prefetch, func(w *wants, e domain.Event, rec Rec) {
			for _, k := range keys(e.(E), rec) {
				w.want(table.core, table.keyFrom(k))
			}
		})
	}
}

func newHandler[E domain.Event](t *core, kind string, options []HandlerOption) *handler {
	var zero E
	if reflect.TypeFor[E]().Kind() != reflect.Struct {
		panic(fmt.Sprintf("projections: %T: events are value structs", zero))
	}
	h := &handler{table: t, kind: kind, eventType: zero.EventType()}
	for _, option := range options {
		option(h)
	}
	return h
}

// Put stores the row that fn makes of the event, replacing one with the same key.
func Put[E domain.Event, R any](table *Table[R], fn func(e E, rec Rec) R, options ...HandlerOption) Part {
	h := putEach(table, "put", func(e E, rec Rec) []R { return []R{fn(e, rec)} }, options)
	return h
}

// PutEach stores several rows.
func PutEach[E domain.Event, R any](table *Table[R], fn func(e E, rec Rec) []R, options ...HandlerOption) Part {
	return putEach(table, "put each", fn, options)
}

func putEach[E domain.Event, R any](table *Table[R], kind string, fn func(e E, rec Rec) []R, options []HandlerOption) *handler {
	h := newHandler[E](table.core, kind, options)
	h.plan = func(w *wants, e domain.Event, rec Rec) any {
		rows := fn(e.(E), rec)
		for i := range rows {
			w.made(table.core, table.keyOf(&rows[i]))
		}
		return rows
	}
	h.apply = func(f *fold, e domain.Event, rec Rec, memo any) {
		rows, planned := memo.([]R)
		if !planned {
			rows = fn(e.(E), rec)
		}
		c := f.read(table.core)
		for i := range rows {
			row := rows[i] // a copy: the fold may run again from the same memo
			c.put(&row)
		}
	}
	return h
}

// Update changes the row with the key. A row that is not there stays so.
func Update[E domain.Event, R, K any](table *Table[R], key func(e E, rec Rec) K, fn func(row *R, e E, rec Rec), options ...HandlerOption) Part {
	return updateEach(table, "update", one(key), fn, options)
}

// UpdateEach changes the rows with the keys.
func UpdateEach[E domain.Event, R, K any](table *Table[R], keys func(e E, rec Rec) []K, fn func(row *R, e E, rec Rec), options ...HandlerOption) Part {
	return updateEach(table, "update each", keys, fn, options)
}

func updateEach[E domain.Event, R, K any](table *Table[R], kind string, keys func(e E, rec Rec) []K, fn func(row *R, e E, rec Rec), options []HandlerOption) *handler {
	return keyed(table.core, kind, keys, func(c *cache, k key, e E, rec Rec) {
		if entry := c.get(k); entry.now != nil {
			fn(c.writable(entry).(*R), e, rec)
			c.changed(entry)
		}
	}, options)
}

// Delete removes the row with the key, if there is one.
func Delete[E domain.Event, R, K any](table *Table[R], key func(e E, rec Rec) K, options ...HandlerOption) Part {
	return deleteEach(table, "delete", one(key), options)
}

// DeleteEach removes the rows with the keys.
func DeleteEach[E domain.Event, R, K any](table *Table[R], keys func(e E, rec Rec) []K, options ...HandlerOption) Part {
	return deleteEach(table, "delete each", keys, options)
}

func deleteEach[E domain.Event, R, K any](table *Table[R], kind string, keys func(e E, rec Rec) []K, options []HandlerOption) *handler {
	return keyed(table.core, kind, keys, func(c *cache, k key, _ E, _ Rec) { c.delete(c.get(k)) }, options)
}

func one[E, K any](key func(e E, rec Rec) K) func(E, Rec) []K {
	return func(e E, rec Rec) []K { return []K{key(e, rec)} }
}

// keyed is a handler that does something to each row of a list of keys.
func keyed[E domain.Event, K any](t *core, kind string, keys func(e E, rec Rec) []K, do func(c *cache, k key, e E, rec Rec), options []HandlerOption) *handler {
	t.checkKeyType(reflect.TypeFor[K]())
	h := newHandler[E](t, kind, options)
	h.plan = func(w *wants, e domain.Event, rec Rec) any {
		list := keys(e.(E), rec)
		for _, k := range list {
			w.want(t, t.keyFrom(k))
		}
		return list
	}
	h.apply = func(f *fold, e domain.Event, rec Rec, memo any) {
		list, planned := memo.([]K)
		if !planned {
			list = keys(e.(E), rec)
		}
		for _, k := range list {
			do(f.read(t), t.keyFrom(k), e.(E), rec)
		}
	}
	return h
}

// DeleteWhere removes all rows with a value in a column. The column gets an
// index if it leads none.
func DeleteWhere[E domain.Event, R, V any](table *Table[R], column string, value func(e E, rec Rec) V, options ...HandlerOption) Part {
	return setOperation(table.core, "delete where "+column, column, value, nil, options)
}

// SetWhere sets columns in all rows with a value in a column, in one statement
// however many they are. set maps column names to values of the fields' types;
// folded columns follow their sources. The column gets an index if it leads none.
func SetWhere[E domain.Event, R, V any](table *Table[R], column string, value func(e E, rec Rec) V, set func(e E, rec Rec) map[string]any, options ...HandlerOption) Part {
	return setOperation(table.core, "set where "+column, column, value, set, options)
}

func setOperation[E domain.Event, V any](t *core, kind, column string, value func(e E, rec Rec) V, set func(e E, rec Rec) map[string]any, options []HandlerOption) *handler {
	by := t.lookUpBy(column)
	if got := scalarType(reflect.TypeFor[V]()); got != by.sqlType {
		t.fail("%s: the value is %s, the column %s", kind, reflect.TypeFor[V](), by.sqlType)
	}
	h := newHandler[E](t, kind, options)
	h.apply = func(f *fold, e domain.Event, rec Rec, _ any) {
		op := &setOp{table: t, by: by, value: scalar(reflect.ValueOf(value(e.(E), rec)))}
		if set != nil {
			op.assign(set(e.(E), rec))
		}
		f.run(op)
	}
	return h
}
