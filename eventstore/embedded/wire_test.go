package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/projections"
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
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

// dial connects without the client, as another language's client would.
func dial(t testing.TB, s *Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.ClientConfig().Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func identifier(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

func batchMessages(n int) []*streams.BatchAppendReq_ProposedMessage {
	out := make([]*streams.BatchAppendReq_ProposedMessage, n)
	for i := range out {
		out[i] = &streams.BatchAppendReq_ProposedMessage{
			Id:       structuredUUID(uuid.New()),
			Metadata: map[string]string{"type": "happened", "content-type": "application/json"},
			Data:     []byte(`{}`),
		}
	}
	return out
}

// genEvent makes any event the log can hold.
var genEvent = rapid.Custom(func(t *rapid.T) *eventlog.Event {
	e := &eventlog.Event{
		Position: rapid.Uint64().Draw(t, "position"),
		Revision: rapid.Int64Min(0).Draw(t, "revision"),
		Created:  rapid.Int64Range(0, 1<<60).Draw(t, "created"),
		Stream:   rapid.String().Draw(t, "stream"),
		Type:     rapid.String().Draw(t, "type"),
		JSON:     rapid.Bool().Draw(t, "json"),
		Data:     rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		Metadata: rapid.SliceOf(rapid.Byte()).Draw(t, "metadata"),
		Shared:   rapid.Bool().Draw(t, "shared"),
	}
	copy(e.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	return e
})

// generated is what the generated code would send for an event.
func generated(e *eventlog.Event, text bool) *streams.ReadResp_ReadEvent_RecordedEvent {
	if e == nil {
		return nil
	}
	id := structuredUUID(e.ID)
	if text {
		id = &shared.UUID{Value: &shared.UUID_String_{String_: e.ID.String()}}
	}
	return &streams.ReadResp_ReadEvent_RecordedEvent{
		Id: id, StreamIdentifier: identifier(e.Stream), StreamRevision: uint64(e.Revision),
		PreparePosition: e.Position, CommitPosition: e.Position,
		Metadata:       map[string]string{"type": e.Type, "content-type": contentType(e), "created": fmt.Sprint(e.Created)},
		CustomMetadata: e.Metadata, Data: e.Data,
	}
}

// TestEventEncoding compares the encoding by hand with the generated code, for any event, with and without links.
func TestEventEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, link := genEvent.Draw(t, "event"), (*eventlog.Event)(nil)
		if rapid.Bool().Draw(t, "linked") {
			link = genEvent.Draw(t, "link")
			if rapid.Bool().Draw(t, "unresolved") {
				e = nil
			}
		}
		origin := e
		if link != nil {
			origin = link
		}
		for range 3 { // after the first time it may be the kept form
			text := rapid.Bool().Draw(t, "text")
			want := &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
				Event: generated(e, text), Link: generated(link, text),
				Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: origin.Position},
			}}}
			b := eventFrame(e, link, text)
			if cap(b) != len(b) {
				t.Fatalf("sized for %d bytes, took %d", cap(b), len(b))
			}
			var got streams.ReadResp
			if err := proto.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(want, &got) {
				t.Fatalf("want %v, got %v", want, &got)
			}
		}
	})
}

func TestCheckpointAndCaughtUpEncoding(t *testing.T) {
	var got streams.ReadResp
	require.NoError(t, proto.Unmarshal(checkpointFrame(300), &got))
	require.Equal(t, uint64(300), got.GetCheckpoint().GetCommitPosition())
	require.Equal(t, uint64(300), got.GetCheckpoint().GetPreparePosition())
	fields := func(frame frame) map[protowire.Number][]byte {
		require.NoError(t, proto.Unmarshal(frame, &got))
		require.NotNil(t, got.GetCaughtUp())
		out := map[protowire.Number][]byte{}
		for b := []byte(got.GetCaughtUp().ProtoReflect().GetUnknown()); len(b) > 0; {
			n, _, size := protowire.ConsumeField(b)
			require.Positive(t, size)
			out[n], b = b[1:size], b[size:]
		}
		return out
	}
	whole := fields(caughtUpFrame(0, 300, true))
	require.Contains(t, whole, protowire.Number(1), "time")
	require.Contains(t, whole, protowire.Number(3), "position")
	require.NotContains(t, whole, protowire.Number(2))
	stream := fields(caughtUpFrame(5, 0, false))
	require.Equal(t, []byte{5}, stream[2], "revision")
	require.NotContains(t, fields(caughtUpFrame(-1, 0, false)), protowire.Number(2), "an empty stream has none")
}

