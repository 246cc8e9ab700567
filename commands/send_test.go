package commands_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
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

// actorOf is somebody who sees some organizations and holds one permission.
func actorOf(orgs ...domain.ID) domain.Actor {
	slices.SortFunc(orgs, domain.CompareIDs)
	return domain.Actor{UserID: user, Tenant: tenant, Permissions: map[string]bool{"things.edit": true}, Organizations: orgs}
}

func TestWhoMay(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	cmd := create("x", thingMade{Name: "n"})
	cmd.permission = "things.edit"

	_, err := commands.Send(withActor(context.Background(), system), b, cmd)
	require.Error(t, err, "no request")
	_, err = commands.Send(commands.WithRequest(context.Background(), commands.NewRequest("test", now)), b, cmd)
	requireKind(t, fault.Unauthenticated, err)
	_, err = commands.Send(withActor(request(), domain.Actor{UserID: user}), b, cmd)
	requireKind(t, fault.Denied, err)
	require.Zero(t, w.store.Calls()[memory.OpAppend]+w.store.Calls()[memory.OpLoad])

	r, err := commands.Send(withActor(request(), actorOf()), b, cmd)
	require.NoError(t, err)
	require.Equal(t, thing{Live: true, Name: "n"}, r.State)
	require.Equal(t, eventstore.Revision(0), r.Revision)
	require.NotZero(t, r.Position)
	require.Equal(t, []domain.Event{thingMade{Name: "n"}}, r.Events)
}

func TestOrganizationsOutOfSight(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.must(b, create("x", thingMade{Name: "n", Orgs: []domain.ID{orgA}}))
	seesB := withActor(request(), actorOf(orgB))
	for _, other := range []*commands.Bus{b, w.bus()} { // with and without the thing in its cache
		_, err := commands.Send(seesB, other, grow("x"))
		requireKind(t, fault.NotFound, err)
		_, err = commands.Send(seesB, other, create("x", thingMade{Name: "n"}))
		requireKind(t, fault.NotFound, err)
	}
	seesA := withActor(request(), actorOf(orgA))
	_, err := commands.Send(seesA, b, move("x", orgA, orgB))
	requireKind(t, fault.Denied, err)
	_, err = commands.Send(seesA, b, create("y", thingMade{Orgs: []domain.ID{orgB}}))
	requireKind(t, fault.Denied, err)
	require.Empty(t, w.load(stream("y")))

	// What is in an organization already may stay there.
	w.must(b, move("x", orgA, orgB))
	_, err = commands.Send(seesA, b, move("x", orgB, orgA))
	require.NoError(t, err)
}

// Everything that is refused from a cached state must be refused by the newest.
func TestNoRefusalFromAStaleBaseline(t *testing.T) {
	w := newWorld(t)
	near, far := w.bus(), w.bus()
	w.must(near, create("taken", thingMade{Name: "taken"}))

	w.must(near, create("x", thingMade{Name: "a"}))
	w.must(near, end("x"))
	w.must(far, create("x", thingMade{Name: "a"}))
	w.must(near, grow("x")) // near still thinks that it ended

	w.must(far, rename("x", "b"))
	require.Len(t, w.must(near, rename("x", "a")).Events, 1) // near still thinks that it is called so

	// To the newest state the command is one of nothing to do, to the stale one
	// that of taking a name that is taken.
	nameTakenOnce := on("x", "test.once", func(s thing) []domain.Event {
		if s.Size > 100 {
			return nil
		}
		return []domain.Event{thingNamed{"taken"}}
	})
	w.must(far, on("x", "test.big", func(thing) []domain.Event { return []domain.Event{thingGrown{By: 1000}} }))
	require.Empty(t, w.must(near, nameTakenOnce).Events)

	// The same for an organization that has become the thing's own meanwhile.
	w.must(near, create("y", thingMade{Orgs: []domain.ID{orgA}}))
	w.must(far, move("y", orgA, orgB))
	_, err := commands.Send(withActor(request(), actorOf(orgA)), near, move("y", orgB))
	require.NoError(t, err)

	// And for a thing that has come into sight.
	w.must(near, create("z", thingMade{Orgs: []domain.ID{orgB}}))
	w.must(far, move("z", orgA))
	_, err = commands.Send(withActor(request(), actorOf(orgA)), near, grow("z"))
	require.NoError(t, err)
	w.requireSound()
}

