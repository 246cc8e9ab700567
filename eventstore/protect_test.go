package eventstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/domain"
	"docket/eventstore"
)

type registered struct {
	User  domain.ID `json:"user"`
	Name  string    `json:"name" pii:"User"`
	Phone *string   `json:"phone,omitempty" pii:"User"`
	Email mail      `json:"email" pii:"User"`
	Plan  string    `json:"plan"`
}

type mail string

func (registered) EventType() string { return "user.registered" }

// vault turns text around and puts the subject before it.
type vault struct {
	erased map[uuid.UUID]bool
	broken error
}

func (v vault) Seal(subject uuid.UUID, plain []byte) ([]byte, error) {
	return append(subject[:], reversed(plain)...), v.broken
}

func (v vault) Open(subject uuid.UUID, sealed []byte) ([]byte, bool, error) {
	if v.broken != nil {
		return nil, false, v.broken
	}
	if string(sealed[:16]) != string(subject[:]) {
		return nil, false, errors.New("sealed for another subject")
	}
	return reversed(sealed[16:]), !v.erased[subject], nil
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c
	}
	return out
}

func text(s string) *string { return &s }

func TestProtectedFields(t *testing.T) {
	v := vault{erased: map[uuid.UUID]bool{}}
	c := eventstore.NewCodec(registered{}).WithProtection(v)
	user := domain.WellKnownID(9)
	for _, e := range []registered{
		{User: user, Name: "Ada Lovelace", Phone: text("+44 1"), Email: "ada@example.org", Plan: "gold"},
		{User: user, Name: "Ada Lovelace", Plan: "gold"},
		{User: user, Name: "x", Phone: text("")},
		{User: user},
	} {
		before, phone := e, e.Phone
		var number string
		if phone != nil {
			number = *phone
		}
		data, err := c.Encode(e)
		require.NoError(t, err)
		for _, secret := range []string{"Ada", "+44", "ada@"} {
			require.NotContains(t, string(data), secret)
		}
		require.Equal(t, e.Plan != "", strings.Contains(string(data), "gold"))
		require.Equal(t, before, e, "the event is not changed")
		if phone != nil {
			require.Equal(t, number, *phone, "nor what it points to")
		}
		back, err := c.Decode("user.registered", 1, data)
		require.NoError(t, err)
		require.Equal(t, e, back)
	}
}

func TestErasedSubject(t *testing.T) {
	v := vault{erased: map[uuid.UUID]bool{}}
	c := eventstore.NewCodec(registered{}).WithProtection(v)
	user := domain.WellKnownID(9)
	data, err := c.Encode(registered{User: user, Name: "Ada", Phone: text("+44 1"), Plan: "gold"})
	require.NoError(t, err)
	v.erased[user] = true
	e, err := c.Decode("user.registered", 1, data)
	require.NoError(t, err)
	require.Equal(t, registered{User: user, Name: domain.Erased, Phone: text(domain.Erased), Plan: "gold"}, e)
}

func TestEventsFromBeforeProtection(t *testing.T) {
	plain := eventstore.NewCodec(registered{})
	e := registered{User: domain.WellKnownID(9), Name: "Ada", Phone: text("+44 1")}
	data, err := plain.Encode(e)
	require.NoError(t, err)
	require.Contains(t, string(data), "Ada")
	protected := plain.WithProtection(vault{})
	back, err := protected.Decode("user.registered", 1, data)
	require.NoError(t, err)
	require.Equal(t, e, back)

	again, err := plain.Encode(e)
	require.NoError(t, err)
	require.Contains(t, string(again), "Ada", "WithProtection leaves the codec it was called on alone")
}

func TestProtectionFails(t *testing.T) {
	broken := errors.New("vault is locked")
	good := eventstore.NewCodec(registered{}).WithProtection(vault{})
	bad := eventstore.NewCodec(registered{}).WithProtection(vault{broken: broken})
	e := registered{User: domain.WellKnownID(9), Name: "Ada"}
	_, err := bad.Encode(e)
	require.ErrorIs(t, err, broken, "never stored in the clear instead")

	data, err := good.Encode(e)
	require.NoError(t, err)
	_, err = bad.Decode("user.registered", 1, data)
	require.ErrorIs(t, err, broken)
	_, err = good.Decode("user.registered", 1, []byte(`{"name":"pii1:not base64!"}`))
	require.ErrorContains(t, err, "unprotect user.registered")
}

type noSubject struct {
	Name string `pii:"User"`
}

func (noSubject) EventType() string { return "bad.no-subject" }

type notText struct {
	User domain.ID
	Age  int `pii:"User"`
}

func (notText) EventType() string { return "bad.not-text" }

type notID struct {
	User string
	Name string `pii:"User"`
}

func (notID) EventType() string { return "bad.not-id" }

func TestProtectionTagsAreChecked(t *testing.T) {
	for _, e := range []domain.Event{noSubject{}, notText{}, notID{}} {
		require.Panics(t, func() { eventstore.NewCodec(e) }, e.EventType())
	}
}
