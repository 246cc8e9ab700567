package commands_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"docket/commands"
	"docket/domain/fault"
	"docket/eventstore"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// part is what one writer does in a race: commands, one after the other, sent
// to one bus.
type part struct {
	bus  int
	cmds []commands.Command[thing]
}

// race is several writers after the same values.
type race struct {
	given []commands.Command[thing] // done before, on bus 0
	parts []part
	names []string // values in play
	held  string   // is somebody's at the end, if nobody died
}

func by(bus int, cmds ...commands.Command[thing]) part { return part{bus, cmds} }

func (r race) script(w *world) script {
	buses := map[int]*commands.Bus{0: w.bus()}
	for _, p := range r.parts {
		if buses[p.bus] == nil {
			buses[p.bus] = w.bus()
		}
	}
	for _, cmd := range r.given {
		w.must(buses[0], cmd)
	}
	outcomes := make([]map[uuid.UUID]sent, len(r.parts))
	var s script
	for i, p := range r.parts {
		outcomes[i] = make(map[uuid.UUID]sent)
		s.writers = append(s.writers, func(ctx context.Context) {
			for _, cmd := range p.cmds {
				request := commands.NewRequest("test", now)
				result, err := commands.Send(commands.WithRequest(asSystem(ctx), request), buses[p.bus], cmd)
				outcomes[i][request.ID] = sent{result, err}
			}
		})
	}
	s.check = func(dead []bool) {
		w.requireSound()
		for i := range outcomes {
			w.requireOutcomes(outcomes[i], dead[i])
		}
		for _, b := range buses {
			w.requireCacheTrue(b)
		}
		if r.held != "" && !slices.Contains(dead, true) {
			require.NotEmpty(w.T, w.holder(r.held), "nobody won %s", r.held)
		}
		for _, name := range r.names {
			w.requireFreeOrHeld(name)
		}
	}
	return s
}

// requireOutcomes checks that the log holds what the writer was told: all events
// of a command that succeeded, none of one that was refused.
func (w *world) requireOutcomes(outcomes map[uuid.UUID]sent, dead bool) {
	w.T.Helper()
	written := map[uuid.UUID]int{}
	for r, err := range w.store.ReadAll(context.Background(), 0, eventstore.Filter{TypePrefixes: []string{"test."}}) {
		require.NoError(w.T, err)
		m, err := eventstore.DecodeMetadata(r.Meta)
		require.NoError(w.T, err)
		written[m.Causation]++
	}
	for request, o := range outcomes {
		if o.err == nil {
			require.Equal(w.T, len(o.result.Events), written[request])
			continue
		}
		switch kind := fault.Of(o.err).Kind; kind {
		case fault.Unavailable:
			require.True(w.T, dead, "told %v while the store was there", o.err)
		case fault.Unique, fault.Conflict, fault.NotFound:
			require.Zero(w.T, written[request], "refused with %v and written", o.err)
		default:
			require.Fail(w.T, "unexpected", "%v", o.err)
		}
	}
}

// requireCacheTrue checks that a bus thinks of each thing what its stream says.
func (w *world) requireCacheTrue(b *commands.Bus) {
	w.T.Helper()
	for _, name := range w.store.Streams() {
		if id, is := strings.CutPrefix(name, "thing-"); is {
			state, revision, err := commands.Load[thing](context.Background(), b, name)
			require.NoError(w.T, err)
			require.Equal(w.T, w.fold(id), state)
			require.Len(w.T, w.load(name), int(revision)+1)
		}
	}
}

// holder is the stream of the thing that has a name, "" when nobody has.
func (w *world) holder(name string) string {
	w.T.Helper()
	for _, s := range w.store.Streams() {
		if id, is := strings.CutPrefix(s, "thing-"); is && slices.Contains(w.fold(id).Keys(), nameKey(name)) {
			return s
		}
	}
	return ""
}

// requireFreeOrHeld checks that a newcomer gets a name exactly when nobody has
// it.
func (w *world) requireFreeOrHeld(name string) {
	w.T.Helper()
	holder := w.holder(name)
	_, err := commands.Send(asSystem(commands.WithRequest(context.Background(), commands.NewRequest("test", now))), w.bus(),
		create("newcomer-"+name, thingMade{Name: name}))
	if holder == "" {
		require.NoError(w.T, err, "%s is nobody's", name)
	} else {
		requireKind(w.T, fault.Unique, err)
	}
	w.requireSound()
}

