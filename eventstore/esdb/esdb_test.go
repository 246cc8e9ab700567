package esdb_test

import (
	"context"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"docket/eventstore"
	"docket/eventstore/esdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, clientLeaks...) }

// clientLeaks run in gRPC connections that the client forgets to close when it
// looks for its server by itself, which it may do in the moment before it is
// replaced. A client that is not closed shows by its own goroutine.
var clientLeaks = []goleak.Option{
	goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	goleak.IgnoreAnyFunction("google.golang.org/grpc.(*addrConn).resetTransportAndUnlock"),
}

var ctx = context.Background()

func TestUnknownOutcomeIsRepeated(t *testing.T) {
	for name, failure := range map[string]error{
		"unknown":   status.Error(codes.Unknown, "something"),
		"internal":  status.Error(codes.Internal, "stream reset"),
		"aborted":   status.Error(codes.Aborted, "aborted"),
		"timeout":   status.Error(codes.DeadlineExceeded, "commit timeout"),
		"exhausted": status.Error(codes.ResourceExhausted, "busy"),
	} {
		t.Run(name, func(t *testing.T) {
			server := newScripted(t)
			var attempts []*appended
			server.onAppend = func(got *appended) (*streams.AppendResp, error) {
				server.mu.Lock()
				defer server.mu.Unlock()
				attempts = append(attempts, got)
				if len(attempts) < 3 {
					return nil, failure
				}
				return written(got, 4711), nil
			}
			store := server.start(t).open(t, esdb.Deadlines{})
			events := proposed(3)
			receipt, err := store.Append(ctx, "s", 6, events)
			require.NoError(t, err)
			require.Equal(t, eventstore.Receipt{Revision: 9, Position: 4711}, receipt)
			require.Len(t, attempts, 3)
			require.EqualValues(t, 2, store.Stats().Retries)
			for _, got := range attempts {
				require.EqualValues(t, 6, got.options.GetRevision())
				require.Len(t, got.events, 3)
				for i, e := range got.events {
					most, least := client.UUIDAsInt64(events[i].ID)
					require.Equal(t, most, e.Id.GetStructured().MostSignificantBits)
					require.Equal(t, least, e.Id.GetStructured().LeastSignificantBits)
				}
			}
		})
	}
}

func TestExpectationsOnTheWire(t *testing.T) {
	server := newScripted(t)
	var options []*streams.AppendReq_Options
	server.onAppend = func(got *appended) (*streams.AppendResp, error) {
		options = append(options, got.options)
		return written(got, 100), nil
	}
	store := server.start(t).open(t, esdb.Deadlines{})
	for _, expect := range []eventstore.Revision{eventstore.NoStream, 0, 5} {
		_, err := store.Append(ctx, "s", expect, proposed(1))
		require.NoError(t, err)
	}
	require.IsType(t, &streams.AppendReq_Options_NoStream{}, options[0].ExpectedStreamRevision)
	require.Equal(t, &streams.AppendReq_Options_Revision{Revision: 0}, options[1].ExpectedStreamRevision)
	require.Equal(t, &streams.AppendReq_Options_Revision{Revision: 5}, options[2].ExpectedStreamRevision)
}

func TestFinalAnswersAreNotRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		answer error
		want   error // in the chain; nil for none in particular
	}{
		"invalid":         {status.Error(codes.InvalidArgument, "no"), nil},
		"too large":       {status.Error(codes.InvalidArgument, "Maximum Append Size of 1024 Exceeded."), eventstore.ErrTooLarge},
		"denied":          {status.Error(codes.PermissionDenied, "no"), nil},
		"unauthenticated": {status.Error(codes.Unauthenticated, "who"), nil},
		"unimplemented":   {status.Error(codes.Unimplemented, "what"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := newScripted(t)
			attempts := 0
			server.onAppend = func(*appended) (*streams.AppendResp, error) {
				attempts++
				return nil, c.answer
			}
			store := server.start(t).open(t, esdb.Deadlines{})
			_, err := store.Append(ctx, "s", 0, proposed(1))
			require.Error(t, err)
			require.NotErrorIs(t, err, eventstore.ErrUnavailable)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.Equal(t, 1, attempts)
			require.Zero(t, store.Stats().Reconnects)
		})
	}
}

