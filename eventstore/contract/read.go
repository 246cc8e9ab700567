package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"docket/eventstore"
)

var readTests = map[string]func(*fixture){
	"stream from a revision": func(f *fixture) {
		s := f.stream("a")
		events := f.events("made", 5)
		f.write(s, eventstore.NoStream, events...)
		requireStream(f, s, 0, events, f.load(s, 0))
		requireStream(f, s, 3, events[3:], f.load(s, 3))
		require.Empty(f, f.load(s, 5))
		require.Empty(f, f.load(s, 500))
	},

	"missing stream": func(f *fixture) {
		require.Empty(f, f.load(f.stream("missing"), 0))
		require.Empty(f, f.load(f.stream("missing"), 7))
	},

	"long stream": func(f *fixture) {
		s := f.stream("long")
		events := f.writeMany(s, "made", 2345)
		requireStream(f, s, 0, events, f.load(s, 0))
		requireStream(f, s, 1000, events[1000:], f.load(s, 1000))
		// Ends on what implementations are likely to have as the size of a page.
		for _, n := range []int{499, 500, 501, 1000} {
			requireStream(f, s, eventstore.Revision(2345-n), events[2345-n:], f.load(s, eventstore.Revision(2345-n)))
		}
	},

	"stream of large events": func(f *fixture) {
		s := f.stream("heavy")
		events := f.events("made", 12)
		for i := range events {
			events[i].Data = mustJSON(f, strings.Repeat(fmt.Sprint(i%10), 900_000))
			f.write(s, eventstore.Revision(i-1), events[i])
		}
		requireStream(f, s, 0, events, f.load(s, 0))
	},

	"stream left early": func(f *fixture) {
		s := f.stream("a")
		events := f.writeMany(s, "made", 700)
		for e, err := range f.store.Load(f.ctx, s, 0) {
			require.NoError(f, err)
			require.Equal(f, events[0].ID, e.ID)
			break
		}
	},

	"an appended event is read at once": func(f *fixture) {
		s := f.stream("a")
		for i := range 50 {
			e := f.event("made")
			receipt := f.write(s, eventstore.Revision(i-1), e)
			got := f.load(s, eventstore.Revision(i))
			requireStream(f, s, eventstore.Revision(i), []eventstore.Proposed{e}, got)
			require.LessOrEqual(f, got[0].Position, receipt.Position)
		}
	},

	"all in order": func(f *fixture) {
		want := writeStreams(f, 7, 30)
		got := f.readAll(f.start, f.mine())
		require.Equal(f, want, idsOf(got))
		requireOrdered(f, f.start, got)
		for _, e := range got[:50] {
			require.Contains(f, f.load(e.Stream, e.Revision), e, "an event is the same from its stream and from the log")
		}
	},

	"all after a position": func(f *fixture) {
		writeStreams(f, 3, 10)
		all := f.readAll(f.start, f.mine())
		for i, e := range all {
			require.Equal(f, idsOf(all[i+1:]), idsOf(f.readAll(e.Position, f.mine())))
		}
		head, err := f.store.Head(f.ctx)
		require.NoError(f, err)
		require.Empty(f, f.readAll(head, f.mine()))
	},

	"all from the beginning": func(f *fixture) {
		if f.shared {
			f.Skip("the log holds more")
		}
		require.Zero(f, f.start)
		require.Empty(f, f.readAll(0, eventstore.Filter{}))
		want := writeStreams(f, 2, 5)
		require.Equal(f, want, idsOf(f.readAll(0, eventstore.Filter{})))
	},

	"all, many pages": func(f *fixture) {
		var want []eventstore.Proposed
		for i := range 3 {
			want = append(want, f.writeMany(f.stream(fmt.Sprint(i)), "made", 1100)...)
		}
		require.Equal(f, proposedIDs(want), idsOf(f.readAll(f.start, f.mine())))
	},

	"all by type": func(f *fixture) {
		s := f.stream("a")
		types := []string{"task-created", "task-changed", "user-created", "task", "Task-created"}
		for i := range 40 {
			f.write(s, eventstore.Revision(i-1), f.event(types[i%len(types)]))
		}
		all := f.load(s, 0)
		for _, prefixes := range [][]string{{"task"}, {"task-"}, {"user", "task-ch"}, {"Task"}, {"nothing"}} {
			filter := eventstore.Filter{}
			for _, p := range prefixes {
				filter.TypePrefixes = append(filter.TypePrefixes, f.typ(p))
			}
			want := slices.DeleteFunc(slices.Clone(all), func(e eventstore.Recorded) bool { return !filter.Matches(e.Type) })
			require.Equal(f, idsOf(want), idsOf(f.readAll(f.start, filter)), prefixes)
		}
	},

	"all but the store's own": func(f *fixture) {
		want := writeStreams(f, 2, 5)
		var got []eventstore.Recorded
		for _, e := range f.readAll(f.start, eventstore.Filter{}) {
			require.False(f, strings.HasPrefix(e.Type, "$"), e.Type)
			if strings.HasPrefix(e.Type, f.name) {
				got = append(got, e)
			}
		}
		require.Equal(f, want, idsOf(got))
	},

	"all left early": func(f *fixture) {
		want := writeStreams(f, 2, 5)
		for e, err := range f.store.ReadAll(f.ctx, f.start, f.mine()) {
			require.NoError(f, err)
			require.Equal(f, want[0], e.ID)
			break
		}
	},

	"head and readiness": func(f *fixture) {
		before, err := f.store.Head(f.ctx)
		require.NoError(f, err)
		f.write(f.stream("a"), eventstore.NoStream, f.event("made"))
		after, err := f.store.Head(f.ctx)
		require.NoError(f, err)
		require.Greater(f, after, before)
		require.GreaterOrEqual(f, after, f.load(f.stream("a"), 0)[0].Position)
		require.NoError(f, f.store.Ready(f.ctx))
	},

	"ended context": func(f *fixture) {
		f.write(f.stream("a"), eventstore.NoStream, f.event("made"))
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		_, err := f.store.Head(ctx)
		require.ErrorIs(f, err, context.Canceled)
		for _, err := range f.store.Load(ctx, f.stream("a"), 0) {
			require.ErrorIs(f, err, context.Canceled)
		}
		for _, err := range f.store.ReadAll(ctx, f.start, f.mine()) {
			require.ErrorIs(f, err, context.Canceled)
		}
	},
}
