package httpx

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"docket/domain/fault"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// RequestIDHeader carries the request id in both directions.
const RequestIDHeader = "X-Request-Id"

// Request is what the kit knows about the request at hand.
type Request struct {
	ID        string     // of the client if it sent a sane one, otherwise 32 hex digits
	Operation *Operation // nil before routing and for unknown routes
	Origin    string     // "https://docket.example": configured, or scheme and host of the request
	Mount     string     // the dialect's prefix when the request came through it, "/qalyptus"
	Host      string     // as the client wrote it, with the port if it did
	Remote    string     // address and port of the client, or of the proxy before us

	header   http.Header
	api      *API
	trace    trace.SpanContext
	w        *responseWriter
	problems []fault.Field // what the body check found
	body     *fault.Error  // why the body could not be read
	form     []byte        // as it came
	file     any           // what was made of the file of an upload
	fileSeen bool
	failure  *fault.Error // what was rendered, with its cause
	broken   error        // what stopped a stream
	aborted  bool         // the connection was cut in the middle of an answer
	gone     bool         // the client left before there was an answer
}

type requestKey struct{}

// From returns the request of ctx. Outside of a request it is an empty one.
func From(ctx context.Context) *Request {
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		return r
	}
	return &Request{}
}

// URL makes an absolute address on this server in the way the client came: the
// path is the documented one, "/api/v1/groups/1".
func (r *Request) URL(path string) string { return r.Origin + r.Mount + path }

// Header is a header of the request, for wording an error by Accept or
// Accept-Language.
func (r *Request) Header(name string) string { return r.header.Get(name) }

// RawForm is the body of a form (Op.Form) as it came, for signatures. It is valid
// while the handler runs.
func (r *Request) RawForm() []byte { return r.form }

// TraceID is 32 hex digits that name the request: of the trace if there is one,
// otherwise of the request id.
func (r *Request) TraceID() string {
	if r.trace.HasTraceID() {
		return r.trace.TraceID().String()
	}
	if len(r.ID) == 32 && strings.Trim(r.ID, "0123456789abcdef") == "" {
		return r.ID
	}
	sum := sha256.Sum256([]byte(r.ID))
	return hex.EncodeToString(sum[:16])
}

// Traceparent is the W3C trace context of ctx, or empty when there is none.
func Traceparent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		sc = From(ctx).trace
	}
	if !sc.IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(ctx, sc), carrier)
	return carrier["traceparent"]
}

// newRequest makes the state of a request. publicURL replaces the origin when set.
func newRequest(r *http.Request, publicURL string) *Request {
	req := &Request{ID: r.Header.Get(RequestIDHeader), Origin: publicURL, Host: r.Host, Remote: r.RemoteAddr, header: r.Header}
	if !saneID(req.ID) {
		req.ID = newID()
	}
	if req.Origin == "" {
		scheme := "http://"
		if r.TLS != nil {
			scheme = "https://"
		}
		req.Origin = scheme + r.Host
	}
	req.trace = trace.SpanContextFromContext(r.Context())
	if !req.trace.IsValid() && r.Header.Get("traceparent") != "" {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		req.trace = trace.SpanContextFromContext(ctx)
	}
	return req
}

// queryProblems names parameters that are not well-formed. huma and net/url leave
// them out, and a list whose filter was left out would show everything.
func queryProblems(raw string) (found []fault.Field) {
	if !strings.Contains(raw, "%") {
		return nil
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if _, err := url.ParseQuery(pair); err == nil || len(found) == maxProblems {
			continue
		}
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		found = append(found, fault.Field{In: "query", Path: name, Message: "is not percent-encoded: write % as %25"})
	}
	return found
}

// saneID keeps ids that are safe to log and to send back.
func saneID(id string) bool {
	if len(id) < 8 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
