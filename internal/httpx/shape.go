package httpx

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"docket/domain/fault"
)

// shape is what the check of a JSON body needs to know of a Go type beyond its
// schema: where null may stand and which members it has. Nil knows nothing.
type shape struct {
	null bool
	of   *layout
}

type layout struct {
	members map[string]*shape // by folded name; nil unless a struct
	items   *shape            // of an array, or of a map's values
}

func (s *shape) item() *shape {
	if s == nil || s.of == nil {
		return nil
	}
	return s.of.items
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawMessage      = reflect.TypeFor[json.RawMessage]()
)

// shapeOf derives the shape of a type. known breaks recursion.
func shapeOf(t reflect.Type, known map[reflect.Type]*layout) *shape {
	pointer := reflect.PointerTo(t)
	switch {
	case t.Kind() == reflect.Pointer:
		return &shape{null: true, of: shapeOf(t.Elem(), known).of}
	case t == rawMessage || t.Kind() == reflect.Interface:
		return &shape{null: true, of: &layout{}}
	case pointer.Implements(presence):
		inner, _ := t.FieldByName("Value")
		return &shape{null: true, of: shapeOf(inner.Type, known).of}
	case pointer.Implements(textUnmarshaler):
		return &shape{of: &layout{}}
	case pointer.Implements(jsonUnmarshaler):
		return &shape{null: true, of: &layout{}} // its own decoder judges
	}
	if of := known[t]; of != nil {
		return &shape{of: of}
	}
	of := &layout{}
	known[t] = of
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		of.items = shapeOf(t.Elem(), known)
	case reflect.Struct:
		of.members = map[string]*shape{}
		of.add(t, known)
	}
	return &shape{of: of}
}

// add collects the members of a struct, its own before those of embedded ones.
func (l *layout) add(t reflect.Type, known map[reflect.Type]*layout) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			embedded = append(embedded, inner)
			continue
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		if l.members[fold(tag)] != nil {
			continue
		}
		member := shapeOf(f.Type, known)
		if f.Tag.Get("nullable") == "true" {
			member.null = true
		}
		l.members[fold(tag)] = member
	}
	for _, inner := range embedded {
		if inner.Kind() == reflect.Struct {
			l.add(inner, known)
		}
	}
}

// fold makes names that differ only in case the same, in the way of
// encoding/json and strings.EqualFold.
func fold(name string) string {
	lower := strings.ToLower(name)
	for i := range len(lower) {
		if lower[i] >= utf8.RuneSelf {
			return strings.Map(smallestFold, name)
		}
	}
	return lower
}

func smallestFold(r rune) rune {
	smallest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		smallest = min(smallest, next)
	}
	if smallest >= 'A' && smallest <= 'Z' {
		smallest += 'a' - 'A'
	}
	return smallest
}

// checkShape reads a well-formed JSON text and reports what validation of the
// decoded values cannot see: a member written twice, in any case of letters (a
// decoder takes the last, a validator may look at the first), and null where
// there must be a value. What no type knows is left alone.
func checkShape(data []byte, s *shape) []fault.Field {
	c := shapeCheck{data: data}
	c.value(s)
	return c.found
}

type shapeCheck struct {
	data  []byte
	at    int
	path  []byte
	found []fault.Field
}

func (c *shapeCheck) report(format string, args ...any) {
	if len(c.found) >= maxProblems {
		return
	}
	c.found = append(c.found, fault.Field{Path: string(c.path), In: "body", Message: fmt.Sprintf(format, args...)})
}

func (c *shapeCheck) space() {
	for c.at < len(c.data) && bytes.IndexByte([]byte(" \t\r\n"), c.data[c.at]) >= 0 {
		c.at++
	}
}

func (c *shapeCheck) value(s *shape) {
	c.space()
	if c.at >= len(c.data) {
		return
	}
	switch c.data[c.at] {
	case '{':
		c.object(s)
	case '[':
		c.array(s)
	case '"':
		c.text()
	case 'n':
		if s != nil && !s.null {
			c.report("must not be null")
		}
		c.word()
	default:
		c.word()
	}
}

// word passes a number, true, false or null.
func (c *shapeCheck) word() {
	for c.at < len(c.data) && bytes.IndexByte([]byte(",]} \t\r\n"), c.data[c.at]) < 0 {
		c.at++
	}
}

// text passes a string and returns it without its quotes.
func (c *shapeCheck) text() []byte {
	c.at++
	start := c.at
	for c.at < len(c.data) && c.data[c.at] != '"' {
		if c.data[c.at] == '\\' {
			c.at++
		}
		c.at++
	}
	end := min(c.at, len(c.data))
	c.at++
	return c.data[start:end]
}

func (c *shapeCheck) array(s *shape) {
	items := s.item()
	c.at++
	for i := 0; ; i++ {
		c.space()
		if c.at >= len(c.data) || c.data[c.at] == ']' {
			c.at++
			return
		}
		length := len(c.path)
		c.path = append(strconv.AppendInt(append(c.path, '['), int64(i), 10), ']')
		c.value(items)
		c.path = c.path[:length]
		c.space()
		if c.at < len(c.data) && c.data[c.at] == ',' {
			c.at++
		}
	}
}

func (c *shapeCheck) object(s *shape) {
	var buffer [16]string
	seen := names{list: buffer[:0]}
	c.at++
	for {
		c.space()
		if c.at >= len(c.data) || c.data[c.at] == '}' {
			c.at++
			return
		}
		name := memberName(c.text())
		length := len(c.path)
		if length > 0 {
			c.path = append(c.path, '.')
		}
		c.path = append(c.path, name...)
		key, member := name, s.item()
		if s != nil && s.of != nil && s.of.members != nil {
			key = fold(name)
			member = s.of.members[key]
		}
		if s != nil && !seen.add(key) {
			c.report("is written twice")
		}
		c.space()
		c.at++ // the colon
		c.value(member)
		c.path = c.path[:length]
		c.space()
		if c.at < len(c.data) && c.data[c.at] == ',' {
			c.at++
		}
	}
}

// memberName undoes escapes.
func memberName(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var name string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &name); err != nil {
		return string(raw)
	}
	return name
}

// names is a set that is a list while it is small.
type names struct {
	list []string
	set  map[string]bool
}

func (n *names) add(name string) bool {
	if n.set != nil {
		if n.set[name] {
			return false
		}
		n.set[name] = true
		return true
	}
	for _, other := range n.list {
		if other == name {
			return false
		}
	}
	n.list = append(n.list, name)
	if len(n.list) == 64 {
		n.set = make(map[string]bool, 128)
		for _, other := range n.list {
			n.set[other] = true
		}
	}
	return true
}
