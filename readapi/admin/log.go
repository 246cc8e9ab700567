package admin

import (
	"context"
	"encoding/json"
	"time"

	"docket/domain"

	"github.com/google/uuid"
)

// Log is the event log as this API needs it.
type Log interface {
	// Stream reads up to limit events of a stream from a revision on.
	Stream(ctx context.Context, stream string, from int64, limit int) ([]Event, error)
	// Contents are what events say, in the order asked for. An event that is not
	// there is an error.
	Contents(ctx context.Context, places []Place) ([]Content, error)
	// State folds a stream up to a moment. A stream without events by then is a
	// NotFound fault, as is one that is no aggregate's.
	State(ctx context.Context, stream string, until Until) (State, error)
	// Types are all event types, sorted.
	Types() []string
	// Kinds are the kinds of aggregates, sorted; a stream is "<kind>-<id>".
	Kinds() []string
	// History tells what the appends that begin at these revisions, ascending, did
	// to a stream's aggregate, a step after the other. Unless mask is empty it
	// stands in Shown wherever personal data would.
	History(ctx context.Context, stream string, first []int64, mask string, each func(Step) error) error
}

// Step is what one append did to an aggregate.
type Step struct {
	Events        []StepEvent
	Before, After Image
	Problem       string // why the images may not be what they were
}

// StepEvent names an event.
type StepEvent struct {
	ID       uuid.UUID `json:"id"`
	Type     string    `json:"type"`
	Revision int64     `json:"revision"`
}

// Image is an aggregate at a moment. State is empty unless it existed; Shown is
// what of it may be shown.
type Image struct {
	Exists        bool
	Organizations []domain.ID
	State, Shown  json.RawMessage
}

// Place is where an event stands.
type Place struct {
	Stream   string
	Revision int64
}

// Content is what an event says.
type Content struct {
	Data json.RawMessage
	// Personal are the top members of Data that hold personal data.
	Personal []string
	// Problem says why the event cannot be read as what its type says; Data is
	// then as it is stored, or nil.
	Problem string
}

// Until bounds a fold. Zero values don't bound.
type Until struct {
	Revision *int64 // this one included
	Time     time.Time
}

// State is an aggregate as it was.
type State struct {
	Stream        string
	Revision      int64
	At            time.Time
	Exists        bool
	State         json.RawMessage
	Organizations []domain.ID // that the aggregate belongs to; none: everybody's
}

// Event is an event as this API shows it.
type Event struct {
	Position    int64           `json:"position" doc:"Place in the whole log; also the cursor of lists of events."`
	ID          uuid.UUID       `json:"id"`
	Type        string          `json:"type"`
	Stream      string          `json:"stream"`
	Revision    int64           `json:"revision" doc:"Place in its stream, from 0."`
	RecordedAt  time.Time       `json:"recordedAt"`
	Tenant      uuid.UUID       `json:"tenant" doc:"Organization that the actor worked in."`
	Actor       uuid.UUID       `json:"actor"`
	APIKey      *uuid.UUID      `json:"apiKey"`
	Command     string          `json:"command"`
	CommandID   uuid.UUID       `json:"commandId"`
	Causation   uuid.UUID       `json:"causation"`
	Correlation uuid.UUID       `json:"correlation"`
	Dialect     string          `json:"dialect"`
	Data        json.RawMessage `json:"data" doc:"What the event says. Secrets are hidden, personal data too without the permission users.view."`
	Problem     string          `json:"problem,omitempty" doc:"Why the event cannot be read as its type."`

	Personal []string `json:"-"` // top members of Data that hold personal data
}
