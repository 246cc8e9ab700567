package httpx

import (
	"sync"
	"testing"
	"time"

	"docket/domain/fault"

	"github.com/stretchr/testify/require"
)

// Who keeps asking while there is nothing left runs into no debt.
func TestLimiterWithManyAtOnce(t *testing.T) {
	now := time.Now()
	l := NewLimiter(map[string]Rate{"slow": {PerMinute: 6}})
	defer l.Close()
	l.now = func() time.Time { return now }
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 2000 {
				_ = l.Take("jane", "slow")
			}
		})
	}
	callers.Wait()
	require.Equal(t, 10*time.Second, fault.Of(l.Take("jane", "slow")).RetryAfter)
	now = now.Add(10 * time.Second)
	require.NoError(t, l.Take("jane", "slow"))
}

func TestLimiterOfChangingSize(t *testing.T) {
	now := time.Now()
	l := NewLimiter(map[string]Rate{"slow": {PerMinute: 6}})
	defer l.Close()
	l.now = func() time.Time { return now }
	take := func(times float64) (n int) {
		for l.TakeTimes("acme", "slow", times) == nil {
			n++
		}
		return n
	}
	require.Equal(t, 12, take(2))
	require.Equal(t, 5*time.Second, fault.Of(l.TakeTimes("acme", "slow", 2)).RetryAfter)
	now = now.Add(time.Hour)
	require.Equal(t, 12, take(3), "what there was to take before it grew")
	now = now.Add(time.Hour)
	require.Equal(t, 18, take(3))
	now = now.Add(time.Hour)
	require.Equal(t, 3, take(0.5))
}

func TestLimiter(t *testing.T) {
	now := time.Now()
	l := NewLimiter(map[string]Rate{"slow": {PerMinute: 6, Window: 5 * time.Minute}, "fast": {PerMinute: 600}})
	defer l.Close()
	l.now = func() time.Time { return now }
	for i := range 30 {
		require.NoError(t, l.Take("jane", "slow"), "request %d of the window's budget", i)
	}
	err := l.Take("jane", "slow")
	require.True(t, fault.Is(err, fault.Limited))
	require.Equal(t, 10*time.Second, fault.Of(err).RetryAfter)
	require.Error(t, l.Take("jane", "slow"), "a refused request costs nothing and gives nothing")
	require.Equal(t, 10*time.Second, fault.Of(l.Take("jane", "slow")).RetryAfter)
	require.NoError(t, l.Take("john", "slow"), "another caller")
	require.NoError(t, l.Take("jane", "fast"), "another tier")
	now = now.Add(10 * time.Second)
	require.NoError(t, l.Take("jane", "slow"))
	require.Error(t, l.Take("jane", "slow"))
	require.False(t, fault.Is(l.Take("jane", "none"), fault.Limited))
}

func TestLimiterTellsWhatIsLeft(t *testing.T) {
	now := time.Now()
	l := NewLimiter(map[string]Rate{"slow": {PerMinute: 2}})
	defer l.Close()
	l.now = func() time.Time { return now }
	for range 5 {
		require.NoError(t, l.Left("jane", "slow"), "asking takes nothing")
	}
	require.NoError(t, l.Take("jane", "slow"))
	require.NoError(t, l.Left("jane", "slow"))
	require.NoError(t, l.Take("jane", "slow"))
	require.Equal(t, 30*time.Second, fault.Of(l.Left("jane", "slow")).RetryAfter)
	require.NoError(t, l.Left("joe", "slow"))
	now = now.Add(30 * time.Second)
	require.NoError(t, l.Left("jane", "slow"))
	require.Error(t, l.Left("jane", "none"))
}
