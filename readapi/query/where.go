package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// statement is SQL under construction. Values become parameters, never text;
// names come from checked definitions only.
type statement struct {
	strings.Builder
	args []any

	// walk is set when the condition is evaluated row by row along a sort
	// index, where other forms are cheaper than those that find by index.
	walk bool
	// unicode tells that the server's trigrams cover letters beyond ASCII.
	unicode bool
}

func (s *statement) write(parts ...string) {
	for _, p := range parts {
		s.WriteString(p)
	}
}

// arg adds a parameter and returns its placeholder with the value's type.
func (s *statement) arg(v any) string {
	var cast string
	switch x := v.(type) {
	case string:
		cast = "text"
	case uuid.UUID:
		v, cast = [16]byte(x), "uuid"
	case []uuid.UUID:
		v, cast = rawIDs(x), "uuid[]"
	case bool:
		cast = "bool"
	case int64:
		cast = "bigint"
	case time.Time:
		cast = "timestamptz"
	case []string:
		cast = "text[]"
	case []bool:
		cast = "bool[]"
	case []int64:
		cast = "bigint[]"
	case []time.Time:
		cast = "timestamptz[]"
	default:
		panic(fmt.Sprintf("query: parameter of type %T", v))
	}
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args)) + "::" + cast
}

func rawIDs(ids []uuid.UUID) [][16]byte {
	raw := make([][16]byte, len(ids))
	for i, id := range ids {
		raw[i] = id
	}
	return raw
}

// typedList turns the values of an In into a slice that is one parameter.
func typedList(vs []any) any {
	switch vs[0].(type) {
	case string:
		return castList[string](vs)
	case uuid.UUID:
		return castList[uuid.UUID](vs)
	case bool:
		return castList[bool](vs)
	case int64:
		return castList[int64](vs)
	default:
		return castList[time.Time](vs)
	}
}

func castList[T any](vs []any) []T {
	list := make([]T, len(vs))
	for i, v := range vs {
		list[i] = v.(T)
	}
	return list
}

// where writes " where ..." for the visible rows that match, or nothing when
// that is all of them. extra conditions are joined by and.
func (s *statement) where(q *plan, filter node, extra ...func()) {
	word := " where "
	and := func(f func()) {
		s.write(word)
		word = " and "
		f()
	}
	if q.scoped() {
		and(func() { s.scope(q) })
	}
	if filter != nBool(true) {
		and(func() { s.cond(q.r, filter) })
	}
	for _, f := range extra {
		and(f)
	}
}

// scope writes the condition of visible rows.
func (s *statement) scope(q *plan) {
	if via := q.r.ScopeVia; via != nil {
		s.write("t.", q.r.Key, " in (select v.", via.Row, " from ", via.Table, " v where v.", via.Organization)
		s.anyID(q.scope.ids)
		s.write(")")
		return
	}
	s.write("t.", q.r.ScopeColumn)
	s.anyID(q.scope.ids)
}

// anyID writes the comparison with one id or several. One id is compared by
// "=", since "= any" loses the order of an index behind the column.
func (s *statement) anyID(ids []uuid.UUID) {
	if len(ids) == 1 {
		s.write(" = ", s.arg(ids[0]))
	} else {
		s.write(" = any(", s.arg(ids), ")")
	}
}

// cond writes a filter as a boolean expression over table alias t. Parts may
// be NULL; "is not true" keeps the logic two-valued under Not.
func (s *statement) cond(r *Resource, n node) {
	switch n := n.(type) {
	case nBool:
		s.write(strconv.FormatBool(bool(n)))
	case nAnd:
		s.list(r, n, " and ")
	case nOr:
		s.list(r, n, " or ")
	case nNot:
		s.write("(")
		s.cond(r, n.x)
		s.write(") is not true")
	case nRefs:
		s.write("t.", n.fk)
		s.anyID(n.ids)
	case nCmp:
		s.field(r, n)
	}
}

func (s *statement) list(r *Resource, parts []node, word string) {
	s.write("(")
	for i, p := range parts {
		if i > 0 {
			s.write(word)
		}
		s.cond(r, p)
	}
	s.write(")")
}

// field writes a comparison, through the table its values live in.
func (s *statement) field(r *Resource, c nCmp) {
	f := c.f
	switch {
	case f.Sub != nil && f.Sub.Via != nil:
		s.write("t.", r.Key, " in (select s.", f.Sub.Row, " from ", f.Sub.Table, " s join ", f.Sub.Via.Table,
			" v on v.", f.Sub.Via.Key, " = s.", f.Sub.Column, " where ")
		s.compare("v", c)
		s.write(")")
	case f.Sub != nil:
		s.write("t.", r.Key, " in (select s.", f.Sub.Row, " from ", f.Sub.Table, " s where ")
		s.compare("s", c)
		s.write(")")
	case f.Join != "":
		j := r.joins[f.Join]
		s.write("t.", j.FK, " in (select j.", j.Key, " from ", j.Table, " j where ")
		s.compare("j", c)
		s.write(")")
	default:
		s.compare("t", c)
	}
}

var sqlOps = map[Op]string{Eq: " = ", Gt: " > ", Ge: " >= ", Lt: " < ", Le: " <= "}

// compare writes the comparison of a column of the table aliased so.
func (s *statement) compare(alias string, c nCmp) {
	column := alias + "." + c.f.column()
	switch c.op {
	case Present:
		s.write(column, " is not null")
	case In:
		s.write(column, " = any(", s.arg(typedList(c.vs)), ")")
	case Starts:
		s.write(column, " like ", s.arg(escapeLike(c.v.(string))+"%"))
	case Contains:
		v := c.v.(string)
		s.like(column, v, "%"+escapeLike(v)+"%")
	case Ends:
		s.ends(column, c)
	default:
		s.write(column, sqlOps[c.op], s.arg(c.v))
	}
}

// like looks for a text by a pattern. For one without a trigram the planner
// would read the whole trigram index and then every row; an index serves its own
// collation only, so that naming another, which compares bytes as well, keeps it
// out and leaves the planner its estimate.
func (s *statement) like(column, v, pattern string) {
	if !s.hasTrigram(v) {
		column += ` collate "POSIX"`
	}
	s.write(column, " like ", s.arg(pattern))
}

func (s *statement) ends(column string, c nCmp) {
	v := c.v.(string)
	if c.f.Reversed && !s.walk {
		s.write("reverse(", column, ") like ", s.arg(escapeLike(reversed(v))+"%"))
		return
	}
	s.like(column, v, "%"+escapeLike(v))
}

// hasTrigram tells whether a trigram index can find the text: it needs three
// letters or digits in a row.
func (s *statement) hasTrigram(v string) bool {
	run := 0
	for _, c := range v {
		if c < 0x80 && (unicode.IsLetter(c) || unicode.IsDigit(c)) || c >= 0x80 && s.unicode && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
			if run++; run == 3 {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// escapeLike takes the special meaning from %, _ and \ in a LIKE pattern.
func escapeLike(s string) string { return likeEscaper.Replace(s) }

// reversed turns a text by code points, as Postgres' reverse() does.
func reversed(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}
