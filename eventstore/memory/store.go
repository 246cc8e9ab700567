// Package memory is the event store port over a slice in this process. It is
// for tests: it keeps the port's promises to the letter, forgets everything at
// the end, and fails on demand (see Hook).
package memory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
)

// positionStep keeps positions from being dense, as those of a real log are
// not.
const positionStep = 64

// Store is an eventstore.Store. Several users of one Store stand for several
// processes over one log.
type Store struct {
	mu      sync.RWMutex
	log     []*eventstore.Recorded
	streams map[string][]*eventstore.Recorded
	grown   chan struct{} // closed by the next append; nil while nobody waits
	clock   func() time.Time
	hook    Hook
	calls   map[Op]int
}

var _ eventstore.Store = (*Store)(nil)

// New is an empty store.
func New() *Store {
	return &Store{streams: make(map[string][]*eventstore.Recorded), clock: time.Now, calls: make(map[Op]int)}
}

// SetClock sets what new events carry as their time of creation.
func (s *Store) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = now
}

// Append implements eventstore.Store.
func (s *Store) Append(ctx context.Context, stream string, expect eventstore.Revision, events []eventstore.Proposed) (eventstore.Receipt, error) {
	verdict := s.call(ctx, OpAppend, stream)
	if err := ended(ctx); err != nil {
		return eventstore.Receipt{}, err
	}
	if verdict == Drop {
		return eventstore.Receipt{}, dropped(OpAppend)
	}
	if err := check(stream, expect, events); err != nil {
		return eventstore.Receipt{}, err
	}
	receipt, err := s.append(stream, expect, events)
	if err == nil && verdict == LoseAnswer {
		return eventstore.Receipt{}, dropped(OpAppend)
	}
	return receipt, err
}

func (s *Store) append(stream string, expect eventstore.Revision, events []eventstore.Proposed) (eventstore.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.streams[stream]
	last := expect + eventstore.Revision(len(events))
	switch current := eventstore.Revision(len(have)) - 1; {
	case expect < current && repeats(have, expect, events):
		return eventstore.Receipt{Revision: last, Position: have[last].Position}, nil
	case expect != current:
		return eventstore.Receipt{}, &eventstore.WrongRevision{Stream: stream, Expected: expect}
	}
	now := s.clock().UTC()
	for i, e := range events {
		r := &eventstore.Recorded{
			ID: e.ID, Stream: stream, Revision: expect + 1 + eventstore.Revision(i),
			Position: eventstore.Position(len(s.log)+1) * positionStep,
			Type:     e.Type, Created: now, Data: slices.Clone(e.Data), Meta: slices.Clone(e.Meta),
		}
		s.log = append(s.log, r)
		have = append(have, r)
	}
	s.streams[stream] = have
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
	return eventstore.Receipt{Revision: last, Position: have[last].Position}, nil
}

// repeats tells whether exactly these events stand behind a revision.
func repeats(have []*eventstore.Recorded, expect eventstore.Revision, events []eventstore.Proposed) bool {
	there := have[expect+1:]
	return len(events) <= len(there) && !slices.ContainsFunc(events, func(e eventstore.Proposed) bool {
		known := there[0].ID == e.ID
		there = there[1:]
		return !known
	})
}

// check refuses what a server would refuse.
func check(stream string, expect eventstore.Revision, events []eventstore.Proposed) error {
	if reserved(stream) || expect < eventstore.NoStream || len(events) == 0 {
		return fmt.Errorf("append of %d events to %q at revision %d makes no sense", len(events), stream, expect)
	}
	size := 0
	for _, e := range events {
		if e.ID == uuid.Nil || reserved(e.Type) {
			return fmt.Errorf("append to %s: event %s of type %q", stream, e.ID, e.Type)
		}
		size += len(e.Data) + len(e.Meta) + 2*len(e.Type) // as a server counts: UTF-16 names
	}
	if size > eventstore.MaxAppendBytes || len(events) > eventstore.MaxAppendEvents {
		return fmt.Errorf("append to %s: %w: %d events, %d bytes", stream, eventstore.ErrTooLarge, len(events), size)
	}
	return nil
}

func reserved(name string) bool { return name == "" || strings.HasPrefix(name, "$") }

// Load implements eventstore.Store.
func (s *Store) Load(ctx context.Context, stream string, from eventstore.Revision) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		if err := s.read(ctx, OpLoad, stream); err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		s.mu.RLock()
		all := s.streams[stream]
		s.mu.RUnlock()
		from := min(max(from, 0), eventstore.Revision(len(all)))
		for _, r := range all[from:] {
			if !yield(*r, nil) {
				return
			}
		}
	}
}

// ReadAll implements eventstore.Store.
func (s *Store) ReadAll(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		if err := s.read(ctx, OpReadAll, ""); err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		s.mu.RLock()
		news := s.after(after)
		s.mu.RUnlock()
		for _, r := range news {
			if filter.Matches(r.Type) && !yield(*r, nil) {
				return
			}
		}
	}
}

// Follow implements eventstore.Store. A checkpoint is yielded where the end of
// the log does not match the filter, CaughtUp once.
func (s *Store) Follow(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		told, caughtUp := after, false // up to where the consumer knows
		for ctx.Err() == nil {
			news, grown := s.watch(after)
			for _, r := range news {
				after = r.Position
				if !filter.Matches(r.Type) {
					continue
				}
				event := *r
				told = r.Position
				if !yield(eventstore.Message{Event: &event, Position: told}, nil) {
					return
				}
				if ctx.Err() != nil {
					break
				}
			}
			if ctx.Err() != nil {
				break
			}
			if told < after || !caughtUp {
				now := eventstore.Message{Position: after, CaughtUp: !caughtUp}
				told, caughtUp = after, true
				if !yield(now, nil) {
					return
				}
			}
			select {
			case <-grown:
			case <-ctx.Done():
			}
		}
		yield(eventstore.Message{}, ctx.Err())
	}
}

// after is what stands behind a position. The caller holds the lock.
func (s *Store) after(p eventstore.Position) []*eventstore.Recorded {
	return s.log[sort.Search(len(s.log), func(i int) bool { return s.log[i].Position > p }):]
}

// watch is after, and a channel that is closed when there is more.
func (s *Store) watch(p eventstore.Position) ([]*eventstore.Recorded, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grown == nil {
		s.grown = make(chan struct{})
	}
	return s.after(p), s.grown
}

// Head implements eventstore.Store.
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	if err := s.read(ctx, OpHead, ""); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.log) == 0 {
		return 0, nil
	}
	return s.log[len(s.log)-1].Position, nil
}

// Ready implements eventstore.Store.
func (s *Store) Ready(ctx context.Context) error { return s.read(ctx, OpReady, "") }
