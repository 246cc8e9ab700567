package httpx

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"docket/domain/fault"
)

// fieldType is what has to be known of a member or parameter to read it from text.
type fieldType struct {
	name string // as documented
	kind reflect.Kind
	list bool
}

// numeric values have no spelling for "nothing" and no comma in them.
func (f *fieldType) numeric() bool { return f.kind >= reflect.Bool && f.kind <= reflect.Float64 }

// fieldTypes are the fields that a tag ("json", "query") names, by their names
// or, when fold, by their folded names.
type fieldTypes map[string]*fieldType

func fieldTypesOf(t reflect.Type, tag string) fieldTypes {
	types := fieldTypes{}
	types.add(t, tag)
	return types
}

func (fs fieldTypes) add(t reflect.Type, tag string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get(tag), ",")
		switch {
		case f.Anonymous && name == "":
			fs.add(f.Type, tag)
		case name != "" && name != "-":
			fs[fold(name)] = fieldTypeOf(name, f.Type)
		}
	}
}

func fieldTypeOf(name string, t reflect.Type) *fieldType {
	f := &fieldType{name: name}
	for {
		switch {
		case reflect.PointerTo(t).Implements(presence):
			inner, _ := t.FieldByName("Value")
			t = inner.Type
		case t.Kind() == reflect.Pointer:
			t = t.Elem()
		case reflect.PointerTo(t).Implements(textUnmarshaler):
			f.kind = reflect.String
			return f
		case t.Kind() == reflect.Slice && !f.list:
			f.list, t = true, t.Elem()
		default:
			f.kind = t.Kind()
			return f
		}
	}
}

// pair is a field of a form or a parameter of a query, in the order of sending.
type pair struct{ name, value string }

// pairsOf reads what is percent-encoded; problems name what is not.
func pairsOf(text, in string) (pairs []pair, problems []fault.Field) {
	for one := range strings.SplitSeq(text, "&") {
		if one == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(one, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			name = rawName
		}
		value, bad := url.QueryUnescape(rawValue)
		switch {
		case len(problems) >= maxProblems:
		case err != nil || bad != nil:
			problems = append(problems, fault.Field{In: in, Path: name, Message: "is not percent-encoded: write % as %25"})
		case !utf8.ValidString(name) || !utf8.ValidString(value):
			problems = append(problems, fault.Field{In: in, Path: strings.ToValidUTF8(name, "?"), Message: "is not UTF-8"})
		default:
			pairs = append(pairs, pair{name, value})
		}
	}
	return pairs, problems
}

// gathered are the values of one field, in the order of sending.
type gathered struct {
	*fieldType
	values []string
}

// gather sorts pairs by their fields. What nobody documented is left out, and so
// are empty numbers and booleans: clients send every field they know of. With
// folding, names match without regard to case; two spellings of one name are
// refused, since it can't be told which one counts.
func (fs fieldTypes) gather(pairs []pair, folding bool, in string) (found []*gathered, problems []fault.Field) {
	at, spelt := map[string]*gathered{}, map[string]string{}
	for _, p := range pairs {
		key := fold(p.name)
		f := fs[key]
		if f == nil || !folding && p.name != f.name {
			continue
		}
		refuse := func(message string) {
			if len(problems) < maxProblems {
				problems = append(problems, fault.Field{In: in, Path: f.name, Message: message})
			}
		}
		if before, ok := spelt[key]; ok && before != p.name {
			refuse("is written in two ways: " + before + " and " + p.name)
			continue
		}
		spelt[key] = p.name
		if p.value == "" && f.numeric() {
			continue
		}
		g := at[key]
		if g == nil {
			g = &gathered{fieldType: f}
			at[key], found = g, append(found, g)
		}
		switch {
		case f.list && f.numeric():
			g.values = append(g.values, strings.Split(p.value, ",")...)
		case f.list || len(g.values) == 0:
			g.values = append(g.values, p.value)
		default:
			refuse("is written twice")
		}
	}
	return found, problems
}

// asJSON is the JSON object that a form stands for. A value that is not of its
// field's type stays text, for the validation to refuse.
func asJSON(fields []*gathered) []byte {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, g := range fields {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(quoted(g.name))
		out.WriteByte(':')
		if g.list {
			out.WriteByte('[')
		}
		for j, value := range g.values {
			if j > 0 {
				out.WriteByte(',')
			}
			out.Write(literal(g.kind, value))
		}
		if g.list {
			out.WriteByte(']')
		}
	}
	out.WriteByte('}')
	return out.Bytes()
}

func quoted(text string) []byte {
	data, _ := json.Marshal(text) // a string always encodes
	return data
}

func literal(kind reflect.Kind, text string) []byte {
	trimmed := strings.TrimSpace(text)
	switch {
	case kind == reflect.Bool:
		switch strings.ToLower(trimmed) {
		case "true", "1":
			return []byte("true")
		case "false", "0":
			return []byte("false")
		}
	case kind >= reflect.Int && kind <= reflect.Uint64:
		if n, err := strconv.ParseInt(trimmed, 10, 64); err == nil {
			return strconv.AppendInt(nil, n, 10)
		}
	case kind == reflect.Float32 || kind == reflect.Float64:
		if json.Valid([]byte(trimmed)) {
			if _, err := strconv.ParseFloat(trimmed, 64); err == nil {
				return []byte(trimmed)
			}
		}
	}
	return quoted(text)
}

// formBody turns a form into JSON. JSON that was sent in a form's place (curl -d
// calls everything a form) is left as it is: no field of a form begins with a
// bracket.
func (c *jsonCheck) formBody(data []byte, contentType string, req *Request) ([]byte, error) {
	begins := bytes.TrimLeft(data, " \t\r\n")
	if len(begins) > 0 && (begins[0] == '{' || begins[0] == '[') && (isJSON(contentType) || isForm(contentType)) {
		return data, nil
	}
	if len(begins) > 0 && !isForm(contentType) {
		return nil, WithStatus(415, fault.New(fault.Invalid, "body.type", "the body must be application/x-www-form-urlencoded"))
	}
	pairs, problems := pairsOf(string(begins), "body")
	fields, more := c.form.gather(pairs, c.foldNames, "body")
	req.problems = append(append(req.problems, problems...), more...)
	return asJSON(fields), nil
}

func isForm(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/x-www-form-urlencoded"
}

// foldQuery writes the parameters of a query under their documented names, each
// list in the one form that is decoded: numbers joined by commas, texts repeated.
// Parameters that nobody documented stay.
func (fs fieldTypes) foldQuery(raw string) (string, []fault.Field) {
	if raw == "" {
		return raw, nil
	}
	pairs, problems := pairsOf(raw, "query")
	found, more := fs.gather(pairs, true, "query")
	problems = append(problems, more...)
	var out strings.Builder
	write := func(name, value string) {
		if out.Len() > 0 {
			out.WriteByte('&')
		}
		out.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(value))
	}
	for _, g := range found {
		if g.list && g.numeric() {
			write(g.name, strings.Join(g.values, ","))
			continue
		}
		for _, value := range g.values {
			write(g.name, value)
		}
	}
	for _, p := range pairs {
		if fs[fold(p.name)] == nil {
			write(p.name, p.value)
		}
	}
	return out.String(), problems
}
