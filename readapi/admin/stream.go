package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/google/uuid"
)

type streamEvents struct {
	Stream string              `path:"stream" doc:"\"task-<id>\"."`
	From   int64               `query:"from" minimum:"0" doc:"First revision; 0 unless given."`
	After  string              `query:"after" doc:"Where to read on: next of the page before. It takes the place of from."`
	Limit  httpx.Optional[int] `query:"limit" minimum:"1" maximum:"1000" doc:"Up to 1000; 100 unless given."`
}

type streamState struct {
	Stream   string                    `path:"stream"`
	Revision httpx.Optional[int64]     `query:"revision" minimum:"0" doc:"As of this revision; the newest there is when the stream is not as long."`
	Time     httpx.Optional[time.Time] `query:"time" doc:"As of this time. Excludes revision."`
}

type stateAnswer struct {
	Body struct {
		Stream        string          `json:"stream"`
		Revision      int64           `json:"revision" doc:"Of the last event that is in the state."`
		At            time.Time       `json:"at" doc:"When that was recorded."`
		Exists        bool            `json:"exists" doc:"false once the thing was deleted."`
		Organizations []uuid.UUID     `json:"organizations"`
		State         json.RawMessage `json:"state" doc:"As the program keeps it, secrets hidden."`
	}
}

func registerStreams(r *reads) {
	tags, permission := []string{"Events"}, "audit.view"
	httpx.Register(r.API, httpx.Op{ID: "list-stream-events", Method: http.MethodGet, Path: "/streams/{stream}/events", Summary: "Get the events of one thing", Tags: tags,
		Description: "Read from the log itself, so it is current.", Permission: permission}, r.streamEvents)
	httpx.Register(r.API, httpx.Op{ID: "get-stream-state", Method: http.MethodGet, Path: "/streams/{stream}/state", Summary: "Get one thing as it is or was", Tags: tags,
		Description: "The events up to a revision or time, folded. Users' states need the permission users.view as well.", Permission: permission}, r.streamState)
}

func (r *reads) streamEvents(ctx context.Context, in *streamEvents) (*eventPage, error) {
	from, err := in.start()
	if err != nil {
		return nil, err
	}
	if err := r.visible(ctx, in.Stream); err != nil {
		return nil, err
	}
	limit := defaultLimit
	if in.Limit.Set {
		limit = in.Limit.Value
	}
	events, err := r.Log.Stream(ctx, in.Stream, from, limit+1)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 && from == 0 {
		return nil, fault.Missing("stream", in.Stream)
	}
	page := Page[Event]{}
	if len(events) > limit {
		events = events[:limit]
		next := strconv.FormatInt(events[limit-1].Revision, 10)
		page.Next = &next
	}
	page.Items, err = shown(ctx, events)
	return &eventPage{page}, err
}

// start is the first revision wanted.
func (in *streamEvents) start() (int64, error) {
	if in.After == "" {
		return in.From, nil
	}
	after, err := strconv.ParseInt(in.After, 10, 64)
	if err != nil || after < 0 {
		return 0, fault.InvalidQuery("after", "must be a revision, as next gives it")
	}
	return after + 1, nil
}

// visible is a NotFound fault for a stream that the caller doesn't see. Streams
// of the machinery (claims, numbers) are for those who see all organizations.
func (r *reads) visible(ctx context.Context, stream string) error {
	actor := actorOf(ctx)
	if actor.Unrestricted {
		return nil
	}
	now, err := r.Log.State(ctx, stream, Until{})
	if err != nil {
		return err
	}
	if !actor.SeesAny(now.Organizations) {
		return fault.Missing("stream", stream)
	}
	return nil
}

func (r *reads) streamState(ctx context.Context, in *streamState) (*stateAnswer, error) {
	if in.Revision.Set && in.Time.Set {
		return nil, fault.InvalidQuery("time", "cannot be given together with revision")
	}
	actor := actorOf(ctx)
	if strings.HasPrefix(in.Stream, "user-") && !actor.May("users.view") {
		return nil, fault.New(fault.Denied, "denied", "the permission users.view is needed to see a person")
	}
	// What it is now decides who may see what it was.
	if err := r.visible(ctx, in.Stream); err != nil {
		return nil, err
	}
	until := Until{Time: in.Time.Value}
	if in.Revision.Set {
		until.Revision = &in.Revision.Value
	}
	s, err := r.Log.State(ctx, in.Stream, until)
	if err != nil {
		return nil, err
	}
	out := &stateAnswer{}
	b := &out.Body
	b.Stream, b.Revision, b.At, b.Exists = s.Stream, s.Revision, s.At.UTC(), s.Exists
	b.Organizations = append([]uuid.UUID{}, s.Organizations...)
	b.State, err = show(s.State, nil, true)
	return out, err
}
