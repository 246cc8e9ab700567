package directory

import (
	"fmt"
	"unicode/utf8"
)

// Lengths of a password in code points. The upper bound keeps hashing cheap.
const (
	MinPassword = 8
	MaxPassword = 256
)

// CheckPassword says what is wrong with a password before it is hashed, "" for
// nothing. Commands only see hashes.
func CheckPassword(plain string) string {
	switch n := utf8.RuneCountInString(plain); {
	case !utf8.ValidString(plain):
		return "is not valid text"
	case n < MinPassword:
		return fmt.Sprintf("must have at least %d characters", MinPassword)
	case n > MaxPassword:
		return fmt.Sprintf("must not be longer than %d characters", MaxPassword)
	}
	return ""
}
