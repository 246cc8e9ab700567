// Package servertest starts a whole Docket for a test: embedded event store
// through its real client, a real Postgres database of its own, all APIs on a
// free port.
package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"docket/cmd/server"
	"docket/internal/config"
	"docket/internal/postgres/pgtest"

	"github.com/stretchr/testify/require"
)

// Key is the first administrator's API key.
const Key = "dk_test_administrator_0123456789abcdef"

// Server is a running Docket.
type Server struct {
	URL string // without a slash at the end
	Key string
	*server.Server
	t testing.TB
}

// Start runs a Docket until the test ends. Each change may alter its settings.
func Start(t testing.TB, changes ...func(*config.Config)) *Server {
	t.Helper()
	c, err := config.FromEnviron([]string{"DOCKET_DATA_DIR=" + t.TempDir(), "DOCKET_HTTP_ADDR=127.0.0.1:0", "DOCKET_SAFEQ_ADDR=off",
		"DOCKET_POSTGRES_URL=" + pgtest.URL(t), "DOCKET_BOOTSTRAP_KEY=" + Key, "DOCKET_RATE_LIMITS=off", "DOCKET_WRITE_WAIT=20s", "DOCKET_LOG_LEVEL=error"})
	require.NoError(t, err)
	for _, change := range changes {
		change(c)
	}
	return Run(t, c)
}

// Run runs a Docket with settings of one's own until the test ends.
func Run(t testing.TB, c *config.Config) *Server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.Open(ctx, c, t.Output())
	if err != nil {
		cancel()
	}
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, s.Close())
	})
	running := &Server{URL: "http://" + s.Addr(), Key: Key, Server: s, t: t}
	running.AwaitReady()
	return running
}

// AwaitReady blocks until the server says that it is ready.
func (s *Server) AwaitReady() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		r, err := http.Get(s.URL + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 60*time.Second, 20*time.Millisecond)
}

// As is the same server for the holder of another key.
func (s *Server) As(key string) *Server {
	other := *s
	other.Key = key
	return &other
}

// For is the same server for a subtest.
func (s *Server) For(t testing.TB) *Server {
	other := *s
	other.t = t
	return &other
}

// Answer is what the server said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	t      testing.TB
}

// JSON reads the body into v.
func (a Answer) JSON(v any) Answer {
	a.t.Helper()
	require.NoError(a.t, json.Unmarshal(a.Body, v), "%s", a.Body)
	return a
}

// Is checks the status and shows the body when it is another.
func (a Answer) Is(status int) Answer {
	a.t.Helper()
	require.Equal(a.t, status, a.Status, "%s", a.Body)
	return a
}

// Map is the body as a map.
func (a Answer) Map() map[string]any {
	a.t.Helper()
	m := map[string]any{}
	a.JSON(&m)
	return m
}

// Do sends a request. body may be nil, a string or []byte as they are, or
// anything else as JSON. headers are pairs of name and value.
func (s *Server) Do(method, path string, body any, headers ...string) Answer {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	default:
		data, err := json.Marshal(b)
		require.NoError(s.t, err)
		reader = bytes.NewReader(data)
	}
	url := path
	if strings.HasPrefix(path, "/") {
		url = s.URL + path
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, url, reader)
	require.NoError(s.t, err)
	if s.Key != "" {
		r.Header.Set("Authorization", "Bearer "+s.Key)
	}
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return Answer{Status: answer.StatusCode, Header: answer.Header, Body: data, t: s.t}
}

// Get sends a request without a body.
func (s *Server) Get(path string, headers ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodGet, path, nil, headers...)
}

// Post sends a body.
func (s *Server) Post(path string, body any, headers ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodPost, path, body, headers...)
}

// Put sends a body.
func (s *Server) Put(path string, body any, headers ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodPut, path, body, headers...)
}

// Patch sends a body.
func (s *Server) Patch(path string, body any, headers ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodPatch, path, body, headers...)
}

// Delete sends a body, which may be nil.
func (s *Server) Delete(path string, body any, headers ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodDelete, path, body, headers...)
}
