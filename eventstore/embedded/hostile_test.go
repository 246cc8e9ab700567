package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// expectation is an expected revision in the forms of all four calls that take one.
type expectation struct {
	append    *streams.AppendReq_Options
	delete    *streams.DeleteReq_Options
	tombstone *streams.TombstoneReq_Options
	batch     *streams.BatchAppendReq_Options
}

func expect(stream string, expected eventlog.Expected) expectation {
	id, none, revision := identifier(stream), &shared.Empty{}, uint64(expected)
	e := expectation{&streams.AppendReq_Options{StreamIdentifier: id}, &streams.DeleteReq_Options{StreamIdentifier: id},
		&streams.TombstoneReq_Options{StreamIdentifier: id}, &streams.BatchAppendReq_Options{StreamIdentifier: id}}
	switch expected {
	case eventlog.Any:
		e.append.ExpectedStreamRevision = &streams.AppendReq_Options_Any{Any: none}
		e.delete.ExpectedStreamRevision = &streams.DeleteReq_Options_Any{Any: none}
		e.tombstone.ExpectedStreamRevision = &streams.TombstoneReq_Options_Any{Any: none}
		e.batch.ExpectedStreamPosition = &streams.BatchAppendReq_Options_Any{Any: &emptypb.Empty{}}
	case eventlog.NoStream:
		e.append.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{NoStream: none}
		e.delete.ExpectedStreamRevision = &streams.DeleteReq_Options_NoStream{NoStream: none}
		e.tombstone.ExpectedStreamRevision = &streams.TombstoneReq_Options_NoStream{NoStream: none}
		e.batch.ExpectedStreamPosition = &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}
	case eventlog.StreamExists:
		e.append.ExpectedStreamRevision = &streams.AppendReq_Options_StreamExists{StreamExists: none}
		e.delete.ExpectedStreamRevision = &streams.DeleteReq_Options_StreamExists{StreamExists: none}
		e.tombstone.ExpectedStreamRevision = &streams.TombstoneReq_Options_StreamExists{StreamExists: none}
		e.batch.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamExists{StreamExists: &emptypb.Empty{}}
	default:
		e.append.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: revision}
		e.delete.ExpectedStreamRevision = &streams.DeleteReq_Options_Revision{Revision: revision}
		e.tombstone.ExpectedStreamRevision = &streams.TombstoneReq_Options_Revision{Revision: revision}
		e.batch.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: revision}
	}
	return e
}

// rawAppend sends an append of n events without the client.
func rawAppend(ctx context.Context, c streams.StreamsClient, o *streams.AppendReq_Options, n, size int) (*streams.AppendResp, error) {
	call, err := c.Append(ctx)
	if err != nil {
		return nil, err
	}
	if err := call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: o}}); err != nil {
		return nil, call.RecvMsg(new(streams.AppendResp)) // says why the call has ended
	}
	for range n {
		m := &streams.AppendReq_ProposedMessage{Id: structuredUUID(uuid.New()), Data: make([]byte, size),
			Metadata: map[string]string{"type": "t", "content-type": "application/json"}}
		if err := call.Send(&streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: m}}); err != nil {
			return nil, call.RecvMsg(new(streams.AppendResp))
		}
	}
	return call.CloseAndRecv()
}

