package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"docket/cmd/docket/client"

	"github.com/stretchr/testify/require"
)

// serve answers every request with a status and a body.
func serve(t *testing.T, status int, body string, seen func(*http.Request)) *client.Client {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client's side is what is tested
	}))
	t.Cleanup(s.Close)
	return client.New(s.URL+"/", "key", 2)
}

func TestErrorsInAnyWords(t *testing.T) {
	for _, c := range []struct {
		body, message string
		fields        []client.Field
	}{
		{`{"title":"Bad Request","detail":"name is required","errors":[{"in":"body","path":"name","message":"is required"}]}`, "name is required", []client.Field{{"name", "is required"}}},
		{`{"data":null,"isSuccess":false,"error":"no","errorDetails":[{"field":"a","message":"b"}]}`, "no", []client.Field{{"a", "b"}}},
		{`<html>a proxy's page</html>`, "Bad Request", nil},
		{``, "Bad Request", nil},
	} {
		err := serve(t, http.StatusBadRequest, c.body, nil).Do(t.Context(), client.Request{Method: "GET", Path: "/"}, nil)
		require.Equal(t, &client.Refused{Status: 400, Message: c.message, Fields: c.fields, After: 2 * time.Second}, err)
		require.ErrorContains(t, err, c.message)
		require.True(t, client.Is(err, 400))
	}
}

func TestRequests(t *testing.T) {
	var got *http.Request
	var body []byte
	api := serve(t, http.StatusOK, `{"n":1}`, func(r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body) // what was sent is compared below
	})
	var out struct{ N int }
	require.NoError(t, api.Do(t.Context(), client.Request{Method: "POST", Path: "/x?y=z", Body: map[string]int{"a": 1}, Key: "k"}, &out))
	require.Equal(t, 1, out.N)
	require.Equal(t, "/x?y=z", got.URL.String())
	require.Equal(t, "Bearer key", got.Header.Get("Authorization"))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "k", got.Header.Get("Idempotency-Key"))
	require.JSONEq(t, `{"a":1}`, string(body))

	_, err := api.Raw(t.Context(), client.Request{Method: "POST", Path: "/", Body: strings.NewReader("PK"), ContentType: "application/zip"})
	require.NoError(t, err)
	require.Equal(t, "PK", string(body))
	require.Equal(t, "application/zip", got.Header.Get("Content-Type"))

	require.ErrorContains(t, serve(t, 200, "hello", nil).Do(t.Context(), client.Request{Method: "GET", Path: "/"}, &out), "expected JSON")
}

func TestUnreachable(t *testing.T) {
	err := client.New("http://127.0.0.1:1", "", 1).Do(t.Context(), client.Request{Method: "GET", Path: "/"}, nil)
	var away *client.Unreachable
	require.ErrorAs(t, err, &away)
	require.ErrorContains(t, err, "127.0.0.1:1")
}

// broken is an output that takes nothing.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestStream(t *testing.T) {
	request := client.Request{Method: "GET", Path: "/"}
	var out strings.Builder
	require.NoError(t, serve(t, http.StatusOK, "all of it", nil).Stream(t.Context(), request, &out))
	require.Equal(t, "all of it", out.String())
	require.True(t, client.Is(serve(t, http.StatusForbidden, `{"detail":"no"}`, nil).Stream(t.Context(), request, &out), http.StatusForbidden))
	require.Equal(t, "all of it", out.String())
	require.ErrorIs(t, serve(t, http.StatusOK, "x", nil).Stream(t.Context(), request, broken{}), io.ErrClosedPipe)

	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "part")
	}))
	t.Cleanup(cut.Close)
	out.Reset()
	var away *client.Unreachable
	require.ErrorAs(t, client.New(cut.URL, "key", 1).Stream(t.Context(), request, &out), &away)
	require.Equal(t, "part", out.String())
}
