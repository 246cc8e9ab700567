//go:build linux

package main

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// writeEvents appends to a served store.
func writeEvents(t *testing.T, conn, stream string, n int) {
	t.Helper()
	config, err := esdb.ParseConnectionString(conn)
	require.NoError(t, err)
	client, err := esdb.NewClient(config)
	require.NoError(t, err)
	for range n {
		_, err = client.AppendToStream(context.Background(), stream, esdb.AppendToStreamOptions{},
			esdb.EventData{EventID: uuid.New(), EventType: "t", ContentType: esdb.ContentTypeJson, Data: []byte(`{}`)})
		require.NoError(t, err)
	}
	require.NoError(t, client.Close())
}

func TestEventstoreBackupAndRestore(t *testing.T) {
	parent := t.TempDir()
	dir, copied, other := filepath.Join(parent, "events"), filepath.Join(parent, "copy"), filepath.Join(parent, "other", "events")
	out, status := storeProgram(t, "backup", copied, "--data", dir)
	require.Equal(t, exitFailed, status, out)
	require.Contains(t, out, "no event log is there")
	conn, stop := serveStore(t, "--data", dir)
	writeEvents(t, conn, "a", 3)
	out, status = storeProgram(t, "backup", copied, "--data", dir)
	require.Zero(t, status, out)
	require.Contains(t, out, "3 events in 1 streams, 0 problems")
	writeEvents(t, conn, "b", 2)
	out, status = storeProgram(t, "backup", copied, "--data", dir)
	require.Equal(t, exitFailed, status, out)
	require.Contains(t, out, "is there already")
	out, status = storeProgram(t, "restore", copied, "--data", dir)
	require.Equal(t, exitFailed, status, out)
	require.Contains(t, out, "holds an event store already")
	stop()
	out, status = storeProgram(t, "restore", copied, "--data", other)
	require.Zero(t, status, out)
	conn, _ = serveStore(t, "--data", other)
	writeEvents(t, conn, "a", 1)
	left, err := filepath.Glob(filepath.Join(parent, "*.partial"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestEventstoreExportAndImport(t *testing.T) {
	parent := t.TempDir()
	here, there, back := filepath.Join(parent, "here"), filepath.Join(parent, "there"), filepath.Join(parent, "back")
	conn, stopHere := serveStore(t, "--data", here)
	writeEvents(t, conn, "a", 3)
	writeEvents(t, conn, "b", 2)
	far, _ := serveStore(t, "--data", there)

	out, status := storeProgram(t, "export", far, "--data", here) // while it is served
	require.Zero(t, status, out)
	require.Contains(t, out, "5 events copied in")
	sum := regexp.MustCompile(`5 events on both sides, SHA-256 [0-9a-f]{64}`).FindString(out)
	require.NotEmpty(t, sum, out)
	writeEvents(t, conn, "b", 1)
	stopHere()
	out, status = storeProgram(t, "export", far, "--data", here) // and stopped
	require.Zero(t, status, out)
	require.Contains(t, out, "1 events copied in")
	require.Contains(t, out, "continuing an earlier copy")
	require.NotContains(t, out, sum[len(sum)-64:])
	sum = regexp.MustCompile(`6 events on both sides, SHA-256 [0-9a-f]{64}`).FindString(out)

	out, status = storeProgram(t, "import", far, "--data", back)
	require.Zero(t, status, out)
	require.Contains(t, out, sum)
	writeEvents(t, far, "c", 1)
	out, status = storeProgram(t, "import", far, "--data", back, "--compare-only")
	require.Zero(t, status, out)
	require.Contains(t, out, "1 events were written to the source since")
	out, status = storeProgram(t, "export", far, "--data", back, "--compare-only")
	require.Equal(t, exitDifferent, status, out)
	require.Contains(t, out, "which the source has not")

	for _, args := range [][]string{{"export"}, {"export", "nonsense"}, {"import", "http://x"}} {
		out, status = storeProgram(t, append(args, "--data", here)...)
		require.Equal(t, exitUsage, status, "%v: %s", args, out)
	}
	out, status = storeProgram(t, "export", strings.Replace(far, "127.0.0.1:", "127.0.0.1:1", 1), "--data", filepath.Join(parent, "none"))
	require.Equal(t, exitFailed, status, out)
	require.Contains(t, out, "no event log is there")
}
