package httpx

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// named is a dialect with one operation that tells where the request came from.
func dialectAt(name, base string, own bool) *API {
	a := NewAPI(Dialect{Name: name, Title: strings.ToUpper(name), Base: base, Prefix: "/" + name, OwnListener: own})
	Register(a, Op{ID: "1", Method: "GET", Path: "/things/{id}", Summary: "Where", Public: true},
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
		}) (*struct{ Body string }, error) {
			return &struct{ Body string }{name + " " + in.ID + " " + From(ctx).URL("/api/x")}, nil
		})
	return a
}

func testSite(checks ...Check) (*Site, *prometheus.Registry) {
	metrics := prometheus.NewRegistry()
	return &Site{
		Options:  Options{Logger: slog.New(slog.DiscardHandler), Metrics: metrics},
		Gatherer: metrics, Checks: checks,
		APIs: []*API{dialectAt("outer", "/api/v2", false), dialectAt("inner", "/api/v2/identity", false), dialectAt("apart", "/api/v1", true)},
	}, metrics
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://host.example"+path, nil))
	return w
}

func TestMounts(t *testing.T) {
	site, _ := testSite()
	h := site.Main()
	for path, want := range map[string]string{
		"/api/v2/things/1":                "outer 1 http://host.example/api/x",
		"/api/v2/identity/things/1":       "inner 1 http://host.example/api/x",
		"/outer/api/v2/things/1":          "outer 1 http://host.example/outer/api/x",
		"/inner/api/v2/identity/things/1": "inner 1 http://host.example/inner/api/x",
		"/apart/api/v1/things/1":          "apart 1 http://host.example/apart/api/x",
		"/api/v2/things/a%2Fb":            "outer a/b http://host.example/api/x",
	} {
		var got string
		w := get(t, h, path)
		require.Equal(t, 200, w.Code, path+" "+w.Body.String())
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		require.Equal(t, want, got)
	}
	for _, path := range []string{"/api/v1/things/1", "/api/v2x/things/1", "/outerx", "/nothing", "/outer/api/v2/identity/things/1"} {
		require.Equal(t, 404, get(t, h, path).Code, path)
	}
	require.Equal(t, 200, get(t, site.Own(site.APIs[2]), "/api/v1/things/1").Code)
	require.Equal(t, 404, get(t, site.Own(site.APIs[2]), "/apart/api/v1/things/1").Code)
}

func TestPublicURL(t *testing.T) {
	site, _ := testSite()
	site.PublicURL = "https://public.example/base"
	require.Contains(t, get(t, site.Main(), "/outer/api/v2/things/1").Body.String(), "https://public.example/base/outer/api/x")
}

func TestDocuments(t *testing.T) {
	site, _ := testSite()
	h := site.Main()
	w := get(t, h, "/outer/openapi.json")
	require.Equal(t, 200, w.Code)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ OperationID string }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	require.Equal(t, "3.1.0", doc.OpenAPI)
	require.Equal(t, "outer.1", doc.Paths["/api/v2/things/{id}"]["get"].OperationID)

	for _, path := range []string{"/outer/docs", "/"} {
		w = get(t, h, path)
		require.Equal(t, 200, w.Code)
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'self' 'unsafe-inline'")
		body := w.Body.String()
		require.Contains(t, body, "OUTER")
		require.Empty(t, regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//|@import|url\(`).FindString(body), "nothing from elsewhere")
	}
	require.Contains(t, get(t, site.Own(site.APIs[2]), "/docs").Body.String(), "APART")
	require.Contains(t, get(t, site.Own(site.APIs[2]), "/openapi.json").Body.String(), "apart.1")
}

