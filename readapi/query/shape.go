package query

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Layout is a Shape of any type, as requests carry it.
type Layout interface {
	resource() *Resource
	// columns are the select list, of table t and of j_<join>.
	columns() []string
	// joins are the joins the select list needs.
	joins() []*Join
	append(dst []byte, row RawRow) []byte
}

// Shape is how rows of a resource look in answers, compiled once from a struct
// type. Every leaf field has a json tag, and a col tag that names its column:
//
//	ID      uuid.UUID       `json:"id" col:"id"`             // canonical
//	Short   uuid.UUID       `json:"id" col:"id,short"`       // 24 hexadecimal digits
//	Created time.Time       `json:"createdAt" col:"created_at,seconds"`
//	Rules   json.RawMessage `json:"rules" col:"rules,json"`  // copied through
//	Tags    []string        `json:"tags" col:"tags"`         // text[], uuid[]
//	OrgName string          `json:"organization" col:"organization.name"` // through a Join
//
// A pointer is written as null when the column is NULL, or left out with
// omitempty; a plain field is then written as its zero value. Structs without
// col are objects of their own (embedded ones are flattened); a pointer to a
// struct is null when its first column is NULL. Times are RFC 3339 in UTC.
type Shape[T any] struct {
	r       *Resource
	list    []string
	used    []*Join
	encode  []piece
	decode  []decoder
	columnN map[string]int
	exprs   map[string]string // of virtual columns
}

type appender func(dst, raw []byte) []byte

// piece writes one member of an object, or opens and closes an object.
type piece struct {
	name   []byte // `"name":`
	column int
	append appender
	zero   []byte // written for NULL
	omit   func(raw []byte) bool

	computed Encoder
	inputs   []int

	object  []piece // a nested object
	nilable bool    // null when the first column is NULL
}

type decoder func(row [][]byte, v reflect.Value) error

// RawRow is one row in Postgres' binary format.
type RawRow struct {
	raw    [][]byte
	inputs []int
	// Env is Request.Env.
	Env any
}

// Encoder writes the value of a computed field. The row holds the columns it
// was declared with, numbered from 0.
type Encoder func(dst []byte, row RawRow) []byte

func (r RawRow) at(i int) []byte {
	if r.inputs != nil {
		i = r.inputs[i]
	}
	return r.raw[i]
}

// Null tells whether column i is NULL.
func (r RawRow) Null(i int) bool { return r.at(i) == nil }

// Raw is the binary value of column i; valid only during the call.
func (r RawRow) Raw(i int) []byte { return r.at(i) }

// Text reads column i as text.
func (r RawRow) Text(i int) string { return string(r.at(i)) }

// UUID reads column i as a uuid.
func (r RawRow) UUID(i int) uuid.UUID { return rawUUID(r.at(i)) }

// Bool reads column i as a boolean.
func (r RawRow) Bool(i int) bool { raw := r.at(i); return len(raw) == 1 && raw[0] == 1 }

// Int reads column i as an integer.
func (r RawRow) Int(i int) int64 { return rawInt(r.at(i)) }

// Time reads column i as a time in UTC; NULL is the zero time.
func (r RawRow) Time(i int) time.Time { t, _ := rawTime(r.at(i)); return t }

// JSON reads column i as the text of a json or jsonb value.
func (r RawRow) JSON(i int) []byte { return jsonText(r.at(i)) }

// ShapeOption adds to what the struct's tags say.
type ShapeOption func(*shapeOptions)

type shapeOptions struct {
	computed map[string]computedField
	exprs    map[string]string
	used     map[string]bool
}

type computedField struct {
	encode  Encoder
	columns []string
}

// Computed sets how the field with this json path ("links.self.href") is
// written, from the given columns. The field needs no col tag, and scanning
// leaves it as it is unless it has one.
func Computed(path string, encode Encoder, columns ...string) ShapeOption {
	return func(o *shapeOptions) { o.computed[path] = computedField{encode, columns} }
}

