package query

import (
	"strconv"

	"github.com/google/uuid"
)

// order is a resolved Sort.
type order struct {
	field *Field // nil: by the key alone
	key   string // sort column, of t or of the joined table; "" like field nil
	join  *Join
	desc  bool // of the column
}

// order resolves a sort that CheckSort accepted.
func (r *Resource) order(s Sort) order {
	if s.Field == "" {
		s = Sort{Field: r.DefaultSort.Field, Desc: r.DefaultSort.Desc != s.Desc}
	}
	f, ok := r.Field(s.Field)
	if !ok {
		return order{desc: s.Desc}
	}
	desc := s.Desc != f.Inverted
	if f.SortBy != "" {
		f, _ = r.Field(f.SortBy) // Define checked that it is there
		desc = desc != f.Inverted
	}
	o := order{field: f, key: f.column(), desc: desc}
	if f.Join != "" {
		o.join = r.joins[f.Join]
	} else if o.key == r.Key {
		o.field, o.key = nil, ""
	}
	return o
}

func (o order) turned() order {
	o.desc = !o.desc
	return o
}

func (o order) nullable() bool { return o.field != nil && o.field.Nullable }

// word is the direction in SQL; NULLs are last ascending and first descending
// by Postgres' own default, so that every order can be read backwards.
func (o order) word() string {
	if o.desc {
		return " desc"
	}
	return ""
}

// by writes an order-by list of columns in this direction.
func (o order) by(columns ...string) string {
	list := ""
	for i, c := range columns {
		if i > 0 {
			list += ", "
		}
		list += c + o.word()
	}
	return list
}

// hidden are the columns every page query carries for cursors and for the
// order of the outer query.
func (o order) hidden(alias string) []string {
	switch {
	case o.join != nil:
		return []string{alias + "._k", alias + "._j", alias + "._id"}
	case o.key != "":
		return []string{alias + "._k", alias + "._id"}
	}
	return []string{alias + "._id"}
}

// position is a place between two rows of an order: behind the row with this
// sort key and id.
type position struct {
	null   bool // the sort key is NULL, or there is no joined row
	key    any  // nil when ordered by id alone
	joined uuid.UUID
	id     uuid.UUID
}

// beyond is the operator that leads on from a position.
func (o order) beyond() string {
	if o.desc {
		return " < "
	}
	return " > "
}

// ordered writes a select of the matching rows in order, from a position on.
// star selects whole rows instead of their ids and sort keys. A negative limit
// is none.
//
// NULL sort keys and missing joined rows cannot be reached by one index range.
// They are separate branches of a union all that Postgres runs one after the
// other, and only as far as the limit asks.
func (s *statement) ordered(q *plan, o order, filter node, from *position, star bool, limit, offset int64) {
	branches := s.branches(q, o, filter, from, star)
	if len(branches) == 1 {
		branches[0](limit, offset)
		return
	}
	s.write("select * from (")
	for i, branch := range branches {
		if i > 0 {
			s.write(" union all ")
		}
		s.write("(")
		if limit >= 0 {
			branch(limit+offset, 0)
		} else {
			branch(-1, 0)
		}
		s.write(")")
	}
	s.write(") u")
	s.limit(limit, offset)
}

func (s *statement) limit(limit, offset int64) {
	if limit >= 0 {
		s.write(" limit ", strconv.FormatInt(limit, 10))
	}
	if offset > 0 {
		s.write(" offset ", strconv.FormatInt(offset, 10))
	}
}

type branch func(limit, offset int64)

func (s *statement) branches(q *plan, o order, filter node, from *position, star bool) []branch {
	if o.join != nil {
		return s.joinedBranches(q, o, filter, from, star)
	}
	own := func(extra ...func()) branch {
		return func(limit, offset int64) {
			s.selectOwn(q, o, star)
			s.where(q, filter, extra...)
			s.write(" order by ", o.by(q.ownKeys(o)...))
			s.limit(limit, offset)
		}
	}
	key := "t." + o.key
	id := "t." + q.r.Key
	switch {
	case from == nil:
		return []branch{own()}
	case o.key == "":
		return []branch{own(func() { s.write(id, o.beyond(), s.arg(from.id)) })}
	case !o.nullable():
		return []branch{own(func() { s.beyond(o, key, id, from) })}
	}
	isNull := func() { s.write(key, " is null") }
	notNull := func() { s.write(key, " is not null") }
	afterID := func() { s.write(id, o.beyond(), s.arg(from.id)) }
	switch {
	case from.null && o.desc:
		return []branch{own(isNull, afterID), own(notNull)}
	case from.null:
		return []branch{own(isNull, afterID)}
	case o.desc:
		return []branch{own(func() { s.beyond(o, key, id, from) })}
	}
	return []branch{own(func() { s.beyond(o, key, id, from) }), own(isNull)}
}

