package memory_test

import (
	"context"
	"testing"
	"time"

	"docket/eventstore"
	"docket/eventstore/contract"
	"docket/eventstore/memory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestContract(t *testing.T) {
	contract.Run(t, func(*testing.T) eventstore.Store { return memory.New() }, contract.Options{})
}

func event() []eventstore.Proposed {
	return []eventstore.Proposed{{ID: uuid.New(), Type: "made", Data: []byte(`{}`)}}
}

func TestHookDropsAndLosesAnswers(t *testing.T) {
	s, ctx := memory.New(), context.Background()
	s.Nth(memory.OpAppend, 1, memory.Drop)
	first := event()
	_, err := s.Append(ctx, "a", eventstore.NoStream, first)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.Empty(t, s.Streams())

	s.Nth(memory.OpAppend, 1, memory.LoseAnswer)
	_, err = s.Append(ctx, "a", eventstore.NoStream, first)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.Equal(t, []string{"a"}, s.Streams())

	receipt, err := s.Append(ctx, "a", eventstore.NoStream, first)
	require.NoError(t, err)
	require.Equal(t, eventstore.Revision(0), receipt.Revision)
	require.Equal(t, 3, s.Calls()[memory.OpAppend])

	s.Nth(memory.OpLoad, 1, memory.Drop)
	for _, err := range s.Load(ctx, "a", 0) {
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
	}
	// A refusal is an answer that stays.
	s.Nth(memory.OpAppend, 1, memory.LoseAnswer)
	_, err = s.Append(ctx, "a", 7, event())
	require.ErrorAs(t, err, new(*eventstore.WrongRevision))
}

func TestHookDelaysUntilTheContextEnds(t *testing.T) {
	s := memory.New()
	s.SetHook(memory.Delay(time.Hour))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Append(ctx, "a", eventstore.NoStream, event())
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, s.Streams())
	s.SetHook(memory.Delay(time.Microsecond))
	_, err = s.Append(context.Background(), "a", eventstore.NoStream, event())
	require.NoError(t, err)
}

func TestLiveCheckpointsAndClock(t *testing.T) {
	s := memory.New()
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	s.SetClock(func() time.Time { return at })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := make(chan eventstore.Message)
	go func() {
		defer close(seen)
		for m, err := range s.Follow(ctx, 0, eventstore.Filter{TypePrefixes: []string{"other"}}) {
			if err != nil {
				return
			}
			seen <- m
		}
	}()
	require.Equal(t, eventstore.Message{CaughtUp: true}, <-seen)
	receipt, err := s.Append(ctx, "a", eventstore.NoStream, event())
	require.NoError(t, err)
	require.Equal(t, eventstore.Message{Position: receipt.Position}, <-seen)
	for r, err := range s.Load(ctx, "a", 0) {
		require.NoError(t, err)
		require.Equal(t, at, r.Created)
	}
	cancel()
	for range seen {
	}
}
