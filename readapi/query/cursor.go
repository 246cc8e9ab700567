package query

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"docket/domain/fault"
)

// token is what a cursor holds: the place and the query it belongs to.
type token struct {
	Query  string          `json:"q"` // digest of resource, filter, sort field and direction
	Key    json.RawMessage `json:"k,omitempty"`
	Joined *uuid.UUID      `json:"j,omitempty"`
	ID     uuid.UUID       `json:"i"`
}

// cursorQuery tells queries apart whose cursors do not fit each other.
func (q *plan) cursorQuery() string {
	join := ""
	if q.order.join != nil {
		join = q.order.join.Name
	}
	return digest(q.r.Table, q.filterText, q.order.key, join, q.order.word())
}

// cursor writes the place behind a row.
func (q *plan) cursor(p *position) string {
	t := token{Query: q.cursorQuery(), ID: p.id}
	switch {
	case p.key == nil:
	case q.order.field.Kind == Time:
		t.Key, _ = json.Marshal(p.key.(time.Time).UnixMicro())
	default:
		t.Key, _ = json.Marshal(p.key)
	}
	if q.order.join != nil && !p.null {
		t.Joined = &p.joined
	}
	text, _ := json.Marshal(t)
	return base64.RawURLEncoding.EncodeToString(text)
}

// place reads a cursor; parameter names it in faults.
func (q *plan) place(parameter, cursor string) (*position, error) {
	p, err := q.decodeCursor(cursor)
	if err != nil {
		return nil, fault.InvalidQuery(parameter, "not a cursor of this list").Because(err)
	}
	return p, nil
}

func (q *plan) decodeCursor(cursor string) (*position, error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, err
	}
	var t token
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	if t.Query != q.cursorQuery() {
		return nil, errors.New("query: cursor of another query")
	}
	p := &position{id: t.ID}
	if q.order.key == "" {
		return p, nil
	}
	if len(t.Key) == 0 || q.order.join != nil && t.Joined == nil {
		if !q.order.nullable() && (q.order.join == nil || q.order.join.Required) {
			return nil, errors.New("query: cursor without a sort key")
		}
		p.null = true
		return p, nil
	}
	if t.Joined != nil {
		p.joined = *t.Joined
	}
	if p.key, err = cursorKey(q.order.field.Kind, t.Key); err != nil {
		return nil, err
	}
	if text, ok := p.key.(string); ok && strings.ContainsRune(text, 0) {
		return nil, errors.New("query: cursor with a NUL in its key")
	}
	return p, nil
}

func cursorKey(k Kind, text []byte) (any, error) {
	switch k {
	case Text:
		return decodeKey[string](text)
	case UUID:
		return decodeKey[uuid.UUID](text)
	case Bool:
		return decodeKey[bool](text)
	case Int:
		return decodeKey[int64](text)
	}
	us, err := decodeKey[int64](text)
	if err != nil {
		return nil, err
	}
	t := time.UnixMicro(us.(int64)).UTC()
	if !storable(t) {
		return nil, errors.New("query: cursor with a time out of range")
	}
	return t, nil
}

func decodeKey[T any](text []byte) (any, error) {
	var v T
	err := json.Unmarshal(text, &v)
	return v, err
}

// hiddenPosition reads the hidden columns of a row (see order.hidden).
func (o order) hiddenPosition(raw [][]byte) *position {
	p := &position{id: rawUUID(raw[len(raw)-1])}
	if o.key == "" {
		return p
	}
	if raw[0] == nil {
		p.null = true
		return p
	}
	p.key = rawKey(o.field.Kind, raw[0])
	if o.join != nil {
		p.joined = rawUUID(raw[1])
	}
	return p
}

func rawKey(k Kind, raw []byte) any {
	switch k {
	case Text:
		return string(raw)
	case UUID:
		return rawUUID(raw)
	case Bool:
		return raw[0] == 1
	case Int:
		return rawInt(raw)
	}
	t, _ := rawTime(raw)
	return t
}
