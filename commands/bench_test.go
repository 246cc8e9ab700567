package commands_test

import (
	"strconv"
	"testing"

	"docket/commands"
	"docket/domain/fault"
	"docket/eventstore/memory"

	"github.com/stretchr/testify/require"
)

// What the kernel itself costs, the store being a slice in memory.
func BenchmarkSend(b *testing.B) {
	ctx := request() // the context is made by the HTTP layer
	for name, made := range map[string]func(i string) thingMade{
		"create without key": func(string) thingMade { return thingMade{} },
		"create with a key":  func(i string) thingMade { return thingMade{Name: i} },
		"create with two":    func(i string) thingMade { return thingMade{Name: i, Email: i} },
	} {
		b.Run(name, func(b *testing.B) {
			bus := newBus(memory.New())
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				id := strconv.Itoa(n)
				if _, err := commands.Send(ctx, bus, create(id, made(id))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("change", func(b *testing.B) {
		bus := newBus(memory.New())
		if _, err := commands.Send(ctx, bus, create("x", thingMade{Name: "n"})); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := commands.Send(ctx, bus, grow("x")); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// How often each kind of command goes to the store: what makes it fast or slow
// over a network.
func TestRoundTrips(t *testing.T) {
	w := newWorld(t)
	b, cold := w.bus(), w.bus()
	trips := func(run func()) (appends, loads int) {
		before := w.store.Calls()
		run()
		after := w.store.Calls()
		return after[memory.OpAppend] - before[memory.OpAppend], after[memory.OpLoad] - before[memory.OpLoad]
	}
	for _, c := range []struct {
		name           string
		run            func()
		appends, loads int
	}{
		{"create without key", func() { w.must(b, create("1", thingMade{})) }, 1, 0},
		{"create with one key", func() { w.must(b, create("2", thingMade{Name: "n2"})) }, 2, 0},
		{"create with two", func() { w.must(b, create("3", thingMade{Name: "n3", Email: "e3"})) }, 3, 0},
		{"change what is cached", func() { w.must(b, grow("2")) }, 1, 0},
		{"change what is not", func() { w.must(cold, grow("2")) }, 1, 1},
		{"change behind a stale baseline", func() { w.must(b, grow("2")) }, 2, 1},
		{"nothing to do", func() { w.must(b, rename("2", "n2")) }, 0, 1},
		{"rename", func() { w.must(b, rename("2", "free")) }, 3, 1},
		{"rename to what was somebody's", func() { w.must(b, rename("3", "n2")) }, 4, 2},
		{"refused: taken", func() { w.refused(b, fault.Unique, create("4", thingMade{Name: "n2"})) }, 1, 3},
		{"delete", func() { w.must(b, end("2")) }, 2, 1},
		{"with a number, the first of a block", func() { w.must(b, numberedThing("5")) }, 2, 1},
		{"with a number", func() { w.must(b, numberedThing("6")) }, 1, 0},
		{"looking at another, known", func() {
			w.must(b, referring{do: create("7", thingMade{}), refs: []commands.Ref{commands.RefTo[thing](stream("6"))}})
		}, 1, 0},
	} {
		appends, loads := trips(c.run)
		require.Equal(t, [2]int{c.appends, c.loads}, [2]int{appends, loads}, "%s: appends, loads", c.name)
	}
}