// TestWrongExpectations: every kind of expectation that does not hold, in every call, with the details that clients read.
func TestWrongExpectations(t *testing.T) {
	s := openServer(t, Options{})
	conn := dial(t, s)
	c := streams.NewStreamsClient(conn)
	ctx := within(t)
	_, err := s.Log().Append(ctx, "there", eventlog.NoStream, eventlog.EventData{ID: uuid.New(), Type: "t"}, eventlog.EventData{ID: uuid.New(), Type: "t"})
	require.NoError(t, err)
	raw, err := c.BatchAppend(ctx)
	require.NoError(t, err)
	batch := batchCall{raw, t}
	for _, tc := range []struct {
		stream            string
		expected          eventlog.Expected
		inTrailer, actual string
	}{
		{"there", eventlog.NoStream, "-1", "1"},
		{"there", 0, "0", "1"},
		{"there", 2, "2", "1"},
		{"missing", 0, "0", "-1"},
		{"missing", eventlog.StreamExists, "-4", "-1"},
	} {
		name := fmt.Sprintf("%s, expecting %s", tc.stream, tc.expected)
		e := expect(tc.stream, tc.expected)
		resp, err := rawAppend(ctx, c, e.append, 1, 1)
		require.NoError(t, err, name)
		wrong := resp.GetWrongExpectedVersion()
		require.NotNil(t, wrong, name)
		require.Equal(t, tc.stream == "missing", wrong.GetCurrentNoStream() != nil, name)
		require.Equal(t, tc.stream == "there", wrong.GetCurrentRevision() == 1, name)
		require.Equal(t, tc.expected == eventlog.NoStream, wrong.GetExpectedNoStream() != nil, name)
		require.Equal(t, tc.expected == eventlog.StreamExists, wrong.GetExpectedStreamExists() != nil, name)
		require.Equal(t, uint64(max(tc.expected, 0)), wrong.GetExpectedRevision(), name)

		checkTrailer := func(err error, trailer metadata.MD) {
			t.Helper()
			require.Equal(t, codes.FailedPrecondition, status.Code(err), name)
			for key, value := range map[string]string{"exception": "wrong-expected-version", "stream-name": tc.stream,
				"expected-version": tc.inTrailer, "actual-version": tc.actual} {
				require.Equal(t, []string{value}, trailer.Get(key), "%s: %s", name, key)
			}
		}
		var trailer metadata.MD
		_, err = c.Delete(ctx, &streams.DeleteReq{Options: e.delete}, grpc.Trailer(&trailer))
		checkTrailer(err, trailer)
		_, err = c.Tombstone(ctx, &streams.TombstoneReq{Options: e.tombstone}, grpc.Trailer(&trailer))
		checkTrailer(err, trailer)

		id := uuid.New()
		batch.send(id, e.batch, batchMessages(1), true)
		d := detail[*shared.WrongExpectedVersion](t, batch.answers(1)[id])
		require.Equal(t, tc.stream == "missing", d.GetCurrentNoStream() != nil, name)
		require.Equal(t, tc.stream == "there", d.GetCurrentStreamRevision() == 1, name)
		require.Equal(t, tc.expected == eventlog.NoStream, d.GetExpectedNoStream() != nil, name)
		require.Equal(t, tc.expected == eventlog.StreamExists, d.GetExpectedStreamExists() != nil, name)
		require.Equal(t, uint64(max(tc.expected, 0)), d.GetExpectedStreamPosition(), name)
	}
	require.Equal(t, uint64(2), s.Log().Stats().Events)
}

// TestInvalidNames offers names that no stream can have to every call that writes.
func TestInvalidNames(t *testing.T) {
	s := openServer(t, Options{})
	c := streams.NewStreamsClient(dial(t, s))
	ctx := within(t)
	raw, err := c.BatchAppend(ctx)
	require.NoError(t, err)
	batch := batchCall{raw, t}
	for _, name := range []string{"", "$$", "$all", "$$$$a", "a\xff", strings.Repeat("x", eventlog.MaxStreamName+1)} {
		e := expect(name, eventlog.Any)
		_, err := rawAppend(ctx, c, e.append, 1, 1)
		require.Equal(t, codes.InvalidArgument, status.Code(err), "append to %.20q", name)
		_, err = c.Delete(ctx, &streams.DeleteReq{Options: e.delete})
		require.Equal(t, codes.InvalidArgument, status.Code(err), "delete %.20q", name)
		_, err = c.Tombstone(ctx, &streams.TombstoneReq{Options: e.tombstone})
		require.Equal(t, codes.InvalidArgument, status.Code(err), "tombstone %.20q", name)
		id := uuid.New()
		batch.send(id, e.batch, batchMessages(1), true)
		require.NotEmpty(t, detail[*shared.BadRequest](t, batch.answers(1)[id]).GetMessage(), "batch append to %.20q", name)
	}
	_, err = rawAppend(ctx, c, expect(strings.Repeat("x", eventlog.MaxStreamName), eventlog.Any).append, 1, 1)
	require.NoError(t, err, "the longest there is")
	require.Equal(t, uint64(1), s.Log().Stats().Events)
}

