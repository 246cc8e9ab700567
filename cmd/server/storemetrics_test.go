package server_test

import (
	"net/http"
	"regexp"
	"testing"

	"docket/cmd/server/servertest"
	"docket/eventstore"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestEventStoreMetrics(t *testing.T) {
	s := servertest.Start(t)
	publishProject(s)
	lost := []eventstore.Proposed{{ID: uuid.New(), Type: "test.lost", Data: []byte(`{}`), Meta: []byte(`{}`)}}
	_, err := s.EventStore().Append(t.Context(), "test-"+uuid.NewString(), 7, lost)
	require.ErrorAs(t, err, new(*eventstore.WrongRevision))
	text := string(s.As("").Get("/metrics").Is(http.StatusOK).Body)
	for _, want := range []string{
		`docket_eventstore_append_seconds_count{result="written"} [1-9]`,
		`docket_eventstore_append_seconds_count{result="conflict"} [1-9]`,
		`docket_eventstore_connected 1\n`, `docket_eventstore_events [1-9]`, `docket_eventstore_disk_full 0\n`,
		`docket_eventstore_corruptions_total 0\n`, `docket_eventstore_disk_bytes [1-9]`, `docket_eventstore_retries_total `,
	} {
		require.Regexp(t, regexp.MustCompile(`(?m)^`+want), text)
	}
}
