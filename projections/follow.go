package projections

import (
	"context"
	"errors"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// lazyCheckpoint is how late progress without events is stored.
const lazyCheckpoint = time.Second

// follower is one subscription of a group and the writing that goes with it.
type follower struct {
	*runner
	*applier
	skips    map[uuid.UUID]bool
	items    chan item
	position eventstore.Position // in the checkpoint
	progress func()              // called after each commit
}

// follow applies events from a position on until ctx ends or something fails.
func (r *runner) follow(ctx context.Context, conn *pgx.Conn, at eventstore.Position, progress func()) error {
	skips, err := readSkips(ctx, conn, r.group.name)
	if err != nil {
		return err
	}
	if err := clearFailure(ctx, conn, r.group.name); err != nil {
		return err
	}
	work, release := outlive(ctx, finishWithin)
	defer release()
	f := &follower{runner: r, skips: skips, position: at, progress: progress, items: make(chan item, r.engine.BatchSize)}
	f.applier = &applier{sink: newSink(work, conn, r.group, liveSchema(r.group.name)), before: f.advance, done: f.committed}
	f.underWay(time.Time{})
	reading, stop := context.WithCancel(ctx)
	received := make(chan error, 1)
	go func() {
		received <- f.receive(reading)
		close(f.items)
	}()
	err = f.loop(ctx)
	stop()
	if ended := <-received; err == nil {
		err = ended
	}
	return err
}

// outlive is a context that ends some time after ctx does.
func outlive(ctx context.Context, after time.Duration) (context.Context, func()) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(after, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	return work, func() { stop(); cancel() }
}

// receive decodes events while others are being written.
func (f *follower) receive(ctx context.Context) error {
	for m, err := range f.engine.Store.Follow(ctx, f.position, f.group.filter) {
		if err != nil {
			return err
		}
		it := item{position: m.Position, last: true}
		if m.Event != nil && !f.skips[m.Event.ID] {
			it = newItem(f.group, f.engine.Codec, m.Event)
		}
		it.caughtUp = m.CaughtUp
		select {
		case f.items <- it:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("the subscription ended")
}

// loop applies what arrives. It returns nil when the subscription ended.
func (f *follower) loop(ctx context.Context) error {
	lazy := time.NewTimer(lazyCheckpoint)
	lazy.Stop()
	defer lazy.Stop()
	seen := f.position // ahead of f.position by events of no concern
	for {
		select {
		case <-ctx.Done():
			return f.moveTo(seen)
		case <-lazy.C:
			if err := f.moveTo(seen); err != nil {
				return err
			}
		case <-f.wake:
			return errFenced // a rebuild was swapped in
		case it, open := <-f.items:
			if !open {
				return f.moveTo(seen)
			}
			batch, to, caughtUp := f.drain(it)
			if len(batch) > 0 {
				f.underWay(batch[0].rec.Created)
				if err := f.process(batch, to); err != nil {
					return err
				}
			} else if to > seen && seen == f.position {
				lazy.Reset(lazyCheckpoint)
			}
			seen = max(seen, to)
			f.gate.advance(seen)
			f.settled(caughtUp)
		}
	}
}

// committed takes note of a batch.
func (f *follower) committed(c commit) {
	f.position = c.to
	f.gate.advance(c.to)
	f.progress()
	f.engine.Metrics.BatchCommitted(f.group.name, len(c.items), c.rows, c.took, c.items[len(c.items)-1].rec.Created)
}

// settled updates what Status tells after a batch.
func (f *follower) settled(caughtUp bool) {
	if len(f.items) == 0 {
		f.underWay(time.Time{})
	}
	if caughtUp {
		f.enter(Live)
	}
}

// moveTo stores progress without events.
func (f *follower) moveTo(to eventstore.Position) error {
	if to <= f.position {
		return nil
	}
	b := &pgx.Batch{}
	f.advance(b, to)
	if err := f.sink.conn.SendBatch(f.sink.ctx, b).Close(); err != nil {
		if fenced(err) {
			return errFenced
		}
		return err
	}
	f.position = to
	f.progress()
	return nil
}

// drain takes what has arrived, up to the batch size but never part of an
// append. It returns the events of concern and the position after all of them.
func (f *follower) drain(first item) (batch []item, to eventstore.Position, caughtUp bool) {
	last := &first
	add := func(it item) {
		to, caughtUp = it.position, caughtUp || it.caughtUp
		if it.handled() {
			batch = append(batch, it)
		}
	}
	add(first)
	for n := 1; ; n++ {
		var it item
		open := false
		if n < f.engine.BatchSize {
			select {
			case it, open = <-f.items:
			default:
			}
		}
		if !open && !last.last && n < f.engine.BatchSize+eventstore.MaxAppendEvents {
			it, open = f.next()
		}
		if !open {
			return batch, to, caughtUp
		}
		last = &it
		add(it)
	}
}

// next waits a little for an item.
func (f *follower) next() (item, bool) {
	timer := time.NewTimer(f.engine.appendRest)
	defer timer.Stop()
	select {
	case it, open := <-f.items:
		return it, open
	case <-timer.C:
		return item{}, false
	}
}

func (f *follower) advance(b *pgx.Batch, to eventstore.Position) {
	b.Queue("select docket_projections.advance($1, $2, $3, $4)", f.group.name, f.group.version, f.position, to)
}