func TestAppendAnsweredWithoutPosition(t *testing.T) {
	for _, position := range []uint64{0, math.MaxUint64} {
		server := newScripted(t)
		server.head = 777
		server.onAppend = func(got *appended) (*streams.AppendResp, error) { return written(got, position), nil }
		store := server.start(t).open(t, esdb.Deadlines{})
		receipt, err := store.Append(ctx, "s", 1, proposed(1))
		require.NoError(t, err)
		require.Equal(t, eventstore.Receipt{Revision: 2, Position: 777}, receipt)
	}
}

func TestUnavailableReplacesTheClient(t *testing.T) {
	server := newScripted(t)
	attempts := 0
	server.onAppend = func(got *appended) (*streams.AppendResp, error) {
		if attempts++; attempts == 1 {
			return nil, status.Error(codes.Unavailable, "not ready")
		}
		return written(got, 100), nil
	}
	store := server.start(t).open(t, esdb.Deadlines{})
	_, err := store.Append(ctx, "s", 0, proposed(1))
	require.NoError(t, err)
	require.Equal(t, 2, attempts)
	stats := store.Stats()
	require.EqualValues(t, 1, stats.Reconnects)
	require.True(t, stats.Connected)
	require.Zero(t, stats.InFlight)
}

// A server that accepts connections and calls but never answers.
func TestDeadlinesHoldWhenTheServerHangs(t *testing.T) {
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	calls := func(t *testing.T, store *esdb.Store) {
		short := func() context.Context {
			c, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			t.Cleanup(cancel)
			return c
		}
		check := func(err error) {
			require.ErrorIs(t, err, eventstore.ErrUnavailable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		_, err := store.Append(short(), "s", 0, proposed(1))
		check(err)
		_, err = store.Head(short())
		check(err)
		check(store.Ready(short()))
		for _, err := range store.Load(short(), "s", 0) {
			check(err)
		}
		for _, err := range store.ReadAll(short(), 0, eventstore.Filter{}) {
			check(err)
		}
		for _, err := range store.Follow(short(), 0, eventstore.Filter{}) {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	}
	t.Run("in a call", func(t *testing.T) {
		server := newScripted(t)
		store := server.start(t).open(t, esdb.Deadlines{})
		require.NoError(t, store.Ready(ctx))
		server.script(func() {
			server.lookFor = hang
			server.onAppend = func(got *appended) (*streams.AppendResp, error) { return nil, hang(got.ctx) }
			server.onFollow = func(_ *streams.ReadReq_Options, out streams.Streams_ReadServer) error { return hang(out.Context()) }
		})
		calls(t, store)
	})
	t.Run("while connecting", func(t *testing.T) {
		server := newScripted(t)
		server.features = hang
		calls(t, server.start(t).open(t, esdb.Deadlines{}))
	})
	t.Run("by its own deadlines", func(t *testing.T) {
		server := newScripted(t)
		store := server.start(t).open(t, esdb.Deadlines{Append: 100 * time.Millisecond, Read: 100 * time.Millisecond, Probe: 100 * time.Millisecond})
		require.Eventually(t, func() bool { return store.Ready(ctx) == nil }, 20*time.Second, time.Millisecond)
		server.script(func() {
			server.lookFor = hang
			server.onAppend = func(got *appended) (*streams.AppendResp, error) { return nil, hang(got.ctx) }
		})
		_, err := store.Append(ctx, "s", 0, proposed(1))
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		_, err = store.Head(ctx)
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		require.ErrorIs(t, store.Ready(ctx), eventstore.ErrUnavailable)
	})
}

func TestOpenedBeforeTheServer(t *testing.T) {
	server := newScripted(t)
	store := server.open(t, esdb.Deadlines{})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, store.Ready(short), eventstore.ErrUnavailable)
	require.False(t, store.Stats().Connected)
	result := make(chan error, 1)
	go func() {
		_, err := store.Append(ctx, "s", 0, proposed(1))
		result <- err
	}()
	server.start(t)
	require.NoError(t, <-result)
	require.NoError(t, store.Ready(ctx))
	require.Zero(t, store.Stats().Reconnects)
}

func TestFollowOpensAnewBehindTheLastMessage(t *testing.T) {
	server := newScripted(t)
	var from []*streams.ReadReq_Options
	// Each subscription sends what the one before it did already, as servers
	// may, and then a little more.
	script := [][]*streams.ReadResp{
		{event(10), event(20)},
		{event(20), checkpoint(15), event(30), checkpoint(40)},
		{checkpoint(40), caughtUp(), event(50), checkpoint(math.MaxUint64), event(50), event(60)},
	}
	failures := []error{status.Error(codes.Unavailable, "gone"), status.Error(codes.Unknown, "dropped"), nil}
	server.onFollow = func(o *streams.ReadReq_Options, out streams.Streams_ReadServer) error {
		round := len(from)
		from = append(from, o)
		for _, m := range script[round] {
			if err := out.Send(m); err != nil {
				return err
			}
		}
		if failures[round] == nil {
			<-out.Context().Done()
		}
		return failures[round]
	}
	store := server.start(t).open(t, esdb.Deadlines{})
	type seen struct {
		position        eventstore.Position
		event, caughtUp bool
	}
	var got []seen
	for m, err := range store.Follow(ctx, 0, eventstore.Filter{TypePrefixes: []string{"p"}}) {
		require.NoError(t, err)
		got = append(got, seen{m.Position, m.Event != nil, m.CaughtUp})
		if m.Position == 60 {
			break
		}
	}
	require.Equal(t, []seen{{10, true, false}, {20, true, false}, {30, true, false}, {40, false, false}, {40, false, true}, {50, true, false}, {60, true, false}}, got)

	require.NotNil(t, from[0].GetAll().GetStart(), "never the end")
	require.EqualValues(t, 20, from[1].GetAll().GetPosition().CommitPosition)
	require.EqualValues(t, 20, from[1].GetAll().GetPosition().PreparePosition)
	require.EqualValues(t, 40, from[2].GetAll().GetPosition().CommitPosition)
	require.Equal(t, []string{"p"}, from[0].GetFilter().GetEventType().Prefix)
	require.GreaterOrEqual(t, from[0].GetFilter().GetMax(), uint32(4096))
}

func TestFollowFiltersOnTheServer(t *testing.T) {
	for name, c := range map[string]struct {
		prefixes, want []string
	}{
		"all":             {nil, nil},
		"some":            {[]string{"a", "b"}, []string{"a", "b"}},
		"all in disguise": {[]string{"a", ""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := newScripted(t)
			var filter *streams.ReadReq_Options_FilterOptions
			server.onFollow = func(o *streams.ReadReq_Options, out streams.Streams_ReadServer) error {
				filter = o.GetFilter()
				return out.Send(caughtUp())
			}
			store := server.start(t).open(t, esdb.Deadlines{})
			for _, err := range store.Follow(ctx, 5, eventstore.Filter{TypePrefixes: c.prefixes}) {
				require.NoError(t, err)
				break
			}
			require.Equal(t, c.want, filter.GetEventType().Prefix)
			require.Equal(t, c.want == nil, filter.GetEventType().Regex != "", "system events are excluded")
		})
	}
}

func TestCloseEndsEverything(t *testing.T) {
	defer goleak.VerifyNone(t, append(clientLeaks, goleak.IgnoreCurrent())...)
	server := newScripted(t)
	entered := make(chan struct{}, 100)
	server.onAppend = func(got *appended) (*streams.AppendResp, error) {
		entered <- struct{}{}
		<-got.ctx.Done()
		return nil, got.ctx.Err()
	}
	server.onFollow = func(_ *streams.ReadReq_Options, out streams.Streams_ReadServer) error {
		entered <- struct{}{}
		<-out.Context().Done()
		return out.Context().Err()
	}
	store := server.start(t).open(t, esdb.Deadlines{})
	const callers = 10
	errs := make(chan error, 2*callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			_, err := store.Append(ctx, "s", 0, proposed(1))
			errs <- err
		})
		wg.Go(func() {
			var last error
			for _, last = range store.Follow(ctx, 0, eventstore.Filter{}) {
			}
			errs <- last
		})
	}
	for range 2 * callers {
		<-entered
	}
	require.NoError(t, store.Close())
	wg.Wait()
	for range 2 * callers {
		require.ErrorIs(t, <-errs, eventstore.ErrUnavailable)
	}
	require.NoError(t, store.Close(), "twice")
	_, err := store.Append(ctx, "s", 0, proposed(1))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorIs(t, store.Ready(ctx), eventstore.ErrUnavailable)
	for _, err := range store.Load(ctx, "s", 0) {
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
	}
	server.grpc.Stop()
}

