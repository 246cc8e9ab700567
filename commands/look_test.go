package commands_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"

	"github.com/stretchr/testify/require"
)

func TestReferences(t *testing.T) {
	w := newWorld(t)
	near, far := w.bus(), w.bus()
	copyOf := func(id string, limit int) commands.Command[thing] {
		return referring{do: do{thing: id, name: "test.copy", decide: func(s thing, env commands.Env) ([]domain.Event, error) {
			size := commands.Lookup[thing](env, stream("source")).Size
			if size == s.Size {
				return nil, nil
			}
			if size < limit {
				return nil, fault.New(fault.Conflict, "too-small", "too small")
			}
			return []domain.Event{thingGrown{By: size - s.Size}}, nil
		}}, refs: []commands.Ref{commands.RefTo[thing](stream("source"))}}
	}
	require.Zero(t, w.must(near, copyOf("x", 0)).State.Size, "one that does not exist")
	w.must(far, create("source", thingMade{}))
	for range 5 {
		w.must(far, grow("source"))
	}
	require.Equal(t, 5, w.must(near, copyOf("x", 5)).State.Size)
	w.must(near, grow("source"))
	require.Equal(t, 6, w.must(near, copyOf("x", 6)).State.Size, "its own process's writes are known at once")

	// Neither a refusal nor doing nothing rests on what is remembered.
	w.must(far, grow("source"))
	require.Equal(t, 7, w.must(near, copyOf("x", 0)).State.Size)
	w.must(far, grow("source"))
	require.Equal(t, 8, w.must(near, copyOf("y", 8)).State.Size)

	require.Panics(t, func() {
		_, _ = w.send(near, do{thing: "x", decide: func(_ thing, env commands.Env) ([]domain.Event, error) {
			commands.Lookup[thing](env, stream("source"))
			return nil, nil
		}})
	})
	w.must(near, create("x", thingMade{})) // the panic left nobody's turn behind
}

// A command that is not refused looks at what others were a moment ago, and no
// longer ago than that.
func TestReferencesAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		near, far := w.bus(), w.bus()
		w.must(near, create("source", thingMade{}))
		note := referring{do: do{thing: "x", decide: func(_ thing, env commands.Env) ([]domain.Event, error) {
			return []domain.Event{thingGrown{By: commands.Lookup[thing](env, stream("source")).Size}}, nil
		}}, refs: []commands.Ref{commands.RefTo[thing](stream("source"))}}
		w.must(near, note)
		w.must(far, grow("source"))
		loads := w.store.Calls()[memory.OpLoad]
		w.must(near, note)
		require.Equal(t, loads, w.store.Calls()[memory.OpLoad], "a moment ago is good enough")
		<-time.After(250 * time.Millisecond)
		require.Equal(t, 1, w.must(near, note).State.Size)
	})
}

func TestInspect(t *testing.T) {
	w := newWorld(t)
	b, at := w.bus(), now
	w.store.SetClock(func() time.Time { return at })
	w.must(b, create("x", thingMade{Name: "a", Orgs: []domain.ID{orgA}}))
	for _, name := range []string{"b", "c"} {
		at = at.Add(time.Hour)
		w.must(b, rename("x", name))
	}
	at = at.Add(time.Hour)
	w.must(b, end("x"))
	revision := func(r eventstore.Revision) commands.Until { return commands.Until{Revision: &r} }
	for _, c := range []struct {
		until    commands.Until
		name     string
		revision eventstore.Revision
		exists   bool
	}{
		{commands.Until{}, "c", 3, false},
		{revision(0), "a", 0, true},
		{revision(1), "b", 1, true},
		{revision(99), "c", 3, false},
		{commands.Until{Time: now}, "a", 0, true},
		{commands.Until{Time: now.Add(119 * time.Minute)}, "b", 1, true},
		{commands.Until{Time: now.Add(2 * time.Hour)}, "c", 2, true},
	} {
		s, err := b.Inspect(context.Background(), stream("x"), c.until)
		require.NoError(t, err)
		var state thing
		require.NoError(t, json.Unmarshal(s.State, &state))
		require.Equal(t, c.name, state.Name)
		require.Equal(t, c.revision, s.Revision)
		require.Equal(t, c.exists, s.Exists)
		require.Equal(t, []domain.ID{orgA}, s.Organizations)
		require.Equal(t, now.Add(time.Duration(c.revision)*time.Hour), s.At)
	}
	for _, s := range []string{stream("none"), "nothing-x"} {
		_, err := b.Inspect(context.Background(), s, commands.Until{})
		requireKind(t, fault.NotFound, err)
	}
	_, err := b.Inspect(context.Background(), stream("x"), commands.Until{Time: now.Add(-time.Second)})
	requireKind(t, fault.NotFound, err)
	w.store.Nth(memory.OpLoad, 1, memory.Drop)
	_, err = b.Inspect(context.Background(), stream("x"), commands.Until{})
	requireKind(t, fault.Unavailable, err)
}
