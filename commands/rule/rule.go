// Package rule holds the rules for text that all commands share. Each takes the
// problems found so far and the field's path, and returns the text to keep.
package rule

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"docket/domain/fault"
	"golang.org/x/text/language"
)

// Longest texts, in code points.
const (
	MaxName        = 256
	MaxDescription = 2_000
	MaxEmail       = 320
	MaxAddresses   = 4_000 // of a list of mail addresses
)

// Name is a required single line, trimmed.
func Name(p *fault.Problems, path, s string) string {
	s = Line(p, path, s, MaxName)
	p.Check(s != "", path, "must not be empty")
	return s
}

// Line is an optional single line, trimmed.
func Line(p *fault.Problems, path, s string, most int) string {
	s = strings.TrimSpace(s)
	check(p, path, s, most, unicode.IsControl)
	return s
}

// Description is optional text of any number of lines, kept as it is.
func Description(p *fault.Problems, path, s string) string {
	check(p, path, s, MaxDescription, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) })
	return s
}

// check looks at length and characters. Control characters are refused since
// PostgreSQL can't store all of them, and nobody types them on purpose.
func check(p *fault.Problems, path, s string, most int, forbidden func(rune) bool) {
	p.Check(utf8.RuneCountInString(s) <= most, path, "must not be longer than %d characters", most)
	p.Check(utf8.ValidString(s) && !strings.ContainsFunc(s, forbidden), path, "must not hold control characters")
}

// Email is an optional mail address without a display name.
func Email(p *fault.Problems, path, s string) string {
	s = strings.TrimSpace(s)
	if s != "" {
		p.Check(plausible(s), path, "is not a mail address")
	}
	return s
}

// Addresses is an optional list of mail addresses separated by commas or
// semicolons, kept as it is. Every wrong address is named.
func Addresses(p *fault.Problems, path, s string) string {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > MaxAddresses {
		p.Add(path, "must not be longer than %d characters", MaxAddresses)
		return s
	}
	for _, address := range SplitAddresses(s) {
		p.Check(plausible(address), path, "%q is not a mail address", address)
	}
	return s
}

// SplitAddresses are the addresses of a list, trimmed, without empty ones.
func SplitAddresses(s string) []string {
	var all []string
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' }) {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

func plausible(s string) bool {
	if utf8.RuneCountInString(s) > MaxEmail || strings.ContainsFunc(s, unicode.IsControl) {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s
}

// Language is a two-letter code of ISO 639-1 in lower case; none is taken as
// the fallback.
func Language(p *fault.Problems, path, s, fallback string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" {
		return fallback
	}
	base, err := language.ParseBase(s)
	p.Check(len(s) == 2 && err == nil && base.String() == s, path, "must be a two-letter language code such as \"en\"")
	return s
}
