package cascade

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/reactors"
	commandedreporting "docket/commands/reporting"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/reporting"
	"docket/eventstore"
	"docket/eventstore/memory"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var project, sales = domain.WellKnownID(0x140), domain.WellKnownID(0x100)

func taskID(n int) domain.ID { return domain.WellKnownID(uint32(0x10000 + n)) }

// models answer for read models whose lists are what the log says.
type models struct {
	store *memory.Store
	codec *eventstore.Codec

	behind  atomic.Bool // not yet up to any event
	broken  atomic.Bool // not answering
	pages   atomic.Int32
	looks   atomic.Int32
	refused atomic.Int32
	stale   bool // lists hold what has ended, too
}

func (m *models) Await(ctx context.Context, _ eventstore.Position, _ []string) bool {
	return !m.behind.Load()
}

func (m *models) Committed(string) (eventstore.Position, bool) {
	head, err := m.store.Head(context.Background())
	return head, err == nil
}

// orphans are the tasks whose project was deleted, by whether they were late.
func (m *models) orphans() map[domain.ID]bool {
	all, live, gone := map[domain.ID]bool{}, map[domain.ID]bool{}, false
	for r := range m.store.ReadAll(context.Background(), 0, eventstore.Filter{TypePrefixes: []string{"reporting."}}) {
		e, _, err := m.codec.DecodeRecorded(r)
		if err != nil {
			panic(err)
		}
		switch e := e.(type) {
		case reporting.TaskCreated:
			if gone {
				all[e.ID] = true
			}
			live[e.ID] = true
		case reporting.ProjectDeleted:
			gone = true
			for id := range live {
				all[id] = false
			}
		case reporting.TaskDeleted:
			delete(live, e.ID)
			if !m.stale {
				delete(all, e.ID)
			}
		}
	}
	return all
}

func (m *models) OrphanedTasks(_ context.Context, _, after domain.ID, limit int) ([]domain.ID, error) {
	if m.broken.Load() {
		m.refused.Add(1)
		return nil, context.DeadlineExceeded
	}
	m.pages.Add(1)
	var list []domain.ID
	for id := range m.orphans() {
		if bytes.Compare(id[:], after[:]) > 0 {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, domain.CompareIDs)
	return list[:min(limit, len(list))], nil
}

func (m *models) LateTask(_ context.Context, task domain.ID) (late, any bool, err error) {
	m.looks.Add(1)
	for id, late := range m.orphans() {
		any = any || late
		if late && id == task {
			return true, true, nil
		}
	}
	return false, any, nil
}

func (m *models) OrphanedKeys(context.Context, domain.ID, domain.ID, int) ([]domain.ID, error) {
	return nil, nil
}

func (m *models) TasksWithRecipient(context.Context, domain.ID, domain.ID, int) ([]domain.ID, error) {
	return nil, nil
}

func (m *models) LateKey(context.Context, domain.ID) (bool, bool, error) {
	return false, false, errors.New("not asked")
}

func (m *models) OrphanedAccessKeys(context.Context, domain.ID, domain.ID, int) ([]domain.ID, error) {
	return nil, nil
}

func (m *models) OrphanedDevices(context.Context, domain.ID, domain.ID, int) ([]domain.ID, error) {
	return nil, nil
}

func (m *models) LateAccess(context.Context, domain.ID) (bool, bool, error) {
	return false, false, errors.New("not asked")
}

type world struct {
	*models
	t   *testing.T
	bus *commands.Bus
}

func newWorld(t *testing.T) *world {
	t.Cleanup(func() { goleak.VerifyNone(t, goleak.IgnoreTopFunction("os/exec.(*Cmd).watchCtx")) })
	codec := eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events(), reporting.Events())...)
	store := memory.New()
	bus := commands.NewBus(commands.Config{Store: store, Codec: codec, Digest: func(a, b string) string { return a + b }, Logger: slog.New(slog.DiscardHandler)})
	commandedreporting.Register(bus)
	return &world{models: &models{store: store, codec: codec}, t: t, bus: bus}
}

// run starts the reactors and returns how to stop them.
func (w *world) run() *reactors.Engine {
	e, err := reactors.NewEngine(reactors.Config{Store: w.store, Codec: w.codec, Pool: pgtest.New(w.t), Logger: slog.New(slog.DiscardHandler),
		Reactors: Reactors(Config{Bus: w.bus, Models: w.models, Work: w.models})})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	w.t.Cleanup(sync.OnceFunc(func() { cancel(); require.NoError(w.t, <-ended) }))
	return e
}

func (w *world) append(stream string, events ...domain.Event) {
	w.t.Helper()
	_, revision, err := commands.Load[reporting.Task](context.Background(), w.bus, stream)
	require.NoError(w.t, err)
	var proposed []eventstore.Proposed
	for _, e := range events {
		data, err := w.codec.Encode(e)
		require.NoError(w.t, err)
		proposed = append(proposed, eventstore.Proposed{ID: uuid.New(), Type: e.EventType(), Data: data, Meta: []byte("{}")})
	}
	_, err = w.store.Append(context.Background(), stream, revision, proposed)
	require.NoError(w.t, err)
}

