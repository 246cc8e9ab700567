package contract

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
)

// Server is a server under a test's control. It is started when handed over.
type Server interface {
	// Stop takes the server away. What it acknowledged is kept.
	Stop()
	// Start brings it back under the same address.
	Start()
}

// RunFaults tests what a store does while its server comes and goes. open makes
// a server with an empty log and a store over it, and cleans up by itself,
// whether the server runs at the end or not.
func RunFaults(t *testing.T, open func(t *testing.T) (Server, eventstore.Store)) {
	for name, test := range faultTests {
		t.Run("Fault/"+name, func(t *testing.T) {
			server, store := open(t)
			test(newFixture(t, store), server)
		})
	}
}

// shortly is the deadline of calls that are expected to miss it.
const shortly = 300 * time.Millisecond

var faultTests = map[string]func(*fixture, Server){
	"calls fail while the server is away": func(f *fixture, server Server) {
		f.write(f.stream("a"), eventstore.NoStream, f.event("made"))
		server.Stop()
		for range 2 { // at once, and when the loss is known
			requireUnavailable(f)
		}
		server.Start()
		f.write(f.stream("a"), 0, f.event("changed"))
		require.NoError(f, f.store.Ready(f.ctx))
		require.Len(f, f.load(f.stream("a"), 0), 2)
	},

	"long away": func(f *fixture, server Server) {
		f.write(f.stream("a"), eventstore.NoStream, f.event("made"))
		server.Stop()
		for range 12 { // longer than clients search before they give up
			requireUnavailable(f)
		}
		server.Start()
		f.write(f.stream("a"), 0, f.event("changed"))
	},

	"calls made while the server is away succeed when it is back in time": func(f *fixture, server Server) {
		first := f.event("made")
		f.write(f.stream("a"), eventstore.NoStream, first)
		server.Stop()
		second := f.event("changed")
		var wg sync.WaitGroup
		errs := make(chan error, 3)
		wg.Go(func() {
			_, err := f.store.Append(f.ctx, f.stream("a"), 0, []eventstore.Proposed{second})
			errs <- err
		})
		wg.Go(func() {
			n := 0
			for _, err := range f.store.Load(f.ctx, f.stream("a"), 0) {
				if err != nil {
					errs <- err
					return
				}
				n++
			}
			if n == 0 {
				errs <- errors.New("loaded nothing")
				return
			}
			errs <- nil
		})
		wg.Go(func() {
			_, err := f.store.Head(f.ctx)
			errs <- err
		})
		requireUnavailable(f) // gives the calls above time to meet the outage
		server.Start()
		wg.Wait()
		for range 3 {
			require.NoError(f, <-errs)
		}
		requireStream(f, f.stream("a"), 0, []eventstore.Proposed{first, second}, f.load(f.stream("a"), 0))
	},

	"a read goes on over a restart": func(f *fixture, server Server) {
		want := f.writeMany(f.stream("long"), "made", 3000)
		var got []eventstore.Recorded
		for e, err := range f.store.Load(f.ctx, f.stream("long"), 0) {
			require.NoError(f, err)
			if len(got) == 0 {
				server.Stop()
				server.Start()
			}
			got = append(got, e)
		}
		requireStream(f, f.stream("long"), 0, want, got)
		var ids []uuid.UUID
		for e, err := range f.store.ReadAll(f.ctx, f.start, f.mine()) {
			require.NoError(f, err)
			if len(ids) == 0 {
				server.Stop()
				server.Start()
			}
			ids = append(ids, e.ID)
		}
		require.Equal(f, proposedIDs(want), ids)
	},

	"a follower goes on over restarts": func(f *fixture, server Server) {
		const writers, each, restarts = 4, 150, 4
		seen := make(chan eventstore.Recorded, writers*each)
		ctx, cancel := context.WithCancel(f.ctx)
		var follower sync.WaitGroup
		defer follower.Wait()
		defer cancel()
		follower.Go(func() {
			for m, err := range f.store.Follow(ctx, f.start, f.mine()) {
				if err == nil && m.Event != nil {
					seen <- *m.Event
				}
			}
		})
		var wg sync.WaitGroup
		errs := make(chan error, writers)
		for w := range writers {
			wg.Go(func() { errs <- appendStubbornly(f, f.stream(fmt.Sprint("w", w)), each) })
		}
		got := make([]eventstore.Recorded, 0, writers*each)
		for len(got) < writers*each {
			select {
			case e := <-seen:
				got = append(got, e)
			case <-f.ctx.Done():
				require.Fail(f, "events missing", "%d of %d", len(got), writers*each)
			}
			if done := len(got); done%(writers*each/(restarts+1)) == 0 && done < writers*each {
				server.Stop()
				server.Start()
			}
		}
		wg.Wait()
		for range writers {
			require.NoError(f, <-errs)
		}
		want := f.readAll(f.start, f.mine())
		require.Equal(f, idsOf(want), idsOf(got))
		requireOrdered(f, f.start, got)
	},

	"a follower idle during an outage goes on": func(f *fixture, server Server) {
		ctx, cancel := context.WithCancel(f.ctx)
		messages := make(chan eventstore.Message)
		var follower sync.WaitGroup
		follower.Go(func() {
			defer close(messages)
			for m, err := range f.store.Follow(ctx, f.start, f.mine()) {
				if err == nil {
					messages <- m
				}
			}
		})
		defer func() {
			cancel()
			for range messages {
			}
			follower.Wait()
		}()
		for m := range messages {
			if m.CaughtUp {
				break
			}
		}
		server.Stop()
		requireUnavailable(f)
		server.Start()
		e := f.event("made")
		f.write(f.stream("a"), eventstore.NoStream, e)
		for m := range messages {
			if m.Event != nil {
				require.Equal(f, e.ID, m.Event.ID)
				break
			}
		}
	},

	"an append with unknown outcome is repeated without effect": func(f *fixture, server Server) {
		const writers, restarts = 8, 6
		var stop atomic.Bool
		var wg sync.WaitGroup
		var written [writers]int
		var errs [writers]error
		for w := range writers {
			wg.Go(func() { written[w], errs[w] = appendImpatiently(f, f.stream(fmt.Sprint("w", w)), &stop) })
		}
		for i := range restarts {
			f.write(f.stream("beat"), eventstore.Revision(i-1), f.event("made")) // so that every restart interrupts work
			server.Stop()
			if i == 0 {
				requireUnavailable(f) // for once long enough that the writers give up
			}
			server.Start()
		}
		f.write(f.stream("beat"), restarts-1, f.event("made"))
		stop.Store(true)
		wg.Wait()
		for w := range writers {
			require.NoError(f, errs[w])
			got := f.load(f.stream(fmt.Sprint("w", w)), 0)
			require.Len(f, got, written[w])
			for i, e := range got {
				require.Equal(f, seriesID(e.Stream, i), e.ID)
			}
		}
		require.Len(f, f.load(f.stream("beat"), 0), restarts+1)
	},

	"conflicts are told apart from outages": func(f *fixture, server Server) {
		first := f.event("made")
		f.write(f.stream("a"), eventstore.NoStream, first)
		server.Stop()
		result := make(chan error, 1)
		go func() {
			_, err := f.store.Append(f.ctx, f.stream("a"), eventstore.NoStream, f.events("made", 1))
			result <- err
		}()
		requireUnavailable(f)
		server.Start()
		require.ErrorAs(f, <-result, new(*eventstore.WrongRevision))
		f.write(f.stream("a"), eventstore.NoStream, first)
	},
}

