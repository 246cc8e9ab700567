package projections

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// commits counts batches.
type commits struct {
	mu     sync.Mutex
	events []int
	rows   int
	states []State
}

func (c *commits) BatchCommitted(_ string, events, rows int, _ time.Duration, _ time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events, c.rows = append(c.events, events), c.rows+rows
}

func (c *commits) StateChanged(_ string, s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, s)
}

func (c *commits) seen() []State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]State(nil), c.states...)
}

func TestBatchesEndWithAppends(t *testing.T) {
	b := newBench(t)
	m := newModel("whole")
	var c commits
	e := b.start(func(config *Config) {
		config.Metrics, config.BatchSize = &c, 3
		config.appendRest = patience // however slow the machine is
	}, m.group)
	b.awaitState(e, "whole", Live)
	id := ids(40)
	var p eventstore.Position
	for _, i := range id[1:] {
		p = b.log.append(i, taskCreated{id[0], "a", nil, nil}, taskTouched{}, taskRenamed{"b"}, taskRenamed{"c"}, taskTagged{"d"})
	}
	b.await(e, p)
	e.stop()
	total := 0
	for _, n := range c.events {
		require.Zero(t, n%5, "a batch of %d events", n)
		total += n
	}
	require.Equal(t, 39*5, total)
	require.Equal(t, []State{Rebuilding, CatchingUp, Live, Starting}, c.states)
}

func TestUnchangedRowsAreNotWritten(t *testing.T) {
	b := newBench(t)
	m := newModel("same")
	var c commits
	e := b.start(func(config *Config) { config.Metrics = &c }, m.group)
	b.awaitState(e, "same", Live)
	id := ids(2)
	p := b.log.append(id[1], taskCreated{id[0], "a", nil, nil})
	b.await(e, p)
	version := "select xmin::text from rm_same.tasks"
	before := b.strings(version)
	p = b.log.append(id[1], taskTouched{})
	b.await(e, p)
	require.Equal(t, before, b.strings(version))
	e.stop() // until then figures may come late
	require.Equal(t, 1, c.rows)
}

func TestPutsMayMeetExistingRows(t *testing.T) {
	b := newBench(t)
	m := newModel("again")
	e := b.start(nil, m.group)
	b.awaitState(e, "again", Live)
	id := ids(4)
	p := b.log.append(id[0], projectCreated{"one", id[2]})
	b.await(e, p)
	p = b.log.append(id[0], projectCreated{"two", id[3]})
	b.await(e, p)
	require.Equal(t, []string{"two"}, b.strings("select name from rm_again.projects"))
	b.requireCounts(m.group)
}

func TestProgressWithoutEventsIsStoredLazily(t *testing.T) {
	b := newBench(t)
	m := newModel("lazy")
	e := b.start(nil, m.group)
	b.awaitState(e, "lazy", Live)
	stored := func() eventstore.Position {
		return eventstore.Position(b.number("select position from docket_projections.checkpoints where group_name = 'lazy'"))
	}
	p := b.log.append(ids(1)[0], foreign{}, foreign{})
	b.await(e, p)
	require.Eventually(t, func() bool { return stored() == p }, patience, 10*time.Millisecond)
	p = b.log.append(ids(1)[0], foreign{})
	b.await(e, p)
	e.stop()
	require.Equal(t, p, stored())
}

