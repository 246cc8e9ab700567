package projections

import (
	"slices"
	"strings"

	"docket/eventstore"
)

// Background is a part of groups that nobody who writes reads from at once, such
// as an audit trail: Await does not wait for them.
var Background Part = background{}

type background struct{}

func (background) addTo(g *Group) { g.background = true }

// Committed is how far a group's tables are, as this process knows. It is not ok
// for an unknown group.
func (e *Engine) Committed(group string) (position eventstore.Position, ok bool) {
	r := e.runners[group]
	if r == nil {
		return 0, false
	}
	position, _, _ = r.gate.look()
	return position, true
}

// Counts tells whether a table of the group, named without its schema, keeps
// the number of its rows by these columns (CountBy). Every table keeps the total.
func (g *Group) Counts(table string, columns ...string) bool {
	for _, t := range g.tables {
		if t.name != table {
			continue
		}
		return len(columns) == 0 || slices.ContainsFunc(t.counters, func(by []*column) bool {
			return columnNames(by, "") == strings.Join(columns, ", ")
		})
	}
	return false
}
