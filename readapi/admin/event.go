package admin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// listEvents is the input of a list of events.
type listEvents struct {
	Stream       string                    `query:"stream" doc:"Of one stream, \"task-<id>\"."`
	Type         string                    `query:"type" doc:"One type (\"reporting.task-created\"), or all that begin so when it ends in a dot (\"reporting.\")."`
	Actor        httpx.Optional[uuid.UUID] `query:"actor" doc:"By one user."`
	Organization httpx.Optional[uuid.UUID] `query:"organization" doc:"By users who worked in one organization."`
	Dialect      string                    `query:"dialect" doc:"Through one API: qalyptus, qlik, admin, system ..."`
	Command      string                    `query:"command" doc:"By one command, \"reporting.create-task\"."`
	Correlation  httpx.Optional[uuid.UUID] `query:"correlation" doc:"Of one request and what it led to."`
	From         httpx.Optional[time.Time] `query:"from" doc:"Recorded at this time or later."`
	To           httpx.Optional[time.Time] `query:"to" doc:"Recorded before this time."`
	Order        string                    `query:"order" enum:"asc,desc" doc:"By position; asc unless given."`
	Limit        httpx.Optional[int]       `query:"limit" minimum:"1" maximum:"1000" doc:"Up to 1000; 100 unless given."`
	After        string                    `query:"after" doc:"Where to read on: next of the page before, or the position of any event."`
}

// known are the parameters there are: a misspelt filter must not find everything.
var known = map[string]bool{"stream": true, "type": true, "actor": true, "organization": true, "dialect": true, "command": true, "correlation": true,
	"from": true, "to": true, "order": true, "limit": true, "after": true}

// Resolve implements huma.Resolver.
func (in *listEvents) Resolve(ctx huma.Context) []error { return unknown(ctx, known) }

// unknown refuses parameters that there are none of.
func unknown(ctx huma.Context, known map[string]bool) []error {
	u := ctx.URL()
	for name := range u.Query() {
		if !known[name] {
			return []error{fault.InvalidQuery(name, "is not known here")}
		}
	}
	return nil
}

type eventPage struct{ Body Page[Event] }

type eventByID struct {
	ID uuid.UUID `path:"id"`
}

type oneEvent struct{ Body Event }

func registerEvents(r *reads) {
	tags, permission := []string{"Events"}, "audit.view"
	httpx.Register(r.API, httpx.Op{ID: "list-events", Method: http.MethodGet, Path: "/events", Summary: "Get events of the whole log", Tags: tags,
		Description: "Events of actors in organizations that the caller sees. The list follows the log with a short delay. " +
			"To follow it, send the position of the newest event you have as after, again and again.",
		Permission: permission}, r.listEvents)
	httpx.Register(r.API, httpx.Op{ID: "get-event", Method: http.MethodGet, Path: "/events/{id}", Summary: "Get an event", Tags: tags, Permission: permission}, r.getEvent)
}

const entryColumns = `position, event_id, type, stream, revision, recorded_at, organization_id, actor_id, api_key_id, command, command_id, causation_id, correlation_id, dialect`

