// Package telemetry sets up what an operator watches: log, metrics and traces.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options say what is wanted.
type Options struct {
	LogOutput    io.Writer
	LogLevel     slog.Level
	LogFormat    string // "json" or "text"
	OTLPEndpoint string // "http://host:4318"; empty = no traces
	Version      string // of the program
	Instance     string // of the process, in traces
}

// Telemetry is what was set up.
type Telemetry struct {
	Logger  *slog.Logger
	Metrics *prometheus.Registry
	Tracing bool // traces are sent

	provider *sdktrace.TracerProvider
}

// Start sets up log, metrics and, if asked for, traces. The logger and the trace
// provider become the process's defaults.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{Logger: NewLogger(o.LogOutput, o.LogLevel, o.LogFormat), Metrics: newRegistry(o.Version)}
	slog.SetDefault(t.Logger)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Logger.Warn("tracing", "cause", err) }))
	if o.OTLPEndpoint == "" {
		return t, nil
	}
	endpoint := o.OTLPEndpoint
	if u, err := url.Parse(endpoint); err == nil && strings.Trim(u.Path, "/") == "" {
		endpoint = strings.TrimRight(endpoint, "/") + "/v1/traces" // the path that collectors listen on
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("traces to %s: %w", o.OTLPEndpoint, err)
	}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "docket"),
			attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Instance))))
	otel.SetTracerProvider(t.provider)
	t.Tracing = true
	return t, nil
}

// Stop sends what is still held back, for as long as ctx allows.
func (t *Telemetry) Stop(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return errors.Join(t.provider.ForceFlush(ctx), t.provider.Shutdown(ctx))
}

// newRegistry is a metrics registry with the Go runtime's, the process's and the
// build's own metrics.
func newRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "docket_build_info", Help: "1, labelled with the version.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// NewLogger makes a logger whose lines name the trace of their context.
func NewLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, options)
	if format == "text" {
		h = slog.NewTextHandler(w, options)
	}
	return slog.New(handler{h})
}

type attrsKey struct{}

// With adds attributes to every line logged with the returned context: the
// request id, the command.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	known, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	return context.WithValue(ctx, attrsKey{}, append(known[:len(known):len(known)], attrs...))
}

// handler adds what the context knows.
type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	attrs, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	r.AddAttrs(attrs...)
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// Registered registers a collector, or returns the equal one that is registered
// already: for packages that are set up several times in one process.
func Registered[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if err := r.Register(c); err != nil {
		var twice prometheus.AlreadyRegisteredError
		if errors.As(err, &twice) {
			if same, ok := twice.ExistingCollector.(C); ok {
				return same
			}
		}
		panic(err) // two metrics of one name: a programming error
	}
	return c
}
