// Package contract holds the tests that every implementation of the event store
// port passes: Run for what a store does while its server is there, RunFaults
// for what it does while the server comes and goes.
package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
)

// Options adapt the suite to a store.
type Options struct {
	// Shared says that the log holds events of others, so that nothing may be
	// expected of its beginning.
	Shared bool
}

// patience is how long a test waits for something that must happen. It is no
// measure: a passing test never waits that long.
const patience = 60 * time.Second

// Run tests what a store does while its server is there. open makes a store
// over an empty log (or a shared one, see Options) and cleans up by itself.
func Run(t *testing.T, open func(t *testing.T) eventstore.Store, o Options) {
	run := func(name string, test func(f *fixture)) {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, open(t))
			f.shared = o.Shared
			test(f)
		})
	}
	for name, test := range appendTests {
		run("Append/"+name, test)
	}
	for name, test := range readTests {
		run("Read/"+name, test)
	}
	for name, test := range followTests {
		run("Follow/"+name, test)
	}
}

// fixture is a store with names of its own: a test meets no events of others.
type fixture struct {
	*testing.T
	store  eventstore.Store
	ctx    context.Context
	name   string // begins every stream name and event type of this test
	shared bool
	start  eventstore.Position // end of the log before the test
}

func newFixture(t *testing.T, store eventstore.Store) *fixture {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	f := &fixture{T: t, store: store, ctx: ctx, name: "t" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	start, err := store.Head(ctx)
	require.NoError(t, err)
	f.start = start
	return f
}

// stream is a name for a stream of this test.
func (f *fixture) stream(name string) string { return f.name + "-" + name }

// typ is an event type of this test.
func (f *fixture) typ(name string) string { return f.name + "." + name }

// mine selects all events of this test.
func (f *fixture) mine() eventstore.Filter {
	return eventstore.Filter{TypePrefixes: []string{f.name + "."}}
}

// event makes an event of this test with new id.
func (f *fixture) event(typ string) eventstore.Proposed {
	id := uuid.New()
	return eventstore.Proposed{ID: id, Type: f.typ(typ), Data: fmt.Appendf(nil, `{"of":%q}`, id), Meta: []byte(`{"schema":1}`)}
}

func (f *fixture) events(typ string, n int) []eventstore.Proposed {
	events := make([]eventstore.Proposed, n)
	for i := range events {
		events[i] = f.event(typ)
	}
	return events
}

// write appends and expects success.
func (f *fixture) write(stream string, expect eventstore.Revision, events ...eventstore.Proposed) eventstore.Receipt {
	f.Helper()
	receipt, err := f.store.Append(f.ctx, stream, expect, events)
	require.NoError(f, err)
	require.Equal(f, expect+eventstore.Revision(len(events)), receipt.Revision)
	return receipt
}

// writeMany appends n events to a new stream, in as few appends as allowed.
func (f *fixture) writeMany(stream, typ string, n int) []eventstore.Proposed {
	f.Helper()
	all := f.events(typ, n)
	at := eventstore.NoStream
	for chunk := range slices.Chunk(all, 500) {
		at = f.write(stream, at, chunk...).Revision
	}
	return all
}

func (f *fixture) load(stream string, from eventstore.Revision) []eventstore.Recorded {
	f.Helper()
	var all []eventstore.Recorded
	for e, err := range f.store.Load(f.ctx, stream, from) {
		require.NoError(f, err)
		all = append(all, e)
	}
	return all
}

func (f *fixture) readAll(after eventstore.Position, filter eventstore.Filter) []eventstore.Recorded {
	f.Helper()
	var all []eventstore.Recorded
	for e, err := range f.store.ReadAll(f.ctx, after, filter) {
		require.NoError(f, err)
		all = append(all, e)
	}
	return all
}

// follow collects messages until enough says so.
func (f *fixture) follow(after eventstore.Position, filter eventstore.Filter, enough func(eventstore.Message) bool) []eventstore.Message {
	f.Helper()
	var all []eventstore.Message
	for m, err := range f.store.Follow(f.ctx, after, filter) {
		require.NoError(f, err)
		all = append(all, m)
		if enough(m) {
			return all
		}
	}
	require.Fail(f, "follower ended by itself")
	return nil
}

// eventsOf drops checkpoints.
func eventsOf(messages []eventstore.Message) []eventstore.Recorded {
	var events []eventstore.Recorded
	for _, m := range messages {
		if m.Event != nil {
			events = append(events, *m.Event)
		}
	}
	return events
}

// count is enough after n events.
func count(n int) func(eventstore.Message) bool {
	return func(m eventstore.Message) bool {
		if m.Event != nil {
			n--
		}
		return n <= 0
	}
}

func caughtUp(m eventstore.Message) bool { return m.CaughtUp }

func idsOf(events []eventstore.Recorded) []uuid.UUID {
	ids := make([]uuid.UUID, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

func proposedIDs(events []eventstore.Proposed) []uuid.UUID {
	ids := make([]uuid.UUID, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// requireStream checks that the events are a stream's without gaps from a
// revision on, as proposed.
func requireStream(t require.TestingT, stream string, from eventstore.Revision, want []eventstore.Proposed, got []eventstore.Recorded) {
	require.Equal(t, proposedIDs(want), idsOf(got))
	for i, e := range got {
		require.Equal(t, stream, e.Stream)
		require.Equal(t, from+eventstore.Revision(i), e.Revision)
		require.Equal(t, want[i].Type, e.Type)
		require.Equal(t, string(want[i].Data), string(e.Data))
		require.Equal(t, string(want[i].Meta), string(e.Meta))
	}
}

// requireOrdered checks that positions only rise.
func requireOrdered(t require.TestingT, after eventstore.Position, events []eventstore.Recorded) {
	for _, e := range events {
		require.Greater(t, e.Position, after)
		after = e.Position
	}
}

// mustJSON is for values that cannot fail to encode.
func mustJSON(t require.TestingT, v any) []byte {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}
