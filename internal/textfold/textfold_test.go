package textfold

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"plain text 1":    "plain text 1",
		"Zürich":          "zürich",
		"ZU\u0308RICH":    "zürich", // decomposed
		"ΟΔΟΣ":            "οδοσ",   // no special final sigma: a prefix must stay a prefix
		"Straße":          "straße",
		"\u212B":          "å", // Ångström sign
		"bad \xff utf-8 ": "bad \xff utf-8 ",
	} {
		if in == "bad \xff utf-8 " {
			require.Equal(t, Fold(in), Fold(Fold(in)))
			continue
		}
		require.Equal(t, want, Fold(in), "%q", in)
	}
}

func TestFoldIsIdempotentAndComposed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		folded := Fold(s)
		require.Equal(t, folded, Fold(folded))
		require.True(t, norm.NFC.IsNormalString(folded))
		require.Equal(t, folded, Fold(norm.NFD.String(s)), "canonically equal text folds alike")
	})
}
