package projections

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type plainRow struct {
	ID    uuid.UUID  `db:"id,pk"`
	Name  string     `db:"name"`
	Note  *string    `db:"note"`
	Text2 string     `db:"text2"`
	At    *time.Time `db:"at"`
}

var testFilter = eventstore.Filter{TypePrefixes: []string{"test."}}

func TestMistakesInDeclarationsPanic(t *testing.T) {
	table := func(options ...TableOption) func() {
		return func() { NewTable[plainRow]("plain", options...) }
	}
	group := func(parts func(t *Table[plainRow]) Part) func() {
		return func() {
			table := NewTable[plainRow]("plain")
			NewGroup("g", testFilter, table, parts(table))
		}
	}
	byID := ByStream[taskRenamed]
	nothing := func(*plainRow, taskRenamed, Rec) {}
	for want, declare := range map[string]func(){
		`no column "nmae"`:         table(Index("nmae")),
		"trigram index on id":      table(Trigram("id")),
		"reverse index on id":      table(Reverse("id")),
		"index without columns":    table(Index()),
		"CountBy(note)":            table(CountBy("note")),
		"CountBy(name, text2)":     table(CountBy("name", "text2")),
		"want uuid, text, boolean": table(CountBy("at")),
		"bad table name":           func() { NewTable[plainRow]("Plain") },
		"table counters: bad":      func() { NewTable[plainRow](countersTable) },
		"int is no struct":         func() { NewTable[int]("x") },
		"tagged pk":                func() { NewTable[struct{}]("x") },
		"needs a db tag":           func() { NewTable[struct{ ID uuid.UUID }]("x") },
		"unknown option key": func() {
			NewTable[struct {
				ID uuid.UUID `db:"id,key"`
			}]("x")
		},
		"bad column name Id": func() {
			NewTable[struct {
				ID uuid.UUID `db:"Id,pk"`
			}]("x")
		},
		"tag it json or use a scalar": func() {
			NewTable[struct {
				ID map[string]int `db:"id"`
			}]("x")
		},
		"may not be a pointer": func() {
			NewTable[struct {
				ID *uuid.UUID `db:"id,pk"`
			}]("x")
		},
		"whose name ends in _f": func() {
			NewTable[struct {
				ID string `db:"id,fold"`
			}]("x")
		},
		"folds name, which is no text": func() {
			NewTable[struct {
				ID string `db:"name_f,fold"`
			}]("x")
		},
		"column a twice": func() {
			NewTable[struct {
				A string `db:"a"`
				B string `db:"a"`
			}]("x")
		},
		"is in no group":       func() { NewTable[plainRow]("plain").Name() },
		"string is no key: id": group(func(t *Table[plainRow]) Part { return Update(t, func(taskRenamed, Rec) string { return "" }, nothing) }),
		"labelKey is no key: id is uuid": group(func(t *Table[plainRow]) Part {
			return Delete(t, func(taskRenamed, Rec) labelKey { return labelKey{} })
		}),
		"two handlers update plain":   group(func(t *Table[plainRow]) Part { return Parts{Update(t, byID, nothing), Update(t, byID, nothing)} }),
		"both handled and ignored":    group(func(t *Table[plainRow]) Part { return Parts{Update(t, byID, nothing), Ignore(taskRenamed{})} }),
		"does not select other.thing": group(func(t *Table[plainRow]) Part { return Ignore(foreign{}) }),
		"declared twice in group":     group(func(*Table[plainRow]) Part { return NewTable[plainRow]("plain") }),
		"is in group g already":       group(func(t *Table[plainRow]) Part { return t }),
		"table plain is not in this group": func() {
			NewGroup("g", testFilter, Update(NewTable[plainRow]("plain"), byID, nothing))
		},
		"the value is string, the column uuid": group(func(t *Table[plainRow]) Part {
			return DeleteWhere(t, "id", func(taskRenamed, Rec) string { return "" })
		}),
		"bad group name": func() { NewGroup("a$b", testFilter) },
	} {
		t.Run(want, func(t *testing.T) {
			defer func() {
				message, _ := recover().(string)
				require.Contains(t, message, want)
			}()
			declare()
		})
	}
}

