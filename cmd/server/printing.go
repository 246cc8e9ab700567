package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"docket/commands/reactors/printing"
	"docket/internal/blob"
	"docket/internal/paper"
	"docket/readapi/access"
)

// converting bounds one conversion by LibreOffice or Ghostscript.
const converting = 2 * time.Minute

// openBlobs opens the blob store. Clients' uploads go through a limit.
func (s *Server) openBlobs(ctx context.Context) (err error) {
	if s.blobs, err = blob.Open(ctx, s.config.BlobURL, filepath.Join(s.config.DataDir, "blobs")); err != nil {
		return fmt.Errorf("blob store (DOCKET_BLOB_URL): %w", err)
	}
	s.uploads = blob.Limited(s.blobs, int64(s.config.MaxUploadMiB)<<20)
	return nil
}

// openPrinting makes what prepares and delivers documents. It needs the bus, the
// engine and the blob store.
func (s *Server) openPrinting() error {
	temp, err := s.workFolder()
	if err != nil {
		return err
	}
	converter := paper.FindConverter(paper.Options{Program: s.config.Soffice, Timeout: converting, TempDir: temp})
	renderer := paper.FindRenderer(paper.Options{Program: s.config.Ghostscript, Timeout: converting, Limit: 2, TempDir: temp})
	for _, missing := range []error{converter.Available(), renderer.Available()} {
		if missing != nil {
			s.log.Warn("printing: documents that need it will be refused", "missing", missing)
		}
	}
	s.printing = printing.New(printing.Config{
		Bus: s.bus, Store: s.stores.log, Blobs: s.blobs, Converter: converter, Renderer: renderer, Models: s.engine, Lists: printingLists{access.NewContents(s.pools.List)},
		Logger: s.log, TempDir: temp, Attempts: s.config.PrintAttempts, RetryWait: s.config.PrintRetryWait, DeliverWithin: s.config.PrintTimeout,
		AnyCertificate: !bool(s.config.PrinterCertificates),
	})
	return nil
}

// workFolder is an empty folder for working files. What an earlier process left
// behind holds people's documents, so it goes.
func (s *Server) workFolder() (string, error) {
	dir := filepath.Join(s.config.DataDir, "work")
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("working files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("working files: %w", err)
	}
	return dir, nil
}

// printingLists are the lists of the timers, from the read models.
type printingLists struct{ *access.Contents }

// DueDocuments implements printing.Lists.
func (l printingLists) DueDocuments(ctx context.Context, now time.Time, limit int) ([]printing.Due, error) {
	rows, err := l.Contents.DueDocuments(ctx, now, limit)
	due := make([]printing.Due, len(rows))
	for i, r := range rows {
		due[i] = printing.Due(r)
	}
	return due, err
}
