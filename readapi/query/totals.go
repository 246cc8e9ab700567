package query

import (
	"context"
	"encoding/binary"
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
	organizations, ok := q.countedBy()
	if !ok || rd.options.Counter == nil {
		return 0, false, nil
	}
	n, ok, err := rd.options.Counter(ctx, rd.pool, q.r.Table, organizations)
	return n, ok, storageFault(err)
}

// countedBy tells by which organizations the rows are selected, when nothing
// else selects them; nil means all.
func (q *plan) countedBy() ([]uuid.UUID, bool) {
	if q.unfiltered() {
		switch {
		case !q.scoped():
			return nil, true
		case q.r.ScopeVia != nil:
			return nil, false // rows of two organizations would count twice
		}
		return q.scope.ids, true
	}
	ids, ok := q.filteredOrganizations()
	if !ok {
		return nil, false
	}
	if !q.scoped() {
		return ids, true
	}
	visible := make(map[uuid.UUID]bool, len(q.scope.ids))
	for _, id := range q.scope.ids {
		visible[id] = true
	}
	both := []uuid.UUID{}
	for _, id := range ids {
		if visible[id] {
			both = append(both, id)
		}
	}
	return both, true
}

// filteredOrganizations are the ids of a filter that is nothing but a choice
// of organizations.
func (q *plan) filteredOrganizations() ([]uuid.UUID, bool) {
	if q.r.ScopeColumn == "" {
		return nil, false
	}
	switch n := q.filter.(type) {
	case nRefs:
		return n.ids, n.fk == q.r.ScopeColumn
	case nCmp:
		if n.f.column() != q.r.ScopeColumn || n.f.Join != "" || n.f.Sub != nil {
			return nil, false
		}
		if n.op == Eq {
			return []uuid.UUID{n.v.(uuid.UUID)}, true
		}
		if n.op == In {
			return distinctIDs(castList[uuid.UUID](n.vs)), true
		}
	}
	return nil, false
}

func distinctIDs(ids []uuid.UUID) []uuid.UUID {
	seen := map[uuid.UUID]bool{}
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
