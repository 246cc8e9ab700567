package query

import (
	"sync"
	"time"
)

// cache is a small map with a bound on its size and on the age of its entries.
// It runs no goroutine, which keeps a Reader free of things to close.
type cache[V any] struct {
	mu      sync.Mutex
	limit   int
	age     time.Duration
	now     func() time.Time
	entries map[string]cached[V]
}

type cached[V any] struct {
	value V
	until time.Time
}

func newCache[V any](limit int, age time.Duration) *cache[V] {
	return &cache[V]{limit: limit, age: age, now: time.Now, entries: map[string]cached[V]{}}
}

func (c *cache[V]) get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if ok && c.now().After(e.until) {
		delete(c.entries, key)
		ok = false
	}
	if !ok {
		var none V
		return none, false
	}
	return e.value, true
}

func (c *cache[V]) put(key string, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.entries[key]; !known && len(c.entries) >= c.limit {
		c.evict()
	}
	c.entries[key] = cached[V]{value, c.now().Add(c.age)}
}

// evict drops what has expired, or else any quarter: old versions make up most
// of a full cache.
func (c *cache[V]) evict() {
	now := c.now()
	for key, e := range c.entries {
		if now.After(e.until) {
			delete(c.entries, key)
		}
	}
	for key := range c.entries {
		if len(c.entries) <= c.limit*3/4 {
			return
		}
		delete(c.entries, key)
	}
}
