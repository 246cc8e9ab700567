package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
)

// statusOf is the default table from kind to status.
var statusOf = map[fault.Kind]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Denied:          http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.Unique:          http.StatusConflict,
	fault.Precondition:    http.StatusPreconditionFailed,
	fault.Limited:         http.StatusTooManyRequests,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Unavailable:     http.StatusServiceUnavailable,
}

// statusClientGone is logged and counted when the client went away first. Nobody
// sees it, and no middleware: to one that keeps answers it would look like the
// outcome of the request.
const statusClientGone = 499

// WithStatus makes f answer with a status of its own instead of its kind's.
func WithStatus(status int, f *fault.Error) error { return &statusFault{status, f} }

type statusFault struct {
	status int
	fault  *fault.Error
}

func (e *statusFault) Error() string { return e.fault.Error() }
func (e *statusFault) Unwrap() error { return e.fault }

// UnavailableWhen makes a Dialect.Classify of predicates: an error that any of
// them knows becomes Unavailable.
func UnavailableWhen(is ...func(error) bool) func(error) *fault.Error {
	return func(err error) *fault.Error {
		for _, down := range is {
			if down(err) {
				return fault.New(fault.Unavailable, "unavailable", "a store is not reachable, try again").Because(err)
			}
		}
		return nil
	}
}

// Problem is the error body of a dialect without one of its own (RFC 9457).
type Problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Code      string         `json:"code"`
	RequestID string         `json:"requestId"`
	Errors    []ProblemField `json:"errors,omitempty"`
}

