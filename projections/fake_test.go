package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"docket/domain"
	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// memoryStore is an event store in memory, with positions that are not dense.
type memoryStore struct {
	mu      sync.Mutex
	events  []eventstore.Recorded
	streams map[string]int
	grown   chan struct{}
	broken  bool
}

func newMemoryStore() *memoryStore {
	return &memoryStore{streams: map[string]int{}, grown: make(chan struct{})}
}

func (s *memoryStore) Append(_ context.Context, stream string, expect eventstore.Revision, events []eventstore.Proposed) (eventstore.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := eventstore.Revision(s.streams[stream]) - 1; have != expect {
		return eventstore.Receipt{}, &eventstore.WrongRevision{Stream: stream, Expected: expect}
	}
	for _, p := range events {
		s.events = append(s.events, eventstore.Recorded{ID: p.ID, Stream: stream, Revision: eventstore.Revision(s.streams[stream]),
			Position: eventstore.Position(len(s.events)*7 + 7), Type: p.Type, Created: time.Now(), Data: p.Data, Meta: p.Meta})
		s.streams[stream]++
	}
	close(s.grown)
	s.grown = make(chan struct{})
	last := s.events[len(s.events)-1]
	return eventstore.Receipt{Revision: last.Revision, Position: last.Position}, nil
}

func (s *memoryStore) Load(context.Context, string, eventstore.Revision) iter.Seq2[eventstore.Recorded, error] {
	panic("projections do not load streams")
}

// after returns the events after a position, and what tells of more.
func (s *memoryStore) after(position eventstore.Position) ([]eventstore.Recorded, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[min(int(position/7), len(s.events)):], s.grown
}

func (s *memoryStore) ReadAll(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		if err := s.Ready(ctx); err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		events, _ := s.after(after)
		for _, r := range events {
			if filter.Matches(r.Type) && !yield(r, nil) {
				return
			}
		}
	}
}

func (s *memoryStore) Follow(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		for at := after; ; {
			events, grown := s.after(at)
			var unmatched bool
			for i := range events {
				r := events[i]
				at = r.Position
				if unmatched = !filter.Matches(r.Type); unmatched {
					continue
				}
				if !yield(eventstore.Message{Event: &r, Position: at}, nil) {
					return
				}
			}
			if !yield(eventstore.Message{Position: at, CaughtUp: true}, nil) {
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
				yield(eventstore.Message{}, ctx.Err())
				return
			}
		}
	}
}

func (s *memoryStore) Head(context.Context) (eventstore.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return eventstore.Position(len(s.events) * 7), nil
}

func (s *memoryStore) Ready(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return fmt.Errorf("test: %w", eventstore.ErrUnavailable)
	}
	return nil
}

var _ eventstore.Store = (*memoryStore)(nil)

// log appends events for tests.
type log struct {
	*memoryStore
	t     testing.TB
	codec *eventstore.Codec
}

// append writes the events of one aggregate as one append and returns the
// position of the last.
func (l *log) append(id uuid.UUID, events ...domain.Event) eventstore.Position {
	l.t.Helper()
	stream := "test-" + id.String()
	proposed := make([]eventstore.Proposed, len(events))
	for i, e := range events {
		data, err := l.codec.Encode(e)
		require.NoError(l.t, err)
		meta, err := json.Marshal(eventstore.Metadata{Actor: actor, Schema: 1, Index: i, Count: len(events)})
		require.NoError(l.t, err)
		proposed[i] = eventstore.Proposed{ID: uuid.New(), Type: e.EventType(), Data: data, Meta: meta}
	}
	l.mu.Lock()
	expect := eventstore.Revision(l.streams[stream]) - 1
	l.mu.Unlock()
	receipt, err := l.Append(context.Background(), stream, expect, proposed)
	if err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
		l.t.Fatal(err)
	}
	return receipt.Position
}

var actor = uuid.MustParse("0191f5a0-0000-7000-8000-00000000000a")
