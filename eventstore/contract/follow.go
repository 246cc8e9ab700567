package contract

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
)

// writeStreams appends events one by one, in turn to several streams, and
// returns their ids in order.
func writeStreams(f *fixture, streams, each int) []uuid.UUID {
	f.Helper()
	var ids []uuid.UUID
	for i := range each {
		for s := range streams {
			e := f.event(fmt.Sprintf("made-%d", s))
			f.write(f.stream(fmt.Sprint("s", s)), eventstore.Revision(i-1), e)
			ids = append(ids, e.ID)
		}
	}
	return ids
}

var followTests = map[string]func(*fixture){
	"what is there, then what comes": func(f *fixture) {
		want := writeStreams(f, 3, 20)
		seen := make(chan eventstore.Message)
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(f.ctx)
		go func() {
			var last error
			for m, err := range f.store.Follow(ctx, f.start, f.mine()) {
				if last = err; err == nil {
					seen <- m
				}
			}
			ended <- last
		}()
		var got []uuid.UUID
		for m := range seen {
			if m.Event != nil {
				got = append(got, m.Event.ID)
			}
			if m.CaughtUp {
				break
			}
		}
		require.Equal(f, want, got)
		for i := range 10 {
			e := f.event("live")
			f.write(f.stream("live"), eventstore.Revision(i-1), e)
			for m := range seen {
				if m.Event != nil {
					require.Equal(f, e.ID, m.Event.ID)
					require.Equal(f, m.Position, m.Event.Position)
					break
				}
			}
		}
		cancel()
		for done := false; !done; {
			select {
			case <-seen:
			case err := <-ended:
				require.ErrorIs(f, err, context.Canceled)
				done = true
			}
		}
	},

	"from the beginning": func(f *fixture) {
		if f.shared {
			f.Skip("the log holds more")
		}
		want := writeStreams(f, 2, 10)
		got := eventsOf(f.follow(0, eventstore.Filter{}, count(len(want))))
		require.Equal(f, want, idsOf(got))
	},

	"from a position": func(f *fixture) {
		writeStreams(f, 2, 15)
		all := f.readAll(f.start, f.mine())
		for _, i := range []int{0, 1, 14, 28} {
			got := eventsOf(f.follow(all[i].Position, f.mine(), count(29-i)))
			require.Equal(f, idsOf(all[i+1:]), idsOf(got))
		}
	},

	"an event is as it was read": func(f *fixture) {
		writeStreams(f, 2, 5)
		require.Equal(f, f.readAll(f.start, f.mine()), eventsOf(f.follow(f.start, f.mine(), count(10))))
	},

	"caught up": func(f *fixture) {
		head, err := f.store.Head(f.ctx)
		require.NoError(f, err)
		f.follow(head, f.mine(), caughtUp)

		want := writeStreams(f, 2, 5)
		messages := f.follow(f.start, f.mine(), caughtUp)
		require.Equal(f, want, idsOf(eventsOf(messages)))
	},

	"checkpoints behind a filter": func(f *fixture) {
		f.writeMany(f.stream("noise"), "noise", 9000)
		last := f.load(f.stream("noise"), 8999)[0].Position
		filter := eventstore.Filter{TypePrefixes: []string{f.typ("wanted")}}
		messages := f.follow(f.start, filter, caughtUp)
		require.Empty(f, eventsOf(messages))
		require.GreaterOrEqual(f, messages[len(messages)-1].Position, last, "a follower whose filter matches nothing still gets ahead")
		require.Less(f, len(messages), 20, "checkpoints are few")
		before := f.start
		for _, m := range messages {
			require.GreaterOrEqual(f, m.Position, before)
			before = m.Position
		}

		// Going on from a checkpoint leaves nothing out.
		e := f.event("wanted")
		f.write(f.stream("wanted"), eventstore.NoStream, e)
		for _, m := range messages {
			got := eventsOf(f.follow(m.Position, filter, count(1)))
			require.Equal(f, []uuid.UUID{e.ID}, idsOf(got))
		}
	},

	"by type": func(f *fixture) {
		var want []uuid.UUID
		for i := range 60 {
			e := f.event([]string{"task-created", "user-created", "task-changed"}[i%3])
			f.write(f.stream("a"), eventstore.Revision(i-1), e)
			if i%3 != 1 {
				want = append(want, e.ID)
			}
		}
		filter := eventstore.Filter{TypePrefixes: []string{f.typ("task-")}}
		require.Equal(f, want, idsOf(eventsOf(f.follow(f.start, filter, count(len(want))))))
		filter.TypePrefixes = append(filter.TypePrefixes, f.typ("user-"))
		require.Len(f, eventsOf(f.follow(f.start, filter, count(60))), 60)
	},

	"large events": func(f *fixture) {
		events := f.events("made", 10)
		for i := range events {
			events[i].Data = mustJSON(f, string(make([]byte, 100_000)))
			f.write(f.stream("a"), eventstore.Revision(i-1), events[i])
		}
		got := eventsOf(f.follow(f.start, f.mine(), count(10)))
		requireStream(f, f.stream("a"), 0, events, got)
	},

	"no gaps and nothing twice while many write": func(f *fixture) {
		const writers, each = 8, 100
		errs := make(chan error, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() { errs <- appendSeries(f, f.stream(fmt.Sprint("w", w)), each) })
		}
		// Followers that begin at different moments see the same.
		var results [4][]eventstore.Recorded
		var followers sync.WaitGroup
		for i := range results {
			followers.Go(func() { results[i] = followEvents(f, writers*each) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(f, err)
		}
		followers.Wait()
		want := f.readAll(f.start, f.mine())
		require.Len(f, want, writers*each)
		requireOrdered(f, f.start, want)
		for _, got := range results {
			require.Equal(f, idsOf(want), idsOf(got))
		}
	},

	"ended context": func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		messages := 0
		for _, err := range f.store.Follow(ctx, f.start, f.mine()) {
			messages++
			require.ErrorIs(f, err, context.Canceled)
		}
		require.Equal(f, 1, messages)
	},
}

// appendSeries writes n events to a stream of its own, one by one.
func appendSeries(f *fixture, stream string, n int) error {
	for i := range n {
		if _, err := f.store.Append(f.ctx, stream, eventstore.Revision(i-1), f.events("made", 1)); err != nil {
			return fmt.Errorf("append %d: %w", i, err)
		}
	}
	return nil
}

// followEvents collects the first n events of the test, fewer if the follower
// fails.
func followEvents(f *fixture, n int) []eventstore.Recorded {
	var got []eventstore.Recorded
	for m, err := range f.store.Follow(f.ctx, f.start, f.mine()) {
		if err != nil {
			f.Error(errors.Join(errors.New("follower ended early"), err))
			return got
		}
		if m.Event != nil {
			got = append(got, *m.Event)
		}
		if len(got) == n {
			return got
		}
	}
	return got
}
