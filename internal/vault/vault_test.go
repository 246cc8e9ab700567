package vault

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func newVault(t *testing.T, fill byte) *Vault {
	t.Helper()
	v, err := New(bytes.Repeat([]byte{fill}, KeySize))
	require.NoError(t, err)
	return v
}

func TestSealOpensOnlyInItsContextAndUnchanged(t *testing.T) {
	v := newVault(t, 1)
	sealed := v.Seal("smtp/1", []byte("secret"))
	require.NotContains(t, string(sealed), "secret")
	require.NotEqual(t, sealed, v.Seal("smtp/1", []byte("secret")), "a nonce of its own each time")
	plain, err := v.Open("smtp/1", sealed)
	require.NoError(t, err)
	require.Equal(t, "secret", string(plain))

	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := v.Open("smtp/1", changed)
		require.ErrorIs(t, err, ErrSealed, "byte %d", i)
	}
	for _, bad := range [][]byte{nil, {}, {1}, sealed[:10]} {
		_, err = v.Open("smtp/1", bad)
		require.ErrorIs(t, err, ErrSealed)
	}
	_, err = v.Open("smtp/2", sealed)
	require.ErrorIs(t, err, ErrSealed)
	_, err = newVault(t, 2).Open("smtp/1", sealed)
	require.ErrorIs(t, err, ErrSealed)
}

func TestHMAC(t *testing.T) {
	v := newVault(t, 1)
	require.Regexp(t, `^[0-9a-f]{40}$`, v.HMAC("claim/name", "jane"))
	require.Equal(t, v.HMAC("claim/name", "jane"), v.HMAC("claim/name", "jane"))
	require.NotEqual(t, v.HMAC("claim/name", "jane"), v.HMAC("claim/mail", "jane"))
	require.NotEqual(t, v.HMAC("ab", "c"), v.HMAC("a", "bc"))
	require.NotEqual(t, v.HMAC("claim/name", "jane"), newVault(t, 2).HMAC("claim/name", "jane"))
}

func TestSigningKeys(t *testing.T) {
	v := newVault(t, 1)
	require.Len(t, v.SigningKey("a"), KeySize)
	require.Equal(t, v.SigningKey("a"), newVault(t, 1).SigningKey("a"))
	require.NotEqual(t, v.SigningKey("a"), v.SigningKey("b"))
	require.NotEqual(t, v.SigningKey("a"), newVault(t, 2).SigningKey("a"))
}

// A changed derivation would make every sealed value and every claim unreadable.
func TestDerivationIsFixed(t *testing.T) {
	v := newVault(t, 1)
	require.Equal(t, "d958848f7c9a305555e0aea117fc316632b28a03", v.HMAC("claim/name", "jane"))
	plain, err := v.Open("ctx", mustBase64(t, sealedByFirstVersion))
	require.NoError(t, err)
	require.Equal(t, "kept", string(plain))
}

const sealedByFirstVersion = "AUp6Mg8y+JE9uxYbkcK4yZtEngayWVf6jfIL1pSsB1yJ"

func mustBase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "secret.key")
	var group sync.WaitGroup
	sums := make([]string, 8)
	for i := range sums {
		group.Go(func() {
			v, err := Open("", path)
			if err == nil {
				sums[i] = v.HMAC("p", "v")
			}
		})
	}
	group.Wait()
	require.NotEmpty(t, sums[0])
	for _, s := range sums {
		require.Equal(t, sums[0], s, "all that start together have the one key")
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing else is left behind")

	require.NoError(t, os.Chmod(path, 0o644))
	_, err = Open("", path)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("c2hvcnQ="), 0o600))
	_, err = Open("", path)
	require.ErrorContains(t, err, "32 bytes in base64")
	require.NotContains(t, err.Error(), "c2hvcnQ")
}

func TestConfiguredKey(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb, 0xff}, KeySize/2)
	want, err := New(key)
	require.NoError(t, err)
	for _, text := range []string{base64.StdEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key), " " + base64.URLEncoding.EncodeToString(key) + "\n"} {
		v, err := Open(text, "/nonexistent/key")
		require.NoError(t, err)
		require.Equal(t, want.HMAC("p", "v"), v.HMAC("p", "v"))
	}
	_, err = Open("too short", "/nonexistent/key")
	require.Error(t, err)
}

func TestPasswords(t *testing.T) {
	hash := HashPassword("correct horse")
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$"), hash)
	require.NotEqual(t, hash, HashPassword("correct horse"), "a salt of its own each time")
	ok, err := VerifyPassword(hash, "correct horse")
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = VerifyPassword(hash, "correct horse ")
	require.NoError(t, err)
	require.False(t, ok)
	require.False(t, NeedsRehash(hash))

	// The published test vector of the reference implementation.
	ok, err = VerifyPassword("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password")
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, NeedsRehash("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"))

	for _, bad := range []string{"", "plain", "$2a$10$abc", strings.Replace(hash, "m=19456", "m=99999999", 1), strings.Replace(hash, "v=19", "v=16", 1), strings.Replace(hash, "t=2", "t=0", 1), strings.Replace(hash, "p=1", "p=0", 1), hash[:len(hash)-30]} {
		_, err = VerifyPassword(bad, "x")
		require.Error(t, err, bad)
		require.True(t, NeedsRehash(bad))
	}
}

func TestTokens(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		plain, hash := NewToken("dk_")
		require.Regexp(t, `^dk_[0-9A-Za-z]{43}$`, plain)
		require.Equal(t, HashToken(plain), hash)
		require.True(t, IsToken("dk_", plain))
		require.False(t, seen[plain])
		seen[plain] = true
	}
	for _, other := range []string{"", "dk_", "eyJhbGciOi.eyJ.x", "xx_" + strings.Repeat("a", 43), "dk_" + strings.Repeat("a", 44), "dk_" + strings.Repeat("a", 42) + "-"} {
		require.False(t, IsToken("dk_", other), other)
	}
}
