// Package textfold is the one rule by which text is made comparable: projections
// fold what they store and queries fold what they look for, so that nothing
// depends on the locale or version of a database server.
package textfold

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Version changes when Fold's answers do. Read models that hold folded text are
// then rebuilt.
const Version = 1

// Fold is the form in which text is searched and sorted: lower case, Unicode
// NFC. Fold(Fold(s)) == Fold(s).
func Fold(s string) string {
	if folded(s) {
		return s
	}
	// Lower-casing can take a composed letter apart (İ), hence the second NFC.
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// folded tells cheaply that s needs no folding: ASCII without capitals.
func folded(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}