func TestAwaitFromAnotherProcess(t *testing.T) {
	noLeaks(t)
	b := newBench(t)
	owner := b.start(nil, newModel("shared").group)
	b.awaitState(owner, "shared", Live)
	standby := b.start(nil, newModel("shared").group)
	watcher := b.start(func(c *Config) { c.WatchOnly = true }, newModel("shared").group)
	b.awaitState(standby, "shared", WaitingForLock)
	require.NoError(t, standby.Healthy())
	require.NoError(t, watcher.Healthy())
	id := ids(60)
	for _, i := range id[1:50] {
		p := b.log.append(i, taskCreated{id[0], "t", nil, nil})
		b.await(standby, p)
		b.await(watcher, p)
		require.EqualValues(t, 1, b.number("select count(*) from rm_shared.tasks where id = $1", i))
	}
	// The standby takes over, and nothing is lost or done twice.
	owner.stop()
	for _, i := range id[50:] {
		p := b.log.append(i, taskCreated{id[0], "t", nil, nil})
		b.await(watcher, p)
	}
	b.awaitState(standby, "shared", Live)
	require.EqualValues(t, 59, b.number("select count(*) from rm_shared.tasks"))
	standby.stop()
	watcher.stop()
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	b := newBench(t)
	e := b.start(nil, newModel("ends").group)
	b.awaitState(e, "ends", Live)
	ctx, cancel := context.WithCancel(context.Background())
	answered := make(chan bool)
	go func() { answered <- e.Await(ctx, 1_000_000, []string{"test.task-created"}) }()
	cancel()
	require.False(t, <-answered)
	require.True(t, e.Await(context.Background(), 1_000_000, []string{"unknown", "test.noted"}), "nobody handles these")
}

// quiet is a log that says nothing of events of no concern, as a filtered
// subscription of an event store does most of the time.
type quiet struct{ eventstore.Store }

func (q quiet) Follow(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		told := false
		for m, err := range q.Store.Follow(ctx, after, filter) {
			if m.Event == nil && err == nil && told {
				continue
			}
			told = told || m.CaughtUp
			if !yield(m, err) {
				return
			}
		}
	}
}

func TestAwaitPastEventsOfNoConcern(t *testing.T) {
	b := newBench(t)
	e := b.start(func(c *Config) { c.Store = quiet{b.log} }, newModel("quiet").group)
	b.awaitState(e, "quiet", Live)
	id := ids(1)[0]
	p := b.log.append(id, foreign{}, foreign{})
	b.await(e, p)
	b.await(e, b.log.append(id, taskCreated{id, "t", nil, nil}))
	p = b.log.append(id, foreign{})
	b.await(e, p)
	require.True(t, e.runners["quiet"].nothingBetween(t.Context(), p-7, p, patience))
	require.False(t, e.runners["quiet"].nothingBetween(t.Context(), 0, p, patience), "there is a task")
}

// Whoever waits is not kept by somebody else's look at the database.
func TestAwaitEndsWhileAnotherPolls(t *testing.T) {
	b := newBench(t)
	e, err := NewEngine(Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: []*Group{newModel("polls").group}, WatchOnly: true})
	require.NoError(t, err)
	e.polling.Lock()
	defer e.polling.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 3*pollInterval)
	defer cancel()
	answered := make(chan bool, 1)
	go func() { answered <- e.Await(ctx, 1, []string{"test.task-created"}) }()
	select {
	case reached := <-answered:
		require.False(t, reached)
	case <-time.After(patience):
		t.Fatal("waits for the other")
	}
}

// heldStore delivers nothing while held.
type heldStore struct {
	eventstore.Store
	held sync.RWMutex
}

func (s *heldStore) Follow(ctx context.Context, after eventstore.Position, f eventstore.Filter) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		for m, err := range s.Store.Follow(ctx, after, f) {
			s.held.RLock()
			goOn := yield(m, err)
			s.held.RUnlock()
			if !goOn {
				return
			}
		}
	}
}

