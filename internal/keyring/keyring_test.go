package keyring_test

import (
	"bytes"
	"testing"

	"docket/internal/keyring"
	"docket/internal/postgres/pgtest"
	"docket/internal/vault"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestRing(t *testing.T) {
	pool := pgtest.New(t)
	v, err := vault.New(bytes.Repeat([]byte{1}, vault.KeySize))
	require.NoError(t, err)
	open := func() *keyring.Ring {
		r, err := keyring.Open(t.Context(), pool, v)
		require.NoError(t, err)
		return r
	}
	r, other := open(), open()
	a, b := uuid.New(), uuid.New()

	sealed, err := r.Seal(a, []byte("Ada"))
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "Ada")
	again, err := r.Seal(a, []byte("Ada"))
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "the same text must not look the same twice")

	plain, ok, err := other.Open(a, sealed)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "Ada", string(plain))

	_, _, err = r.Open(b, sealed)
	require.Error(t, err, "a subject without a key was never erased: that is a loss, not an erasure")
	_, err = r.Seal(b, []byte("Bob"))
	require.NoError(t, err)
	_, _, err = r.Open(b, sealed)
	require.Error(t, err, "opened with another subject's key")
	sealed[len(sealed)-1]++
	_, _, err = r.Open(a, sealed)
	require.Error(t, err, "opened what was changed")
	sealed[len(sealed)-1]--

	was, err := r.Erase(t.Context(), a)
	require.NoError(t, err)
	require.True(t, was)
	was, err = r.Erase(t.Context(), a)
	require.NoError(t, err)
	require.False(t, was)
	for _, ring := range []*keyring.Ring{r, open()} {
		_, ok, err = ring.Open(a, sealed)
		require.NoError(t, err)
		require.False(t, ok)
		_, err = ring.Seal(a, []byte("Ada"))
		require.ErrorIs(t, err, keyring.ErrErased)
	}
}
