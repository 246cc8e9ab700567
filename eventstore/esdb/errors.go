package esdb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"docket/eventstore"
)

var (
	// errClosed is what calls get after Close.
	errClosed = fmt.Errorf("%w: closed", eventstore.ErrUnavailable)
	// errClientGone is what a call gets that its client kept too long.
	errClientGone = errors.New("client was replaced")
)

// awayError is what a call gets that waited for the server in vain.
type awayError struct{ cause error }

func (e *awayError) Error() string { return "no connection: " + e.cause.Error() }
func (e *awayError) Unwrap() error { return e.cause }

// unavailable says that an operation did not succeed in its time.
func unavailable(ctx context.Context, what string, cause error) error {
	if end := ctx.Err(); end != nil && !errors.Is(cause, end) {
		return fmt.Errorf("%s: %w: %w: %w", what, eventstore.ErrUnavailable, end, cause)
	}
	return fmt.Errorf("%s: %w: %w", what, eventstore.ErrUnavailable, cause)
}

// codeOf is the client's code of an error. The client's own FromError does not
// look into wrapped errors.
func codeOf(err error) client.ErrorCode {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return client.ErrorCodeUnknown
}

// statusOf is the gRPC code behind an error, Unknown when there is none.
func statusOf(err error) codes.Code {
	var e interface{ GRPCStatus() *status.Status }
	if errors.As(err, &e) {
		return e.GRPCStatus().Code()
	}
	return codes.Unknown
}

// connectionLost tells that the client is looking for the server, or closed.
func connectionLost(err error) bool {
	switch codeOf(err) {
	case client.ErrorCodeConnectionClosed, client.ErrorUnavailable:
		return true
	}
	return errors.Is(err, errClientGone) || statusOf(err) == codes.Unavailable
}

// permanent tells that repeating the call cannot help. Everything that is not
// known to be so is repeated: appends are safe to repeat, and the client
// reports many interruptions under no code at all.
func permanent(err error) bool {
	if errors.As(err, new(*awayError)) {
		return false // the reason why nobody is connected may pass
	}
	if errors.Is(err, errClosed) || errors.Is(err, eventstore.ErrTooLarge) || errors.As(err, new(*eventstore.WrongRevision)) {
		return true
	}
	switch codeOf(err) {
	case client.ErrorCodeUnsupportedFeature, client.ErrorCodeUnauthenticated, client.ErrorCodeAccessDenied,
		client.ErrorCodeStreamDeleted, client.ErrorCodeParsing:
		return true
	}
	return statusOf(err) == codes.InvalidArgument
}

// appendError gives the client's errors their meaning in the port.
func appendError(err error, stream string, expect eventstore.Revision) error {
	switch {
	case codeOf(err) == client.ErrorCodeWrongExpectedVersion:
		return &eventstore.WrongRevision{Stream: stream, Expected: expect}
	case strings.Contains(err.Error(), "Maximum Append Size"):
		// A server may be configured with a lower limit than the usual one.
		return fmt.Errorf("%w: %w", eventstore.ErrTooLarge, err)
	}
	return err
}
