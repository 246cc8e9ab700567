package httpx

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// document is the OpenAPI document in bytes, made at the first request for it.
type document struct {
	once sync.Once
	json []byte
	err  error
}

// Document is the OpenAPI 3.1 document.
func (a *API) Document() ([]byte, error) {
	a.document.once.Do(func() {
		doc := a.huma.OpenAPI()
		// huma's own error body, which no dialect answers with.
		delete(doc.Components.Schemas.Map(), "ErrorModel")
		delete(doc.Components.Schemas.Map(), "ErrorDetail")
		a.document.json, a.document.err = json.Marshal(doc)
	})
	return a.document.json, a.document.err
}

func humaConfig(d Dialect) huma.Config {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: d.Title, Version: d.Version, Description: d.Description},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", schemaNamer()),
				SecuritySchemes: d.Security,
			},
		},
		Formats:       map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat: "application/json",
	}
	if d.OwnListener {
		config.Servers = []*huma.Server{{URL: "/", Description: "its own listener"}, {URL: d.Prefix, Description: "main listener"}}
	}
	config.AllowAdditionalPropertiesByDefault = true
	return config
}

// schemaNamer names schemas after their Go types and numbers a name that several
// packages use.
func schemaNamer() func(reflect.Type, string) string {
	names, taken := map[reflect.Type]string{}, map[string]int{}
	return func(t reflect.Type, hint string) string {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if name, ok := names[t]; ok {
			return name
		}
		name := huma.DefaultSchemaNamer(t, hint)
		if t.Kind() != reflect.Struct {
			return name
		}
		taken[name]++
		if n := taken[name]; n > 1 {
			name += strconv.Itoa(n)
		}
		names[t] = name
		return name
	}
}

// describe makes huma's operation.
func (a *API) describe(o *Operation) huma.Operation {
	hop := huma.Operation{
		OperationID:   o.OperationID(),
		Method:        o.Method,
		Path:          o.Full,
		Summary:       o.Summary,
		Description:   o.Description,
		Tags:          o.Tags,
		Deprecated:    o.Deprecated,
		Hidden:        o.Hidden,
		DefaultStatus: o.Success,
		Extensions:    map[string]any{},
		Responses:     map[string]*huma.Response{},
		Parameters:    slices.Clone(o.Parameters),
	}
	if !o.Public {
		hop.Security = a.security
	}
	if o.Permission != "" {
		hop.Extensions["x-permission"] = o.Permission
	}
	if o.RateTier != "" {
		hop.Extensions["x-rate-tier"] = o.RateTier
	}
	if o.Writes() {
		hop.Parameters = append(hop.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "Names this request, so that sending it again has no second effect.",
		})
	}
	for _, status := range a.errorStatuses(o) {
		a.describeError(&hop, status)
	}
	hop.Responses["default"] = a.errorResponse("any other error")
	return hop
}

// errorStatuses are those that an operation can answer by its nature.
func (a *API) errorStatuses(o *Operation) []int {
	statuses := []int{http.StatusBadRequest}
	if !o.Public {
		statuses = append(statuses, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(o.Full, "{") {
		statuses = append(statuses, http.StatusNotFound)
	}
	if o.Writes() {
		statuses = append(statuses, http.StatusConflict)
	}
	if o.RateTier != "" {
		statuses = append(statuses, http.StatusTooManyRequests)
	}
	return statuses
}

// describeError adds the answer of an error by its status.
func (a *API) describeError(hop *huma.Operation, status int) {
	response := a.errorResponse(http.StatusText(status))
	if status == http.StatusTooManyRequests {
		response.Headers = map[string]*huma.Param{"Retry-After": {
			Description: "Seconds to wait before trying again.", Schema: &huma.Schema{Type: huma.TypeInteger}}}
	}
	hop.Responses[strconv.Itoa(status)] = response
}

func (a *API) errorResponse(description string) *huma.Response {
	response := &huma.Response{Description: description}
	if a.d.ErrorExample == nil {
		return response
	}
	media := "application/json"
	if _, own := a.d.ErrorExample.(Problem); own {
		media = "application/problem+json"
	}
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(a.d.ErrorExample), true, "Error")
	response.Content = map[string]*huma.MediaType{media: {Schema: schema}}
	return response
}

// describeRaw documents an answer that huma does not see.
func (a *API) describeRaw(o *Operation, hop *huma.Operation) {
	media, body := o.Produces, o.Returns != nil || o.Produces != ""
	if media == "" {
		media = "application/json"
	}
	status := o.successStatus(body)
	hop.DefaultStatus = status
	response := &huma.Response{Description: http.StatusText(status)}
	if body {
		schema := &huma.Schema{Type: huma.TypeString, Format: "binary"}
		if o.Returns != nil {
			schema = a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(o.Returns), true, o.OperationID()+"Response")
		}
		response.Content = map[string]*huma.MediaType{media: {Schema: schema}}
	}
	hop.Responses[strconv.Itoa(status)] = response
}

