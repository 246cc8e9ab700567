package httpx

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// Overhead of the kit: routing, instruments, authentication hook, decoding,
// validation, encoding, log line into nowhere, without the network.
//
//	go test ./internal/httpx -run - -bench Overhead -benchmem
func BenchmarkOverhead(b *testing.B) {
	type body struct {
		Name        string    `json:"name" minLength:"1" maxLength:"256"`
		Description *string   `json:"description,omitempty"`
		Owner       uuid.UUID `json:"owner"`
		Enabled     bool      `json:"enabled"`
		Count       int       `json:"count" minimum:"0"`
	}
	metrics := prometheus.NewRegistry()
	d := testDialect()
	a := NewAPI(d)
	Register(a, Op{ID: "1", Method: "GET", Path: "/things/{id}", Summary: "Read", Permission: "p"},
		func(_ context.Context, in *struct {
			ID uuid.UUID `path:"id"`
		}) (*struct{ Body body }, error) {
			return &struct{ Body body }{body{Name: "a", Owner: in.ID}}, nil
		})
	Register(a, Op{ID: "2", Method: "POST", Path: "/things", Summary: "Create", Permission: "p", Success: 201},
		func(_ context.Context, in *struct{ Body body }) (*struct{ Body body }, error) {
			return &struct{ Body body }{in.Body}, nil
		})
	site := &Site{Options: Options{Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)), Metrics: metrics}, Gatherer: metrics, APIs: []*API{a}}
	h := site.Main()
	const post = `{"name":"A thing","description":"of some length","owner":"0198b5c2-7b1e-7cc3-98c4-dc0c0c07398f","enabled":true,"count":7}`
	for name, c := range map[string]struct{ method, path, body string }{
		"GET":          {"GET", "/api/v2/things/0198b5c2-7b1e-7cc3-98c4-dc0c0c07398f", ""},
		"POST-5fields": {"POST", "/api/v2/things", post},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var r *http.Request
				if c.body == "" {
					r = httptest.NewRequest(c.method, c.path, nil)
				} else {
					r = httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
				}
				r.Header.Set("Authorization", "Bearer editor")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code >= 300 {
					b.Fatal(w.Code, w.Body.String())
				}
			}
		})
	}
	b.Run("none", func(b *testing.B) { // what the harness itself costs
		nothing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest("POST", "/api/v2/things", strings.NewReader(post))
			nothing.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
}
