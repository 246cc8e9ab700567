package eventlog

import (
	"regexp"
	"strings"
)

// Filter selects events of the whole log. Parts that are set must all hold; a nil Filter selects everything.
// Prefixes compare bytes; a regular expression (RE2) may match anywhere.
type Filter struct {
	StreamPrefixes []string // any of them
	TypePrefixes   []string // any of them
	StreamRegex    *regexp.Regexp
	TypeRegex      *regexp.Regexp
	ExcludeStreams []string // none of these stream prefixes
	ExcludeTypes   []string // none of these type prefixes; "$" leaves system events out
}

// Match reports whether the filter selects an event of this stream and type.
func (f *Filter) Match(stream, typ string) bool {
	if f == nil {
		return true
	}
	return (len(f.StreamPrefixes) == 0 || hasAnyPrefix(stream, f.StreamPrefixes)) &&
		(len(f.TypePrefixes) == 0 || hasAnyPrefix(typ, f.TypePrefixes)) &&
		!hasAnyPrefix(stream, f.ExcludeStreams) && !hasAnyPrefix(typ, f.ExcludeTypes) &&
		(f.StreamRegex == nil || f.StreamRegex.MatchString(stream)) &&
		(f.TypeRegex == nil || f.TypeRegex.MatchString(typ))
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
