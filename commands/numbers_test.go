package commands_test

import (
	"context"
	"math"
	"sync"
	"testing"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func numberedThing(id string) commands.Command[thing] {
	return numbered{do{thing: id, name: "test.make", decide: func(s thing, env commands.Env) ([]domain.Event, error) {
		if s.Live {
			return nil, exists()
		}
		return []domain.Event{thingMade{Number: env.Number}}, nil
	}}}
}

func TestNumbersRise(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	for i := range int32(200) {
		require.Equal(t, i+1, w.must(b, numberedThing(uuid.NewString())).State.Number)
	}
	// A thing that is there needs none, and uses none up.
	w.must(b, numberedThing("x"))
	w.refused(b, fault.Conflict, numberedThing("x"))
	require.Equal(t, int32(202), w.must(b, numberedThing("y")).State.Number)
	// After a stop what was reserved is left unused.
	restarted := w.bus()
	require.Equal(t, int32(257), w.must(restarted, numberedThing("z")).State.Number)
	require.Equal(t, int32(203), w.must(b, numberedThing("still there")).State.Number)
}

func TestNumbersOfManyProcesses(t *testing.T) {
	w := newWorld(t)
	const processes, writers, each = 3, 4, 100
	var mu sync.Mutex
	seen := map[int32]bool{}
	var wg sync.WaitGroup
	for range processes {
		b := w.bus()
		for range writers {
			wg.Go(func() {
				var last int32
				for range each {
					r, err := commands.Send(request(), b, numberedThing(uuid.NewString()))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if seen[r.State.Number] || r.State.Number <= last {
						t.Errorf("number %d after %d, given out before: %v", r.State.Number, last, seen[r.State.Number])
					}
					last, seen[r.State.Number] = r.State.Number, true
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	require.Len(t, seen, processes*writers*each)
}

func TestNumbersWhenTheStoreFails(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.store.Nth(memory.OpAppend, 1, memory.Drop)
	w.refused(b, fault.Unavailable, numberedThing("x"))
	w.store.Nth(memory.OpAppend, 1, memory.LoseAnswer)
	w.refused(b, fault.Unavailable, numberedThing("x"))
	require.Equal(t, int32(65), w.must(b, numberedThing("x")).State.Number, "a block whose fate is unknown is never used")
	w.store.Nth(memory.OpLoad, 1, memory.Drop)
	w.refused(w.bus(), fault.Unavailable, numberedThing("y"))
}

func TestNumbersRunOut(t *testing.T) {
	w := newWorld(t)
	data, err := codec.Encode(commands.NumbersReserved{UpTo: math.MaxInt32 - 64})
	require.NoError(t, err)
	_, err = w.store.Append(context.Background(), "numbers-thing", eventstore.NoStream,
		[]eventstore.Proposed{{ID: uuid.New(), Type: commands.NumbersReserved{}.EventType(), Data: data}})
	require.NoError(t, err)
	b := w.bus()
	require.Equal(t, int32(math.MaxInt32-63), w.must(b, numberedThing("x")).State.Number)
	w.refused(w.bus(), fault.Limited, numberedThing("y"))
}
