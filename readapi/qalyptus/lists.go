package qalyptus

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"docket/domain"
	"docket/internal/httpx"
	"docket/readapi/access"
	"docket/readapi/query"
	"docket/readapi/query/bracket"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// Listing is the input of a list: the raw query, read by the bracket grammar.
type Listing struct{ values url.Values }

// Resolve implements huma.Resolver.
func (l *Listing) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	l.values = u.Query()
	return nil
}

func (l *Listing) query() url.Values { return l.values }

// Below is the input of a list below something: the things of {id}.
type Below struct {
	ID uuid.UUID `path:"id"`
	Listing
}

// ByID is the input of operations on one thing.
type ByID struct {
	ID uuid.UUID `path:"id"`
}

type listing interface{ query() url.Values }

// list registers a paged, filtered, sorted GET. narrow adds what the client did
// not ask for but must hold, or answers a fault such as an unknown parent; it
// may be nil.
func list[T, I any](r *Reads, op httpx.Op, shape *query.Shape[T], narrow func(ctx context.Context, in *I) (query.Expr, error)) {
	op.Method, op.Returns = http.MethodGet, List[T]{}
	op.Parameters = append(op.Parameters, parameters(shape.Resource())...)
	httpx.Register(r.api, op, func(ctx context.Context, in *I) (*httpx.Raw, error) {
		q, err := bracket.Parse(shape.Resource(), any(in).(listing).query())
		if err != nil {
			return nil, err
		}
		req := q.Request()
		req.Shape, req.Scope, req.Env, req.Total = shape, scopeOf(ctx), caller(ctx), true
		if narrow != nil {
			more, err := narrow(ctx, in)
			if err != nil {
				return nil, err
			}
			req.Filter = query.All(req.Filter, more)
		}
		if q.All {
			return r.all(ctx, req), nil
		}
		page, err := r.reader.List(ctx, req)
		if err != nil {
			return nil, err
		}
		body := make([]byte, 0, len(page.Items)+160)
		body = append(append(body, `{"data":`...), page.Items...)
		return &httpx.Raw{ContentType: "application/json", Body: appendPagination(body, q.Page, q.Size, page.Total)}, nil
	})
}

// everything registers a GET of a list that documents no pages.
func everything[T, I any](r *Reads, op httpx.Op, shape *query.Shape[T], narrow func(ctx context.Context, in *I) (query.Expr, error)) {
	op.Method, op.Returns = http.MethodGet, Envelope[[]T]{}
	httpx.Register(r.api, op, func(ctx context.Context, in *I) (*httpx.Raw, error) {
		req := query.Request{Shape: shape, Scope: scopeOf(ctx), Env: caller(ctx)}
		if narrow != nil {
			var err error
			if req.Filter, err = narrow(ctx, in); err != nil {
				return nil, err
			}
		}
		return r.stream(ctx, req, func(int64) []byte { return []byte(success + "}") }), nil
	})
}

// all streams a list without pages: one page as long as the list.
func (r *Reads) all(ctx context.Context, req query.Request) *httpx.Raw {
	return r.stream(ctx, req, func(n int64) []byte { return appendPagination(nil, 1, int(n), n) })
}

// stream answers with a list as it comes from the database; end is what follows
// after n rows.
func (r *Reads) stream(ctx context.Context, req query.Request, end func(n int64) []byte) *httpx.Raw {
	return &httpx.Raw{ContentType: "application/json", Stream: func(w io.Writer) error {
		if _, err := io.WriteString(w, `{"data":`); err != nil {
			return err
		}
		n, err := r.reader.Stream(ctx, w, req)
		if err != nil {
			return err
		}
		_, err = w.Write(end(n))
		return err
	}}
}

func appendPagination(dst []byte, page, size int, total int64) []byte {
	var pages int64
	if size > 0 {
		pages = (total + int64(size) - 1) / int64(size)
	}
	dst = append(dst, success+`,"pagination":{"page":`...)
	dst = strconv.AppendInt(dst, int64(page), 10)
	dst = append(dst, `,"pageSize":`...)
	dst = strconv.AppendInt(dst, int64(size), 10)
	dst = append(dst, `,"totalItems":`...)
	dst = strconv.AppendInt(dst, total, 10)
	dst = append(dst, `,"totalPages":`...)
	dst = strconv.AppendInt(dst, pages, 10)
	return append(dst, "}}"...)
}

