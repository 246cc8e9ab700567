package paper

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sheet is one page of a PDF made by hand.
type sheet struct {
	content string // drawing operators
	size    string // MediaBox; empty: inherited, A4
	more    string // further entries of the page
}

// pdfOf makes a PDF of sheets. Resources and further objects may be shared by all
// sheets; objects are numbered from firstObject on.
func pdfOf(resources string, objects []string, sheets ...sheet) []byte {
	all := []string{"<< /Type /Catalog /Pages 2 0 R >>", "", "<< " + resources + " >>"}
	all = append(all, objects...)
	var kids []string
	for _, s := range sheets {
		size := ""
		if s.size != "" {
			size = "/MediaBox [" + s.size + "]"
		}
		all = append(all, fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(s.content), s.content))
		all = append(all, fmt.Sprintf("<< /Type /Page /Parent 2 0 R /Contents %d 0 R %s %s >>", len(all), size, s.more))
		kids = append(kids, fmt.Sprintf("%d 0 R", len(all)))
	}
	all[1] = fmt.Sprintf("<< /Type /Pages /Count %d /Kids [%s] /MediaBox [0 0 595 842] /Resources 3 0 R >>", len(kids), strings.Join(kids, " "))
	return assemble(all, "")
}

// assemble writes objects, their table and the trailer.
func assemble(objects []string, trailer string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	offsets := make([]int, len(objects))
	for i, o := range objects {
		offsets[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	table := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, offset := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, trailer, table)
	return b.Bytes()
}

func stream(dict, data string) string {
	return fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data)
}

func deflated(dict, data string) string {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	w.Write([]byte(data))
	w.Close()
	return stream(dict+" /Filter /FlateDecode", b.String())
}

// readBytes analyses within this process.
func readBytes(t *testing.T, data []byte) (Info, error) {
	return read(t.Context(), bytes.NewReader(data))
}

