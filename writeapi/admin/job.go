package admin

import (
	"context"
	"net/http"

	"docket/internal/httpx"
)

// Jobs are what is done outside of Docket because of events, as operators may
// change its course. A job of an organization that the caller does not see, or
// that is not there, is a NotFound fault.
type Jobs interface {
	// RetryJob has a dead or cancelled job begin again, and one that waits for
	// another attempt go on now. Another is a Conflict fault.
	RetryJob(ctx context.Context, id int64) error
	// CancelJob ends a job. One that is over is a Conflict fault.
	CancelJob(ctx context.Context, id int64) error
}

type jobByID struct {
	ID int64 `path:"id"`
}

func registerJobs(w *writes) {
	tags, permission := []string{"Jobs"}, "operations.edit"
	httpx.Register(w.API, httpx.Op{ID: "retry-job", Method: http.MethodPost, Path: "/jobs/{id}/retry", Summary: "Have a job done again", Tags: tags,
		Description: "A dead or cancelled job begins a new run with all its attempts; what comes of it is recorded anew. A job that waits for another attempt goes on now.",
		Permission:  permission, Success: http.StatusNoContent},
		func(ctx context.Context, in *jobByID) (*struct{}, error) {
			w.asks(ctx, "effects", "retry", "job", in.ID)
			return nil, w.Jobs.RetryJob(ctx, in.ID)
		})
	httpx.Register(w.API, httpx.Op{ID: "cancel-job", Method: http.MethodPost, Path: "/jobs/{id}/cancel", Summary: "Cancel a job", Tags: tags,
		Description: "A running one is interrupted within about a second, which may be too late. That it was given up is recorded as after its last attempt; until then it is cancelling.",
		Permission:  permission, Success: http.StatusNoContent},
		func(ctx context.Context, in *jobByID) (*struct{}, error) {
			w.asks(ctx, "effects", "cancel", "job", in.ID)
			return nil, w.Jobs.CancelJob(ctx, in.ID)
		})
}
