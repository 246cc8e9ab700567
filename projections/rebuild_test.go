package projections

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// schemas lists those of a group.
func (b *bench) schemas(group string) []string {
	return b.strings("select nspname::text from pg_namespace where starts_with(nspname, $1) order by 1", liveSchema(group))
}

// fill writes a history of n tasks and returns its end.
func (b *bench) fill(n int) (list []uuid.UUID, p eventstore.Position) {
	list = ids(n + 2)
	b.log.append(list[0], projectCreated{"Project", list[1]})
	for i, id := range list[2:] {
		p = b.log.append(id, taskCreated{list[0], fmt.Sprint("task ", i), nil, []string{"x"}}, taskRenamed{fmt.Sprint("Task ", i)}, labelled{[]string{"a"}})
	}
	return list, p
}

func TestRebuildUnderReadersAndWriters(t *testing.T) {
	noLeaks(t)
	b := newBench(t)
	m := newModel("busy")
	id, p := b.fill(500)
	e := b.start(nil, m.group)
	b.await(e, p)
	ctx := context.Background()

	var running sync.WaitGroup
	var reads, writes atomic.Int64
	stop := make(chan struct{})
	for range 3 { // readers with prepared statements, as the pool makes them
		running.Go(func() {
			for {
				var n, counted int64
				err := b.pool.QueryRow(ctx, `select count(*), (select n from rm_busy.counters where table_name = 'tasks' and key = '')
					from rm_busy.tasks where name_f like $1`, "task%").Scan(&n, &counted)
				if err != nil || n < 500 || n != counted {
					t.Errorf("read %d, counted %d: %v", n, counted, err)
					return
				}
				reads.Add(1)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	running.Go(func() { // a writer that reads its own writes
		for i := 0; ; i++ {
			name := fmt.Sprint("Task renamed ", i)
			if !b.reaches(e, b.log.append(id[2], taskRenamed{name})) {
				t.Error("await failed")
				return
			}
			var got string
			if err := b.pool.QueryRow(ctx, "select name from rm_busy.tasks where id = $1", id[2]).Scan(&got); err != nil || got != name {
				t.Errorf("wrote %q, read %q: %v", name, got, err)
				return
			}
			writes.Add(1)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var phases []string
	for range 5 {
		before, beforeWrites := reads.Load(), writes.Load()
		require.NoError(t, e.Rebuild(ctx, "busy", func(p Progress) {
			if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
				phases = append(phases, p.Phase)
			}
		}))
		require.Eventually(t, func() bool { return reads.Load() > before && writes.Load() > beforeWrites }, patience, time.Millisecond)
	}
	close(stop)
	running.Wait()
	require.Equal(t, []string{"reading", "indexing", "swapping"}, phases[:3])
	b.requireCounts(m.group)
	report, err := e.Verify(ctx, "busy")
	require.NoError(t, err)
	require.Zero(t, report.Differences, "%+v", report.Examples)
	require.Eventually(t, func() bool { return len(b.schemas("busy")) == 1 }, patience, 10*time.Millisecond, "replaced tables are dropped")
	require.EqualValues(t, 6, b.number("select count(*) from docket_projections.versions where group_name = 'busy'"))
	t.Logf("%d reads, %d writes", reads.Load(), writes.Load())
	e.stop()
}

func TestRebuildByAnotherProcess(t *testing.T) {
	b := newBench(t)
	m := newModel("other")
	id, p := b.fill(50)
	e := b.start(nil, m.group)
	b.await(e, p)
	b.exec("update rm_other.tasks set name = 'tampered'")
	operator, err := NewEngine(Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: []*Group{newModel("other").group}})
	require.NoError(t, err)
	require.NoError(t, operator.Rebuild(context.Background(), "other", nil))
	require.Zero(t, b.number("select count(*) from rm_other.tasks where name = 'tampered'"))
	p = b.log.append(id[2], taskRenamed{"goes on"})
	b.await(e, p)
	require.EqualValues(t, 1, b.number("select count(*) from rm_other.tasks where name = 'goes on'"))
	require.Eventually(t, func() bool { return len(b.schemas("other")) == 1 }, patience, 10*time.Millisecond)
}

func TestNewVersionIsBuiltBesideTheOld(t *testing.T) {
	b := newBench(t)
	_, p := b.fill(50)
	e := b.start(nil, newModel("v").group)
	b.await(e, p)
	old := e.runners["v"].group.Version()
	e.stop()
	p = b.log.append(uuid.New(), taskCreated{uuid.Nil, "new", nil, nil})

	// The log cannot be read: the old tables go on serving, and nobody waits.
	b.log.broken = true
	type extraRow struct {
		ID uuid.UUID `db:"id,pk"`
	}
	changed := newModel("v", NewTable[extraRow]("extra"))
	require.NotEqual(t, old, changed.group.Version())
	e = b.start(nil, changed.group)
	b.awaitState(e, "v", Rebuilding)
	require.ErrorContains(t, e.Healthy(), "v is rebuilding")
	require.Eventually(t, func() bool { return !e.Await(context.Background(), p, []string{"test.task-created"}) }, patience, time.Millisecond)
	require.EqualValues(t, 50, b.number("select count(*) from rm_v.tasks"))

	b.log.mu.Lock()
	b.log.broken = false
	b.log.mu.Unlock()
	b.awaitState(e, "v", Live)
	b.await(e, p)
	require.EqualValues(t, 51, b.number("select count(*) from rm_v.tasks"))
	require.Zero(t, b.number("select count(*) from rm_v.extra"))
	require.Equal(t, []string{changed.group.Version()}, b.strings("select version from docket_projections.checkpoints"))
	require.Eventually(t, func() bool { return len(b.schemas("v")) == 1 }, patience, 10*time.Millisecond)
}

func TestLeftoversOfACrash(t *testing.T) {
	b := newBench(t)
	// A first build that died in the middle, and shadows of rebuilds that did.
	b.exec(`create schema rm_left; create table rm_left.projects (x int); create schema "rm_left$new"; create schema "rm_left$old1";
		create schema "rm_left$verify"; create schema rm_left2; create schema "rm_left2$new"`)
	_, p := b.fill(5)
	e := b.start(nil, newModel("left").group)
	b.await(e, p)
	require.EqualValues(t, 5, b.number("select count(*) from rm_left.tasks"))
	require.Eventually(t, func() bool { return len(b.schemas("left")) == 3 }, patience, 10*time.Millisecond)
	require.Equal(t, []string{"rm_left", "rm_left2", "rm_left2$new"}, b.schemas("left"))
}

func TestSecondRebuildIsRefused(t *testing.T) {
	b := newBench(t)
	_, p := b.fill(5)
	e := b.start(nil, newModel("one").group)
	b.await(e, p)
	aside := b.connectAside()
	_, err := aside.Exec(context.Background(), "select pg_advisory_lock(hashtextextended('one', 2))")
	require.NoError(t, err)
	require.ErrorIs(t, e.Rebuild(context.Background(), "one", nil), ErrBusy)
}

// Old tables that somebody reads for long cannot be dropped yet. Trying to is no
// rebuild that another must not meet.
func TestLongReadsDoNotRefuseARebuild(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	var names []string
	for i := range 5 {
		name := fmt.Sprintf(`"rm_long$old%d".kept`, i)
		b.exec(fmt.Sprintf(`create schema "rm_long$old%d"; create table %s (x int)`, i, name))
		names = append(names, name)
	}
	aside := b.connectAside()
	reading, err := aside.Begin(ctx)
	require.NoError(t, err)
	_, err = reading.Exec(ctx, "lock table "+strings.Join(names, ", ")+" in access share mode")
	require.NoError(t, err)
	_, p := b.fill(5)
	e := b.start(nil, newModel("long").group)
	b.await(e, p)
	require.Eventually(t, func() bool {
		return b.number("select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'") > 0
	}, patience, time.Millisecond)
	require.NoError(t, e.Rebuild(ctx, "long", nil))
	require.NoError(t, reading.Rollback(ctx))
	require.Eventually(t, func() bool { return len(b.schemas("long")) == 1 }, patience, 10*time.Millisecond)
}

func TestRebuildFailsOnPoisonAndLiveGoesOn(t *testing.T) {
	b := newBench(t)
	m := newModel("fails")
	id, p := b.fill(20)
	e := b.start(nil, m.group)
	b.await(e, p)
	// The event was fine when it was live.
	b.log.mu.Lock()
	b.log.events[10].Data = []byte("{")
	bad := b.log.events[10].ID
	b.log.mu.Unlock()
	require.ErrorContains(t, e.Rebuild(context.Background(), "fails", nil), bad.String())
	require.Equal(t, []string{"rm_fails"}, b.schemas("fails"))
	p = b.log.append(id[2], taskRenamed{"goes on"})
	b.await(e, p)
}

func TestVerify(t *testing.T) {
	b := newBench(t)
	m := newModel("check")
	id, p := b.fill(30)
	e := b.start(nil, m.group)
	b.await(e, p)
	ctx := context.Background()
	report, err := e.Verify(ctx, "check")
	require.NoError(t, err)
	require.Zero(t, report.Differences, "%+v", report.Examples)
	require.Equal(t, p, report.Position)
	require.EqualValues(t, 1+30+30+b.number("select count(*) from rm_check.counters"), report.Rows)

	b.exec("update rm_check.tasks set name = 'tampered', done = true where id = $1", id[5])
	b.exec("delete from rm_check.tasks where id = $1", id[6])
	b.exec("insert into rm_check.labels values ($1, 'made up')", id[7])
	b.exec("update rm_check.counters set n = n + 1 where table_name = 'labels' and key = ''")
	report, err = e.Verify(ctx, "check")
	require.NoError(t, err)
	require.EqualValues(t, 4, report.Differences)
	require.ElementsMatch(t, []Difference{
		{"tasks", id[5].String(), "different", []string{"name", "done"}},
		{"tasks", id[6].String(), "missing", nil},
		{"labels", id[7].String() + "/made up", "extra", nil},
		{"counters", "labels/", "different", []string{"n"}},
	}, report.Examples)
	require.Equal(t, []string{"rm_check"}, b.schemas("check"), "nothing is left behind")

	require.NoError(t, e.Rebuild(ctx, "check", nil))
	report, err = e.Verify(ctx, "check")
	require.NoError(t, err)
	require.Zero(t, report.Differences, "a rebuild repairs")
}

func TestVerifyUnderWriters(t *testing.T) {
	b := newBench(t)
	m := newModel("moving")
	id, p := b.fill(100)
	e := b.start(nil, m.group)
	b.await(e, p)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b.reaches(e, b.log.append(id[2+i%100], taskRenamed{fmt.Sprint(i)}))
			}
		}
	}()
	for range 3 {
		report, err := e.Verify(context.Background(), "moving")
		require.NoError(t, err)
		require.Zero(t, report.Differences, "%+v", report.Examples)
	}
	close(stop)
	<-ended
}