// get registers a GET of one thing by {id}. narrow may be nil.
func get[T any](r *Reads, op httpx.Op, shape *query.Shape[T], narrow func(ctx context.Context) query.Expr) {
	op.Method, op.Returns = http.MethodGet, Envelope[T]{}
	httpx.Register(r.api, op, func(ctx context.Context, in *ByID) (*httpx.Raw, error) {
		var filter query.Expr
		if narrow != nil {
			filter = narrow(ctx)
		}
		body, err := r.one(ctx, shape, in.ID, filter)
		if err != nil {
			return nil, err
		}
		return &httpx.Raw{ContentType: "application/json", Body: body}, nil
	})
}

// one reads a thing in its envelope.
func (r *Reads) one(ctx context.Context, shape query.Layout, id domain.ID, filter query.Expr) ([]byte, error) {
	data, err := r.reader.Get(ctx, query.Request{Shape: shape, Scope: scopeOf(ctx), Env: caller(ctx), Filter: filter}, id)
	if err != nil {
		return nil, err
	}
	return Wrap(data), nil
}

// Written answers a write with the thing as it reads now. When the read models
// have not come that far, or don't show it, it answers what the command knows:
// state. The write is done, so that no trouble with reading makes it a failure.
func Written[T any](ctx context.Context, r *Reads, status int, shape *query.Shape[T], id domain.ID, current bool, state func() T) (*httpx.Raw, error) {
	if current {
		if body, err := r.one(ctx, shape, id, nil); err == nil {
			return &httpx.Raw{Status: status, ContentType: "application/json", Body: body}, nil
		}
	}
	return httpx.JSON(status, Envelope[T]{Data: state(), IsSuccess: true})
}

// Done answers a write that leaves nothing to show.
func Done() *httpx.Raw {
	return &httpx.Raw{Status: http.StatusOK, ContentType: "application/json", Body: Wrap([]byte("null"))}
}

// caller is who computed fields are for.
func caller(ctx context.Context) domain.Actor {
	a, _ := domain.ActorOf(ctx)
	return a
}

func scopeOf(ctx context.Context) query.Scope {
	return access.Scope(caller(ctx)) // without an actor: a scope of nothing
}

// parameters documents the filters, order and pages of a list.
func parameters(r *query.Resource) []*huma.Param {
	var sorts []string
	var params []*huma.Param
	text := func() *huma.Schema { return &huma.Schema{Type: huma.TypeString} }
	for _, f := range r.Fields {
		if f.Hidden {
			continue
		}
		if f.Sortable {
			sorts = append(sorts, f.Name)
		}
		if !bracket.Offers(&f) {
			continue
		}
		params = append(params, &huma.Param{Name: f.Name, In: "query", Schema: text(), Description: filterHelp(f)})
	}
	return append(params,
		&huma.Param{Name: "sort_by", In: "query", Schema: text(), Description: "One of " + strings.Join(sorts, ", ") + "."},
		&huma.Param{Name: "sort_direction", In: "query", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"asc", "desc"}}, Description: "asc unless given."},
		&huma.Param{Name: "page", In: "query", Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "From 1."},
		&huma.Param{Name: "page_size", In: "query", Schema: &huma.Schema{Type: huma.TypeInteger}, Description: fmt.Sprintf("Up to %d; %d unless given.", bracket.MaxSize, bracket.DefaultSize)},
		&huma.Param{Name: "get_all", In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean}, Description: "true: everything in one answer."},
	)
}

func filterHelp(f query.Field) string {
	ops := []string{"equal"}
	for _, o := range []struct {
		op   query.Op
		name string
	}{{query.Contains, "contains"}, {query.Starts, "startswith"}, {query.Ends, "endswith"}} {
		if f.Ops.Has(o.op) {
			ops = append(ops, o.name)
		}
	}
	if len(ops) == 1 {
		return "Exact value."
	}
	return fmt.Sprintf("Equal without regard to case; or %s[operator]= with %s.", f.Name, strings.Join(ops, ", "))
}

// Usual operators of text filters in this API.
const textOps = query.Eq | query.Contains | query.Starts | query.Ends
