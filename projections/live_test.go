package projections

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestEveryKindOfHandler(t *testing.T) {
	noLeaks(t)
	b := newBench(t)
	m := newModel("every")
	e := b.start(nil, m.group)
	id := ids(10)
	orgA, orgB := id[8], id[9]
	due := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600))

	b.log.append(id[0], projectCreated{"Zürich", orgA})
	b.log.append(id[1], projectCreated{"Bern", orgB})
	b.log.append(id[2], taskCreated{id[0], "Über\x00sicht", &due, []string{`a"b`, `c\d`, "", "NULL"}})
	b.log.append(id[3], taskCreated{id[0], "Other", nil, nil})
	b.log.append(id[4], taskCreated{id[1], "Third", nil, nil})
	p := b.log.append(id[2], labelled{[]string{"red", "blue"}}, noted{"ignored"})
	b.await(e, p, taskCreated{}, labelled{})

	require.Equal(t, []string{"über\uFFFDsicht"}, b.strings("select name_f from rm_every.tasks where id = $1", id[2]))
	require.Equal(t, []string{"zürich"}, b.strings("select project_name_f from rm_every.tasks where id = $1", id[2]))
	require.Equal(t, []string{`a"b|c\d||NULL`}, b.strings("select array_to_string(tags, '|') from rm_every.tasks where id = $1", id[2]))
	require.Equal(t, []string{"2026-01-02 02:04:05.678901"}, b.strings("select (due at time zone 'UTC')::text from rm_every.tasks where id = $1", id[2]))
	require.Equal(t, []string{actor.String()}, b.strings("select unnest(watchers)::text from rm_every.tasks where id = $1", id[2]))
	require.EqualValues(t, 2, b.number("select n from rm_every.counters where table_name = 'tasks' and key = $1", "org_id="+orgA.String()+"&status=new"))
	require.EqualValues(t, 3, b.number("select n from rm_every.counters where table_name = 'tasks' and key = ''"))
	require.EqualValues(t, 3, b.number("select n from rm_every.counters where table_name = 'tasks' and key = 'done=false'"))
	require.EqualValues(t, 2, b.number("select count(*) from rm_every.labels"))
	b.requireCounts(m.group)

	b.log.append(id[0], projectRenamed{"Genève"})
	b.log.append(id[2], taskRenamed{"Renamed"}, taskTagged{"more"}, taskTouched{})
	b.log.append(id[4], taskMoved{id[0]})
	b.log.append(id[7], tasksClosed{[]uuid.UUID{id[2], id[3], id[6]}}) // the last does not exist
	p = b.log.append(id[2], unlabelled{"red"}, taskRenamed{"Again"})
	b.await(e, p)
	require.Equal(t, []string{"genève", "genève", "genève"}, b.strings("select project_name_f from rm_every.tasks order by id"))
	require.Equal(t, []string{"first|c\\d||NULL|more"}, b.strings("select array_to_string(tags, '|') from rm_every.tasks where id = $1", id[2]))
	require.Equal(t, []string{`{"words": {"Again": 1, "Renamed": 1, "Über�sicht": 1}}`}, b.strings("select details::text from rm_every.tasks where id = $1", id[2]))
	require.EqualValues(t, 2, b.number("select changes from rm_every.tasks where id = $1", id[2]))
	require.EqualValues(t, 2, b.number("select n from rm_every.counters where table_name = 'tasks' and key = 'done=true'"))
	require.EqualValues(t, 1, b.number("select count(*) from rm_every.labels"))
	b.requireCounts(m.group)

	b.log.append(id[0], projectMoved{orgB})
	b.log.append(id[2], taskDeleted{})
	p = b.log.append(id[7], tasksRemoved{[]uuid.UUID{id[3]}})
	b.await(e, p)
	require.Equal(t, []string{id[4].String()}, b.strings("select id::text from rm_every.tasks"))
	require.Equal(t, []string{"moved"}, b.strings("select status from rm_every.tasks where org_id = $1", orgB))
	require.EqualValues(t, 0, b.number("select count(*) from rm_every.labels"))
	b.requireCounts(m.group)

	p = b.log.append(id[0], projectDeleted{})
	b.await(e, p)
	require.EqualValues(t, 0, b.number("select count(*) from rm_every.tasks"))
	require.EqualValues(t, 0, b.number("select count(*) from rm_every.counters where table_name = 'tasks'"))
	b.requireCounts(m.group)
	e.stop()
}

func TestClosureOfATree(t *testing.T) {
	b := newBench(t)
	m := newModel("tree")
	e := b.start(nil, m.group)
	id := ids(5)
	under := func(p uuid.UUID) orgCreated { return orgCreated{&p} }
	b.log.append(id[0], orgCreated{})
	b.log.append(id[1], under(id[0]))
	b.log.append(id[2], under(id[1]))
	b.log.append(id[3], under(id[2]))
	p := b.log.append(id[4], under(id[0]))
	b.await(e, p)
	below := func(i int) int64 { return b.number("select count(*) from rm_tree.closure where above = $1", id[i]) }
	require.Equal(t, []int64{5, 3, 2, 1, 1}, []int64{below(0), below(1), below(2), below(3), below(4)})
	p = b.log.append(id[2], orgMoved{id[4]})
	b.await(e, p)
	require.Equal(t, []int64{5, 1, 2, 1, 3}, []int64{below(0), below(1), below(2), below(3), below(4)})
	require.EqualValues(t, 3, b.number("select depth from rm_tree.closure where above = $1 and below = $2", id[0], id[3]))
}
