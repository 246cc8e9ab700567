package usersync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/commands/effects"
	"docket/commands/reactors"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/eventstore"
	"docket/eventstore/memory"
	"docket/internal/postgres/pgtest"
	"docket/internal/userdir"
	"docket/projections"
	projected "docket/projections/directory"
	"docket/readapi/access"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	pgtest.Main(m)
}

// batch is how many entries go together in tests.
const batch = 20

// waiting bounds what has to happen by itself.
const waiting = 60 * time.Second

func id(n uint32) domain.ID { return domain.WellKnownID(n) }

var org, role, staffDirectory = id(0x100), id(0x130), id(0x140)

func codec() *eventstore.Codec {
	return eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events(), reporting.Events(), printing.Events())...)
}

// fake is a directory in memory. It is a Source of itself.
type fake struct {
	mu     sync.Mutex
	groups []userdir.Group
	users  []userdir.User
	reads  int
	// before is asked before the nth user (from 0; len(users) is the end) of a
	// reading (from 1). Its error ends the reading.
	before func(ctx context.Context, reading, n int) error
	// passwords by external id; settings of the last opening.
	passwords map[string]string
	settings  userdir.Settings
}

func (f *fake) Read(ctx context.Context, visit userdir.Visitor) error {
	f.mu.Lock()
	f.reads++
	reading, groups, users, before := f.reads, slices.Clone(f.groups), slices.Clone(f.users), f.before
	f.mu.Unlock()
	for _, g := range groups {
		if err := visit.Group(g); err != nil {
			return err
		}
	}
	for n := 0; n <= len(users); n++ {
		if before != nil {
			if err := before(ctx, reading, n); err != nil {
				return err
			}
		}
		if n < len(users) {
			if err := visit.User(users[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fake) Authenticate(_ context.Context, externalID, password string) (bool, error) {
	if f.passwords == nil {
		return false, userdir.ErrNoPasswords
	}
	if f.passwords["down"] != "" {
		return false, errors.New("down")
	}
	return password != "" && f.passwords[externalID] == password, nil
}

func (f *fake) opened(s userdir.Settings) userdir.Source {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings = s
	return f
}

// person is an entry of the fake.
func person(name string, groups ...string) userdir.User {
	return userdir.User{ExternalID: "x-" + name, UserName: name, FirstName: "First " + name, LastName: "Last", Email: name + "@example.com", Department: "Dep", Active: true, Groups: groups}
}

// world is a log, a database, a user directory and the engines of one process.
type world struct {
	t       testing.TB
	store   eventstore.Store
	codec   *eventstore.Codec
	pool    *pgxpool.Pool
	source  *fake
	open    func(userdir.Settings) userdir.Source // nil: source
	know    func(Known) Known                     // nil: as the read models do
	Config  Config
	waiting time.Duration // for the end of a run
	bus     *commands.Bus
	models  *projections.Engine
	sync    *Sync
	stop    func()
}

func newWorld(t testing.TB) *world { return newWorldOn(t, memory.New()) }

func newWorldOn(t testing.TB, store eventstore.Store) *world {
	w := worldOf(store, pgtest.New(t))
	w.t = t
	w.furnish()
	return w
}

// worldOf is one with what may be there already.
func worldOf(store eventstore.Store, pool *pgxpool.Pool) *world {
	return &world{store: store, codec: codec(), pool: pool, source: &fake{}, waiting: waiting,
		Config: Config{batchSize: batch, MaxLoss: 100, Logger: slog.New(slog.DiscardHandler), Backoff: func(int) time.Duration { return time.Millisecond }}}
}

// furnish makes an organization, a role and a user directory.
func (w *world) furnish() {
	w.put(directory.OrganizationStream(org), directory.OrganizationCreated{ID: org, Ancestors: []domain.ID{}, Name: "Org"})
	w.put(directory.RoleStream(role), directory.RoleCreated{ID: role, OrganizationID: org, Name: "Users", AllProjects: true, Projects: []domain.ID{}, Permissions: []string{"hubFiles.view"}, Active: true})
	w.put(directory.UserDirectoryStream(staffDirectory), directory.UserDirectoryCreated{ID: staffDirectory, OrganizationID: org, Password: []byte("sealed"),
		Settings: directory.DirectorySettings{Type: directory.ActiveDirectory, Name: "Staff", HostName: "dc", Active: true, DefaultUserRole: &role, SendNotification: true}})
}

// put appends an event.
func (w *world) put(stream string, e domain.Event) {
	w.t.Helper()
	data, err := w.codec.Encode(e)
	require.NoError(w.t, err)
	_, err = w.store.Append(w.t.Context(), stream, eventstore.NoStream, []eventstore.Proposed{{ID: uuid.New(), Type: e.EventType(), Data: data, Meta: []byte("{}")}})
	require.NoError(w.t, err)
}

// lists adapts the read models, as the server does.
type lists struct{ *access.Contents }

func (l lists) Users(ctx context.Context, directory domain.ID) ([]Link, error) {
	return linked(l.LinkedUsers(ctx, directory))
}

func (l lists) Groups(ctx context.Context, directory domain.ID) ([]Link, error) {
	return linked(l.LinkedGroups(ctx, directory))
}

func linked(rows []access.Linked, err error) ([]Link, error) {
	all := make([]Link, len(rows))
	for i, r := range rows {
		all[i] = Link(r)
	}
	return all, err
}

func (l lists) Scheduled(ctx context.Context) ([]Scheduled, error) {
	rows, err := l.ScheduledDirectories(ctx)
	all := make([]Scheduled, len(rows))
	for i, r := range rows {
		all[i] = Scheduled{DirectoryID: r.ID, OrganizationID: r.OrganizationID, Since: r.Since, Schedule: Schedule{Frequency: r.Frequency, Time: r.Time, Zone: r.Zone}}
	}
	return all, err
}

// start runs a process until the test ends or stop is called.
func (w *world) start() {
	w.t.Helper()
	engines, err := w.assemble()
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range engines {
		running.Go(func() { assert.NoError(w.t, run(ctx)) })
	}
	w.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	w.t.Cleanup(w.stop)
}

// assemble makes the engines of a process, to be run.
func (w *world) assemble() ([]func(context.Context) error, error) {
	discard := slog.New(slog.DiscardHandler)
	var err error
	w.models, err = projections.NewEngine(projections.Config{Store: w.store, Codec: w.codec, Pool: w.pool, Groups: []*projections.Group{projected.Group()}, Logger: discard})
	if err != nil {
		return nil, err
	}
	w.bus = w.newBus(w.models)
	c := w.Config
	c.Bus, c.Models, c.Known = w.bus, w.models, lists{access.NewContents(w.pool)}
	if w.know != nil {
		c.Known = w.know(c.Known)
	}
	c.Unseal = func(context string, sealed []byte) ([]byte, error) {
		if context != directory.SecretContext(staffDirectory, "password") {
			return nil, errors.New("sealed for something else")
		}
		return []byte("un" + string(sealed)), nil
	}
	if c.Open = w.open; c.Open == nil {
		c.Open = w.source.opened
	}
	w.sync = New(c)
	jobs, err := effects.NewEngine(effects.Config{Pool: w.pool, Kinds: w.sync.Kinds(), Process: "one", Logger: discard, StopWithin: 50 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	seeing, err := reactors.NewEngine(reactors.Config{Store: w.store, Codec: w.codec, Pool: w.pool, Reactors: w.sync.Reactors(), Prepare: jobs.Prepare, Logger: discard})
	return []func(context.Context) error{w.models.Run, seeing.Run, jobs.Run}, err
}

// newBus makes a bus whose commands wait for the read models of waiter, if any.
func (w *world) newBus(waiter commands.Waiter) *commands.Bus {
	bus := commands.NewBus(commands.Config{Store: w.store, Codec: w.codec, Digest: func(a, b string) string { return fmt.Sprintf("%x", a+b) }, Waiter: waiter, Wait: waiting,
		Logger: slog.New(slog.DiscardHandler)})
	commanded.Register(bus)
	return bus
}

// acting is a context in which the system of org sends commands.
func acting(ctx context.Context) context.Context {
	return domain.WithActor(commands.WithRequest(ctx, commands.NewRequest("test", time.Now().UTC().Truncate(time.Microsecond))), domain.System(org))
}

func send[S domain.State[S]](w *world, cmd commands.Command[S]) commands.Result[S] {
	w.t.Helper()
	result, err := commands.Send(acting(w.t.Context()), w.bus, cmd)
	require.NoError(w.t, err)
	return result
}

// begin starts a run and returns its id.
func (w *world) begin() domain.ID {
	w.t.Helper()
	ctx := acting(w.t.Context())
	run := commands.NewID(ctx)
	_, err := commands.Send(ctx, w.bus, commanded.StartSyncRun{ID: run, DirectoryID: staffDirectory})
	require.NoError(w.t, err)
	return run
}

func (w *world) state(run domain.ID) directory.SyncRun {
	w.t.Helper()
	r, _, err := commands.Load[directory.SyncRun](w.t.Context(), w.bus, directory.SyncRunStream(run))
	require.NoError(w.t, err)
	return r
}

// ended waits for a run's end.
func (w *world) ended(run domain.ID) directory.SyncRun {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return !w.state(run).Running() }, w.waiting, 5*time.Millisecond)
	return w.state(run)
}

// run synchronises and wants that to go well.
func (w *world) run() directory.SyncRun {
	w.t.Helper()
	r := w.ended(w.begin())
	require.Equal(w.t, directory.SyncSucceeded, r.Status, "%s %s", r.Code, r.Reason)
	return r
}

// user is the user of an entry.
func (w *world) user(externalID string) directory.User {
	w.t.Helper()
	all, err := w.sync.Known.Users(w.t.Context(), staffDirectory)
	require.NoError(w.t, err)
	for _, l := range all {
		if l.ExternalID == externalID {
			u, _, err := commands.Load[directory.User](w.t.Context(), w.bus, directory.UserStream(l.ID))
			require.NoError(w.t, err)
			return u
		}
	}
	require.Fail(w.t, "no user of "+externalID)
	return directory.User{}
}

func (w *world) group(externalID string) directory.Group {
	w.t.Helper()
	all, err := w.sync.Known.Groups(w.t.Context(), staffDirectory)
	require.NoError(w.t, err)
	for _, l := range all {
		if l.ExternalID == externalID {
			g, _, err := commands.Load[directory.Group](w.t.Context(), w.bus, directory.GroupStream(l.ID))
			require.NoError(w.t, err)
			return g
		}
	}
	return directory.Group{}
}

// log is how many events of which type the log holds, but for those of runs.
func (w *world) log() map[string]int {
	w.t.Helper()
	all := map[string]int{}
	for e, err := range w.store.ReadAll(w.t.Context(), 0, eventstore.Filter{}) {
		require.NoError(w.t, err)
		if !strings.HasPrefix(e.Stream, "syncrun-") && !strings.HasPrefix(e.Stream, "claim-syncrun") {
			all[e.Type]++
		}
	}
	return all
}

// active are the external ids of the active users.
func (w *world) active() []string {
	w.t.Helper()
	all, err := w.sync.Known.Users(w.t.Context(), staffDirectory)
	require.NoError(w.t, err)
	var ids []string
	for _, l := range all {
		if l.Active {
			ids = append(ids, l.ExternalID)
		}
	}
	slices.Sort(ids)
	return ids
}
