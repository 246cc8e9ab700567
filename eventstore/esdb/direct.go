package esdb

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"docket/eventstore"
	"docket/eventstore/embedded/eventlog"
)

// Direct reads an embedded server's log where it lies. The bytes of its events
// are shared with the server and must not be changed.
func Direct(log *eventlog.Log) Log { return directLog{log} }

type directLog struct{ log *eventlog.Log }

func (d directLog) ReadAll(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		query := eventlog.AllRead{
			From:   uint64(after) + 1, // the log begins with the event at the position
			Filter: &eventlog.Filter{TypePrefixes: filter.TypePrefixes, ExcludeTypes: []string{"$"}},
		}
		for e, err := range d.log.ReadAll(ctx, query) {
			if err != nil {
				yield(eventstore.Recorded{}, directError(err))
				return
			}
			if !yield(direct(e), nil) {
				return
			}
		}
	}
}

func direct(e *eventlog.Event) eventstore.Recorded {
	return eventstore.Recorded{
		ID:       e.ID,
		Stream:   e.Stream,
		Revision: eventstore.Revision(e.Revision),
		Position: eventstore.Position(e.Position),
		Type:     e.Type,
		Created:  e.CreatedTime(),
		Data:     e.Data,
		Meta:     e.Metadata,
	}
}

// directError says which errors waiting may cure: a server that was closed, or
// stopped itself after a failed write, may be opened again; damage stays.
func directError(err error) error {
	if errors.Is(err, eventlog.ErrClosed) || errors.As(err, new(*eventlog.FailedError)) {
		return fmt.Errorf("read log: %w: %w", eventstore.ErrUnavailable, err)
	}
	return fmt.Errorf("read log: %w", err)
}
