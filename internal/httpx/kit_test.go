package httpx

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"docket/domain/fault"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type callerKey struct{}

// envelope is a dialect's error body, unlike the default one.
type envelope struct {
	Error  string  `json:"error"`
	Fields []named `json:"fields"`
}

type named struct{ In, Path, Message string }

func testDialect() Dialect {
	return Dialect{
		Name: "toy", Title: "Toy", Version: "1", Base: "/api/v2", Prefix: "/toy",
		ErrorExample: envelope{},
		RenderError: func(_ context.Context, f *fault.Error, status int) ErrorAnswer {
			e := envelope{Error: f.Public}
			for _, x := range f.Fields {
				e.Fields = append(e.Fields, named{x.In, x.Path, x.Message})
			}
			return ErrorAnswer{Body: e, Header: http.Header{"X-Dialect": {"toy"}}}
		},
		Authenticate: func(ctx context.Context, r *http.Request) (context.Context, error) {
			caller, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				return nil, fault.New(fault.Unauthenticated, "credential.missing", "a credential is needed")
			}
			return context.WithValue(ctx, callerKey{}, caller), nil
		},
		Allow: func(ctx context.Context, permission string) error {
			if ctx.Value(callerKey{}) == "guest" {
				return fault.New(fault.Denied, "denied", "this needs %s", permission)
			}
			return nil
		},
		Limit: func(ctx context.Context, tier string) error {
			if ctx.Value(callerKey{}) == "greedy" {
				return &fault.Error{Kind: fault.Limited, Code: "limited", Public: "too many requests", RetryAfter: 1500 * time.Millisecond}
			}
			return nil
		},
		Classify: UnavailableWhen(func(err error) bool { return errors.Is(err, io.ErrClosedPipe) }),
	}
}

type part struct {
	ID    uuid.UUID `json:"id"`
	Label *string   `json:"label,omitempty" maxLength:"5"`
}

type thing struct {
	Name     string           `json:"name" minLength:"1" maxLength:"10"`
	Note     *string          `json:"note,omitempty" maxLength:"5" nullable:"true"`
	Due      time.Time        `json:"due,omitzero"`
	Owner    *uuid.UUID       `json:"owner,omitempty" nullable:"true"`
	Parts    []part           `json:"parts,omitempty"`
	Count    int              `json:"count,omitempty" minimum:"0"`
	Colour   string           `json:"colour,omitempty" enum:"red,blue"`
	Limit    Optional[int]    `json:"limit,omitzero" maximum:"9"`
	Extra    map[string]int   `json:"extra,omitempty"`
	Nickname Optional[string] `json:"nickname,omitzero" maxLength:"3"`
}

type thingIn struct {
	ID   uuid.UUID     `path:"id"`
	Page Optional[int] `query:"page" minimum:"1"`
	Sort string        `query:"sort_by" enum:"Name,Date"`
	All  bool          `query:"get_all"`
	Body thing
	_    struct{}
}

type thingOut struct {
	ETag string `header:"ETag"`
	Body thing
}

