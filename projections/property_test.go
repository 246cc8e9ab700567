package projections

import (
	"context"
	"slices"
	"strings"
	"testing"

	"docket/domain"
	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawEvents draws a history that uses every handler, over few ids so that
// events meet.
func drawEvents(t *rapid.T, l *log) {
	projects, tasks, orgs := ids(6)[:3], ids(20)[10:16], ids(40)[30:34]
	project := rapid.SampledFrom(projects)
	task := rapid.SampledFrom(tasks)
	org := rapid.SampledFrom(orgs)
	name := rapid.SampledFrom([]string{"", "A", "Ä\x00", "b b", "\xff", "ÇA"})
	event := rapid.Custom(func(t *rapid.T) func() {
		p, k, n := project.Draw(t, "project"), task.Draw(t, "task"), name.Draw(t, "name")
		o, p2 := org.Draw(t, "org"), project.Draw(t, "project2")
		some := rapid.SliceOfN(task, 0, 3).Draw(t, "tasks")
		choices := []func(){
			func() { l.append(p, projectCreated{n, o}) },
			func() { l.append(p, projectRenamed{n}) },
			func() { l.append(p, projectMoved{o}) },
			func() { l.append(p, projectDeleted{}) },
			func() { l.append(k, taskCreated{p, n, nil, []string{n}}) },
			func() { l.append(k, taskCreated{p, n, nil, nil}, taskRenamed{"x" + n}, labelled{[]string{n}}) },
			func() { l.append(k, taskRenamed{n}, taskTouched{}) },
			func() { l.append(k, taskTagged{n}) },
			func() { l.append(k, taskMoved{p2}) },
			func() { l.append(k, taskDeleted{}) },
			func() { l.append(k, tasksClosed{some}) },
			func() { l.append(k, tasksRemoved{some}) },
			func() { l.append(k, labelled{[]string{n, "l"}}) },
			func() { l.append(k, unlabelled{"l"}) },
			func() { l.append(o, orgCreated{}) },
			func() { l.append(o, orgCreated{&orgs[0]}) },
			func() { l.append(o, orgMoved{orgs[1]}) },
		}
		return rapid.SampledFrom(choices).Draw(t, "event")
	})
	// Something to meet, in the tables when a batch begins.
	l.append(projects[0], projectCreated{"first", orgs[0]})
	l.append(projects[1], projectCreated{"second", orgs[1]})
	for i, k := range tasks[:4] {
		l.append(k, taskCreated{projects[i%2], "given", nil, nil})
	}
	for _, do := range rapid.SliceOfN(event, 20, 60).Draw(t, "events") {
		do()
	}
}

// However a history is cut into batches, and whether it is folded in memory or
// against the tables, the tables come out the same.
func TestBatchesAndRebuildsAgree(t *testing.T) {
	b := newBench(t)
	m := newModel("agree")
	e, err := NewEngine(Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: []*Group{m.group}})
	require.NoError(t, err)
	ctx := context.Background()
	live, err := e.runners["agree"].newBuilder(ctx, liveSchema("agree"), nil)
	require.NoError(t, err)
	require.NoError(t, live.create(true))
	shadow := *live
	shadow.schema = shadowSchema("agree")
	rapid.Check(t, func(t *rapid.T) {
		b.log.memoryStore = newMemoryStore()
		drawEvents(t, b.log)
		var items []item
		events, _ := b.log.after(0)
		for i := range events {
			if it := newItem(m.group, b.codec, &events[i]); it.handled() {
				items = append(items, it)
			}
		}
		cuts := rapid.SliceOfN(rapid.IntRange(1, 12), 1, 6).Draw(t, "batch sizes")
		inBatches := func(sizes ...int) map[string][]string {
			b.exec("truncate " + strings.Join(append(m.group.Tables(), m.group.Counters()), ", "))
			rest := slices.Clone(items)
			for i := 0; len(rest) > 0; i++ {
				n := min(sizes[i%len(sizes)], len(rest))
				require.NoError(t, live.applier.process(rest[:n], rest[n-1].position))
				rest = rest[n:]
			}
			b.requireCounts(m.group)
			return b.dump(m.group)
		}
		one := inBatches(1)
		require.Equal(t, one, inBatches(cuts...), "batches of %v", cuts)
		live.applier.sink.careful = map[*core]bool{}
		require.Equal(t, one, inBatches(len(items)+1), "one batch")
		require.NoError(t, shadow.fill(logEnd))
		require.Equal(t, one, b.dumpSchema(m.group, shadow.schema), "rebuilt in memory")
	})
	live.close()
}

// A rebuild that does not fit into memory goes on against its tables.
func TestRebuildBeyondMemory(t *testing.T) {
	b := newBench(t)
	m := newModel("beyond")
	id := ids(3000)
	b.log.append(id[0], projectCreated{"P", id[1]})
	for i := 2; i < len(id); i++ {
		b.log.append(id[i], taskCreated{id[0], "T", nil, nil}, labelled{[]string{"a"}})
		if i%500 == 0 {
			b.log.append(id[0], projectRenamed{id[i].String()})
			b.log.append(id[i-1], taskDeleted{})
		}
	}
	p := b.log.append(id[0], projectMoved{id[2]})
	e := b.start(nil, m.group)
	b.await(e, p)
	b.requireCounts(m.group)
	want := b.dump(m.group)
	indexes := b.strings("select indexdef from pg_indexes where schemaname = 'rm_beyond' order by 1")

	e.RebuildRows = 100
	require.NoError(t, e.Rebuild(context.Background(), "beyond", nil))
	require.Equal(t, want, b.dump(m.group))
	require.Equal(t, indexes, b.strings("select indexdef from pg_indexes where schemaname = 'rm_beyond' order by 1"))
}

func TestWhereAfterSetOperationCutsTheBatch(t *testing.T) {
	type row struct {
		ID    uuid.UUID `db:"id,pk"`
		Group string    `db:"grp"`
		Seen  int       `db:"seen"`
	}
	table := NewTable[row]("things", LookUpBy("grp"))
	g := NewGroup("cut", eventstore.Filter{TypePrefixes: []string{"test."}}, table,
		Put(table, func(e noted, rec Rec) row { return row{ID: rec.StreamID(), Group: e.Text} }),
		SetWhere(table, "grp", func(projectRenamed, Rec) string { return "a" }, func(e projectRenamed, _ Rec) map[string]any {
			return map[string]any{"grp": e.Name}
		}),
		UpdateEach(table, func(e taskRenamed, rec Rec) []uuid.UUID {
			var keys []uuid.UUID
			for _, r := range Where(rec, table, "grp", e.Name) {
				keys = append(keys, r.ID)
			}
			return keys
		}, func(r *row, e taskRenamed, rec Rec) { r.Seen++ }))
	b := newBench(t)
	e := b.start(nil, g)
	id := ids(4)
	b.log.append(id[0], noted{"a"})
	p := b.log.append(id[1], noted{"b"})
	require.True(t, b.reaches(e, p, noted{}))
	// In one batch: the rows set by the first must be found by the second.
	events := []domain.Event{projectRenamed{"b"}, taskRenamed{"b"}, projectRenamed{"c"}, taskRenamed{"b"}, noted{"a"}, projectRenamed{"b"}, taskRenamed{"b"}}
	p = b.log.append(id[2], events...)
	require.True(t, b.reaches(e, p, noted{}))
	require.Equal(t, []string{"b 3", "b 3", "b 1"}, b.strings("select grp || ' ' || seen from rm_cut.things order by id"))
}