// A writer that does not know it lost the group must not write.
func TestTwoWritersAreFenced(t *testing.T) {
	b := newBench(t)
	m := newModel("fence")
	owners := &heldStore{Store: b.log}
	var c commits
	e := b.start(func(config *Config) { config.Store, config.Metrics = owners, &c }, m.group)
	b.awaitState(e, "fence", Live)
	id := ids(2)
	p := b.log.append(id[1], taskCreated{id[0], "t", nil, nil})
	b.await(e, p)

	// A second engine follows without holding the lock, and is first.
	rogue, err := NewEngine(Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: []*Group{m.group}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	conn, err := rogue.connect(context.Background())
	require.NoError(t, err)
	defer closeConn(conn)
	owners.held.Lock()
	wrote, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- rogue.runners["fence"].follow(context.Background(), conn, p, func() {
			select {
			case wrote <- struct{}{}:
			default: // nobody waits any more
			}
		})
	}()
	b.log.append(id[1], taskRenamed{"first"})
	<-wrote
	// The owner comes late with the same event, notices, and starts again.
	before := len(c.seen())
	owners.held.Unlock()
	require.Eventually(t, func() bool { return len(c.seen()) > before+1 }, patience, time.Millisecond)
	b.awaitState(e, "fence", Live)
	require.EqualValues(t, 1, b.number("select changes from rm_fence.tasks"))
	// Now both come with every event; each is applied once, and the second
	// writer gives up as soon as it was not the first.
	renames := int64(1)
	for fenced := false; !fenced; {
		p = b.log.append(id[1], taskRenamed{"more"})
		renames++
		b.await(e, p)
		select {
		case err := <-ended:
			require.ErrorIs(t, err, errFenced)
			fenced = true
		default:
		}
	}
	require.Equal(t, renames, b.number("select changes from rm_fence.tasks"))
}

// A swap of another version need not move the position. Who wrote the tables
// before must notice all the same, since they are not of its making any more.
func TestAnotherVersionFencesAtTheSamePosition(t *testing.T) {
	b := newBench(t)
	m, id := newModel("swapped"), ids(2)
	e := b.start(nil, m.group)
	b.await(e, b.log.append(id[1], taskCreated{id[0], "t", nil, nil}))
	b.exec("update docket_projections.checkpoints set version = 'another' where group_name = 'swapped'")
	p := b.log.append(id[1], taskRenamed{"u"})
	built := func() bool {
		return b.number("select count(*) from docket_projections.versions where group_name = 'swapped'") == 2
	}
	require.Eventually(t, built, patience, 5*time.Millisecond, "its own version is built again")
	b.awaitState(e, "swapped", Live)
	b.await(e, p)
	require.Equal(t, []string{m.group.version}, b.strings("select version from docket_projections.checkpoints where group_name = 'swapped'"))
	require.Equal(t, []string{"u"}, b.strings("select name from rm_swapped.tasks"))
}

func TestPoisonStopsItsGroupOnly(t *testing.T) {
	for _, how := range []string{"panic", "data"} {
		t.Run(how, func(t *testing.T) {
			noLeaks(t)
			b := newBench(t)
			sick, well := newModel("sick"), newWell()
			e := b.start(nil, sick.group, well)
			b.awaitState(e, "sick", Live)
			id := ids(30)
			b.log.append(rootProject, projectCreated{"root", id[0]})
			for _, i := range id[1:20] {
				b.log.append(i, taskCreated{rootProject, "t", nil, nil})
			}
			before := b.log.append(id[1], taskRenamed{"last good"})
			poison := b.log.append(rootProject, poisoned{how})
			after := b.log.append(id[20], taskCreated{rootProject, "after", nil, nil})

			s := b.awaitState(e, "sick", Stopped)
			require.Equal(t, poison, s.Failure.Position)
			require.Equal(t, "test.poisoned", s.Failure.EventType)
			require.Equal(t, before, s.Position, "everything before is committed")
			require.EqualValues(t, 19, b.number("select count(*) from rm_sick.tasks"))
			require.False(t, e.Await(context.Background(), after, []string{"test.task-created"}), "at once, not at the deadline")
			require.ErrorContains(t, e.Healthy(), "sick is stopped at test.poisoned")
			require.True(t, b.wellReaches(e, after))
			b.requireCounts(sick.group)

			// It stays stopped over a restart.
			e.stop()
			e = b.start(nil, sick.group, well)
			s = b.awaitState(e, "sick", Stopped)

			ctx := context.Background()
			require.ErrorIs(t, e.Skip(ctx, "sick", Skipped{EventID: uuid.New(), Actor: "op", Reason: "why"}), ErrNotStopped)
			require.ErrorContains(t, e.Skip(ctx, "sick", Skipped{EventID: s.Failure.EventID}), "actor and a reason")
			require.Eventually(t, func() bool {
				err := e.Skip(ctx, "sick", Skipped{EventID: s.Failure.EventID, Actor: "op", Reason: "known bug"})
				return err == nil
			}, patience, 5*time.Millisecond, "the failure is recorded a moment after the state")
			b.awaitState(e, "sick", Live)
			b.await(e, after)
			require.NoError(t, e.Healthy())
			require.Equal(t, []string{"op: known bug"}, b.strings("select actor || ': ' || reason from docket_projections.projection_skips where event_type = 'test.poisoned'"))

			want := b.dump(sick.group)
			require.NoError(t, e.Rebuild(ctx, "sick", nil), "a rebuild skips it too")
			require.Equal(t, want, b.dump(sick.group))
			e.stop()
		})
	}
}

