package paper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Converter turns documents into PDF by LibreOffice.
type Converter struct{ program *program }

// FindConverter looks for LibreOffice: o.Program, else soffice or libreoffice in
// PATH. It always gives a Converter; without the program Convert fails with
// ErrNoConverter, and without one of its modules (Debian: libreoffice-writer-nogui,
// -calc-nogui, -impress-nogui, -draw-nogui) for the formats of that with ErrConversion.
func FindConverter(o Options) *Converter {
	return &Converter{find(o, "LibreOffice, which converts documents to PDF,", "soffice", "libreoffice")}
}

// Available is nil, or an *Error of ErrNoConverter that says what is missing.
func (c *Converter) Available() error { return c.program.missing }

// Path is where the program is; empty without one.
func (c *Converter) Path() string { return c.program.path }

// Convert makes a PDF in the folder outDir of the document at path in, whose
// format is told by extension (".docx"), and gives the PDF's path.
// Errors: *Error of ErrNoConverter, ErrFormat, ErrConversion, ErrTimeout; ctx's.
func (c *Converter) Convert(ctx context.Context, in, extension, outDir string) (string, error) {
	extension = strings.ToLower(extension)
	class, mime, err := Classify(extension)
	if err != nil {
		return "", err
	}
	if class != Office {
		return "", &Error{Kind: ErrFormat, Reason: "files of this type are printed as they are"}
	}
	release, err := c.program.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	work, err := os.MkdirTemp(c.program.temp, "docket-convert-")
	if err != nil {
		return "", fmt.Errorf("paper: %w", err)
	}
	defer os.RemoveAll(work)
	// LibreOffice goes by the file's extension and names the PDF after the file.
	source := filepath.Join(work, "document"+extension)
	if err := copyFile(in, source); err != nil {
		return "", fmt.Errorf("paper: %w", err)
	}
	if err := writeProfile(work); err != nil {
		return "", fmt.Errorf("paper: %w", err)
	}
	if err := c.program.run(ctx, "the conversion to PDF", environment(work), arguments(work, source, mime)...); err != nil {
		return "", err
	}
	return collect(filepath.Join(work, "document.pdf"), outDir)
}

// profile lies in the working folder, so that a conversion neither disturbs another
// instance of LibreOffice nor keeps anything of a document.
const profile = "profile"

// settings keep a document from fetching what it refers to, be it a file of the server
// or an address only the server can reach, and from running macros. What is fetched
// all the same ends at a proxy that doesn't exist.
const settings = `<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel" oor:op="fuse"><value>3</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetProxyType" oor:op="fuse"><value>2</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetHTTPProxyName" oor:op="fuse"><value>127.0.0.1</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetHTTPProxyPort" oor:op="fuse"><value>9</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetHTTPSProxyName" oor:op="fuse"><value>127.0.0.1</value></prop></item>
<item oor:path="/org.openoffice.Inet/Settings"><prop oor:name="ooInetHTTPSProxyPort" oor:op="fuse"><value>9</value></prop></item>
</oor:items>
`

func writeProfile(work string) error {
	user := filepath.Join(work, profile, "user")
	if err := os.MkdirAll(user, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(user, "registrymodifications.xcu"), []byte(settings), 0o600)
}

// arguments make LibreOffice convert without a window. Of an installation without
// its drawing program it is demanded all the same for pictures: the word processor
// would print what an SVG is written like.
func arguments(work, source, mime string) []string {
	installation := url.URL{Scheme: "file", Path: filepath.Join(work, profile)}
	format := "pdf"
	if strings.HasPrefix(mime, "image/") {
		format = "pdf:draw_pdf_Export"
	}
	return []string{"-env:UserInstallation=" + installation.String(), "--headless", "--norestore", "--nolockcheck", "--nodefault", "--nofirststartwizard",
		"--convert-to", format, "--outdir", work, source}
}

// environment is what a converter gets to know: nothing of our settings.
func environment(work string) []string {
	env := []string{"HOME=" + work, "TMPDIR=" + work}
	for _, key := range []string{"PATH", "LANG", "LC_ALL", "TZ"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// collect takes what a program has made. LibreOffice reports success even if it could not
// read a document.
func collect(made, outDir string) (string, error) {
	info, err := os.Stat(made)
	if err != nil || info.Size() == 0 {
		return "", &Error{ErrConversion, "the document could not be read, so there is nothing to print", err}
	}
	out, err := os.CreateTemp(outDir, "*"+filepath.Ext(made))
	if err != nil {
		return "", fmt.Errorf("paper: %w", err)
	}
	if err := errors.Join(out.Close(), move(made, out.Name())); err != nil {
		return "", errors.Join(fmt.Errorf("paper: %w", err), os.Remove(out.Name()))
	}
	return out.Name(), nil
}

// move renames a file, or copies it where that needs to cross devices.
func move(from, to string) error {
	if os.Rename(from, to) == nil {
		return nil
	}
	return copyFile(from, to)
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
