package admin

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShow(t *testing.T) {
	for _, c := range []struct {
		data, want string
		personal   []string
		may        bool
	}{
		{`{"b":1,"a":2}`, `{"b":1,"a":2}`, nil, false}, // as it is stored
		{`{"passwordHash":"$argon2id$","n":1}`, `{"n":1,"passwordHash":"(hidden)"}`, nil, true},
		{`{"hash":"AQI=","list":[{"SMTPPassword":"x"},{"clientSecret":"y"},{"keySealed":"z"}]}`,
			`{"hash":"(hidden)","list":[{"SMTPPassword":"(hidden)"},{"clientSecret":"(hidden)"},{"keySealed":"(hidden)"}]}`, nil, true},
		{`{"sha256":"abc","password":"","oldHash":null}`, `{"sha256":"abc","password":"","oldHash":null}`, nil, false},
		{`{"email":"a@b","name":"n"}`, `{"email":"(hidden)","name":"n"}`, []string{"email", "phone"}, false},
		{`{"email":"a@b","name":"n"}`, `{"email":"a@b","name":"n"}`, []string{"email"}, true},
		{`{"email":"","phone":null}`, `{"email":"","phone":null}`, []string{"email", "phone"}, false},
		{`{"n":12345678901234567890,"t":"<&>","hash":"x"}`, `{"hash":"(hidden)","n":12345678901234567890,"t":"<&>"}`, nil, true},
		{`[1]`, `[1]`, nil, false},
		{``, `null`, nil, false},
	} {
		got, err := show([]byte(c.data), c.personal, c.may)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
	_, err := show([]byte(`{`), nil, true)
	require.Error(t, err)
}

func TestTypesOf(t *testing.T) {
	types := []string{"a.b", "a.bc", "ab.c"}
	require.Equal(t, []string{"a.b"}, typesOf("a.b", types))
	require.Equal(t, []string{"a.b", "a.bc"}, typesOf("a.", types))
	require.Empty(t, typesOf("a", types))
	require.Empty(t, typesOf("x.", types))
}