var uuidType = reflect.TypeFor[uuid.UUID]()

// complete adds to the schemas of an operation what Go types say and huma does
// not read from them: that a uuid.UUID has the format uuid, so that a bad one is
// refused by name before it is decoded.
func (a *API) complete(in, out reflect.Type, hop *huma.Operation) {
	registry := a.huma.OpenAPI().Components.Schemas
	f := formats{registry: registry, seen: map[reflect.Type]bool{}}
	if body, ok := in.FieldByName("Body"); ok && hop.RequestBody != nil {
		for _, media := range hop.RequestBody.Content {
			f.apply(body.Type, media.Schema)
		}
	}
	if body, ok := out.FieldByName("Body"); ok && body.Type.Kind() != reflect.Func {
		if response := a.operation(hop).Responses[strconv.Itoa(a.operation(hop).DefaultStatus)]; response != nil {
			for _, media := range response.Content {
				f.apply(body.Type, media.Schema)
			}
		}
	}
	f.parameters(in, a.operation(hop))
	if hop.RequestBody != nil || a.operation(hop).RequestBody != nil {
		a.describeError(a.operation(hop), http.StatusRequestEntityTooLarge)
		a.describeError(a.operation(hop), http.StatusUnsupportedMediaType)
	}
}

// operation finds the operation as huma keeps it.
func (a *API) operation(hop *huma.Operation) *huma.Operation {
	item := a.huma.OpenAPI().Paths[hop.Path]
	if item == nil {
		return hop // hidden
	}
	for _, o := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Options, item.Head, item.Patch, item.Trace} {
		if o != nil && o.OperationID == hop.OperationID {
			return o
		}
	}
	return hop
}

type formats struct {
	registry huma.Registry
	seen     map[reflect.Type]bool
}

func (f *formats) apply(t reflect.Type, s *huma.Schema) {
	if s == nil {
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(presence) {
		inner, _ := t.FieldByName("Value")
		t = inner.Type
	}
	if s.Ref != "" {
		s = f.registry.SchemaFromRef(s.Ref)
		if f.seen[t] || s == nil {
			return
		}
		f.seen[t] = true
	}
	switch {
	case t == uuidType:
		s.Format = "uuid"
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		f.apply(t.Elem(), s.Items)
	case t.Kind() == reflect.Map:
		if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
			f.apply(t.Elem(), values)
		}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if field.Anonymous && name == "" {
				f.apply(field.Type, s)
				continue
			}
			if name == "" {
				name = field.Name
			}
			f.apply(field.Type, s.Properties[name])
		}
	}
}

// parameters does it for parameters. Null does not exist there.
func (f *formats) parameters(in reflect.Type, op *huma.Operation) {
	for i := range in.NumField() {
		field := in.Field(i)
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			f.parameters(field.Type, op)
			continue
		}
		for _, p := range op.Parameters {
			name, _, _ := strings.Cut(field.Tag.Get(p.In), ",")
			if name == p.Name && p.Schema != nil {
				if t := field.Type; t.Kind() == reflect.Slice && reflect.PointerTo(t.Elem()).Implements(textUnmarshaler) {
					panic(`httpx: ` + op.OperationID + ` parameter ` + name + `: lists are of texts or numbers; for ids take []string with format:"uuid"`)
				}
				f.apply(field.Type, p.Schema)
				p.Schema.Nullable = false
			}
		}
	}
}
