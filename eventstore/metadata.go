package eventstore

import (
	"encoding/json"

	"github.com/google/uuid"
)

// Metadata stands beside every event: who, through what, because of what. It
// holds ids only, never personal data.
type Metadata struct {
	Tenant      uuid.UUID       `json:"tenant"`           // organization the actor acted in
	Actor       uuid.UUID       `json:"actor"`            // user; the system's own id for timers and reactors
	APIKey      *uuid.UUID      `json:"apiKey,omitempty"` // key the actor used
	Command     string          `json:"command"`          // its name, "reporting.create-task"
	CommandID   uuid.UUID       `json:"commandId"`
	Causation   uuid.UUID       `json:"$causationId"`   // what caused it: the request, or the event a reactor answered
	Correlation uuid.UUID       `json:"$correlationId"` // the request everything goes back to
	Traceparent string          `json:"traceparent,omitempty"`
	Dialect     string          `json:"dialect"`
	Schema      int             `json:"schema"` // version of the event's JSON
	Index       int             `json:"i"`      // place within its append
	Count       int             `json:"n"`      // events in its append
	Audit       json.RawMessage `json:"audit,omitempty"`
}

// DecodeMetadata reads metadata leniently: what another writer left out is zero.
func DecodeMetadata(raw []byte) (Metadata, error) {
	var m Metadata
	if len(raw) == 0 {
		return m, nil
	}
	err := json.Unmarshal(raw, &m)
	return m, err
}
