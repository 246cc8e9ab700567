package vault

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamedTokens(t *testing.T) {
	v := newVault(t, 1)
	plain, hash := v.NewNamedToken("rt_", "00aa")
	require.Regexp(t, `^rt_00aa\.[0-9a-f]{72}$`, plain)
	require.Equal(t, HashToken(plain), hash)
	other, _ := v.NewNamedToken("rt_", "00aa")
	require.NotEqual(t, plain, other)
	name, parsed, ok := v.ParseNamedToken("rt_", plain)
	require.True(t, ok)
	require.Equal(t, "00aa", name)
	require.Equal(t, hash, parsed)

	// Whatever was not made as it stands is no token, also of another name, for
	// another purpose or of another installation.
	forged := []string{"", "rt_", "rt_00aa", "rt_00aa.", strings.Replace(plain, "00aa", "00ab", 1), "dt_" + plain[3:], plain + "0", plain[:len(plain)-1]}
	for i := range plain {
		changed := []byte(plain)
		changed[i] ^= 1
		forged = append(forged, string(changed))
	}
	for _, f := range forged {
		_, _, ok := v.ParseNamedToken("rt_", f)
		require.False(t, ok, f)
	}
	_, _, ok = v.ParseNamedToken("dt_", "dt_"+plain[3:])
	require.False(t, ok)
	_, _, ok = newVault(t, 2).ParseNamedToken("rt_", plain)
	require.False(t, ok)
}
