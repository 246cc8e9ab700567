// Package audit holds the read model that answers who did what and when: one
// row per event, without what the event says. That stands in the log.
package audit

import (
	"time"

	"docket/domain"
	"docket/eventstore"
	"docket/projections"
)

// revision is raised when a handler changes what it writes.
const revision = 1

// EntryRow is one event.
type EntryRow struct {
	Position     int64      `db:"position,pk"`
	EventID      domain.ID  `db:"event_id"`
	Type         string     `db:"type"`
	Stream       string     `db:"stream"`
	Revision     int64      `db:"revision"`
	RecordedAt   time.Time  `db:"recorded_at"`
	Organization domain.ID  `db:"organization_id"` // the actor's, at that time
	Actor        domain.ID  `db:"actor_id"`
	APIKey       *domain.ID `db:"api_key_id"`
	Command      string     `db:"command"`
	CommandID    domain.ID  `db:"command_id"`
	Causation    domain.ID  `db:"causation_id"`
	Correlation  domain.ID  `db:"correlation_id"`
	Dialect      string     `db:"dialect"`
}

// Entries are all events of the given types.
var Entries = projections.NewTable[EntryRow]("entries",
	projections.Index("actor_id", "position"), projections.Index("stream", "revision"), projections.Index("recorded_at", "position"),
	projections.Index("organization_id", "position"), projections.Index("correlation_id", "position"), projections.Index("type", "position"),
	projections.Index("event_id"))

// Group builds the audit trail of all these events, in schema rm_audit.
func Group(events []domain.Event) *projections.Group {
	return projections.NewGroup("audit", eventstore.Filter{}, projections.Revision(revision), projections.Background, Entries, projections.PutAny(Entries, events, entry))
}

func entry(rec projections.Rec) EntryRow {
	m := rec.Meta
	return EntryRow{Position: int64(rec.Position), EventID: rec.ID, Type: rec.Type, Stream: rec.Stream, Revision: int64(rec.Revision), RecordedAt: rec.Created,
		Organization: m.Tenant, Actor: m.Actor, APIKey: m.APIKey, Command: m.Command, CommandID: m.CommandID,
		Causation: m.Causation, Correlation: m.Correlation, Dialect: m.Dialect}
}
