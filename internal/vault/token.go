package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"strings"
)

// tokenLength characters of base62 hold 256 random bits.
const tokenLength = 43

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewToken makes a credential: the plain text, prefix ("dk_") and 43 characters
// of base62, which is shown once, and its hash, which is stored.
func NewToken(prefix string) (plain string, hash []byte) {
	var secret [32]byte
	rand.Read(secret[:])
	n := new(big.Int).SetBytes(secret[:])
	plain = n.Text(62)
	// big.Int writes digits, then lower, then upper case; any fixed order will do.
	plain = prefix + strings.Repeat("0", tokenLength-len(plain)) + plain
	return plain, HashToken(plain)
}

// HashToken is the stored form of a token. A plain SHA-256 is enough, since the
// token is random and too long to guess.
func HashToken(plain string) []byte {
	sum := sha256.Sum256([]byte(plain))
	return sum[:]
}

// IsToken tells whether text has the form that NewToken gives, so that other
// bearer tokens (a JWT) need no look-up.
func IsToken(prefix, text string) bool {
	rest, ok := strings.CutPrefix(text, prefix)
	return ok && len(rest) == tokenLength && strings.Trim(rest, base62) == ""
}
