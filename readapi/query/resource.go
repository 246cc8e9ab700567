package query

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"docket/domain/fault"
)

// Kind is the type of a field's values.
type Kind uint8

// The kinds and the Go type of their values.
const (
	Text Kind = iota // string
	UUID             // uuid.UUID
	Bool             // bool
	Int              // int64
	Time             // time.Time
)

var kindNames = [...]string{"text", "uuid", "boolean", "integer", "time"}

func (k Kind) String() string { return kindNames[k] }

// Resource is the allow-list of one list of rows: what may be asked of which
// table. Define checks it once; afterwards it is read-only and shared.
//
// Text columns that are filtered or sorted have collation "C" and are NOT NULL
// unless their field says Nullable.
type Resource struct {
	Name  string // singular, for messages: "task"
	Table string // with schema: "rm_reporting.tasks"
	Key   string // primary key column of type uuid; "id" when empty

	Fields []Field
	Joins  []Join

	// Who sees a row: exactly one of the three.
	ScopeColumn string      // the column that holds the row's organization
	ScopeVia    *Membership // a table of (row, organization) pairs
	Unscoped    bool        // rows belong to no organization

	DefaultSort Sort // by the key when empty

	// Indexes that give an order after equality on their leading columns:
	// "organization_id,name_f". The key at the end is not written. Indexes on
	// one sort column need not be listed.
	Indexes []string

	// Counters are the counts the projection keeps, by the columns they are kept
	// for: "" for all rows, "organization_id", "organization_id,status". Their
	// keys are "" and "organization_id=<value>&status=<value>", with values as
	// Postgres writes them; a count without a row is zero.
	Counters []string

	byName map[string]*Field
	joins  map[string]*Join
}

// Field is something a client may filter or sort by.
type Field struct {
	Name    string   // as the dialect writes it; matched without case
	Aliases []string // other spellings

	Column string // in the table, or in the joined table when Join is set
	Folded string // the folded copy of a Text column; needed unless Exact
	Exact  bool   // text is compared as it is, case included
	Kind   Kind

	Ops      Op   // operators allowed in filters
	Sortable bool // allowed in sorts
	Nullable bool // the column may be NULL; NULLs sort last, first when descending
	Reversed bool // an index on reverse(folded column) exists, for Ends
	Inverted bool // the column's order is the opposite of what clients see
	Seconds  bool // clients see times as whole seconds, and compare so
	Hidden   bool // for the server's own filters: grammars do not see it

	Join string // name of a Join: Column and Folded live there
	Sub  *Sub   // the values live in a table of many per row

	// Parse replaces the usual reading of a value from text, for example of
	// identifiers in another notation. An error means that no row can match.
	Parse func(text string) (any, error)
	// Rewrite replaces a comparison of this field by one of others: computed
	// fields (expired), enumerations kept as booleans. Kind is then what
	// clients write, and the field needs no column; sorts use SortBy.
	Rewrite func(c Compare) (Expr, error)
	// SortBy names another field whose column gives the order.
	SortBy string
}

// Join is a small table (organizations, projects) reached by a foreign key.
// Sorting by it reads the joined table in order and the rows of each by an
// index on (FK, Key), so it should hold hundreds or a few thousand rows.
type Join struct {
	Name  string // used by Field.Join and in column tags: "organization"
	Table string
	FK    string // column of the resource's table
	Key   string // "id" when empty
	// Required promises that every row has its joined row. Without it rows
	// that have none are searched for, and sorted last.
	Required bool
}

// Sub is a table that holds several values per row: group members, assigned
// roles. A comparison holds when it does for one of them.
type Sub struct {
	Table  string // "rm_directory.group_roles"
	Row    string // its column that refers to the resource's key: "group_id"
	Column string // its column with the value: "role_id"; used with Via as foreign key
	Via    *Via   // look further, in the table Column points to
}

// Via is the table behind a Sub. Field.Column and Field.Folded live there.
type Via struct {
	Table string // "rm_directory.roles"
	Key   string // "id" when empty
}

// Membership is a table of (row, organization) pairs.
type Membership struct {
	Table        string // "rm_directory.user_organizations"
	Row          string // "user_id"
	Organization string // "organization_id"
}