func TestConflictIsDecidedAgain(t *testing.T) {
	w := newWorld(t)
	var points stalls
	near, far := w.bus(points.configure), w.bus()
	w.must(near, create("x", thingMade{Name: "a"}))
	at := points.at("append: before")
	done := async(request(), near, on("x", "test.double", func(s thing) []domain.Event { return []domain.Event{thingGrown{By: s.Size + 1}} }))
	<-at.reached
	for range 3 {
		w.must(far, grow("x"))
	}
	close(at.resume)
	r := <-done
	require.NoError(t, r.err)
	require.Equal(t, 3+4, r.result.State.Size)
	require.Equal(t, w.fold("x"), r.result.State)
	require.Equal(t, eventstore.Revision(4), r.result.Revision)
}

func TestConflictEndsSomeTime(t *testing.T) {
	w := newWorld(t)
	far := w.bus()
	near := w.bus(func(c *commands.Config) {
		c.Reached = func(point string) {
			if point == "append: before" {
				w.must(far, grow("x"))
			}
		}
	})
	w.must(far, create("x", thingMade{Name: "a"}))
	before := w.store.Calls()[memory.OpAppend]
	w.refused(near, fault.Unavailable, rename("x", "b"))
	require.Less(t, w.store.Calls()[memory.OpAppend]-before, 50)
	require.Equal(t, "a", w.fold("x").Name)
	w.requireSound()
	w.must(far, create("y", thingMade{Name: "b"}))
	require.Equal(t, commands.ClaimReleased{Owner: stream("x")}, w.decode(w.load(claimOf(nameKey("b")))[len(w.load(claimOf(nameKey("b"))))-2]),
		"the claim was given back")
}

// A conflict costs what is new, not the whole stream again.
func TestConflictKeepsTheBaseline(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.must(b, create("x", thingMade{}))
	for range 50 {
		w.must(b, grow("x"))
	}
	w.must(w.bus(), grow("x"))
	var from []eventstore.Revision
	spied := spy{w.store, func(_ string, r eventstore.Revision) { from = append(from, r) }}
	near := newBus(spied)
	w.must(near, grow("x"))
	w.must(w.bus(), grow("x"))
	from = nil
	w.must(near, grow("x"))
	require.Equal(t, []eventstore.Revision{53}, from)
}

type spy struct {
	eventstore.Store
	loaded func(stream string, from eventstore.Revision)
}

func (s spy) Load(ctx context.Context, stream string, from eventstore.Revision) seq {
	s.loaded(stream, from)
	return s.Store.Load(ctx, stream, from)
}

type seq = iter.Seq2[eventstore.Recorded, error]

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	key, cause, correlation := uuid.New(), uuid.New(), uuid.New()
	actor := system
	actor.KeyID = &key
	r := &commands.Request{ID: uuid.New(), Now: now, Dialect: "qalyptus", Correlation: correlation, Causation: cause, Traceparent: "00-1-2-01"}
	_, err := commands.Send(withActor(requestOf(r), actor), b, do{thing: "x", name: "test.three", decide: func(thing, commands.Env) ([]domain.Event, error) {
		return []domain.Event{thingMade{Name: "n"}, thingGrown{By: 1}, thingGrown{By: 2}}, nil
	}})
	require.NoError(t, err)
	var command uuid.UUID
	count := 0
	for e, err := range w.store.ReadAll(context.Background(), 0, eventstore.Filter{}) {
		require.NoError(t, err)
		m, err := eventstore.DecodeMetadata(e.Meta)
		require.NoError(t, err)
		if count == 0 {
			command = m.CommandID
			require.NotZero(t, command)
		}
		want := eventstore.Metadata{Tenant: tenant, Actor: system.UserID, APIKey: &key, Command: "test.three", CommandID: command,
			Causation: cause, Correlation: correlation, Traceparent: "00-1-2-01", Dialect: "qalyptus", Schema: 1, Count: 1}
		if !strings.HasPrefix(e.Stream, "claim-") {
			want.Index, want.Count = int(e.Revision), 3
			require.NotEqual(t, command, e.ID)
		}
		require.Equal(t, want, m)
		count++
	}
	require.Equal(t, 4, count)

	// Without a cause of its own the request is it.
	plain := commands.NewRequest("test", now)
	_, err = commands.Send(requestOf(plain), b, grow("x"))
	require.NoError(t, err)
	m, err := eventstore.DecodeMetadata(w.load(stream("x"))[3].Meta)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{plain.ID, plain.ID}, []uuid.UUID{m.Causation, m.Correlation})
}

