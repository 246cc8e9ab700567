package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
	"go.opentelemetry.io/otel/trace"
)

// Register adds an operation with its handler. I is a struct whose fields say
// where they come from (`path:"id"`, `query:"page"`, `header:"If-Match"`, Body);
// O is a struct with a Body and header fields, or Raw, or Stream. A nil O answers
// without a body. The package comment shows the patterns.
func Register[I, O any](a *API, op Op, handle func(context.Context, *I) (*O, error)) {
	registerWith(a, op, nil, handle)
}

// registerWith is Register; upload is nil where no file is sent.
func registerWith[I, O any](a *API, op Op, upload *upload, handle func(context.Context, *I) (*O, error)) {
	o := a.add(op)
	hop := a.describe(o)
	check := a.bodyCheck(o, reflect.TypeFor[I](), &hop, upload)
	switch h := any(handle).(type) {
	case func(context.Context, *I) (*Raw, error):
		a.describeRaw(o, &hop)
		registerRaw(a, o, hop, h)
	case func(context.Context, *I) (*Stream, error):
		a.describeRaw(o, &hop)
		registerRaw(a, o, hop, func(ctx context.Context, in *I) (*Raw, error) {
			s, err := h(ctx, in)
			if err != nil || s == nil {
				return nil, err
			}
			return &Raw{Status: s.Status, ContentType: s.ContentType, Header: s.Header, Stream: s.Write}, nil
		})
	default:
		register(a, o, hop, handle)
	}
	a.complete(reflect.TypeFor[I](), reflect.TypeFor[O](), &hop)
	if o.Form {
		check.members = check.schema()
		a.describeForms(&hop, upload)
	}
	var names fieldTypes
	if a.d.FoldNames {
		names = fieldTypesOf(reflect.TypeFor[I](), "query")
	}
	a.wrap(o, check, names, isStream[O]())
}

func isStream[O any]() bool {
	_, yes := any((*O)(nil)).(*Stream)
	return yes
}

func register[I, O any](a *API, o *Operation, hop huma.Operation, handle func(context.Context, *I) (*O, error)) {
	huma.Register(a.huma, hop, func(ctx context.Context, in *I) (*O, error) {
		req := From(ctx)
		if len(req.problems) > 0 {
			return nil, a.render(ctx, req, invalid(req.problems, ""))
		}
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.render(ctx, req, err)
		}
		return out, nil
	})
}

func registerRaw[I any](a *API, o *Operation, hop huma.Operation, handle func(context.Context, *I) (*Raw, error)) {
	register(a, o, hop, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		raw, err := handle(ctx, in)
		if err != nil || raw == nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) { raw.write(o, hctx) }}, nil
	})
}

// bodyCheck prepares the check of a JSON body, or answers nil where huma shall
// read the body by itself (forms, uploads, none).
func (a *API) bodyCheck(o *Operation, in reflect.Type, hop *huma.Operation, upload *upload) *jsonCheck {
	hop.MaxBodyBytes = -1    // limitBody does it
	hop.BodyReadTimeout = -1 // bodyReader does it
	body, ok := in.FieldByName("Body")
	if !ok {
		return nil
	}
	if t := body.Tag.Get("contentType"); t != "" && !isJSON(t) {
		return nil
	}
	hop.SkipValidateBody = true
	hop.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{}}
	check := &jsonCheck{
		op:       o,
		registry: a.huma.OpenAPI().Components.Schemas,
		body:     hop.RequestBody,
		shape:    shapeOf(body.Type, map[reflect.Type]*layout{}),
	}
	if o.Form {
		check.form, check.foldNames, check.upload = fieldTypesOf(body.Type, "json"), a.d.FoldNames, upload
	}
	return check
}

// wrap puts the steps before decoding around the routes of the operation.
func (a *API) wrap(o *Operation, check *jsonCheck, names fieldTypes, endless bool) {
	found := a.router.last
	inner := found.handle
	next := func(w http.ResponseWriter, r *http.Request) error {
		req := From(r.Context())
		req.problems = queryProblems(r.URL.RawQuery)
		if len(names) > 0 {
			r.URL.RawQuery, req.problems = names.foldQuery(r.URL.RawQuery)
		}
		if check != nil {
			release, err := check.run(r, req)
			defer release()
			if err != nil {
				return err
			}
		}
		// net/http removes the files of an upload only from the request that it
		// made itself; this one is a copy.
		defer func() {
			if r.MultipartForm != nil {
				_ = r.MultipartForm.RemoveAll() // who would hear of a file that stays has been answered
			}
		}()
		inner(w, r)
		return req.broken
	}
	for i := len(a.d.Middleware) - 1; i >= 0; i-- {
		next = a.d.Middleware[i](o, next)
	}
	timeout := o.Timeout
	if timeout == 0 && !endless {
		timeout = DefaultTimeout
	}
	found.handle = func(w http.ResponseWriter, r *http.Request) {
		req := From(r.Context())
		req.Operation = o
		trace.SpanFromContext(r.Context()).SetName(o.OperationID())
		ctx, cancel, err := a.admit(r, o, timeout)
		defer cancel()
		if err == nil {
			if err = limitBody(ctx, r, req, o.MaxBody); err == nil {
				err = a.answer(w, r.WithContext(ctx), next)
			}
		}
		if err != nil {
			a.fail(r, req, err)
		}
	}
	found.changes = o.Changes
	for _, alias := range o.Alias {
		a.router.HandleFunc(o.Method+" "+a.d.Base+alias, found.handle)
		a.router.last.changes = o.Changes
	}
}

