package paper

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// square is a PDF of one upright A5 page that is black from edge to edge.
func square(t *testing.T) string {
	var b bytes.Buffer
	var offsets []int
	object := func(body string) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(offsets), body)
	}
	b.WriteString("%PDF-1.4\n")
	object("<< /Type /Catalog /Pages 2 0 R >>")
	object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 595] /Contents 4 0 R >>")
	object("<< /Length 16 >>\nstream\n0 0 420 595 re f\nendstream")
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 5\n0000000000 65535 f \n")
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", start)
	path := filepath.Join(t.TempDir(), "square.pdf")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

// ink is the box of what is printed on the first page, in points from the lower
// left, and the size of the page, as Ghostscript sees them.
func ink(t *testing.T, r *Renderer, pdf string) (left, bottom, right, top float64, paper string) {
	var out bytes.Buffer
	cmd := exec.Command(r.Path(), "-dSAFER", "-dBATCH", "-dNOPAUSE", "-q", "-sDEVICE=bbox", pdf)
	cmd.Stderr = &out
	require.NoError(t, cmd.Run())
	lines := bytes.SplitN(out.Bytes(), []byte("%%HiResBoundingBox:"), 2)
	require.Len(t, lines, 2, out.String())
	_, err := fmt.Sscan(string(lines[1]), &left, &bottom, &right, &top)
	require.NoError(t, err)
	info, err := Analyse(t.Context(), pdf)
	require.NoError(t, err)
	return left, bottom, right, top, info.Paper
}

func TestLay(t *testing.T) {
	r := FindRenderer(Options{TempDir: t.TempDir()})
	if r.Available() != nil {
		t.Skip("NOT TESTED: gs is not installed (Debian package ghostscript)")
	}
	in := square(t)
	for _, c := range []struct {
		layout        Layout
		paper         string
		width, height float64 // of the ink
	}{
		{Layout{}, "A5", 420, 595},
		{Layout{Scale: 50}, "A5", 210, 297.5},
		{Layout{Size: "A4"}, "A4", 595, 842},
		{Layout{Size: "A4", Scale: 50}, "A4", 297, 421},
		{Layout{Size: "600x600"}, "600x600", 423, 600},
		{Layout{Size: "Ledger", Scale: 100}, "Tabloid", 792, 1122},
	} {
		path, err := r.Lay(t.Context(), in, c.layout, t.TempDir())
		require.NoError(t, err)
		left, bottom, right, top, paper := ink(t, r, path)
		require.Equal(t, c.paper, paper, "%+v", c.layout)
		require.InDelta(t, c.width, right-left, 4, "%+v", c.layout)
		require.InDelta(t, c.height, top-bottom, 4, "%+v", c.layout)
		if width, height, known := points(c.layout.Size); known {
			require.InDelta(t, width/2, (left+right)/2, 3, "in the middle: %+v", c.layout)
			require.InDelta(t, height/2, (bottom+top)/2, 3, "in the middle: %+v", c.layout)
		}
	}
	_, err := r.Lay(t.Context(), in, Layout{Size: "B99"}, t.TempDir())
	require.ErrorIs(t, err, ErrFormat)

	path, err := r.Lay(t.Context(), in, Layout{Size: "A4", Landscape: true}, t.TempDir())
	require.NoError(t, err)
	left, bottom, right, top, _ := ink(t, r, path)
	require.Greater(t, right-left, top-bottom, "turned to fill the sheet: %v %v %v %v", left, bottom, right, top)
}
