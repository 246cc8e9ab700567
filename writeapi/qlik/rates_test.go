package qlik_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/stretchr/testify/require"
)

// Every tier has a budget of its own, worth five minutes, for each user.
func TestRates(t *testing.T) {
	root := servertest.Start(t, func(c *config.Config) { c.RateLimits = true })
	id := root.Organization("Rates")
	one, other := root.Member(id, "groups.view", "groups.edit"), root.Member(id, "groups.view", "groups.edit")
	root.Member(id)
	root.Member(id) // four users may send twice what one may
	unchanged := func(s *servertest.Server) servertest.Answer { return s.Patch(settingsAt, list{}) }

	// Tier 2: 100 a minute. A few more come by while the requests run.
	limited := exhaust(500, func() servertest.Answer { return unchanged(one) })
	require.NotNil(t, limited, "500 requests and some were all answered")
	wait, err := strconv.Atoi(limited.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, wait)
	var body struct {
		Errors []struct {
			Code, Title, Detail string
			Status              int
		}
		TraceID string
	}
	limited.JSON(&body)
	require.Len(t, body.Errors, 1)
	require.Equal(t, "HTTP-429", body.Errors[0].Code)
	require.Equal(t, "API rate limit reached.", body.Errors[0].Title)
	require.Equal(t, fmt.Sprintf("You need to wait %d seconds until limit is lifted.", wait), body.Errors[0].Detail)
	require.Equal(t, http.StatusTooManyRequests, body.Errors[0].Status)
	require.Len(t, body.TraceID, 32)

	one.Get(settingsAt).Is(http.StatusOK)
	one.Post(base+"/actions/filter", object{}).Is(http.StatusOK)
	unchanged(other).Is(http.StatusNoContent)
	fails(t, one.As("dk_wrong").Get(base), http.StatusUnauthorized, problem{Code: "HTTP-401"})
}

// exhaust sends requests until one is limited: at least so many, at most a third
// more.
func exhaust(least int, send func() servertest.Answer) *servertest.Answer {
	var mu sync.Mutex
	var sent int
	var limited *servertest.Answer
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for {
				mu.Lock()
				sent++
				stop := limited != nil || sent > least*4/3
				mu.Unlock()
				if stop {
					return
				}
				if a := send(); a.Status == http.StatusTooManyRequests {
					mu.Lock()
					limited = &a
					mu.Unlock()
				}
			}
		})
	}
	senders.Wait()
	if sent < least {
		return nil
	}
	return limited
}
