package blob

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// InUse tells which of some names something refers to.
type InUse func(ctx context.Context, sha256 []string) (map[string]bool, error)

// Collected says what a Collect did.
type Collected struct {
	Seen    int   // contents looked at
	Removed int   // contents removed
	Bytes   int64 // size of what was removed
}

// batch is how many names are asked about at a time.
const batch = 500

// sweeper is a store that may have leftovers of interrupted work.
type sweeper interface {
	sweep(ctx context.Context, before time.Time) error
}

func (l *limited) sweep(ctx context.Context, before time.Time) error {
	if s, ok := l.Store.(sweeper); ok {
		return s.sweep(ctx, before)
	}
	return nil
}

// Collect removes what nothing refers to and was last put longer than grace ago,
// and what interrupted work left behind. The grace has to cover the time from a Put
// until inUse knows of it, and how far the clocks of this machine and of the store
// are apart; an hour is plenty. A content that cannot be removed does not keep the others.
func Collect(ctx context.Context, store Store, inUse InUse, grace time.Duration) (Collected, error) {
	c := collector{store: store, inUse: inUse, before: time.Now().Add(-grace)}
	err := store.List(ctx, func(e Entry) error {
		c.done.Seen++
		if !e.Put.Before(c.before) {
			return nil
		}
		c.old = append(c.old, e.Ref)
		if len(c.old) < batch {
			return nil
		}
		return c.flush(ctx)
	})
	if err == nil {
		err = c.flush(ctx)
	}
	if s, ok := store.(sweeper); ok && err == nil {
		err = s.sweep(ctx, time.Now().Add(-max(grace, stale)))
	}
	if c.failures > 0 {
		err = errors.Join(err, fmt.Errorf("blob: %d contents could not be removed, the first because of: %w", c.failures, c.first))
	}
	return c.done, err
}

type collector struct {
	store    Store
	inUse    InUse
	before   time.Time
	old      []Ref
	done     Collected
	failures int
	first    error
}

// flush removes those of the old contents that are not in use. A content that is
// put again after inUse was asked is left alone by DeleteBefore.
func (c *collector) flush(ctx context.Context) error {
	if len(c.old) == 0 {
		return nil
	}
	names := make([]string, len(c.old))
	for i, ref := range c.old {
		names[i] = ref.SHA256
	}
	used, err := c.inUse(ctx, names)
	if err != nil {
		return fmt.Errorf("blob: what is in use: %w", err)
	}
	for _, ref := range c.old {
		if used[ref.SHA256] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		c.remove(ctx, ref)
	}
	c.old = c.old[:0]
	return nil
}

func (c *collector) remove(ctx context.Context, ref Ref) {
	removed, err := c.store.DeleteBefore(ctx, ref.SHA256, c.before)
	switch {
	case err != nil:
		if c.failures++; c.first == nil {
			c.first = err
		}
	case removed:
		c.done.Removed++
		c.done.Bytes += ref.Size
	}
}
