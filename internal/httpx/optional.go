package httpx

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// Optional tells apart what Go's zero values do not: a member or parameter that
// was absent, that was null, and that had a value. In a body tag it
// `json:"name,omitzero"`; as a query or header parameter it needs no more than
// its tag. Tags such as maxLength apply to the value.
type Optional[T any] struct {
	Set   bool // the client wrote it
	Null  bool // and wrote null
	Value T
}

// Some is an Optional with a value.
func Some[T any](v T) Optional[T] { return Optional[T]{Set: true, Value: v} }

// presence marks Optional's instances for reflection.
var presence = reflect.TypeFor[interface{ isOptional() }]()

func (o *Optional[T]) isOptional() {}

// IsZero is true for an absent one, so that omitzero leaves it out.
func (o Optional[T]) IsZero() bool { return !o.Set }

// Ptr is nil unless there is a value.
func (o Optional[T]) Ptr() *T {
	if !o.Set || o.Null {
		return nil
	}
	return &o.Value
}

// Or is the value, or d when there is none.
func (o Optional[T]) Or(d T) T {
	if !o.Set || o.Null {
		return d
	}
	return o.Value
}

// UnmarshalJSON is called only for a member that is present.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	*o = Optional[T]{Set: true}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		o.Null = true
		return nil
	}
	return json.Unmarshal(data, &o.Value)
}

// MarshalJSON writes the value, or null.
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if !o.Set || o.Null {
		return []byte("null"), nil
	}
	return json.Marshal(o.Value)
}

// Receiver is where huma parses a parameter into.
func (o *Optional[T]) Receiver() reflect.Value { return reflect.ValueOf(&o.Value).Elem() }

// OnParamSet is told by huma that the parameter was sent.
func (o *Optional[T]) OnParamSet(set bool, _ any) { o.Set = set }

// Schema is the value's schema that allows null as well.
func (o Optional[T]) Schema(r huma.Registry) *huma.Schema {
	s := *r.Schema(reflect.TypeFor[T](), true, "")
	if s.Ref != "" {
		// Nullability stands in the object itself, so this one is written out.
		s = *r.SchemaFromRef(s.Ref)
		if s.Type == "" {
			panic("httpx: Optional of a type that contains itself: " + reflect.TypeFor[T]().String())
		}
	}
	s.Nullable = true
	return &s
}
