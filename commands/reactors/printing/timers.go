package printing

import (
	"context"
	"errors"
	"time"

	"docket/commands"
	commanded "docket/commands/printing"
	"docket/domain"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/internal/blob"
)

// chunk is how many documents expire between two looks at the list.
const chunk = 500

// expire ends documents that are too old.
func (w *Workers) expire(ctx context.Context, now time.Time) error {
	for ctx.Err() == nil {
		due, err := w.Lists.DueDocuments(ctx, now, chunk)
		if err != nil {
			return err
		}
		current, err := commands.Together(ctx, w.Bus, func(ctx context.Context) error {
			for _, d := range due {
				acting := domain.WithActor(ctx, domain.System(d.OrganizationID))
				if _, err := commands.Send(acting, w.Bus, commanded.ExpireDocument{ID: d.ID, Before: d.Before}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(due) < chunk {
			return err
		}
		if !current { // the list would show the same again
			return errors.New("the read models have not taken in the documents that expired")
		}
	}
	return ctx.Err()
}

// modelsWithin bounds how long the collector waits for the read models.
const modelsWithin = time.Minute

// collect removes content that nothing refers to. It trusts the read models only
// when they are as far as the log was when it began: what was put and recorded
// before that is in them, and what is put later is too young to go.
func (w *Workers) collect(ctx context.Context, _ time.Time) error {
	head, err := w.Store.Head(ctx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, modelsWithin)
	defer cancel()
	if !w.Models.Await(waiting, head, []string{printing.DocumentReceived{}.EventType(), reporting.ProjectPublished{}.EventType()}) {
		return errors.New("the read models are behind; no content is removed")
	}
	done, err := blob.Collect(ctx, w.Blobs, w.Lists.ContentsInUse, w.Grace)
	if done.Removed > 0 {
		w.Logger.InfoContext(ctx, "content that nothing refers to was removed", "seen", done.Seen, "removed", done.Removed, "bytes", done.Bytes)
	}
	return err
}