// testAPI has an operation for everything the tests ask.
func testAPI(t *testing.T, d Dialect) *API {
	t.Helper()
	a := NewAPI(d)
	Register(a, Op{ID: "1", Method: "PUT", Path: "/things/{id}", Summary: "Replace a thing", Permission: "things.edit", RateTier: "slow", MaxBody: 600},
		func(_ context.Context, in *thingIn) (*thingOut, error) {
			return &thingOut{ETag: ETag(int64(in.Page.Or(-1))), Body: in.Body}, nil
		})
	Register(a, Op{ID: "2", Method: "DELETE", Path: "/things", Summary: "Delete things", Success: 200},
		func(_ context.Context, in *struct{ Body []uuid.UUID }) (*struct{ Body int }, error) {
			return &struct{ Body int }{len(in.Body)}, nil
		})
	Register(a, Op{ID: "3", Method: "GET", Path: "/failures/{kind}", Summary: "Fail", Timeout: time.Hour},
		func(ctx context.Context, in *struct {
			Kind string `path:"kind"`
		}) (*thingOut, error) {
			switch in.Kind {
			case "panic":
				panic("secret")
			case "driver":
				return nil, errors.New("pq: secret relation")
			case "internal":
				return nil, fault.New(fault.Internal, "secret.code", "secret text").Because(errors.New("secret"))
			case "down":
				return nil, io.ErrClosedPipe
			case "teapot":
				return nil, WithStatus(http.StatusTeapot, fault.New(fault.Invalid, "tea", "no coffee"))
			}
			return nil, fault.Missing("thing", in.Kind).Because(errors.New("secret"))
		})
	Register(a, Op{ID: "4", Method: "GET", Path: "/raw", Summary: "Raw", Public: true},
		func(context.Context, *struct{}) (*Raw, error) {
			return &Raw{ContentType: "text/plain", Header: http.Header{"X-Own": {"1"}}, Body: []byte("as is")}, nil
		})
	Register(a, Op{ID: "5", Method: "GET", Path: "/stream/{n}", Summary: "Stream", Public: true, Produces: "text/plain"},
		func(_ context.Context, in *struct {
			N int `path:"n"`
		}) (*Stream, error) {
			return &Stream{ContentType: "text/plain", Write: func(w io.Writer) error {
				for range in.N {
					if _, err := io.WriteString(w, "0123456789"); err != nil {
						return err
					}
				}
				if in.N != 100 {
					return errors.New("source broke")
				}
				return nil
			}}, nil
		})
	Register(a, Op{ID: "6", Method: "GET", Path: "/unencodable", Summary: "Unencodable", Public: true},
		func(context.Context, *struct{}) (*struct{ Body any }, error) {
			return &struct{ Body any }{map[string]any{"f": func() {}}}, nil
		})
	Register(a, Op{ID: "7", Method: "POST", Path: "/things/{id}/touch", Summary: "Touch"},
		func(context.Context, *struct {
			ID uuid.UUID `path:"id"`
		}) (*struct{}, error) {
			return nil, nil
		})
	Register(a, Op{ID: "8", Method: "POST", Path: "/optional", Summary: "Optional body", AnyType: true},
		func(_ context.Context, in *struct{ Body *thing }) (*struct{ Body bool }, error) {
			return &struct{ Body bool }{in.Body != nil}, nil
		})
	Register(a, Op{ID: "9", Method: "POST", Path: "/search", Summary: "Search", ReadOnly: true},
		func(context.Context, *struct{ Body *thing }) (*struct{}, error) { return nil, nil })
	return a
}

type call struct {
	method, path, body string
	header             []string
	as                 string
}

