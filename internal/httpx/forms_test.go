package httpx

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"
)

type formIn struct {
	Page Optional[int] `query:"maxRecords" minimum:"1"`
	IDs  []int         `query:"status"`
	Text []string      `query:"name,explode"`
	Body struct {
		Name  string           `json:"portname" minLength:"1" maxLength:"10"`
		Type  int32            `json:"porttype" enum:"0,1"`
		Flag  *bool            `json:"flag,omitempty"`
		Kinds []int            `json:"detailtype,omitempty"`
		Datas []string         `json:"detaildata,omitempty"`
		Extra Optional[int]    `json:"extra,omitzero" maximum:"9"`
		At    *time.Time       `json:"at,omitempty"`
		Note  Optional[string] `json:"note,omitzero"`
	}
}

func formAPI(t *testing.T) *API {
	t.Helper()
	d := testDialect()
	d.FoldNames, d.XML, d.NoChallenge = true, true, true
	d.Security = map[string]*huma.SecurityScheme{"key": {Type: "apiKey", In: "header", Name: "X-Key"}, "token": {Type: "http", Scheme: "bearer"}}
	d.Credentials = [][]string{{"key"}, {"key", "token"}}
	a := NewAPI(d)
	for i, method := range []string{"PUT", "DELETE"} {
		Register(a, Op{ID: method, Method: method, Path: "/ports", Summary: "Form", Public: true, Form: true, MaxBody: 4000 + int64(i)},
			func(_ context.Context, in *formIn) (*struct{ Body formIn }, error) {
				return &struct{ Body formIn }{*in}, nil
			})
	}
	Register(a, Op{ID: "spend", Method: "GET", Path: "/spend", Alias: []string{"/spend/"}, Summary: "Spend", Changes: true},
		func(context.Context, *struct{}) (*struct{ Body []any }, error) {
			return &struct{ Body []any }{[]any{map[string]any{"a b": "<&>", "n": nil, "x": []int{1, 2}, "1": true}, 2.5, "s"}}, nil
		})
	Register(a, Op{ID: "stream", Method: "GET", Path: "/stream", Summary: "Stream", Public: true},
		func(context.Context, *struct{}) (*Stream, error) {
			return &Stream{ContentType: "application/json", Write: func(w io.Writer) error { _, err := io.WriteString(w, `{"a":1}`); return err }}, nil
		})
	RegisterUpload(a, Op{ID: "upload", Method: "PUT", Path: "/documents", Summary: "Upload", Public: true, MaxBody: 1 << 20, Timeout: time.Minute},
		File[string]{Name: "data", Take: func(_ context.Context, name string, content io.Reader) (string, error) {
			h := sha256.New()
			n, err := io.Copy(h, content)
			switch {
			case n == 0 && err == nil:
				return "", fault.InvalidField("data", "must not be empty")
			case err != nil:
				return "", errors.New("disk: secret")
			}
			return name + " " + hex.EncodeToString(h.Sum(nil)), nil
		}},
		func(_ context.Context, in *struct {
			Body struct {
				User   string `json:"username" minLength:"1"`
				Copies int    `json:"copies,omitempty" minimum:"1"`
			}
		}, file string) (*struct{ Body []any }, error) {
			return &struct{ Body []any }{[]any{in.Body.User, in.Body.Copies, file}}, nil
		})
	return a
}

var formType = []string{"Content-Type", "application/x-www-form-urlencoded"}

