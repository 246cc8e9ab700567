package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"reflect"
	"strings"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

const (
	tombstoneType  = "$streamDeleted"
	metadataPrefix = "$$"
)

func isTombstone(r *client.RecordedEvent) bool { return r.EventType == tombstoneType }

func isMetadata(r *client.RecordedEvent) bool { return strings.HasPrefix(r.StreamID, metadataPrefix) }

// carried says whether an event belongs to what is copied.
func carried(r *client.RecordedEvent) bool {
	return !strings.HasPrefix(strings.TrimPrefix(r.StreamID, metadataPrefix), "$")
}

// records yields what is to be copied behind a position, in order, up to the end of the log.
func records(ctx context.Context, c *client.Client, after uint64) iter.Seq2[*client.RecordedEvent, error] {
	return func(yield func(*client.RecordedEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r, err := c.ReadAll(ctx, client.ReadAllOptions{From: position(after)}, math.MaxInt64)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.Close()
		for {
			e, err := r.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			// A read begins with the event at the position.
			if at := e.OriginalEvent(); at.Position.Commit > after && carried(at) && !yield(at, nil) {
				return
			}
		}
	}
}

// position is where to read from. Nil would mean the end.
func position(p uint64) client.AllPosition {
	if p == 0 {
		return client.Start{}
	}
	return client.Position{Commit: p, Prepare: p}
}

// one reads the first event of a read that suits, nil when there is none.
func one(r *client.ReadStream, err error, suits func(*client.RecordedEvent) bool) (*client.RecordedEvent, error) {
	if err == nil {
		defer r.Close()
	}
	for err == nil {
		var e *client.ResolvedEvent
		if e, err = r.Recv(); err == nil && suits(e.OriginalEvent()) {
			return e.OriginalEvent(), nil
		}
	}
	if errors.Is(err, io.EOF) || codeOf(err) == client.ErrorCodeResourceNotFound {
		return nil, nil
	}
	return nil, err
}

func whatever(*client.RecordedEvent) bool { return true }

// endOf is the position of the newest event of all.
func endOf(ctx context.Context, c *client.Client) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.ReadAll(ctx, client.ReadAllOptions{Direction: client.Backwards, From: client.End{}}, 1)
	e, err := one(r, err, whatever)
	if e == nil {
		return 0, err
	}
	return e.Position.Commit, nil
}

// newest is the last event that is in the order compared.
func newest(ctx context.Context, c *client.Client) (*client.RecordedEvent, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the read, which has more
	defer cancel()
	r, err := c.ReadAll(ctx, client.ReadAllOptions{Direction: client.Backwards, From: client.End{}}, math.MaxInt64)
	return one(r, err, func(e *client.RecordedEvent) bool { return carried(e) && !isMetadata(e) && !isTombstone(e) })
}

// eventAt is a revision of a stream, nil when it cannot be read.
func eventAt(ctx context.Context, c *client.Client, stream string, revision uint64) (*client.RecordedEvent, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.ReadStream(ctx, stream, client.ReadStreamOptions{From: client.Revision(revision)}, 1)
	e, err := one(r, err, whatever)
	if codeOf(err) == client.ErrorCodeStreamDeleted {
		return nil, nil
	}
	return e, err
}

// lastOf is the newest event of a stream, nil when there is none.
func lastOf(ctx context.Context, c *client.Client, stream string) (*client.RecordedEvent, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.ReadStream(ctx, stream, client.ReadStreamOptions{Direction: client.Backwards, From: client.End{}}, 1)
	return one(r, err, whatever)
}

// sameJSON says whether two documents mean the same.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// decode keeps numbers as written: $tb exceeds what a float holds.
func decode(b []byte) (v map[string]interface{}, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}