func (c call) do(t *testing.T, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	r := httptest.NewRequest(c.method, c.path, body)
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.as == "" {
		c.as = "editor"
	}
	if c.as != "nobody" {
		r.Header.Set("Authorization", "Bearer "+c.as)
	}
	for i := 0; i < len(c.header); i += 2 {
		r.Header.Set(c.header[i], c.header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func problems(t *testing.T, w *httptest.ResponseRecorder) envelope {
	t.Helper()
	var e envelope
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), w.Body.String())
	require.Equal(t, "toy", w.Header().Get("X-Dialect"), "rendered by the dialect")
	return e
}

const thingPath = "/api/v2/things/0198b5c2-7b1e-7cc3-98c4-dc0c0c07398f"

func TestAnswersWhatWasDecoded(t *testing.T) {
	w := call{method: "PUT", path: thingPath + "?page=3",
		body: `{"name":"ééééééé","unknown":{"a":null,"a":1},"due":"2019-08-24T14:15:22Z","owner":null,"extra":{"a":1,"A":2},"nickname":null,"limit":4}`}.do(t, testAPI(t, testDialect()))
	require.Equal(t, 200, w.Code, w.Body.String())
	require.Equal(t, `"3"`, w.Header().Get("ETag"))
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.JSONEq(t, `{"name":"ééééééé","due":"2019-08-24T14:15:22Z","extra":{"a":1,"A":2},"nickname":null,"limit":4}`, w.Body.String())
	require.Len(t, w.Header().Get(RequestIDHeader), 32)
}

func TestInvalidRequestsNameTheField(t *testing.T) {
	a := testAPI(t, testDialect())
	for name, c := range map[string]struct {
		query, body string
		in, path    string
		says        string
	}{
		"missing member":        {body: `{}`, in: "body", path: "name", says: "is required"},
		"missing nested member": {body: `{"name":"a","parts":[{"id":"0198b5c2-7b1e-7cc3-98c4-dc0c0c07398f"},{}]}`, in: "body", path: "parts[1].id", says: "is required"},
		"empty text":            {body: `{"name":""}`, in: "body", path: "name", says: "at least 1"},
		"too long in runes":     {body: `{"name":"ééééééééééé"}`, in: "body", path: "name", says: "at most 10"},
		"wrong type":            {body: `{"name":5}`, in: "body", path: "name", says: "must be a string"},
		"null for required":     {body: `{"name":null}`, in: "body", path: "name", says: "must not be null"},
		"null for optional":     {body: `{"name":"a","count":null}`, in: "body", path: "count", says: "must not be null"},
		"null array":            {body: `{"name":"a","parts":null}`, in: "body", path: "parts", says: "must not be null"},
		"null item":             {body: `{"name":"a","parts":[null]}`, in: "body", path: "parts[0]", says: "must not be null"},
		"bad uuid":              {body: `{"name":"a","owner":"x"}`, in: "body", path: "owner", says: "UUID"},
		"bad nested uuid":       {body: `{"name":"a","parts":[{"id":"x"}]}`, in: "body", path: "parts[0].id", says: "UUID"},
		"bad date":              {body: `{"name":"a","due":"yesterday"}`, in: "body", path: "due", says: "date-time"},
		"enum":                  {body: `{"name":"a","colour":"green"}`, in: "body", path: "colour", says: "red, blue"},
		"optional's rule":       {body: `{"name":"a","limit":10}`, in: "body", path: "limit", says: "at most 9"},
		"optional's length":     {body: `{"name":"a","nickname":"long"}`, in: "body", path: "nickname", says: "at most 3"},
		"member twice":          {body: `{"name":"a","name":"b"}`, in: "body", path: "name", says: "twice"},
		"member twice by case":  {body: `{"name":"a","NAME":"a name that is far too long"}`, in: "body", path: "NAME", says: "twice"},
		"member twice by fold":  {body: `{"parts":[],"name":"a","part\u017f":[]}`, in: "body", path: "part\u017f", says: "twice"},
		"map key twice":         {body: `{"name":"a","extra":{"k":1,"k":2}}`, in: "body", path: "extra.k", says: "twice"},
		"wrong case, too long":  {body: `{"NAME":"a name that is far too long"}`, in: "body", path: "name", says: "at most 10"},
		"not an object":         {body: `[]`, in: "body", path: "", says: "must be an object"},
		"malformed":             {body: `{"name":`, path: "-", says: "not well-formed"},
		"trailing garbage":      {body: `{"name":"a"} x`, path: "-", says: "not well-formed"},
		"not UTF-8":             {body: "{\"name\":\"a\xff\"}", path: "-", says: "not UTF-8"},
		"two documents":         {body: `{"name":"a"}{}`, path: "-", says: "not well-formed"},
		"blank":                 {body: "  \n", path: "-", says: "body is required"},
		"query below minimum":   {query: "?page=0", body: `{"name":"a"}`, in: "query", path: "page", says: "at least 1"},
		"query not a number":    {query: "?page=x", body: `{"name":"a"}`, in: "query", path: "page", says: "integer"},
		"query not in enum":     {query: "?sort_by=Size", body: `{"name":"a"}`, in: "query", path: "sort_by", says: "one of"},
		"query cut short":       {query: "?get_all=%2", body: `{"name":"a"}`, in: "query", path: "get_all", says: "percent-encoded"},
		"query by its name":     {query: "?sort%20by=50%&page=1", body: `{"name":"a"}`, in: "query", path: "sort by", says: "percent-encoded"},
		"query not boolean":     {query: "?get_all=perhaps", body: `{"name":"a"}`, in: "query", path: "get_all", says: "boolean"},
	} {
		t.Run(name, func(t *testing.T) {
			w := call{method: "PUT", path: thingPath + c.query, body: c.body}.do(t, a)
			require.Equal(t, 400, w.Code, w.Body.String())
			e := problems(t, w)
			require.Contains(t, e.Error, c.says)
			if c.path == "-" {
				require.Empty(t, e.Fields)
				return
			}
			require.Len(t, e.Fields, 1, w.Body.String())
			require.Equal(t, c.in, e.Fields[0].In)
			require.Equal(t, c.path, e.Fields[0].Path)
			require.Contains(t, e.Fields[0].Message, c.says)
		})
	}
}

func TestProblemsOfBodyAndParametersComeTogether(t *testing.T) {
	w := call{method: "PUT", path: "/api/v2/things/x?page=0", body: `{"name":"","count":-1,"owner":7}`}.do(t, testAPI(t, testDialect()))
	require.Equal(t, 400, w.Code)
	var paths []string
	for _, f := range problems(t, w).Fields {
		paths = append(paths, f.In+"."+f.Path)
	}
	require.ElementsMatch(t, []string{"body.name", "body.count", "body.owner", "query.page", "path.id"}, paths)
}

// A list of nothing but wrong items costs no more to answer than a short one.
func TestProblemsHaveAnEnd(t *testing.T) {
	for _, body := range []string{`[` + strings.Repeat("5,", 200_000) + `5]`, `[` + strings.Repeat("null,", 100_000) + `5]`} {
		w := call{method: "DELETE", path: "/api/v2/things", body: body}.do(t, testAPI(t, testDialect()))
		require.Equal(t, 400, w.Code)
		fields := problems(t, w).Fields
		require.Len(t, fields, maxProblems)
		require.Equal(t, "[99]", fields[99].Path)
	}
}

func TestArrayBodies(t *testing.T) {
	a := testAPI(t, testDialect())
	w := call{method: "DELETE", path: "/api/v2/things", body: `["0198b5c2-7b1e-7cc3-98c4-dc0c0c07398f","0198b5c2-7b1e-7cc3-98c4-dc0c0c073980"]`}.do(t, a)
	require.Equal(t, 200, w.Code, w.Body.String())
	require.Equal(t, "2\n", w.Body.String())
	w = call{method: "DELETE", path: "/api/v2/things", body: `["0198b5c2-7b1e-7cc3-98c4-dc0c0c07398f","x"]`}.do(t, a)
	require.Equal(t, 400, w.Code)
	require.Equal(t, "[1]", problems(t, w).Fields[0].Path)
	w = call{method: "DELETE", path: "/api/v2/things"}.do(t, a)
	require.Equal(t, 400, w.Code)
	require.Contains(t, problems(t, w).Error, "required")
}

func TestOptionalBody(t *testing.T) {
	a := testAPI(t, testDialect())
	require.Equal(t, "false\n", call{method: "POST", path: "/api/v2/optional"}.do(t, a).Body.String())
	w := call{method: "POST", path: "/api/v2/optional", body: `{"name":"a"}`, header: []string{"Content-Type", "application/x-www-form-urlencoded"}}.do(t, a)
	require.Equal(t, "true\n", w.Body.String(), "JSON sent as a form, where the operation says so")
}

func TestTransportErrorsAreInTheDialect(t *testing.T) {
	a := testAPI(t, testDialect())
	good := `{"name":"a"}`
	for name, c := range map[string]struct {
		call
		status int
		header [2]string
	}{
		"unknown route":    {call: call{method: "GET", path: "/api/v2/nothing"}, status: 404},
		"empty parameter":  {call: call{method: "PUT", path: "/api/v2/things/", body: good}, status: 404},
		"wrong method":     {call: call{method: "PATCH", path: "/api/v2/things"}, status: 405, header: [2]string{"Allow", "DELETE, OPTIONS"}},
		"media type":       {call: call{method: "PUT", path: thingPath, body: good, header: []string{"Content-Type", "text/plain"}}, status: 415},
		"content coding":   {call: call{method: "PUT", path: thingPath, body: good, header: []string{"Content-Encoding", "gzip"}}, status: 415},
		"too large":        {call: call{method: "PUT", path: thingPath, body: `{"name":"` + strings.Repeat("a", 600) + `"}`}, status: 413},
		"no credential":    {call: call{method: "PUT", path: thingPath, body: good, as: "nobody"}, status: 401, header: [2]string{"WWW-Authenticate", "Bearer"}},
		"no permission":    {call: call{method: "PUT", path: thingPath, body: `{`, as: "guest"}, status: 403},
		"rate":             {call: call{method: "PUT", path: thingPath, body: good, as: "greedy"}, status: 429, header: [2]string{"Retry-After", "2"}},
		"store down":       {call: call{method: "GET", path: "/api/v2/failures/down"}, status: 503, header: [2]string{"Retry-After", "1"}},
		"missing":          {call: call{method: "GET", path: "/api/v2/failures/missing"}, status: 404},
		"panic":            {call: call{method: "GET", path: "/api/v2/failures/panic"}, status: 500},
		"driver":           {call: call{method: "GET", path: "/api/v2/failures/driver"}, status: 500},
		"internal":         {call: call{method: "GET", path: "/api/v2/failures/internal"}, status: 500},
		"own status":       {call: call{method: "GET", path: "/api/v2/failures/teapot"}, status: 418},
		"unencodable":      {call: call{method: "GET", path: "/api/v2/unencodable"}, status: 500},
		"stream at once":   {call: call{method: "GET", path: "/api/v2/stream/3"}, status: 500},
		"bad path integer": {call: call{method: "GET", path: "/api/v2/stream/x"}, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.do(t, a)
			require.Equal(t, c.status, w.Code, w.Body.String())
			e := problems(t, w)
			require.NotEmpty(t, e.Error)
			require.NotContains(t, w.Body.String(), "secret")
			require.NotContains(t, w.Body.String(), "error marshaling")
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			if c.header[0] != "" {
				require.Equal(t, c.header[1], w.Header().Get(c.header[0]))
			}
		})
	}
}

