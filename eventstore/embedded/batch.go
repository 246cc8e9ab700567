package embedded

import (
	"context"
	"errors"
	"io"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	batchInFlight   = 1024     // appends of one call that wait for the log
	batchUnfinished = 1024     // appends of one call whose messages are still coming
	batchBytes      = 64 << 20 // bytes of those
)

// batch is one BatchAppend call: appends come in over one stream, each under a correlation id and possibly in parts, and
// are answered in the order they become durable.
type batch struct {
	server     *streamsServer
	stream     streams.Streams_BatchAppendServer
	unfinished map[uuid.UUID]*batchAppend
	bytes      int
	slots      chan struct{}        // one per append in flight
	results    chan *eventlog.Write // has room for all of them
	ctx        context.Context      // ends with the call and with the server
}

// batchAppend is one append of the call.
type batchAppend struct {
	draft
	correlation *shared.UUID
	options     *streams.BatchAppendReq_Options
	ctx         context.Context
	cancel      context.CancelFunc
}

// BatchAppend writes many appends over one call. It lasts until the client ends it or the server closes; what is under
// way then is still answered.
func (s *streamsServer) BatchAppend(stream streams.Streams_BatchAppendServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	stop := context.AfterFunc(s.server.ctx, func() { cancel(context.Cause(s.server.ctx)) })
	defer stop()
	b := &batch{
		server: s, stream: stream, ctx: ctx, unfinished: make(map[uuid.UUID]*batchAppend),
		slots: make(chan struct{}, batchInFlight), results: make(chan *eventlog.Write, batchInFlight),
	}
	received, answered, sent := make(chan error, 1), make(chan struct{}), make(chan error, 1)
	go func() { received <- b.receive() }()
	go func() { sent <- b.send(answered) }()
	var err error
	select {
	case err = <-received:
	case <-ctx.Done():
		err = s.server.status(ctx, ctx.Err())
	}
	for range batchInFlight {
		b.slots <- struct{}{} // all appends are answered when all slots are free
	}
	close(answered)
	if serr := <-sent; err == nil {
		err = serr
	}
	return err
}

func (b *batch) receive() error {
	defer func() {
		for _, a := range b.unfinished {
			a.cancel()
		}
	}()
	for {
		m, err := b.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := b.take(m); err != nil {
			return err
		}
	}
}

// take adds one message to its append and submits it when it is complete.
func (b *batch) take(m *streams.BatchAppendReq) error {
	id, ok := parseUUID(m.GetCorrelationId())
	if !ok {
		return status.Error(codes.InvalidArgument, "a correlation id is required")
	}
	a := b.unfinished[id]
	if a == nil {
		if len(b.unfinished) >= batchUnfinished {
			return status.Error(codes.ResourceExhausted, "too many unfinished appends in one call")
		}
		a = b.begin(m)
		b.unfinished[id] = a
	}
	before := a.size
	for _, p := range m.GetProposedMessages() {
		a.add(p)
	}
	if b.bytes += a.size - before; b.bytes > batchBytes {
		return status.Error(codes.ResourceExhausted, "too many unfinished appends in one call")
	}
	if !m.GetIsFinal() {
		return nil
	}
	delete(b.unfinished, id)
	b.bytes -= a.size
	return b.submit(a)
}

func (b *batch) begin(m *streams.BatchAppendReq) *batchAppend {
	a := &batchAppend{correlation: m.GetCorrelationId(), options: m.GetOptions(), ctx: b.stream.Context(), cancel: func() {}}
	a.write.Tag = a
	var expected eventlog.Expected
	ok := true
	switch e := a.options.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_StreamPosition:
		expected, ok = revision(e.StreamPosition)
	case *streams.BatchAppendReq_Options_NoStream:
		expected = eventlog.NoStream
	case *streams.BatchAppendReq_Options_Any:
		expected = eventlog.Any
	case *streams.BatchAppendReq_Options_StreamExists:
		expected = eventlog.StreamExists
	default:
		ok = false
	}
	a.target(a.options.GetStreamIdentifier(), expected, ok)
	switch d := a.options.GetDeadlineOption().(type) {
	case *streams.BatchAppendReq_Options_Deadline:
		a.ctx, a.cancel = context.WithDeadline(a.ctx, time.Now().Add(d.Deadline.AsDuration()))
	case *streams.BatchAppendReq_Options_Deadline_21_10_0:
		a.ctx, a.cancel = context.WithDeadline(a.ctx, d.Deadline_21_10_0.AsTime())
	}
	return a
}

// submit hands an append to the log; whatever becomes of it comes back on results.
func (b *batch) submit(a *batchAppend) error {
	select {
	case b.slots <- struct{}{}:
	case <-b.ctx.Done():
		a.cancel()
		return b.ctx.Err()
	}
	if a.problem != nil {
		b.results <- &a.write
		return nil
	}
	if err := b.server.log.Submit(a.ctx, &a.write, b.results); err != nil {
		a.write.Err = err
		b.results <- &a.write
	}
	return nil
}

// send answers appends as they come back, until all are answered.
func (b *batch) send(answered <-chan struct{}) error {
	var failed error
	for {
		select {
		case w := <-b.results:
			a := w.Tag.(*batchAppend)
			a.cancel()
			if failed == nil {
				failed = b.stream.Send(b.answer(a))
			}
			<-b.slots
		case <-answered:
			return failed
		}
	}
}

func (b *batch) answer(a *batchAppend) *streams.BatchAppendResp {
	r := &streams.BatchAppendResp{CorrelationId: a.correlation, StreamIdentifier: a.options.GetStreamIdentifier()}
	switch e := a.options.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_StreamPosition:
		r.ExpectedStreamPosition = &streams.BatchAppendResp_StreamPosition{StreamPosition: e.StreamPosition}
	case *streams.BatchAppendReq_Options_NoStream:
		r.ExpectedStreamPosition = &streams.BatchAppendResp_NoStream{NoStream: &emptypb.Empty{}}
	case *streams.BatchAppendReq_Options_Any:
		r.ExpectedStreamPosition = &streams.BatchAppendResp_Any{Any: &emptypb.Empty{}}
	case *streams.BatchAppendReq_Options_StreamExists:
		r.ExpectedStreamPosition = &streams.BatchAppendResp_StreamExists{StreamExists: &emptypb.Empty{}}
	}
	p := a.problem
	if p == nil && a.write.Err != nil {
		p = b.server.server.explain(a.ctx, a.write.Err)
	}
	if p != nil {
		r.Result = &streams.BatchAppendResp_Error{Error: p.batchStatus().Proto()}
		return r
	}
	r.Result = &streams.BatchAppendResp_Success_{Success: batchSuccess(a.write.Result)}
	return r
}

func batchSuccess(res eventlog.WriteResult) *streams.BatchAppendResp_Success {
	ok := &streams.BatchAppendResp_Success{}
	if res.Revision < 0 {
		ok.CurrentRevisionOption = &streams.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}}
	} else {
		ok.CurrentRevisionOption = &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(res.Revision)}
	}
	if res.Position == 0 {
		ok.PositionOption = &streams.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}}
	} else {
		ok.PositionOption = &streams.BatchAppendResp_Success_Position{
			Position: &shared.AllStreamPosition{CommitPosition: res.Position, PreparePosition: res.Position}}
	}
	return ok
}
