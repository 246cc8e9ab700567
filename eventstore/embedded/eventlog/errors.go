package eventlog

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
)

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("event log is closed")

// ErrLocked is returned by Open when another process, or another log in this one, has the directory open.
var ErrLocked = errors.New("event log is in use by another process")

// InvalidError says that a request can never succeed as it stands.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// AppendTooLargeError says that the events of one append exceed the limit. Sizes are in bytes.
type AppendTooLargeError struct{ Size, Max int }

func (e *AppendTooLargeError) Error() string {
	return fmt.Sprintf("append of %d bytes exceeds the maximum of %d", e.Size, e.Max)
}

// WrongExpectedVersionError says that a stream is not where the writer expected it. Current is -1 when the stream has
// no events, Tombstoned never.
type WrongExpectedVersionError struct {
	Stream   string
	Expected Expected
	Current  int64
}

func (e *WrongExpectedVersionError) Error() string {
	return fmt.Sprintf("stream %q: expected %s, is at %s", e.Stream, e.Expected, Expected(e.Current))
}

// String names the expectation in words, a revision as its number.
func (e Expected) String() string {
	switch e {
	case NoStream:
		return "no stream"
	case Any:
		return "any"
	case StreamExists:
		return "stream exists"
	}
	return strconv.FormatInt(int64(e), 10)
}

// StreamNotFoundError says that a stream has never been written or is soft-deleted.
type StreamNotFoundError struct{ Stream string }

func (e *StreamNotFoundError) Error() string { return fmt.Sprintf("stream %q not found", e.Stream) }

// StreamDeletedError says that a stream is tombstoned, or soft-deleted where a write expects it to exist.
type StreamDeletedError struct{ Stream string }

func (e *StreamDeletedError) Error() string { return fmt.Sprintf("stream %q is deleted", e.Stream) }

// CorruptionError says that what is stored is not what was written. Position is that of the damaged event, or of the
// last sound one before the damage when AfterPosition is set.
type CorruptionError struct {
	Position      uint64
	AfterPosition bool
	Cause         error
}

func (e *CorruptionError) Error() string {
	where := "at"
	if e.AfterPosition {
		where = "after"
	}
	return fmt.Sprintf("event log is damaged %s position %d: %v", where, e.Position, e.Cause)
}

func (e *CorruptionError) Unwrap() error { return e.Cause }

// LossError is returned by Open when the log ends before what it once acknowledged, or holds something else there.
type LossError struct {
	Acknowledged uint64 // position of the last event known to have been acknowledged
	Last         uint64 // position of the last event present, 0 for none
	Reason       string
}

func (e *LossError) Error() string {
	return fmt.Sprintf("event log has lost acknowledged events: %s (acknowledged up to position %d, last present %d); "+
		"restore a backup, or accept the loss explicitly", e.Reason, e.Acknowledged, e.Last)
}

// FailedError is returned by every call after a write or sync has failed: what is on disk is then unknown, and only
// opening the log again tells. Cause stays inside the process.
type FailedError struct{ Cause error }

func (e *FailedError) Error() string {
	return "event log has stopped after a storage failure: " + e.Cause.Error()
}
func (e *FailedError) Unwrap() error { return e.Cause }

// readError turns an error of the database while reading into a CorruptionError where it is one.
func readError(pos uint64, after bool, err error) error {
	if pebble.IsCorruptionError(err) {
		return &CorruptionError{Position: pos, AfterPosition: after, Cause: err}
	}
	return fmt.Errorf("reading the event log near position %d: %w", pos, err)
}
