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
func (l *Limiter) Take(key, tier string) error { return l.TakeTimes(key, tier, 1) }

// Left is Take that takes nothing: the fault if the budget is used up.
func (l *Limiter) Left(key, tier string) error {
	r, ok := l.tiers[tier]
	if !ok {
		return fmt.Errorf("rate tier %q does not exist", tier)
	}
	bucket, there := l.buckets.GetIfPresent(bucketKey{key, tier})
	if !there {
		return nil
	}
	perSecond, _ := r.bucket(1)
	if missing := 1 - bucket.TokensAt(l.now()); missing > 0 {
		return exhausted(missing / float64(perSecond))
	}
	return nil
}

// TakeTimes is Take where the key has so many times the tier's budget. The
// number may change from one request to the next.
func (l *Limiter) TakeTimes(key, tier string, times float64) error {
	r, ok := l.tiers[tier]
	if !ok {
		return fmt.Errorf("rate tier %q does not exist", tier)
	}
	perSecond, burst := r.bucket(times)
	bucket, _ := l.buckets.ComputeIfAbsent(bucketKey{key, tier}, func() (*rate.Limiter, bool) {
		return rate.NewLimiter(perSecond, burst), false
	})
	now := l.now()
	if bucket.Limit() != perSecond {
		bucket.SetLimitAt(now, perSecond)
		bucket.SetBurstAt(now, burst)
	}
	// No reservation that is given back: of several at once some are not, and
	// who goes on asking would run into debt.
	if bucket.AllowN(now, 1) {
		return nil
	}
	return exhausted((1 - bucket.TokensAt(now)) / float64(perSecond))
}

// exhausted says when there is a request again.
func exhausted(seconds float64) error {
	f := fault.New(fault.Limited, "limited", "too many requests")
	f.RetryAfter = max(time.Duration(seconds*1000)*time.Millisecond, time.Millisecond)
	return f
}

// bucket is what so many times the rate means for a token bucket.
func (r Rate) bucket(times float64) (perSecond rate.Limit, burst int) {
	window := r.Window
	if window == 0 {
		window = time.Minute
	}
	perMinute := float64(r.PerMinute) * times
	return rate.Limit(perMinute / 60), max(1, int(perMinute*window.Minutes()))
}
