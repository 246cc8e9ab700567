// Package esdbnode_test runs EventStoreDB's and KurrentDB's own clients for JavaScript (npm @eventstore/db-client and
// @kurrent/kurrentdb-client) against the embedded event store. They need node 20, npm and a package registry, so they
// only run when asked for: make test-conformance.
package esdbnode_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"docket/eventstore/embedded"

	"github.com/stretchr/testify/require"
)

func TestNodeClients(t *testing.T) {
	if os.Getenv("DOCKET_TEST_CONFORMANCE") == "" {
		t.Skip("NOT TESTED: clients of others are only tested with DOCKET_TEST_CONFORMANCE=1 (make test-conformance)")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Printf("NOTE: %s is not here. NOT TESTED: the event store with the clients for JavaScript\n", program)
			t.Skip("NOT TESTED: " + program + " is not here")
		}
	}
	folder := t.TempDir()
	for _, name := range []string{"package.json", "client.js"} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
	require.NoError(t, err, out)
	for _, client := range []string{"@eventstore/db-client", "@kurrent/kurrentdb-client"} {
		s, err := embedded.Open(t.TempDir(), embedded.Options{Addr: "127.0.0.1:0"})
		require.NoError(t, err)
		out, err := run("node", "client.js", client, "esdb://"+s.Addr().String()+"?tls=false")
		fmt.Printf("%s: %d steps\n", client, strings.Count(out, "ok  "))
		if err != nil || !strings.HasSuffix(out, "\ndone\n") {
			t.Errorf("%s: %v\n%s", client, err, out)
		}
		require.NoError(t, s.Close())
	}
}
