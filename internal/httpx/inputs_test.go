package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestOptionalTellsAbsentNullAndValueApart(t *testing.T) {
	type patch struct {
		Name Optional[string] `json:"name,omitzero"`
	}
	for text, want := range map[string]patch{
		`{}`:            {},
		`{"name":null}`: {Name: Optional[string]{Set: true, Null: true}},
		`{"name":""}`:   {Name: Some("")},
	} {
		var got patch
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		require.Equal(t, want, got)
		back, err := json.Marshal(got)
		require.NoError(t, err)
		require.Equal(t, text, string(back))
	}
	require.Nil(t, Optional[int]{Set: true, Null: true}.Ptr())
	require.Equal(t, 3, *Some(3).Ptr())
	require.Equal(t, 4, Optional[int]{}.Or(4))
}

// filters are parameters whose names are not fixed.
type filters struct {
	Seen []string
}

func (f *filters) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	for name, values := range u.Query() {
		if strings.Contains(name, "[bad]") {
			return []error{fault.InvalidQuery(name, "is no operator")}
		}
		if strings.Contains(name, "[odd]") {
			return []error{&huma.ErrorDetail{Location: "query." + name, Message: "is odd"}}
		}
		f.Seen = append(f.Seen, name+"="+values[0])
	}
	return nil
}

func inputsAPI(t *testing.T) *API {
	t.Helper()
	a := NewAPI(testDialect())
	Register(a, Op{ID: "1", Method: "GET", Path: "/filtered", Alias: []string{"/filtered/"}, Summary: "Filter", Public: true},
		func(_ context.Context, in *struct{ filters }) (*struct{ Body []string }, error) {
			return &struct{ Body []string }{in.Seen}, nil
		})
	Register(a, Op{ID: "2", Method: "PUT", Path: "/form", Summary: "Form", Public: true, MaxBody: 20},
		func(_ context.Context, in *struct {
			RawBody []byte `contentType:"application/x-www-form-urlencoded"`
		}) (*struct{ Body string }, error) {
			return &struct{ Body string }{string(in.RawBody)}, nil
		})
	Register(a, Op{ID: "3", Method: "POST", Path: "/upload", Summary: "Upload", Public: true, MaxBody: 64 << 10},
		func(_ context.Context, in *struct{ RawBody multipart.Form }) (*struct{ Body int }, error) {
			file, err := in.RawBody.File["file"][0].Open()
			if err != nil {
				return nil, err
			}
			defer file.Close()
			data, err := io.ReadAll(file)
			return &struct{ Body int }{len(data)}, err
		})
	Register(a, Op{ID: "4", Method: "GET", Path: "/slow", Summary: "Slow", Public: true, Timeout: 1},
		func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			<-ctx.Done()
			return nil, errors.Join(errors.New("query"), ctx.Err())
		})
	Register(a, Op{ID: "5", Method: "PATCH", Path: "/patch", Summary: "Patch", Public: true},
		func(_ context.Context, in *struct{ Body []step }) (*struct{ Body []string }, error) {
			out := []string{}
			for _, s := range in.Body {
				out = append(out, string(s.Value))
			}
			return &struct{ Body []string }{out}, nil
		})
	Register(a, Op{ID: "6", Method: "GET", Path: "/accept", Summary: "Accept", Public: true},
		func(ctx context.Context, in *struct {
			When time.Time `query:"when"`
			IDs  []string  `query:"ids" format:"uuid"`
			Tags []string  `query:"tag,explode"`
		}) (*struct{ Body []any }, error) {
			return &struct{ Body []any }{[]any{From(ctx).Header("Accept-Language"), in.When.Unix(), len(in.IDs), in.Tags}}, nil
		})
	return a
}