// Virtual declares a column that the table has not: an SQL expression over the
// table's columns as t.column, for example a sub-select that gathers the names
// behind an array of ids as jsonb. It is computed for the rows of the answer
// alone. A col tag names it like any column.
func Virtual(name, sql string) ShapeOption {
	return func(o *shapeOptions) { o.exprs[name] = sql }
}

// Visible stands in the SQL of a Virtual for the condition that an organization
// column is one the caller sees, so that what a row refers to elsewhere shows no
// more than the lists do.
func Visible(column string) string { return visibleMark + column + visibleMark }

// visibleMark can't occur in SQL.
const visibleMark = "\x00"

// NewShape compiles a shape. Options that fit no field are mistakes.
func NewShape[T any](r *Resource, options ...ShapeOption) (*Shape[T], error) {
	s := &Shape[T]{r: r, columnN: map[string]int{}}
	o := shapeOptions{computed: map[string]computedField{}, exprs: map[string]string{}, used: map[string]bool{}}
	for _, option := range options {
		option(&o)
	}
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("query: shape of %s, which is no struct", t)
	}
	s.exprs = o.exprs
	c := shapeCompiler{r: r, o: o, column: s.column}
	pieces, decoders, err := c.structure(t, "", nil)
	if err != nil {
		return nil, fmt.Errorf("query: shape %s: %w", t, err)
	}
	for path := range o.computed {
		if !o.used[path] {
			return nil, fmt.Errorf("query: shape %s: no field %q", t, path)
		}
	}
	s.encode, s.decode = pieces, decoders
	return s, nil
}

// MustShape is NewShape for package variables; it panics on a mistake.
func MustShape[T any](r *Resource, options ...ShapeOption) *Shape[T] {
	s, err := NewShape[T](r, options...)
	if err != nil {
		panic(err)
	}
	return s
}

// Resource is what the shape's rows belong to.
func (s *Shape[T]) Resource() *Resource { return s.r }

func (s *Shape[T]) resource() *Resource { return s.r }
func (s *Shape[T]) columns() []string   { return s.list }
func (s *Shape[T]) joins() []*Join      { return s.used }

func (s *Shape[T]) append(dst []byte, row RawRow) []byte {
	return appendObject(dst, s.encode, row)
}

// scan reads a row into v.
func (s *Shape[T]) scan(raw [][]byte, v *T) error {
	value := reflect.ValueOf(v).Elem()
	for _, d := range s.decode {
		if err := d(raw, value); err != nil {
			return err
		}
	}
	return nil
}

// column gives the number of a column in the select list; "name" or
// "join.name".
func (s *Shape[T]) column(name string) (int, error) {
	if n, ok := s.columnN[name]; ok {
		return n, nil
	}
	if sql, virtual := s.exprs[name]; virtual {
		s.columnN[name] = len(s.list)
		s.list = append(s.list, "("+sql+")")
		return len(s.list) - 1, nil
	}
	alias, column := "t", name
	if join, joined, ok := strings.Cut(name, "."); ok {
		j := s.r.joins[join]
		if j == nil {
			return 0, fmt.Errorf("column %q: unknown join", name)
		}
		s.use(j)
		alias, column = "j_"+join, joined
	}
	if !identifier.MatchString(column) {
		return 0, fmt.Errorf("bad column name %q", name)
	}
	n := len(s.list)
	s.list = append(s.list, alias+"."+column)
	s.columnN[name] = n
	return n, nil
}

func (s *Shape[T]) use(j *Join) {
	for _, u := range s.used {
		if u == j {
			return
		}
	}
	s.used = append(s.used, j)
}

func appendObject(dst []byte, pieces []piece, row RawRow) []byte {
	dst = append(dst, '{')
	empty := true
	for i := range pieces {
		p := &pieces[i]
		var raw []byte
		if p.append != nil || p.nilable {
			raw = row.raw[p.column]
		}
		if p.omit != nil && p.omit(raw) {
			continue
		}
		if !empty {
			dst = append(dst, ',')
		}
		empty = false
		dst = append(dst, p.name...)
		switch {
		case p.computed != nil:
			dst = p.computed(dst, RawRow{raw: row.raw, inputs: p.inputs, Env: row.Env})
		case p.object != nil && p.nilable && raw == nil:
			dst = append(dst, "null"...)
		case p.object != nil:
			dst = appendObject(dst, p.object, row)
		case raw == nil:
			dst = append(dst, p.zero...)
		default:
			dst = p.append(dst, raw)
		}
	}
	return append(dst, '}')
}

