package projections

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is a read model: a Postgres table with one row per R. R's fields carry
// tags `db:"column[,pk][,fold][,json]"`:
//
//	pk    part of the primary key, in the order of the fields
//	fold  the folded copy of the column whose name lacks the _f; the engine fills it
//	json  stored as jsonb
//
// Types: uuid.UUID, string, bool, int16/32/64, int, float64, time.Time and
// pointers to them (null); []uuid.UUID and []string (arrays). Columns whose name
// ends in _f compare byte by byte (collate "C").
type Table[R any] struct{ *core }

// core is a table without its Go type.
type core struct {
	name     string
	group    *Group // set by NewGroup
	place    int    // among the group's tables
	rowType  reflect.Type
	columns  []*column
	byName   map[string]*column
	pk       []*column
	indexes  []index
	counters [][]*column // CountBy column lists, beside the total
	where    []*column   // columns by which rows are looked up in memory
}

// index is a secondary index, or a unique constraint.
type index struct {
	kind    string // "btree", "trigram", "reverse", "unique"
	columns []string
	cond    string
}

// TableOption adds an index or a counter to a table.
type TableOption func(*core)

// Index is a btree over columns, in order.
func Index(columns ...string) TableOption {
	return func(t *core) { t.addIndex(index{kind: "btree", columns: columns}) }
}

// IndexWhere is a btree over the rows that meet an SQL condition.
func IndexWhere(cond string, columns ...string) TableOption {
	return func(t *core) { t.addIndex(index{kind: "btree", columns: columns, cond: cond}) }
}

// Trigram is a GIN index that serves `like '%x%'` on each of the columns.
func Trigram(columns ...string) TableOption {
	return func(t *core) { t.addIndex(index{kind: "trigram", columns: columns}) }
}

// Reverse is a btree over reverse(column); it serves `reverse(column) like 'x%'`.
func Reverse(column string) TableOption {
	return func(t *core) { t.addIndex(index{kind: "reverse", columns: []string{column}}) }
}

// Unique refuses two rows with the same values, checked at commit. A violation
// stops the group, so use it only where the log itself guarantees it.
func Unique(columns ...string) TableOption {
	return func(t *core) { t.addIndex(index{kind: "unique", columns: columns}) }
}

// CountBy keeps an exact number of rows per value of the columns, beside the
// total that every table has. See package documentation for how it is read.
// At most one of the columns may be text and none of them nullable text.
func CountBy(columns ...string) TableOption {
	return func(t *core) {
		texts := 0
		list := make([]*column, len(columns))
		for i, name := range columns {
			c := t.column(name)
			if c.form != plain || c.sqlType == "timestamptz" || c.sqlType == "double precision" {
				t.fail("CountBy(%s): want uuid, text, boolean or integer", name)
			}
			if c.sqlType == "text" {
				if texts++; c.nullable || texts > 1 {
					t.fail("CountBy(%s): at most one text column, not nullable", strings.Join(columns, ", "))
				}
			}
			list[i] = c
		}
		t.counters = append(t.counters, list)
	}
}

// NewTable declares a table. It panics on a mistake in the declaration.
func NewTable[R any](name string, options ...TableOption) *Table[R] {
	t := &core{name: name, rowType: reflect.TypeFor[R](), byName: map[string]*column{}}
	if !validName(name) || name == countersTable {
		t.fail("bad table name")
	}
	if t.rowType.Kind() != reflect.Struct {
		t.fail("%s is no struct", t.rowType)
	}
	t.columns = columnsOf(t.rowType, nil)
	for _, c := range t.columns {
		if t.byName[c.name] != nil {
			t.fail("column %s twice", c.name)
		}
		t.byName[c.name] = c
		if c.pk {
			t.pk = append(t.pk, c)
		}
	}
	for _, c := range t.columns {
		if c.fold == nil {
			continue
		}
		source := t.byName[c.fold.name]
		if source == nil || source.form != plain || source.sqlType != "text" {
			t.fail("column %s folds %s, which is no text column", c.name, c.fold.name)
		}
		c.fold = source
	}
	if len(t.pk) == 0 || len(t.pk) > len(key{}) {
		t.fail("want 1 to %d columns tagged pk", len(key{}))
	}
	for _, option := range options {
		option(t)
	}
	return &Table[R]{t}
}

