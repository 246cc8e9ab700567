package projections

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// fold holds, in memory, the rows that a run of events touches. Handlers change
// rows here; afterwards each changed row is written once, however many events
// changed it.
type fold struct {
	group  *Group
	tables []*cache
	// loader fetches rows that are not in memory. Without one the fold is whole:
	// what is not in memory does not exist.
	loader loader
	// ops are the set operations so far, in order. They run on the tables before
	// the rows are written, and have been applied to the rows in memory.
	ops []*setOp
}

// loader reads rows, as pointers to row structs.
type loader interface {
	byKey(t *core, keys []key) ([]any, error)
	byColumn(t *core, c *column, value any) ([]any, error)
	// mayMeet tells whether puts into a table may meet existing rows.
	mayMeet(t *core) bool
}

// Panics that leave a handler on the engine's behalf.
type (
	loadFailed struct{ err error } // the database did not answer
	cutHere    struct{}            // what came before this event must be written first
)

func newFold(g *Group, l loader) *fold {
	f := &fold{group: g, loader: l, tables: make([]*cache, len(g.tables))}
	for i, t := range g.tables {
		f.tables[i] = &cache{fold: f, t: t, rows: map[key]*entry{}}
		for _, c := range t.where {
			f.tables[i].postings = append(f.tables[i].postings, &posting{c: c, lists: map[any]*list{}, loaded: map[any]bool{}})
		}
	}
	return f
}

func (f *fold) whole() bool { return f.loader == nil }

// read is the cache of a table, which must be of the fold's group.
func (f *fold) read(t *core) *cache {
	if t.group != f.group {
		panic(fmt.Sprintf("table %s is not in group %s", t.name, f.group.name))
	}
	return f.tables[t.place]
}

// size is the number of rows in memory.
func (f *fold) size() int {
	n := 0
	for _, c := range f.tables {
		n += len(c.rows)
	}
	return n
}

// run applies a set operation to the rows in memory and notes it for the rest.
func (f *fold) run(op *setOp) {
	c := f.read(op.table)
	for _, p := range c.postings {
		if p.c != op.by {
			continue
		}
		for _, e := range p.listed(op.value) {
			c.operate(op, e)
		}
	}
	if !f.whole() {
		f.ops = append(f.ops, op)
	}
}

// entry is one row, present or not.
type entry struct {
	key key
	// old is the row as it will be in the table just before rows are written,
	// that is, after the set operations; nil for none. now is the row after the
	// events so far. Until a handler changes the row, both are the same pointer.
	old, now any
	dirty    bool
	posted   []any // last listed value per posting
}

// cache is the part of one table that is in memory.
type cache struct {
	fold     *fold
	t        *core
	rows     map[key]*entry
	postings []*posting
}

// posting finds entries by the value of a column. An entry is listed under every
// value it had, so whoever reads a list must look at the row again.
type posting struct {
	c      *column
	lists  map[any]*list
	loaded map[any]bool // values whose rows were all fetched
}

// list holds the entries with one value, and in a whole fold counts those that
// have it no more.
type list struct {
	entries []*entry
	stale   int
}

func (p *posting) listed(value any) []*entry {
	if l := p.lists[value]; l != nil {
		return l.entries
	}
	return nil
}

func (p *posting) add(value any, e *entry) {
	l := p.lists[value]
	if l == nil {
		l = &list{}
		p.lists[value] = l
	}
	l.entries = append(l.entries, e)
}