func TestTextUUIDs(t *testing.T) {
	s := openServer(t, Options{})
	id := uuid.New()
	_, err := s.Log().Append(within(t), "a", eventlog.Any, eventlog.EventData{ID: id, Type: "t"})
	require.NoError(t, err)
	call, err := streams.NewStreamsClient(dial(t, s)).Read(within(t), &streams.ReadReq{Options: &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{}},
		CountOption:  &streams.ReadReq_Options_Count{Count: 1},
		UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{}},
	}})
	require.NoError(t, err)
	m, err := call.Recv()
	require.NoError(t, err)
	require.Equal(t, id.String(), m.GetEvent().GetEvent().GetId().GetString_())
	_, err = call.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// TestErrorTrailers looks at what clients read beside the status.
func TestErrorTrailers(t *testing.T) {
	s := openServer(t, Options{})
	c := streams.NewStreamsClient(dial(t, s))
	ctx := within(t)
	_, err := s.Log().Append(ctx, "a", eventlog.NoStream, eventlog.EventData{ID: uuid.New(), Type: "t"})
	require.NoError(t, err)
	var trailer metadata.MD
	value := func(key string) string {
		require.Len(t, trailer.Get(key), 1, key)
		return trailer.Get(key)[0]
	}

	_, err = c.Delete(ctx, &streams.DeleteReq{Options: &streams.DeleteReq_Options{StreamIdentifier: identifier("a"),
		ExpectedStreamRevision: &streams.DeleteReq_Options_Revision{Revision: 7}}}, grpc.Trailer(&trailer))
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.Equal(t, "wrong-expected-version", value("exception"))
	require.Equal(t, "a", value("stream-name"))
	require.Equal(t, "7", value("expected-version"))
	require.Equal(t, "0", value("actual-version"))

	_, err = c.Tombstone(ctx, &streams.TombstoneReq{Options: &streams.TombstoneReq_Options{StreamIdentifier: identifier("a"),
		ExpectedStreamRevision: &streams.TombstoneReq_Options_Any{}}}, grpc.Trailer(&trailer))
	require.NoError(t, err)
	_, err = c.Tombstone(ctx, &streams.TombstoneReq{Options: &streams.TombstoneReq_Options{StreamIdentifier: identifier("a"),
		ExpectedStreamRevision: &streams.TombstoneReq_Options_Any{}}}, grpc.Trailer(&trailer))
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.Equal(t, "stream-deleted", value("exception"))
	require.Equal(t, "a", value("stream-name"))

	appendErr := func(m ...*streams.AppendReq) error {
		call, err := c.Append(ctx, grpc.Trailer(&trailer))
		require.NoError(t, err)
		for _, m := range m {
			require.NoError(t, call.Send(m))
		}
		_, err = call.CloseAndRecv()
		return err
	}
	header := &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{
		StreamIdentifier: identifier("b"), ExpectedStreamRevision: &streams.AppendReq_Options_Any{}}}}
	message := func(meta map[string]string, data []byte) *streams.AppendReq {
		return &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: &streams.AppendReq_ProposedMessage{
			Id: structuredUUID(uuid.New()), Metadata: meta, Data: data}}}
	}
	meta := map[string]string{"type": "t", "content-type": "application/json"}
	require.Equal(t, codes.InvalidArgument, status.Code(appendErr(header, message(meta, make([]byte, 1<<20)))))
	require.Equal(t, "maximum-append-size-exceeded", value("exception"))
	require.Equal(t, "1048576", value("maximum-append-size"))
	require.Equal(t, codes.InvalidArgument, status.Code(appendErr(header, message(map[string]string{"type": "t"}, nil))))
	require.Equal(t, "missing-required-metadata-property", value("exception"))
	for name, m := range map[string][]*streams.AppendReq{
		"nothing":         {},
		"no options":      {message(meta, nil)},
		"options twice":   {header, header},
		"empty message":   {header, {}},
		"no expectation":  {{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{StreamIdentifier: identifier("b")}}}},
		"no id":           {header, {Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: &streams.AppendReq_ProposedMessage{Metadata: meta}}}},
		"not even a name": {{Content: &streams.AppendReq_Options_{}}},
	} {
		require.Equal(t, codes.InvalidArgument, status.Code(appendErr(m...)), name)
	}
	for name, req := range map[string]*streams.ReadReq_Options{
		"nothing":  nil,
		"no count": {StreamOption: &streams.ReadReq_Options_All{}},
		"no stream": {
			CountOption: &streams.ReadReq_Options_Count{Count: 1}},
		"backwards subscription": {
			StreamOption: &streams.ReadReq_Options_All{}, ReadDirection: streams.ReadReq_Options_Backwards,
			CountOption: &streams.ReadReq_Options_Subscription{}},
		"filtered stream": {
			StreamOption: &streams.ReadReq_Options_Stream{}, CountOption: &streams.ReadReq_Options_Count{Count: 1},
			FilterOption: &streams.ReadReq_Options_Filter{Filter: filterOptions(1)}},
		"no checkpoint interval": {
			StreamOption: &streams.ReadReq_Options_All{}, CountOption: &streams.ReadReq_Options_Subscription{},
			FilterOption: &streams.ReadReq_Options_Filter{Filter: filterOptions(0)}},
		"empty filter": {
			StreamOption: &streams.ReadReq_Options_All{}, CountOption: &streams.ReadReq_Options_Count{Count: 1},
			FilterOption: &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{}}},
	} {
		call, err := c.Read(ctx, &streams.ReadReq{Options: req})
		require.NoError(t, err)
		_, err = call.Recv()
		require.Equal(t, codes.InvalidArgument, status.Code(err), name)
	}
}

