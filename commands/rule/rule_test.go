package rule

import (
	"strings"
	"testing"

	"docket/domain/fault"
	"github.com/stretchr/testify/require"
)

func TestRules(t *testing.T) {
	name := func(p *fault.Problems, s string) string { return Name(p, "f", s) }
	description := func(p *fault.Problems, s string) string { return Description(p, "f", s) }
	email := func(p *fault.Problems, s string) string { return Email(p, "f", s) }
	addresses := func(p *fault.Problems, s string) string { return Addresses(p, "f", s) }
	languageOf := func(p *fault.Problems, s string) string { return Language(p, "f", s, "en") }
	long := func(n int) string { return strings.Repeat("é", n) }
	for _, c := range []struct {
		what     string
		rule     func(*fault.Problems, string) string
		in, kept string
		ok       bool
	}{
		{"name trimmed", name, " a b ", "a b", true},
		{"name counts code points", name, long(256), long(256), true},
		{"name too long", name, long(257), long(257), false},
		{"name blank", name, " \t\u00a0", "", false},
		{"name of two lines", name, "a\nb", "a\nb", false},
		{"name with NUL", name, "a\x00b", "a\x00b", false},
		{"name not UTF-8", name, "a\xff", "a\xff", false},
		{"description kept", description, " a\r\n\tb ", " a\r\n\tb ", true},
		{"description too long", description, long(2001), long(2001), false},
		{"description with NUL", description, "\x00", "\x00", false},
		{"no email", email, " ", "", true},
		{"email", email, " ann@example.com ", "ann@example.com", true},
		{"email with name", email, "Ann <ann@example.com>", "Ann <ann@example.com>", false},
		{"email in brackets", email, "<ann@example.com>", "<ann@example.com>", false},
		{"email without domain", email, "ann", "ann", false},
		{"two emails", email, "a@x.org,b@x.org", "a@x.org,b@x.org", false},
		{"email too long", email, strings.Repeat("a", 309) + "@example.com", strings.Repeat("a", 309) + "@example.com", false},
		{"addresses", addresses, "a@x.org; b@x.org,c@x.org;", "a@x.org; b@x.org,c@x.org;", true},
		{"no addresses", addresses, "", "", true},
		{"one wrong address", addresses, "a@x.org;b", "a@x.org;b", false},
		{"too many addresses", addresses, strings.Repeat("a@x.org;", 501), strings.Repeat("a@x.org;", 501), false},
		{"language", languageOf, "FR", "fr", true},
		{"no language", languageOf, "", "en", true},
		{"language of three letters", languageOf, "fra", "fra", false},
		{"no such language", languageOf, "xx", "xx", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			var p fault.Problems
			require.Equal(t, c.kept, c.rule(&p, c.in))
			require.Equal(t, c.ok, p.Err() == nil, "%v", p.Err())
		})
	}
}