// TestOversized: messages and appends beyond all limits end the call at most, never the connection or the server.
func TestOversized(t *testing.T) {
	s := openServer(t, Options{})
	c := streams.NewStreamsClient(dial(t, s))
	ctx := within(t)
	o := expect("a", eventlog.Any)
	_, err := rawAppend(ctx, c, o.append, 1, maxMessageBytes+1)
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "a message larger than any may be")
	_, err = rawAppend(ctx, c, o.append, 1, 2<<20)
	require.Equal(t, codes.InvalidArgument, status.Code(err), "one event too large")
	_, err = rawAppend(ctx, c, o.append, 40_000, 30)
	require.Equal(t, codes.InvalidArgument, status.Code(err), "too many events")

	raw, err := c.BatchAppend(ctx)
	require.NoError(t, err)
	batch := batchCall{raw, t}
	parts, whole := uuid.New(), uuid.New()
	large := batchMessages(1)
	large[0].Data = make([]byte, 400<<10)
	for range 3 {
		batch.send(parts, o.batch, large, false)
	}
	batch.send(parts, nil, nil, true)
	batch.send(whole, o.batch, batchMessages(60_000), true)
	for id, m := range batch.answers(2) {
		require.Equal(t, uint32(1<<20), detail[*shared.MaximumAppendSizeExceeded](t, m).GetMaxAppendSize(), "%t", id == parts)
	}
	large[0].Data = make([]byte, maxMessageBytes+1)
	require.NoError(t, raw.Send(&streams.BatchAppendReq{CorrelationId: structuredUUID(parts), Options: o.batch, ProposedMessages: large, IsFinal: true}))
	_, err = raw.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Zero(t, s.Log().Stats().Events)
	_, err = rawAppend(ctx, c, o.append, 1000, 2)
	require.NoError(t, err)
}

// settled waits until no more goroutines run than before.
func settled(t *testing.T, before int) {
	t.Helper()
	const asking = 1 // the condition runs in one of its own
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+asking }, time.Minute, 10*time.Millisecond)
}

// TestCancelledAtRandom cancels appends, reads and subscriptions at random points. What was written is there as a whole,
// and nothing goes on running.
func TestCancelledAtRandom(t *testing.T) {
	s := openServer(t, Options{})
	conn := dial(t, s)
	c := streams.NewStreamsClient(conn)
	_, err := rawAppend(within(t), c, expect("warm", eventlog.Any).append, 100, 1000)
	require.NoError(t, err)
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for w := range 8 {
		rng := rand.New(rand.NewPCG(uint64(w), 1))
		wg.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithCancel(context.Background())
				if i%3 == 0 {
					abandonRead(ctx, c, rng.IntN(30))
				} else {
					abandonAppend(ctx, c, fmt.Sprintf("s-%d-%d", w, i), rng)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	settled(t, before)
	lengths := map[string]int{}
	for e, err := range s.Log().ReadAll(context.Background(), eventlog.AllRead{}) {
		require.NoError(t, err)
		lengths[e.Stream]++
	}
	for stream, n := range lengths {
		if stream != "warm" {
			require.Equal(t, 5, n, "half written: %s", stream)
		}
	}
	_, err = rawAppend(within(t), c, expect("warm", eventlog.Any).append, 1, 1)
	require.NoError(t, err, "the connection is still good")
}

// abandonAppend begins an append of five events, half-closed or not, and leaves it somewhere on the way.
func abandonAppend(ctx context.Context, c streams.StreamsClient, stream string, rng *rand.Rand) {
	call, err := c.Append(ctx)
	if err != nil {
		return
	}
	stop := rng.IntN(8)
	_ = call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: expect(stream, eventlog.NoStream).append}})
	for i := range 5 {
		if i == stop {
			return
		}
		_ = call.Send(&streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: &streams.AppendReq_ProposedMessage{
			Id: structuredUUID(uuid.New()), Metadata: map[string]string{"type": "t", "content-type": "application/json"}}}})
	}
	_ = call.CloseSend()
	if stop == 7 {
		_ = call.RecvMsg(new(streams.AppendResp))
	}
}