// The document says of an operation what the kit does.
func TestDocumentOfAnOperation(t *testing.T) {
	data, err := testAPI(t, testDialect()).Document()
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(data, &doc))
	at := func(path ...any) any {
		v := any(doc)
		for _, p := range path {
			switch p := p.(type) {
			case string:
				m, ok := v.(map[string]any)
				require.True(t, ok, "%v of %v", p, path)
				v = m[p]
			case int:
				v = v.([]any)[p]
			}
		}
		return v
	}
	put := []any{"paths", "/api/v2/things/{id}", "put"}
	require.Equal(t, "toy.1", at(append(put, "operationId")...))
	require.Equal(t, "things.edit", at(append(put, "x-permission")...))
	require.Equal(t, []any{map[string]any{"bearer": []any{}}}, at(append(put, "security")...))
	require.Equal(t, true, at(append(put, "requestBody", "required")...))
	for _, status := range []string{"200", "400", "401", "403", "404", "409", "413", "415", "429", "default"} {
		require.NotNil(t, at(append(put, "responses", status)...), status)
	}
	require.Equal(t, "#/components/schemas/Envelope", at(append(put, "responses", "409", "content", "application/json", "schema", "$ref")...))
	require.NotNil(t, at(append(put, "responses", "429", "headers", "Retry-After")...))
	require.NotContains(t, at("components", "schemas"), "ErrorModel")
	require.NotContains(t, at("paths", "/api/v2/things/{id}/touch", "post", "responses"), "413")
	require.NotContains(t, at("paths", "/api/v2/search", "post", "responses"), "409")
	member := []any{"components", "schemas", "Thing", "properties"}
	require.Equal(t, "uuid", at(append(member, "owner", "format")...))
	require.Equal(t, []any{"string", "null"}, at(append(member, "owner", "type")...))
	require.Equal(t, "uuid", at("components", "schemas", "Part", "properties", "id", "format"))
	require.Equal(t, []any{"integer", "null"}, at(append(member, "limit", "type")...))
	require.Equal(t, "array", at(append(member, "parts", "type")...))
	require.Equal(t, []any{"name"}, at("components", "schemas", "Thing", "required"))
	parameters := map[string]any{}
	for _, p := range at(append(put, "parameters")...).([]any) {
		m := p.(map[string]any)
		parameters[m["name"].(string)] = m["schema"].(map[string]any)
	}
	require.Equal(t, "uuid", parameters["id"].(map[string]any)["format"])
	require.Equal(t, "integer", parameters["page"].(map[string]any)["type"])
	require.Contains(t, parameters, "Idempotency-Key")
	require.Nil(t, at("paths", "/api/v2/raw", "get", "security"))
	require.Equal(t, "uuid", at("paths", "/api/v2/things", "delete", "requestBody", "content", "application/json", "schema", "items", "format"))
}

func TestHealthReadinessMetrics(t *testing.T) {
	broken := errors.New("secret address refused")
	site, _ := testSite(
		Check{"good", func(context.Context) (string, error) { return "3 behind", nil }},
		Check{"bad", func(context.Context) (string, error) { return "", broken }})
	h := site.Main()
	require.Equal(t, 200, get(t, h, "/healthz").Code)
	w := get(t, h, "/readyz")
	require.Equal(t, 503, w.Code)
	require.JSONEq(t, `{"ready":false,"checks":{"good":{"ok":true,"detail":"3 behind"},"bad":{"ok":false}}}`, w.Body.String())
	broken = nil
	require.Equal(t, 200, get(t, h, "/readyz").Code)

	get(t, h, "/api/v2/things/1")
	get(t, h, "/api/v2/unknown/deep")
	body := get(t, h, "/metrics").Body.String()
	require.Contains(t, body, `docket_http_requests_total{dialect="outer",operation="outer.1",status="200"} 1`)
	require.Contains(t, body, `docket_http_requests_total{dialect="outer",operation="none",status="404"} 1`)
	require.Contains(t, body, `docket_http_request_seconds_count{dialect="outer",operation="outer.1"} 1`)
}

func TestTraceparent(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	a := NewAPI(Dialect{Name: "t", Title: "T", Base: "/t"})
	Register(a, Op{ID: "1", Method: "GET", Path: "/x", Summary: "x", Public: true},
		func(ctx context.Context, _ *struct{}) (*struct{ Body [2]string }, error) {
			return &struct{ Body [2]string }{[2]string{Traceparent(ctx), From(ctx).TraceID()}}, nil
		})
	r := httptest.NewRequest("GET", "/t/x", nil)
	r.Header.Set("traceparent", parent)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	require.JSONEq(t, `["`+parent+`","4bf92f3577b34da6a3ce929d0e0e4736"]`, w.Body.String())

	r = httptest.NewRequest("GET", "/t/x", nil)
	r.Header.Set(RequestIDHeader, "0123456789abcdef0123456789abcdef")
	w = httptest.NewRecorder()
	a.ServeHTTP(w, r)
	require.JSONEq(t, `["","0123456789abcdef0123456789abcdef"]`, w.Body.String())
}

func TestServeDrains(t *testing.T) {
	defer goleak.VerifyNone(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "done")
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, slog.New(slog.DiscardHandler), time.Minute, Listener{l, h}) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer := make(chan string, 1)
	go func() {
		resp, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	cancel()
	require.Eventually(t, func() bool { // the socket closes at once
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond)
	close(leave)
	require.Equal(t, "done", <-answer)
	require.NoError(t, <-ended)
}

func TestServeCutsOffWhatDoesNotEnd(t *testing.T) {
	defer goleak.VerifyNone(t)
	entered := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, slog.New(slog.DiscardHandler), time.Millisecond, Listener{l, h}) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	<-entered
	cancel()
	require.NoError(t, <-ended)
}

func TestServeFailsWithItsListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorContains(t, Serve(t.Context(), slog.New(slog.DiscardHandler), time.Second, Listener{l, http.NotFoundHandler()}), "listener 127.0.0.1")
}

// A body that has arrived must not leave a read deadline behind: net/http would
// take its passing for the client's departure and cancel the handler.
func TestReadDeadlineIsTakenAway(t *testing.T) {
	for _, r := range []*http.Request{
		httptest.NewRequest("PUT", thingPath, strings.NewReader(`{"name":"a"}`)),
		httptest.NewRequest("PUT", "/api/v2/form", strings.NewReader("a=1")),
	} {
		r.Header.Set("Authorization", "Bearer editor")
		api := testAPI(t, testDialect())
		if r.URL.Path == "/api/v2/form" {
			api = inputsAPI(t)
		}
		deadlines := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
		api.ServeHTTP(deadlines, r)
		require.Equal(t, 200, deadlines.Code, deadlines.Body.String())
		require.False(t, slices.MaxFunc(deadlines.read, time.Time.Compare).IsZero(), "there was one")
		require.True(t, deadlines.read[len(deadlines.read)-1].IsZero())
	}
}

// net/http reads what is left of a body before it answers, so the deadline must
// stand where nobody reads it, and where it is read in part.
func TestBodiesThatAreNotReadHaveADeadline(t *testing.T) {
	for status, r := range map[int]*http.Request{
		401: httptest.NewRequest("PUT", thingPath, strings.NewReader(`{"name":"a"}`)),
		404: httptest.NewRequest("PUT", "/nothing", strings.NewReader(`{"name":"a"}`)),
		413: httptest.NewRequest("PUT", "/api/v2/form", io.MultiReader(strings.NewReader(strings.Repeat("a", 5000)))),
	} {
		deadlines := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
		api := testAPI(t, testDialect())
		if status == 413 {
			api = inputsAPI(t)
		}
		api.ServeHTTP(deadlines, r)
		require.Equal(t, status, deadlines.Code)
		require.NotEmpty(t, deadlines.read)
		require.False(t, deadlines.read[len(deadlines.read)-1].IsZero())
		require.True(t, deadlines.writeFirst, `"100 Continue" goes out with the first read`)
	}
}

// A body may not arrive longer than the operation may take.
func TestBodiesEndWithTheOperationsTime(t *testing.T) {
	deadlines := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "/api/v2/brief", strings.NewReader("a=1"))
	api := NewAPI(testDialect())
	Register(api, Op{ID: "1", Method: "POST", Path: "/brief", Summary: "Brief", Public: true, Timeout: time.Second},
		func(context.Context, *struct {
			RawBody []byte `contentType:"application/x-www-form-urlencoded"`
		}) (*struct{}, error) {
			return nil, nil
		})
	start := time.Now()
	api.ServeHTTP(deadlines, r)
	require.Equal(t, 204, deadlines.Code, deadlines.Body.String())
	require.Greater(t, len(deadlines.read), 1)
	require.Less(t, deadlines.read[1].Sub(start), bodyStall)
}

type deadlineRecorder struct {
	*httptest.ResponseRecorder
	read       []time.Time
	writeFirst bool
}

func (d *deadlineRecorder) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func (d *deadlineRecorder) SetWriteDeadline(time.Time) error {
	d.writeFirst = d.writeFirst || len(d.read) == 0
	return nil
}

// What a client that left was to be told is no outcome of its request: a
// middleware that keeps answers must see a failure.
func TestAClientThatLeft(t *testing.T) {
	var seen int
	d := testDialect()
	d.Middleware = []Middleware{func(_ *Operation, next Handler) Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			inner := httptest.NewRecorder()
			err := next(inner, r)
			seen = inner.Code
			return err
		}
	}}
	api := NewAPI(d)
	Register(api, Op{ID: "1", Method: "POST", Path: "/left", Summary: "Left"},
		func(ctx context.Context, _ *struct{}) (*struct{}, error) { return nil, ctx.Err() })
	site, _ := testSite()
	site.APIs = []*API{api}
	h := site.Main()
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, "POST", "/api/v2/left", nil)
	r.Header.Set("Authorization", "Bearer editor")
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, 500, seen)
	require.Contains(t, get(t, h, "/metrics").Body.String(), `docket_http_requests_total{dialect="toy",operation="toy.1",status="499"} 1`)
}
