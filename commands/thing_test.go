package commands_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The kernel is tested with an aggregate of its own: a thing has a name and an
// e-mail address that nobody else may have, organizations, and a size to change
// as often as one likes.

type (
	thingMade struct {
		Name   string      `json:"name"`
		Email  string      `json:"email,omitempty"`
		Orgs   []domain.ID `json:"orgs,omitempty"`
		Number int32       `json:"number,omitempty"`
	}
	thingNamed struct {
		Name string `json:"name"`
	}
	thingMailed struct {
		Email string `json:"email"`
	}
	thingMoved struct {
		Orgs []domain.ID `json:"orgs"`
	}
	thingGrown struct {
		By   int    `json:"by"`
		Note string `json:"note,omitempty"`
	}
	thingEnded struct{}
)

func (thingMade) EventType() string   { return "test.thing-made" }
func (thingNamed) EventType() string  { return "test.thing-named" }
func (thingMailed) EventType() string { return "test.thing-mailed" }
func (thingMoved) EventType() string  { return "test.thing-moved" }
func (thingGrown) EventType() string  { return "test.thing-grown" }
func (thingEnded) EventType() string  { return "test.thing-ended" }

type thing struct {
	Live   bool
	Name   string
	Email  string
	Orgs   []domain.ID
	Number int32
	Size   int
	Notes  []string
}

func (s thing) Apply(e domain.Event) thing {
	switch e := e.(type) {
	case thingMade:
		return thing{Live: true, Name: e.Name, Email: e.Email, Orgs: e.Orgs, Number: e.Number}
	case thingNamed:
		s.Name = e.Name
	case thingMailed:
		s.Email = e.Email
	case thingMoved:
		s.Orgs = e.Orgs
	case thingGrown:
		s.Size += e.By
		if e.Note != "" {
			s.Notes = append(slices.Clip(s.Notes), e.Note)
		}
	case thingEnded:
		s.Live = false
	}
	return s
}

func (s thing) Exists() bool               { return s.Live }
func (s thing) Organizations() []domain.ID { return s.Orgs }
func (s thing) Keys() []domain.Key {
	if !s.Live {
		return nil
	}
	var keys []domain.Key
	if s.Name != "" {
		keys = append(keys, nameKey(s.Name))
	}
	if s.Email != "" {
		keys = append(keys, domain.Key{Kind: "thing-email", Value: s.Email})
	}
	return keys
}

func nameKey(name string) domain.Key { return domain.Key{Kind: "thing-name", Value: name} }

// do is every command on things: what it decides is a function.
type do struct {
	thing      string
	name       string // "test.do" when empty
	permission string
	decide     func(s thing, env commands.Env) ([]domain.Event, error)
}

func (c do) Stream() string     { return stream(c.thing) }
func (c do) Permission() string { return c.permission }
func (c do) Name() string {
	if c.name == "" {
		return "test.do"
	}
	return c.name
}
func (c do) Decide(s thing, env commands.Env) ([]domain.Event, error) { return c.decide(s, env) }

// numbered is a command that gives its thing a number.
type numbered struct{ do }

func (numbered) NumberKind() string { return "thing" }

// referring is a command that looks at other things.
type referring struct {
	do
	refs []commands.Ref
}

func (c referring) Refs() []commands.Ref { return c.refs }

func stream(thing string) string { return "thing-" + thing }

func exists() error  { return fault.New(fault.Conflict, "thing.exists", "exists") }
func missing() error { return fault.New(fault.NotFound, "thing.not-found", "does not exist") }

// create makes a thing.
func create(id string, e thingMade) do {
	return do{thing: id, name: "test.make", decide: func(s thing, _ commands.Env) ([]domain.Event, error) {
		if s.Live {
			return nil, exists()
		}
		return []domain.Event{e}, nil
	}}
}

// on does something to a thing that must be there.
func on(id, name string, decide func(s thing) []domain.Event) do {
	return do{thing: id, name: name, decide: func(s thing, _ commands.Env) ([]domain.Event, error) {
		if !s.Live {
			return nil, missing()
		}
		return decide(s), nil
	}}
}

func rename(id, to string) do {
	return on(id, "test.rename", func(s thing) []domain.Event {
		if s.Name == to {
			return nil
		}
		return []domain.Event{thingNamed{to}}
	})
}

func mail(id, to string) do {
	return on(id, "test.mail", func(s thing) []domain.Event {
		if s.Email == to {
			return nil
		}
		return []domain.Event{thingMailed{to}}
	})
}

func grow(id string) do {
	return on(id, "test.grow", func(thing) []domain.Event { return []domain.Event{thingGrown{By: 1}} })
}

func move(id string, orgs ...domain.ID) do {
	return on(id, "test.move", func(thing) []domain.Event { return []domain.Event{thingMoved{orgs}} })
}

func end(id string) do {
	return on(id, "test.end", func(thing) []domain.Event { return []domain.Event{thingEnded{}} })
}

var codec = eventstore.NewCodec(append(commands.Events(),
	thingMade{}, thingNamed{}, thingMailed{}, thingMoved{}, thingGrown{}, thingEnded{})...)

// world is a log and those who use it.
type world struct {
	T     testingT
	store *memory.Store
}

type testingT interface {
	require.TestingT
	Helper()
}

func newWorld(t *testing.T) *world { return &world{T: t, store: memory.New()} }

func digest(purpose, value string) string {
	sum := sha256.Sum256([]byte(purpose + value))
	return hex.EncodeToString(sum[:8])
}

// bus is a process of its own over the world's log.
func (w *world) bus(change ...func(*commands.Config)) *commands.Bus {
	return newBus(w.store, change...)
}

