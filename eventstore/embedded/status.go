package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/emptypb"
)

// problem is an error as EventStoreDB tells it: a status, trailers that clients read, and, in batch appends, a message.
type problem struct {
	code    codes.Code
	text    string
	trailer metadata.MD
	detail  protoadapt.MessageV1
}

func (p *problem) err() error { return status.Error(p.code, p.text) }

// batchStatus is the form batch appends use.
func (p *problem) batchStatus() *status.Status {
	st := status.New(p.code, p.text)
	if p.detail != nil {
		if with, err := st.WithDetails(p.detail); err == nil {
			return with
		}
	}
	return st
}

// invalid is a request that can never succeed.
func invalid(text string) *problem {
	return &problem{code: codes.InvalidArgument, text: text, detail: protoadapt.MessageV1Of(&shared.BadRequest{Message: text})}
}

func missingProperty(name string) *problem {
	p := invalid(fmt.Sprintf("Required Metadata Property '%s' is missing", name))
	p.trailer = metadata.Pairs("exception", "missing-required-metadata-property",
		"required-metadata-properties", "type,content-type")
	return p
}

func tooLarge(limit int) *problem {
	return &problem{
		code: codes.InvalidArgument, text: fmt.Sprintf("Maximum Append Size of %d Exceeded.", limit),
		trailer: metadata.Pairs("exception", "maximum-append-size-exceeded", "maximum-append-size", strconv.Itoa(limit)),
		detail:  protoadapt.MessageV1Of(&shared.MaximumAppendSizeExceeded{MaxAppendSize: uint32(limit)}),
	}
}

// explain turns an error of the log into what a client may know. Causes inside the storage are only logged.
func (s *Server) explain(ctx context.Context, err error) *problem {
	var (
		wrong   *eventlog.WrongExpectedVersionError
		deleted *eventlog.StreamDeletedError
		large   *eventlog.AppendTooLargeError
		bad     *eventlog.InvalidError
		damage  *eventlog.CorruptionError
		failed  *eventlog.FailedError
		full    *eventlog.FullError
	)
	switch {
	case errors.As(err, &wrong):
		return wrongVersion(wrong)
	case errors.As(err, &deleted):
		return &problem{
			code: codes.FailedPrecondition, text: fmt.Sprintf("Event stream '%s' is deleted.", deleted.Stream),
			trailer: metadata.Pairs("exception", "stream-deleted", "stream-name", headerValue(deleted.Stream)),
			detail: protoadapt.MessageV1Of(&shared.StreamDeleted{
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(deleted.Stream)}}),
		}
	case errors.As(err, &large):
		return tooLarge(large.Max)
	case errors.As(err, &bad):
		return invalid(bad.Reason)
	case errors.As(err, &damage):
		s.logger.Error("a read met damage in the event store", "error", err)
		where := "at"
		if damage.AfterPosition {
			where = "after"
		}
		return &problem{code: codes.DataLoss, text: fmt.Sprintf("the event store is damaged %s position %d", where, damage.Position)}
	case errors.As(err, &full):
		return &problem{code: codes.ResourceExhausted, text: "the event store's disk is full: nothing was written, try again later"}
	case errors.As(err, &failed):
		return &problem{code: codes.Unavailable, text: "the event store has stopped after a storage failure"}
	case errors.Is(err, eventlog.ErrClosed), errors.Is(err, errShutdown):
		return &problem{code: codes.Unavailable, text: errShutdown.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{code: codes.DeadlineExceeded, text: "the deadline passed; the outcome is unknown",
			detail: protoadapt.MessageV1Of(&shared.Timeout{})}
	case errors.Is(err, context.Canceled):
		if cause := context.Cause(ctx); s.ctx.Err() != nil && !errors.Is(cause, context.Canceled) {
			return s.explain(context.Background(), cause)
		}
		return &problem{code: codes.Canceled, text: "the call was cancelled"}
	}
	s.logger.Error("event store call failed", "error", err)
	return &problem{code: codes.Internal, text: "internal error of the event store",
		detail: protoadapt.MessageV1Of(&shared.Unknown{})}
}

// status is explain as the error of a call without trailers.
func (s *Server) status(ctx context.Context, err error) error {
	if _, ok := status.FromError(err); ok {
		return err // from the transport
	}
	return s.explain(ctx, err).err()
}

func wrongVersion(e *eventlog.WrongExpectedVersionError) *problem {
	detail := &shared.WrongExpectedVersion{}
	switch e.Expected {
	case eventlog.Any:
		detail.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: &emptypb.Empty{}}
	case eventlog.NoStream:
		detail.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &emptypb.Empty{}}
	case eventlog.StreamExists:
		detail.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &emptypb.Empty{}}
	default:
		detail.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: uint64(e.Expected)}
	}
	if e.Current < 0 {
		detail.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}}
	} else {
		detail.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(e.Current)}
	}
	expected, current := strconv.FormatInt(int64(e.Expected), 10), strconv.FormatInt(e.Current, 10)
	return &problem{
		code: codes.FailedPrecondition,
		text: fmt.Sprintf("Append failed due to WrongExpectedVersion. Stream: %s, Expected version: %s, Actual version: %s",
			e.Stream, expected, current),
		trailer: metadata.Pairs("exception", "wrong-expected-version", "stream-name", headerValue(e.Stream),
			"expected-version", expected, "actual-version", current),
		detail: protoadapt.MessageV1Of(detail),
	}
}

// headerValue makes a stream name fit for a trailer, which holds printable ASCII only.
func headerValue(s string) string {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return url.PathEscape(s)
		}
	}
	return s
}