func filterOptions(multiplier uint32) *streams.ReadReq_Options_FilterOptions {
	return &streams.ReadReq_Options_FilterOptions{
		Filter: &streams.ReadReq_Options_FilterOptions_EventType{EventType: &streams.ReadReq_Options_FilterOptions_Expression{
			Prefix: []string{"t"}}},
		CheckpointIntervalMultiplier: multiplier,
	}
}

// TestFilteredRead reads the whole log with a filter and a count, which some clients offer.
func TestFilteredRead(t *testing.T) {
	s := openServer(t, Options{})
	for i := range 50 {
		_, err := s.Log().Append(within(t), "a", eventlog.Any, eventlog.EventData{ID: uuid.New(), Type: fmt.Sprintf("%c", "tu"[i%2])})
		require.NoError(t, err)
	}
	call, err := streams.NewStreamsClient(dial(t, s)).Read(within(t), &streams.ReadReq{Options: &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{}, CountOption: &streams.ReadReq_Options_Count{Count: 10},
		FilterOption: &streams.ReadReq_Options_Filter{Filter: filterOptions(0)}}})
	require.NoError(t, err)
	for i := range 10 {
		m, err := call.Recv()
		require.NoError(t, err)
		require.Equal(t, uint64(2*i), m.GetEvent().GetEvent().GetStreamRevision())
	}
	_, err = call.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// batchCall is a BatchAppend call with its answers by correlation id.
type batchCall struct {
	streams.Streams_BatchAppendClient
	t testing.TB
}

func (b batchCall) send(id uuid.UUID, o *streams.BatchAppendReq_Options, m []*streams.BatchAppendReq_ProposedMessage, final bool) {
	b.t.Helper()
	require.NoError(b.t, b.Send(&streams.BatchAppendReq{
		CorrelationId: structuredUUID(id), Options: o, ProposedMessages: m, IsFinal: final}))
}