func TestFormsDecodeIntoTypedInput(t *testing.T) {
	a := formAPI(t)
	for _, method := range []string{"PUT", "DELETE"} {
		for name, c := range map[string]struct{ query, body, contentType, want string }{
			"typed":               {body: "portname=a+b%2Cc&porttype=1&flag=TRUE", want: `{"portname":"a b,c","porttype":1,"flag":true}`},
			"any case":            {body: "PortName=a&PORTTYPE=0", want: `{"portname":"a","porttype":0}`},
			"pairs in order":      {body: "portname=a&porttype=0&detailtype=3&detaildata=x,y&detailtype=1&detaildata=", want: `{"portname":"a","porttype":0,"detailtype":[3,1],"detaildata":["x,y",""]}`},
			"joined numbers":      {body: "portname=a&porttype=0&detailtype=3,4&detailtype=5", want: `{"portname":"a","porttype":0,"detailtype":[3,4,5]}`},
			"empty numbers":       {body: "portname=a&porttype=0&extra=&flag=&detailtype=", want: `{"portname":"a","porttype":0}`},
			"empty text":          {body: "portname=a&porttype=0&note=", want: `{"portname":"a","porttype":0,"note":""}`},
			"unknown":             {body: "portname=a&porttype=0&other=1&&semi;colon=2", want: `{"portname":"a","porttype":0}`},
			"date":                {body: "portname=a&porttype=0&at=2026-01-02T03:04:05Z", want: `{"portname":"a","porttype":0,"at":"2026-01-02T03:04:05Z"}`},
			"JSON called a form":  {body: ` {"PORTNAME":"a","porttype":1}`, want: `{"portname":"a","porttype":1}`},
			"JSON":                {body: `{"portname":"a","porttype":1}`, contentType: "application/json", want: `{"portname":"a","porttype":1}`},
			"query in any case":   {query: "?MAXRECORDS=5&Status=1&status=2,3", body: "portname=a&porttype=0", want: "query"},
			"charset in the type": {body: "portname=a&porttype=0", contentType: "application/x-www-form-urlencoded; charset=UTF-8", want: `{"portname":"a","porttype":0}`},
		} {
			t.Run(method+" "+name, func(t *testing.T) {
				header := formType
				if c.contentType != "" {
					header = []string{"Content-Type", c.contentType}
				}
				w := call{method: method, path: "/api/v2/ports" + c.query, body: c.body, header: header}.do(t, a)
				if c.want == "query" {
					require.Equal(t, 400, w.Code, "two spellings of one name: %s", w.Body)
					return
				}
				require.Equal(t, 200, w.Code, w.Body.String())
				require.Contains(t, w.Body.String(), `"Body":`+c.want)
			})
		}
	}
	w := call{method: "PUT", path: "/api/v2/ports?MAXRECORDS=5&Status=1&Status=2,3&NAME=x,y&NAME=z&other=1", body: "portname=a&porttype=0", header: formType}.do(t, a)
	require.Equal(t, 200, w.Code, w.Body.String())
	require.Contains(t, w.Body.String(), `"Page":5,"IDs":[1,2,3],"Text":["x,y","z"]`)
}

func TestFormsRefuseByName(t *testing.T) {
	a := formAPI(t)
	for name, c := range map[string]struct{ query, body, in, path, says string }{
		"missing":           {body: "portname=a", in: "body", path: "porttype", says: "is required"},
		"empty":             {body: "", in: "body", path: "portname", says: "is required"},
		"not a number":      {body: "portname=a&porttype=one", in: "body", path: "porttype", says: "whole number"},
		"a huge number":     {body: "portname=a&porttype=99999999999999999999", in: "body", path: "porttype", says: "whole number"},
		"not in the list":   {body: "portname=a&porttype=2", in: "body", path: "porttype", says: "one of"},
		"not a boolean":     {body: "portname=a&porttype=1&flag=perhaps", in: "body", path: "flag", says: "true or false"},
		"too long":          {body: "portname=abcdefghijkl&porttype=1", in: "body", path: "portname", says: "at most 10"},
		"above":             {body: "portname=a&porttype=1&extra=10", in: "body", path: "extra", says: "at most 9"},
		"in a list":         {body: "portname=a&porttype=1&detailtype=1,x", in: "body", path: "detailtype[1]", says: "whole number"},
		"twice":             {body: "portname=a&portname=b&porttype=1", in: "body", path: "portname", says: "is written twice"},
		"in two ways":       {body: "portname=a&PortName=a&porttype=1", in: "body", path: "portname", says: "in two ways"},
		"not encoded":       {body: "portname=50%&porttype=1", in: "body", path: "portname", says: "percent-encoded"},
		"not UTF-8":         {body: "portname=%ff&porttype=1", in: "body", path: "portname", says: "UTF-8"},
		"JSON wrong":        {body: `{"portname":1,"porttype":1}`, in: "body", path: "portname", says: "must be a string"},
		"query twice":       {query: "?maxrecords=1&maxrecords=2", body: "portname=a&porttype=1", in: "query", path: "maxRecords", says: "twice"},
		"query in two ways": {query: "?maxrecords=1&maxRecords=2", body: "portname=a&porttype=1", in: "query", path: "maxRecords", says: "in two ways"},
		"query not encoded": {query: "?other=50%", body: "portname=a&porttype=1", in: "query", path: "other", says: "percent-encoded"},
		"query not UTF-8":   {query: "?name=%ff", body: "portname=a&porttype=1", in: "query", path: "name", says: "UTF-8"},
		"query type":        {query: "?status=1,x", body: "portname=a&porttype=1", in: "query", path: "status", says: "integer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := call{method: "PUT", path: "/api/v2/ports" + c.query, body: c.body, header: formType}.do(t, a)
			require.Equal(t, 400, w.Code, w.Body.String())
			for _, f := range problems(t, w).Fields {
				if f.In == c.in && f.Path == c.path && strings.Contains(f.Message, c.says) {
					return
				}
			}
			t.Fatalf("no problem with %s %s that says %q: %s", c.in, c.path, c.says, w.Body)
		})
	}
	require.Equal(t, 415, call{method: "PUT", path: "/api/v2/ports", body: "portname=a", header: []string{"Content-Type", "text/plain"}}.do(t, a).Code)
	require.Equal(t, 413, call{method: "PUT", path: "/api/v2/ports", body: "portname=" + strings.Repeat("a", 5000), header: formType}.do(t, a).Code)
}

