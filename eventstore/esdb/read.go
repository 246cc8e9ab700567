package esdb

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"docket/eventstore"
)

// A page is read whole before it is handed on: a slow consumer keeps no read
// open on the server, and a broken read is simply repeated.
const (
	streamPageEvents = 500
	allPageEvents    = 1000
	pageBytes        = 4 << 20 // a page ends early when it holds this much
)

type page struct {
	events []eventstore.Recorded
	end    bool // nothing follows
}

// Load implements eventstore.Store.
func (s *Store) Load(ctx context.Context, stream string, from eventstore.Revision) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		next, load := max(from, 0), call{what: "load", limit: s.deadlines.Read}
		for ; ; load.begun = true {
			p, err := retry(ctx, s, load, func(ctx context.Context, c *client.Client) (page, error) {
				options := client.ReadStreamOptions{From: client.Revision(uint64(next))}
				r, err := c.ReadStream(ctx, stream, options, streamPageEvents)
				return readPage(r, err, streamPageEvents)
			})
			if err != nil {
				yield(eventstore.Recorded{}, err)
				return
			}
			for _, e := range p.events {
				if !yield(e, nil) {
					return
				}
				next = e.Revision + 1
			}
			if p.end {
				return
			}
		}
	}
}

// ReadAll implements eventstore.Store.
func (s *Store) ReadAll(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Recorded, error] {
	if s.log != nil {
		return s.log.ReadAll(ctx, after, filter)
	}
	return s.readAll(ctx, after, filter)
}

// readAll filters here, since the client has no filter for reads.
func (s *Store) readAll(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for read := (call{what: "read log", limit: s.deadlines.Read}); ; read.begun = true {
			p, err := retry(ctx, s, read, func(ctx context.Context, c *client.Client) (page, error) {
				r, err := c.ReadAll(ctx, client.ReadAllOptions{From: fromPosition(after)}, allPageEvents)
				return readPage(r, err, allPageEvents)
			})
			if err != nil {
				yield(eventstore.Recorded{}, err)
				return
			}
			for _, e := range p.events {
				if e.Position <= after {
					continue // a read begins with the event at the position
				}
				after = e.Position
				if filter.Matches(e.Type) && !yield(e, nil) {
					return
				}
			}
			if p.end {
				return
			}
		}
	}
}

// fromPosition must never be nil, which the client takes for the end.
func fromPosition(p eventstore.Position) client.AllPosition {
	if p == 0 {
		return client.Start{}
	}
	return client.Position{Commit: uint64(p), Prepare: uint64(p)}
}

// readPage takes what the client's read methods return and closes it: an
// unclosed read leaks, even one that failed.
func readPage(r *client.ReadStream, err error, count int) (page, error) {
	if err != nil {
		return page{}, err
	}
	defer r.Close()
	var p page
	for size := 0; size < pageBytes; {
		e, err := r.Recv()
		if errors.Is(err, io.EOF) {
			p.end = len(p.events) < count
			return p, nil
		}
		if codeOf(err) == client.ErrorCodeResourceNotFound {
			return page{end: true}, nil
		}
		if err != nil {
			return page{}, err
		}
		p.events = append(p.events, recorded(e.Event))
		size += len(e.Event.Data) + len(e.Event.UserMetadata)
	}
	return p, nil
}

func recorded(e *client.RecordedEvent) eventstore.Recorded {
	return eventstore.Recorded{
		ID:       e.EventID,
		Stream:   e.StreamID,
		Revision: revisionOf(e.EventNumber),
		Position: positionOf(e.Position.Commit),
		Type:     e.EventType,
		Created:  e.CreatedDate,
		Data:     e.Data,
		Meta:     e.UserMetadata,
	}
}

// revisionOf reads an event number, which the server keeps as a signed one.
func revisionOf(n uint64) eventstore.Revision {
	return eventstore.Revision(min(n, math.MaxInt64))
}

// lastPosition reads the position of the newest event.
func lastPosition(ctx context.Context, c *client.Client) (eventstore.Position, error) {
	r, err := c.ReadAll(ctx, client.ReadAllOptions{Direction: client.Backwards, From: client.End{}}, 1)
	p, err := readPage(r, err, 1)
	if err != nil || len(p.events) == 0 {
		return 0, err
	}
	return p.events[0].Position, nil
}