func TestStatusTableOfADialect(t *testing.T) {
	d := testDialect()
	d.Status = map[fault.Kind]int{fault.Invalid: 422, fault.NotFound: 410}
	a := testAPI(t, d)
	require.Equal(t, 422, call{method: "PUT", path: thingPath, body: `{}`}.do(t, a).Code)
	require.Equal(t, 410, call{method: "GET", path: "/api/v2/failures/x"}.do(t, a).Code)
}

func TestAnswersWithoutBody(t *testing.T) {
	w := call{method: "POST", path: thingPath + "/touch"}.do(t, testAPI(t, testDialect()))
	require.Equal(t, 204, w.Code)
	require.Zero(t, w.Body.Len())
	w = call{method: "OPTIONS", path: "/api/v2/things"}.do(t, testAPI(t, testDialect()))
	require.Equal(t, 204, w.Code)
	require.Equal(t, "DELETE, OPTIONS", w.Header().Get("Allow"))
}

func TestRawAndStream(t *testing.T) {
	srv := httptest.NewServer(testAPI(t, testDialect()))
	defer srv.Close()
	get := func(path string) (*http.Response, string, error) {
		resp, err := http.Get(srv.URL + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, string(body), err
	}
	resp, body, err := get("/api/v2/raw")
	require.NoError(t, err)
	require.Equal(t, "as is", body)
	require.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
	require.Equal(t, "1", resp.Header.Get("X-Own"))

	resp, body, err = get("/api/v2/stream/100")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Len(t, body, 1000)

	resp, _, err = get("/api/v2/stream/100000")
	require.Equal(t, 200, resp.StatusCode)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "a stream that breaks under way must not look whole")
}

