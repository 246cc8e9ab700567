// Package audit holds the read model that answers who did what and when: one
// row per event, without what the event says. That stands in the log.
package audit

import (
	"encoding/json"
	"strings"
	"time"

	"docket/domain"
	"docket/eventstore"
	"docket/projections"

	"github.com/google/uuid"
)

// revision is raised when a handler changes what it writes.
const revision = 2

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
	Kind         string     `db:"kind"` // of the stream: "task"
	// Change marks the first event of an append that changed an aggregate: the
	// others up to LastRevision go with it.
	Change       bool  `db:"change"`
	LastRevision int64 `db:"last_revision"`
	// BelongsTo are the organizations that the aggregate is in from now on. Empty
	// where the event doesn't say, so that those before it hold.
	BelongsTo []domain.ID `db:"belongs_to"`
	Home      domain.ID   `db:"home_id"` // the first of them, zero without
}

// Entries are all events of the given types.
var Entries = projections.NewTable[EntryRow]("entries",
	projections.Index("actor_id", "position"), projections.Index("stream", "revision"), projections.Index("recorded_at", "position"),
	projections.Index("organization_id", "position"), projections.Index("correlation_id", "position"), projections.Index("type", "position"),
	projections.Index("event_id"),
	projections.IndexWhere("change", "kind", "position"), projections.IndexWhere("change", "command", "position"),
	projections.IndexWhere("change", "dialect", "position"), projections.IndexWhere("change", "api_key_id", "position"),
	projections.IndexWhere("belongs_to <> '{}'", "stream", "revision"), projections.IndexWhere("belongs_to <> '{}'", "home_id", "stream"),
	projections.IndexWhere("cardinality(belongs_to) > 1", "stream"))

// Group builds the audit trail of all these events, in schema rm_audit.
func Group(events []domain.Event) *projections.Group {
	return projections.NewGroup("audit", eventstore.Filter{}, projections.Revision(revision), projections.Background, Entries, projections.PutAny(Entries, events, entry))
}

func entry(rec projections.Rec) EntryRow {
	m := rec.Meta
	kind, _, _ := strings.Cut(rec.Stream, "-")
	row := EntryRow{Position: int64(rec.Position), EventID: rec.ID, Type: rec.Type, Stream: rec.Stream, Revision: int64(rec.Revision), RecordedAt: rec.Created,
		Organization: m.Tenant, Actor: m.Actor, APIKey: m.APIKey, Command: m.Command, CommandID: m.CommandID,
		Causation: m.Causation, Correlation: m.Correlation, Dialect: m.Dialect,
		Kind: kind, Change: begins(rec), LastRevision: int64(rec.Revision) + int64(max(m.Count-1-m.Index, 0)), BelongsTo: belongsTo(kind, rec)}
	if len(row.BelongsTo) > 0 {
		row.Home = row.BelongsTo[0]
	}
	return row
}

// begins tells whether a record is the first of its append. The kernel's own
// events are no change to anything.
func begins(rec projections.Rec) bool {
	m := rec.Meta
	inside := m.CommandID != uuid.Nil && m.Index > 0 && m.Index < m.Count
	return !inside && !strings.HasPrefix(rec.Type, "kernel.")
}

// belongsTo is what an event says about where its aggregate belongs: all events
// that do have one of two members. It is read leniently, since the trail must
// have events that cannot be decoded too.
func belongsTo(kind string, rec projections.Rec) []domain.ID {
	if strings.HasPrefix(rec.Type, "kernel.") {
		return nil
	}
	var says struct {
		One json.RawMessage `json:"organizationId"`
		All json.RawMessage `json:"organizations"`
	}
	var one domain.ID
	var all []domain.ID
	_ = json.Unmarshal(rec.Data, &says)
	switch {
	case json.Unmarshal(says.All, &all) == nil:
		return all
	case json.Unmarshal(says.One, &one) == nil && one != uuid.Nil:
		return []domain.ID{one}
	case kind == "organization": // itself
		if id, err := uuid.Parse(strings.TrimPrefix(rec.Stream, "organization-")); err == nil {
			return []domain.ID{id}
		}
	}
	return nil
}
