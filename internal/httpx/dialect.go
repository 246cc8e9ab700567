package httpx

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// DefaultMaxBody is the largest request body of an operation that names none.
const DefaultMaxBody = 1 << 20

// DefaultTimeout bounds an operation that names no time of its own.
const DefaultTimeout = 30 * time.Second

// Dialect describes one documented API: where it lives, how it authenticates
// and how it words its errors.
type Dialect struct {
	Name        string // "qalyptus": label in metrics and logs, first part of operation ids
	Title       string
	Version     string
	Description string

	// Base is put before the Path of every operation ("/api/v2"). Empty when the
	// operations name their whole paths.
	Base string
	// Mounts are the path prefixes whose requests this dialect answers on the
	// main listener. Empty means {Base}.
	Mounts []string
	// Prefix is where the dialect is reachable as well ("/qalyptus"): its
	// document and documentation page live there, and every operation under
	// Prefix + its path.
	Prefix string
	// OwnListener keeps the dialect off its Mounts on the main listener, where it
	// then answers under Prefix only.
	OwnListener bool

	// RenderError words a fault in the dialect's documented body. f carries no
	// cause and, when internal, no detail. status is what the kit would answer.
	// Nil renders RFC 9457 problem details.
	RenderError func(ctx context.Context, f *fault.Error, status int) ErrorAnswer
	// ErrorExample is a value of the error body's type, for the document.
	ErrorExample any
	// Status replaces entries of the default table from kind to status.
	Status map[fault.Kind]int
	// Classify turns an error that is no fault into one (a store that is down
	// into Unavailable), or answers nil.
	Classify func(error) *fault.Error

	// Authenticate resolves the credential and puts the caller into the context.
	// It is not called for public operations.
	Authenticate func(ctx context.Context, r *http.Request) (context.Context, error)
	// Allow tells whether the caller in ctx holds a permission. It is called with
	// the permission of the operation before the body is read.
	Allow func(ctx context.Context, permission string) error
	// Limit takes one request of the caller in ctx from the budget of a tier.
	Limit func(ctx context.Context, tier string) error
	// Middleware runs after Authenticate, Allow and Limit and before decoding,
	// the first outermost.
	Middleware []Middleware

	// Security are the schemes of the document. Nil means one Bearer scheme.
	Security map[string]*huma.SecurityScheme
	// Credentials are the combinations of schemes that let a caller in, each with
	// the names of all it takes. Nil means any one scheme.
	Credentials [][]string
	// NoChallenge leaves WWW-Authenticate out: the credential is no HTTP scheme.
	NoChallenge bool

	// FoldNames matches the names of query parameters and of form fields without
	// regard to case. A list of numbers may then be repeated as well as joined by
	// commas.
	FoldNames bool
	// XML answers in XML who prefers it (Accept), errors included.
	XML bool
}

// ErrorAnswer is an error in a dialect's own body.
type ErrorAnswer struct {
	Status      int         // 0 keeps the proposed status
	Header      http.Header // added to the answer
	ContentType string      // empty means application/json
	Body        any         // []byte as it is, nil for no body, anything else as JSON
}

// Handler is a step around an operation. An error is rendered by the dialect.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Middleware wraps the handling of one operation. It runs once per operation at
// registration and may return next unchanged.
type Middleware func(op *Operation, next Handler) Handler