func TestCloseWithoutServer(t *testing.T) {
	defer goleak.VerifyNone(t, append(clientLeaks, goleak.IgnoreCurrent())...)
	server := newScripted(t)
	store := server.open(t, esdb.Deadlines{})
	result := make(chan error, 1)
	go func() {
		_, err := store.Append(ctx, "s", 0, proposed(1))
		result <- err
	}()
	require.NoError(t, store.Close())
	require.ErrorIs(t, <-result, eventstore.ErrUnavailable)
}

// The node that was asked says who leads, as in a cluster after an election.
func TestAppendGoesToTheLeader(t *testing.T) {
	leader, asked := newScripted(t), newScripted(t)
	leader.network, leader.address = "tcp", "127.0.0.1:0"
	leader.onAppend = func(got *appended) (*streams.AppendResp, error) { return written(got, 4711), nil }
	leader.start(t)
	host, port, err := net.SplitHostPort(leader.address)
	require.NoError(t, err)
	asked.onAppend = func(got *appended) (*streams.AppendResp, error) {
		if err := grpc.SetTrailer(got.ctx, metadata.Pairs("exception", "not-leader", "leader-endpoint-host", host, "leader-endpoint-port", port)); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.NotFound, "Leader info available")
	}
	store := asked.start(t).open(t, esdb.Deadlines{})
	receipt, err := store.Append(ctx, "s", 0, proposed(1))
	require.NoError(t, err)
	require.EqualValues(t, 4711, receipt.Position)
}

