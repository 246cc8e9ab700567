package commands_test

import (
	"context"
	"fmt"
	"testing"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// order is a request of several commands whose ids it makes itself: two things,
// one of which is renamed and grown twice.
func order(ctx context.Context, b *commands.Bus) ([]string, error) {
	first, second := commands.NewID(ctx).String(), commands.NewID(ctx).String()
	for _, cmd := range []commands.Command[thing]{
		numbered{do{thing: first, name: "test.make", decide: func(s thing, env commands.Env) ([]domain.Event, error) {
			if s.Live {
				return nil, exists()
			}
			return []domain.Event{thingMade{Name: "a", Email: "e", Number: env.Number}, thingGrown{By: 1}}, nil
		}}},
		rename(first, "b"),
		create(second, thingMade{Name: "a"}),
		grow(first), grow(first),
	} {
		if _, err := commands.Send(ctx, b, cmd); err != nil {
			return nil, err
		}
	}
	return []string{first, second}, nil
}

// ids of all events but the kernel's.
func (w *world) ids() []uuid.UUID {
	w.T.Helper()
	var ids []uuid.UUID
	for r, err := range w.store.ReadAll(context.Background(), 0, eventstore.Filter{TypePrefixes: []string{"test."}}) {
		require.NoError(w.T, err)
		ids = append(ids, r.ID)
	}
	return ids
}

// A request that is cut off anywhere and run again comes to the same as one that
// ran through.
func TestRequestRunAgain(t *testing.T) {
	id := uuid.New()
	whole := newWorld(t)
	want, err := order(retry(id), whole.bus())
	require.NoError(t, err)
	total := whole.store.Calls()

	check := func(t *testing.T, w *world) {
		things, err := order(retry(id), w.bus())
		require.NoError(t, err)
		require.Equal(t, want, things)
		require.Equal(t, whole.ids(), w.ids())
		got := w.fold(want[0])
		require.NotZero(t, got.Number)
		got.Number = whole.fold(want[0]).Number // reserved anew each time
		require.Equal(t, whole.fold(want[0]), got)
		w.requireSound()
		// And once more: nothing happens.
		_, err = order(retry(id), w.bus())
		require.NoError(t, err)
		require.Equal(t, whole.ids(), w.ids())
	}
	for _, op := range []memory.Op{memory.OpAppend, memory.OpLoad} {
		for _, verdict := range []memory.Verdict{memory.Drop, memory.LoseAnswer} {
			for n := 1; n <= total[op]; n++ {
				t.Run(fmt.Sprint(op, verdict, n), func(t *testing.T) {
					w := newWorld(t)
					// From the nth call on the process is dead.
					w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
						switch {
						case c.Op == op && c.N == n:
							return verdict
						case w.store.Calls()[op] >= n:
							return memory.Drop
						}
						return memory.Pass
					})
					first := requestOf(&commands.Request{ID: id, Now: now, Dialect: "test"})
					if _, err := order(first, w.bus()); err != nil { // a lost release is no failure
						requireKind(t, fault.Unavailable, err)
					}
					w.store.SetHook(nil)
					check(t, w)
				})
			}
		}
	}
	t.Run("not cut off", func(t *testing.T) { check(t, whole) })
}

// The answer to a repeated command is what it did then, and the state of now.
func TestRepeatedCommandIsAnsweredFromTheLog(t *testing.T) {
	w := newWorld(t)
	b, id := w.bus(), uuid.New()
	made, err := commands.Send(retry(id), b, create("x", thingMade{Name: "n"}))
	require.NoError(t, err)
	w.must(b, grow("x"))
	for _, b := range []*commands.Bus{b, w.bus()} {
		again, err := commands.Send(retry(id), b, create("x", thingMade{Name: "n"}))
		require.NoError(t, err)
		require.Equal(t, made.Events, again.Events)
		require.Equal(t, made.Position, again.Position)
		require.Equal(t, thing{Live: true, Name: "n", Size: 1}, again.State)
		require.Equal(t, eventstore.Revision(1), again.Revision)
	}
	w.refused(b, fault.Conflict, create("x", thingMade{Name: "n"}))
	// The same command twice in one request is two commands.
	ctx := retry(uuid.New())
	for range 2 {
		_, err := commands.Send(ctx, b, grow("x"))
		require.NoError(t, err)
	}
	require.Equal(t, 3, w.fold("x").Size)
}

