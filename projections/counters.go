package projections

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// countersTable lies beside a group's tables and holds exact row counts.
const countersTable = "counters"

// Counters is the name of the group's table of row counts, schema included. Its
// columns are (table_name text, key text, n bigint), its primary key the first
// two. table_name is without schema. key is ” for all rows of the table, and for
// CountBy("a", "b") it is 'a=<value>&b=<value>' with values as Postgres casts them
// to text and null as nothing. A count of zero has no row.
func (g *Group) Counters() string { return liveSchema(g.name) + "." + countersTable }

const countersSQL = `create table %[1]s.counters (
	table_name text collate "C" not null, key text collate "C" not null, n bigint not null,
	constraint counters_pkey primary key (table_name, key)) with (fillfactor = 50);
`

// counter names one count.
type counter struct{ table, key string }

// count adds n to the counts that a row belongs to.
func (t *core) count(deltas map[counter]int64, row any, n int64) {
	if row == nil {
		return
	}
	deltas[counter{t.name, ""}] += n
	for _, columns := range t.counters {
		var b strings.Builder
		for i, c := range columns {
			if i > 0 {
				b.WriteByte('&')
			}
			b.WriteString(c.name)
			b.WriteByte('=')
			switch v := t.value(row, c).(type) {
			case nil:
			case uuid.UUID:
				b.WriteString(v.String())
			default:
				fmt.Fprint(&b, v)
			}
		}
		deltas[counter{t.name, b.String()}] += n
	}
}

// countedColumns are the columns that decide which counts a row belongs to.
func (t *core) countedColumns() []*column {
	var all []*column
	for _, columns := range t.counters {
		all = append(all, columns...)
	}
	return all
}

// deltaSQL selects (key, n) for the rows of a relation, each counted as n.
func (t *core) deltaSQL(relation string, n int) string {
	parts := []string{fmt.Sprintf("select ''::text as key, %d * count(*) as n from %s", n, relation)}
	for _, columns := range t.counters {
		terms := make([]string, len(columns))
		for i, c := range columns {
			separator := ""
			if i > 0 {
				separator = "&"
			}
			terms[i] = fmt.Sprintf("'%s%s=' || coalesce(%s::text, '')", separator, c.name, c.name)
		}
		parts = append(parts, fmt.Sprintf("select %s, %d * count(*) from %s group by 1", strings.Join(terms, " || "), n, relation))
	}
	return strings.Join(parts, " union all ")
}

// addSQL adds (key, n) pairs of a query to the counts of the table.
func (t *core) addSQL(schema, pairs string) string {
	return fmt.Sprintf(`insert into %s.counters as c (table_name, key, n)
		select '%s', key, sum(n) from (%s) pairs group by key having sum(n) <> 0
		on conflict (table_name, key) do update set n = c.n + excluded.n`, schema, t.name, pairs)
}

// createCounters is the statement that makes the counters table of a schema.
func createCounters(schema string) string { return fmt.Sprintf(countersSQL, schema) }
