package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/postgres/pgtest"
	"docket/projections"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience bounds what has to happen by itself. It is generous since machines
// that run tests may be busy; nobody waits for it when all is well.
const patience = 60 * time.Second

// long tells whether the tests that take minutes were asked for.
func long(t *testing.T) bool {
	if os.Getenv("DOCKET_TEST_LONG") != "" {
		return true
	}
	t.Log("the long form of this test runs with DOCKET_TEST_LONG=1")
	return false
}

// client sends requests for one API key. Unlike servertest's it returns errors,
// so that goroutines beside the test's own may use it.
type client struct {
	url  string
	key  string
	http *http.Client
}

func newClient(t *testing.T, url, key string) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{url: url, key: key, http: &http.Client{Transport: transport, Timeout: 2 * patience}}
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) ok() bool { return r.status >= 200 && r.status < 300 }

// done tells whether what was asked for was done: the SAFEQ API answers some
// refusals with 200.
func (r reply) done() bool {
	var body struct {
		ErrorCode int `json:"errorCode"`
	}
	return r.ok() && (json.Unmarshal(r.body, &body) != nil || body.ErrorCode == 0)
}

// do sends a body: nil, a string as it is, or anything else as JSON.
func (c *client) do(ctx context.Context, method, path string, body any, headers ...string) (reply, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		reader = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, reader)
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, data}, err
}

// driverWords are in texts of drivers and stores that no client should see.
var driverWords = []string{"sqlstate", "pgx", "pgconn", "postgres", "dial ", "socket", "connection re", "rpc error", "grpc", "esdb", "eof", "rm_", "goroutine", ".go:"}

// wrongError tells what is wrong with the body of an error in a dialect.
func wrongError(dialect string, r reply) string {
	text := strings.ToLower(string(r.body))
	for _, word := range driverWords {
		if strings.Contains(text, word) {
			return fmt.Sprintf("%d says %q: %s", r.status, word, r.body)
		}
	}
	var body struct {
		IsSuccess *bool `json:"isSuccess"`
		Error     any   `json:"error"`
		Errors    []struct {
			Code  string `json:"code"`
			Title string `json:"title"`
		} `json:"errors"`
		TraceID string `json:"traceId"`
		Code    string `json:"code"`
		Status  int    `json:"status"`

		ErrorCode    int    `json:"errorCode"`
		ErrorMessage string `json:"errorMessage"`
		Description  string `json:"error_description"`
	}
	if err := json.Unmarshal(r.body, &body); err != nil {
		return fmt.Sprintf("%d with a body that is no JSON: %s", r.status, r.body)
	}
	right := false
	switch dialect {
	case "qalyptus":
		text, _ := body.Error.(string)
		right = body.IsSuccess != nil && !*body.IsSuccess && text != ""
	case "qlik":
		right = len(body.Errors) > 0 && body.Errors[0].Code != "" && body.Errors[0].Title != "" && body.TraceID != ""
	case "admin":
		right = body.Status == r.status && body.Code != ""
	case "safeq":
		text, _ := body.Error.(string)
		right = body.ErrorCode != 0 && body.ErrorMessage != "" || text != "" && body.Description != ""
	}
	if !right {
		return fmt.Sprintf("%d is not in the words of %s: %s", r.status, dialect, r.body)
	}
	return ""
}

// member finds a text or number in an answer: at its top, in the envelope, or in
// the token of a login.
func member(body []byte, name string) string {
	var at map[string]json.RawMessage
	if json.Unmarshal(body, &at) != nil {
		return ""
	}
	if text := strings.Trim(string(at[name]), `"`); text != "" && text != "null" {
		return text
	}
	for _, inner := range []string{"data", "token"} {
		if text := member(at[inner], name); text != "" {
			return text
		}
	}
	return ""
}

// idOf is the id in an answer.
func idOf(body []byte) string { return member(body, "id") }

// publish makes a project for tasks to be in.
func publishProject(s *servertest.Server) string {
	return s.Post("/admin/v1/projects", map[string]any{"name": "P " + uuid.NewString(), "reports": []any{map[string]any{"name": "R", "type": "Excel"}}}).Is(http.StatusCreated).ID()
}

// stateOf is the state of one group of read models.
func stateOf(s *servertest.Server, group string) projections.Status {
	for _, one := range s.Engine().Status(context.Background()) {
		if one.Group == group {
			return one
		}
	}
	return projections.Status{}
}

func awaitState(t *testing.T, s *servertest.Server, group string, state projections.State) {
	t.Helper()
	require.Eventually(t, func() bool { return stateOf(s, group).State == state }, patience, 10*time.Millisecond, "group %s does not become %s", group, state)
}

// caughtUp waits until all read models show the newest event.
func caughtUp(t *testing.T, s *servertest.Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, one := range s.Engine().Status(t.Context()) {
			if one.State != projections.Live || one.Head == 0 || one.Behind > 0 {
				return false
			}
		}
		return true
	}, patience, 20*time.Millisecond, "read models do not catch up")
	head, err := s.EventStore().Head(t.Context())
	require.NoError(t, err)
	// The audit trail takes in every event, so its position ends at the newest.
	require.Eventually(t, func() bool { return stateOf(s, "audit").Position >= head }, patience, 10*time.Millisecond)
}

// verifyAll compares all read models with what the log says.
func verifyAll(t *testing.T, s *servertest.Server) {
	t.Helper()
	for _, one := range s.Engine().Status(t.Context()) {
		report, err := s.Engine().Verify(t.Context(), one.Group)
		require.NoError(t, err, one.Group)
		require.Zero(t, report.Differences, "%s: %+v", one.Group, report.Examples)
		require.NotZero(t, report.Rows, one.Group)
	}
}