func TestOnAppend(t *testing.T) {
	server := newScripted(t).start(t)
	var told []error
	store, err := esdb.Open(esdb.Config{Client: server.config(), OnAppend: func(took time.Duration, err error) {
		require.Positive(t, took)
		told = append(told, err)
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	_, err = store.Append(ctx, "s", 0, proposed(1))
	require.NoError(t, err)
	_, err = store.Append(ctx, "s", 0, nil)
	require.Equal(t, []error{nil, err}, told)
	require.Error(t, err)
}

func TestConfiguration(t *testing.T) {
	for name, cfg := range map[string]esdb.Config{
		"nothing":     {},
		"both":        {ConnectionString: "esdb://localhost:2113", Client: &client.Configuration{Address: "localhost:2113"}},
		"scheme":      {ConnectionString: "http://admin:verysecret@localhost:2113"},
		"port":        {ConnectionString: "esdb://admin:verysecret@localhost:port"},
		"no url":      {ConnectionString: "esdb://admin:verysecret@[::1"},
		"half a cert": {ConnectionString: "esdb://admin:verysecret@localhost:2113?userCertFile=a.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := esdb.Open(cfg)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "verysecret")
		})
	}
	// A connection string's settings are used, and the caller's configuration is
	// left as it was.
	server := newScripted(t)
	server.network, server.address = "tcp", "127.0.0.1:0"
	server.start(t)
	store, err := esdb.Open(esdb.Config{ConnectionString: "esdb://" + server.address + "?tls=false"})
	require.NoError(t, err)
	require.NoError(t, store.Ready(ctx))
	require.NoError(t, store.Close())
	given := server.config()
	store, err = esdb.Open(esdb.Config{Client: given})
	require.NoError(t, err)
	require.NoError(t, store.Ready(ctx))
	require.NoError(t, store.Close())
	require.Equal(t, server.config(), given)
}

func TestTooLargeNeverReachesTheServer(t *testing.T) {
	server := newScripted(t)
	server.onAppend = func(*appended) (*streams.AppendResp, error) {
		t.Error("the server was asked")
		return nil, status.Error(codes.Internal, "EOF") // as servers answer who stop reading
	}
	store := server.start(t).open(t, esdb.Deadlines{})
	big := proposed(2)
	big[0].Data = make([]byte, eventstore.MaxAppendBytes/2)
	big[1].Meta = make([]byte, eventstore.MaxAppendBytes/2)
	_, err := store.Append(ctx, "s", 0, big)
	require.ErrorIs(t, err, eventstore.ErrTooLarge)
	_, err = store.Append(ctx, "s", 0, proposed(eventstore.MaxAppendEvents+1))
	require.ErrorIs(t, err, eventstore.ErrTooLarge)
}
