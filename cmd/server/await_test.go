package server_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain/printing"
	"docket/domain/reporting"

	"github.com/stretchr/testify/require"
)

// Whoever waits for the read models to be as far as the log (the collector of
// blobs) does not wait for an event that they have use for.
func TestReadModelsAreAsFarAsTheLog(t *testing.T) {
	s := servertest.Start(t)
	s.Post("/api/v2/groups", map[string]any{"name": "Nothing to print"}).Is(http.StatusCreated)
	head, err := s.EventStore().Head(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.True(t, s.Engine().Await(ctx, head, []string{printing.DocumentReceived{}.EventType(), reporting.ProjectPublished{}.EventType()}))
}
