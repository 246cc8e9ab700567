package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

func TestLinesNameTheTraceAndTheContext(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelInfo, "json").With("a", 1)
	ctx := With(With(t.Context(), slog.String("request_id", "r1")), slog.String("command", "c1"))
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	log.InfoContext(ctx, "hello")
	log.DebugContext(ctx, "too quiet")
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
	require.Equal(t, "r1", line["request_id"])
	require.Equal(t, "c1", line["command"])
	require.Equal(t, "01000000000000000000000000000000", line["trace_id"])
	require.EqualValues(t, 1, line["a"])

	out.Reset()
	NewLogger(&out, slog.LevelInfo, "text").Info("hello")
	require.Contains(t, out.String(), "msg=hello")
}

func TestContextsDoNotShareAttributes(t *testing.T) {
	base := With(t.Context(), slog.String("a", "1"))
	one, two := With(base, slog.String("b", "one")), With(base, slog.String("b", "two"))
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelInfo, "text")
	log.InfoContext(one, "x")
	require.Contains(t, out.String(), "b=one")
	out.Reset()
	log.InfoContext(two, "x")
	require.Contains(t, out.String(), "b=two")
}

func TestTracesAreOffUnlessAskedFor(t *testing.T) {
	tel, err := Start(t.Context(), Options{LogOutput: io.Discard})
	require.NoError(t, err)
	require.False(t, tel.Tracing)
	_, span := otel.Tracer("t").Start(t.Context(), "x")
	require.False(t, span.SpanContext().IsValid())
	require.NoError(t, tel.Stop(t.Context()))
	families, err := tel.Metrics.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
}

func TestTracesAreSentBeforeStopReturns(t *testing.T) {
	got := make(chan string, 8)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.URL.Path }))
	defer collector.Close()
	tel, err := Start(t.Context(), Options{LogOutput: io.Discard, OTLPEndpoint: collector.URL, Version: "1"})
	require.NoError(t, err)
	require.True(t, tel.Tracing)
	_, span := otel.Tracer("t").Start(context.Background(), "x")
	span.End()
	require.NoError(t, tel.Stop(t.Context()))
	require.Equal(t, "/v1/traces", <-got)
}

func TestRegistered(t *testing.T) {
	r := prometheus.NewRegistry()
	one := Registered(r, prometheus.NewCounter(prometheus.CounterOpts{Name: "n", Help: "h"}))
	require.Same(t, one, Registered(r, prometheus.NewCounter(prometheus.CounterOpts{Name: "n", Help: "h"})))
	require.Panics(t, func() {
		Registered(r, prometheus.NewCounter(prometheus.CounterOpts{Name: "n", Help: "other"}))
	})
}
