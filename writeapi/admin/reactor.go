package admin

import (
	"context"
	"net/http"

	"docket/internal/httpx"

	"github.com/google/uuid"
)

// Reactors are the reactors as operators may change their course.
type Reactors interface {
	// SkipEvent makes a stopped reactor leave out the event it is stopped at,
	// whichever process runs it. An unknown reactor is a NotFound fault, one that is
	// not stopped there a Conflict.
	SkipEvent(ctx context.Context, reactor string, event uuid.UUID, reason string) error
}

type skipReaction struct {
	Name string `path:"name"`
	Body struct {
		EventID uuid.UUID `json:"eventId"`
		Reason  string    `json:"reason" minLength:"1" maxLength:"1000" doc:"Kept beside the skip for ever."`
	}
}

func registerReactors(w *writes) {
	httpx.Register(w.API, httpx.Op{ID: "skip-reaction", Method: http.MethodPost, Path: "/reactors/{name}/skip", Summary: "Leave out the event that a reactor is stopped at", Tags: []string{"Reactors"},
		Description: "The reactor goes on without the event within about a second, and leaves it out if it ever comes again. Who did it and why is kept.",
		Permission:  "operations.edit", Success: http.StatusNoContent},
		func(ctx context.Context, in *skipReaction) (*struct{}, error) {
			w.asks(ctx, "reactors", "skip", "reactor", in.Name, "event", in.Body.EventID)
			return nil, w.Reactors.SkipEvent(ctx, in.Name, in.Body.EventID, in.Body.Reason)
		})
}