// answer runs an operation in the form that the client prefers.
func (a *API) answer(w http.ResponseWriter, r *http.Request, next Handler) error {
	if !a.d.XML || !prefersXML(r.Header.Values("Accept")) {
		return next(w, r)
	}
	x := &xmlWriter{ResponseWriter: w}
	if err := next(x, r); err != nil {
		return err
	}
	return x.finish()
}

// admit authenticates, asks for the permission and takes from the rate budget.
func (a *API) admit(r *http.Request, o *Operation, timeout time.Duration) (context.Context, context.CancelFunc, error) {
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	if !o.Public {
		known, err := a.d.Authenticate(ctx, r)
		if err != nil {
			return ctx, cancel, err
		}
		ctx = known
	}
	if o.Permission != "" && a.d.Allow != nil {
		if err := a.d.Allow(ctx, o.Permission); err != nil {
			return ctx, cancel, err
		}
	}
	if o.RateTier != "" && a.d.Limit != nil {
		if err := a.d.Limit(ctx, o.RateTier); err != nil {
			return ctx, cancel, err
		}
	}
	return ctx, cancel, nil
}

// ServeHTTP answers a request at the documented path. Server does more: it
// instruments and knows the prefix.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plain.instrument(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, "") })).ServeHTTP(w, r)
}

// serve routes a request that came through prefix.
func (a *API) serve(w http.ResponseWriter, r *http.Request, prefix string) {
	req := From(r.Context())
	req.api, req.Mount = a, prefix
	defer a.recover(r, req)
	if a.d.XML {
		w.Header().Add("Vary", "Accept")
	}
	// An ordinary character of a value; net/url refuses what holds one.
	r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, ";", "%3B")
	path := r.URL.EscapedPath()[len(prefix):]
	found, values := a.router.find(r.Method, path)
	if found == nil || r.Method == http.MethodHead && found.changes {
		a.unrouted(w, r, req, path)
		return
	}
	found.bind(r, values)
	found.handle(w, r)
}

func (a *API) unrouted(w http.ResponseWriter, r *http.Request, req *Request, path string) {
	allowed := a.router.allowed(path)
	switch {
	case len(allowed) == 0:
		a.fail(r, req, fault.New(fault.NotFound, "route.not-found", "there is nothing at this address"))
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		a.fail(r, req, WithStatus(http.StatusMethodNotAllowed, fault.New(fault.Invalid, "route.method", "%s is not possible here", r.Method)))
	}
}

// recover answers a panic like any other internal error.
func (a *API) recover(r *http.Request, req *Request) {
	p := recover()
	if p == nil {
		return
	}
	if isAbort(p) {
		panic(p)
	}
	a.fail(r, req, faultOfPanic(p))
}

// isAbort tells whether a panic asks for the connection to be cut.
func isAbort(p any) bool {
	err, ok := p.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// faultOfPanic must be called where the panic is recovered, for its stack.
func faultOfPanic(p any) *fault.Error {
	return fault.Of(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
}

// jsonFormat writes what huma hands over: errors as they were rendered, the rest
// as JSON. The length is set, and a value that does not encode is found before
// anything is sent.
var jsonFormat = huma.Format{Marshal: marshal, Unmarshal: unmarshal}

var answerBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func marshal(w io.Writer, v any) error {
	if f, ok := v.(*failure); ok {
		_, err := w.Write(f.body)
		return err
	}
	buffer := answerBuffers.Get().(*bytes.Buffer)
	buffer.Reset()
	defer func() {
		if buffer.Cap() <= DefaultMaxBody {
			answerBuffers.Put(buffer)
		}
	}()
	if err := encodeJSON(buffer, v); err != nil {
		if rw, ok := w.(*responseWriter); ok {
			rw.muted = true // huma would write a text of its own
		}
		return err
	}
	if rw, ok := w.(*responseWriter); ok && !rw.sent {
		rw.Header().Set("Content-Length", strconv.Itoa(buffer.Len()))
	}
	// A client that is gone cannot be told.
	_, _ = w.Write(buffer.Bytes())
	return nil
}

// unmarshal decodes after the check, so what fails here is a type's own decoder.
func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	var f *fault.Error
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &f):
		return errors.New(f.Public)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s must not be a %s", kind.Field, kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("must not be a %s", kind.Value)
	}
	return err
}
