package vault

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters of argon2id: the second choice of the OWASP password storage sheet
// (19 MiB, two passes, one lane), which two cores bear under many logins at once.
const (
	argonMemory = 19 * 1024 // KiB
	argonTime   = 2
	argonLanes  = 1
	argonSalt   = 16
	argonKey    = 32
)

// Bounds on the parameters of a stored hash, so that a planted one cannot eat
// the machine.
const (
	maxArgonMemory = 256 * 1024
	maxArgonTime   = 16
)

var errHash = errors.New("not an argon2id hash")

// HashPassword makes a PHC string of a password. Each call has its own salt.
func HashPassword(password string) string {
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, argonKey)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

// VerifyPassword tells whether hash was made of password. An error means that
// hash is no argon2id hash.
func VerifyPassword(hash, password string) (bool, error) {
	h, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	got := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(got, h.key) == 1, nil
}

// NeedsRehash tells whether a hash was made with other parameters than today's.
// Hash again after the next successful login.
func NeedsRehash(hash string) bool {
	h, err := parseHash(hash)
	return err != nil || h.memory != argonMemory || h.time != argonTime || h.lanes != argonLanes || len(h.key) != argonKey
}

type argonHash struct {
	memory, time uint32
	lanes        uint8
	salt, key    []byte
}

func parseHash(hash string) (argonHash, error) {
	var h argonHash
	var version int
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errHash
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return h, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); err != nil {
		return h, errHash
	}
	if h.memory == 0 || h.memory > maxArgonMemory || h.time == 0 || h.time > maxArgonTime || h.lanes == 0 {
		return h, errHash
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(h.salt) < 8 {
		return h, errHash
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(h.key) < 16 || len(h.key) > 64 {
		return h, errHash
	}
	return h, nil
}