// reader stands for read models: what it was asked to wait for, and its answer.
type reader struct {
	asked []wish
	block bool
}

type wish struct {
	position eventstore.Position
	types    []string
}

func (r *reader) Await(ctx context.Context, p eventstore.Position, types []string) bool {
	r.asked = append(r.asked, wish{p, types})
	if r.block {
		<-ctx.Done()
		return false
	}
	return true
}

func waiting(r *reader, d time.Duration) func(*commands.Config) {
	return func(c *commands.Config) { c.Waiter, c.Wait = r, d }
}

func TestWaitsForReadModels(t *testing.T) {
	w := newWorld(t)
	r := &reader{}
	b := w.bus(waiting(r, time.Hour))
	made := w.must(b, create("x", thingMade{Name: "n"}))
	require.True(t, made.Current)
	require.Equal(t, []wish{{made.Position, []string{"test.thing-made"}}}, r.asked)
	require.True(t, w.must(b, rename("x", "n")).Current)
	require.Len(t, r.asked, 1, "nothing happened, nothing to wait for")
	require.False(t, w.must(w.bus(), grow("x")).Current, "nobody to ask")
}

func TestWaitThatTimesOut(t *testing.T) {
	w := newWorld(t)
	b := w.bus(waiting(&reader{block: true}, time.Nanosecond))
	made := w.must(b, create("x", thingMade{Name: "n"}))
	require.False(t, made.Current)
	require.Equal(t, made.State, w.fold("x"), "the write stands")
	ctx := request()
	current, err := commands.Together(ctx, b, func(ctx context.Context) error {
		_, err := commands.Send(ctx, b, grow("x"))
		return err
	})
	require.NoError(t, err)
	require.False(t, current)
}

func TestTogetherWaitsOnce(t *testing.T) {
	w := newWorld(t)
	r := &reader{}
	b := w.bus(waiting(r, time.Hour))
	ctx := request()
	var first, last commands.Result[thing]
	current, err := commands.Together(ctx, b, func(ctx context.Context) (err error) {
		first, err = commands.Send(ctx, b, create("x", thingMade{Name: "n"}))
		require.NoError(t, err)
		nested, err := commands.Together(ctx, b, func(ctx context.Context) error {
			last, err = commands.Send(ctx, b, grow("x"))
			return err
		})
		require.True(t, nested)
		require.Empty(t, r.asked)
		return errors.Join(err, errors.New("later"))
	})
	require.EqualError(t, err, "later")
	require.True(t, current)
	// A read model that hears of one of the types may never get to where the other stands.
	require.Equal(t, []wish{{first.Position, []string{"test.thing-made"}}, {last.Position, []string{"test.thing-grown"}}}, r.asked)

	current, err = commands.Together(ctx, b, func(context.Context) error { return nil })
	require.NoError(t, err)
	require.True(t, current)
	require.Len(t, r.asked, 2)
	_, err = commands.Together(context.Background(), b, func(context.Context) error { return nil })
	require.Error(t, err, "no request")
}

func TestFaultsOfTheStore(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	big := strings.Repeat("x", eventstore.MaxAppendBytes)
	w.must(b, create("x", thingMade{Name: "a"}))
	w.refused(b, fault.TooLarge, on("x", "test.big", func(thing) []domain.Event {
		return []domain.Event{thingNamed{"b"}, thingGrown{Note: big}}
	}))
	claim := w.load(claimOf(nameKey("b")))
	require.Equal(t, commands.ClaimReleased{Owner: stream("x")}, w.decode(claim[len(claim)-1]), "the claim was given back")
	w.must(b, create("y", thingMade{Name: "b"}))

	for name, drop := range map[string]memory.Op{"append": memory.OpAppend, "load": memory.OpLoad} {
		w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
			if c.Op == drop {
				return memory.Drop
			}
			return memory.Pass
		})
		f := w.refused(b, fault.Unavailable, rename("x", "c-"+name)) // its old claim must be read
		require.NotZero(t, f.RetryAfter)
		require.ErrorIs(t, f, eventstore.ErrUnavailable)
		require.NotContains(t, f.Public, "test's wish")
	}
	w.store.SetHook(nil)
	w.must(b, rename("x", "c-append"))
	w.requireSound()
}

