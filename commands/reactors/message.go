package reactors

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"docket/eventstore"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
)

// What stands in a message's metadata. The message's UUID is the event's id, its payload the event's JSON.
const (
	MetaType        = "type"
	MetaStream      = "stream"
	MetaRevision    = "revision"
	MetaPosition    = "position"
	MetaCreated     = "created" // RFC 3339, when the store recorded it
	MetaTenant      = "tenant"
	MetaActor       = "actor"
	MetaCausation   = "causation_id"
	MetaCorrelation = "correlation_id" // as watermill calls it
	MetaEvent       = "event_metadata" // all of the event's metadata, JSON
)

// newMessage is an event as watermill carries it.
func newMessage(ctx context.Context, r *eventstore.Recorded) (*message.Message, error) {
	meta, err := eventstore.DecodeMetadata(r.Meta)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s@%d: %w", r.Stream, r.Revision, err)
	}
	m := message.NewMessageWithContext(ctx, r.ID.String(), r.Data)
	m.Metadata = message.Metadata{
		MetaType: r.Type, MetaStream: r.Stream,
		MetaRevision: strconv.FormatInt(int64(r.Revision), 10), MetaPosition: strconv.FormatUint(uint64(r.Position), 10),
		MetaCreated: r.Created.UTC().Format(time.RFC3339Nano),
		MetaTenant:  meta.Tenant.String(), MetaActor: meta.Actor.String(), MetaCausation: meta.Causation.String(), MetaCorrelation: meta.Correlation.String(),
		MetaEvent: string(r.Meta),
	}
	return m, nil
}

// recorded is the event that a message carries.
func recorded(m *message.Message) (Event, error) {
	e := Event{Recorded: eventstore.Recorded{
		Stream: m.Metadata.Get(MetaStream), Type: m.Metadata.Get(MetaType), Data: m.Payload, Meta: []byte(m.Metadata.Get(MetaEvent)),
	}}
	var err error
	if e.ID, err = uuid.Parse(m.UUID); err != nil {
		return e, fmt.Errorf("message %q: %w", m.UUID, err)
	}
	revision, err := strconv.ParseInt(m.Metadata.Get(MetaRevision), 10, 64)
	if err != nil {
		return e, fmt.Errorf("message %s: revision: %w", m.UUID, err)
	}
	position, err := strconv.ParseUint(m.Metadata.Get(MetaPosition), 10, 64)
	if err != nil {
		return e, fmt.Errorf("message %s: position: %w", m.UUID, err)
	}
	e.Revision, e.Position = eventstore.Revision(revision), eventstore.Position(position)
	if e.Created, err = time.Parse(time.RFC3339Nano, m.Metadata.Get(MetaCreated)); err != nil {
		return e, fmt.Errorf("message %s: created: %w", m.UUID, err)
	}
	return e, nil
}
