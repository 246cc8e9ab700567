package commands_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"

	"github.com/stretchr/testify/require"
)

func noted(id, note string) commands.Command[thing] {
	return on(id, "test.note", func(thing) []domain.Event { return []domain.Event{thingGrown{By: 1, Note: note}} })
}

// Many writers of several processes on few streams: what each bus thinks at the
// end, and every state handed out on the way, is a fold of the stream.
func TestHammered(t *testing.T) {
	w := newWorld(t)
	const writers, streams, each = 16, 4, 60
	buses := []*commands.Bus{w.bus(), w.bus(), w.bus(func(c *commands.Config) { c.CacheSize = 1 })}
	for s := range streams {
		w.must(buses[0], create(fmt.Sprint(s), thingMade{Name: fmt.Sprint(s)}))
	}
	type seen struct {
		id    string
		state thing
	}
	states := make([][]seen, writers)
	succeeded := make([]int, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for n := range each {
				id := fmt.Sprint(random.IntN(streams))
				b := buses[random.IntN(len(buses))]
				var cmd commands.Command[thing]
				switch random.IntN(4) {
				case 0:
					cmd = rename(id, fmt.Sprint("n", random.IntN(6)))
				case 1:
					state, _, err := commands.Load[thing](context.Background(), b, stream(id))
					if err != nil {
						t.Error(err)
					}
					states[i] = append(states[i], seen{id, state})
					continue
				default:
					cmd = noted(id, fmt.Sprint(i, "/", n))
				}
				r, err := commands.Send(request(), b, cmd)
				if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Unique) {
					t.Error(err)
				}
				if err == nil {
					succeeded[i] += len(r.Events)
					states[i] = append(states[i], seen{id, r.State})
				}
			}
		})
	}
	wg.Wait()
	w.requireSound()
	for _, b := range buses {
		w.requireCacheTrue(b)
	}
	total, events := 0, 0
	for i := range writers {
		total += succeeded[i]
	}
	for s := range streams {
		events += len(w.events(fmt.Sprint(s)))
	}
	require.Equal(t, streams+total, events)
	// A state handed out long ago still says what it said: nobody wrote into it.
	notes := map[string][]string{}
	for s := range streams {
		notes[fmt.Sprint(s)] = w.fold(fmt.Sprint(s)).Notes
	}
	for _, all := range states {
		for _, old := range all {
			require.LessOrEqual(t, len(old.state.Notes), len(notes[old.id]))
			require.Equal(t, notes[old.id][:len(old.state.Notes)], append([]string{}, old.state.Notes...))
		}
	}
}

// A slow reader that ends after a writer must not put what it read over what the
// writer knows.
func TestCacheNeverGoesBack(t *testing.T) {
	w := newWorld(t)
	reading, resume := make(chan struct{}), make(chan struct{})
	var ends atomic.Int32
	spied := slowReader{w.store, func() {
		if ends.Add(1) == 1 {
			close(reading)
			<-resume
		}
	}}
	b := newBus(spied)
	w.must(w.bus(), create("x", thingMade{}))
	done := make(chan error, 1)
	go func() {
		_, _, err := commands.Load[thing](context.Background(), b, stream("x")) // sees revision 0 and stalls
		done <- err
	}()
	<-reading
	w.must(b, grow("x"))
	w.must(b, grow("x"))
	close(resume)
	require.NoError(t, <-done)
	loads := w.store.Calls()["load"]
	appends := w.store.Calls()["append"]
	w.must(b, grow("x"))
	require.Equal(t, loads, w.store.Calls()["load"])
	require.Equal(t, appends+1, w.store.Calls()["append"], "decided from the newest state at once")
}

// States are values: what a command was given does not change with later ones.
func TestStatesAreNotShared(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.must(b, create("x", thingMade{}))
	one := w.must(b, noted("x", "1")).State
	two := w.must(b, noted("x", "2")).State
	fork := two.Apply(thingGrown{Note: "fork"})
	three := w.must(w.bus(), noted("x", "3")).State
	require.Equal(t, []string{"1"}, one.Notes)
	require.Equal(t, []string{"1", "2"}, two.Notes)
	require.Equal(t, []string{"1", "2", "fork"}, fork.Notes)
	require.Equal(t, []string{"1", "2", "3"}, three.Notes)
	w.requireCacheTrue(b)
}

// slowReader stops at the end of a stream, before the reader learns of it.
type slowReader struct {
	eventstore.Store
	end func()
}

func (s slowReader) Load(ctx context.Context, stream string, from eventstore.Revision) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for r, err := range s.Store.Load(ctx, stream, from) {
			if !yield(r, err) {
				return
			}
		}
		s.end()
	}
}