// shapeCompiler turns a struct type into pieces and decoders.
type shapeCompiler struct {
	r      *Resource
	o      shapeOptions
	column func(name string) (int, error)
}

func (c *shapeCompiler) structure(t reflect.Type, path string, index []int) (pieces []piece, decoders []decoder, err error) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(append([]int(nil), index...), i)
		ps, ds, err := c.field(f, path, at)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		pieces = append(pieces, ps...)
		decoders = append(decoders, ds...)
	}
	return pieces, decoders, nil
}

func (c *shapeCompiler) field(f reflect.StructField, path string, at []int) ([]piece, []decoder, error) {
	name, jsonOptions, _ := strings.Cut(f.Tag.Get("json"), ",")
	col, hasCol := f.Tag.Lookup("col")
	if f.Anonymous && name == "" && !hasCol && f.Type.Kind() == reflect.Struct {
		return c.structure(f.Type, path, at)
	}
	if !f.IsExported() || (name == "-" && !hasCol) {
		return nil, nil, nil
	}
	if name == "" {
		name = f.Name
	}
	full := strings.TrimPrefix(path+"."+name, ".")
	key, err := json.Marshal(name)
	if err != nil {
		return nil, nil, err
	}
	p := piece{name: append(key, ':')}
	omitempty := strings.Contains(","+jsonOptions+",", ",omitempty,")

	computed, isComputed := c.o.computed[full]
	if isComputed {
		c.o.used[full] = true
		if p.inputs, err = c.inputs(computed.columns); err != nil {
			return nil, nil, err
		}
		p.computed = computed.encode
		if !hasCol {
			return []piece{p}, nil, nil
		}
	}
	if !hasCol {
		return c.object(f, p, full, at, omitempty)
	}
	d, err := c.leaf(f.Type, col, &p, at, omitempty)
	if err != nil {
		return nil, nil, err
	}
	if isComputed {
		p.append, p.omit = nil, nil
	}
	if name == "-" {
		return nil, []decoder{d}, nil
	}
	return []piece{p}, []decoder{d}, nil
}

func (c *shapeCompiler) inputs(columns []string) ([]int, error) {
	inputs := make([]int, len(columns))
	for i, name := range columns {
		var err error
		if inputs[i], err = c.column(name); err != nil {
			return nil, err
		}
	}
	return inputs, nil
}

// object compiles a nested struct.
func (c *shapeCompiler) object(f reflect.StructField, p piece, path string, at []int, omitempty bool) ([]piece, []decoder, error) {
	t := f.Type
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return nil, nil, fmt.Errorf("has neither a col tag nor an encoder")
	}
	index := at
	if pointer {
		index = nil
	}
	pieces, decoders, err := c.structure(t, path, index)
	if err != nil {
		return nil, nil, err
	}
	p.object = pieces
	if !pointer {
		return []piece{p}, decoders, nil
	}
	first, ok := firstColumn(pieces)
	if !ok {
		return nil, nil, fmt.Errorf("a pointer to a struct needs a column that tells whether it is there")
	}
	p.column, p.nilable = first, true
	if omitempty {
		p.omit = func(raw []byte) bool { return raw == nil }
	}
	d := func(row [][]byte, v reflect.Value) error {
		if row[first] == nil {
			return nil
		}
		inner := reflect.New(t)
		for _, d := range decoders {
			if err := d(row, inner.Elem()); err != nil {
				return err
			}
		}
		v.FieldByIndex(at).Set(inner)
		return nil
	}
	return []piece{p}, []decoder{d}, nil
}

func firstColumn(pieces []piece) (int, bool) {
	for _, p := range pieces {
		switch {
		case p.append != nil:
			return p.column, true
		case p.object != nil:
			return firstColumn(p.object)
		}
	}
	return 0, false
}
