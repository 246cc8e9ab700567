package query

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// versions joins the versions of all tables a resource reads. It is not ok
// when one is unknown; then nothing about its rows may be remembered.
func (rd *Reader) versions(r *Resource) (string, bool) {
	if rd.options.Version == nil {
		return "", false
	}
	tables := []string{r.Table}
	for _, j := range r.Joins {
		tables = append(tables, j.Table)
	}
	for i := range r.Fields {
		if sub := r.Fields[i].Sub; sub != nil {
			tables = append(tables, sub.Table)
			if sub.Via != nil {
				tables = append(tables, sub.Via.Table)
			}
		}
	}
	if r.ScopeVia != nil {
		tables = append(tables, r.ScopeVia.Table)
	}
	var b strings.Builder
	for _, t := range tables {
		v, ok := rd.options.Version(t)
		if !ok {
			return "", false
		}
		b.WriteString(strconv.FormatUint(v, 36))
		b.WriteByte('.')
	}
	return b.String(), true
}

// totalKey is the cache key of a total; "" when totals cannot be kept. It must
// be taken before the rows are counted.
func (rd *Reader) totalKey(q *plan) string {
	version, ok := rd.versions(q.r)
	if !ok {
		return ""
	}
	return digest(version, q.r.Table, q.scopeText(), canonical(q.filter))
}

// knownTotal finds the total without counting: in the cache or from counters.
func (rd *Reader) knownTotal(ctx context.Context, q *plan, key string) (int64, bool, error) {
	if q.nothing() {
		return 0, true, nil
	}
	if key != "" {
		if n, ok := rd.totals.get(key); ok {
			return n, true, nil
		}
	}
	keys, ok := q.counterKeys()
	if !ok {
		return 0, false, nil
	}
	n, ok, err := rd.options.Counter(ctx, rd.pool, q.r.Table, keys)
	return n, ok, storageFault(err)
}

// ReadCounters is the usual Options.Counter: it sums rows of the table
// counters(table_name, key, n) in the schema of the table.
func ReadCounters(ctx context.Context, db Querier, table string, keys []string) (int64, bool, error) {
	schema, name, ok := strings.Cut(table, ".")
	if !ok || !tableName.MatchString(table) {
		return 0, false, nil
	}
	var n int64
	err := db.QueryRow(ctx, "select coalesce(sum(n), 0)::bigint from "+schema+".counters where table_name = $1 and key = any($2)", name, keys).Scan(&n)
	return n, err == nil, err
}

// maxCounters is how many counters are summed rather than rows counted.
const maxCounters = 2000

// counterKeys are the keys of the counters that add up to the total. It is
// not ok when the rows are selected by more than columns that are counted.
func (q *plan) counterKeys() ([]string, bool) {
	values, ok := q.selectedValues()
	if !ok {
		return nil, false
	}
	for _, counter := range q.r.Counters {
		if keys, ok := keysOf(splitColumns(counter), values); ok {
			return keys, true
		}
	}
	return nil, false
}

// keysOf writes a counter's keys, "a=<value>&b=<value>", for all combinations
// of the values. It is not ok unless the values are of exactly its columns.
func keysOf(columns []string, values map[string][]string) ([]string, bool) {
	if len(columns) != len(values) {
		return nil, false
	}
	keys := []string{""}
	for i, c := range columns {
		list, ok := values[c]
		if !ok || len(keys)*len(list) > maxCounters {
			return nil, false
		}
		separator := ""
		if i > 0 {
			separator = "&"
		}
		var longer []string
		for _, key := range keys {
			for _, v := range list {
				longer = append(longer, key+separator+c+"="+v)
			}
		}
		keys = longer
	}
	return keys, true
}

// selectedValues are the values that scope and filter select of each column,
// when that is all they do.
func (q *plan) selectedValues() (map[string][]string, bool) {
	values := map[string][]string{}
	add := func(column string, list []string) {
		if earlier, ok := values[column]; ok {
			list = intersection(earlier, list)
		}
		values[column] = list
	}
	if q.scoped() {
		if q.r.ScopeVia != nil {
			return nil, false // rows of two organizations would count twice
		}
		add(q.r.ScopeColumn, idTexts(q.scope.ids))
	}
	parts := []node{q.filter}
	if and, ok := q.filter.(nAnd); ok {
		parts = and
	}
	for _, p := range parts {
		switch p := p.(type) {
		case nBool:
		case nRefs:
			add(p.fk, idTexts(p.ids))
		case nCmp:
			list, ok := counterValues(p)
			if !ok {
				return nil, false
			}
			add(p.f.column(), list)
		default:
			return nil, false
		}
	}
	return values, true
}

// counterValues are the values of an equality, as Postgres writes them.
func counterValues(c nCmp) ([]string, bool) {
	vs := c.vs
	if c.op == Eq {
		vs = []any{c.v}
	}
	if c.op != Eq && c.op != In || c.f.Join != "" || c.f.Sub != nil || c.f.Kind == Time {
		return nil, false
	}
	var texts []string
	for _, v := range vs {
		if text := fmt.Sprint(v); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts, true
}

func idTexts(ids []uuid.UUID) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return texts
}

func intersection(a, b []string) []string {
	in := make(map[string]bool, len(a))
	for _, x := range a {
		in[x] = true
	}
	var both []string
	for _, x := range b {
		if in[x] {
			both = append(both, x)
		}
	}
	return both
}

func distinctIDs(ids []uuid.UUID) []uuid.UUID {
	seen := make(map[uuid.UUID]bool, len(ids))
	var distinct []uuid.UUID
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			distinct = append(distinct, id)
		}
	}
	return distinct
}

// count counts the matching rows exactly and remembers the result.
func (rd *Reader) count(ctx context.Context, q *plan, key string) (int64, error) {
	s := rd.statement()
	s.walk = true // only large sets are counted apart
	s.write("select count(*) from ", q.r.Table, " t")
	s.where(q, q.filter)
	var n int64
	err := rd.query(ctx, rd.pool, s, func(raw [][]byte) error {
		n = int64(binary.BigEndian.Uint64(raw[0]))
		return nil
	})
	if err == nil {
		rd.remember(key, n)
	}
	return n, err
}

func (rd *Reader) remember(key string, n int64) {
	if key != "" {
		rd.totals.put(key, n)
	}
}
