package server_test

import (
	"testing"

	"docket/cmd/server"
	"docket/cmd/server/servertest"
	"docket/internal/config"
	"docket/internal/postgres/pgtest"

	"github.com/stretchr/testify/require"
)

// A data folder and a database that do not belong together are refused, instead
// of failing at the first thing that does not open.
func TestAnotherInstallationsDatabaseIsRefused(t *testing.T) {
	url := pgtest.URL(t)
	servertest.Start(t, func(c *config.Config) { c.PostgresURL = url })
	c, err := config.FromEnviron([]string{"DOCKET_DATA_DIR=" + t.TempDir(), "DOCKET_HTTP_ADDR=127.0.0.1:0", "DOCKET_SAFEQ_ADDR=off", "DOCKET_POSTGRES_URL=" + url, "DOCKET_LOG_LEVEL=error"})
	require.NoError(t, err)
	_, err = server.Open(t.Context(), c, t.Output())
	require.ErrorContains(t, err, "another installation")
}
