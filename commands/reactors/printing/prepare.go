package printing

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"docket/commands"
	"docket/commands/effects"
	commanded "docket/commands/printing"
	"docket/domain"
	"docket/domain/printing"
	"docket/internal/blob"
	"docket/internal/paper"
)

// prepareArgs are those of a job that makes a document ready.
type prepareArgs struct {
	ID domain.ID `json:"id"`
}

const pdf = "application/pdf"

// runPrepare finds out what printing a document takes, and makes a PDF of it first
// where its format needs that.
func (w *Workers) runPrepare(ctx context.Context, args prepareArgs, job effects.Job) error {
	again := job.Run > 1 // an operator may have installed what was missing
	d, err := w.load(ctx, args.ID)
	due := d.Preparing() || again && d.Status == printing.ConversionFailed
	if err != nil || !due {
		return err
	}
	w.reach("prepare: begun")
	ready, err := w.ready(ctx, d, again)
	if err != nil {
		return lasting(err)
	}
	w.reach("prepare: done")
	_, err = commands.Send(ctx, w.Bus, ready)
	w.reach("prepare: recorded")
	return err
}

// deadPrepare tells why a document can't be printed.
func (w *Workers) deadPrepare(ctx context.Context, args prepareArgs, _ effects.Job, cause error) error {
	_, err := commands.Send(ctx, w.Bus, commanded.FailConversion{ID: args.ID, Reason: publicReason(cause, "the document could not be prepared for printing")})
	return err
}

// lasting marks errors that another attempt does not cure.
func lasting(err error) error {
	var ofPaper *paper.Error
	var own refusal
	switch {
	case errors.As(err, &ofPaper) && !errors.Is(err, paper.ErrTimeout), errors.As(err, &own):
		return effects.Permanent(err)
	case errors.Is(err, blob.ErrNotFound):
		return effects.Permanent(errors.Join(refusal("the document's content is missing"), err))
	}
	return err
}

// ofStore marks errors of the blob store as those of a store of our own, which is
// waited for. Content that it does not have is not among them.
func ofStore(err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		return err
	}
	return effects.Unavailable(err)
}

// ready is what makes a document one that can be released.
func (w *Workers) ready(ctx context.Context, d printing.Document, again bool) (commanded.MarkReady, error) {
	as := commanded.MarkReady{ID: d.ID, Content: d.Content, Again: again}
	class, format, err := w.classify(ctx, d)
	if err != nil {
		return as, err
	}
	if as.Format = format; class == paper.Raw {
		return as, nil // its pages can't be counted
	}
	work, err := os.MkdirTemp(w.TempDir, "docket-prepare-")
	if err != nil {
		return as, err
	}
	defer os.RemoveAll(work)
	path, err := w.fetch(ctx, d, work)
	if err != nil {
		return as, err
	}
	if class == paper.Office {
		if path, as.Content, err = w.convert(ctx, commanded.StartConversion{ID: d.ID, Again: again}, d, path, work); err != nil {
			return as, err
		}
		as.Format = pdf
	}
	info, err := w.Analyse(ctx, path)
	as.TotalPages, as.ColorPages, as.PaperSize = int32(info.Pages), int32(info.ColorPages), info.Paper
	return as, err
}

// magic begins every PDF.
var magic = []byte("%PDF-")

// classify tells by the title's extension what has to be done. A PDF under a title
// that ends in something else, such as "Invoice 3.14", is one all the same.
func (w *Workers) classify(ctx context.Context, d printing.Document) (paper.Class, string, error) {
	class, format, refused := paper.Classify("." + d.Extension)
	if refused == nil {
		return class, format, nil
	}
	content, err := w.Blobs.Open(ctx, d.Content.SHA256)
	if err != nil {
		return class, "", ofStore(err)
	}
	defer content.Close()
	start := make([]byte, len(magic))
	switch _, err := io.ReadFull(content, start); {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF): // which a short document has
		return class, "", ofStore(err)
	case bytes.Equal(start, magic):
		return paper.PDF, pdf, nil
	}
	return class, "", refused
}

// fetch copies a document's content into a folder and gives its path.
func (w *Workers) fetch(ctx context.Context, d printing.Document, dir string) (string, error) {
	if _, err := w.Blobs.Stat(ctx, d.Content.SHA256); err != nil {
		return "", ofStore(err)
	}
	file, err := blob.Fetch(ctx, w.Blobs, d.Content.SHA256, dir)
	if err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}

// convert makes a PDF of a document, keeps it, and gives its path.
func (w *Workers) convert(ctx context.Context, start commanded.StartConversion, d printing.Document, in, dir string) (string, printing.Blob, error) {
	if _, err := commands.Send(ctx, w.Bus, start); err != nil {
		return "", printing.Blob{}, err
	}
	path, err := w.Converter.Convert(ctx, in, "."+d.Extension, dir)
	if err != nil {
		return "", printing.Blob{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", printing.Blob{}, err
	}
	defer file.Close()
	ref, err := w.Blobs.Put(ctx, file)
	return path, printing.Blob{SHA256: ref.SHA256, Size: ref.Size}, ofStore(err)
}