func TestAnswersInXML(t *testing.T) {
	a := formAPI(t)
	ask := func(path, accept, as string) *httptest.ResponseRecorder {
		return call{method: "GET", path: path, as: as, header: []string{"Accept", accept}}.do(t, a)
	}
	const want = `<response><item><_1>true</_1><a_b>&lt;&amp;&gt;</a_b><x><item>1</item><item>2</item></x></item><item>2.5</item><item>s</item></response>`
	for _, accept := range []string{"application/xml", "text/html, application/xml;q=0.9, */*;q=0.8", "text/xml"} {
		w := ask("/api/v2/spend", accept, "")
		require.Equal(t, "application/xml; charset=utf-8", w.Header().Get("Content-Type"), accept)
		require.Contains(t, w.Body.String(), want)
		require.Equal(t, "Accept", w.Header().Get("Vary"))
	}
	for _, accept := range []string{"", "*/*", "application/json, application/xml;q=0.5", "application/xml;q=0", "text/html", "%%"} {
		w := ask("/api/v2/spend", accept, "")
		require.Equal(t, "application/json", w.Header().Get("Content-Type"), accept)
		require.Equal(t, "Accept", w.Header().Get("Vary"))
	}
	require.Contains(t, ask("/api/v2/stream", "application/xml", "").Body.String(), "<response><a>1</a></response>")
	for path, status := range map[string]int{"/api/v2/spend": 401, "/api/v2/nothing": 404} {
		w := ask(path, "application/xml", "nobody")
		require.Equal(t, status, w.Code)
		require.Equal(t, "application/xml; charset=utf-8", w.Header().Get("Content-Type"))
		require.Contains(t, w.Body.String(), "<response><error>")
		require.Empty(t, w.Header().Get("WWW-Authenticate"))
	}
}

func TestHEADDoesNotSpend(t *testing.T) {
	a := formAPI(t)
	for _, path := range []string{"/api/v2/spend", "/api/v2/spend/"} {
		require.Equal(t, 405, call{method: "HEAD", path: path}.do(t, a).Code)
		require.Equal(t, 200, call{method: "GET", path: path}.do(t, a).Code)
	}
	require.True(t, a.operations[2].Writes())
}

// sent is a multipart body of fields and files ("@name" as the field's name).
func sent(t *testing.T, pairs ...string) (body []byte, contentType string) {
	t.Helper()
	var out bytes.Buffer
	m := multipart.NewWriter(&out)
	for i := 0; i+1 < len(pairs); i += 2 {
		name, file := strings.CutPrefix(pairs[i], "@")
		create := m.CreateFormField
		if file {
			create = func(name string) (io.Writer, error) { return m.CreateFormFile(name, "report.pdf") }
		}
		w, err := create(name)
		require.NoError(t, err)
		_, err = io.WriteString(w, pairs[i+1])
		require.NoError(t, err)
	}
	require.NoError(t, m.Close())
	return out.Bytes(), m.FormDataContentType()
}

