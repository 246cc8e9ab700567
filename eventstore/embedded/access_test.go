package embedded

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// testTLS is the certificate of 127.0.0.1 and example.com, and the pool that trusts it.
func testTLS(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12}, pool
}

// secured is a client's configuration for the TCP address.
func secured(t *testing.T, s *Server, user string, pool *x509.CertPool) *esdb.Client {
	t.Helper()
	config, err := esdb.ParseConnectionString("esdb://" + user + s.Addr().String() + "?maxDiscoverAttempts=1")
	require.NoError(t, err)
	config.RootCAs, config.Logger = pool, esdb.NoopLogging()
	c, err := esdb.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestTLSAndPassword(t *testing.T) {
	config, pool := testTLS(t)
	s := openServer(t, Options{Addr: "127.0.0.1:0", TLS: config, User: "ada", Password: "pass:word"})
	good := secured(t, s, "ada:pass%3Aword@", pool)
	appendTo(t, good, "a", esdb.NoStream{}, events(1)...)
	require.Len(t, mustRead(t, good, "a"), 1)
	require.Len(t, mustRead(t, connect(t, s), "a"), 1, "the socket needs no password")

	for user, want := range map[string]esdb.ErrorCode{
		"":                      esdb.ErrorCodeAccessDenied,
		"ada:wrong@":            esdb.ErrorCodeUnauthenticated,
		"eve:pass%3Aword@":      esdb.ErrorCodeUnauthenticated,
		"adapass:word@":         esdb.ErrorCodeUnauthenticated,
		"ada:pass%3Aword-more@": esdb.ErrorCodeUnauthenticated,
	} {
		c := secured(t, s, user, pool)
		_, err := c.AppendToStream(within(t), "a", esdb.AppendToStreamOptions{}, events(1)...)
		require.Equal(t, want, code(err), "%q: %v", user, err)
		_, err = c.DeleteStream(within(t), "a", esdb.DeleteStreamOptions{})
		require.Error(t, err)
		_, err = all(c.ReadStream(within(t), "a", esdb.ReadStreamOptions{}, 1))
		require.Equal(t, want, code(err), "%q: %v", user, err)
	}
	require.Len(t, mustRead(t, good, "a"), 1)

	untrusting := secured(t, s, "", nil)
	_, err := all(untrusting.ReadStream(within(t), "a", esdb.ReadStreamOptions{}, 1))
	require.ErrorContains(t, err, "certificate")
}

func TestBadAccessOptions(t *testing.T) {
	config, _ := testTLS(t)
	for _, o := range []Options{
		{User: "ada", Password: "x"}, {User: "ada", TLS: config}, {Password: "x", TLS: config}, {User: "a:b", Password: "x", TLS: config},
		{Addr: "127.0.0.1:0", Advertise: "host:notaport"}, {Addr: "127.0.0.1:0", Advertise: ":1"},
	} {
		o.FS = vfs.NewMem()
		_, err := Open("store", o)
		require.Error(t, err)
	}
}

// TestHTTP: whoever calls the HTTP interface is told that there is none, and gRPC goes on beside it.
func TestHTTP(t *testing.T) {
	config, pool := testTLS(t)
	for scheme, opts := range map[string]Options{"http": {Addr: "127.0.0.1:0"}, "https": {Addr: "127.0.0.1:0", TLS: config}} {
		s := openServer(t, opts)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}}
		if scheme == "https" {
			transport.TLSClientConfig.NextProtos = nil // as a client that knows HTTP/1.1 only
		}
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"} {
			req, err := http.NewRequest(method, scheme+"://"+s.Addr().String()+"/streams/a", strings.NewReader("body"))
			require.NoError(t, err)
			res, err := client.Do(req)
			require.NoError(t, err, "%s %s", method, scheme)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusNotImplemented, res.StatusCode)
			require.Contains(t, string(body), "HTTP interface")
		}
		transport.CloseIdleConnections()
		appendTo(t, connect(t, s), "a", esdb.Any{}, events(1)...)
	}
}
