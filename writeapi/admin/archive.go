package admin

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"docket/domain"
	"docket/domain/fault"
	"docket/domain/reporting"
	"docket/internal/blob"
)

// Limits of an imported zip. Templates are office documents, which hardly shrink,
// so what unpacks to much more than was sent is no import.
const (
	maxUpload   = 256 << 20 // bytes as sent
	maxUnpacked = 512 << 20 // bytes of all files together
	maxEntries  = 4_000
)

// projectFile is the project document in a zip.
const projectFile = "project.json"

// archive is an imported zip whose directory was checked.
type archive struct {
	files map[string]*zip.File
}

// unpackable describes a zip that is refused.
func unpackable(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "import.zip", format, args...)
}

// tooLarge describes a zip that would unpack to too much.
func tooLarge(format string, args ...any) *fault.Error {
	return fault.New(fault.TooLarge, "import.too-large", format, args...)
}

// openArchive checks the directory of a zip; file contents are checked as they
// are read.
func openArchive(file *os.File, size int64) (*archive, error) {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return nil, unpackable("this is not a zip file, or it is damaged").Because(err)
	}
	if len(z.File) > maxEntries {
		return nil, tooLarge("the zip holds more than %d files", maxEntries)
	}
	a := &archive{files: make(map[string]*zip.File, len(z.File))}
	seen := make(map[string]bool, len(z.File))
	var unpacked uint64
	for _, f := range z.File {
		if err := checkEntry(f); err != nil {
			return nil, err
		}
		if f.Mode().IsDir() {
			continue
		}
		// Names that differ in case only are one file on other machines.
		if name := domain.Normal(f.Name); seen[name] {
			return nil, unpackable("the zip holds %q twice", shown(f.Name))
		} else {
			seen[name] = true
		}
		// Declared sizes are limits too: reading ends where they do.
		if f.UncompressedSize64 > maxUnpacked || unpacked+f.UncompressedSize64 > maxUnpacked {
			return nil, tooLarge("the zip unpacks to more than %d MiB", maxUnpacked>>20)
		}
		unpacked += f.UncompressedSize64
		a.files[f.Name] = f
	}
	return a, nil
}

// checkEntry refuses names that lead elsewhere and what is no plain file.
func checkEntry(f *zip.File) error {
	name := strings.TrimSuffix(f.Name, "/")
	switch {
	case !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\:\x00") || f.NonUTF8 && !ascii(name):
		return unpackable("the zip holds a file with the name %q, which is not allowed", shown(f.Name))
	case f.Mode().IsDir():
		return nil
	case !f.Mode().IsRegular():
		return unpackable("%q in the zip is not a plain file", shown(f.Name))
	case f.Flags&1 != 0:
		return unpackable("%q in the zip is encrypted", shown(f.Name))
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return unpackable("%q in the zip is compressed by a method other than deflate", shown(f.Name))
	}
	return nil
}

func ascii(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > '~' }) < 0 }

// shown keeps a hostile name from filling an answer.
func shown(name string) string {
	const most = 100
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "") + "..."
	}
	return name
}

// has tells whether a file is there. It is asked of imports without files, too.
func (a *archive) has(name string) bool { return a != nil && a.files[name] != nil }

// document reads project.json.
func (a *archive) document() ([]byte, error) {
	f := a.files[projectFile]
	if f == nil {
		return nil, unpackable("the zip holds no %s at its top", projectFile)
	}
	if f.UncompressedSize64 > maxDocument {
		return nil, tooLarge("%s is larger than %d MiB", projectFile, maxDocument>>20)
	}
	r, err := f.Open()
	if err != nil {
		return nil, damaged(f, err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, damaged(f, err)
	}
	return data, nil
}

// keep stores one file.
func (a *archive) keep(ctx context.Context, blobs blob.Store, name string) (*reporting.Blob, error) {
	f := a.files[name]
	r, err := f.Open()
	if err != nil {
		return nil, damaged(f, err)
	}
	source := &watched{Reader: r}
	ref, err := blobs.Put(ctx, source)
	if source.failed != nil { // the zip's fault, not the store's
		err = damaged(f, source.failed)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return &reporting.Blob{SHA256: ref.SHA256, Name: strings.TrimSpace(path.Base(name)), Size: ref.Size}, nil
}

func damaged(f *zip.File, cause error) error {
	return unpackable("%q in the zip is damaged", shown(f.Name)).Because(cause)
}

// watched remembers what its reader failed with.
type watched struct {
	io.Reader
	failed error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && err != io.EOF {
		w.failed = err
	}
	return n, err
}

func templatePath(report int) string { return fmt.Sprintf("reports[%d].template", report) }