// Name is the table's name as queries use it: schema and table. It panics for a
// table that is in no group.
func (t *core) Name() string {
	if t.group == nil {
		t.fail("is in no group")
	}
	return liveSchema(t.group.name) + "." + t.name
}

func (t *core) fail(format string, args ...any) {
	panic(fmt.Sprintf("projections: table %s: %s", t.name, fmt.Sprintf(format, args...)))
}

func (t *core) column(name string) *column {
	c := t.byName[name]
	if c == nil {
		t.fail("no column %q", name)
	}
	return c
}

func (t *core) addIndex(i index) {
	if len(i.columns) == 0 {
		t.fail("index without columns")
	}
	for _, name := range i.columns {
		c := t.column(name)
		if (i.kind == "trigram" || i.kind == "reverse") && c.sqlType != "text" {
			t.fail("%s index on %s, which is no text", i.kind, name)
		}
	}
	t.indexes = append(t.indexes, i)
}

// lookUpBy prepares the table for finding rows by a column, in memory and by an
// index.
func (t *core) lookUpBy(name string) *column {
	c := t.column(name)
	if c.form != plain {
		t.fail("rows cannot be looked up by %s", name)
	}
	if slices.Contains(t.where, c) {
		return c
	}
	t.where = append(t.where, c)
	indexed := t.pk[0] == c || slices.ContainsFunc(t.indexes, func(i index) bool {
		return i.columns[0] == name && i.cond == "" && (i.kind == "btree" || i.kind == "unique")
	})
	if !indexed {
		t.indexes = append(t.indexes, index{kind: "btree", columns: []string{name}})
	}
	return c
}

// columnNames joins column names for SQL, each behind a prefix.
func columnNames(columns []*column, prefix string) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = prefix + c.name
	}
	return strings.Join(names, ", ")
}

// tableSQL creates the table in a schema, without key and indexes.
func (t *core) tableSQL(schema string) string {
	lines := make([]string, len(t.columns))
	for i, c := range t.columns {
		lines[i] = c.define()
	}
	sql := fmt.Sprintf("create table %s.%s (%s) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);\n",
		schema, t.name, strings.Join(lines, ", "))
	for _, c := range t.columns {
		if c.folded() {
			sql += fmt.Sprintf("alter table %s.%s alter column %s set statistics 1000;\n", schema, t.name, c.name)
		}
	}
	return sql
}

// keySQL adds the primary key.
func (t *core) keySQL(schema string) string {
	return fmt.Sprintf("alter table %s.%s add constraint %s primary key (%s);\n", schema, t.name, t.keyName(), columnNames(t.pk, ""))
}

func (t *core) keyName() string { return t.name + "_pkey" }

// indexSQL adds what reading needs.
func (t *core) indexSQL(schema string) string {
	var sql strings.Builder
	for _, i := range t.indexes {
		name, columns := i.sqlName(t.name), strings.Join(i.columns, ", ")
		switch i.kind {
		case "unique":
			// Deferred: rows are written in no particular order within a batch.
			fmt.Fprintf(&sql, "alter table %s.%s add constraint %s unique (%s) deferrable initially deferred;\n", schema, t.name, name, columns)
			continue
		case "trigram":
			columns = "using gin (" + strings.Join(i.columns, " gin_trgm_ops, ") + " gin_trgm_ops)"
		case "reverse":
			columns = "(reverse(" + columns + "))"
		default:
			columns = "(" + columns + ")"
		}
		if i.cond != "" {
			columns += " where " + i.cond
		}
		fmt.Fprintf(&sql, "create index %s on %s.%s %s;\n", name, schema, t.name, columns)
	}
	return sql.String()
}

