package esdb

import (
	"context"
	"time"
)

// AwaitBatch waits until appends share one call.
func AwaitBatch(ctx context.Context, s *Store) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.batcher.call.Load() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
