package paper

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Layout is how the pages of a PDF are laid upon sheets.
type Layout struct {
	Size      string // "A4", "595x842" in points; empty: of each page
	Landscape bool   // needs a size
	Scale     int    // percent, about the middle of the sheet; 0 is 100
}

// Lay makes a PDF in the folder outDir of the PDF at path in with its pages laid
// upon sheets of one size, turned and fitted to them, and gives its path.
// Errors: as of Converter.Convert.
func (r *Renderer) Lay(ctx context.Context, in string, l Layout, outDir string) (string, error) {
	args := []string{"-dSAFER", "-dBATCH", "-dNOPAUSE", "-q", "-sDEVICE=pdfwrite", "-dAutoRotatePages=/None"}
	if l.Size != "" {
		width, height, known := points(l.Size)
		if !known {
			return "", &Error{Kind: ErrFormat, Reason: fmt.Sprintf("the page size %q is not known", l.Size)}
		}
		if l.Landscape {
			width, height = max(width, height), min(width, height)
		}
		args = append(args, "-dFIXEDMEDIA", "-dPDFFitPage", fmt.Sprintf("-dDEVICEWIDTHPOINTS=%.2f", width), fmt.Sprintf("-dDEVICEHEIGHTPOINTS=%.2f", height))
	}
	release, err := r.program.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	work, err := os.MkdirTemp(r.program.temp, "docket-lay-")
	if err != nil {
		return "", fmt.Errorf("paper: %w", err)
	}
	defer os.RemoveAll(work)
	source, made := filepath.Join(work, "in.pdf"), filepath.Join(work, "out.pdf")
	if err := copyFile(in, source); err != nil {
		return "", fmt.Errorf("paper: %w", err)
	}
	args = append(args, "-o", made)
	if l.Scale > 0 && l.Scale != 100 {
		args = append(args, "-c", shrink(l.Scale))
	}
	args = append(args, "-f", source)
	if err := r.program.run(ctx, "laying the pages out", environment(work), args...); err != nil {
		return "", err
	}
	return collect(made, outDir)
}

// shrink is PostScript that scales every page about its middle.
func shrink(percent int) string {
	return fmt.Sprintf("<< /BeginPage { pop currentpagedevice /PageSize get aload pop 2 div exch 2 div exch 2 copy translate %.2[1]f %.2[1]f scale neg exch neg exch translate } >> setpagedevice", float64(percent)/100)
}

// points is the size of a sheet, upright for one with a name.
func points(size string) (width, height float64, known bool) {
	if strings.EqualFold(size, "Ledger") {
		size = "Tabloid" // the same sheet
	}
	for _, s := range sizes {
		if strings.EqualFold(s.name, size) {
			return s.width, s.height, true
		}
	}
	w, h, _ := strings.Cut(size, "x")
	width, errW := strconv.ParseFloat(w, 64)
	height, errH := strconv.ParseFloat(h, 64)
	return width, height, errW == nil && errH == nil && width >= 1 && height >= 1 && width <= 14_400 && height <= 14_400
}
