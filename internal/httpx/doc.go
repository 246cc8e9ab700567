// Package httpx is the kit from which Docket's HTTP dialects are made. It knows
// nothing of the domain: who the caller is, what a permission means and how an
// error is worded are hooks of a Dialect.
//
// # An operation
//
//	api := httpx.NewAPI(httpx.Dialect{
//		Name: "qalyptus", Title: "Qalyptus API", Version: "v2",
//		Base: "/api/v2", Prefix: "/qalyptus",
//		RenderError: renderError, ErrorExample: Envelope{},
//		Authenticate: authenticate, Allow: allow, Classify: classify,
//		Middleware: []httpx.Middleware{idempotency.Middleware(store, callerID)},
//	})
//
//	type createGroup struct {
//		Body struct {
//			Name        string                    `json:"name" minLength:"1" maxLength:"256"`
//			Description *string                   `json:"description,omitempty" nullable:"true"`
//			Members     []uuid.UUID               `json:"members,omitempty"`
//			Expires     httpx.Optional[time.Time] `json:"expires,omitzero"`
//		}
//	}
//	type groupAnswer struct{ Body GroupDTO }
//
//	httpx.Register(api, httpx.Op{
//		ID: "22", Method: "POST", Path: "/groups", Summary: "Create a group",
//		Tags: []string{"Group"}, Permission: "groups.create", Success: 201,
//	}, func(ctx context.Context, in *createGroup) (*groupAnswer, error) { ... })
//
// From the one value come the route, decoding, validation, the OpenAPI
// operation, the permission check, the metrics label and the coverage test
// (API.Operations). Handlers return faults (docket/domain/fault) or plain errors;
// both are rendered in the dialect's body.
//
// # Order of steps
//
// Route (404, 405 with Allow) → Authenticate → Allow → Limit → size of the body →
// Middleware → media type, JSON syntax → validation of body and parameters, all
// problems in one answer → handler. HEAD falls back to GET. A literal path
// segment wins over a parameter.
//
// # Input fields
//
//	ID   uuid.UUID           `path:"id"`                   // 400 naming "id" In "path" when malformed
//	ID   string              `path:"groupId"`              // where malformed means 404: parse it yourself
//	Page httpx.Optional[int] `query:"page" minimum:"1"`    // tells absent from 0
//	Sort string              `query:"sort_by" enum:"name,date"`
//	Ids  []string            `query:"ids" format:"uuid"`   // comma-joined; `query:"ids,explode"` for repeated
//	Tag  string              `header:"If-Match"`
//	Body T                                                 // required JSON body; *T makes it optional
//	RawBody []byte           `contentType:"application/x-www-form-urlencoded"` // undecoded
//	RawBody multipart.Form                                 // uploads; raise Op.MaxBody
//
// Forms: with Op.Form the Body is sent as application/x-www-form-urlencoded. Each
// field becomes the member of its name (json tag), under the same rules; lists come
// from repeated fields, of numbers also joined by commas; empty numbers and booleans
// are absent; JSON is taken too, under either content type. Bodies of DELETE are
// read like any other. From(ctx).RawForm() is the form as it came.
//
// Uploads: RegisterUpload takes multipart/form-data with one file, which a File is
// given while it arrives; the other parts are the Body, as of a form. What is wrong
// names the part.
//
// With Dialect.FoldNames the names of query parameters and form fields match
// without regard to case; two spellings of one name are refused. With Dialect.XML
// whoever prefers it (Accept) gets XML in place of JSON, of errors too; see asXML
// for the names of elements.
//
// A query that is not well percent-encoded is refused, since a filter that nobody
// can read must not be taken for none; a semicolon is part of a value.
//
// Parameters that have no fixed name (name[contains]=x) are read from the request
// by a resolver: a method Resolve(huma.Context) []error on the input struct or on
// a struct embedded in it, which may return faults (fault.InvalidQuery).
//
// # Members of a JSON body
//
//	required, not empty      Name  string           `json:"name" minLength:"1"`
//	required, may be empty   Name  string           `json:"name"`
//	optional, not null       Name  string           `json:"name,omitempty"`
//	optional, null = absent  Name  *string          `json:"name,omitempty"`
//	required, may be null    Name  *string          `json:"name" nullable:"true"`
//	absent ≠ null ≠ value    Name  Optional[string] `json:"name,omitzero"`
//	uuid                     ID    uuid.UUID        `json:"id"`       (format is added)
//	date-time                At    time.Time        `json:"at"`
//	one of                   Type  string           `json:"type" enum:"A,B"`
//	optional list            Ids   []uuid.UUID      `json:"ids,omitempty" maxItems:"100"`
//	optional object          Sub   *Sub             `json:"sub,omitempty"`
//	a whole body that is a list: Body []T
//
// Bodies are UTF-8 without a Content-Encoding. Unknown members are ignored. Names match without regard to case, as Go's and
// .NET's decoders do, and a member written twice (in any case) is refused, since
// validator and decoder could look at different ones. Null is refused wherever
// the Go type cannot hold it (pointers, Optional and `nullable:"true"` can).
// Malformed JSON, trailing bytes and a missing body are 400, another media type
// than JSON is 415 (unless Op.AnyType), too many bytes are 413. Invalid input is
// 400 unless Dialect.Status says otherwise.
//
// A field of a fault says where it stands: In "body" with Path "name" or
// "reports[0].type" or "[2]"; In "query", "path", "header" with the parameter's
// name.
//
// # Output
//
// A struct with Body (any JSON value) and header fields (`header:"ETag"`); a nil
// pointer for no body; *Raw for bytes as they are, for a status or content type
// decided at run time (see JSON), or for a streamed body (Raw.Stream); *Stream
// when it is always streamed. A stream that fails after its first 32 KiB aborts
// the connection.
//
// # Of the request at hand
//
// From(ctx) has the request id, the operation, TraceID and URL, which makes
// absolute links in the way the client came (own prefix, public address).
// Traceparent(ctx) is for metadata of what is recorded.
package httpx
