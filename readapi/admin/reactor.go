package admin

import (
	"context"
	"net/http"
	"time"

	"docket/internal/httpx"
)

// Reactors tells how the reactors are, whichever process runs them.
type Reactors interface {
	Reactors(ctx context.Context) ([]Reactor, error)
}

// Reactor is something that Docket does by itself because of events.
type Reactor struct {
	Name     string    `json:"name"`
	State    string    `json:"state" doc:"starting, catching-up, live or retrying in the process that answers; standby when another process has it; elsewhere when only others may; stopped at an event, wherever."`
	Since    time.Time `json:"since" doc:"When the state began, in the process that answers."`
	Position int64     `json:"position" doc:"Everything up to here is done."`
	Retry    string    `json:"retry,omitempty" doc:"What a retrying reactor waits for."`
	Failure  *Failure  `json:"failure" doc:"The event that stopped it."`
}

type reactorList struct {
	Body struct {
		Items []Reactor `json:"items"`
	}
}

func registerReactors(r *reads) {
	httpx.Register(r.API, httpx.Op{ID: "list-reactors", Method: http.MethodGet, Path: "/reactors", Summary: "Get the condition of the reactors",
		Tags: []string{"Reactors"}, Permission: "operations.view"},
		func(ctx context.Context, _ *struct{}) (*reactorList, error) {
			out := &reactorList{}
			var err error
			out.Body.Items, err = r.Reactors.Reactors(ctx)
			return out, err
		})
}
