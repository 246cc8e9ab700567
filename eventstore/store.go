// Package eventstore is the port to the log of all events: what the rest of
// Docket may ask of an EventStoreDB, in the terms Docket needs. Implementations:
// esdb (over the EventStoreDB client) and embedded (reading the embedded log
// directly). Each passes the suite in package contract.
package eventstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Position is the place of an event in the total order of the whole log. It is
// monotone but not dense. Zero is before the first event.
type Position uint64

// Revision is the place of an event within its stream, from 0 without gaps.
type Revision int64

// NoStream is the expected revision of a stream that must have no events.
const NoStream Revision = -1

// Limits of one append, as of EventStoreDB's defaults.
const (
	MaxAppendBytes  = 1 << 20
	MaxAppendEvents = 2048
)

// Proposed is an event on its way into the log.
type Proposed struct {
	ID   uuid.UUID // deterministic, so that a retried append is a no-op
	Type string
	Data []byte // JSON
	Meta []byte // JSON
}

// Recorded is an event in the log.
type Recorded struct {
	ID       uuid.UUID
	Stream   string
	Revision Revision
	Position Position
	Type     string
	Created  time.Time // server's clock; for people, never for order
	Data     []byte
	Meta     []byte
}

// Receipt tells where an append ended.
type Receipt struct {
	Revision Revision // of the last event
	Position Position // at or after the first event's position
}

// Filter selects events by the beginning of their type. Empty selects
// every event but the store's own ("$...").
type Filter struct {
	TypePrefixes []string
}

// Matches tells whether the filter selects this event type.
func (f Filter) Matches(eventType string) bool {
	if len(eventType) > 0 && eventType[0] == '$' {
		return false
	}
	if len(f.TypePrefixes) == 0 {
		return true
	}
	for _, p := range f.TypePrefixes {
		if len(eventType) >= len(p) && eventType[:len(p)] == p {
			return true
		}
	}
	return false
}

// Message is what Follow yields: an event, or the news that everything up to
// Position has been seen.
type Message struct {
	Event    *Recorded // nil for a checkpoint
	Position Position  // of the event, or up to which nothing more matches
	CaughtUp bool      // the follower has reached the end of the log
}

// Store is the port.
type Store interface {
	// Append adds events to a stream whose last revision must be expect
	// (NoStream for none). The same events with the same expect again are
	// answered as the first time. Errors: *WrongRevision, ErrTooLarge,
	// ErrUnavailable.
	Append(ctx context.Context, stream string, expect Revision, events []Proposed) (Receipt, error)

	// Load yields the events of a stream from a revision on, oldest first. A
	// stream that does not exist yields nothing. Errors: ErrUnavailable.
	Load(ctx context.Context, stream string, from Revision) iter.Seq2[Recorded, error]

	// ReadAll yields events of the whole log after a position in order, and ends
	// at what was the end of the log when it got there.
	ReadAll(ctx context.Context, after Position, filter Filter) iter.Seq2[Recorded, error]

	// Follow yields the events after a position and then those to come, until
	// ctx ends (its error is yielded last). Interruptions of the store are
	// ridden out inside; an event is never yielded twice or left out.
	Follow(ctx context.Context, after Position, filter Filter) iter.Seq2[Message, error]

	// Head is the position of the newest event, 0 for an empty log.
	Head(ctx context.Context) (Position, error)

	// Ready is nil while the store answers.
	Ready(ctx context.Context) error
}

// ErrUnavailable is in the chain of every error that waiting may cure. After
// an Append the outcome is unknown: repeat it with the same ids and revision.
var ErrUnavailable = errors.New("event store unavailable")

// ErrTooLarge is in the chain when an append exceeds MaxAppendBytes or
// MaxAppendEvents.
var ErrTooLarge = errors.New("append too large")

// WrongRevision says that the stream was not where the writer thought.
type WrongRevision struct {
	Stream   string
	Expected Revision
}

func (e *WrongRevision) Error() string {
	return fmt.Sprintf("stream %s is not at revision %d", e.Stream, e.Expected)
}
