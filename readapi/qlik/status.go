package qlik

import (
	"strings"

	"docket/readapi/query"
)

// matches tells whether a status meets a comparison; texts are compared without
// case.
func matches(c query.Compare, word string) bool {
	if c.Op == query.Present {
		return true
	}
	value, _ := c.Value.(string)
	value = strings.ToLower(value)
	switch c.Op {
	case query.Eq:
		return word == value
	case query.Ne:
		return word != value
	case query.Contains:
		return strings.Contains(word, value)
	case query.Starts:
		return strings.HasPrefix(word, value)
	case query.Ends:
		return strings.HasSuffix(word, value)
	case query.In:
		values, _ := c.Value.([]any)
		for _, v := range values {
			if text, _ := v.(string); strings.EqualFold(text, word) {
				return true
			}
		}
	}
	return false
}