// step is one operation of a JSON Patch.
type step struct {
	Op    string          `json:"op" enum:"replace"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

func TestParametersOfAnyName(t *testing.T) {
	a := inputsAPI(t)
	require.JSONEq(t, `["name[contains]=a b"]`, call{method: "GET", path: "/api/v2/filtered?name[contains]=a%20b"}.do(t, a).Body.String())
	require.JSONEq(t, `["name=a;b=c"]`, call{method: "GET", path: "/api/v2/filtered?name=a;b=c"}.do(t, a).Body.String())
	require.Equal(t, 200, call{method: "GET", path: "/api/v2/filtered/?x=1"}.do(t, a).Code, "an alias")
	for path, says := range map[string]string{"name[bad]": "is no operator", "name[odd]": "is odd"} {
		w := call{method: "GET", path: "/api/v2/filtered?" + path + "=1"}.do(t, a)
		require.Equal(t, 400, w.Code)
		f := problems(t, w).Fields[0]
		require.Equal(t, named{"query", path, says}, f)
	}
}

func TestProblemsOfAResolverJoinTheOthers(t *testing.T) {
	w := call{method: "GET", path: "/api/v2/filtered?name[bad]=1&other=%"}.do(t, inputsAPI(t))
	require.Equal(t, 400, w.Code)
	require.ElementsMatch(t, []named{{"query", "name[bad]", "is no operator"},
		{"query", "other", "is not percent-encoded: write % as %25"}}, problems(t, w).Fields)
}

func TestFormBodies(t *testing.T) {
	a := inputsAPI(t)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	require.JSONEq(t, `"a=1&a=2"`, call{method: "PUT", path: "/api/v2/form", body: "a=1&a=2", header: form}.do(t, a).Body.String())
	w := call{method: "PUT", path: "/api/v2/form", body: strings.Repeat("a", 21), header: form}.do(t, a)
	require.Equal(t, 413, w.Code)
	problems(t, w)
	require.Equal(t, 200, call{method: "PUT", path: "/api/v2/form", body: strings.Repeat("a", 20), header: form}.do(t, a).Code, "exactly the limit")
	require.Equal(t, 413, chunked(t, a, "/api/v2/form", strings.Repeat("a", 21)), "without a length")
	require.Equal(t, 200, chunked(t, a, "/api/v2/form", strings.Repeat("a", 20)))
}

// chunked sends a body whose length is not announced.
func chunked(t *testing.T, a *API, path, body string) int {
	t.Helper()
	r := httptest.NewRequest("PUT", path, io.MultiReader(strings.NewReader(body)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Code
}

func TestUploads(t *testing.T) {
	upload := func(size int) *httptest.ResponseRecorder {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("file", "a.bin")
		require.NoError(t, err)
		_, err = part.Write(make([]byte, size))
		require.NoError(t, err)
		require.NoError(t, form.Close())
		r := httptest.NewRequest("POST", "/api/v2/upload", io.MultiReader(&body)) // no length
		r.Header.Set("Content-Type", form.FormDataContentType())
		w := httptest.NewRecorder()
		inputsAPI(t).ServeHTTP(w, r)
		return w
	}
	t.Setenv("TMPDIR", t.TempDir())
	w := upload(50 << 10)
	require.Equal(t, 200, w.Code, w.Body.String())
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left, "files that the upload was kept in")
	require.JSONEq(t, "51200", w.Body.String())
	w = upload(65 << 10)
	require.Equal(t, 413, w.Code, w.Body.String())
	problems(t, w)
}

func TestTimeout(t *testing.T) {
	w := call{method: "GET", path: "/api/v2/slow"}.do(t, inputsAPI(t))
	require.Equal(t, 503, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
}

func TestPatchBodies(t *testing.T) {
	a := inputsAPI(t)
	for _, media := range []string{"application/json", "application/json-patch+json", "application/json; charset=utf-8"} {
		w := call{method: "PATCH", path: "/api/v2/patch", header: []string{"Content-Type", media},
			body: `[{"op":"replace","path":"/a","value":null},{"op":"replace","path":"/b","value":[{"id":"1"}]}]`}.do(t, a)
		require.Equal(t, 200, w.Code, w.Body.String())
		require.JSONEq(t, `["null","[{\"id\":\"1\"}]"]`, w.Body.String())
	}
	w := call{method: "PATCH", path: "/api/v2/patch", body: `[{"op":"add","path":"/a"}]`}.do(t, a)
	require.Equal(t, 400, w.Code)
	var paths []string
	for _, f := range problems(t, w).Fields {
		paths = append(paths, f.Path)
	}
	require.ElementsMatch(t, []string{"[0].op", "[0].value"}, paths)
}

func TestListsOfIdsAsParametersAreRefusedAtStart(t *testing.T) {
	require.PanicsWithValue(t, `httpx: toy.1 parameter ids: lists are of texts or numbers; for ids take []string with format:"uuid"`, func() {
		Register(NewAPI(testDialect()), Op{ID: "1", Method: "GET", Path: "/x", Summary: "x"},
			func(_ context.Context, _ *struct {
				IDs []uuid.UUID `query:"ids"`
			}) (*struct{}, error) {
				return nil, nil
			})
	})
}

func TestParameterTypes(t *testing.T) {
	a := inputsAPI(t)
	const id = "0198b5c2-7b1e-7cc3-98c4-dc0c0c07398f"
	w := call{method: "GET", path: "/api/v2/accept?when=1970-01-01T00:00:05Z&ids=" + id + "," + id + "&tag=a&tag=b", header: []string{"Accept-Language", "de"}}.do(t, a)
	require.JSONEq(t, `["de",5,2,["a","b"]]`, w.Body.String())
	for query, path := range map[string]string{"ids=x": "ids", "when=soon": "when"} {
		w = call{method: "GET", path: "/api/v2/accept?" + query}.do(t, a)
		require.Equal(t, 400, w.Code)
		require.Equal(t, path, strings.Split(problems(t, w).Fields[0].Path, "[")[0])
	}
}