// Sort is the order of a list. The zero Sort is the resource's default. Every
// order ends in the key, in the same direction.
type Sort struct {
	Field string
	Desc  bool
}

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)
var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`)

// Define checks a resource and prepares it for use.
func Define(r Resource) (*Resource, error) {
	if r.Key == "" {
		r.Key = "id"
	}
	d := definition{r: &r}
	d.table(r.Table)
	d.column(r.Key)
	d.scope()
	d.defineJoins()
	d.defineFields()
	for _, list := range append(append([]string(nil), r.Indexes...), r.Counters...) {
		for _, c := range splitColumns(list) {
			d.column(c)
		}
	}
	if f := r.DefaultSort.Field; f != "" {
		field, ok := r.Field(f)
		d.check(ok && field.Sortable, "default sort %q is not sortable", f)
	}
	if d.err != nil {
		return nil, fmt.Errorf("query: resource %s: %w", r.Name, d.err)
	}
	return &r, nil
}

// MustDefine is Define for package variables; it panics on a mistake.
func MustDefine(r Resource) *Resource {
	defined, err := Define(r)
	if err != nil {
		panic(err)
	}
	return defined
}

// Field finds a field by name or alias, without case, hidden ones included.
func (r *Resource) Field(name string) (*Field, bool) {
	f, ok := r.byName[strings.ToLower(name)]
	return f, ok
}

// definition collects the first mistake of a Resource.
type definition struct {
	r   *Resource
	err error
}

func (d *definition) check(ok bool, format string, args ...any) {
	if !ok && d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *definition) table(name string) {
	d.check(tableName.MatchString(name), "bad table name %q", name)
}

func (d *definition) column(name string) {
	d.check(identifier.MatchString(name), "bad column name %q", name)
}

func (d *definition) scope() {
	ways := 0
	if d.r.ScopeColumn != "" {
		ways++
		d.column(d.r.ScopeColumn)
	}
	if via := d.r.ScopeVia; via != nil {
		ways++
		d.table(via.Table)
		d.column(via.Row)
		d.column(via.Organization)
	}
	if d.r.Unscoped {
		ways++
	}
	d.check(ways == 1, "wants exactly one of ScopeColumn, ScopeVia and Unscoped")
}

func (d *definition) defineJoins() {
	d.r.joins = map[string]*Join{}
	joins := append([]Join(nil), d.r.Joins...)
	for i := range joins {
		j := &joins[i]
		if j.Key == "" {
			j.Key = "id"
		}
		d.column(j.Name)
		d.table(j.Table)
		d.column(j.FK)
		d.column(j.Key)
		d.check(d.r.joins[j.Name] == nil, "join %q is defined twice", j.Name)
		d.r.joins[j.Name] = j
	}
	d.r.Joins = joins
}

func (d *definition) defineFields() {
	d.r.byName = map[string]*Field{}
	fields := append([]Field(nil), d.r.Fields...)
	for i := range fields {
		f := &fields[i]
		d.field(f)
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			name = strings.ToLower(name)
			d.check(d.r.byName[name] == nil, "field %q is defined twice", name)
			d.r.byName[name] = f
		}
	}
	d.r.Fields = fields
	for i := range fields {
		if by := fields[i].SortBy; by != "" {
			other, ok := d.r.byName[strings.ToLower(by)]
			d.check(ok && other.SortBy == "" && other.Rewrite == nil, "field %s: cannot sort by %q", fields[i].Name, by)
		}
	}
}

func (d *definition) field(f *Field) {
	d.check(f.Name != "", "a field has no name")
	if f.Rewrite != nil {
		d.check(!f.Sortable || f.SortBy != "", "field %s: a rewritten field is sorted by another (SortBy)", f.Name)
		return
	}
	if f.Sub != nil {
		d.check(!f.Sortable && f.Join == "", "field %s: a field of many values has no order and no join", f.Name)
		d.table(f.Sub.Table)
		d.column(f.Sub.Row)
		d.column(f.Sub.Column)
		if via := f.Sub.Via; via != nil {
			d.table(via.Table)
			if via.Key == "" {
				f.Sub = &Sub{Table: f.Sub.Table, Row: f.Sub.Row, Column: f.Sub.Column, Via: &Via{Table: via.Table, Key: "id"}}
			}
		} else if f.Column == "" {
			f.Column = f.Sub.Column
		}
	}
	d.column(f.Column)
	if f.Join != "" {
		d.check(d.r.joins[f.Join] != nil, "field %s: unknown join %q", f.Name, f.Join)
	}
	if f.Kind == Text && !f.Exact {
		d.check(f.Folded != "", "field %s: text needs a folded column or Exact", f.Name)
		d.column(f.Folded)
	}
	d.check(f.Kind == Text || f.Ops&Substring == 0, "field %s: %s only for text", f.Name, f.Ops&Substring)
	d.check(!f.Nullable || f.Join == "" || !f.Sortable, "field %s: joined sort columns must not be nullable", f.Name)
}

// splitColumns reads a list of columns, "a, b".
func splitColumns(list string) []string {
	if list == "" {
		return nil
	}
	columns := strings.Split(list, ",")
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	return columns
}

// column is the column comparisons and orders use.
func (f *Field) column() string {
	if f.Kind == Text && !f.Exact {
		return f.Folded
	}
	return f.Column
}

// ParseText reads a value of the field from text. The error is written for
// clients.
func (f *Field) ParseText(text string) (any, error) {
	if f.Parse != nil {
		return f.Parse(text)
	}
	switch f.Kind {
	case UUID:
		id, err := uuid.Parse(text)
		if err != nil || len(text) != 36 {
			return nil, fmt.Errorf("%q is not a uuid", clip(text))
		}
		return id, nil
	case Bool:
		switch strings.ToLower(text) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", clip(text))
	case Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not an integer", clip(text))
		}
		return n, nil
	case Time:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fmt.Errorf("%q is not an RFC 3339 time", clip(text))
		}
		return t, nil
	}
	return text, nil
}

func clip(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return text
}

// CheckSort refuses an order the resource does not offer; the fault names the
// parameter.
func (r *Resource) CheckSort(s Sort, parameter string) error {
	if s.Field == "" {
		return nil
	}
	if f, ok := r.Field(s.Field); !ok || f.Hidden || !f.Sortable {
		return fault.InvalidQuery(parameter, "cannot sort by %q", clip(s.Field))
	}
	return nil
}
