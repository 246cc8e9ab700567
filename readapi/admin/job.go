package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// Jobs are what is done outside of Docket because of events. Callers see those of
// the organizations that they see.
type Jobs interface {
	// Jobs lists jobs, newest first.
	Jobs(ctx context.Context, f JobFilter) ([]Job, error)
	// Job is one job, or a NotFound fault.
	Job(ctx context.Context, id int64) (Job, error)
}

// JobFilter selects jobs. Zero values select all.
type JobFilter struct {
	State, Kind string
	Event       uuid.UUID
	Before      int64 // only jobs with lower ids
	Limit       int
}

// Job is something to be done outside of Docket.
type Job struct {
	ID             int64      `json:"id"`
	Kind           string     `json:"kind" doc:"printing.deliver, ..."`
	State          string     `json:"state" enum:"waiting,retrying,running,done,dead,cancelled" doc:"Dead: given up, and that is recorded."`
	EventID        uuid.UUID  `json:"eventId" doc:"The event that led to it."`
	OrganizationID uuid.UUID  `json:"organizationId" doc:"In which that was caused."`
	Attempt        int        `json:"attempt" doc:"Attempts so far, of this run. Waiting for our own stores costs none."`
	MaxAttempts    int        `json:"maxAttempts"`
	Run            int        `json:"run" doc:"1, and one more for each time that an operator had it begin again."`
	CreatedAt      time.Time  `json:"createdAt"`
	DueAt          *time.Time `json:"dueAt" doc:"When a waiting or retrying job runs next."`
	StartedAt      *time.Time `json:"startedAt" doc:"Start of the last attempt."`
	EndedAt        *time.Time `json:"endedAt"`
	Error          string     `json:"error" doc:"Of the last attempt that failed, or what the job waits for."`
	Cancelling     bool       `json:"cancelling" doc:"It is to be cancelled, which is not recorded yet."`
}

type listJobs struct {
	State string                    `query:"state" enum:"waiting,retrying,running,done,dead,cancelled"`
	Kind  string                    `query:"kind"`
	Event httpx.Optional[uuid.UUID] `query:"event" doc:"That led to the jobs."`
	Limit httpx.Optional[int]       `query:"limit" minimum:"1" maximum:"1000" doc:"Up to 1000; 100 unless given."`
	After string                    `query:"after" doc:"Where to read on: next of the page before."`
}

var knownOfJobs = map[string]bool{"state": true, "kind": true, "event": true, "limit": true, "after": true}

// Resolve implements huma.Resolver.
func (in *listJobs) Resolve(ctx huma.Context) []error { return unknown(ctx, knownOfJobs) }

type jobPage struct{ Body Page[Job] }

type jobByID struct {
	ID int64 `path:"id"`
}

type oneJob struct{ Body Job }

func registerJobs(r *reads) {
	tags, permission := []string{"Jobs"}, "operations.view"
	httpx.Register(r.API, httpx.Op{ID: "list-jobs", Method: http.MethodGet, Path: "/jobs", Summary: "Get jobs, newest first", Tags: tags,
		Description: "What is to be done, is being done or was done outside of Docket because of an event. Done jobs are kept for a week, dead and cancelled ones for 90 days.",
		Permission:  permission}, r.listJobs)
	httpx.Register(r.API, httpx.Op{ID: "get-job", Method: http.MethodGet, Path: "/jobs/{id}", Summary: "Get a job", Tags: tags, Permission: permission},
		func(ctx context.Context, in *jobByID) (*oneJob, error) {
			j, err := r.Jobs.Job(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &oneJob{j}, nil
		})
}

func (r *reads) listJobs(ctx context.Context, in *listJobs) (*jobPage, error) {
	f := JobFilter{State: in.State, Kind: in.Kind, Event: in.Event.Value, Limit: defaultLimit}
	if in.Limit.Set {
		f.Limit = in.Limit.Value
	}
	if in.After != "" {
		var err error
		if f.Before, err = strconv.ParseInt(in.After, 10, 64); err != nil || f.Before <= 0 {
			return nil, fault.InvalidQuery("after", "must be a job's id, as next gives it")
		}
	}
	limit := f.Limit
	f.Limit++
	jobs, err := r.Jobs.Jobs(ctx, f)
	if err != nil {
		return nil, err
	}
	page := Page[Job]{Items: jobs}
	if len(jobs) > limit {
		page.Items = jobs[:limit]
		next := strconv.FormatInt(page.Items[limit-1].ID, 10)
		page.Next = &next
	}
	return &jobPage{page}, nil
}
