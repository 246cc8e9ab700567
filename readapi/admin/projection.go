package admin

import (
	"context"
	"net/http"
	"time"

	"docket/internal/httpx"

	"github.com/google/uuid"
)

// Projections tells how the read models are.
type Projections interface {
	Projections(ctx context.Context) []Projection
}

// Projection is a group of read models.
type Projection struct {
	Group         string    `json:"group"`
	Version       string    `json:"version" doc:"Of the program's declaration; another one makes it rebuild."`
	State         string    `json:"state" doc:"starting, waiting-for-lock, rebuilding, catching-up, live, retrying, stopped or watching."`
	Since         time.Time `json:"since" doc:"When the state began."`
	Position      int64     `json:"position" doc:"Everything up to here is in the tables."`
	Head          *int64    `json:"head" doc:"Position of the newest event; null while the event store does not answer."`
	Lag           *int64    `json:"lag" doc:"Head less position, 0 while nothing is known to be missing. Positions are places in the log, not numbers of events."`
	BehindSeconds float64   `json:"behindSeconds" doc:"Age of the oldest event that is known to be missing."`
	Failure       *Failure  `json:"failure" doc:"What stopped the group."`
	Build         *Build    `json:"build" doc:"A rebuild or verification under way in this process."`
	LastRebuild   *Rebuild  `json:"lastRebuild" doc:"The last one asked for of this process."`
}

// Failure is the event that a group is stopped at. Without an event the database
// refuses a statement.
type Failure struct {
	EventID   *uuid.UUID `json:"eventId"`
	EventType string     `json:"eventType"`
	Stream    string     `json:"stream"`
	Revision  int64      `json:"revision"`
	Position  int64      `json:"position"`
	Error     string     `json:"error"`
	At        time.Time  `json:"at"`
}

// Build is how far new tables are.
type Build struct {
	Phase     string    `json:"phase" doc:"reading, indexing, catching up, swapping or comparing."`
	Events    int64     `json:"events"`
	Position  int64     `json:"position"`
	StartedAt time.Time `json:"startedAt"`
}

// Rebuild is one that was asked for.
type Rebuild struct {
	Actor      uuid.UUID  `json:"actor"`
	StartedAt  time.Time  `json:"startedAt"`
	FinishedAt *time.Time `json:"finishedAt" doc:"null while it runs."`
	Failed     bool       `json:"failed" doc:"The server's log says why."`
}

type projectionList struct {
	Body struct {
		Items []Projection `json:"items"`
	}
}

func registerProjections(r *reads) {
	httpx.Register(r.API, httpx.Op{ID: "list-projections", Method: http.MethodGet, Path: "/projections", Summary: "Get the condition of the read models",
		Tags: []string{"Projections"}, Permission: "operations.view"},
		func(ctx context.Context, _ *struct{}) (*projectionList, error) {
			out := &projectionList{}
			out.Body.Items = r.Projections.Projections(ctx)
			return out, nil
		})
}
