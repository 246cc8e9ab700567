package eventstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"docket/domain"
)

// Upcast turns the JSON of one schema version into that of the next.
type Upcast func(old []byte) ([]byte, error)

// Codec turns events into JSON and back by their stable names.
type Codec struct {
	types     map[string]entry
	protector Protector
}

type entry struct {
	goType  reflect.Type
	upcasts []Upcast // upcasts[0] leads from version 1 to 2
	fields  []protectedField
}

// NewCodec knows the given events; each is passed as its zero value.
func NewCodec(events ...domain.Event) *Codec {
	c := &Codec{types: make(map[string]entry, len(events))}
	for _, e := range events {
		name := e.EventType()
		if _, twice := c.types[name]; twice {
			panic("event type registered twice: " + name)
		}
		t := reflect.TypeOf(e)
		c.types[name] = entry{goType: t, fields: protectedFields(t)}
	}
	return c
}

// Upcasting declares how older versions of an event type become the current
// one, oldest first. The current schema version is len(steps)+1.
func (c *Codec) Upcasting(eventType string, steps ...Upcast) {
	e, known := c.types[eventType]
	if !known {
		panic("upcasting of unknown event type " + eventType)
	}
	e.upcasts = steps
	c.types[eventType] = e
}

// Types are all known event types, sorted.
func (c *Codec) Types() []string {
	names := make([]string, 0, len(c.types))
	for n := range c.types {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Zero is an empty event of a type, nil when unknown.
func (c *Codec) Zero(eventType string) domain.Event {
	e, known := c.types[eventType]
	if !known {
		return nil
	}
	return reflect.Zero(e.goType).Interface().(domain.Event)
}

// Knows tells whether Decode can read an event type.
func (c *Codec) Knows(eventType string) bool {
	_, known := c.types[eventType]
	return known
}

// Schema is the current schema version of an event type.
func (c *Codec) Schema(eventType string) int { return len(c.types[eventType].upcasts) + 1 }

// Encode is the JSON of an event at its current schema version.
func (c *Codec) Encode(e domain.Event) ([]byte, error) {
	known, ok := c.types[e.EventType()]
	if !ok {
		return nil, fmt.Errorf("event type %s is not registered", e.EventType())
	}
	if len(known.fields) > 0 && c.protector != nil {
		sealed, err := c.seal(known, e)
		if err != nil {
			return nil, fmt.Errorf("protect %s: %w", e.EventType(), err)
		}
		e = sealed
	}
	return marshal(e)
}

// marshal is json.Marshal without escaping HTML, which would only bloat the log.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decode reads an event written at a schema version (0 counts as 1).
func (c *Codec) Decode(eventType string, schema int, data []byte) (domain.Event, error) {
	known, ok := c.types[eventType]
	if !ok {
		return nil, fmt.Errorf("event type %s is not registered", eventType)
	}
	for v := max(schema, 1); v <= len(known.upcasts); v++ {
		var err error
		if data, err = known.upcasts[v-1](data); err != nil {
			return nil, fmt.Errorf("upcast %s from version %d: %w", eventType, v, err)
		}
	}
	target := reflect.New(known.goType)
	if err := json.Unmarshal(data, target.Interface()); err != nil {
		return nil, fmt.Errorf("decode %s: %w", eventType, err)
	}
	if len(known.fields) > 0 && c.protector != nil {
		if err := c.open(known, target.Elem()); err != nil {
			return nil, fmt.Errorf("unprotect %s: %w", eventType, err)
		}
	}
	return target.Elem().Interface().(domain.Event), nil
}

// DecodeRecorded reads a recorded event with its metadata.
func (c *Codec) DecodeRecorded(r Recorded) (domain.Event, Metadata, error) {
	m, err := DecodeMetadata(r.Meta)
	if err != nil {
		return nil, m, fmt.Errorf("metadata of %s@%d: %w", r.Stream, r.Revision, err)
	}
	e, err := c.Decode(r.Type, m.Schema, r.Data)
	if err != nil {
		return nil, m, fmt.Errorf("%s@%d: %w", r.Stream, r.Revision, err)
	}
	return e, m, nil
}
