package commands_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"docket/commands"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
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
	// coarse races are scheduled at the kernel's own points, not at every use of
	// the store.
	coarse bool
}

func by(bus int, cmds ...commands.Command[thing]) part { return part{bus, cmds} }

func (r race) script(w *world) script {
	standing := make([]*writer, len(r.parts))
	reached := func(bus int) func(*commands.Config) {
		return func(c *commands.Config) {
			if r.coarse { // one writer per bus
				c.Reached = func(string) {
					if i := slices.IndexFunc(r.parts, func(p part) bool { return p.bus == bus }); i >= 0 && standing[i] != nil {
						standing[i].stand()
					}
				}
			}
		}
	}
	if r.coarse {
		w.store.SetHook(nil)
	}
	buses := map[int]*commands.Bus{0: w.bus(reached(0))}
	for _, p := range r.parts {
		if buses[p.bus] == nil {
			buses[p.bus] = w.bus(reached(p.bus))
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
			standing[i] = writerOf(ctx)
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
			switches := 2
			if testing.Short() {
				switches = 1
			}
			explore(t, limits{switches: switches, most: 100_000}, r.script)
			explore(t, limits{switches: switches - 1, deaths: 1, most: 100_000}, r.script)
		})
	}
}

// Two writers of one name in any order of their steps. Pauses before a claim
// counts as dead are one step here: see TestRaces for those. Two that create
// could void each other's claims for long, so theirs is bounded.
func TestEveryInterleaving(t *testing.T) {
	for name, switches := range map[string]int{"two create": 4, "the same is created twice": 1000, "renamed by two": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := races[name]
			r.coarse = true
			explore(t, limits{switches: switches, most: 200_000}, r.script)
		})
	}
}

// A newcomer takes over what a dead process left behind, and only once.
func TestTakingOverADeadClaim(t *testing.T) {
	setup := func(w *world) script {
		dead := w.bus()
		w.store.Nth(memory.OpAppend, 2, memory.Drop) // after the claim
		_, err := w.send(dead, create("dead", thingMade{Name: "n"}))
		requireKind(w.T, fault.Unavailable, err)
		require.Equal(w.T, []string{claimOf(nameKey("n"))}, w.store.Streams())
		w.store.SetHook(stand)
		r := race{parts: []part{by(1, create("x", thingMade{Name: "n"})), by(2, create("y", thingMade{Name: "n"}))}, names: []string{"n"}, held: "n"}
		return r.script(w)
	}
	explore(t, limits{switches: 2, most: 100_000}, setup)
	explore(t, limits{switches: 1, deaths: 1, most: 100_000}, setup)
}

// The dead claimant was only slow: its append fails, and it decides again.
func TestSlowClaimant(t *testing.T) {
	w := newWorld(t)
	var points stalls
	slow := w.bus(points.configure)
	at := points.at("claim: taken")
	done := async(request(), slow, create("x", thingMade{Name: "n"}))
	<-at.reached
	w.must(w.bus(), create("y", thingMade{Name: "n"}))
	voided := w.load(stream("x"))
	require.Len(t, voided, 1)
	require.Equal(t, commands.ClaimVoided{Claim: claimOf(nameKey("n"))}, w.decode(voided[0]))
	close(at.resume)
	requireKind(t, fault.Unique, (<-done).err)
	w.requireSound()
	// What is left of it is a thing that can be made.
	require.Equal(t, eventstore.Revision(1), w.must(slow, create("x", thingMade{Name: "m"})).Revision)
}

func TestRefusalNamesTheField(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.must(b, create("x", thingMade{Name: "n", Email: "e"}))
	f := w.refused(b, fault.Unique, create("y", thingMade{Name: "m", Email: "e"}))
	require.Equal(t, "thing-email.taken", f.Code)
	require.Equal(t, "email", f.Fields[0].Path)
	w.must(b, create("z", thingMade{Name: "m"})) // y's claim on it was given back
	for _, s := range w.store.Streams() {
		for _, r := range w.load(s) {
			if strings.HasPrefix(s, "claim-") {
				require.NotContains(t, string(r.Data)+string(r.Meta)+s, `"e"`, "values stand in no claim")
			}
		}
	}
}

// Keys of another kind or scope are other keys.
func TestKeysAreApart(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.must(b, create("x", thingMade{Name: "same", Email: "other"}))
	w.must(b, create("y", thingMade{Name: "other", Email: "same"}))
	w.requireSound()
}

// Any number of writers, in any order, dying anywhere.
func TestRandomRaces(t *testing.T) {
	names := []string{"a", "b", ""}
	things := []string{"x", "y", "z"}
	rapid.Check(t, func(rt *rapid.T) {
		name, id := rapid.SampledFrom(names), rapid.SampledFrom(things)
		command := rapid.Custom(func(rt *rapid.T) commands.Command[thing] {
			id := id.Draw(rt, "thing")
			switch rapid.IntRange(0, 6).Draw(rt, "command") {
			case 0, 1:
				return create(id, thingMade{Name: name.Draw(rt, "name"), Email: name.Draw(rt, "email")})
			case 2, 3:
				return rename(id, name.Draw(rt, "name"))
			case 4:
				return mail(id, name.Draw(rt, "email"))
			case 5:
				return on2(id, name.Draw(rt, "name"), name.Draw(rt, "email"))
			default:
				return end(id)
			}
		})
		r := race{names: names[:2]}
		for _, id := range things {
			if rapid.Bool().Draw(rt, "given") {
				r.given = append(r.given, create(id, thingMade{Name: id}))
			}
		}
		for range rapid.IntRange(2, 4).Draw(rt, "writers") {
			r.parts = append(r.parts, by(rapid.IntRange(0, 2).Draw(rt, "bus"), rapid.SliceOfN(command, 1, 3).Draw(rt, "commands")...))
		}
		deaths := rapid.IntRange(0, 2).Draw(rt, "deaths")
		// Mostly the same one goes on: races need a few switches, not many. Drawn
		// beforehand, since the bubble runs in a goroutine that rapid doesn't know.
		turns := rapid.SliceOfN(rapid.IntRange(0, 79), 0, 200).Draw(rt, "turns")
		last := -1
		err := play(t, r.script, func(enabled []int) choice {
			turn := 79
			if len(turns) > 0 {
				turn, turns = turns[0], turns[1:]
			}
			if turn < 20 || !slices.Contains(enabled, last) {
				last = enabled[turn%len(enabled)]
			}
			c := choice{writer: last}
			if deaths > 0 && turn/2 == 15 { // 30 and 31
				deaths--
				c.fate = []fate{dieBefore, dieAfter}[turn%2]
			}
			return c
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}
