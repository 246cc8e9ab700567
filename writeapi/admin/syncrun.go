package admin

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/internal/httpx"
	"docket/readapi/admin"

	"github.com/google/uuid"
)

type stopSyncRun struct {
	ID uuid.UUID `path:"id"`
}

type syncReportAnswer struct{ Body admin.SyncReport }

func registerSyncRuns(w *writes) {
	httpx.Register(w.API, httpx.Op{ID: "stop-sync-run", Method: http.MethodPost, Path: "/sync-runs/{id}/stop", Summary: "Stop a synchronisation of a user directory",
		Tags: []string{"Synchronisation runs"}, Permission: "userDirectories.edit", Success: http.StatusAccepted,
		Description: "Answers when that is recorded; the run ends after the entries that it is at. What it has changed stays, and nobody else is deactivated. " +
			"One that has ended is a conflict."},
		func(ctx context.Context, in *stopSyncRun) (*syncReportAnswer, error) {
			done, err := commands.Send(ctx, w.Bus, commanded.StopSyncRun{ID: in.ID})
			if err != nil {
				return nil, err
			}
			return &syncReportAnswer{admin.SyncReportOf(done.State)}, nil
		})
}