func TestVersionFollowsWhatMatters(t *testing.T) {
	version := func(parts ...Part) string { return NewGroup("g", testFilter, parts...).Version() }
	handler := func(t *Table[plainRow]) Part { return Delete(t, ByStream[taskRenamed]) }
	table := func(options ...TableOption) *Table[plainRow] { return NewTable[plainRow]("plain", options...) }
	base := version(table())
	require.Equal(t, base, version(table()))
	require.Equal(t, base, version(table(), Ignore(noted{})))
	seen := map[string]bool{base: true}
	withHandler := table()
	for _, v := range []string{version(table(), Revision(1)), version(table(Index("name"))), version(table(Unique("name"))), version(table(CountBy("name"))),
		version(table(IndexWhere("note is null", "name"))), version(table(IndexWhere("note is not null", "name"))),
		version(withHandler, handler(withHandler))} {
		require.False(t, seen[v])
		seen[v] = true
	}
}

func TestGroupTellsWhatItHandles(t *testing.T) {
	g := newModel("tells").group
	require.True(t, g.Handles("test.task-created"))
	require.False(t, g.Handles("test.noted"))
	require.True(t, g.Ignores("test.noted"))
	require.False(t, g.Ignores("test.task-created"))
	require.Equal(t, []string{"rm_tells.projects", "rm_tells.tasks", "rm_tells.labels", "rm_tells.closure"}, g.Tables())
	require.True(t, g.Counts("tasks"))
	require.True(t, g.Counts("tasks", "org_id", "status"))
	require.False(t, g.Counts("tasks", "status"))
	require.False(t, g.Counts("other"))
}

func TestIndexNamesFitAndDiffer(t *testing.T) {
	names := map[string]bool{}
	long := []string{strings.Repeat("a", 40), strings.Repeat("b", 40)}
	for _, i := range []index{{"btree", long, ""}, {"btree", long, "a > 1"}, {"btree", long, "a > 2"}, {"reverse", long, ""}, {"btree", []string{"a"}, "x"}, {"btree", []string{"a"}, ""}} {
		name := i.sqlName("t")
		require.LessOrEqual(t, len(name), 63)
		require.False(t, names[name])
		names[name] = true
	}
}

// Whatever text an event holds, its JSON can be stored as jsonb and reads the
// same but for characters Postgres does not take.
func TestStorableJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.SampledFrom([]rune{0, '\\', 'u', '0', '"', 'a', 'é'})).Draw(t, "s")
		data, err := json.Marshal(s)
		require.NoError(t, err)
		var back string
		require.NoError(t, json.Unmarshal(storableJSON(data), &back))
		require.Equal(t, strings.ReplaceAll(s, "\x00", "\uFFFD"), back)
	})
}

func TestClipCutsBetweenCharacters(t *testing.T) {
	require.Equal(t, "abc", clip("abc"))
	cut := clip("a" + strings.Repeat("é", 2000))
	require.Equal(t, maxFolded-1, len(cut))
	require.True(t, strings.HasSuffix(cut, "é"))
}

func TestStreamID(t *testing.T) {
	id := uuid.New()
	rec := Rec{Recorded: eventstore.Recorded{Stream: "reporting.task-" + id.String()}}
	require.Equal(t, id, rec.StreamID())
	rec.Stream = "settings"
	require.PanicsWithValue(t, "stream name ends in no id: settings", func() { rec.StreamID() })
}

// A statement the database refuses is no event's fault.
func TestRefusedStatement(t *testing.T) {
	b := newBench(t)
	e := b.start(nil, NewGroup("refused", testFilter, NewTable[plainRow]("plain", IndexWhere("no such thing", "name"))), newWell())
	s := b.awaitState(e, "refused", Stopped)
	require.Equal(t, uuid.Nil, s.Failure.EventID)
	require.ErrorContains(t, e.Healthy(), "SQLSTATE 42")
	b.awaitState(e, "well", Live)
}
