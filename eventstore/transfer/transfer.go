// Package transfer copies the events of one EventStoreDB to another, over the client: from the embedded store to a
// cluster, and back.
//
// What is kept: the order of all events, streams and revisions, ids, types, data and metadata, streams' metadata, what is
// deleted. What is not: positions and times of recording, which each server assigns itself, and the server's own streams
// ("$...": statistics, users, persistent subscriptions).
package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// Progress hears how far in the source's log a copy or a comparison is: its positions, which are bytes on the servers
// known, and how many events were seen since it began.
type Progress func(position, end, events uint64)

// Result is what a copy did.
type Result struct {
	Resumed bool   // there was a part of a copy
	Copied  uint64 // events and streams' metadata written in this run
}

// appendTime bounds each write to the target.
const appendTime = time.Minute

// Copy brings the target up to the source as it is when the copy gets to its end. The target must be empty or hold an
// earlier copy, which is then continued behind its newest event; a copy that broke off is resumed by copying again.
// progress may be nil.
func Copy(ctx context.Context, source, target *client.Client, progress Progress) (Result, error) {
	end, err := endOf(ctx, source)
	if err != nil {
		return Result{}, fmt.Errorf("reading the end of the source: %w", err)
	}
	after, resumed, err := resumeAt(ctx, source, target)
	if err != nil {
		return Result{}, err
	}
	c := copier{target: target, result: Result{Resumed: resumed}}
	events := uint64(0)
	for r, err := range records(ctx, source, after) {
		if err != nil {
			return c.result, fmt.Errorf("reading the source: %w", err)
		}
		if err := c.add(ctx, r); err != nil {
			return c.result, err
		}
		if events++; progress != nil {
			progress(r.Position.Commit, max(end, r.Position.Commit), events)
		}
	}
	return c.result, c.flush(ctx)
}

// resumeAt is the position in the source up to which the target holds everything.
func resumeAt(ctx context.Context, source, target *client.Client) (uint64, bool, error) {
	last, err := newest(ctx, target)
	if err != nil {
		return 0, false, fmt.Errorf("reading the end of the target: %w", err)
	}
	if last == nil {
		return 0, false, nil
	}
	position, err := find(ctx, source, last)
	if err != nil {
		return 0, false, fmt.Errorf("looking for the target's newest event in the source: %w", err)
	}
	return position, true, nil
}

// find is the source's position of an event of the target.
func find(ctx context.Context, source *client.Client, want *client.RecordedEvent) (uint64, error) {
	at, err := eventAt(ctx, source, want.StreamID, want.EventNumber)
	if err != nil {
		return 0, err
	}
	if at != nil && at.EventID == want.EventID {
		return at.Position.Commit, nil
	}
	// The stream may have been cut off or deleted since; the whole log still has the event.
	for r, err := range records(ctx, source, 0) {
		if err != nil {
			return 0, err
		}
		if r.EventID == want.EventID && r.StreamID == want.StreamID && r.EventNumber == want.EventNumber {
			return r.Position.Commit, nil
		}
	}
	return 0, fmt.Errorf("it is not there: the target is no copy of the source (revision %d of stream %q)", want.EventNumber, want.StreamID)
}

// Events of one append: enough to make calls few, far from every limit.
const (
	runEvents = 500
	runBytes  = 512 << 10
)

// copier writes to the target, successive events of one stream in one append. Appends wait for each other: that alone
// keeps the order of all events whatever fails.
type copier struct {
	target *client.Client
	result Result
	run    []*client.RecordedEvent
	bytes  int
}

func (c *copier) add(ctx context.Context, r *client.RecordedEvent) error {
	if len(c.run) > 0 && (!follows(c.run[len(c.run)-1], r) || len(c.run) == runEvents || c.bytes >= runBytes) {
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	switch {
	case isMetadata(r):
		return c.metadata(ctx, r)
	case isTombstone(r):
		return c.tombstone(ctx, r)
	}
	c.run = append(c.run, r)
	c.bytes += len(r.Data) + len(r.UserMetadata) + 2*len(r.EventType)
	return nil
}

func follows(a, b *client.RecordedEvent) bool {
	return a.StreamID == b.StreamID && b.EventNumber == a.EventNumber+1
}

// flush appends the run. What is there already, from a copy that broke off, counts as written.
func (c *copier) flush(ctx context.Context) error {
	if len(c.run) == 0 {
		return nil
	}
	first, data := c.run[0], make([]client.EventData, len(c.run))
	for i, r := range c.run {
		data[i] = eventData(r)
	}
	var expected client.ExpectedRevision = client.NoStream{}
	if first.EventNumber > 0 {
		expected = client.Revision(first.EventNumber - 1)
	}
	if err := c.append(ctx, first.StreamID, expected, data...); err != nil {
		if codeOf(err) == client.ErrorCodeWrongExpectedVersion {
			return fmt.Errorf("stream %q of the target is not at the revision before %d: the target holds other events, "+
				"or the source's stream was cut off there and scavenged: %w", first.StreamID, first.EventNumber, err)
		}
		return fmt.Errorf("writing revision %d of stream %q: %w", first.EventNumber, first.StreamID, err)
	}
	c.run, c.bytes = c.run[:0], 0
	return nil
}

func (c *copier) append(ctx context.Context, stream string, expected client.ExpectedRevision, data ...client.EventData) error {
	limit := appendTime
	_, err := c.target.AppendToStream(ctx, stream, client.AppendToStreamOptions{ExpectedRevision: expected, Deadline: &limit}, data...)
	if err == nil {
		c.result.Copied += uint64(len(data))
	}
	return err
}

func eventData(r *client.RecordedEvent) client.EventData {
	kind := client.ContentTypeBinary
	if r.ContentType == "application/json" {
		kind = client.ContentTypeJson
	}
	return client.EventData{EventID: r.EventID, EventType: r.EventType, ContentType: kind, Data: r.Data, Metadata: r.UserMetadata}
}

// metadata sets a stream's metadata unless it is so already: a server writes some of it by itself, when a deleted stream
// is written again.
func (c *copier) metadata(ctx context.Context, r *client.RecordedEvent) error {
	there, err := lastOf(ctx, c.target, r.StreamID)
	switch {
	case codeOf(err) == client.ErrorCodeStreamDeleted:
		return nil // by a tombstone, from a copy that broke off behind it
	case err != nil:
		return fmt.Errorf("reading stream %q of the target: %w", r.StreamID, err)
	case there != nil && sameJSON(there.Data, r.Data):
		return nil
	}
	if err := c.append(ctx, r.StreamID, client.Any{}, eventData(r)); err != nil {
		return fmt.Errorf("writing stream %q: %w", r.StreamID, err)
	}
	return nil
}

func (c *copier) tombstone(ctx context.Context, r *client.RecordedEvent) error {
	limit := appendTime
	_, err := c.target.TombstoneStream(ctx, r.StreamID, client.TombstoneStreamOptions{ExpectedRevision: client.Any{}, Deadline: &limit})
	if err != nil && codeOf(err) != client.ErrorCodeStreamDeleted {
		return fmt.Errorf("deleting stream %q: %w", r.StreamID, err)
	}
	c.result.Copied++
	return nil
}

// codeOf is the client's code of an error. Its own FromError does not look into wrapped errors.
func codeOf(err error) client.ErrorCode {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return client.ErrorCodeUnknown
}