func (w *world) create(n int) {
	w.append(reporting.TaskStream(taskID(n)), reporting.TaskCreated{ID: taskID(n), ProjectID: project, OrganizationID: sales, Name: "T"})
}

func (w *world) publish() {
	w.append(reporting.ProjectStream(project), reporting.ProjectPublished{ID: project, OrganizationID: sales, Name: "P", Reports: []reporting.Report{}})
}

func (w *world) delete() {
	w.append(reporting.ProjectStream(project), reporting.ProjectDeleted{ID: project})
}

// ends counts the events that end a task.
func (w *world) ends(n int) (count int) {
	for r, err := range w.store.Load(context.Background(), reporting.TaskStream(taskID(n)), 0) {
		require.NoError(w.t, err)
		if r.Type == (reporting.TaskDeleted{}).EventType() {
			count++
		}
	}
	return count
}

func (w *world) awaitEnd(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.ends(n) > 0 }, 30*time.Second, time.Millisecond)
}

// Lists longer than a page are worked off, whether or not entries leave them.
func TestLongLists(t *testing.T) {
	for name, stale := range map[string]bool{"current": false, "stale": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.stale = stale
			w.publish()
			const n = 2*chunk + 1
			for i := range n {
				w.create(i)
			}
			w.delete()
			w.run()
			w.awaitEnd(n - 1) // the last by its id
			for i := range n {
				require.Equal(t, 1, w.ends(i))
			}
		})
	}
}

func TestReadModelsThatAreLateOrDown(t *testing.T) {
	w := newWorld(t)
	w.publish()
	w.create(1)
	w.delete()
	w.behind.Store(true)
	e := w.run()
	require.Eventually(t, func() bool { return e.Status()[0].State == reactors.Retrying }, 30*time.Second, time.Millisecond)
	require.Zero(t, w.pages.Load(), "a list that is not current is not read")
	w.broken.Store(true)
	w.behind.Store(false)
	require.Eventually(t, func() bool { return w.refused.Load() > 1 }, 30*time.Second, time.Millisecond)
	require.Zero(t, w.ends(1))
	w.broken.Store(false)
	w.awaitEnd(1)
}

// One look clears all creations that the read models have taken in; a late one
// is found all the same.
func TestLateTasks(t *testing.T) {
	w := newWorld(t)
	w.publish()
	for i := range 50 {
		w.create(i)
	}
	w.run()
	require.Eventually(t, func() bool { return w.looks.Load() > 0 }, 30*time.Second, time.Millisecond)
	w.delete()
	w.awaitEnd(49)
	require.Equal(t, int32(1), w.looks.Load())
	w.create(50)
	w.awaitEnd(50)
	w.create(51)
	w.awaitEnd(51)
	require.Equal(t, 1, w.ends(50))
}

// Who was deleted when a command's look at them was a moment old is no recipient
// for long. Who is there stays.
func TestLateRecipients(t *testing.T) {
	w := newWorld(t)
	w.publish()
	w.create(1)
	recipient := func(n uint32, kind string) reporting.Recipient {
		return reporting.Recipient{ID: domain.WellKnownID(n), Type: kind, SendEmail: true}
	}
	ann, staff := recipient(0x301, reporting.RecipientUser), recipient(0x302, reporting.RecipientGroup)
	bob, guests := recipient(0x303, reporting.RecipientUser), recipient(0x304, reporting.RecipientGroup)
	for _, u := range []reporting.Recipient{ann, bob} {
		w.append(directory.UserStream(u.ID), directory.UserCreated{ID: u.ID, Roles: []domain.ID{}, Organizations: []domain.ID{sales}, Groups: []domain.ID{}})
	}
	for _, g := range []reporting.Recipient{staff, guests} {
		w.append(directory.GroupStream(g.ID), directory.GroupCreated{ID: g.ID, OrganizationID: sales, Name: "G", Roles: []domain.ID{}})
	}
	w.append(directory.UserStream(bob.ID), directory.UserDeleted{ID: bob.ID})
	w.append(directory.GroupStream(guests.ID), directory.GroupDeleted{ID: guests.ID})
	stream := reporting.TaskStream(taskID(1))
	w.append(stream, reporting.TaskRecipientsAdded{TaskID: taskID(1), Recipients: []reporting.Recipient{ann, bob, guests, staff}})
	w.run()
	require.Eventually(t, func() bool {
		task, _, err := commands.Load[reporting.Task](context.Background(), w.bus, stream)
		require.NoError(t, err)
		return slices.Equal(task.Recipients, []reporting.Recipient{ann, staff})
	}, 30*time.Second, time.Millisecond)
	for r, err := range w.store.Load(context.Background(), stream, 2) {
		require.NoError(t, err)
		m, err := eventstore.DecodeMetadata(r.Meta)
		require.NoError(t, err)
		require.Equal(t, w.eventID(stream, 1), m.Causation, "the addition is the cause")
	}
}

func (w *world) eventID(stream string, at eventstore.Revision) uuid.UUID {
	for r, err := range w.store.Load(context.Background(), stream, at) {
		require.NoError(w.t, err)
		return r.ID
	}
	return uuid.Nil
}