func TestBodyThatEndsEarly(t *testing.T) {
	r := httptest.NewRequest("PUT", thingPath, io.MultiReader(strings.NewReader(`{"name":`), brokenReader{}))
	r.Header.Set("Authorization", "Bearer editor")
	w := httptest.NewRecorder()
	testAPI(t, testDialect()).ServeHTTP(w, r)
	require.Equal(t, 400, w.Code)
	require.Contains(t, problems(t, w).Error, "ended early")
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestRequestID(t *testing.T) {
	a := testAPI(t, testDialect())
	for given, kept := range map[string]bool{"0123456789abcdef": true, "a b": false, "short": false, "nasty\tid-0000": false, strings.Repeat("x", 129): false} {
		w := call{method: "GET", path: "/api/v2/raw", header: []string{RequestIDHeader, given}}.do(t, a)
		require.Equal(t, kept, w.Header().Get(RequestIDHeader) == given, given)
	}
}

func TestLogSaysEverythingOnceAndNothingPersonal(t *testing.T) {
	var lines strings.Builder
	in := newInstruments(Options{Logger: slog.New(slog.NewJSONHandler(&lines, nil))})
	a := testAPI(t, testDialect())
	h := in.instrument(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, "") }))
	call{method: "GET", path: "/api/v2/failures/driver?mail=jane@example.org"}.do(t, h)
	require.Equal(t, 1, strings.Count(lines.String(), "\n"))
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines.String()), &line))
	require.Equal(t, "ERROR", line["level"])
	require.Equal(t, "pq: secret relation", line["cause"])
	require.Equal(t, "toy.3", line["operation"])
	require.NotContains(t, lines.String(), "jane")
	lines.Reset()
	call{method: "PUT", path: thingPath, body: `{"name":"jane@example.org is too long"}`}.do(t, h)
	require.Contains(t, lines.String(), `"level":"INFO"`)
	require.NotContains(t, lines.String(), "jane")
}