func (b batchCall) answers(n int) map[uuid.UUID]*streams.BatchAppendResp {
	b.t.Helper()
	out := map[uuid.UUID]*streams.BatchAppendResp{}
	for range n {
		m, err := b.Recv()
		require.NoError(b.t, err)
		id, ok := parseUUID(m.GetCorrelationId())
		require.True(b.t, ok)
		out[id] = m
	}
	return out
}

func batchOptions(stream string) *streams.BatchAppendReq_Options {
	return &streams.BatchAppendReq_Options{StreamIdentifier: identifier(stream),
		ExpectedStreamPosition: &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}}
}

func TestBatchAppend(t *testing.T) {
	s := openServer(t, Options{})
	raw, err := streams.NewStreamsClient(dial(t, s)).BatchAppend(within(t))
	require.NoError(t, err)
	c := batchCall{raw, t}

	// Two appends in parts, mixed with each other.
	x, y := uuid.New(), uuid.New()
	c.send(x, batchOptions("x"), batchMessages(2), false)
	c.send(y, batchOptions("y"), batchMessages(1), false)
	c.send(x, nil, batchMessages(1), false)
	c.send(y, nil, batchMessages(1), true)
	c.send(x, nil, nil, true)
	got := c.answers(2)
	require.Equal(t, uint64(2), got[x].GetSuccess().GetCurrentRevision())
	require.Equal(t, uint64(1), got[y].GetSuccess().GetCurrentRevision())
	require.Equal(t, "x", string(got[x].GetStreamIdentifier().GetStreamName()))
	require.NotNil(t, got[x].GetNoStream())
	require.NotZero(t, got[x].GetSuccess().GetPosition().GetCommitPosition())

	// Many at once; one problem does not touch the others.
	const n = 3000
	go func() {
		for i := range n {
			id := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i))
			err := raw.Send(&streams.BatchAppendReq{CorrelationId: structuredUUID(id), Options: batchOptions(fmt.Sprintf("s-%d", i/2)),
				ProposedMessages: batchMessages(1), IsFinal: true})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	got = c.answers(n)
	for i := range n {
		m := got[uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i))]
		if i%2 == 0 {
			require.NotNil(t, m.GetSuccess(), "%v", m)
			continue
		}
		wrong := detail[*shared.WrongExpectedVersion](t, m)
		require.NotNil(t, wrong.GetExpectedNoStream())
		require.Zero(t, wrong.GetCurrentStreamRevision())
	}

	id := uuid.New()
	big := batchMessages(1)
	big[0].Data = make([]byte, 1<<20)
	c.send(id, batchOptions("z"), big, true)
	require.Equal(t, uint32(1<<20), detail[*shared.MaximumAppendSizeExceeded](t, c.answers(1)[id]).GetMaxAppendSize())
	c.send(id, batchOptions(""), batchMessages(1), true)
	require.NotEmpty(t, detail[*shared.BadRequest](t, c.answers(1)[id]).GetMessage())
	_, err = s.Log().Tombstone(within(t), "dead", eventlog.Any)
	require.NoError(t, err)
	c.send(id, batchOptions("dead"), batchMessages(1), true)
	require.Equal(t, "dead", string(detail[*shared.StreamDeleted](t, c.answers(1)[id]).GetStreamIdentifier().GetStreamName()))

	late := batchOptions("z")
	late.DeadlineOption = &streams.BatchAppendReq_Options_Deadline_21_10_0{Deadline_21_10_0: timestamppb.New(time.Unix(0, 0))}
	c.send(id, late, batchMessages(1), true)
	detail[*shared.Timeout](t, c.answers(1)[id])
	intime := batchOptions("z")
	intime.DeadlineOption = &streams.BatchAppendReq_Options_Deadline{Deadline: durationpb.New(time.Minute)}
	c.send(id, intime, batchMessages(1), true)
	require.NotNil(t, c.answers(1)[id].GetSuccess())

	// Half-closed, what is under way is still answered.
	c.send(id, batchOptions("last"), batchMessages(1), true)
	require.NoError(t, c.CloseSend())
	require.NotNil(t, c.answers(1)[id].GetSuccess())
	_, err = c.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// detail unpacks the one detail of a failed batch append.