// abandonRead reads n messages of a subscription to everything.
func abandonRead(ctx context.Context, c streams.StreamsClient, n int) {
	call, err := c.Read(ctx, subscription(&streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{
		AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}}, nil))
	for range n {
		if err == nil {
			_, err = call.Recv()
		}
	}
}

func subscription(all *streams.ReadReq_Options_All, stream *streams.ReadReq_Options_Stream) *streams.ReadReq {
	o := &streams.ReadReq_Options{
		CountOption: &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}},
		UuidOption:  &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}},
	}
	if o.StreamOption = all; all == nil {
		o.StreamOption = stream
	}
	return &streams.ReadReq{Options: o}
}

// TestThousandConnections: a server with a thousand connections goes on, and they go without a trace.
func TestThousandConnections(t *testing.T) {
	s := openServer(t, Options{})
	before := runtime.NumGoroutine()
	var conns []*grpc.ClientConn
	for range 1000 {
		conn, err := grpc.NewClient(s.ClientConfig().Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		_, err = serverfeatures.NewServerFeaturesClient(conn).GetSupportedMethods(within(t), &shared.Empty{})
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	for _, conn := range []*grpc.ClientConn{conns[0], conns[999]} {
		_, err := rawAppend(within(t), streams.NewStreamsClient(conn), expect("a", eventlog.Any).append, 1, 1)
		require.NoError(t, err)
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	settled(t, before)
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()                                            // what pools held outlives the first
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // without what maintenance has made and dropped since
	metrics.Read(live)
	return live[0].Value.Uint64()
}

// push appends so many MiB.
func push(t *testing.T, s *Server, mib int) {
	t.Helper()
	for range 4 * mib {
		data := make([]byte, 256<<10) // the log keeps it
		_, err := s.Log().Append(context.Background(), "pushed", eventlog.Any, eventlog.EventData{ID: uuid.New(), Type: "t", Data: data})
		require.NoError(t, err)
	}
}

// TestIdleAndDeafSubscribers: a thousand subscriptions that wait, and one client that never reads, hold up no writer and
// don't make the server collect what it cannot deliver.
func TestIdleAndDeafSubscribers(t *testing.T) {
	s, err := Open(t.TempDir(), Options{NoSync: true})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	c := streams.NewStreamsClient(dial(t, s))
	for i := range 1000 {
		call, err := c.Read(ctx, subscription(nil, &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
			StreamIdentifier: identifier(fmt.Sprintf("idle-%d", i)),
			RevisionOption:   &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}}}))
		require.NoError(t, err)
		m, err := call.Recv()
		require.NoError(t, err)
		require.NotNil(t, m.GetConfirmation())
	}
	deaf, err := streams.NewStreamsClient(dial(t, s)).Read(ctx, subscription(&streams.ReadReq_Options_All{
		All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}}, nil))
	require.NoError(t, err)
	_, err = deaf.Recv()
	require.NoError(t, err)
	push(t, s, 96) // fills most of what is bounded
	before := heap()
	push(t, s, 256)
	grown := int64(heap()) - int64(before)
	t.Logf("heap %d MiB, grown by %d MiB with 256 MiB of events", before>>20, grown>>20)
	require.Less(t, grown, int64(180<<20), "the caches may not have been full yet")

	// It can still catch up: nothing was left out for it.
	next := uint64(0)
	for next < 4*352 {
		m, err := deaf.Recv()
		require.NoError(t, err)
		if e := m.GetEvent().GetEvent(); e != nil {
			require.Equal(t, next, e.GetStreamRevision())
			next++
		}
	}
	cancel()
	for err == nil {
		_, err = deaf.Recv()
	}
	require.Equal(t, codes.Canceled, status.Code(err))
	require.NoError(t, s.Close())
}
