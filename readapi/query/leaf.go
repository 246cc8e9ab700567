package query

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
)

var (
	uuidType = reflect.TypeFor[uuid.UUID]()
	timeType = reflect.TypeFor[time.Time]()
)

// leaf compiles a field that has a column.
func (c *shapeCompiler) leaf(t reflect.Type, col string, p *piece, at []int, omitempty bool) (decoder, error) {
	name, option, _ := strings.Cut(col, ",")
	column, err := c.column(name)
	if err != nil {
		return nil, err
	}
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	codec, err := codecFor(t, option)
	if err != nil {
		return nil, err
	}
	p.column, p.append = column, codec.append
	p.zero = []byte(codec.zero)
	if pointer {
		p.zero = []byte("null")
	}
	if omitempty {
		p.omit = func(raw []byte) bool { return raw == nil || !pointer && codec.empty(raw) }
	}
	return func(row [][]byte, v reflect.Value) error {
		raw := row[column]
		if raw == nil {
			return nil
		}
		target := v.FieldByIndex(at)
		if pointer {
			target.Set(reflect.New(t))
			target = target.Elem()
		}
		return codec.decode(raw, target)
	}, nil
}

// codec reads and writes values of one type.
type codec struct {
	append appender
	zero   string // JSON of the zero value
	empty  func(raw []byte) bool
	decode func(raw []byte, v reflect.Value) error
}

func never([]byte) bool        { return false }
func noBytes(raw []byte) bool  { return len(raw) == 0 }
func zeroInt(raw []byte) bool  { return rawInt(raw) == 0 }
func isFalse(raw []byte) bool  { return len(raw) == 1 && raw[0] == 0 }
func noItems(raw []byte) bool  { return len(raw) < 20 }
func zeroReal(raw []byte) bool { return rawFloat(raw) == 0 }

func codecFor(t reflect.Type, option string) (codec, error) {
	k := t.Kind()
	switch {
	case option == "json":
		return codec{appendJSONB, "null", never, decodeJSON}, nil
	case option == "short" && t == uuidType:
		return codec{appendShortID, `"000000000000000000000000"`, never, decodeUUID}, nil
	case option == "short" && k == reflect.Slice && t.Elem() == uuidType:
		return codec{appendArray(appendShortID), "[]", noItems, decodeSlice(decodeUUID)}, nil
	case option == "seconds" && t == timeType:
		return codec{appendTimeSeconds, `"0001-01-01T00:00:00Z"`, never, decodeTime}, nil
	case option != "":
		return codec{}, fmt.Errorf("option %q does not fit type %s", option, t)
	case t == uuidType:
		return codec{appendUUID, `"00000000-0000-0000-0000-000000000000"`, never, decodeUUID}, nil
	case t == timeType:
		return codec{appendTime, `"0001-01-01T00:00:00Z"`, never, decodeTime}, nil
	case k == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		element, err := codecFor(t.Elem(), "")
		return codec{appendArray(element.append), "[]", noItems, decodeSlice(element.decode)}, err
	case k == reflect.String:
		return codec{appendText, `""`, noBytes, decodeText}, nil
	case k == reflect.Bool:
		return codec{appendBool, "false", isFalse, decodeBool}, nil
	case k >= reflect.Int && k <= reflect.Int64:
		return codec{appendInt, "0", zeroInt, decodeInt}, nil
	case k == reflect.Float32 || k == reflect.Float64:
		return codec{appendFloat, "0", zeroReal, decodeFloat}, nil
	}
	return codec{}, fmt.Errorf("no encoding for type %s", t)
}

func decodeText(raw []byte, v reflect.Value) error { v.SetString(string(raw)); return nil }
func decodeBool(raw []byte, v reflect.Value) error { v.SetBool(!isFalse(raw)); return nil }
func decodeInt(raw []byte, v reflect.Value) error  { v.SetInt(rawInt(raw)); return nil }

func decodeFloat(raw []byte, v reflect.Value) error { v.SetFloat(rawFloat(raw)); return nil }

func decodeUUID(raw []byte, v reflect.Value) error {
	v.Set(reflect.ValueOf(rawUUID(raw)))
	return nil
}

func decodeTime(raw []byte, v reflect.Value) error {
	t, _ := rawTime(raw)
	v.Set(reflect.ValueOf(t))
	return nil
}

func decodeJSON(raw []byte, v reflect.Value) error {
	// RawMessage keeps what it is given, and the row's buffer is reused.
	text := append([]byte(nil), jsonText(raw)...)
	return json.Unmarshal(text, v.Addr().Interface())
}

func decodeSlice(element func([]byte, reflect.Value) error) func([]byte, reflect.Value) error {
	return func(raw []byte, v reflect.Value) error {
		var failed error
		out := reflect.MakeSlice(v.Type(), 0, 0)
		eachElement(raw, func(e []byte) {
			item := reflect.New(v.Type().Elem()).Elem()
			if e != nil {
				if err := element(e, item); err != nil && failed == nil {
					failed = err
				}
			}
			out = reflect.Append(out, item)
		})
		v.Set(out)
		return failed
	}
}
