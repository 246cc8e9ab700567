package eventlog

import (
	"context"
	"errors"
)

// Delivery is what a cursor has next, in this order.
type Delivery struct {
	Events     []*Event
	Checkpoint uint64 // position up to which everything was considered; 0 for none
	CaughtUp   bool   // everything written so far has been delivered; from now on events come as they are written
}

// AllFollow says what a cursor on the whole log delivers.
type AllFollow struct {
	After  uint64 // deliver what follows this position: 0 everything, End only what is new
	Filter *Filter
	// CheckpointEvery asks for a checkpoint each time this many events were considered and when the cursor has caught up.
	// 0 means none.
	CheckpointEvery int
}

// AllCursor follows the whole log. It holds no resources: forget it when done. It is not safe for concurrent use.
type AllCursor struct {
	log        *Log
	q          AllFollow
	after      uint64
	considered int    // since the last checkpoint
	checkpoint uint64 // last one delivered
	live       bool
}

// FollowAll returns a cursor that delivers events in $all order as they become durable.
func (l *Log) FollowAll(q AllFollow) *AllCursor {
	c := &AllCursor{log: l, q: q, after: q.After}
	if q.After == End {
		c.after = l.last.Load()
	}
	return c
}

// Position is the position up to which everything was considered.
func (c *AllCursor) Position() uint64 { return c.after }

// Next waits for the next delivery. It ends with ctx, with ErrClosed and with the log's failure.
func (c *AllCursor) Next(ctx context.Context) (Delivery, error) {
	for {
		wake := c.log.wake.anything() // before reading, so that nothing is missed in between
		d, any, err := c.step(ctx)
		if err != nil || len(d.Events) > 0 || d.Checkpoint != 0 || d.CaughtUp {
			return d, err
		}
		if any {
			continue // nothing matched so far, but there may be more
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

// step reads one chunk. any reports whether it considered anything.
func (c *AllCursor) step(ctx context.Context) (d Delivery, any bool, err error) {
	if err := ctx.Err(); err != nil {
		return d, false, err
	}
	l := c.log
	if err := l.enter(); err != nil {
		return d, false, err
	}
	defer l.leave()
	if c.live && !l.ring.reaches(c.after) {
		c.live = false // so slow that it reads old events again, and then catches up again
	}
	scan := chunkEvents
	if n := c.q.CheckpointEvery; n > 0 {
		scan = min(scan, n-c.considered)
	}
	ch, err := l.forward(c.after, l.end(), c.q.Filter, scan, chunkEvents)
	d.Events, c.after = ch.events, ch.last
	c.considered += ch.considered
	if err != nil {
		return d, false, err
	}
	if n := c.q.CheckpointEvery; n > 0 && c.considered >= n {
		c.checkpoint, c.considered = c.after, 0
		d.Checkpoint = c.after
	}
	if !ch.more && !c.live {
		c.live, d.CaughtUp = true, true
		if c.q.CheckpointEvery > 0 && c.after != c.checkpoint {
			c.checkpoint, c.considered = c.after, 0
			d.Checkpoint = c.after
		}
	}
	return d, ch.considered > 0, nil
}

// StreamCursor follows one stream. It is not safe for concurrent use. Close it.
type StreamCursor struct {
	log     *Log
	stream  string
	after   int64  // revision delivered last, -1 for none
	scanned uint64 // position up to which the log holds nothing more for it
	indexed bool   // the stream's index has been read up to scanned
	live    bool
	deleted bool
	closed  bool
}

// FollowStream returns a cursor that delivers what follows a revision: -1 everything, FromEnd only what is new. The
// stream need not exist yet. A tombstone ends it with a *StreamDeletedError.
func (l *Log) FollowStream(stream string, after int64) (*StreamCursor, error) {
	if err := ValidateStreamName(stream); err != nil {
		return nil, err
	}
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	c := &StreamCursor{log: l, stream: stream, after: after}
	if after == FromEnd {
		// The end is taken first: an event published meanwhile is then delivered, not skipped.
		c.scanned, c.indexed = l.last.Load(), true
		base, isMeta := splitMeta(stream)
		st, err := l.loadState(base, c.scanned+1)
		if err != nil {
			return nil, err
		}
		if st.tombstoned() {
			return nil, &StreamDeletedError{Stream: stream}
		}
		c.after = st.last
		if isMeta {
			c.after = st.metaLast
		}
	}
	l.wake.register(stream)
	return c, nil
}

// Close forgets the cursor.
func (c *StreamCursor) Close() {
	if !c.closed {
		c.closed = true
		c.log.wake.unregister(c.stream)
	}
}

// Revision is the revision delivered last, -1 for none.
func (c *StreamCursor) Revision() int64 { return c.after }

// Next waits for the next delivery. It ends with ctx, with ErrClosed, with the log's failure and with a tombstone.
func (c *StreamCursor) Next(ctx context.Context) (Delivery, error) {
	for {
		wake := c.log.wake.stream(c.stream) // before reading, so that nothing is missed in between
		d, err := c.step(ctx)
		if err != nil || len(d.Events) > 0 || d.CaughtUp {
			return d, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

func (c *StreamCursor) step(ctx context.Context) (Delivery, error) {
	var d Delivery
	if err := ctx.Err(); err != nil {
		return d, err
	}
	l := c.log
	if err := l.enter(); err != nil {
		return d, err
	}
	defer l.leave()
	caughtUp, err := true, error(nil)
	if c.indexed {
		c.indexed, err = c.recent(&d)
	}
	if !c.indexed && err == nil {
		c.live = false
		caughtUp, err = c.catchUp(&d)
		c.indexed = caughtUp
	}
	if err != nil {
		return d, err
	}
	if caughtUp && !c.live {
		c.live, d.CaughtUp = true, true
	}
	return d, nil
}

// recent takes what is new from the ring. It reports false when the ring does not reach back far enough.
func (c *StreamCursor) recent(d *Delivery) (bool, error) {
	end := c.log.end()
	events, ok := c.log.ring.streamAfter(c.stream, c.scanned, end)
	if !ok {
		return false, nil
	}
	c.scanned = max(c.scanned, end-1)
	for _, e := range events {
		if e.Revision == Tombstoned {
			c.deleted = true
		} else if e.Revision > c.after {
			d.Events = append(d.Events, e)
			c.after = e.Revision
		}
	}
	if c.deleted && len(d.Events) == 0 {
		return true, &StreamDeletedError{Stream: c.stream}
	}
	return true, nil
}

// catchUp reads the next events from the stream's index and reports whether there are no more.
func (c *StreamCursor) catchUp(d *Delivery) (bool, error) {
	v, err := c.log.view(c.stream)
	var missing *StreamNotFoundError
	switch {
	case errors.As(err, &missing):
		v.low, v.high = 0, -1
	case err != nil:
		return false, err
	default:
		v.low = max(v.low, c.after+1)
	}
	if v.low <= v.high {
		if d.Events, err = c.log.narrow(&v, false, chunkEvents); err != nil {
			return false, err
		}
	}
	if n := len(d.Events); n > 0 {
		c.after = d.Events[n-1].Revision
	}
	if v.low <= v.high {
		return false, nil
	}
	c.scanned = v.end - 1
	return true, nil
}
