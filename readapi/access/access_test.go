package access

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"docket/domain"

	"github.com/stretchr/testify/require"
)

// lookUps makes a resolver whose look-ups the test supplies, and a clock.
func lookUps(look func()) (r *Resolver, now *time.Time, asked *int) {
	r, now, asked = NewResolver(nil), new(time.Time), new(int)
	*now = time.Now()
	r.now = func() time.Time { return *now }
	r.look = func(context.Context, [sha256.Size]byte) (resolved, error) {
		*asked++
		look()
		return resolved{actor: domain.Actor{}, expires: now.Add(time.Hour)}, nil
	}
	return r, now, asked
}

// A key is trusted from the time it was asked about: a slow answer is as old as
// its question.
func TestSlowLookUpsAreNotTrustedLonger(t *testing.T) {
	var slow func()
	r, now, asked := lookUps(func() { slow() })
	slow = func() { *now = now.Add(freshness - time.Millisecond) }
	for want := range 3 {
		_, err := r.Key(t.Context(), "dk_x")
		require.NoError(t, err)
		require.Equal(t, want+1, *asked)
		*now = now.Add(time.Millisecond)
	}
}

func TestForgetReachesWhatIsBeingLookedUp(t *testing.T) {
	var forget func()
	r, _, asked := lookUps(func() { forget() })
	forget = r.Forget
	for want := range 2 {
		_, err := r.Key(t.Context(), "dk_x")
		require.NoError(t, err)
		require.Equal(t, want+1, *asked)
	}
	forget = func() {}
	for range 2 {
		_, err := r.Key(t.Context(), "dk_x")
		require.NoError(t, err)
		require.Equal(t, 3, *asked, "looked up once more, then known")
	}
}
