package httpx

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what all handlers of a process share.
type Options struct {
	Logger    *slog.Logger          // nil = slog.Default()
	Metrics   prometheus.Registerer // nil = no metrics
	PublicURL string                // "https://docket.example" for absolute links; empty = from the request's Host
}

// plain instruments without log and metrics; the request id and the answer
// writer are there all the same.
var plain = &instruments{logger: slog.New(slog.DiscardHandler)}

// instruments wrap every request: id, answer writer, log line, metrics.
type instruments struct {
	logger    *slog.Logger
	publicURL string
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	running   prometheus.Gauge
}

func newInstruments(o Options) *instruments {
	in := &instruments{logger: o.Logger, publicURL: o.PublicURL}
	if in.logger == nil {
		in.logger = slog.Default()
	}
	if o.Metrics == nil {
		return in
	}
	in.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "docket_http_requests_total", Help: "Requests answered, by dialect, operation and status."}, []string{"dialect", "operation", "status"})
	in.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "docket_http_request_seconds", Help: "Time from a request's header to the end of its answer.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"dialect", "operation"})
	in.running = prometheus.NewGauge(prometheus.GaugeOpts{Name: "docket_http_running", Help: "Requests being answered now."})
	o.Metrics.MustRegister(in.requests, in.seconds, in.running)
	return in
}

func (in *instruments) instrument(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		req := newRequest(r, in.publicURL)
		req.w = &responseWriter{ResponseWriter: w}
		w.Header().Set(RequestIDHeader, req.ID)
		if r.Body != nil && r.Body != http.NoBody {
			req.w.awaitBody(time.Time{}) // also where nobody will read it
		}
		if in.running != nil {
			in.running.Inc()
		}
		defer func() {
			// An aborted answer is on its way up as a panic; it is counted too.
			in.done(r, req, time.Since(start))
		}()
		next.ServeHTTP(req.w, r.WithContext(context.WithValue(r.Context(), requestKey{}, req)))
		req.w.finish()
	})
}

func (in *instruments) done(r *http.Request, req *Request, took time.Duration) {
	dialect, operation, status := "none", "none", req.w.status
	if req.api != nil {
		dialect = req.api.d.Name
	}
	if req.Operation != nil {
		operation = req.Operation.OperationID()
	}
	switch {
	case req.gone:
		status = statusClientGone
	case status == 0:
		status = http.StatusOK
	}
	if in.running != nil {
		in.running.Dec()
		in.requests.WithLabelValues(dialect, operation, statusText(status)).Inc()
		in.seconds.WithLabelValues(dialect, operation).Observe(took.Seconds())
	}
	level := slog.LevelInfo
	if status >= 500 || req.aborted {
		level = slog.LevelError
	}
	ctx := r.Context()
	if !in.logger.Enabled(ctx, level) {
		return
	}
	// No path, query or body: they may name people. The operation says which
	// route it was.
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("request_id", req.ID),
		slog.String("method", r.Method),
		slog.String("dialect", dialect),
		slog.String("operation", operation),
		slog.Int("status", status),
		slog.Int64("bytes", req.w.bytes),
		slog.Float64("ms", float64(took.Microseconds())/1000))
	if req.trace.HasTraceID() {
		attrs = append(attrs, slog.String("trace_id", req.trace.TraceID().String()))
	}
	if req.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if f := req.failure; f != nil {
		attrs = append(attrs, slog.String("fault", f.Kind.String()), slog.String("code", f.Code))
		if f.Cause != nil && (status >= 500 || req.aborted) {
			attrs = append(attrs, slog.String("cause", f.Cause.Error()))
		}
	}
	in.logger.LogAttrs(ctx, level, "request", attrs...)
}

// statusText is strconv.Itoa without an allocation for the usual ones.
func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 201:
		return "201"
	case 204:
		return "204"
	case 400:
		return "400"
	case 404:
		return "404"
	}
	return strconv.Itoa(status)
}
