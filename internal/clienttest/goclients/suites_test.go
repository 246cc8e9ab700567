package goclients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	oneNode     = "a cluster is not offered"
	onlyWithTLS = "runs with TLS only"
)

var eventStoreClient = suite{
	module: "github.com/EventStore/EventStore-Client-Go/v4", version: "v4.2.0", folder: "esdb",
	prepare: func(t *testing.T, dir string) {
		t.Helper()
		ours, err := os.ReadFile("testdata/containers_test.go")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "esdb", "containers_test.go"), ours, 0o600))
	},
	populate: populate,
	groups: []group{
		{name: "TestStreams", run: "^TestStreams$", env: insecure},
		{name: "TestStreams, TLS", run: "^TestStreams$", env: func(at ends) []string {
			return []string{"CONFORMANCE_ENDPOINT=" + at.secure, "CONFORMANCE_POPULATED=" + at.populatedSecure, "EVENTSTORE_INSECURE=false"}
		}},
		{name: "TestPersistentSubscriptions", run: "^TestPersistentSubscriptions$", env: insecure},
		{name: "TestExpectations", run: "^TestExpectations$", env: insecure},
		{name: "TestMisc and the like", run: "^Test", skip: "^(TestStreams|TestExpectations|TestPersistentSubscriptions|TestProjections|TestPlugins)$"},
	},
	leftOut: []reason{
		{"^TestProjections$", "server-side projections are not offered"},
		{"^TestPlugins$", "logging in with a client certificate (a plugin of the commercial server) is not offered"},
		{"ClusterTests", oneNode},
	},
	skips: []reason{
		{"^TestStreams/AppendTests/appendToSystemStreamWithIncorrectCredentials$", onlyWithTLS},
		{"^TestStreams/ReadStreamTests/readStreamWithCredentialsOverride$", onlyWithTLS},
	},
}

func insecure(at ends) []string {
	return []string{"CONFORMANCE_ENDPOINT=" + at.plain, "CONFORMANCE_POPULATED=" + at.populated, "EVENTSTORE_INSECURE=true"}
}

var kurrentClient = suite{
	module: "github.com/kurrent-io/KurrentDB-Client-Go", version: "v1.1.0", folder: "test",
	prepare: kurrentServers,
	groups: []group{
		{name: "TestStreams", run: "^TestStreams$", env: both},
		{name: "TestPersistentSubscriptions", run: "^TestPersistentSubscriptions$", env: both},
		{name: "TestTLS", run: "^TestTLS$", env: both},
		{name: "TestMisc and the like", run: "^(TestMisc|TestTypes|TestVersionParsing.*)$"},
	},
	leftOut: []reason{
		{"^TestStreams$/^Rebalance$", oneNode},
		{"^TestProjectionSuite$", "server-side projections are not offered"},
	},
	skips: []reason{
		{"^TestStreams/MultiAppend/", "multi-stream append came with version 25; the server reports 24.10"},
	},
}

// kurrentServers lets the environment say where the servers are, which is written into the tests. The cluster that the
// TLS tests want is the one node.
func kurrentServers(t *testing.T, dir string) {
	t.Helper()
	for file, addresses := range map[string]map[string]string{
		"client_fixture_test.go": {
			"localhost:2114": `" + os.Getenv("CONFORMANCE_ENDPOINT") + "`,
			"localhost:2115": `" + os.Getenv("CONFORMANCE_SECURE") + "`,
		},
		"tls_test.go": {`"localhost:2111,localhost:2112,localhost:2113"`: `os.Getenv("CONFORMANCE_SECURE")`},
	} {
		name := filepath.Join(dir, "test", file)
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		text := string(content)
		for written, said := range addresses {
			require.Contains(t, text, written)
			text = strings.ReplaceAll(text, written, said)
		}
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
}

func both(at ends) []string {
	return []string{"CONFORMANCE_ENDPOINT=" + at.plain, "CONFORMANCE_SECURE=" + at.secure}
}