// ProblemField is one problem with one part of the request.
type ProblemField struct {
	In      string `json:"in"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

func renderProblem(ctx context.Context, f *fault.Error, status int) ErrorAnswer {
	p := Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: f.Public, Code: f.Code, RequestID: From(ctx).ID}
	for _, x := range f.Fields {
		if x.In == "" {
			x.In = "body"
		}
		p.Errors = append(p.Errors, ProblemField{x.In, x.Path, x.Message})
	}
	return ErrorAnswer{ContentType: "application/problem+json", Body: p}
}

// failure is a rendered error on its way out. It is what huma is given, so that
// huma's own path and the kit's write the same bytes.
type failure struct {
	status      int
	header      http.Header
	contentType string
	body        []byte
}

func (f *failure) Error() string             { return "status " + strconv.Itoa(f.status) }
func (f *failure) GetStatus() int            { return f.status }
func (f *failure) ContentType(string) string { return f.contentType }
func (f *failure) GetHeaders() http.Header   { return f.header }

// resolve finds the fault and its status in an error.
func (a *API) resolve(ctx context.Context, err error) (*fault.Error, int) {
	var own *statusFault
	if errors.As(err, &own) {
		return own.fault, own.status
	}
	f := a.classify(ctx, err)
	if status, ok := a.d.Status[f.Kind]; ok {
		return f, status
	}
	return f, statusOf[f.Kind]
}

func (a *API) classify(ctx context.Context, err error) *fault.Error {
	f := fault.Of(err)
	if f.Kind != fault.Internal {
		return f
	}
	if a.d.Classify != nil {
		if c := a.d.Classify(err); c != nil {
			return c
		}
	}
	var status huma.StatusError
	if errors.As(err, &status) && status.GetStatus() < 500 {
		return byStatus(status.GetStatus(), status.Error())
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, "timeout", "this took too long, try again").Because(err)
	}
	return f
}

// byStatus is the fault for a status that came without one.
func byStatus(status int, public string) *fault.Error {
	for kind, s := range statusOf {
		if s == status && kind != fault.Unique {
			return fault.New(kind, kind.String(), "%s", public)
		}
	}
	if status < 500 {
		return fault.New(fault.Invalid, "invalid", "%s", public)
	}
	return fault.New(fault.Internal, "internal", "something went wrong on our side")
}

// render words an error for the client and keeps the cause for the log.
func (a *API) render(ctx context.Context, req *Request, err error) *failure {
	f, status := a.resolve(ctx, err)
	req.failure = f
	req.gone = errors.Is(ctx.Err(), context.Canceled) && status >= 500
	shown := &fault.Error{Kind: f.Kind, Code: f.Code, Public: f.Public, Fields: f.Fields, RetryAfter: f.RetryAfter}
	if f.Kind == fault.Internal {
		shown = &fault.Error{Kind: fault.Internal, Code: "internal", Public: "something went wrong on our side"}
	}
	if shown.Kind == fault.Unavailable && shown.RetryAfter == 0 {
		shown.RetryAfter = time.Second
	}
	out := &failure{header: http.Header{}}
	if shown.RetryAfter > 0 {
		out.header.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(shown.RetryAfter.Seconds())), 10))
	}
	if shown.Kind == fault.Unauthenticated && !a.d.NoChallenge {
		out.header.Set("WWW-Authenticate", "Bearer")
	}
	answer := a.d.RenderError(ctx, shown, status)
	for name, values := range answer.Header {
		out.header[http.CanonicalHeaderKey(name)] = values
	}
	out.status, out.contentType, out.body = answer.Status, answer.ContentType, errorBody(answer.Body)
	if out.status == 0 {
		out.status = status
	}
	if out.contentType == "" {
		out.contentType = "application/json"
	}
	return out
}

func errorBody(v any) []byte {
	switch b := v.(type) {
	case nil:
		return nil
	case []byte:
		return b
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("httpx: error body does not encode: " + err.Error())
	}
	return out.Bytes()
}

// fail renders and writes an error. When an answer is already under way the
// connection is aborted, so that no client takes a part for the whole.
func (a *API) fail(r *http.Request, req *Request, err error) {
	out := a.render(r.Context(), req, err)
	if a.d.XML && prefersXML(r.Header.Values("Accept")) && isJSON(out.contentType) && len(out.body) > 0 {
		if text, bad := asXML(out.body); bad == nil {
			out.body, out.contentType = text, xmlType
		}
	}
	if !req.w.reset() {
		req.aborted = true
		panic(http.ErrAbortHandler)
	}
	h := req.w.Header()
	for name, values := range out.header {
		h[name] = values
	}
	if len(out.body) > 0 {
		h.Set("Content-Type", out.contentType)
		h.Set("Content-Length", strconv.Itoa(len(out.body)))
	}
	req.w.WriteHeader(out.status)
	if len(out.body) > 0 {
		// A client that is gone cannot be told.
		_, _ = req.w.Write(out.body)
	}
	req.w.finish()
}

// fromHuma stands in for huma.NewErrorWithContext: every error that huma makes
// or is handed ends here and is rendered by the dialect of the request.
func fromHuma(hctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
	ctx := hctx.Context()
	req := From(ctx)
	if req.api == nil {
		return huma.NewError(status, msg, errs...)
	}
	out := req.api.render(ctx, req, req.humaError(status, msg, errs))
	for name, values := range out.header {
		for _, value := range values {
			hctx.AppendHeader(name, value)
		}
	}
	return out
}

func (r *Request) humaError(status int, msg string, errs []error) error {
	if r.body != nil {
		return r.body
	}
	own, resolved := first[*fault.Error](errs)
	if resolved && (own.Kind != fault.Invalid || len(r.problems)+len(errs) == 1) {
		return own
	}
	switch {
	case status >= 500:
		return errors.Join(append(errs, errors.New(msg))...)
	case status != http.StatusBadRequest && status != http.StatusUnprocessableEntity:
		return WithStatus(status, byStatus(status, msg))
	}
	fields := append([]fault.Field(nil), r.problems...)
	for _, err := range errs {
		var d huma.ErrorDetailer
		var f *fault.Error
		if errors.As(err, &f) && len(f.Fields) > 0 {
			fields = append(fields, f.Fields...)
			continue
		}
		if !errors.As(err, &d) {
			fields = append(fields, fault.Field{Message: err.Error()})
			continue
		}
		// The body check has said more about the body than decoding it can.
		if x := field(d.ErrorDetail()); x.Path != "" || len(r.problems) == 0 {
			fields = append(fields, x)
		}
	}
	return invalid(fields, msg)
}

// invalid makes the fault for a list of field problems.
func invalid(fields []fault.Field, otherwise string) *fault.Error {
	f := &fault.Error{Kind: fault.Invalid, Code: "invalid", Public: otherwise, Fields: fields}
	if len(fields) > 0 {
		f.Public = fields[0].Message
		if fields[0].Path != "" {
			f.Public = fields[0].Path + " " + f.Public
		}
	}
	return f
}

func first[T error](errs []error) (T, bool) {
	var found T
	for _, err := range errs {
		if errors.As(err, &found) {
			return found, true
		}
	}
	return found, false
}
