package projections

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// What a rebuild keeps in memory follows the rows there are, not the events there
// were: its limit counts rows.
func TestAWholeFoldForgetsWhatIsGone(t *testing.T) {
	m, codec := newModel("whole"), newCodec()
	l := &log{newMemoryStore(), t, codec}
	id := ids(1002)
	a, z, tasks := id[0], id[1], id[2:]
	for i, k := range tasks {
		l.append(k, taskCreated{a, "t", nil, nil}, labelled{[]string{"l"}}, taskMoved{z}, taskMoved{a}, taskMoved{z}, taskMoved{a})
		if i%100 != 0 {
			l.append(k, taskDeleted{})
		}
	}
	for range 100 {
		l.append(tasks[0], unlabelled{"l"}, labelled{[]string{"l"}})
	}
	f := newFold(m.group, nil)
	events, _ := l.after(0)
	for i := range events {
		if it := newItem(m.group, codec, &events[i]); it.handled() {
			require.NoError(t, f.apply(&it))
		}
	}
	listed := 0
	for _, c := range f.tables {
		for _, p := range c.postings {
			for _, l := range p.lists {
				listed += len(l.entries)
			}
		}
	}
	require.Equal(t, 20, f.size(), "tasks and their labels")
	require.LessOrEqual(t, listed, 2*f.size())
	found := f.read(m.tasks.core).find(m.tasks.column("project_id"), a)
	require.Len(t, found, 10)

	l.append(a, projectDeleted{})
	events, _ = l.after(0)
	it := newItem(m.group, codec, &events[len(events)-1])
	require.NoError(t, f.apply(&it))
	require.Empty(t, f.read(m.tasks.core).rows)
	require.Empty(t, f.read(m.tasks.core).postings[0].lists)
}

// Outside a whole fold a row is found by what the table holds as well.
func TestAFoldKeepsOldListings(t *testing.T) {
	m := newModel("old")
	tasks := m.tasks.core
	a, z := uuid.New(), uuid.New()
	f := newFold(m.group, noRows{})
	c := f.read(tasks)
	row := taskRow{ID: uuid.New(), ProjectID: &a}
	c.admit([]any{&row})
	e := c.rows[tasks.keyOf(&row)]
	c.writable(e).(*taskRow).ProjectID = &z
	c.changed(e)
	f.run(&setOp{table: tasks, by: tasks.column("project_id"), value: a})
	require.Nil(t, e.old, "deleted before rows are written")
	require.NotNil(t, e.now, "and made anew")
}

// noRows is an empty database.
type noRows struct{}

func (noRows) byKey(*core, []key) ([]any, error)           { return nil, nil }
func (noRows) byColumn(*core, *column, any) ([]any, error) { return nil, nil }
func (noRows) mayMeet(*core) bool                          { return false }