// requireUnavailable makes one call of each kind with a short deadline.
func requireUnavailable(f *fixture) {
	f.Helper()
	var wg sync.WaitGroup
	check := func(name string, call func(ctx context.Context) error) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(f.ctx, shortly)
			defer cancel()
			if err := call(ctx); !errors.Is(err, eventstore.ErrUnavailable) {
				f.Errorf("%s: %v, expected it to be unavailable", name, err)
			}
			if f.ctx.Err() != nil {
				f.Errorf("%s: did not hold its deadline", name)
			}
		})
	}
	check("append", func(ctx context.Context) error {
		_, err := f.store.Append(ctx, f.stream("never"), 7, f.events("never", 1))
		return err
	})
	check("load", func(ctx context.Context) (err error) {
		for _, err = range f.store.Load(ctx, f.stream("a"), 0) {
		}
		return err
	})
	check("read all", func(ctx context.Context) (err error) {
		for _, err = range f.store.ReadAll(ctx, f.start, f.mine()) {
		}
		return err
	})
	check("head", func(ctx context.Context) error {
		_, err := f.store.Head(ctx)
		return err
	})
	check("ready", f.store.Ready)
	wg.Wait()
}

// seriesID is the id of the i-th event of a stream.
func seriesID(stream string, i int) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, stream, i))
}

// appendSeriesEvent appends the i-th event of a stream until the outcome is
// known, each time with the given patience.
func appendSeriesEvent(f *fixture, stream string, i int, limit time.Duration) error {
	e := f.event("made")
	e.ID = seriesID(stream, i)
	for {
		ctx, cancel := context.WithTimeout(f.ctx, limit)
		_, err := f.store.Append(ctx, stream, eventstore.Revision(i-1), []eventstore.Proposed{e})
		cancel()
		if err == nil || f.ctx.Err() != nil || !errors.Is(err, eventstore.ErrUnavailable) {
			return err
		}
	}
}

// appendStubbornly leaves the repeating to the store.
func appendStubbornly(f *fixture, stream string, n int) error {
	for i := range n {
		if err := appendSeriesEvent(f, stream, i, patience); err != nil {
			return fmt.Errorf("append %d: %w", i, err)
		}
	}
	return nil
}

// appendImpatiently gives up early and repeats by itself, as callers do that
// never learned what came of their append. It returns how many events it wrote.
func appendImpatiently(f *fixture, stream string, stop *atomic.Bool) (int, error) {
	for i := 0; ; i++ {
		if stop.Load() {
			return i, nil
		}
		if err := appendSeriesEvent(f, stream, i, shortly/3); err != nil {
			return i, fmt.Errorf("append %d: %w", i, err)
		}
	}
}
