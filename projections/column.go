package projections

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"docket/internal/textfold"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// FoldText is the form in which text is stored to be searched and sorted; the
// query side folds what it looks for with the same function.
func FoldText(s string) string { return textfold.Fold(s) }

// form is how a column's values travel between Go and Postgres.
type form uint8

const (
	plain form = iota // a scalar, or a pointer to one (nil is null)
	array             // []uuid.UUID or []string; nil is stored as empty
	jsonb             // anything, as JSON; nil is null
)

// column ties a field of a row struct to a column of its table.
type column struct {
	name     string
	field    []int // index path of the struct field
	typ      reflect.Type
	form     form
	sqlType  string // "uuid", "text", "uuid[]", "jsonb" ...
	nullable bool
	pk       bool
	fold     *column // the text column this one is the folded copy of
}

// folded tells whether the column holds folded text: compared byte by byte.
func (c *column) folded() bool { return strings.HasSuffix(c.name, "_f") }

// define is the column's line in create table.
func (c *column) define() string {
	def := c.name + " " + c.sqlType
	if c.sqlType == "text" && (c.folded() || c.pk) {
		def += ` collate "C"`
	}
	if !c.nullable {
		def += " not null"
	}
	return def
}

// transport is the element type in which values of the column are sent as an
// array. Arrays and JSON go as text, since unnest would flatten arrays.
func (c *column) transport() string {
	if c.form == plain {
		return c.sqlType
	}
	return "text"
}

// received is the SQL that turns a sent value into one of the column.
func (c *column) received(expr string) string {
	if c.form == plain {
		return expr
	}
	return expr + "::" + c.sqlType
}

var (
	uuidType  = reflect.TypeFor[uuid.UUID]()
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[json.RawMessage]()
)

// scalarType is the SQL type of a Go scalar, "" when it is none.
func scalarType(t reflect.Type) string {
	switch {
	case t == uuidType:
		return "uuid"
	case t == timeType:
		return "timestamptz"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	case reflect.Int16:
		return "smallint"
	case reflect.Int32:
		return "integer"
	case reflect.Int, reflect.Int64:
		return "bigint"
	case reflect.Float64:
		return "double precision"
	}
	return ""
}

// columnsOf reads the db tags of a row struct. Embedded structs without a tag
// are flattened.
func columnsOf(t reflect.Type, path []int) []*column {
	var columns []*column
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clone(path), i)
		tag, tagged := f.Tag.Lookup("db")
		switch {
		case !tagged && f.Anonymous && f.Type.Kind() == reflect.Struct:
			columns = append(columns, columnsOf(f.Type, index)...)
		case !tagged || !f.IsExported():
			panic(fmt.Sprintf("projections: %s.%s needs a db tag and an exported name", t, f.Name))
		case tag == "-":
		default:
			columns = append(columns, newColumn(t, f, index, tag))
		}
	}
	return columns
}

func newColumn(t reflect.Type, f reflect.StructField, index []int, tag string) *column {
	name, options, _ := strings.Cut(tag, ",")
	c := &column{name: name, field: index, typ: f.Type}
	fail := func(why string) { panic(fmt.Sprintf("projections: %s.%s %s", t, f.Name, why)) }
	if !validName(name) {
		fail("has the bad column name " + name)
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "":
		case "pk":
			c.pk = true
		case "json":
			c.form, c.sqlType, c.nullable = jsonb, "jsonb", nilable(f.Type)
		case "fold":
			if f.Type.Kind() != reflect.String || !c.folded() {
				fail("is tagged fold: it must be a string column whose name ends in _f")
			}
			c.fold = &column{name: strings.TrimSuffix(name, "_f")} // found by newCore
		default:
			fail("has the unknown option " + option)
		}
	}
	if c.form == jsonb {
		return c
	}
	if e := f.Type; e.Kind() == reflect.Slice && (e.Elem() == uuidType || e.Elem().Kind() == reflect.String) {
		c.form, c.sqlType = array, scalarType(e.Elem())+"[]"
		return c
	}
	scalar := f.Type
	if scalar.Kind() == reflect.Pointer {
		scalar, c.nullable = scalar.Elem(), true
	}
	if c.sqlType = scalarType(scalar); c.sqlType == "" {
		fail(fmt.Sprintf("has the type %s: tag it json or use a scalar", f.Type))
	}
	if c.pk && c.nullable {
		fail("is part of the key and may not be a pointer")
	}
	return c
}

func nilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	}
	return false
}

func validName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 50
}

// settle brings a field into the form it has when it comes back from Postgres:
// times in UTC and whole microseconds, text without what Postgres cannot hold.
func (c *column) settle(v reflect.Value) {
	target := v
	if v.Kind() == reflect.Pointer && c.form == plain {
		if v.IsNil() {
			return
		}
		target = v.Elem()
	}
	switch {
	case c.form == array && target.Type().Elem().Kind() == reflect.String:
		for i := range target.Len() {
			setText(target.Index(i), target.Index(i))
		}
	case c.form != plain:
	case target.Type() == timeType:
		t := target.Addr().Interface().(*time.Time)
		if settled := storableTime(*t); settled != *t {
			replace(v, reflect.ValueOf(settled))
		}
	case target.Kind() == reflect.String:
		setText(v, target)
	}
}

// setText writes the storable form of text back where it differs.
func setText(field, text reflect.Value) {
	s := text.String()
	if clean := storableText(s); clean != s {
		replace(field, reflect.ValueOf(clean).Convert(text.Type()))
	}
}

// storableText replaces what a Postgres text cannot hold.
func storableText(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// storableTime is a time as timestamptz keeps it.
func storableTime(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// replace sets a scalar field; a pointer gets a new target, since the old one
// may be shared.
func replace(field, value reflect.Value) {
	if field.Kind() == reflect.Pointer {
		p := reflect.New(value.Type())
		p.Elem().Set(value)
		value = p
	}
	field.Set(value)
}

// clone makes a field independent of what its value shared with others.
func (c *column) clone(v reflect.Value) {
	switch {
	case c.form == plain && v.Kind() == reflect.Pointer && !v.IsNil():
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(v.Elem())
		v.Set(p)
	case c.form == array && !v.IsNil():
		s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(s, v)
		v.Set(s)
	case c.form == jsonb:
		fresh := reflect.New(v.Type())
		if err := json.Unmarshal(c.json(v), fresh.Interface()); err != nil {
			panic(fmt.Sprintf("column %s does not survive JSON: %v", c.name, err))
		}
		v.Set(fresh.Elem())
	}
}

// json is the column's JSON, "null" for nil.
func (c *column) json(v reflect.Value) []byte {
	if v.Type() == bytesType && v.Len() == 0 {
		return []byte("null")
	}
	data, err := json.Marshal(v.Interface())
	if err != nil {
		panic(fmt.Sprintf("column %s cannot become JSON: %v", c.name, err))
	}
	return storableJSON(data)
}

// storableJSON replaces \u0000, which jsonb refuses, in a copy.
func storableJSON(data []byte) []byte {
	nul, backslashes := []byte(`\u0000`), 0
	if !bytes.Contains(data, nul) {
		return data
	}
	data = bytes.Clone(data)
	for i := 0; i < len(data); i++ {
		switch {
		case data[i] != '\\':
			backslashes = 0
		case backslashes%2 == 0 && bytes.HasPrefix(data[i:], nul):
			copy(data[i:], `\ufffd`)
			i += len(nul) - 1
		default:
			backslashes++
		}
	}
	return data
}

// equal compares two settled fields as Postgres would.
func (c *column) equal(a, b reflect.Value) bool {
	if c.form == jsonb {
		return bytes.Equal(c.json(a), c.json(b))
	}
	if c.form == array {
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !a.Index(i).Equal(b.Index(i)) {
				return false
			}
		}
		return true
	}
	if a.Kind() == reflect.Pointer {
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		a, b = a.Elem(), b.Elem()
	}
	switch a.Kind() {
	case reflect.String:
		return a.String() == b.String()
	case reflect.Int16, reflect.Int32, reflect.Int, reflect.Int64:
		return a.Int() == b.Int()
	case reflect.Bool:
		return a.Bool() == b.Bool()
	case reflect.Float64:
		return a.Float() == b.Float()
	}
	if a.Type() == uuidType {
		return *a.Addr().Interface().(*uuid.UUID) == *b.Addr().Interface().(*uuid.UUID)
	}
	return a.Addr().Interface().(*time.Time).Equal(*b.Addr().Interface().(*time.Time))
}

// scalar is a plain value as something comparable: uuid.UUID, string, int64,
// bool, float64, time.Time, or nil for null.
func scalar(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return storableText(v.String())
	case reflect.Int16, reflect.Int32, reflect.Int, reflect.Int64:
		return v.Int()
	case reflect.Bool:
		return v.Bool()
	case reflect.Float64:
		return v.Float()
	}
	if v.Type() == timeType {
		return storableTime(v.Interface().(time.Time))
	}
	return v.Interface()
}

