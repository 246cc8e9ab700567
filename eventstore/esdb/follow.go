package esdb

import (
	"context"
	"errors"
	"iter"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"docket/eventstore"
)

// A filtered subscription reports a checkpoint after searchWindow times
// checkpointEvery events. The client's default of 32 times 1 would send more
// checkpoints than events through a sparse filter.
const (
	searchWindow    = 4096
	checkpointEvery = 1
)

// errStopped says that the consumer of a follower left.
var errStopped = errors.New("consumer stopped")

// Follow implements eventstore.Store. A subscription that drops is opened anew
// behind the last message.
func (s *Store) Follow(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		f := follower{store: s, filter: filter, options: subscription(filter), last: after, yield: yield}
		var pause pauses
		for {
			before := f.last
			err := f.subscription(ctx)
			switch {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				yield(eventstore.Message{}, ctx.Err())
				return
			case errors.Is(err, errClosed):
				yield(eventstore.Message{}, errClosed)
				return
			}
			if f.last != before {
				pause.reset()
			}
			s.logger.Warn("event store: subscription dropped, opening it anew", "after", f.last, "error", err)
			pause.wait(ctx, s.supervisor.closed) // what ended it is seen by the next attempt
		}
	}
}

type follower struct {
	store   *Store
	filter  eventstore.Filter
	options client.SubscribeToAllOptions
	last    eventstore.Position // everything up to here was yielded
	yield   func(eventstore.Message, error) bool
}

func subscription(filter eventstore.Filter) client.SubscribeToAllOptions {
	options := client.SubscribeToAllOptions{
		MaxSearchWindow:    searchWindow,
		CheckpointInterval: checkpointEvery,
		Filter:             client.ExcludeSystemEventsFilter(),
	}
	for _, p := range filter.TypePrefixes {
		if p == "" {
			return options // selects everything
		}
	}
	if len(filter.TypePrefixes) > 0 {
		options.Filter = &client.SubscriptionFilter{Type: client.EventFilterType, Prefixes: filter.TypePrefixes}
	}
	return options
}

// subscription yields messages until the subscription drops.
func (f *follower) subscription(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // ends the subscription, also one that opens too late
	defer cancel()
	sub, err := f.subscribe(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }() // it ends either way
	for {
		m := sub.Recv()
		if m.SubscriptionDropped != nil {
			return m.SubscriptionDropped.Error
		}
		if !f.handle(m) {
			return errStopped
		}
	}
}

func (f *follower) subscribe(ctx context.Context) (*client.Subscription, error) {
	options := f.options
	options.From = fromPosition(f.last)
	bounded, cancel := context.WithTimeout(ctx, f.store.deadlines.Read)
	defer cancel()
	return do(bounded, f.store.supervisor, true, func(_ context.Context, c *client.Client) (*client.Subscription, error) {
		return c.SubscribeToAll(ctx, options)
	})
}

// handle yields what a message of the server means. A position that was passed
// already says nothing new.
func (f *follower) handle(m *client.SubscriptionEvent) bool {
	switch {
	case m.EventAppeared != nil:
		e := recorded(m.EventAppeared.Event)
		if e.Position <= f.last {
			return true
		}
		f.last = e.Position
		if !f.filter.Matches(e.Type) {
			return true
		}
		return f.yield(eventstore.Message{Event: &e, Position: e.Position}, nil)
	case m.CheckPointReached != nil:
		p := positionOf(m.CheckPointReached.Commit)
		if p <= f.last {
			return true
		}
		f.last = p
		return f.yield(eventstore.Message{Position: p}, nil)
	case m.CaughtUp != nil:
		return f.yield(eventstore.Message{Position: f.last, CaughtUp: true}, nil)
	}
	return true
}