// A first build meets the poison in the backlog and names it all the same.
func TestPoisonInTheBacklog(t *testing.T) {
	for _, how := range []string{"panic", "data", "garbage"} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t)
			m := newModel("backlog")
			id := ids(300)
			b.log.append(rootProject, projectCreated{"root", id[0]})
			for _, i := range id[1:] {
				b.log.append(i, taskCreated{rootProject, "t", nil, nil})
			}
			poison := b.log.append(rootProject, poisoned{how})
			if how == "garbage" {
				b.log.events[len(b.log.events)-1].Data = []byte("{")
			}
			b.log.append(id[1], taskRenamed{"after"})
			e := b.start(nil, m.group)
			s := b.awaitState(e, "backlog", Stopped)
			require.Equal(t, poison, s.Failure.Position)
			require.Eventually(t, func() bool {
				return e.Skip(context.Background(), "backlog", Skipped{EventID: s.Failure.EventID, Actor: "op", Reason: "r"}) == nil
			}, patience, 5*time.Millisecond)
			b.awaitState(e, "backlog", Live)
			require.EqualValues(t, 299, b.number("select count(*) from rm_backlog.tasks"))
			require.EqualValues(t, 1, b.number("select count(*) from rm_backlog.tasks where name = 'after'"))
		})
	}
}

// newWell is a group that sees the same events and has no trouble with them.
func newWell() *Group {
	type row struct {
		Stream string `db:"stream,pk"`
	}
	table := NewTable[row]("streams")
	return NewGroup("well", eventstore.Filter{TypePrefixes: []string{"test."}}, table,
		Put(table, func(_ taskCreated, rec Rec) row { return row{rec.Stream} }))
}

func (b *bench) wellReaches(e *engine, p eventstore.Position) bool {
	r := e.runners["well"]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return e.awaitGroup(ctx, r, p)
}

func TestUniqueIsCheckedAtCommit(t *testing.T) {
	type row struct {
		ID   uuid.UUID `db:"id,pk"`
		Name string    `db:"name"`
	}
	table := NewTable[row]("names", Unique("name"))
	g := NewGroup("uniq", eventstore.Filter{TypePrefixes: []string{"test."}}, table,
		Put(table, func(e noted, rec Rec) row { return row{rec.StreamID(), e.Text} }))
	b := newBench(t)
	id := ids(3)
	e := b.start(nil, g)
	b.awaitState(e, "uniq", Live)
	b.log.append(id[0], noted{"a"})
	p := b.log.append(id[1], noted{"b"})
	require.True(t, b.reaches(e, p, noted{}))
	// a and b change places by way of c: fine whatever batches are made of it.
	b.log.append(id[0], noted{"c"})
	b.log.append(id[1], noted{"a"})
	p = b.log.append(id[0], noted{"b"})
	require.True(t, b.reaches(e, p, noted{}))
	require.Equal(t, []string{"b", "a"}, b.strings("select name from rm_uniq.names order by id"))
	bad := b.log.append(id[2], noted{"a"})
	b.log.append(ids(4)[3], noted{"later"})
	s := b.awaitState(e, "uniq", Stopped)
	require.Equal(t, bad, s.Failure.Position)
	require.Contains(t, s.Failure.Error, "23505")
}