func (r *reads) listEvents(ctx context.Context, in *listEvents) (*eventPage, error) {
	limit := in.limit()
	sql, args, err := in.sql(actorOf(ctx), r.Log.Types(), limit+1)
	if err != nil {
		return nil, err
	}
	events, err := r.entries(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	page := Page[Event]{}
	if len(events) > limit {
		events = events[:limit]
		next := strconv.FormatInt(events[limit-1].Position, 10)
		page.Next = &next
	}
	page.Items, err = r.fill(ctx, events)
	return &eventPage{page}, err
}

func (in *listEvents) limit() int {
	if in.Limit.Set {
		return in.Limit.Value
	}
	return defaultLimit
}

// sql is the statement of a list, all values as parameters.
func (in *listEvents) sql(actor domain.Actor, types []string, limit int) (string, []any, error) {
	w := &where{}
	if !actor.Unrestricted {
		w.add("organization_id = any(%s)", actor.Organizations)
	}
	w.text("stream", in.Stream)
	w.text("dialect", in.Dialect)
	w.text("command", in.Command)
	w.id("actor_id", in.Actor)
	w.id("organization_id", in.Organization)
	w.id("correlation_id", in.Correlation)
	if in.Type != "" {
		matching := typesOf(in.Type, types)
		if len(matching) == 0 {
			return "", nil, fault.InvalidQuery("type", "names no type of event")
		}
		w.add("type = any(%s)", matching)
	}
	if in.From.Set {
		w.add("recorded_at >= %s", in.From.Value)
	}
	if in.To.Set {
		w.add("recorded_at < %s", in.To.Value)
	}
	compare, order := ">", "asc"
	if in.Order == "desc" {
		compare, order = "<", "desc"
	}
	if in.After != "" {
		position, err := strconv.ParseInt(in.After, 10, 64)
		if err != nil || position < 0 {
			return "", nil, fault.InvalidQuery("after", "must be a position, as next gives it")
		}
		w.add("position "+compare+" %s", position)
	}
	return "select " + entryColumns + " from rm_audit.entries" + w.sql() + " order by position " + order + " limit " + strconv.Itoa(limit), w.args, nil
}

// typesOf are the types that a filter selects.
func typesOf(filter string, types []string) []string {
	var matching []string
	for _, t := range types {
		if t == filter || strings.HasSuffix(filter, ".") && strings.HasPrefix(t, filter) {
			matching = append(matching, t)
		}
	}
	return matching
}

// where gathers conditions that must all hold.
type where struct {
	conditions []string
	args       []any
}

// add takes a condition with a %s for each argument.
func (w *where) add(condition string, args ...any) {
	places := make([]any, len(args))
	for i, arg := range args {
		w.args = append(w.args, arg)
		places[i] = "$" + strconv.Itoa(len(w.args))
	}
	w.conditions = append(w.conditions, fmt.Sprintf(condition, places...))
}

func (w *where) text(column, value string) {
	if value != "" {
		w.add(column+" = %s", value)
	}
}

func (w *where) id(column string, value httpx.Optional[uuid.UUID]) {
	if value.Set {
		w.add(column+" = %s", value.Value)
	}
}

func (w *where) sql() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " where " + strings.Join(w.conditions, " and ")
}

func (r *reads) getEvent(ctx context.Context, in *eventByID) (*oneEvent, error) {
	w := &where{}
	w.add("event_id = %s", in.ID)
	if actor := actorOf(ctx); !actor.Unrestricted {
		w.add("organization_id = any(%s)", actor.Organizations)
	}
	found, err := r.entries(ctx, "select "+entryColumns+" from rm_audit.entries"+w.sql()+" limit 1", w.args...)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.Missing("event", in.ID)
	}
	found, err = r.fill(ctx, found)
	if err != nil {
		return nil, err
	}
	return &oneEvent{found[0]}, nil
}

// entries reads rows of the audit trail: events without what they say.
func (r *reads) entries(ctx context.Context, sql string, args ...any) ([]Event, error) {
	rows, err := r.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Event, err error) {
		err = row.Scan(&e.Position, &e.ID, &e.Type, &e.Stream, &e.Revision, &e.RecordedAt, &e.Tenant, &e.Actor, &e.APIKey, &e.Command, &e.CommandID,
			&e.Causation, &e.Correlation, &e.Dialect)
		e.RecordedAt = e.RecordedAt.UTC()
		return e, err
	})
}

// fill adds what the events say.
func (r *reads) fill(ctx context.Context, events []Event) ([]Event, error) {
	places := make([]Place, len(events))
	for i, e := range events {
		places[i] = Place{e.Stream, e.Revision}
	}
	contents, err := r.Log.Contents(ctx, places)
	if err != nil {
		return nil, err
	}
	for i, c := range contents {
		events[i].Data, events[i].Personal, events[i].Problem = c.Data, c.Personal, c.Problem
	}
	return shown(ctx, events)
}

// shown hides what the caller must not see. The list is never null.
func shown(ctx context.Context, events []Event) ([]Event, error) {
	personal := actorOf(ctx).May("users.view")
	for i := range events {
		e := &events[i]
		if e.Problem != "" && !personal {
			e.Data = nil // nobody knows which members are personal
		}
		var err error
		if e.Data, err = show(e.Data, e.Personal, personal); err != nil {
			return nil, fmt.Errorf("%s@%d: %w", e.Stream, e.Revision, err)
		}
	}
	if events == nil {
		events = []Event{}
	}
	return events, nil
}
