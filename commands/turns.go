package commands

import (
	"context"
	"slices"
	"sync"
)

// turns let the commands of this process on one stream go one at a time, first
// come first served, so that they don't conflict with each other. Those of
// other processes may. Unlike with a mutex, one stops waiting when a context
// ends: a store that does not answer must not pile up callers.
type turns struct {
	mu sync.Mutex
	// queues hold those who wait, by stream. A stream has a queue, if an empty
	// one, while it is somebody's turn.
	queues map[string][]chan struct{}
}

// take waits for the turn on a stream.
func (t *turns) take(ctx context.Context, stream string) error {
	t.mu.Lock()
	queue, busy := t.queues[stream]
	if !busy {
		if t.queues == nil {
			t.queues = make(map[string][]chan struct{})
		}
		t.queues[stream] = nil
		t.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	t.queues[stream] = append(queue, mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
		t.giveUp(stream, mine)
		return ctx.Err()
	}
}

// giveUp leaves the queue, or passes on a turn that came at the same moment.
func (t *turns) giveUp(stream string, mine chan struct{}) {
	t.mu.Lock()
	queue := t.queues[stream]
	i := slices.Index(queue, mine)
	if i >= 0 {
		t.queues[stream] = slices.Delete(queue, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 {
		t.leave(stream)
	}
}

// leave passes the turn on.
func (t *turns) leave(stream string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue := t.queues[stream]
	if len(queue) == 0 {
		delete(t.queues, stream)
		return
	}
	close(queue[0])
	t.queues[stream] = queue[1:]
}