// Op is what an author says about an operation.
type Op struct {
	// ID is the operation's number in the dialect's inventory ("22", "2a"), or a
	// word where there is none. The operation id is "<dialect>.<ID>".
	ID string
	// Also lists further inventory numbers that this same method and path serve.
	Also []string

	Method      string
	Path        string   // below Dialect.Base, with {parameters}
	Alias       []string // further paths below Base, undocumented
	Summary     string
	Description string
	Tags        []string
	Deprecated  bool
	Hidden      bool // leave it out of the document
	Extra       bool // not one of the vendor's documented operations
	// Parameters documents what the input struct does not say, such as the
	// filters of a list that the handler reads from the raw query.
	Parameters []*huma.Param

	Permission string // asked of Dialect.Allow; empty asks nothing
	RateTier   string // asked of Dialect.Limit; empty asks nothing
	Public     bool   // no authentication, no permission
	ReadOnly   bool   // changes nothing whatever its method says: a search by POST
	Changes    bool   // changes something whatever its method says: a token spent by GET
	Form       bool   // the Body is sent as application/x-www-form-urlencoded

	Success  int           // status of success; 0 = 200, or 204 without a body
	MaxBody  int64         // bytes; 0 = DefaultMaxBody
	Timeout  time.Duration // 0 = DefaultTimeout (none for Stream), negative = none
	AnyType  bool          // read a JSON body whatever its Content-Type says
	Produces string        // content type of Raw and Stream answers in the document
	Returns  any           // a value of the body's type of Raw answers, for the document
	Meta     any           // for the dialect's own hooks
}

// Operation is a registered operation.
type Operation struct {
	Op
	Dialect string
	Full    string // Base + Path
}

// OperationID is the operation's name in document, metrics and logs.
func (o *Operation) OperationID() string { return o.Dialect + "." + o.ID }

// Writes tells whether the operation is meant to change something.
func (o *Operation) Writes() bool {
	switch o.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return o.Changes
	}
	return !o.ReadOnly
}

// API is a dialect with its registered operations. It is an http.Handler; all
// registration must be over before the first request.
type API struct {
	d          Dialect
	huma       huma.API
	router     *router
	operations []*Operation
	ids        map[string]bool
	security   []map[string][]string
	document   document
}

// NewAPI makes an API without operations.
func NewAPI(d Dialect) *API {
	if d.Name == "" || d.Title == "" {
		panic("httpx: a dialect needs a name and a title")
	}
	if len(d.Mounts) == 0 && d.Base != "" {
		d.Mounts = []string{d.Base}
	}
	if d.RenderError == nil {
		d.RenderError = renderProblem
		if d.ErrorExample == nil {
			d.ErrorExample = Problem{}
		}
	}
	if d.Security == nil {
		d.Security = map[string]*huma.SecurityScheme{
			"bearer": {Type: "http", Scheme: "bearer", Description: "An API key or a token."},
		}
	}
	a := &API{d: d, router: newRouter(), ids: map[string]bool{}}
	if d.Credentials == nil {
		for name := range d.Security {
			d.Credentials = append(d.Credentials, []string{name})
		}
	}
	for _, names := range d.Credentials {
		together := map[string][]string{}
		for _, name := range names {
			together[name] = []string{}
		}
		a.security = append(a.security, together)
	}
	a.huma = huma.NewAPI(humaConfig(d), humago.NewAdapter(a.router, ""))
	return a
}

// Dialect returns what the API was made of.
func (a *API) Dialect() Dialect { return a.d }

// OpenAPI is the document, to be amended before the first request.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

// Operations lists the registered operations in order of registration.
func (a *API) Operations() []Operation {
	out := make([]Operation, len(a.operations))
	for i, o := range a.operations {
		out[i] = *o
	}
	return out
}

// add validates an operation and remembers it. Mistakes are programming errors
// and panic at start.
func (a *API) add(op Op) *Operation {
	op.ID = strings.TrimPrefix(op.ID, a.d.Name+".")
	o := &Operation{Op: op, Dialect: a.d.Name, Full: a.d.Base + op.Path}
	switch {
	case op.ID == "" || op.Summary == "":
		panic(fmt.Sprintf("httpx: %s %s needs an id and a summary", op.Method, o.Full))
	case op.Path != "" && op.Path[0] != '/':
		panic("httpx: path without leading slash: " + op.Path)
	case o.Public && op.Permission != "":
		panic("httpx: a public operation cannot ask for a permission: " + o.OperationID())
	case !o.Public && a.d.Authenticate == nil:
		panic("httpx: dialect without authentication has a non-public operation: " + o.OperationID())
	}
	for _, id := range append([]string{op.ID}, op.Also...) {
		if a.ids[id] {
			panic("httpx: operation registered twice: " + a.d.Name + "." + id)
		}
		a.ids[id] = true
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	a.operations = append(a.operations, o)
	return o
}