// parameter is a field's value as pgx takes it as an element of an array of
// the column's transport type.
func (c *column) parameter(v reflect.Value) any {
	switch c.form {
	case jsonb:
		if data := c.json(v); string(data) != "null" || !c.nullable {
			return string(data)
		}
		return nil
	case array:
		return arrayLiteral(v)
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.String:
		return v.String()
	case v.Type() == uuidType && v.CanAddr():
		return uuidCell{v.Addr().Interface().(*uuid.UUID)}
	}
	return scalar(v)
}

// uuidCell spares pgx reflection and us an allocation for every id sent.
type uuidCell struct{ id *uuid.UUID }

// UUIDValue implements pgtype.UUIDValuer.
func (c uuidCell) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: *c.id, Valid: true}, nil
}

// arrayLiteral is a []uuid.UUID or []string as Postgres reads arrays.
func arrayLiteral(v reflect.Value) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range v.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		if id, is := v.Index(i).Interface().(uuid.UUID); is {
			b.WriteString(id.String())
			continue
		}
		b.WriteByte('"')
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.Index(i).String()))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// jsonCell scans a jsonb column into a field.
type jsonCell struct{ field reflect.Value }

// Scan implements sql.Scanner.
func (c jsonCell) Scan(src any) error {
	switch data := src.(type) {
	case nil:
		c.field.SetZero()
		return nil
	case string:
		return json.Unmarshal([]byte(data), c.field.Addr().Interface())
	case []byte:
		return json.Unmarshal(data, c.field.Addr().Interface())
	}
	return fmt.Errorf("jsonb arrived as %T", src)
}

// list is an array column's value as COPY takes it.
func (c *column) list(v reflect.Value) any {
	if v.Type().Elem() == uuidType {
		return append([]uuid.UUID{}, v.Interface().([]uuid.UUID)...)
	}
	texts := make([]string, v.Len())
	for i := range texts {
		texts[i] = v.Index(i).String()
	}
	return texts
}

// cells is one column of many rows, sent as one array parameter.
type cells struct {
	c    *column
	rows []any // pointers to row structs
}

func (a cells) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(a.rows)), LowerBound: 1}}
}

func (a cells) Index(i int) any {
	return a.c.parameter(reflect.ValueOf(a.rows[i]).Elem().FieldByIndex(a.c.field))
}

func (a cells) IndexType() any { return nil }

// keyCells is one part of many keys, sent as one array parameter.
type keyCells struct {
	part int
	keys []key
}

func (a keyCells) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(a.keys)), LowerBound: 1}}
}

func (a keyCells) Index(i int) any {
	if id, is := a.keys[i][a.part].(uuid.UUID); is {
		return uuidCell{&id}
	}
	return a.keys[i][a.part]
}

func (a keyCells) IndexType() any { return nil }

// sortedKeys lists a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
