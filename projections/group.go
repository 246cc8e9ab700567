package projections

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"docket/domain"
	"docket/eventstore"
	"docket/internal/textfold"
)

// Group is a set of related tables that share one subscription, one checkpoint
// and one commit.
type Group struct {
	name     string
	filter   eventstore.Filter
	tables   []*core
	handlers map[string][]*handler // by event type, in declared order
	ignored  map[string]bool
	revision int
	version  string

	background bool // see Background
}

// Part is what a group is made of: tables, handlers, Revision, and Parts.
type Part interface{ addTo(g *Group) }

// Parts bundles what belongs to one resource.
type Parts []Part

func (p Parts) addTo(g *Group) {
	for _, part := range p {
		part.addTo(g)
	}
}

// Revision numbers the handlers' behaviour. Raise it when a handler changes, so
// that the group is rebuilt; changed tables and newly handled event types are
// noticed without it.
type Revision int

func (r Revision) addTo(g *Group) { g.revision += int(r) }

func (t *core) addTo(g *Group) {
	if t.group != nil {
		t.fail("is in group %s already", t.group.name)
	}
	for _, other := range g.tables {
		if other.name == t.name {
			t.fail("declared twice in group %s", g.name)
		}
	}
	t.group, t.place = g, len(g.tables)
	g.tables = append(g.tables, t)
}

// NewGroup declares a group. The filter should select whole aggregates, so that
// no append is seen in part. NewGroup panics on a mistake in the declaration.
func NewGroup(name string, filter eventstore.Filter, parts ...Part) *Group {
	g := &Group{name: name, filter: filter, handlers: map[string][]*handler{}, ignored: map[string]bool{}}
	if !validName(name) {
		panic("projections: bad group name " + name)
	}
	Parts(parts).addTo(g)
	for eventType := range g.handlers {
		g.checkHandlers(eventType)
	}
	for eventType := range g.ignored {
		g.checkType(eventType)
	}
	g.version = g.computeVersion()
	return g
}

func (g *Group) fail(format string, args ...any) {
	panic(fmt.Sprintf("projections: group %s: %s", g.name, fmt.Sprintf(format, args...)))
}

func (g *Group) checkType(eventType string) {
	if !g.filter.Matches(eventType) {
		g.fail("the filter does not select %s", eventType)
	}
}

func (g *Group) checkHandlers(eventType string) {
	g.checkType(eventType)
	if g.ignored[eventType] {
		g.fail("%s is both handled and ignored", eventType)
	}
	seen := map[string]bool{}
	for _, h := range g.handlers[eventType] {
		if h.table.group != g {
			g.fail("handler of %s: table %s is not in this group", eventType, h.table.name)
		}
		if seen[h.what()] {
			g.fail("two handlers %s of %s", h.what(), eventType)
		}
		seen[h.what()] = true
	}
}

// computeVersion is a digest of everything that decides what the tables hold,
// as far as it can be seen from here.
func (g *Group) computeVersion() string {
	var b strings.Builder
	fmt.Fprintf(&b, "format 1, fold %d, revision %d\n", textfold.Version, g.revision)
	for _, t := range g.tables {
		b.WriteString(t.tableSQL("s") + t.keySQL("s") + t.indexSQL("s"))
		for _, columns := range t.counters {
			b.WriteString("count by " + columnNames(columns, "") + "\n")
		}
	}
	for _, eventType := range sortedKeys(g.handlers) {
		for _, h := range g.handlers[eventType] {
			fmt.Fprintf(&b, "%s: %s\n", eventType, h.what())
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:6])
}

// Name is the group's name.
func (g *Group) Name() string { return g.name }

// Version changes when the group must be rebuilt.
func (g *Group) Version() string { return g.version }

// Filter selects the events the group sees.
func (g *Group) Filter() eventstore.Filter { return g.filter }

// Handles tells whether a handler is declared for an event type.
func (g *Group) Handles(eventType string) bool { return len(g.handlers[eventType]) > 0 }

// Ignores tells whether an event type is declared as not handled.
func (g *Group) Ignores(eventType string) bool { return g.ignored[eventType] }

// EventTypes are the handled event types, sorted.
func (g *Group) EventTypes() []string { return slices.Sorted(maps.Keys(g.handlers)) }

// Tables are the qualified names of the group's tables, in declared order.
func (g *Group) Tables() []string {
	names := make([]string, len(g.tables))
	for i, t := range g.tables {
		names[i] = t.Name()
	}
	return names
}

// ignore is the Part behind Ignore.
type ignore []domain.Event

// Ignore declares that the group leaves events alone on purpose. Each is passed
// as its zero value.
func Ignore(events ...domain.Event) Part { return ignore(events) }

func (i ignore) addTo(g *Group) {
	for _, e := range i {
		g.ignored[e.EventType()] = true
	}
}