func detail[M proto.Message](t testing.TB, m *streams.BatchAppendResp) M {
	t.Helper()
	details := status.FromProto(m.GetError()).Details()
	require.Len(t, details, 1, "%v", m)
	out, ok := details[0].(M)
	require.True(t, ok, "%T", details[0])
	return out
}

// TestEventsWithoutSize: what no limit counts is not collected.
func TestEventsWithoutSize(t *testing.T) {
	var d draft
	d.add(&streams.AppendReq_ProposedMessage{Id: structuredUUID(uuid.New()), Metadata: map[string]string{"type": "", "content-type": ""}})
	require.Empty(t, d.write.Events)
	require.Equal(t, codes.InvalidArgument, status.Code(d.problem.err()))
}

func TestBatchAppendRefuses(t *testing.T) {
	s := openServer(t, Options{})
	client := streams.NewStreamsClient(dial(t, s))
	c, err := client.BatchAppend(within(t))
	require.NoError(t, err)
	require.NoError(t, c.Send(&streams.BatchAppendReq{Options: batchOptions("a")}))
	_, err = c.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err), "no correlation id")
	c, err = client.BatchAppend(within(t))
	require.NoError(t, err)
	for err = error(nil); err == nil; {
		err = c.Send(&streams.BatchAppendReq{CorrelationId: structuredUUID(uuid.New()), Options: batchOptions("a")})
	}
	_, err = c.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "appends that never end")
}

func TestNotOffered(t *testing.T) {
	s := openServer(t, Options{})
	conn := dial(t, s)
	_, err := projections.NewProjectionsClient(conn).Create(within(t), &projections.CreateReq{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
	require.ErrorContains(t, err, "projections")
	err = conn.Invoke(within(t), "/some.other/Call", &shared.Empty{}, &shared.Empty{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
}

func TestFeaturesAndGossip(t *testing.T) {
	s := openServer(t, Options{Addr: "127.0.0.1:0"})
	conn := dial(t, s)
	f, err := serverfeatures.NewServerFeaturesClient(conn).GetSupportedMethods(within(t), &shared.Empty{})
	require.NoError(t, err)
	require.Equal(t, "24.10.0", f.GetEventStoreServerVersion())
	names := map[string]bool{}
	for _, m := range f.GetMethods() {
		names[m.GetServiceName()+"/"+m.GetMethodName()] = true
	}
	for _, m := range []string{"read", "append", "delete", "tombstone", "batchappend"} {
		require.True(t, names["event_store.client.streams.streams/"+m], m)
	}
	g, err := gossip.NewGossipClient(conn).Read(within(t), &shared.Empty{})
	require.NoError(t, err)
	require.Len(t, g.GetMembers(), 1)
	m := g.GetMembers()[0]
	require.Equal(t, gossip.MemberInfo_Leader, m.GetState())
	require.True(t, m.GetIsAlive())
	require.Equal(t, s.Addr().String(), fmt.Sprintf("%s:%d", m.GetHttpEndPoint().GetAddress(), m.GetHttpEndPoint().GetPort()))
}

// TestHalfClosedAndCancelled leaves calls in odd states: the server goes on.
func TestHalfClosedAndCancelled(t *testing.T) {
	s := openServer(t, Options{})
	c := streams.NewStreamsClient(dial(t, s))
	ctx, cancel := context.WithCancel(within(t))
	call, err := c.Append(ctx)
	require.NoError(t, err)
	require.NoError(t, call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{
		StreamIdentifier: identifier("a"), ExpectedStreamRevision: &streams.AppendReq_Options_Any{}}}}))
	cancel()
	require.Equal(t, codes.Canceled, status.Code(call.RecvMsg(new(streams.AppendResp))))
	_, err = s.Log().ReadEvent("a", 0)
	var missing *eventlog.StreamNotFoundError
	require.True(t, errors.As(err, &missing), "an append that never ended is not written")
	_, err = serverfeatures.NewServerFeaturesClient(dial(t, s)).GetSupportedMethods(within(t), &shared.Empty{})
	require.NoError(t, err)
}