// Connections die all the time; nothing is lost, nothing happens twice.
func TestKilledConnections(t *testing.T) {
	noLeaks(t)
	b := newBench(t)
	m := newModel("kills")
	e := b.start(func(c *Config) { c.BatchSize = 20 }, m.group)
	b.awaitState(e, "kills", Live)
	id := ids(41)
	b.log.append(id[0], projectCreated{"p", id[0]})
	for _, i := range id[1:] {
		b.log.append(i, taskCreated{id[0], "t", nil, nil})
	}
	killer := b.connectAside()
	var p eventstore.Position
	kills := int64(0)
	for round := range 60 {
		for _, i := range id[1:] {
			b.log.append(i, taskRenamed{"r"})
		}
		p = b.log.append(id[0], projectRenamed{id[round%40].String()})
		if round%4 == 0 {
			var n int64
			require.NoError(t, killer.QueryRow(context.Background(), `select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity
				where datname = current_database() and pid <> pg_backend_pid()) k`).Scan(&n))
			kills += n
		}
	}
	b.await(e, p)
	require.NotZero(t, kills)
	require.EqualValues(t, 40*60, b.numberAside(killer, "select sum(changes) from rm_kills.tasks"))
	b.awaitState(e, "kills", Live)
	require.Eventually(t, func() bool { return b.pool.Ping(context.Background()) == nil }, patience, 5*time.Millisecond)
	report, err := e.Verify(context.Background(), "kills")
	require.NoError(t, err)
	require.Zero(t, report.Differences, "%+v", report.Examples)
	e.stop()
}

// connectAside is a connection outside the pool.
func (b *bench) connectAside() *pgx.Conn {
	conn, err := pgx.ConnectConfig(context.Background(), b.pool.Config().ConnConfig)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { closeConn(conn) })
	return conn
}

func (b *bench) numberAside(conn *pgx.Conn, sql string) (n int64) {
	require.NoError(b.t, conn.QueryRow(context.Background(), sql).Scan(&n))
	return n
}

func TestNewEngineRefuses(t *testing.T) {
	b := newBench(t)
	g := newModel("g").group
	_, err := NewEngine(Config{Store: b.log, Codec: b.codec, Groups: []*Group{g}})
	require.ErrorContains(t, err, "required")
	_, err = NewEngine(Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: []*Group{g, g}})
	require.ErrorContains(t, err, "two groups named g")
	_, err = NewEngine(Config{Store: b.log, Codec: eventstore.NewCodec(noted{}), Pool: b.pool, Groups: []*Group{g}})
	require.ErrorContains(t, err, "codec does not know")
	e, err := NewEngine(Config{Store: b.log, Codec: b.codec, Pool: b.pool, Groups: []*Group{g}})
	require.NoError(t, err)
	require.ErrorContains(t, e.Rebuild(context.Background(), "other", nil), `no group "other"`)
	require.ErrorContains(t, e.Skip(context.Background(), "other", Skipped{}), `no group "other"`)
}

func TestStatus(t *testing.T) {
	b := newBench(t)
	e := b.start(nil, newModel("b").group, newModel("a").group)
	p := b.log.append(ids(1)[0], projectCreated{"p", uuid.Nil})
	b.await(e, p)
	b.awaitState(e, "a", Live)
	b.awaitState(e, "b", Live)
	var list []Status
	require.Eventually(t, func() bool { // a batch is under way until a moment after its commit
		list = e.Status(context.Background())
		return list[0].Behind == 0 && list[1].Behind == 0
	}, patience, time.Millisecond)
	require.Len(t, list, 2)
	require.Equal(t, "a", list[0].Group)
	for _, s := range list {
		require.Equal(t, Status{Group: s.Group, Version: s.Version, State: Live, Since: s.Since, Position: p, Head: p}, s)
	}
	require.NotEmpty(t, list[0].Version)
}
