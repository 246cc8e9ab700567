package paper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/stretchr/testify/require"
)

// requireTyped checks that an error, if any, is one for the user.
func requireTyped(t *testing.T, err error, of ...any) {
	t.Helper()
	if err == nil {
		return
	}
	var e *Error
	require.ErrorAs(t, err, &e, of...)
	require.NotEmpty(t, e.Reason, of...)
	require.NotContains(t, e.Reason, "/", of...)
}

func TestNoPDF(t *testing.T) {
	for content, kind := range map[string]error{
		"": ErrNotPDF, "hello": ErrNotPDF, "%!PS-Adobe-3.0\n": ErrNotPDF, "PK\x03\x04": ErrNotPDF, strings.Repeat("x", 5000) + "%PDF-1.4": ErrNotPDF,
		"%PDF-1.7": ErrDamaged, "%PDF-1.7\nnothing more": ErrDamaged, "%PDF-9.9\n": ErrDamaged,
	} {
		_, err := Analyse(t.Context(), write(t, []byte(content)))
		require.ErrorIs(t, err, kind, content)
		requireTyped(t, err)
	}
	_, err := Analyse(t.Context(), filepath.Join(t.TempDir(), "missing.pdf"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = readBytes(t, pdfOf("", nil))
	require.ErrorIs(t, err, ErrDamaged)
	require.Equal(t, "the PDF has no pages", Reason(err))
}

func encrypted(t *testing.T, user string, permissions model.PermissionFlags) []byte {
	c := configuration()
	c.Cmd, c.UserPW, c.OwnerPW, c.EncryptUsingAES, c.EncryptKeyLength, c.Permissions = model.ENCRYPT, user, "owner", true, 256, permissions
	var b bytes.Buffer
	require.NoError(t, api.Encrypt(bytes.NewReader(pdfOf("", nil, sheet{content: "1 0 0 rg"})), &b, c))
	return b.Bytes()
}

func TestEncrypted(t *testing.T) {
	_, err := Analyse(t.Context(), write(t, encrypted(t, "secret", model.PermissionsAll)))
	require.ErrorIs(t, err, ErrEncrypted)
	require.Equal(t, "the PDF is protected by a password", Reason(err))
	// Without a password to open it, a PDF can be printed if its author allows that.
	info, err := Analyse(t.Context(), write(t, encrypted(t, "", model.PermissionsPrint)))
	require.NoError(t, err)
	require.Equal(t, Info{1, 1, "A4"}, info)
	_, err = Analyse(t.Context(), write(t, encrypted(t, "", model.PermissionsNone)))
	require.ErrorIs(t, err, ErrEncrypted)
}

func TestPageTrees(t *testing.T) {
	catalog := "<< /Type /Catalog /Pages 2 0 R >>"
	page := "<< /Type /Page /MediaBox [0 0 612 792] >>"
	_, err := readBytes(t, assemble([]string{catalog, "<< /Type /Pages /Count 1 /Kids [2 0 R 2 0 R] >>"}, ""))
	require.ErrorIs(t, err, ErrDamaged)
	// Two kids that are the same node, forty times over: a trillion pages.
	objects := []string{catalog}
	for i := range 40 {
		objects = append(objects, fmt.Sprintf("<< /Type /Pages /Count 2 /Kids [%d 0 R %d 0 R] >>", i+3, i+3))
	}
	_, err = readBytes(t, assemble(append(objects, page), ""))
	require.ErrorIs(t, err, ErrTooComplex)
	// A count that lies, kids that are missing, and a node without kids.
	info, err := readBytes(t, assemble([]string{catalog, "<< /Type /Pages /Count 99 /Kids [3 0 R 9 0 R 4 0 R null] >>", page, "<< /Type /Pages >>"}, ""))
	require.NoError(t, err)
	require.Equal(t, 1, info.Pages)
}

// A content that grows a thousandfold is counted as colour rather than unpacked.
func TestBombInContent(t *testing.T) {
	objects := []string{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 1 /Kids [3 0 R] >>", "<< /Type /Page /Contents 4 0 R >>",
		deflated("", strings.Repeat("0 g ", (maxDecoded+4)/4))}
	info, err := Analyse(t.Context(), write(t, assemble(objects, "")))
	require.NoError(t, err)
	require.Equal(t, 1, info.ColorPages)
}

// Many streams that claim to be as long as the file, and lie over each other.
func TestBombOfOverlappingStreams(t *testing.T) {
	const size, streams = 4 << 20, 2000
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Count 0 /Kids [] >>\nendobj\n")
	offsets := make([]int, streams)
	for i := range offsets {
		offsets[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n<< /Length %d >>\nstream\n", i+3, size)
	}
	b.Write(bytes.Repeat([]byte("x"), size))
	table := b.Len()
	fmt.Fprintf(&b, "xref\n3 %d\n", streams)
	for _, offset := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", streams+3, table)
	_, err := Analyse(t.Context(), write(t, b.Bytes()))
	require.ErrorIs(t, err, ErrTooComplex)
	require.Equal(t, "the PDF takes too much memory to read", Reason(err))
}

func TestTimeIsLimited(t *testing.T) {
	file, err := os.Open(write(t, pdfOf("", nil, sheet{})))
	require.NoError(t, err)
	defer file.Close()
	_, err = readApart(t.Context(), file, memory, time.Nanosecond)
	require.ErrorIs(t, err, ErrTooComplex)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = readApart(ctx, file, memory, time.Minute)
	require.ErrorIs(t, err, context.Canceled)
	var e *Error
	require.False(t, errors.As(err, &e))
}

// A long content ends when its time is over, also within one page.
func TestPaintingStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := &document{ctx: ctx, known: map[int]bool{}}
	p := &painter{d: d, now: blackInk}
	cancel()
	for range opsPerGlance {
		p.givenUp()
	}
	require.ErrorIs(t, d.err, context.Canceled)
}

func TestTruncatedAndMutated(t *testing.T) {
	form := "/Type /XObject /Subtype /Form /BBox [0 0 9 9] "
	seed := pdfOf("/XObject << /A 4 0 R >> /ColorSpace << /P [/Indexed /DeviceRGB 1 5 0 R] >> /Font << /F 6 0 R >>",
		[]string{deflated(form, "0 g (text) Tj /A Do"), deflated("", "\x00\x00\x00\x80\x80\x80"), "<< /Type /Font /Subtype /Type3 /CharProcs << /a 4 0 R >> >>"},
		sheet{content: "/P cs 1 sc /A Do BT /F 9 Tf ET BI /W 1 /CS /G ID xx EI"}, sheet{content: "q 1 0 0 rg Q", size: "0 0 612 792"})
	locked := encrypted(t, "", model.PermissionsAll)
	try := func(name string, data []byte) {
		_, err := readBytes(t, data)
		requireTyped(t, err, name)
	}
	for n := 0; n < len(seed); n += 3 {
		try(fmt.Sprint("cut at ", n), seed[:n])
	}
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"obj", "endobj", "stream", "endstream", "<<", ">>", "[", "]", "/Kids", "/Length", "99999999999", "-1", "0 R", "xref", "null", "/Prev 0", "(", ")", "%"}
	for n := range 3000 {
		data := bytes.Clone(seed)
		if n%4 == 3 {
			data = bytes.Clone(locked)
		}
		for range 1 + random.IntN(6) {
			at := random.IntN(len(data))
			switch random.IntN(4) {
			case 0:
				data[at] = byte(random.Uint32())
			case 1:
				data = append(data[:at], data[min(len(data)-1, at+random.IntN(30)):]...)
			case 2:
				data = append(data[:at:at], append([]byte(words[random.IntN(len(words))]), data[at:]...)...)
			case 3:
				data = append(data[:at:at], append(bytes.Clone(data[random.IntN(len(data)):]), data[at:]...)...)
			}
		}
		try(fmt.Sprint("mutation ", n), data)
	}
}
