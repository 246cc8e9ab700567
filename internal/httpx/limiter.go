package httpx

import (
	"fmt"
	"time"

	"docket/domain/fault"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// Rate is a budget of requests.
type Rate struct {
	PerMinute int
	// Window is the time over which the rate is judged: a quiet caller may use
	// the budget of a whole window at once. Zero means a minute.
	Window time.Duration
}

// maxBuckets bounds the memory of a Limiter. When more callers are active at
// once, the least active get a new budget early.
const maxBuckets = 100_000

// Limiter keeps token buckets, one for each key and tier. It belongs to one
// process; several processes each grant the rate.
type Limiter struct {
	tiers   map[string]Rate
	buckets *otter.Cache[bucketKey, *rate.Limiter]
	now     func() time.Time
}

type bucketKey struct{ key, tier string }

// NewLimiter makes a limiter of named tiers.
func NewLimiter(tiers map[string]Rate) *Limiter {
	longest := time.Minute
	for _, r := range tiers {
		longest = max(longest, r.Window)
	}
	return &Limiter{
		tiers: tiers,
		now:   time.Now,
		// A bucket that nobody used for a window is full again and can go.
		buckets: otter.Must(&otter.Options[bucketKey, *rate.Limiter]{
			MaximumSize:      maxBuckets,
			ExpiryCalculator: otter.ExpiryAccessing[bucketKey, *rate.Limiter](longest),
		}),
	}
}

// Close ends the limiter's housekeeping.
func (l *Limiter) Close() { l.buckets.StopAllGoroutines() }

// Take takes one request of a key from a tier's budget, or answers a Limited
// fault that says when there is one again. A tier that does not exist is an error.
func (l *Limiter) Take(key, tier string) error {
	r, ok := l.tiers[tier]
	if !ok {
		return fmt.Errorf("rate tier %q does not exist", tier)
	}
	bucket, _ := l.buckets.ComputeIfAbsent(bucketKey{key, tier}, func() (*rate.Limiter, bool) {
		window := r.Window
		if window == 0 {
			window = time.Minute
		}
		burst := max(1, int(float64(r.PerMinute)*window.Minutes()))
		return rate.NewLimiter(rate.Limit(float64(r.PerMinute)/60), burst), false
	})
	now := l.now()
	taken := bucket.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	taken.CancelAt(now)
	f := fault.New(fault.Limited, "limited", "too many requests")
	f.RetryAfter = wait
	return f
}
