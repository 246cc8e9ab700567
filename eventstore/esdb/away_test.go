package esdb_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
	"docket/eventstore/esdb"
)

// unhurried are deadlines that no test waits for.
var unhurried = esdb.Deadlines{Append: time.Hour, Read: time.Hour}

// within is a context for calls that must end by themselves before it does.
func within(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	return c
}

// requireAway expects calls to fail because the server is known to be away, not
// because their time is over.
func requireAway(t *testing.T, store *esdb.Store) {
	t.Helper()
	errs := make(chan error, 4)
	for _, try := range []func() error{
		func() error { _, err := store.Append(within(t), "new", 0, proposed(1)); return err },
		func() error { _, err := store.Head(within(t)); return err },
		func() (err error) {
			for _, err = range store.Load(within(t), "s", 0) {
			}
			return err
		},
		func() (err error) {
			for _, err = range store.ReadAll(within(t), 0, eventstore.Filter{}) {
			}
			return err
		},
	} {
		go func() { errs <- try() }()
	}
	for range cap(errs) {
		err := <-errs
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
}

// lose makes the store meet the loss of its server.
func lose(store *esdb.Store) {
	for store.Stats().Connected {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_ = store.Ready(short) // fails
		cancel()
	}
}

func TestNewCallsDoNotWaitForAServerKnownToBeAway(t *testing.T) {
	t.Run("lost", func(t *testing.T) {
		server := newScripted(t)
		store := server.start(t).open(t, unhurried)
		require.NoError(t, store.Ready(ctx))
		server.grpc.Stop()
		lose(store)
		requireAway(t, store)
		requireAway(t, store)
		server.start(t)
		_, err := store.Append(within(t), "s", 0, proposed(1))
		require.NoError(t, err, "found again while a new call waits")
	})
	t.Run("never there", func(t *testing.T) { requireAway(t, newScripted(t).open(t, unhurried)) })
}

// A server that is slow to be reached is not known to be away.
func TestNewCallsWaitForAServerThatIsBeingReached(t *testing.T) {
	server := newScripted(t)
	slow := make(chan struct{})
	server.features = func(context.Context) error {
		<-slow
		return context.DeadlineExceeded
	}
	deadlines := unhurried
	deadlines.Probe = time.Hour
	store := server.start(t).open(t, deadlines)
	t.Cleanup(func() { close(slow) }) // before the store closes: a client closed under a call is a data race of its own
	c, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := store.Append(c, "s", 0, proposed(1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// What the server may have done already is not given up early: to know what came
// of it is worth waiting.
func TestAppendUnderWayOutlastsAnOutage(t *testing.T) {
	server := newScripted(t)
	entered := make(chan *appended, 2)
	server.onAppend = func(got *appended) (*streams.AppendResp, error) {
		entered <- got
		<-got.ctx.Done()
		return nil, got.ctx.Err()
	}
	store := server.start(t).open(t, unhurried)
	events := proposed(1)
	result := make(chan error, 1)
	go func() {
		_, err := store.Append(within(t), "s", 0, events)
		result <- err
	}()
	<-entered
	server.grpc.Stop()
	lose(store)
	requireAway(t, store)
	requireAway(t, store) // for longer than a new call would have waited
	server.script(func() {
		server.onAppend = func(got *appended) (*streams.AppendResp, error) {
			entered <- got
			return written(got, 100), nil
		}
	})
	server.start(t)
	require.NoError(t, <-result)
	again := <-entered
	most, least := client.UUIDAsInt64(events[0].ID)
	require.Equal(t, most, again.events[0].Id.GetStructured().MostSignificantBits)
	require.Equal(t, least, again.events[0].Id.GetStructured().LeastSignificantBits)
}

// A read that has yielded something goes on where it was.
func TestReadUnderWayOutlastsAnOutage(t *testing.T) {
	const many = 1500 // more than a page
	for name, read := range map[string]func(*esdb.Store) iter.Seq2[eventstore.Recorded, error]{
		"stream": func(s *esdb.Store) iter.Seq2[eventstore.Recorded, error] { return s.Load(within(t), "s", 0) },
		"log": func(s *esdb.Store) iter.Seq2[eventstore.Recorded, error] {
			return s.ReadAll(within(t), 0, eventstore.Filter{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := startNode(t)
			store := openStore(t, esdb.Config{Client: server.node.ClientConfig(), Deadlines: unhurried})
			_, err := store.Append(ctx, "s", eventstore.NoStream, proposed(many))
			require.NoError(t, err)
			first, goOn := make(chan bool), make(chan bool)
			result := make(chan error, 1)
			go func() {
				n := 0
				for _, err := range read(store) {
					if err != nil {
						result <- err
						return
					}
					if n++; n == 1 {
						close(first)
						<-goOn
					}
				}
				if n != many {
					result <- fmt.Errorf("%d events", n)
				}
				close(result)
			}()
			<-first
			server.Stop()
			lose(store)
			close(goOn)
			requireAway(t, store)
			requireAway(t, store) // for longer than a new call would have waited
			server.Start()
			require.NoError(t, <-result)
		})
	}
}
