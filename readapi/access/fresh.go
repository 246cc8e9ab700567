package access

import (
	"crypto/sha256"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// freshness bounds how long what was looked up is trusted: a key revoked, a user
// deactivated or a role changed takes effect within it.
const freshness = 500 * time.Millisecond

// maxCached look-ups of a kind are kept.
const maxCached = 10_000

// fresh keeps look-ups by the hash of what they are about.
type fresh[V any] struct {
	cache *otter.Cache[[sha256.Size]byte, kept[V]]
	now   func() time.Time
	era   atomic.Uint64 // ends with forget
}

type kept[V any] struct {
	value V
	asked time.Time // before the look-up: its rows may be as old
	era   uint64
}

func newFresh[V any](now func() time.Time) *fresh[V] {
	return &fresh[V]{now: now, cache: otter.Must(&otter.Options[[sha256.Size]byte, kept[V]]{
		MaximumSize:      maxCached,
		ExpiryCalculator: otter.ExpiryWriting[[sha256.Size]byte, kept[V]](freshness),
	})}
}

// get answers from what is kept, or looks it up.
func (f *fresh[V]) get(key [sha256.Size]byte, look func() (V, error)) (V, error) {
	if found, hit := f.cache.GetIfPresent(key); hit && found.era == f.era.Load() && f.now().Sub(found.asked) < freshness {
		return found.value, nil
	}
	found := kept[V]{asked: f.now(), era: f.era.Load()}
	var err error
	if found.value, err = look(); err != nil {
		return found.value, err
	}
	f.cache.Set(key, found)
	return found.value, nil
}

// forget drops everything. What is being looked up meanwhile does not count
// either.
func (f *fresh[V]) forget() {
	f.era.Add(1)
	f.cache.InvalidateAll()
}
