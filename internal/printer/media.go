package printer

import "strings"

// pwg are the names of PWG 5101.1 for papers.
var pwg = map[string]string{
	"letter": "na_letter_8.5x11in", "legal": "na_legal_8.5x14in", "tabloid": "na_ledger_11x17in", "executive": "na_executive_7.25x10.5in",
	"statement": "na_invoice_5.5x8.5in", "folio": "na_foolscap_8.5x13in",
	"a0": "iso_a0_841x1189mm", "a1": "iso_a1_594x841mm", "a2": "iso_a2_420x594mm", "a3": "iso_a3_297x420mm",
	"a4": "iso_a4_210x297mm", "a5": "iso_a5_148x210mm", "a6": "iso_a6_105x148mm", "b4": "iso_b4_250x353mm", "b5": "iso_b5_176x250mm",
	"jis-b4": "jis_b4_257x364mm", "jis-b5": "jis_b5_182x257mm", "c5": "iso_c5_162x229mm", "dl": "iso_dl_110x220mm",
}

// mediaName is the name that IPP and CUPS know a paper by, or nothing for one that
// has none, which leaves the choice to the printer.
func mediaName(media string) string {
	if name, ok := pwg[strings.ToLower(media)]; ok {
		return name
	}
	if strings.Count(media, "_") >= 2 && !strings.ContainsFunc(media, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return media
	}
	return ""
}

// sides is the keyword of IPP and CUPS.
func sides(d Duplex) string {
	switch d {
	case Simplex:
		return "one-sided"
	case LongEdge:
		return "two-sided-long-edge"
	case ShortEdge:
		return "two-sided-short-edge"
	}
	return ""
}