// sqlName is stable, unique within the schema and short enough for Postgres.
func (i index) sqlName(table string) string {
	full := strings.Join(append([]string{table, i.kind}, i.columns...), "_")
	if i.cond == "" && len(full) <= 60 {
		return full
	}
	sum := sha256.Sum256([]byte(full + " " + i.cond))
	return full[:min(len(full), 50)] + "_" + hex.EncodeToString(sum[:4])
}

// settle brings a row into the form it has when it comes back from Postgres and
// fills the folded columns.
func (t *core) settle(row any) {
	v := reflect.ValueOf(row).Elem()
	for _, c := range t.columns {
		c.settle(v.FieldByIndex(c.field))
	}
	for _, c := range t.columns {
		if c.fold == nil {
			continue
		}
		source, _ := scalar(v.FieldByIndex(c.fold.field)).(string)
		v.FieldByIndex(c.field).SetString(clip(FoldText(source)))
	}
}

// clone copies a row so that neither sees changes of the other.
func (t *core) clone(row any) any {
	if row == nil {
		return nil
	}
	fresh := reflect.New(t.rowType)
	fresh.Elem().Set(reflect.ValueOf(row).Elem())
	t.detach(fresh.Elem())
	return fresh.Interface()
}

func (t *core) detach(row reflect.Value) {
	for _, c := range t.columns {
		c.clone(row.FieldByIndex(c.field))
	}
}

func (t *core) equal(a, b any) bool {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for _, c := range t.columns {
		if !c.equal(va.FieldByIndex(c.field), vb.FieldByIndex(c.field)) {
			return false
		}
	}
	return true
}

// targets are the places of a new row for scanning all columns.
func (t *core) targets(row reflect.Value) []any {
	targets := make([]any, len(t.columns))
	for i, c := range t.columns {
		field := row.FieldByIndex(c.field)
		if targets[i] = field.Addr().Interface(); c.form == jsonb {
			targets[i] = jsonCell{field}
		}
	}
	return targets
}

// value is a row's plain column as something comparable.
func (t *core) value(row any, c *column) any {
	return scalar(reflect.ValueOf(row).Elem().FieldByIndex(c.field))
}

// key is the primary key in comparable form; unused parts are nil.
type key [4]any

func (t *core) keyOf(row any) key {
	var k key
	for i, c := range t.pk {
		k[i] = t.value(row, c)
	}
	return k
}

// keyFrom takes a key as authors write it: the value for a single column, an
// array or a struct with the parts in order for several.
func (t *core) keyFrom(k any) key {
	v := reflect.ValueOf(k)
	if len(t.pk) == 1 {
		return key{scalar(v)}
	}
	var out key
	for i := range t.pk {
		if v.Kind() == reflect.Struct {
			out[i] = scalar(v.Field(i))
		} else {
			out[i] = scalar(v.Index(i))
		}
	}
	return out
}

// checkKeyType panics unless K can be a key of the table.
func (t *core) checkKeyType(k reflect.Type) {
	parts := []reflect.Type{k}
	switch {
	case len(t.pk) == 1:
	case k.Kind() == reflect.Array && k != uuidType:
		parts = slices.Repeat([]reflect.Type{k.Elem()}, k.Len())
	case k.Kind() == reflect.Struct:
		parts = nil
		for i := range k.NumField() {
			parts = append(parts, k.Field(i).Type)
		}
	}
	if len(parts) != len(t.pk) {
		t.fail("%s is no key: want %d parts (%s)", k, len(t.pk), columnNames(t.pk, ""))
	}
	for i, p := range parts {
		if scalarType(p) != t.pk[i].sqlType {
			t.fail("%s is no key: %s is %s", k, t.pk[i].name, t.pk[i].sqlType)
		}
	}
}

// maxFolded is the most bytes a btree holds of one value, with room for the id
// beside it. Folding can lengthen a text, so no limit on the text itself can
// promise that.
const maxFolded = 2600

// clip cuts a folded text to what an index holds, between two characters.
func clip(s string) string {
	if len(s) <= maxFolded {
		return s
	}
	end := maxFolded
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
