//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// storeProgram runs docket eventstore and returns what it printed and its exit code.
func storeProgram(t *testing.T, args ...string) (string, int) {
	t.Helper()
	c := program(t, args...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		require.NoError(t, err)
	}
	return string(out), c.ProcessState.ExitCode()
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(self, append([]string{"eventstore"}, args...)...)
	c.Env = append(os.Environ(), asProgram+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// serveStore starts docket eventstore serve and returns its connection string and how to stop it.
func serveStore(t *testing.T, args ...string) (string, func()) {
	t.Helper()
	c := program(t, append([]string{"serve", "--addr", "127.0.0.1:0", "--quiet"}, args...)...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	ended := false
	stop := func() {
		if ended {
			return
		}
		ended = true
		require.NoError(t, c.Process.Signal(syscall.SIGTERM))
		require.NoError(t, c.Wait(), "%s", errs.String())
	}
	t.Cleanup(stop)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if conn, ok := strings.CutPrefix(lines.Text(), "Connection string: "); ok {
			return conn, stop
		}
	}
	t.Fatalf("docket eventstore serve says no connection string: %s", errs.String())
	return "", nil
}

func TestEventstoreServeStatsVerify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	out, status := storeProgram(t, "stats", "--data", dir)
	require.Equal(t, exitFailed, status, out)
	require.Contains(t, out, "no event log is there")

	conn, stop := serveStore(t, "--data", dir)
	config, err := esdb.ParseConnectionString(conn)
	require.NoError(t, err)
	client, err := esdb.NewClient(config)
	require.NoError(t, err)
	for range 3 {
		_, err = client.AppendToStream(context.Background(), "a", esdb.AppendToStreamOptions{},
			esdb.EventData{EventID: uuid.New(), EventType: "t", ContentType: esdb.ContentTypeJson, Data: []byte(`{}`)})
		require.NoError(t, err)
	}
	require.NoError(t, client.Close())
	out, status = storeProgram(t, "verify", "--data", dir)
	require.Equal(t, exitFailed, status, out)
	require.Contains(t, out, "stop it first")
	stop()

	out, status = storeProgram(t, "verify", "--data", dir)
	require.Zero(t, status, out)
	require.Contains(t, out, "3 events in 1 streams, 0 problems")
	out, status = storeProgram(t, "stats", "--data", dir)
	require.Zero(t, status, out)
	require.Contains(t, out, "ACKNOWLEDGED")
	out, status = storeProgram(t, "stats", "--data", dir, "--json")
	require.Zero(t, status, out)
	var stats struct{ Events, Streams, LastPosition, AcknowledgedPosition int }
	require.NoError(t, json.Unmarshal([]byte(out), &stats))
	require.Equal(t, 3, stats.Events)
	require.Equal(t, stats.LastPosition, stats.AcknowledgedPosition)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "watermark"), bytes.Repeat([]byte{7}, 9000), 0o600))
	out, status = storeProgram(t, "verify", "--data", dir)
	require.Equal(t, exitDifferent, status, out)
	require.Contains(t, out, "watermark file is damaged")
	out, status = storeProgram(t, "serve", "--addr", "127.0.0.1:0", "--data", dir)
	require.Equal(t, exitFailed, status, out)
	require.Contains(t, out, "--accept-loss")
	_, stop = serveStore(t, "--data", dir, "--accept-loss")
	stop()
	out, status = storeProgram(t, "verify", "--data", dir)
	require.Zero(t, status, out)
}

func TestEventstoreServeTLS(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	web := httptest.NewTLSServer(nil)
	web.Close()
	key, err := x509.MarshalPKCS8PrivateKey(web.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	cert := file("crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}))
	conn, _ := serveStore(t, "--data", filepath.Join(dir, "events"), "--tls-certificate", cert,
		"--tls-key", file("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"--user", "ada", "--password-file", file("secret", []byte("word\n")))
	require.Contains(t, conn, "esdb://ada:PASSWORD@127.0.0.1:")
	config, err := esdb.ParseConnectionString(strings.Replace(conn, "PASSWORD", "word", 1) + "&tlsCAFile=" + cert)
	require.NoError(t, err)
	client, err := esdb.NewClient(config)
	require.NoError(t, err)
	_, err = client.AppendToStream(context.Background(), "a", esdb.AppendToStreamOptions{},
		esdb.EventData{EventID: uuid.New(), EventType: "t", ContentType: esdb.ContentTypeJson, Data: []byte(`{}`)})
	require.NoError(t, err)
	require.NoError(t, client.Close())
}

func TestEventstoreServeUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--addr", ""}, {"--tls-key", "x"}, {"--user", "x"}, {"--user", "x", "--password-file", "y"},
	} {
		out, status := storeProgram(t, append([]string{"serve", "--data", t.TempDir()}, args...)...)
		require.Equal(t, exitUsage, status, "%v: %s", args, out)
	}
	out, status := storeProgram(t, "serve", "--data", t.TempDir(), "--addr", "nowhere:-1")
	require.Equal(t, exitFailed, status, out)
}
