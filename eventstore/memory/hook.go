package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"docket/eventstore"
)

// Op names a method of the port.
type Op string

// The methods that a Hook sees. Follow is none of them: it rides interruptions
// out.
const (
	OpAppend  Op = "append"
	OpLoad    Op = "load"
	OpReadAll Op = "read all"
	OpHead    Op = "head"
	OpReady   Op = "ready"
)

// Call is one use of the store.
type Call struct {
	Op     Op
	N      int // counts the calls of this Op, from 1
	Stream string
}

// Verdict is what becomes of a call.
type Verdict int

const (
	// Pass lets the call be.
	Pass Verdict = iota
	// Drop fails the call with ErrUnavailable; nothing is written.
	Drop
	// LoseAnswer lets an append be written and fails it with ErrUnavailable. It
	// is Pass for an append that is refused, and Drop for everything else.
	LoseAnswer
)

// Hook is asked before each call, from the caller's goroutine and without any
// lock held: one that blocks delays the call. A call whose context ended
// meanwhile does nothing.
type Hook func(ctx context.Context, c Call) Verdict

// SetHook replaces the hook; nil removes it.
func (s *Store) SetHook(h Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = h
}

// Nth gives a verdict on the nth call of an Op from now on and lets all others
// pass.
func (s *Store) Nth(op Op, n int, v Verdict) {
	n += s.Calls()[op]
	s.SetHook(func(_ context.Context, c Call) Verdict {
		if c.Op == op && c.N == n {
			return v
		}
		return Pass
	})
}

// Delay makes a Hook under which every call takes at least d, as over a network.
func Delay(d time.Duration) Hook {
	return func(ctx context.Context, _ Call) Verdict {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		return Pass
	}
}

// Calls counts the calls made so far.
func (s *Store) Calls() map[Op]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.calls)
}

// Streams are the names of all streams, sorted.
func (s *Store) Streams() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.streams))
}

func (s *Store) call(ctx context.Context, op Op, stream string) Verdict {
	s.mu.Lock()
	s.calls[op]++
	c, hook := Call{Op: op, N: s.calls[op], Stream: stream}, s.hook
	s.mu.Unlock()
	if hook == nil {
		return Pass
	}
	return hook(ctx, c)
}

// read is the common beginning of every call that only reads.
func (s *Store) read(ctx context.Context, op Op, stream string) error {
	verdict := s.call(ctx, op, stream)
	if err := ended(ctx); err != nil {
		return err
	}
	if verdict != Pass {
		return dropped(op)
	}
	return nil
}

func dropped(op Op) error {
	return fmt.Errorf("%s: %w: by the test's wish", op, eventstore.ErrUnavailable)
}

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
	}
	return nil
}
