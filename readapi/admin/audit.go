package admin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// listChanges is the input of the list of changes.
type listChanges struct {
	Actor        httpx.Optional[uuid.UUID] `query:"actor" doc:"By one user."`
	APIKey       httpx.Optional[uuid.UUID] `query:"apiKey" doc:"With one API key."`
	Kind         string                    `query:"kind" doc:"Of one kind of thing: task, user, group ..."`
	Aggregate    string                    `query:"aggregate" doc:"Of one thing: its id, or its stream (\"task-<id>\")."`
	Organization httpx.Optional[uuid.UUID] `query:"organization" doc:"By users who worked in one organization, or of things that belonged to it before or after."`
	Dialect      string                    `query:"dialect" doc:"Through one API: qalyptus, qlik, admin, system ..."`
	Command      string                    `query:"command" doc:"By one command, \"reporting.create-task\"."`
	Correlation  httpx.Optional[uuid.UUID] `query:"correlation" doc:"Of one request and what it led to."`
	From         httpx.Optional[time.Time] `query:"from" doc:"Recorded at this time or later."`
	To           httpx.Optional[time.Time] `query:"to" doc:"Recorded before this time."`
	Order        string                    `query:"order" enum:"asc,desc" doc:"By position; asc unless given."`
	Limit        httpx.Optional[int]       `query:"limit" minimum:"1" maximum:"1000" doc:"Up to 1000; 100 unless given. Not for csv and jsonl, which have all."`
	After        string                    `query:"after" doc:"Where to read on: next of the page before, or the position of any change."`
	Format       string                    `query:"format" enum:"json,csv,jsonl" doc:"A page as JSON, or everything as CSV or JSON lines. Unless given, what Accept asks for."`
}

var knownOfChanges = map[string]bool{"actor": true, "apiKey": true, "kind": true, "aggregate": true, "organization": true, "dialect": true, "command": true,
	"correlation": true, "from": true, "to": true, "order": true, "limit": true, "after": true, "format": true}

// Resolve implements huma.Resolver.
func (in *listChanges) Resolve(ctx huma.Context) []error { return unknown(ctx, knownOfChanges) }

func registerAudit(r *reads) {
	op := httpx.Op{ID: "list-changes", Method: http.MethodGet, Path: "/audit", Summary: "Get who changed what, with before and after", Tags: []string{"Audit"},
		Description: "One entry for all that a command did to a thing at once. Entries are those that actors in visible organizations made, " +
			"and those of things that belong to one. The list follows the log with a short delay.",
		Permission: "audit.view", Returns: Page[Change]{}, Timeout: -1} // an export takes as long as it takes
	httpx.Register(r.API, op, r.listChanges)
	content := r.API.OpenAPI().Paths[r.API.Dialect().Base+op.Path].Get.Responses["200"].Content
	for _, f := range exports {
		content[f.media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
}

func (r *reads) listChanges(ctx context.Context, in *listChanges) (*httpx.Raw, error) {
	q, err := in.query(r.Log.Kinds())
	if err != nil {
		return nil, err
	}
	if err := r.confine(ctx, &q, in); err != nil {
		return nil, err
	}
	for _, f := range exports {
		if in.Format == f.name || in.Format == "" && accepts(httpx.From(ctx).Header("Accept"), f) {
			return r.export(ctx, in, q, f)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, httpx.DefaultTimeout)
	defer cancel()
	return r.changesPage(ctx, in, q)
}

func (r *reads) changesPage(ctx context.Context, in *listChanges, q changesQuery) (*httpx.Raw, error) {
	limit := in.Limit.Or(defaultLimit)
	heads, err := r.heads(ctx, q, limit+1)
	if err != nil {
		return nil, err
	}
	page := Page[Change]{}
	if len(heads) > limit {
		heads = heads[:limit]
		next := strconv.FormatInt(heads[limit-1].Position, 10)
		page.Next = &next
	}
	if page.Items, err = r.changes(ctx, heads, newNames(r.Log, actorOf(ctx))); err != nil {
		return nil, err
	}
	return httpx.JSON(http.StatusOK, page)
}

// changesQuery is a list of changes without where it begins and ends.
type changesQuery struct {
	where where
	desc  bool
	after *int64
}

// query is what was asked for, but for the organizations.
func (in *listChanges) query(kinds []string) (changesQuery, error) {
	q := changesQuery{desc: in.Order == "desc"}
	w := &q.where
	w.conditions = []string{"e.change"}
	w.id("e.actor_id", in.Actor)
	w.id("e.api_key_id", in.APIKey)
	w.id("e.correlation_id", in.Correlation)
	w.text("e.dialect", in.Dialect)
	w.text("e.command", in.Command)
	w.text("e.kind", in.Kind)
	if in.Kind != "" && !slices.Contains(kinds, in.Kind) {
		return q, fault.InvalidQuery("kind", "must be one of %s", strings.Join(kinds, ", "))
	}
	if in.Aggregate != "" {
		streams, err := streamsOf(in.Aggregate, kinds)
		if err != nil {
			return q, err
		}
		w.add("e.stream = any(%s)", streams)
	}
	if in.From.Set {
		w.add("e.recorded_at >= %s", in.From.Value)
	}
	if in.To.Set {
		w.add("e.recorded_at < %s", in.To.Value)
	}
	if in.After != "" {
		position, err := strconv.ParseInt(in.After, 10, 64)
		if err != nil || position < 0 {
			return q, fault.InvalidQuery("after", "must be a position, as next gives it")
		}
		q.after = &position
	}
	return q, nil
}

// streamsOf are the streams of a thing that is named by its id alone, or the
// stream that is named.
func streamsOf(aggregate string, kinds []string) ([]string, error) {
	id, err := uuid.Parse(aggregate)
	if err == nil {
		streams := make([]string, len(kinds))
		for i, k := range kinds {
			streams[i] = k + "-" + id.String()
		}
		return streams, nil
	}
	if !strings.Contains(aggregate, "-") {
		return nil, fault.InvalidQuery("aggregate", "must be an id or a stream, \"task-<id>\"")
	}
	return []string{aggregate}, nil
}

// sql is the statement for a page, all values as parameters.
func (q changesQuery) sql(limit int) (string, []any) {
	w := where{slices.Clone(q.where.conditions), slices.Clone(q.where.args)}
	compare, order := ">", "asc"
	if q.desc {
		compare, order = "<", "desc"
	}
	if q.after != nil {
		w.add("e.position "+compare+" %s", *q.after)
	}
	return "select e.position, e.event_id, e.stream, e.revision, e.kind, e.recorded_at, e.organization_id, e.actor_id, e.api_key_id, e.command, e.command_id, " +
		"e.causation_id, e.correlation_id, e.dialect from rm_audit.entries e" + w.sql() + " order by e.position " + order + " limit " + strconv.Itoa(limit), w.args
}

// head is the first event of a change, as the audit trail has it.
type head struct {
	Position                          int64
	EventID                           uuid.UUID
	Stream                            string
	Revision                          int64
	Kind                              string
	RecordedAt                        time.Time
	Tenant, Actor                     uuid.UUID
	APIKey                            *uuid.UUID
	Command                           string
	CommandID, Causation, Correlation uuid.UUID
	Dialect                           string
}

func (r *reads) heads(ctx context.Context, q changesQuery, limit int) ([]head, error) {
	sql, args := q.sql(limit)
	rows, err := r.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[head])
}