func write(t *testing.T, data []byte) string {
	path := filepath.Join(t.TempDir(), "document.pdf")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestPagesAndColor(t *testing.T) {
	data := pdfOf("", nil, sheet{content: "0 g 10 10 100 100 re f"}, sheet{content: "1 0 0 rg 10 10 100 100 re f"}, sheet{content: "0.5 0.5 0.5 RG 0 0 m 9 9 l S"})
	info, err := Analyse(t.Context(), write(t, data))
	require.NoError(t, err)
	require.Equal(t, Info{Pages: 3, ColorPages: 1, Paper: "A4"}, info)
}

func TestPaper(t *testing.T) {
	for box, name := range map[string]string{
		"0 0 595 842": "A4", "0 0 595.276 841.89": "A4", "0 0 842 595": "A4", "842 595 0 0": "A4", "10 10 605 852": "A4", "": "A4",
		"0 0 612 792": "Letter", "0 0 792 1224": "Tabloid", "0 0 1224 792": "Tabloid", "0 0 612 1008": "Legal", "0 0 841.9 1190.55": "A3",
		"0 0 419.5 595.3": "A5", "0 0 298 420": "A6", "0 0 500 300.4": "300x500", "0 0 0 0": "Letter", "0 0 1": "Letter", "0 0 1e30 5": "Letter",
	} {
		info, err := readBytes(t, pdfOf("", nil, sheet{size: box}, sheet{size: "0 0 10 10"}))
		require.NoError(t, err, box)
		require.Equal(t, name, info.Paper, box)
		require.Equal(t, 2, info.Pages)
	}
	info, err := readBytes(t, pdfOf("", nil, sheet{size: "0 0 297.5 421", more: "/UserUnit 2"}))
	require.NoError(t, err)
	require.Equal(t, "A4", info.Paper)
}

// One page's content, the shared resources, and the objects they refer to.
func TestColor(t *testing.T) {
	spaces := `/ColorSpace << /Spot [/Separation /PANTONE#20185 /DeviceCMYK 99 0 R] /Black [/Separation /Black /DeviceCMYK 99 0 R]
		/Profile [/ICCBased 4 0 R] /GrayProfile [/ICCBased 5 0 R] /Lab [/Lab << /WhitePoint [1 1 1] >>] /Under [/Pattern /DeviceRGB]
		/Inks [/DeviceN [/Black /Gold] /DeviceCMYK 99 0 R] /Grays [/Indexed /DeviceRGB 1 <000000808080>] /Reds [/Indexed /DeviceRGB 1 <000000FF0000>]
		/Round /Round >>
		/XObject << /RGB 6 0 R /Gray 7 0 R /Mask 8 0 R /Grays 9 0 R /Reds 10 0 R /RedForm 11 0 R /GrayForm 12 0 R /Self 13 0 R /Outer 14 0 R /Odd 15 0 R /JPX 21 0 R >>
		/Pattern << /Red 16 0 R /Un 17 0 R /Shade << /PatternType 2 /Shading << /ShadingType 2 /ColorSpace /DeviceRGB >> >> >>
		/Shading << /RGB << /ShadingType 2 /ColorSpace /DeviceRGB >> /Gray << /ShadingType 2 /ColorSpace /DeviceGray >> >>
		/Font << /F 18 0 R /T3 19 0 R >>`
	image := "/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 "
	form := "/Type /XObject /Subtype /Form /BBox [0 0 9 9] "
	objects := []string{
		stream("/N 3", "profile"), stream("/N 1", "profile"), // 4, 5
		stream(image+"/ColorSpace [/ICCBased 4 0 R]", "xxx"), stream(image+"/ColorSpace [/ICCBased 5 0 R]", "x"),
		stream(image+"/ImageMask true", "x"), stream(image+"/ColorSpace /Grays", "x"), deflated(image+"/ColorSpace /Reds", "x"), // 8 - 10
		deflated(form+"/Resources << >>", "1 0 0 rg 0 0 1 1 re f"), stream(form+"/Resources << >>", "0.2 g 0 0 1 1 re f"),
		stream(form+"/Resources << /XObject << /Self 13 0 R >> >>", "/Self Do"), stream(form, "/RedForm Do"), // 13, 14
		stream(form+"/Filter /DCTDecode", "no drawing"),
		stream("/PatternType 1 /PaintType 1 /Resources << >>", "0 0 1 rg 0 0 1 1 re f"), stream("/PatternType 1 /PaintType 2 /Resources << >>", "0 0 1 1 re f"),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>", "<< /Type /Font /Subtype /Type3 /CharProcs << /a 20 0 R >> >>", // 18, 19
		stream("", "10 0 d0 0 1 0 rg 0 0 1 1 re f"), stream(image+"/Filter /JPXDecode", "x"),
	}
	for content, color := range map[string]bool{
		"": false, "0 0 0 rg": false, "1 1 1 RG": false, "0.2 0.2 0.201 rg": false, "0.2 0.2 0.3 rg": true, "0 0 1 RG": true, "1 0 rg": true,
		"0 0 0 1 k": false, "0 0 0 0.4 K": false, "0.1 0.1 0.1 0 k": true, "0 1 0 0 K": true,
		"/DeviceRGB cs 1 0 0 sc": true, "/DeviceRGB cs 1 1 1 sc": false, "/DeviceRGB cs": false, "/DeviceGray CS 0.5 SC": false, "/DeviceCMYK cs 0 0 0 1 scn": false,
		"/Spot cs 0.7 scn": true, "/Spot cs 0 scn": false, "/Black cs 1 scn": false, "/Inks cs 1 0 scn": false, "/Inks cs 0 1 scn": true,
		"/Profile cs 0 1 0 scn": true, "/Profile cs 0 0 0 scn": false, "/GrayProfile cs 0.3 scn": false, "/Lab cs 50 0 0 sc": false, "/Lab cs 50 60 0 sc": true,
		"/Grays cs 1 sc": false, "/Reds cs 1 sc": true, "/Round cs 1 0 0 sc": true, "/Missing cs 0 0 0 sc": false,
		"q /DeviceRGB cs Q 0.5 sc": false, "q Q Q /DeviceRGB CS q 1 0 0 SC": true,
		"/RGB Do": true, "/Gray Do": false, "/Mask Do": false, "/Grays Do": false, "/Reds Do": true, "/Missing Do": false, "/JPX Do": true,
		"/RedForm Do": true, "/GrayForm Do": false, "/Self Do": false, "/Outer Do": true, "/Odd Do": true, "/#52edForm Do": true,
		"/Pattern cs /Red scn": true, "/Pattern cs /Shade scn": true, "/Under cs 1 0 0 /Un scn": true, "/Under cs 0 0 0 /Un scn": false,
		"/RGB sh": true, "/Gray sh": false,
		"BT /F 12 Tf (1 0 0 rg) Tj ET": false, "BT /T3 12 Tf (a) Tj ET": true, "BT (a \\) 1 0 0 rg ( ) ) Tj <31> Tj [(x) 1 0 0] TJ ET": false, "% 1 0 0 rg\n0 g": false,
		"/Span << /Lang (en) /X [1 0 0] >> BDC EMC":        false,
		"BI /W 1 /H 1 /BPC 8 /CS /RGB ID \x00 EI\xff EI Q": true, "BI /W 1 /H 1 /BPC 8 /CS /G ID 1 0 0 rg EI 0 g": false, "BI /W 1 /H 1 /IM true /D [1 0] ID x EI 1 0 0 rg": true,
		"BI /W 1 /H 1 /IM true ID x EI": false, "BI /W 1 /H 1 /CS [/I /RGB 1 <000000FF0000>] /BPC 8 ID x EI": true, "BI /W 1 /CS /Reds /BPC 8 ID x EI": true,
	} {
		info, err := readBytes(t, pdfOf(spaces, objects, sheet{content: content}))
		require.NoError(t, err, content)
		require.Equal(t, color, info.ColorPages == 1, content)
	}
}

func TestColorOfAnnotations(t *testing.T) {
	form := "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << >> "
	objects := []string{stream(form, "1 0 0 rg 0 0 1 1 re f"), stream(form, "0 g 0 0 1 1 re f")}
	for annotation, color := range map[string]bool{
		"/F 4 /AP << /N 4 0 R >>": true, "/F 4 /AP << /N 5 0 R >>": false, "/F 0 /AP << /N 4 0 R >>": false, "/F 6 /AP << /N 4 0 R >>": false,
		"/F 4 /AS /On /AP << /N << /On 4 0 R /Off 5 0 R >> >>": true, "/F 4 /AS /Off /AP << /N << /On 4 0 R /Off 5 0 R >> >>": false, "/F 4 /C [1 0 0]": false,
	} {
		info, err := readBytes(t, pdfOf("", objects, sheet{more: "/Annots [<< /Type /Annot /Subtype /Stamp /Rect [0 0 9 9] " + annotation + " >>]"}))
		require.NoError(t, err, annotation)
		require.Equal(t, color, info.ColorPages == 1, annotation)
	}
}

func TestContentInPieces(t *testing.T) {
	objects := []string{"[6 0 R 5 0 R 7 0 R]", deflated("", "/DeviceRGB cs"), deflated("", "q Q"), deflated("", "1 0 0 sc")}
	catalog := []string{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 1 /Kids [3 0 R] >>", "<< /Type /Page /MediaBox [0 0 612 792] /Contents 4 0 R >>"}
	info, err := readBytes(t, assemble(append(catalog, objects...), ""))
	require.NoError(t, err)
	require.Equal(t, Info{1, 1, "Letter"}, info)
}

// Object streams and a cross-reference stream, as most programs write them today.
func TestCompressedObjects(t *testing.T) {
	first := []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]/MediaBox[0 0 842 1191]>>", "<</Type/Page/Parent 2 0 R>>"}
	head, body := "", ""
	for i, o := range first {
		head += fmt.Sprintf("%d %d ", i+1, len(body))
		body += o + " "
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.5\n")
	packed := b.Len()
	fmt.Fprintf(&b, "4 0 obj\n%s\nendobj\n", deflated(fmt.Sprintf("/Type /ObjStm /N 3 /First %d", len(head)), head+body))
	table := b.Len()
	rows := string([]byte{0, 0, 0, 0, 2, 0, 4, 0, 2, 0, 4, 1, 2, 0, 4, 2, 1, byte(packed >> 8), byte(packed), 0, 1, byte(table >> 8), byte(table), 0})
	fmt.Fprintf(&b, "5 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n", deflated("/Type /XRef /Size 6 /Root 1 0 R /W [1 2 1]", rows), table)
	info, err := readBytes(t, b.Bytes())
	require.NoError(t, err)
	require.Equal(t, Info{1, 0, "A3"}, info)
}
