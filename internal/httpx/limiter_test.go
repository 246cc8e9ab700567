package httpx

import (
	"testing"
	"time"

	"docket/domain/fault"

	"github.com/stretchr/testify/require"
)

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
