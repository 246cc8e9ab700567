package httpx

import (
	"bytes"
	"io"
	"net/http"
	"reflect"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
)

// Decoder makes a function that reads a T from JSON which is not itself a
// request's body, such as a file in an upload, under the rules that a Body of
// type T has. Its errors are faults. Make it at registration.
func Decoder[T any](a *API) func(data []byte) (T, error) {
	t := reflect.TypeFor[T]()
	registry := a.huma.OpenAPI().Components.Schemas
	schema := registry.Schema(t, true, t.Name())
	f := formats{registry: registry, seen: map[reflect.Type]bool{}}
	f.apply(t, schema)
	check := &jsonCheck{op: &Operation{}, registry: registry, shape: shapeOf(t, map[reflect.Type]*layout{}),
		body: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}}
	return func(data []byte) (out T, err error) {
		r := &http.Request{Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(data))}
		var req Request
		release, err := check.run(r, &req)
		defer release()
		if err != nil {
			return out, err
		}
		if len(req.problems) > 0 {
			return out, invalid(req.problems, "")
		}
		if err := unmarshal(data, &out); err != nil {
			return out, fault.New(fault.Invalid, "body.malformed", "the JSON could not be read: %s", err)
		}
		return out, nil
	}
}
