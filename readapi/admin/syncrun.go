package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// SyncRun is a synchronisation of a user directory.
type SyncRun struct {
	ID             domain.ID  `json:"id"`
	DirectoryID    domain.ID  `json:"directoryId"`
	OrganizationID domain.ID  `json:"organizationId"`
	Status         string     `json:"status" enum:"Running,Success,Stopped,Error" doc:"Error: it could not go on. Success may have failed for single entries."`
	Stopping       bool       `json:"stopping" doc:"Somebody asked it to stop."`
	Code           string     `json:"code" doc:"Why it could not go on, as a stable word (\"directory.unreachable\"); else empty."`
	Reason         string     `json:"reason" doc:"The same for people."`
	Due            *time.Time `json:"due" doc:"Of the schedule; null when somebody asked for the run."`
	StartedAt      time.Time  `json:"startedAt"`
	EndedAt        *time.Time `json:"endedAt" doc:"null while it runs."`
	Counts         SyncCounts `json:"counts" doc:"What became of the entries so far."`
}

// SyncCounts is what became of a directory's entries.
type SyncCounts struct {
	Users  SyncTally `json:"users"`
	Groups SyncTally `json:"groups"`
}

// SyncTally counts entries of one kind.
type SyncTally struct {
	Added       int `json:"added"`
	Changed     int `json:"changed" doc:"Those that came back, too."`
	Deactivated int `json:"deactivated"`
	Unchanged   int `json:"unchanged"`
	Failed      int `json:"failed" doc:"They could not be taken over."`
}

// SyncReport is a run with the entries that could not be taken over.
type SyncReport struct {
	SyncRun
	Errors []SyncError `json:"errors" doc:"The first 100, once the run has ended; counts has the number of all."`
}

// SyncError says why an entry could not be taken over.
type SyncError struct {
	Kind       string `json:"kind" enum:"user,group"`
	ExternalID string `json:"externalId" doc:"The directory's own id of the entry."`
	Code       string `json:"code" doc:"Stable word: \"user-email.taken\"."`
	Message    string `json:"message"`
}

// SyncReportOf is a run as the command side knows it.
func SyncReportOf(r directory.SyncRun) SyncReport {
	run := SyncRun{ID: r.ID, DirectoryID: r.DirectoryID, OrganizationID: r.OrganizationID, Status: string(r.Status), Stopping: r.Stopping, Code: r.Code, Reason: r.Reason,
		Due: utc(r.Due), StartedAt: r.StartedAt.UTC(), Counts: countsOf(r.Counts)}
	if !r.EndedAt.IsZero() {
		run.EndedAt = utc(&r.EndedAt)
	}
	report := SyncReport{SyncRun: run, Errors: make([]SyncError, len(r.Errors))}
	for i, e := range r.Errors {
		report.Errors[i] = SyncError(e)
	}
	return report
}

func countsOf(c directory.SyncCounts) SyncCounts {
	return SyncCounts{Users: SyncTally(c.Users), Groups: SyncTally(c.Groups)}
}

type listSyncRuns struct {
	Part
	Directory httpx.Optional[uuid.UUID] `query:"directory" doc:"Only those of this user directory."`
	Status    string                    `query:"status" enum:"Running,Success,Stopped,Error" doc:"Only those that are or ended so."`
}

var knownOfSyncRuns = map[string]bool{"organization": true, "after": true, "limit": true, "directory": true, "status": true}

// Resolve implements huma.Resolver.
func (in *listSyncRuns) Resolve(ctx huma.Context) []error { return unknown(ctx, knownOfSyncRuns) }

type getSyncRun struct {
	ID uuid.UUID `path:"id"`
}

type (
	syncRunPage      struct{ Body Page[SyncRun] }
	syncReportAnswer struct{ Body SyncReport }
)

func registerSyncRuns(r *reads) {
	tags, permission := []string{"Synchronisation runs"}, "userDirectories.view"
	httpx.Register(r.API, httpx.Op{ID: "list-sync-runs", Method: http.MethodGet, Path: "/sync-runs", Summary: "Get the synchronisations of user directories, newest first", Tags: tags,
		Description: "In the order in which they were asked for, or were due by the schedule.", Permission: permission}, r.listSyncRuns)
	httpx.Register(r.API, httpx.Op{ID: "get-sync-run", Method: http.MethodGet, Path: "/sync-runs/{id}", Summary: "Get a synchronisation of a user directory with its errors", Tags: tags,
		Description: "Read from the log itself, so it is current.", Permission: permission}, r.getSyncRun)
}

const syncRunSQL = `select id, directory_id, organization_id, status, stopping, code, reason, due, started_at, ended_at, counts
	from rm_directory.sync_runs where ($6::uuid is null or directory_id = $6) and ($7 = '' or status = $7)`

func (r *reads) listSyncRuns(ctx context.Context, in *listSyncRuns) (*syncRunPage, error) {
	page, err := newestOf(ctx, r, in.Part, syncRunSQL, scanSyncRun, func(s SyncRun) domain.ID { return s.ID }, in.Directory.Ptr(), in.Status)
	return &syncRunPage{page}, err
}

func scanSyncRun(row pgx.CollectableRow) (SyncRun, error) {
	var s SyncRun
	var counts directory.SyncCounts
	err := row.Scan(&s.ID, &s.DirectoryID, &s.OrganizationID, &s.Status, &s.Stopping, &s.Code, &s.Reason, &s.Due, &s.StartedAt, &s.EndedAt, &counts)
	s.Due, s.StartedAt, s.EndedAt, s.Counts = utc(s.Due), s.StartedAt.UTC(), utc(s.EndedAt), countsOf(counts)
	return s, err
}

// getSyncRun reads the run's stream: what went wrong with which entry stands there
// only.
func (r *reads) getSyncRun(ctx context.Context, in *getSyncRun) (*syncReportAnswer, error) {
	s, err := r.Log.State(ctx, directory.SyncRunStream(in.ID), Until{})
	if fault.Is(err, fault.NotFound) || err == nil && !actorOf(ctx).SeesAny(s.Organizations) {
		return nil, fault.Missing("syncrun", in.ID)
	}
	if err != nil {
		return nil, err
	}
	var run directory.SyncRun
	if err := json.Unmarshal(s.State, &run); err != nil {
		return nil, err
	}
	return &syncReportAnswer{SyncReportOf(run)}, nil
}
