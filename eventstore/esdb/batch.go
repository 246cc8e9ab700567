package esdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"docket/eventstore"
)

const (
	// batchShare of an append's deadline is left to the batch call. What it does not
	// answer in that time has the rest for a call of its own.
	batchShare = 2
	// noBatchPause is how long a server that has no batch append is left alone.
	noBatchPause = 5 * time.Minute
)

var (
	// errUndecided says that a batch call did not decide an append, which then goes
	// another way.
	errUndecided = errors.New("batch append undecided")
	// errInDoubt is an errUndecided after the append was sent: the events may have
	// been written.
	errInDoubt = fmt.Errorf("%w after it was sent", errUndecided)
)

// batcher carries concurrent appends over one BatchAppend call, which spares
// client and server most of what a call costs. It only ever helps: whatever it
// does not decide goes the way of a call each, with the same ids and revisions,
// and that way has all the care for lost servers.
type batcher struct {
	dial       func(context.Context) (*grpc.ClientConn, error)
	supervisor *supervisor
	logger     *slog.Logger
	stop       context.CancelFunc
	running    sync.WaitGroup
	call       atomic.Pointer[batchCall] // nil while none stands
	decided    atomic.Uint64
}

func startBatcher(cfg Config, conf client.Configuration, sv *supervisor, logger *slog.Logger) *batcher {
	ctx, stop := context.WithCancel(context.Background())
	b := &batcher{supervisor: sv, logger: logger, stop: stop}
	b.dial = func(ctx context.Context) (*grpc.ClientConn, error) { return dialWriter(ctx, conf) }
	if cfg.Dial != nil {
		b.dial = func(context.Context) (*grpc.ClientConn, error) { return dialWithin(cfg.Dial) }
	}
	if cfg.NoBatch {
		return b
	}
	b.running.Go(func() { b.run(ctx) })
	return b
}

func (b *batcher) close() {
	b.stop()
	b.running.Wait()
}

// run keeps a call standing while the server is there.
func (b *batcher) run(ctx context.Context) {
	var pause pauses
	for b.supervisor.await(ctx) {
		answered, err := b.hold(ctx)
		if answered {
			pause.reset()
		}
		if ctx.Err() != nil {
			return
		}
		b.logger.Debug("event store: batch append ended", "error", err)
		if status.Code(err) == codes.Unimplemented {
			sleep(ctx, noBatchPause)
			continue
		}
		pause.wait(ctx, b.supervisor.closed)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// hold opens a call and offers it to the writers until it breaks. It reports
// whether the server answered anything over it.
func (b *batcher) hold(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := b.dial(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // nothing to lose
	stream, err := streams.NewStreamsClient(conn).BatchAppend(ctx)
	if err != nil {
		return false, err
	}
	c := newBatchCall(stream)
	b.call.Store(c)
	err = c.run(cancel)
	b.call.CompareAndSwap(c, nil)
	return c.answered.Load(), err
}

// append tries to append over the batch call. *eventstore.WrongRevision and the
// end of ctx are final; errUndecided asks for another way.
func (b *batcher) append(ctx context.Context, limit time.Duration, stream string, expect eventstore.Revision, events []eventstore.Proposed) (eventstore.Position, error) {
	c := b.call.Load()
	if c == nil {
		return 0, errUndecided
	}
	b.supervisor.inFlight.Add(1)
	defer b.supervisor.inFlight.Add(-1)
	limit /= batchShare
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := c.append(bounded, batchRequest(stream, expect, events, limit))
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if bounded.Err() != nil {
			c.breakOff(err) // it hangs: the others need not wait for it either
			return 0, errInDoubt
		}
		return 0, err
	}
	return b.decision(c, answer, stream, expect)
}

// decision reads an answer. Errors other than a wrong revision end the call: a
// node that is no longer the leader would refuse all that follows as well.
func (b *batcher) decision(c *batchCall, r *streams.BatchAppendResp, stream string, expect eventstore.Revision) (eventstore.Position, error) {
	if ok := r.GetSuccess(); ok != nil {
		b.decided.Add(1)
		return positionOf(ok.GetPosition().GetCommitPosition()), nil
	}
	refusal := r.GetError()
	for _, d := range refusal.GetDetails() {
		switch {
		case d.MessageIs((*shared.WrongExpectedVersion)(nil)):
			return 0, &eventstore.WrongRevision{Stream: stream, Expected: expect}
		case d.MessageIs((*shared.StreamDeleted)(nil)), d.MessageIs((*shared.MaximumAppendSizeExceeded)(nil)), d.MessageIs((*shared.BadRequest)(nil)):
			return 0, errUndecided // the other way says it better
		}
	}
	if codes.Code(refusal.GetCode()) == codes.ResourceExhausted { //nolint:gosec // a gRPC code
		return 0, errUndecided // the server is well, its disk is full
	}
	c.breakOff(status.Error(codes.Code(refusal.GetCode()), refusal.GetMessage())) //nolint:gosec // a gRPC code
	return 0, errInDoubt
}

func batchRequest(stream string, expect eventstore.Revision, events []eventstore.Proposed, limit time.Duration) *streams.BatchAppendReq {
	options := &streams.BatchAppendReq_Options{
		StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)},
		DeadlineOption:   &streams.BatchAppendReq_Options_Deadline{Deadline: durationpb.New(limit)},
	}
	if expect == eventstore.NoStream {
		options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}
	} else {
		options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: uint64(expect)} //nolint:gosec // not negative
	}
	messages := make([]*streams.BatchAppendReq_ProposedMessage, len(events))
	for i, e := range events {
		most, least := client.UUIDAsInt64(e.ID)
		messages[i] = &streams.BatchAppendReq_ProposedMessage{
			Id:             structured(most, least),
			Metadata:       map[string]string{"type": e.Type, "content-type": "application/json"},
			CustomMetadata: e.Meta,
			Data:           e.Data,
		}
	}
	return &streams.BatchAppendReq{Options: options, ProposedMessages: messages, IsFinal: true}
}

func structured(most, least int64) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits: most, LeastSignificantBits: least,
	}}}
}
