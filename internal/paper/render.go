package paper

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Language is what a printer takes.
type Language string

const (
	LanguagePDF  Language = "pdf"
	LanguagePCL6 Language = "pcl6"
	LanguagePS   Language = "ps"
)

// Renderer turns PDF into printer languages by Ghostscript.
type Renderer struct{ program *program }

// FindRenderer looks for Ghostscript (o.Program, else gs in PATH), as FindConverter does.
func FindRenderer(o Options) *Renderer {
	return &Renderer{find(o, "Ghostscript, which prepares PDF for this printer,", "gs")}
}

// Available is nil, or an *Error of ErrNoConverter that says what is missing.
func (r *Renderer) Available() error { return r.program.missing }

// Path is where the program is; empty without one.
func (r *Renderer) Path() string { return r.program.path }

// rendering is how Ghostscript makes one language.
type rendering struct {
	device, extension, mime string
	gray                    []string // more arguments for gray output
}

var grayPDF = []string{"-sColorConversionStrategy=Gray", "-dProcessColorModel=/DeviceGray"}

func renderingOf(to Language, gray bool) (rendering, error) {
	switch to {
	case LanguagePDF:
		return rendering{"pdfwrite", ".pdf", "application/pdf", grayPDF}, nil
	case LanguagePS:
		return rendering{"ps2write", ".ps", "application/postscript", grayPDF}, nil
	case LanguagePCL6:
		if gray {
			return rendering{device: "pxlmono", extension: ".pxl", mime: "application/vnd.hp-PCLXL"}, nil
		}
		return rendering{device: "pxlcolor", extension: ".pxl", mime: "application/vnd.hp-PCLXL"}, nil
	}
	return rendering{}, &Error{Kind: ErrFormat, Reason: fmt.Sprintf("the printer language %q is not known", to)}
}

// Render makes a file in the folder outDir of the PDF at path in, in gray if asked,
// and gives its path and media type. PDF without gray is made anew all the same; who
// wants it as it is doesn't call this. Errors: as of Converter.Convert.
func (r *Renderer) Render(ctx context.Context, in string, to Language, gray bool, outDir string) (path, mime string, err error) {
	how, err := renderingOf(to, gray)
	if err != nil {
		return "", "", err
	}
	release, err := r.program.acquire(ctx)
	if err != nil {
		return "", "", err
	}
	defer release()
	work, err := os.MkdirTemp(r.program.temp, "docket-render-")
	if err != nil {
		return "", "", fmt.Errorf("paper: %w", err)
	}
	defer os.RemoveAll(work)
	source, made := filepath.Join(work, "in.pdf"), filepath.Join(work, "out"+how.extension)
	if err := copyFile(in, source); err != nil {
		return "", "", fmt.Errorf("paper: %w", err)
	}
	// -dSAFER keeps a document from other files; it is the default of current versions only.
	args := []string{"-dSAFER", "-dBATCH", "-dNOPAUSE", "-q", "-sDEVICE=" + how.device}
	if gray {
		args = append(args, how.gray...)
	}
	args = append(args, "-o", made, source)
	if err := r.program.run(ctx, "preparing the document for the printer", environment(work), args...); err != nil {
		return "", "", err
	}
	path, err = collect(made, outDir)
	return path, how.mime, err
}
