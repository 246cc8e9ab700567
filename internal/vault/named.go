package vault

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// namedSecret is the length of a named token's secret: 128 random bits and 160 of
// a keyed hash, in hexadecimal.
const namedSecret = 32 + 40

// NewNamedToken makes a credential that says what it belongs to, "<prefix><name>.
// <secret>", so that no look-up by its hash is needed; and its hash, which is
// stored. Name must not hold a dot.
func (v *Vault) NewNamedToken(prefix, name string) (plain string, hash []byte) {
	var random [16]byte
	rand.Read(random[:])
	nonce := hex.EncodeToString(random[:])
	plain = prefix + name + "." + nonce + v.namedMAC(prefix, name, nonce)
	return plain, HashToken(plain)
}

// ParseNamedToken tells what a named token belongs to. ok is false for text that
// NewNamedToken did not make: whoever sends that has never held a token.
func (v *Vault) ParseNamedToken(prefix, plain string) (name string, hash []byte, ok bool) {
	rest, found := strings.CutPrefix(plain, prefix)
	name, secret, dotted := strings.Cut(rest, ".")
	if !found || !dotted || len(secret) != namedSecret {
		return "", nil, false
	}
	nonce, mac := secret[:32], secret[32:]
	if subtle.ConstantTimeCompare([]byte(mac), []byte(v.namedMAC(prefix, name, nonce))) != 1 {
		return "", nil, false
	}
	return name, HashToken(plain), true
}

func (v *Vault) namedMAC(prefix, name, nonce string) string {
	return v.HMAC("named token", prefix+"."+name+"."+nonce)
}
