package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"docket/eventstore/embedded/eventlog"
)

// What a group keeps in the log: its checkpoints, and the events it has laid aside.

// park lays events aside, as links in a stream of the group.
func (g *group) park(items []*item, reason string) {
	for _, i := range items {
		p := g.owner.write(g.key.parkedStream(), eventlog.TypeLink, fmt.Sprintf("%d@%s", i.origin.Revision, i.origin.Stream),
			map[string]any{"reason": reason, "added": time.Now().UTC()})
		g.mu.Lock()
		if p != nil {
			g.retry = append(g.retry, i) // it is not lost
		} else {
			g.finish(i)
		}
		g.dispatch()
		g.mu.Unlock()
	}
}

// keeper takes back events that were not acknowledged in time and writes checkpoints.
func (g *group) keeper(ctx context.Context, tick time.Duration) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.save:
			g.checkpoint()
		case now := <-t.C:
			g.park(g.expire(now), "not acknowledged in time, too often")
			if g.due(now) {
				g.checkpoint()
			}
		}
	}
}

// expire takes back what was not acknowledged in time and returns what is to be parked.
func (g *group) expire(now time.Time) (park []*item) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var late []*item
	for _, c := range g.consumers {
		for id, f := range c.inFlight {
			if !f.deadline.IsZero() && f.deadline.Before(now) {
				delete(c.inFlight, id)
				c.queue = slices.DeleteFunc(c.queue, func(i *item) bool { return i == f.item })
				late = append(late, f.item)
			}
		}
	}
	slices.SortFunc(late, asRead)
	for _, i := range late {
		if !g.again(i) {
			park = append(park, i)
		}
	}
	g.dispatch()
	return park
}

// due says whether a checkpoint should be written by now.
func (g *group) due(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	after := time.Duration(g.config.CheckpointAfter) * time.Millisecond
	return g.unsaved >= max(g.config.MinCheckpointCount, 1) && now.Sub(g.savedAt) >= after
}

// checkpoint writes down how far everything is finished.
func (g *group) checkpoint() {
	g.saving.Lock()
	defer g.saving.Unlock()
	g.mu.Lock()
	at, n, ended := g.finished, g.unsaved, g.ended
	g.unsaved, g.savedAt = 0, time.Now()
	g.mu.Unlock()
	if n == 0 || ended {
		return
	}
	p := g.owner.write(g.key.checkpointStream(), "$SubscriptionCheckpoint", at, nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	if p != nil {
		g.unsaved += n
		return
	}
	g.saved, g.hasSaved = at, true
}

// replay brings back the parked events before a revision of the stream they lie in.
func (g *group) replay(ctx context.Context, stopAt int64) *problem {
	s := g.owner
	items, next, err := g.parked(ctx, stopAt)
	if err != nil {
		return s.server.explain(ctx, err)
	}
	if next < 0 {
		return nil
	}
	if p := s.write(eventlog.MetadataStream(g.key.parkedStream()), eventlog.TypeMetadata, map[string]int64{"$tb": next}, nil); p != nil {
		return p
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range items {
		i.number = g.number
		g.number++
	}
	g.retry = append(g.retry, items...)
	g.dispatch()
	return nil
}

// parked reads what was laid aside; next is the revision behind it, -1 when there is nothing.
func (g *group) parked(ctx context.Context, stopAt int64) (items []*item, next int64, err error) {
	next = -1
	for e, err := range g.owner.log.ReadStream(ctx, g.key.parkedStream(), eventlog.StreamRead{}) {
		var missing *eventlog.StreamNotFoundError
		if errors.As(err, &missing) {
			return nil, -1, nil
		}
		if err != nil {
			return nil, -1, err
		}
		if e.Revision >= stopAt {
			break
		}
		next = e.Revision + 1
		target, err := resolve(g.owner.log, e)
		if err != nil {
			return nil, -1, err
		}
		if target != nil {
			items = append(items, &item{origin: target, event: target, link: e, replayed: true})
		}
	}
	return items, next, nil
}
