package eventstore

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"

	"docket/domain"
	"github.com/google/uuid"
)

// Protector encrypts personal data with a key per subject. The keys live
// outside the log: destroying one erases the person from every event, backup
// and rebuild.
type Protector interface {
	// Seal encrypts for a subject, making its key when there is none.
	Seal(subject uuid.UUID, plain []byte) ([]byte, error)
	// Open decrypts. ok is false when the subject was erased.
	Open(subject uuid.UUID, sealed []byte) (plain []byte, ok bool, err error)
}

// sealedPrefix marks a protected value in JSON, so that events written without
// protection stay readable.
const sealedPrefix = "pii1:"

// protectedField is a string field tagged `pii:"Subject"`, where Subject names
// the field of the same struct that holds the person's id.
type protectedField struct {
	index   int
	subject int
}

func protectedFields(t reflect.Type) []protectedField {
	var fields []protectedField
	for i := range t.NumField() {
		subject, tagged := t.Field(i).Tag.Lookup("pii")
		if !tagged {
			continue
		}
		s, found := t.FieldByName(subject)
		if !found || len(s.Index) != 1 || s.Type != reflect.TypeFor[domain.ID]() || !textual(t.Field(i).Type) {
			panic(fmt.Sprintf("%s.%s: pii needs a string field and an ID field named by the tag", t, t.Field(i).Name))
		}
		fields = append(fields, protectedField{index: i, subject: s.Index[0]})
	}
	return fields
}

func textual(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.String
}

// WithProtection makes the codec encrypt fields tagged pii. Without it they are
// stored as they are (tests, tools that never see the keys).
func (c *Codec) WithProtection(p Protector) *Codec {
	return &Codec{types: c.types, protector: p}
}

// textOf is the addressable string behind a string or *string field, if any.
func textOf(v reflect.Value) (reflect.Value, bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return v, false
		}
		v = v.Elem()
	}
	return v, v.Len() > 0
}

func (c *Codec) seal(known entry, e domain.Event) (domain.Event, error) {
	clone := reflect.New(known.goType).Elem()
	clone.Set(reflect.ValueOf(e))
	for _, f := range known.fields {
		text, present := textOf(clone.Field(f.index))
		if !present {
			continue
		}
		sealed, err := c.protector.Seal(clone.Field(f.subject).Interface().(domain.ID), []byte(text.String()))
		if err != nil {
			return nil, err
		}
		setText(clone.Field(f.index), sealedPrefix+base64.RawStdEncoding.EncodeToString(sealed))
	}
	return clone.Interface().(domain.Event), nil
}

// setText replaces the string without writing through a pointer that the
// original event shares.
func setText(field reflect.Value, s string) {
	if field.Kind() == reflect.Pointer {
		text := reflect.New(field.Type().Elem())
		text.Elem().SetString(s)
		field.Set(text)
		return
	}
	field.SetString(s)
}

func (c *Codec) open(known entry, v reflect.Value) error {
	for _, f := range known.fields {
		text, present := textOf(v.Field(f.index))
		if !present || !strings.HasPrefix(text.String(), sealedPrefix) {
			continue
		}
		sealed, err := base64.RawStdEncoding.DecodeString(text.String()[len(sealedPrefix):])
		if err != nil {
			return err
		}
		plain, ok, err := c.protector.Open(v.Field(f.subject).Interface().(domain.ID), sealed)
		if err != nil {
			return err
		}
		if !ok {
			plain = []byte(domain.Erased)
		}
		setText(v.Field(f.index), string(plain))
	}
	return nil
}
