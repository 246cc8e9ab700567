package esdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"docket/eventstore"
)

// Append implements eventstore.Store. Whatever leaves the outcome unknown is
// repeated with the same ids and revision until the deadline.
func (s *Store) Append(ctx context.Context, stream string, expect eventstore.Revision, events []eventstore.Proposed) (eventstore.Receipt, error) {
	if s.onAppend == nil {
		return s.append(ctx, stream, expect, events)
	}
	start := time.Now()
	receipt, err := s.append(ctx, stream, expect, events)
	s.onAppend(time.Since(start), err)
	return receipt, err
}

func (s *Store) append(ctx context.Context, stream string, expect eventstore.Revision, events []eventstore.Proposed) (eventstore.Receipt, error) {
	if err := checkAppend(stream, expect, events); err != nil {
		return eventstore.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.deadlines.Append)
	defer cancel()
	position, err := s.batcher.append(ctx, s.deadlines.Append, stream, expect, events)
	switch {
	case errors.Is(err, errUndecided):
		position, err = s.appendAlone(ctx, stream, expect, events, errors.Is(err, errInDoubt))
	case err != nil && ctx.Err() != nil:
		err = unavailable(ctx, "append", err)
	}
	if err != nil {
		return eventstore.Receipt{}, err
	}
	if position == 0 {
		// A server need not say where a repeated append ended; the end of the log
		// is not before it.
		position, err = retry(ctx, s, call{what: "read end of log", limit: s.deadlines.Read, begun: true}, lastPosition)
		if err != nil {
			return eventstore.Receipt{}, err
		}
	}
	return eventstore.Receipt{Revision: expect + eventstore.Revision(len(events)), Position: position}, nil
}

// appendAlone appends by a call of its own, repeated until the outcome is known.
// begun says that the events may have been written already.
func (s *Store) appendAlone(ctx context.Context, stream string, expect eventstore.Revision, events []eventstore.Proposed, begun bool) (eventstore.Position, error) {
	data := make([]client.EventData, len(events))
	for i, e := range events {
		data[i] = client.EventData{EventID: e.ID, EventType: e.Type, ContentType: client.ContentTypeJson, Data: e.Data, Metadata: e.Meta}
	}
	options := client.AppendToStreamOptions{ExpectedRevision: expected(expect), Deadline: &s.deadlines.Append}
	return retry(ctx, s, call{what: "append", limit: s.deadlines.Append, begun: begun}, func(ctx context.Context, c *client.Client) (eventstore.Position, error) {
		written, err := c.AppendToStream(ctx, stream, options, data...)
		if err != nil {
			return 0, appendError(err, stream, expect)
		}
		return positionOf(written.CommitPosition), nil
	})
}

func expected(r eventstore.Revision) client.ExpectedRevision {
	if r == eventstore.NoStream {
		return client.NoStream{}
	}
	return client.Revision(uint64(r))
}

// positionOf reads the client's commit position, which equals the prepare
// position of everything not written in an explicit transaction. All ones mean
// unknown.
func positionOf(commit uint64) eventstore.Position {
	if commit == math.MaxUint64 {
		return 0
	}
	return eventstore.Position(commit)
}

// checkAppend refuses what the server would refuse, or take in another sense.
// The server's own refusal of large appends often arrives as a broken stream.
func checkAppend(stream string, expect eventstore.Revision, events []eventstore.Proposed) error {
	switch {
	case stream == "" || strings.HasPrefix(stream, "$"):
		return fmt.Errorf("append: stream name %q is empty or reserved", stream)
	case expect < eventstore.NoStream:
		return fmt.Errorf("append to %s: no such revision: %d", stream, expect)
	case len(events) == 0:
		return fmt.Errorf("append to %s: no events", stream)
	case len(events) > eventstore.MaxAppendEvents:
		return fmt.Errorf("append to %s: %w: %d events", stream, eventstore.ErrTooLarge, len(events))
	}
	size := 0
	for _, e := range events {
		if e.ID == uuid.Nil {
			return fmt.Errorf("append to %s: event without id", stream)
		}
		if e.Type == "" || strings.HasPrefix(e.Type, "$") {
			return fmt.Errorf("append to %s: event type %q is empty or reserved", stream, e.Type)
		}
		size += len(e.Data) + len(e.Meta) + 2*len(e.Type) // as the server counts: UTF-16 names
	}
	if size > eventstore.MaxAppendBytes {
		return fmt.Errorf("append to %s: %w: %d bytes", stream, eventstore.ErrTooLarge, size)
	}
	return nil
}
