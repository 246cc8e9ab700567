// Package qlik_test runs Qlik's own client (npm @qlik/api) against a running
// Docket. It needs node 20, npm and a package registry, so it only runs when
// asked for: make test-clients.
package qlik_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"docket/cmd/server/servertest"
	"docket/internal/postgres/pgtest"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestQlikClient(t *testing.T) {
	if os.Getenv("DOCKET_TEST_CLIENTS") == "" {
		t.Skip("NOT TESTED: clients of others are only tested with DOCKET_TEST_CLIENTS=1 (make test-clients)")
	}
	folder := t.TempDir()
	for _, name := range []string{"package.json", "client.js"} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", cmd, out)
		return string(out)
	}
	run("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
	s := servertest.Start(t)
	out := run("node", "client.js", s.URL, s.Key)
	t.Logf("node %s:\n%s", strings.TrimSpace(run("node", "--version")), out)
	require.True(t, strings.HasSuffix(out, "\ndone\n"))
}
