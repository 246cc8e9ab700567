package eventstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"docket/eventstore"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		prefixes []string
		yes, no  []string
	}{
		{nil, []string{"a", "reporting.task-created"}, []string{"$metadata", "$>"}},
		{[]string{""}, []string{"a", ""}, []string{"$metadata"}},
		{[]string{"$"}, nil, []string{"$metadata", "a"}},
		{[]string{"reporting."}, []string{"reporting.", "reporting.task-created"}, []string{"reporting", "Reporting.x", "x.reporting.", "", "$reporting."}},
		{[]string{"a", "bc"}, []string{"a", "ab", "bc", "bcd"}, []string{"b", "bb", "c", "ca"}},
		{[]string{"größe"}, []string{"größe", "größer"}, []string{"grö", "grosse"}},
	} {
		f := eventstore.Filter{TypePrefixes: c.prefixes}
		for _, typ := range c.yes {
			require.True(t, f.Matches(typ), "%q by %q", typ, c.prefixes)
		}
		for _, typ := range c.no {
			require.False(t, f.Matches(typ), "%q by %q", typ, c.prefixes)
		}
	}
}
