package projections

import (
	"fmt"
	"slices"
	"strings"
)

// liveSchema holds the tables that queries read.
func liveSchema(group string) string { return "rm_" + group }

// statements are the texts for one table in one schema.
type statements struct {
	selectByKey string            // $n: keys, part by part
	selectBy    map[string]string // by column name; $1: value
	deleteByKey string            // $n: keys, part by part
	insert      string            // $n: rows, column by column; an existing key fails
	upsert      string            // $n: rows, column by column
}

func newStatements(t *core, schema string) *statements {
	name := schema + "." + t.name
	s := &statements{selectBy: map[string]string{}}
	if len(t.pk) == 1 {
		by := fmt.Sprintf("%s = any($1::%s[])", t.pk[0].name, t.pk[0].sqlType)
		s.selectByKey = fmt.Sprintf("select %s from %s t where %s", columnNames(t.columns, "t."), name, by)
		s.deleteByKey = fmt.Sprintf("delete from %s where %s", name, by)
	} else {
		keys := fmt.Sprintf("unnest(%s) as k(%s)", arrays(t.pk), columnNames(t.pk, ""))
		s.selectByKey = fmt.Sprintf("select %s from %s join %s t using (%s)", columnNames(t.columns, "t."), keys, name, columnNames(t.pk, ""))
		s.deleteByKey = fmt.Sprintf("delete from %s t using %s where (%s) = (%s)", name, keys, columnNames(t.pk, "t."), columnNames(t.pk, "k."))
	}
	for _, c := range t.where {
		s.selectBy[c.name] = fmt.Sprintf("select %s from %s t where %s = $1::%s", columnNames(t.columns, "t."), name, c.name, c.sqlType)
	}
	received := make([]string, len(t.columns))
	var updates []string
	for i, c := range t.columns {
		received[i] = c.received("r." + c.name)
		if !c.pk {
			updates = append(updates, c.name+" = excluded."+c.name)
		}
	}
	names := columnNames(t.columns, "")
	s.insert = fmt.Sprintf("insert into %s (%s) select %s from unnest(%s) as r(%s)", name, names, strings.Join(received, ", "), arrays(t.columns), names)
	action := "nothing"
	if len(updates) > 0 {
		action = "update set " + strings.Join(updates, ", ")
	}
	s.upsert = fmt.Sprintf("%s on conflict (%s) do %s", s.insert, columnNames(t.pk, ""), action)
	return s
}

// arrays are the parameters for columns sent as arrays.
func arrays(columns []*column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = fmt.Sprintf("$%d::%s[]", i+1, c.transport())
	}
	return strings.Join(parts, ", ")
}

// sql is the operation as a statement that keeps the counts right, with its
// arguments.
func (op *setOp) sql(schema string) (string, []any) {
	t := op.table
	name := schema + "." + t.name
	match := fmt.Sprintf("%s = $1::%s", op.by.name, op.by.sqlType)
	args := []any{op.value}
	// The key makes returning lists non-empty and rows distinct.
	counted := columnNames(append(slices.Clone(t.pk), without(t.countedColumns(), t.pk)...), "")
	if op.deletes() {
		return fmt.Sprintf("with gone as (delete from %s where %s returning %s) %s",
			name, match, counted, t.addSQL(schema, t.deltaSQL("gone", -1))), args
	}
	var sets, columns, values []string
	moves := false // rows from one count to another
	for i, c := range op.columns {
		value := c.received(fmt.Sprintf("$%d::%s", i+2, c.transport()))
		sets = append(sets, c.name+" = "+value)
		columns, values = append(columns, c.name), append(values, value)
		args = append(args, c.parameter(op.from.FieldByIndex(c.field)))
		moves = moves || slices.Contains(t.countedColumns(), c)
	}
	match += fmt.Sprintf(" and row(%s) is distinct from row(%s)", strings.Join(columns, ", "), strings.Join(values, ", "))
	update := fmt.Sprintf("update %s set %s where %s", name, strings.Join(sets, ", "), match)
	if !moves {
		return update, args
	}
	return fmt.Sprintf("with gone as materialized (select %[1]s from %[2]s where %[3]s), come as (%[4]s returning %[1]s) %[5]s",
		counted, name, match, update,
		t.addSQL(schema, t.deltaSQL("gone", -1)+" union all "+t.deltaSQL("come", 1))), args
}

// without lists the distinct columns of a that are not in b.
func without(a, b []*column) []*column {
	var rest []*column
	for _, c := range a {
		if !slices.Contains(b, c) && !slices.Contains(rest, c) {
			rest = append(rest, c)
		}
	}
	return rest
}