// races are all the ways to fight over names that came to mind. Each is run
// with one process per writer and, where that makes a difference, within one.
var races = map[string]race{
	"two create": {
		parts: []part{by(0, create("x", thingMade{Name: "n"})), by(1, create("y", thingMade{Name: "n"}))},
		names: []string{"n"}, held: "n",
	},
	"two create in one process": {
		parts: []part{by(0, create("x", thingMade{Name: "n"})), by(0, create("y", thingMade{Name: "n"}))},
		names: []string{"n"}, held: "n",
	},
	"two create with two keys": {
		parts: []part{by(0, create("x", thingMade{Name: "n", Email: "e"})), by(1, create("y", thingMade{Name: "n", Email: "e"}))},
		names: []string{"n"}, held: "n",
	},
	"two create with crossed keys": {
		parts: []part{by(0, create("x", thingMade{Name: "n"}), mail("x", "e")), by(1, create("y", thingMade{Email: "e"}), rename("y", "n"))},
		names: []string{"n"},
	},
	"the same is created twice": {
		parts: []part{by(0, create("x", thingMade{Name: "n"})), by(1, create("x", thingMade{Name: "n"}))},
		names: []string{"n"}, held: "n",
	},
	"there and back, and somebody who wants it": {
		given: []commands.Command[thing]{create("x", thingMade{Name: "a"})},
		parts: []part{by(0, rename("x", "b"), rename("x", "a")), by(1, create("y", thingMade{Name: "a"}))},
		names: []string{"a", "b"},
	},
	"back from another process": {
		given: []commands.Command[thing]{create("x", thingMade{Name: "a"})},
		parts: []part{by(0, rename("x", "b")), by(1, rename("x", "a")), by(2, create("y", thingMade{Name: "a"}))},
		names: []string{"a", "b"},
	},
	"away and back in two processes": {
		given: []commands.Command[thing]{create("x", thingMade{Name: "a"})},
		parts: []part{by(0, rename("x", "b"), rename("x", "a")), by(1, rename("x", "b"), rename("x", "a"))},
		names: []string{"a", "b"},
	},
	"renamed by two": {
		given: []commands.Command[thing]{create("x", thingMade{Name: "a"})},
		parts: []part{by(0, rename("x", "b")), by(1, rename("x", "c"))},
		names: []string{"a", "b", "c"},
	},
	"swap": {
		given: []commands.Command[thing]{create("x", thingMade{Name: "a"}), create("y", thingMade{Name: "b"})},
		parts: []part{by(0, rename("x", "c"), rename("x", "b")), by(1, rename("y", "a"))},
		names: []string{"a", "b", "c"},
	},
	"deleted and made anew": {
		given: []commands.Command[thing]{create("x", thingMade{Name: "n"})},
		parts: []part{by(0, end("x"), create("x", thingMade{Name: "n"})), by(1, create("y", thingMade{Name: "n"}))},
		names: []string{"n"}, held: "n",
	},
	"deleted here, made anew there": {
		given: []commands.Command[thing]{create("x", thingMade{Name: "n"})},
		parts: []part{by(0, end("x")), by(1, create("x", thingMade{Name: "n"})), by(2, create("y", thingMade{Name: "n"}))},
		names: []string{"n"},
	},
	"one thing, two who give it the same, one who takes it": {
		given: []commands.Command[thing]{create("x", thingMade{}), create("z", thingMade{Email: "taken"})},
		parts: []part{
			by(0, on2("x", "n", "taken")), by(1, rename("x", "n")), by(2, create("y", thingMade{Name: "n"})),
		},
		names: []string{"n"}, held: "n",
	},
	"changes get between": {
		given: []commands.Command[thing]{create("x", thingMade{})},
		parts: []part{by(0, rename("x", "n")), by(1, grow("x"), end("x")), by(2, create("y", thingMade{Name: "n"}))},
		names: []string{"n"},
	},
}

func asSystem(ctx context.Context) context.Context { return withActor(ctx, system) }

func TestRaces(t *testing.T) {
	for name, r := range races {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := limits{switches: 2, deaths: 0, most: 100_000}
			explore(t, l, r.script)
			explore(t, limits{switches: 1, deaths: 1, most: 100_000}, r.script)
		})
	}
}