func TestUploadsAreReadAsTheyArrive(t *testing.T) {
	a := formAPI(t)
	put := func(body []byte, contentType string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("PUT", "/api/v2/documents", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w
	}
	content := strings.Repeat("x", 100_000)
	sum := sha256.Sum256([]byte(content))
	want := `["joe",2,"report.pdf ` + hex.EncodeToString(sum[:]) + `"]`
	for _, order := range [][]string{{"username", "joe", "@data", content, "Copies", "2"}, {"@data", content, "copies", "2", "USERNAME", "joe"}} {
		w := put(sent(t, order...))
		require.Equal(t, 200, w.Code, w.Body.String())
		require.JSONEq(t, want, w.Body.String())
	}
	whole, contentType := sent(t, "username", "joe", "@data", content)
	many := []string{"@data", "x"}
	for range maxParts + 1 {
		many = append(many, "other", "y")
	}
	for name, c := range map[string]struct {
		body       []byte
		as         string
		status     int
		path, says string
	}{
		"no file":            {body: first2(sent(t, "username", "joe")), status: 400, path: "data", says: "is required"},
		"no field":           {body: first2(sent(t, "@data", content)), status: 400, path: "username", says: "is required"},
		"wrong field":        {body: first2(sent(t, "@data", content, "username", "joe", "copies", "many")), status: 400, path: "copies", says: "whole number"},
		"empty file":         {body: first2(sent(t, "username", "joe", "@data", "")), status: 400, path: "data", says: "must not be empty"},
		"two files":          {body: first2(sent(t, "@data", "a", "username", "joe", "@data", "b")), status: 400, path: "data", says: "sent twice"},
		"cut in the file":    {body: whole[:len(whole)-5000], status: 400, path: "data", says: "could not be read to its end"},
		"cut in the headers": {body: whole[:20], status: 400, path: "data", says: "could not be read to its end"},
		"cut in a field":     {body: whole[:bytes.Index(whole, []byte("joe"))], status: 400, path: "username", says: "could not be read to its end"},
		"no multipart":       {body: []byte("hello"), status: 400, path: "data", says: "could not be read to its end"},
		"no boundary":        {body: whole, as: "multipart/form-data", status: 400, path: "data"},
		"another boundary":   {body: whole, as: "multipart/form-data; boundary=zzz", status: 400, path: "data"},
		"another type":       {body: whole, as: "application/pdf", status: 415, path: "data"},
		"a large field":      {body: first2(sent(t, "username", strings.Repeat("j", maxPart+1), "@data", "x")), status: 413, path: "username"},
		"many parts":         {body: first2(sent(t, many...)), status: 413},
		"too large":          {body: first2(sent(t, "@data", strings.Repeat("x", 2<<20))), status: 413},
	} {
		t.Run(name, func(t *testing.T) {
			as := c.as
			if as == "" {
				as = "multipart/form-data; boundary=" + boundaryOf(c.body, contentType)
			}
			w := put(c.body, as)
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.NotContains(t, w.Body.String(), "secret")
			if c.path == "" {
				return
			}
			found := problems(t, w).Fields
			require.NotEmpty(t, found, w.Body.String())
			require.Equal(t, c.path, found[0].Path)
			require.Contains(t, found[0].Message, c.says)
		})
	}
}

func first2(body []byte, _ string) []byte { return body }

// boundaryOf reads the boundary that a body begins with.
func boundaryOf(body []byte, otherwise string) string {
	line, _, _ := bytes.Cut(body, []byte("\r\n"))
	if boundary, ok := bytes.CutPrefix(line, []byte("--")); ok && len(boundary) == 60 {
		return string(boundary)
	}
	_, boundary, _ := strings.Cut(otherwise, "boundary=")
	return boundary
}

// A file larger than any buffer is with its taker before the client has sent the
// rest of it.
func TestUploadsAreNotHeldBack(t *testing.T) {
	d := testDialect()
	a := NewAPI(d)
	arrived := make(chan struct{})
	RegisterUpload(a, Op{ID: "1", Method: "PUT", Path: "/documents", Summary: "Upload", Public: true, MaxBody: 1 << 20},
		File[int64]{Name: "data", Take: func(_ context.Context, _ string, content io.Reader) (int64, error) {
			if _, err := io.ReadFull(content, make([]byte, 10)); err != nil {
				return 0, err
			}
			close(arrived)
			n, err := io.Copy(io.Discard, content)
			return n + 10, err
		}},
		func(_ context.Context, _ *struct{ Body struct{} }, n int64) (*struct{ Body int64 }, error) {
			return &struct{ Body int64 }{n}, nil
		})
	server := httptest.NewServer(a)
	defer server.Close()
	pr, pw := io.Pipe()
	m := multipart.NewWriter(pw)
	go func() {
		w, err := m.CreateFormFile("data", "x")
		if err == nil {
			_, err = w.Write(make([]byte, 8192)) // more than the reader of multipart looks ahead
			<-arrived
		}
		if err == nil {
			_, err = w.Write(make([]byte, 8192))
		}
		_ = pw.CloseWithError(errors.Join(err, m.Close()))
	}()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+"/api/v2/documents", pr)
	require.NoError(t, err)
	r.Header.Set("Content-Type", m.FormDataContentType())
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, "16384\n", string(body))
}

func TestFormsAndUploadsAreDocumented(t *testing.T) {
	a := formAPI(t)
	doc, err := a.Document()
	require.NoError(t, err)
	require.Contains(t, string(doc), `"application/x-www-form-urlencoded"`)
	put := a.OpenAPI().Paths["/api/v2/documents"].Put
	require.Len(t, put.RequestBody.Content, 1)
	schema := put.RequestBody.Content["multipart/form-data"].Schema
	require.Equal(t, "binary", schema.Properties["data"].Format)
	require.Contains(t, schema.Required, "data")
	require.NotNil(t, schema.Properties["username"])
	require.Equal(t, []map[string][]string{{"key": {}}, {"key": {}, "token": {}}}, a.OpenAPI().Paths["/api/v2/spend"].Get.Security)
}

func TestOwnListenersTellTheirHealth(t *testing.T) {
	a := formAPI(t)
	site := &Site{APIs: []*API{a}}
	for _, path := range []string{"/healthz", "/readyz", "/docs", "/openapi.json"} {
		w := httptest.NewRecorder()
		site.Own(a).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		require.Equal(t, 200, w.Code, path)
	}
}