func newBus(store eventstore.Store, change ...func(*commands.Config)) *commands.Bus {
	c := commands.Config{Store: store, Codec: codec, Digest: digest, CacheSize: 64, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, f := range change {
		f(&c)
	}
	b := commands.NewBus(c)
	commands.Register[thing](b, "thing")
	return b
}

var (
	tenant = domain.WellKnownID(1)
	orgA   = domain.WellKnownID(2)
	orgB   = domain.WellKnownID(3)
	user   = domain.WellKnownID(7)
	now    = time.Date(2030, 1, 2, 3, 4, 5, 678_000, time.UTC)
)

// request is a context with the system's actor and a request of its own.
func request() context.Context { return requestOf(commands.NewRequest("test", now)) }

func requestOf(r *commands.Request) context.Context {
	return commands.WithRequest(domain.WithActor(context.Background(), domain.System(tenant)), r)
}

// retry is the same request run again.
func retry(id uuid.UUID) context.Context {
	return requestOf(&commands.Request{ID: id, Now: now, Dialect: "test", Retry: true})
}

func (w *world) send(b *commands.Bus, cmd commands.Command[thing]) (commands.Result[thing], error) {
	return commands.Send(request(), b, cmd)
}

func (w *world) must(b *commands.Bus, cmd commands.Command[thing]) commands.Result[thing] {
	w.T.Helper()
	r, err := w.send(b, cmd)
	require.NoError(w.T, err)
	return r
}

func (w *world) refused(b *commands.Bus, kind fault.Kind, cmd commands.Command[thing]) *fault.Error {
	w.T.Helper()
	_, err := w.send(b, cmd)
	requireKind(w.T, kind, err)
	return fault.Of(err)
}

func requireKind(t require.TestingT, kind fault.Kind, err error) {
	require.Error(t, err)
	require.Equal(t, kind.String(), fault.Of(err).Kind.String(), "%v", err)
}

func (w *world) load(stream string) []eventstore.Recorded {
	w.T.Helper()
	var all []eventstore.Recorded
	for r, err := range w.store.Load(context.Background(), stream, 0) {
		require.NoError(w.T, err)
		all = append(all, r)
	}
	return all
}

// events are a stream's, without the kernel's own.
func (w *world) events(id string) []domain.Event {
	w.T.Helper()
	var all []domain.Event
	for _, r := range w.load(stream(id)) {
		if e := w.decode(r); !strings.HasPrefix(r.Type, "kernel.") {
			all = append(all, e)
		}
	}
	return all
}

// decode reads an event of schema 1, which all of these are. Metadata is read
// where it matters.
func (w *world) decode(r eventstore.Recorded) domain.Event {
	w.T.Helper()
	e, err := codec.Decode(r.Type, 1, r.Data)
	require.NoError(w.T, err)
	return e
}

// fold is what a stream says, read past every cache.
func (w *world) fold(id string) thing { return domain.Fold(thing{}, w.events(id)...) }

// requireSound checks what must hold for every log at rest: one holder per key,
// and the key's claim is the holder's.
func (w *world) requireSound() {
	w.T.Helper()
	holders, claims := map[domain.Key]string{}, map[string]string{}
	for _, name := range w.store.Streams() {
		switch {
		case strings.HasPrefix(name, "thing-"):
			for _, k := range w.fold(strings.TrimPrefix(name, "thing-")).Keys() {
				require.Empty(w.T, holders[k], "%v is held by %s too", k, name)
				holders[k] = name
			}
		case strings.HasPrefix(name, "claim-"):
			for _, r := range w.load(name) {
				switch e := w.decode(r).(type) {
				case commands.ClaimTaken:
					claims[name] = e.Owner
				case commands.ClaimReleased:
					claims[name] = ""
				}
			}
		}
	}
	for k, holder := range holders {
		require.Equal(w.T, holder, claims[claimOf(k)], "claim of %v", k)
	}
	seen := map[uuid.UUID]bool{}
	for r, err := range w.store.ReadAll(context.Background(), 0, eventstore.Filter{}) {
		require.NoError(w.T, err)
		require.False(w.T, seen[r.ID], "event %s twice", r.ID)
		seen[r.ID] = true
	}
}

func claimOf(k domain.Key) string {
	return "claim-" + k.Kind + "-all-" + digest("claim", k.Kind+"\x00"+k.Scope+"\x00"+k.Value)
}

// stalls lets a test hold whoever reaches a point.
type stalls struct {
	mu     sync.Mutex
	points map[string]*stall
}

type stall struct{ reached, resume chan struct{} }

func (s *stalls) configure(c *commands.Config) {
	s.points = make(map[string]*stall)
	c.Reached = func(point string) {
		s.mu.Lock()
		at := s.points[point]
		delete(s.points, point)
		s.mu.Unlock()
		if at != nil {
			close(at.reached)
			<-at.resume
		}
	}
}

// at arms a point: the next one to reach it stays there.
func (s *stalls) at(point string) *stall {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &stall{reached: make(chan struct{}), resume: make(chan struct{})}
	s.points[point] = at
	return at
}

// sent is the outcome of a command that runs aside.
type sent struct {
	result commands.Result[thing]
	err    error
}

func async(ctx context.Context, b *commands.Bus, cmd commands.Command[thing]) <-chan sent {
	done := make(chan sent, 1)
	go func() {
		r, err := commands.Send(ctx, b, cmd)
		done <- sent{r, err}
	}()
	return done
}

var system = domain.System(tenant)

func withActor(ctx context.Context, a domain.Actor) context.Context { return domain.WithActor(ctx, a) }

// on2 gives a thing a name and an address at once.
func on2(id, name, email string) do {
	return on(id, "test.name-and-mail", func(thing) []domain.Event { return []domain.Event{thingNamed{name}, thingMailed{email}} })
}