// An append whose answer is lost may have been written: what it claimed stays
// claimed.
func TestLostAnswers(t *testing.T) {
	for n := 1; n <= 4; n++ { // two claims, the append, a release
		w := newWorld(t)
		b := w.bus()
		w.must(b, create("x", thingMade{Name: "a"}))
		w.store.Nth(memory.OpAppend, n, memory.LoseAnswer)
		_, err := w.send(b, on2("x", "b", "e"))
		if n < 4 {
			requireKind(t, fault.Unavailable, err)
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, n >= 3, w.fold("x").Name == "b")
		w.requireSound()
		for _, name := range []string{"a", "b"} {
			w.requireFreeOrHeld(name)
		}
		w.requireCacheTrue(b)
	}
}

func TestEndedContext(t *testing.T) {
	for _, point := range []string{"claim: before take", "claim: taken", "append: before", "append: done"} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(request())
			b := w.bus(func(c *commands.Config) {
				c.Reached = func(p string) {
					if p == point {
						cancel()
					}
				}
			})
			w.must(w.bus(), create("x", thingMade{Name: "a"}))
			r, err := commands.Send(ctx, b, rename("x", "b"))
			require.Error(t, ctx.Err())
			if point == "append: done" {
				require.NoError(t, err)
				require.Equal(t, "b", r.State.Name)
			} else {
				requireKind(t, fault.Unavailable, err)
				require.Equal(t, "a", w.fold("x").Name)
			}
			w.requireSound()
			// The claim on what nobody has is free, not only dead.
			free := map[bool]string{true: "b", false: "a"}[err != nil]
			before := w.store.Calls()[memory.OpLoad]
			if point != "append: before" { // there the append may have been written: see claims.go
				w.must(w.bus(), create("y", thingMade{Name: free}))
				require.LessOrEqual(t, w.store.Calls()[memory.OpLoad]-before, 1)
			}
		})
	}
}

func TestWaitingForAStreamEndsWithTheContext(t *testing.T) {
	w := newWorld(t)
	var points stalls
	b := w.bus(points.configure)
	w.must(b, create("x", thingMade{}))
	at := points.at("append: before")
	first := async(request(), b, grow("x"))
	<-at.reached
	ctx, cancel := context.WithCancel(request())
	second, third := async(ctx, b, grow("x")), async(request(), b, grow("x"))
	w.must(b, create("y", thingMade{})) // another stream is nobody's business
	cancel()
	requireKind(t, fault.Unavailable, (<-second).err)
	close(at.resume)
	require.NoError(t, (<-first).err)
	require.NoError(t, (<-third).err)
	require.Equal(t, 2, w.fold("x").Size)
}

// Commands of one process on one stream never conflict.
func TestOneAtATime(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.must(b, create("x", thingMade{}))
	before := w.store.Calls()[memory.OpAppend]
	const writers, each = 16, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := commands.Send(request(), b, grow("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, writers*each, w.store.Calls()[memory.OpAppend]-before)
	require.Equal(t, writers*each, w.fold("x").Size)
}

func TestTimeIsAsItReadsBack(t *testing.T) {
	w := newWorld(t)
	r := commands.NewRequest("test", time.Now())
	var seen time.Time
	_, err := commands.Send(requestOf(r), w.bus(), do{thing: "x", decide: func(_ thing, env commands.Env) ([]domain.Event, error) {
		seen = env.Now
		return nil, nil
	}})
	require.NoError(t, err)
	raw, err := json.Marshal(seen)
	require.NoError(t, err)
	var back time.Time
	require.NoError(t, json.Unmarshal(raw, &back))
	require.True(t, seen == back, "%#v is not %#v", seen, back) // the very value, not only the same moment
	require.True(t, seen.Equal(r.Now))
}