// left notes that an entry has a value no more. A list of mostly such entries is
// made anew, lest the lists of a whole fold grow with its events instead of its
// rows. Whoever is reading the old one goes on doing so.
func (p *posting) left(value any, place int) {
	l := p.lists[value]
	if l.stale++; 2*l.stale <= len(l.entries) {
		return
	}
	var kept []*entry
	seen := map[*entry]bool{}
	for _, e := range l.entries {
		if e.posted[place] == value && !seen[e] {
			seen[e] = true
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		delete(p.lists, value)
		return
	}
	p.lists[value] = &list{entries: kept}
}

// get is the entry of a key, fetched if need be.
func (c *cache) get(k key) *entry {
	if e := c.rows[k]; e != nil {
		return e
	}
	if c.fold.whole() {
		return &entry{key: k}
	}
	rows, err := c.fold.loader.byKey(c.t, []key{k})
	if err != nil {
		panic(loadFailed{err})
	}
	c.admit(rows)
	return c.known(k)
}

// known is the entry of a key whose row, if there is one, was admitted.
func (c *cache) known(k key) *entry {
	e := c.rows[k]
	if e == nil {
		e = &entry{key: k}
		c.rows[k] = e
	}
	return e
}

// admit takes in rows as the tables have them now. Rows in memory stay.
func (c *cache) admit(rows []any) {
	for _, row := range rows {
		c.t.settle(row)
		k := c.t.keyOf(row)
		if c.rows[k] != nil {
			continue
		}
		e := &entry{key: k, old: row, now: row}
		c.rows[k] = e
		c.post(e)
		for _, op := range c.fold.ops {
			if op.table == c.t {
				c.operate(op, e)
			}
		}
	}
}

// put stores a row. A row not in memory is taken as not existing, until writing
// has shown once that in this table it may.
func (c *cache) put(row any) {
	c.t.detach(reflect.ValueOf(row).Elem())
	c.t.settle(row)
	k := c.t.keyOf(row)
	if !c.fold.whole() && c.fold.loader.mayMeet(c.t) {
		c.get(k)
	}
	e := c.known(k)
	e.now, e.dirty = row, true
	c.post(e)
}

func (c *cache) delete(e *entry) {
	e.now, e.dirty = nil, true
	c.forget(e)
}

// forget drops a row that is gone from a whole fold. Elsewhere it stays, as
// something to be deleted.
func (c *cache) forget(e *entry) {
	if c.fold.whole() && e.now == nil && c.rows[e.key] == e {
		delete(c.rows, e.key)
		for i := range e.posted {
			c.relist(e, i, nil)
		}
	}
}

// writable is the row for a handler to change.
func (c *cache) writable(e *entry) any {
	if e.now == e.old {
		e.now = c.t.clone(e.old)
	}
	return e.now
}

// changed takes note of what a handler did to the row.
func (c *cache) changed(e *entry) {
	c.t.settle(e.now)
	if c.t.keyOf(e.now) != e.key {
		panic("handler changed the key of a row of " + c.t.name)
	}
	e.dirty = true
	c.post(e)
}

// post lists the entry under its present values.
func (c *cache) post(e *entry) {
	if e.now == nil || len(c.postings) == 0 {
		return
	}
	if e.posted == nil {
		e.posted = make([]any, len(c.postings))
	}
	for i, p := range c.postings {
		c.relist(e, i, c.t.value(e.now, p.c))
	}
}

// relist lists an entry of a posting under the value it has now, nil for none.
// Outside a whole fold it stays listed under the old one, which its row may have
// in the tables.
func (c *cache) relist(e *entry, place int, value any) {
	p, before := c.postings[place], e.posted[place]
	if value == before || value == nil && !c.fold.whole() {
		return
	}
	e.posted[place] = value
	if value != nil {
		p.add(value, e)
	}
	if before != nil && c.fold.whole() {
		p.left(before, place)
	}
}

// operate applies a set operation to one entry where it matches.
func (c *cache) operate(op *setOp, e *entry) {
	shared := e.now == e.old
	if op.matches(e.old) {
		e.old = op.result(e.old)
	}
	switch {
	case shared:
		e.now = e.old
	case op.matches(e.now):
		e.now = op.result(e.now)
	}
	c.forget(e)
	c.post(e)
}

// find lists the entries with a value in a column, ordered by key.
func (c *cache) find(by *column, value any) []*entry {
	i := slices.IndexFunc(c.postings, func(p *posting) bool { return p.c == by })
	if i < 0 {
		panic(fmt.Sprintf("rows of %s are looked up by %s: declare it with LookUpBy", c.t.name, by.name))
	}
	p := c.postings[i]
	if !c.fold.whole() {
		for _, op := range c.fold.ops {
			if op.table == c.t && op.assigns(by) {
				panic(cutHere{}) // rows elsewhere may have come to match
			}
		}
		if !p.loaded[value] {
			rows, err := c.fold.loader.byColumn(c.t, by, value)
			if err != nil {
				panic(loadFailed{err})
			}
			c.admit(rows)
			p.loaded[value] = true
		}
	}
	var found []*entry
	seen := map[*entry]bool{}
	for _, e := range p.listed(value) {
		if !seen[e] && e.now != nil && c.t.value(e.now, by) == value {
			seen[e] = true
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return strings.Compare(a.key.String(), b.key.String()) })
	return found
}

// String is the key for people: its parts with slashes between.
func (k key) String() string {
	var b strings.Builder
	for i, part := range k {
		if part == nil {
			break
		}
		if i > 0 {
			b.WriteByte('/')
		}
		fmt.Fprint(&b, part)
	}
	return b.String()
}

// setOp changes or deletes all rows with a value in a column.
type setOp struct {
	table   *core
	by      *column
	value   any
	columns []*column // assigned columns; none means delete
	from    reflect.Value
}

// assign takes the values to set, and adds the folded columns that follow them.
func (op *setOp) assign(values map[string]any) {
	op.from = reflect.New(op.table.rowType).Elem()
	if len(values) == 0 {
		panic("SetWhere on " + op.table.name + " sets nothing")
	}
	for _, name := range sortedKeys(values) {
		c := op.table.column(name)
		if c.pk || c.fold != nil {
			panic(fmt.Sprintf("SetWhere on %s cannot set %s", op.table.name, name))
		}
		op.from.FieldByIndex(c.field).Set(convert(values[name], c))
		op.columns = append(op.columns, c)
		for _, copied := range op.table.columns {
			if copied.fold == c {
				op.columns = append(op.columns, copied)
			}
		}
	}
	op.table.settle(op.from.Addr().Interface())
}

// convert makes a value fit a column's field; untyped nil is null.
func convert(value any, c *column) reflect.Value {
	if value == nil {
		return reflect.Zero(c.typ)
	}
	v := reflect.ValueOf(value)
	switch {
	case v.Type().AssignableTo(c.typ):
		return v
	case v.Kind() == c.typ.Kind() && v.Type().ConvertibleTo(c.typ):
		return v.Convert(c.typ)
	case c.typ.Kind() == reflect.Pointer && v.Type().AssignableTo(c.typ.Elem()):
		p := reflect.New(c.typ.Elem())
		p.Elem().Set(v)
		return p
	}
	panic(fmt.Sprintf("%s cannot be set to a %T", c.name, value))
}

func (op *setOp) deletes() bool { return op.columns == nil }

func (op *setOp) assigns(c *column) bool { return slices.Contains(op.columns, c) }

func (op *setOp) matches(row any) bool {
	return row != nil && op.table.value(row, op.by) == op.value
}

// result is what the operation makes of a matching row.
func (op *setOp) result(row any) any {
	if op.deletes() {
		return nil
	}
	fresh := op.table.clone(row)
	v := reflect.ValueOf(fresh).Elem()
	for _, c := range op.columns {
		field := v.FieldByIndex(c.field)
		field.Set(op.from.FieldByIndex(c.field))
		c.clone(field)
	}
	return fresh
}