// The first run's append may still be under way when the request runs again,
// arrive just before the second's, and say something else: other numbers, more
// or fewer events.
func TestFirstAppendArrivesLate(t *testing.T) {
	for _, between := range []bool{false, true} {
		for _, more := range []int{0, 1} {
			t.Run(fmt.Sprint("grown in between ", between, ", events more ", more), func(t *testing.T) {
				w := newWorld(t)
				var firsts, seconds stalls
				first, second, id := w.bus(firsts.configure), w.bus(seconds.configure), uuid.New()
				at := firsts.at("append: before")
				one := async(requestOf(&commands.Request{ID: id, Now: now, Dialect: "test"}), first, makeAndGrow(0))
				<-at.reached
				then := seconds.at("append: before")
				two := async(retry(id), second, makeAndGrow(more))
				<-then.reached
				close(at.resume)
				got := <-one
				require.NoError(t, got.err)
				if between {
					w.must(first, grow("x"))
				}
				close(then.resume)
				again := <-two
				require.NoError(t, again.err)
				require.Equal(t, got.result.Events, again.result.Events)
				require.Equal(t, w.fold("x"), again.result.State)
				w.requireCacheTrue(second)
				w.requireSound()
				require.Len(t, w.events("x"), map[bool]int{false: 1, true: 2}[between])
			})
		}
	}
}

// makeAndGrow creates x with a number and grows it some times.
func makeAndGrow(times int) commands.Command[thing] {
	return numbered{do{thing: "x", name: "test.make", decide: func(s thing, env commands.Env) ([]domain.Event, error) {
		if s.Live {
			return nil, exists()
		}
		events := []domain.Event{thingMade{Name: "n", Number: env.Number}}
		for range times {
			events = append(events, thingGrown{By: 1})
		}
		return events, nil
	}}}
}

// overtaken is the first run of a request whose other run is done, or under way.
func overtaken(id uuid.UUID, held func() bool) context.Context {
	return requestOf(&commands.Request{ID: id, Now: now, Dialect: "test", Held: held})
}

// A run that stood still for so long that another has run meanwhile does not
// know of that one, and must not decide on top of it.
func TestOvertakenRunDoesNotDecideAgain(t *testing.T) {
	w := newWorld(t)
	b, id := w.bus(), uuid.New()
	w.must(b, create("x", thingMade{}))
	first := overtaken(id, func() bool { return false })
	_, err := commands.Send(retry(id), w.bus(), grow("x"))
	require.NoError(t, err)
	_, err = commands.Send(first, b, grow("x"))
	requireKind(t, fault.Unavailable, err)
	require.Equal(t, 1, w.fold("x").Size)

	_, err = commands.Send(first, b, create("y", thingMade{Name: "n"}))
	requireKind(t, fault.Unavailable, err)
	require.Empty(t, w.events("y"))
	w.must(b, create("z", thingMade{Name: "n"})) // its claim is free
	w.requireSound()
}

// It may also stand still just before its append, which then looks like the
// other one's sent again. What the other one appended counts.
func TestOvertakenDuringTheAppend(t *testing.T) {
	w := newWorld(t)
	first, second, id := w.bus(), w.bus(), uuid.New()
	held := true
	w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
		if held && c.Op == memory.OpAppend && c.Stream == stream("x") {
			held = false
			_, err := commands.Send(retry(id), second, makeAndGrow(0))
			require.NoError(t, err)
		}
		return memory.Pass
	})
	got, err := commands.Send(overtaken(id, func() bool { return held }), first, makeAndGrow(0))
	require.NoError(t, err)
	require.Len(t, w.events("x"), 1)
	require.Equal(t, w.fold("x"), got.State)
	w.requireCacheTrue(first)
}

// What another run appends while a repeated one looks for it shows all the same.
func TestRepeatedCommandLooksAfterItsBaseline(t *testing.T) {
	w := newWorld(t)
	id := uuid.New()
	var b *commands.Bus
	looked := false
	b = newBus(slowReader{w.store, func() {
		if looked {
			return
		}
		looked = true
		_, err := commands.Send(retry(id), w.bus(), grow("x"))
		require.NoError(t, err)
		// Somebody else's look brings it into the cache.
		_, _, err = commands.Load[thing](context.Background(), b, stream("x"))
		require.NoError(t, err)
	}})
	w.must(w.bus(), create("x", thingMade{}))
	again, err := commands.Send(retry(id), b, grow("x"))
	require.NoError(t, err)
	require.Equal(t, 1, w.fold("x").Size)
	require.Equal(t, 1, again.State.Size)
}