func (s *statement) beyond(o order, key, id string, from *position) {
	s.write("(", key, ", ", id, ")", o.beyond(), "(", s.arg(from.key), ", ", s.arg(from.id), ")")
}

func (s *statement) selectOwn(q *plan, o order, star bool) {
	s.write("select ")
	if star {
		s.write("t.*, ")
	}
	s.write("t.", q.r.Key, " as _id")
	if o.key != "" {
		s.write(", t.", o.key, " as _k")
	}
	s.write(" from ", q.r.Table, " t")
}

// joinedBranches reads the joined table in order and the rows of each joined
// row in the order of their ids.
func (s *statement) joinedBranches(q *plan, o order, filter node, from *position, star bool) []branch {
	j := o.join
	columns := "t." + q.r.Key + " as _id"
	if star {
		columns = "t.*, " + columns
	}
	id := "t." + q.r.Key
	afterID := func() { s.write(id, o.beyond(), s.arg(from.id)) }

	lateral := func(position ...func()) branch {
		return func(limit, offset int64) {
			if star {
				s.write("select t.*")
			} else {
				s.write("select t._id")
			}
			s.write(", o._k, o._j from (select j.", o.key, " as _k, j.", j.Key, " as _j from ", j.Table, " j")
			for _, p := range position {
				s.write(" where ")
				p()
			}
			s.write(" order by ", o.by("j."+o.key, "j."+j.Key), ") o cross join lateral (select ", columns, " from ", q.r.Table, " t")
			s.where(q, filter, func() { s.write("t.", j.FK, " = o._j") })
			s.write(" order by ", o.by(id))
			if limit >= 0 {
				// No joined row adds more; the planner reads its rows in order then.
				s.limit(limit+offset, 0)
			}
			s.write(") t")
			s.limit(limit, offset)
		}
	}
	same := func(limit, offset int64) {
		s.write("select ", columns, ", ", s.arg(from.key), " as _k, t.", j.FK, " as _j from ", q.r.Table, " t")
		s.where(q, filter, func() { s.write("t.", j.FK, " = ", s.arg(from.joined)) }, afterID)
		s.write(" order by ", o.by(id))
		s.limit(limit, offset)
	}
	orphans := func(extra ...func()) branch {
		return func(limit, offset int64) {
			s.write("select ", columns, ", null::", sqlType(o.field.Kind), " as _k, null::uuid as _j from ", q.r.Table, " t")
			none := func() {
				s.write("not exists (select from ", j.Table, " j where j.", j.Key, " = t.", j.FK, ")")
			}
			s.where(q, filter, append(extra, none)...)
			s.write(" order by ", o.by(id))
			s.limit(limit, offset)
		}
	}
	later := lateral(func() {
		s.write("(j.", o.key, ", j.", j.Key, ")", o.beyond(), "(", s.arg(from.key), ", ", s.arg(from.joined), ")")
	})

	if o.join.Required && (from == nil || !from.null) {
		if from == nil {
			return []branch{lateral()}
		}
		return []branch{same, later}
	}
	switch {
	case from == nil && o.desc:
		return []branch{orphans(), lateral()}
	case from == nil:
		return []branch{lateral(), orphans()}
	case from.null && o.desc:
		return []branch{orphans(afterID), lateral()}
	case from.null:
		return []branch{orphans(afterID)}
	case o.desc:
		return []branch{same, later}
	}
	return []branch{same, later, orphans()}
}

func sqlType(k Kind) string {
	return [...]string{"text", "uuid", "bool", "bigint", "timestamptz"}[k]
}
