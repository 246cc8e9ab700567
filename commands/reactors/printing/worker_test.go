package printing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"docket/commands"
	"docket/commands/effects"
	commanded "docket/commands/printing"
	"docket/domain"
	"docket/domain/printing"
	"docket/eventstore/memory"
	"docket/internal/blob"
	"docket/internal/paper"
	"docket/internal/printer"

	"github.com/stretchr/testify/require"
)

// The whole way, with the real libraries: read by the PDF library, kept in a
// folder, sent over TCP.
func TestPullAndPush(t *testing.T) {
	w := newWorld(t)
	w.run()
	doc := w.upload(pull, "a.pdf", aPDF("pulled"))
	d := w.becomes(doc, printing.Ready)
	require.Equal(t, []any{int32(1), int32(0), "A4", "application/pdf"}, []any{d.TotalPages, d.ColorPages, d.PaperSize, d.Format})
	require.Empty(t, w.printer.printed())
	w.release(doc, func(c *commanded.ReleaseDocument) { c.Retain = true })
	w.becomes(doc, printing.Stored)
	require.Len(t, w.printer.printed(), 1)
	require.Contains(t, w.printer.printed()[0], aPDF("pulled"))
	w.release(doc)
	w.becomes(doc, printing.Printed)
	require.Len(t, w.printer.printed(), 2)

	pushed := w.upload(push, "b.pdf", aPDF("pushed"))
	w.becomes(pushed, printing.Printed)
	require.Len(t, w.printer.printed(), 3)
	require.Equal(t, []string{"received", "ready", "release-requested", "printed"}, events(t, w.store, pushed))
}

// A document that can't be printed says why, for users.
func TestDocumentsThatCannotBePrinted(t *testing.T) {
	w := newWorld(t)
	w.run()
	for title, c := range map[string]struct{ content, says string }{
		"none.pdf":     {"no PDF", "PDF"},
		"cut.pdf":      {aPDF("x")[:100], ""},
		"a.docx":       {"words", "there is no LibreOffice"},
		"a.exe":        {"MZ", "accepted are"},
		"Invoice 3.14": {"no PDF", "accepted are"},
	} {
		d := w.becomes(w.upload(pull, title, c.content), printing.ConversionFailed)
		require.NotEmpty(t, d.Reason)
		require.Contains(t, d.Reason, c.says, title)
		require.NotContains(t, d.Reason, w.Config.TempDir)
		if title == "a.docx" {
			require.Equal(t, []string{"received", "conversion-started", "conversion-failed"}, events(t, w.store, d.ID))
		}
	}
	// A PDF is one whatever the title looks like.
	require.Equal(t, int32(1), w.becomes(w.upload(pull, "Invoice 3.15", aPDF("x")), printing.Ready).TotalPages)
	// Languages of printers are taken as they are.
	d := w.becomes(w.upload(pull, "a.ps", "%!PS"), printing.Ready)
	require.Equal(t, []any{"application/postscript", int32(0)}, []any{d.Format, d.TotalPages})
}

// noisy is a converter that takes some tries.
type noisy struct {
	calls  atomic.Int32
	errors []error
}

func (c *noisy) Convert(_ context.Context, in, extension, dir string) (string, error) {
	n := int(c.calls.Add(1))
	if n <= len(c.errors) {
		return "", c.errors[n-1]
	}
	text, err := os.ReadFile(in)
	if err != nil || extension != ".txt" {
		return "", errors.Join(err, errors.New(extension))
	}
	path := filepath.Join(dir, "made.pdf")
	return path, os.WriteFile(path, []byte(aPDF(string(text))), 0o600)
}

func TestConversion(t *testing.T) {
	w := newWorld(t)
	c := &noisy{errors: []error{&paper.Error{Kind: paper.ErrTimeout, Reason: "slow"}, errors.New("disk")}}
	w.Config.Converter = c
	w.run()
	doc := w.upload(pull, "a.txt", "hello")
	d := w.becomes(doc, printing.Ready)
	require.EqualValues(t, 3, c.calls.Load())
	require.Equal(t, []string{"received", "conversion-started", "ready"}, events(t, w.store, doc))
	ref, err := w.blobs.Stat(t.Context(), d.Content.SHA256)
	require.NoError(t, err)
	require.Equal(t, d.Content.Size, ref.Size)
	left, err := os.ReadDir(w.Config.TempDir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A document that is deleted while it is prepared stays deleted.
func TestDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.Config.Reached = func(point string) {
		if point == "prepare: done" {
			send(w.t, w.bus, commanded.DeleteDocument{ID: id(0x10001)})
		}
	}
	w.run()
	d := w.upload(pull, "a.pdf", aPDF("x"))
	settled(t, w.pool, 1)
	require.Equal(t, []string{"received", "deleted"}, events(t, w.store, d))
}

// TestUnreachablePrinter: tries again, then says so; the document can be released
// again.
func TestUnreachablePrinter(t *testing.T) {
	w := newWorld(t)
	c := &carrier{does: func(n int, _ printer.Target) (printer.Receipt, error) {
		if n <= 3 {
			return printer.Receipt{}, &printer.Error{Temporary: true, Reason: "the printer does not answer"}
		}
		return printer.Receipt{PrinterJob: "J4"}, nil
	}}
	w.Config.Deliver = c.deliver
	w.run()
	doc := w.upload(pull, "a.pdf", aPDF("x"))
	w.becomes(doc, printing.Ready)
	first := w.release(doc)
	d := w.becomes(doc, printing.Failed)
	require.Equal(t, "the printer does not answer", d.Reason)
	require.Len(t, c.jobs, 3)
	for i, job := range c.jobs {
		require.Equal(t, first.String(), job.ID, "all tries are one job")
		require.Equal(t, i > 0, job.Repeat)
		require.Equal(t, []any{"a.pdf", "ann", "application/pdf", 1}, []any{job.Name, job.User, job.Format, job.Copies})
	}
	second := w.release(doc)
	w.becomes(doc, printing.Printed)
	require.Equal(t, second.String(), c.jobs[3].ID)
	require.False(t, c.jobs[3].Repeat)
	require.Equal(t, []string{"received", "ready", "release-requested", "delivery-failed", "release-requested", "printed"}, events(t, w.store, doc))
}

func TestDeliveriesThatFailAtOnce(t *testing.T) {
	w := newWorld(t)
	c := &carrier{does: func(int, printer.Target) (printer.Receipt, error) {
		return printer.Receipt{}, &printer.Error{Reached: true, Reason: "the format is not supported"}
	}}
	w.Config.Deliver = c.deliver
	w.run()
	doc := w.upload(pull, "a.pdf", aPDF("x"))
	w.becomes(doc, printing.Ready)
	w.release(doc)
	require.Equal(t, "the format is not supported; the printer may have printed it all the same", w.becomes(doc, printing.Failed).Reason)
	require.Len(t, c.jobs, 1)

	// Content that is gone does not come back.
	require.NoError(t, w.blobs.Delete(t.Context(), w.document(doc).Content.SHA256))
	w.release(doc)
	require.Eventually(t, func() bool { return w.document(doc).Reason == "the document's content is missing" }, patience, 5*time.Millisecond)

	pcl := w.upload(pull, "b.pdf", aPDF("y"))
	w.becomes(pcl, printing.Ready)
	send(t, w.bus, commanded.UpdateOutputPort{ID: hall, Details: commanded.OutputPortDetails{OutputType: to(printing.PCL6)}})
	w.release(pcl)
	require.Equal(t, "there is no Ghostscript", w.becomes(pcl, printing.Failed).Reason)

	w.release(pcl)
	w.becomes(pcl, printing.Failed)
	pushed := w.upload(push, "c.pdf", aPDF("z"))
	send(t, w.bus, commanded.DeleteOutputPort{ID: hall})
	require.Eventually(t, func() bool { r := w.document(pushed); return r.Status == printing.Failed }, patience, 5*time.Millisecond)
}

// Operators have given-up jobs run again: what was missing may be there now.
func TestRunAgain(t *testing.T) {
	w := newWorld(t)
	c := &carrier{does: func(n int, _ printer.Target) (printer.Receipt, error) {
		if n == 1 {
			return printer.Receipt{}, &printer.Error{Reason: "no"}
		}
		return printer.Receipt{}, nil
	}}
	w.Config.Deliver = c.deliver
	p := w.run()
	doc := w.upload(pull, "a.txt", "hello")
	w.becomes(doc, printing.ConversionFailed)
	settled(t, w.pool, 1)
	p.stop()
	w.Config.Converter = &noisy{}
	p = w.run()
	again := func(kind string) {
		t.Helper()
		jobs, err := p.effects.Jobs(t.Context(), effects.Filter{State: effects.Dead, Limit: 10})
		require.NoError(t, err)
		require.Len(t, jobs, 1)
		require.Equal(t, kind, jobs[0].Kind)
		require.NoError(t, p.effects.Retry(t.Context(), jobs[0].ID))
	}
	again("printing.prepare")
	w.becomes(doc, printing.Ready)
	settled(t, w.pool, 1)

	first := w.release(doc, func(c *commanded.ReleaseDocument) { c.Copies, c.Retain = to[int32](3), true })
	w.becomes(doc, printing.Failed)
	settled(t, w.pool, 2)
	again("printing.deliver")
	w.becomes(doc, printing.Stored)
	require.Equal(t, 3, c.jobs[1].Copies)
	require.NotEqual(t, first.String(), c.jobs[1].ID, "a release of its own")
	require.Equal(t, []string{"received", "conversion-started", "conversion-failed", "conversion-started", "ready", "release-requested", "delivery-failed", "release-requested", "printed"},
		events(t, w.store, doc))
	settled(t, w.pool, 3)
}

func TestPrinterThatWasDeleted(t *testing.T) {
	w := newWorld(t)
	send(t, w.bus, commanded.DeleteOutputPort{ID: hall})
	w.run()
	pushed := w.upload(push, "c.pdf", aPDF("z"))
	require.Equal(t, "the printer does not exist any more", w.becomes(pushed, printing.Failed).Reason)
}

// An event store that is away when a delivery is done makes nothing print twice.
func TestOutcomeThatCannotBeRecorded(t *testing.T) {
	w := newWorld(t)
	c := &carrier{}
	var down atomic.Bool
	var refused atomic.Int32
	w.Config.Deliver = c.deliver
	w.Config.Reached = func(point string) { down.Store(down.Load() || point == "deliver: done") }
	w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
		if c.Op == memory.OpAppend && strings.HasPrefix(c.Stream, "document-") && down.Load() && refused.Add(1) < 3 {
			return memory.Drop
		}
		return memory.Pass
	})
	w.run()
	doc := w.upload(push, "a.pdf", aPDF("x"))
	d := w.becomes(doc, printing.Printed)
	require.Equal(t, printing.Printed, d.Status)
	require.GreaterOrEqual(t, refused.Load(), int32(3))
	require.Len(t, c.jobs, 1)
}

// absent is a blob store that is away for some calls.
type absent struct {
	blob.Store
	away atomic.Int32 // for so many calls
}

func (a *absent) answer() error {
	if a.away.Add(-1) >= 0 {
		return errors.New("the blob store does not answer")
	}
	return nil
}

func (a *absent) Stat(ctx context.Context, name string) (blob.Ref, error) {
	if err := a.answer(); err != nil {
		return blob.Ref{}, err
	}
	return a.Store.Stat(ctx, name)
}

func (a *absent) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := a.answer(); err != nil {
		return nil, err
	}
	return a.Store.Open(ctx, name)
}

// A blob store that is away is waited for; that costs no tries.
func TestBlobStoreIsAway(t *testing.T) {
	w := newWorld(t)
	store := &absent{Store: w.blobs}
	w.Config.Blobs, w.Config.Attempts = store, 1
	w.run()
	store.away.Store(2)
	doc := w.upload(pull, "a.pdf", aPDF("x"))
	w.becomes(doc, printing.Ready)
	store.away.Store(2)
	w.release(doc)
	w.becomes(doc, printing.Printed)
	require.Negative(t, store.away.Load())
	require.Len(t, w.printer.printed(), 1)
	require.Equal(t, []string{"received", "ready", "release-requested", "printed"}, events(t, w.store, doc))
}

// broken is a blob store whose content breaks off for some reads.
type broken struct {
	blob.Store
	left atomic.Int32
}

func (b *broken) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	content, err := b.Store.Open(ctx, name)
	if err == nil && b.left.Add(-1) >= 0 {
		return struct {
			io.Reader
			io.Closer
		}{iotest.ErrReader(errors.New("connection reset")), content}, nil
	}
	return content, err
}

// A document whose beginning could not be read just now is not one of a kind that
// can't be printed.
func TestBeginningThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	store := &broken{Store: w.blobs}
	store.left.Store(1)
	w.Config.Blobs = store
	w.run()
	d := w.becomes(w.upload(pull, "Invoice 3.14", aPDF("x")), printing.Ready)
	require.Equal(t, pdf, d.Format)
	require.Negative(t, store.left.Load())
}

// An event store that cannot be read is waited for, and not the document's failure.
func TestEventStoreCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.Config.Attempts = 1
	p := w.run()
	doc := w.upload(pull, "a.pdf", aPDF("x"))
	w.becomes(doc, printing.Ready)
	p.stop()
	w.release(doc)
	var refused atomic.Int32
	w.store.SetHook(func(_ context.Context, c memory.Call) memory.Verdict {
		if c.Op == memory.OpLoad && c.Stream == printing.DocumentStream(doc) && refused.Add(1) <= 3 {
			return memory.Drop
		}
		return memory.Pass
	})
	w.run()
	settled(t, w.pool, 2)
	require.Greater(t, refused.Load(), int32(3))
	require.Equal(t, []string{"received", "ready", "release-requested", "printed"}, events(t, w.store, doc))
	require.Len(t, w.printer.printed(), 1)
}

// What is sent to a raw printer comes one after the other.
func TestTurns(t *testing.T) {
	w := newWorld(t)
	w.run()
	docs := make([]domain.ID, 12)
	for i := range docs {
		docs[i] = w.upload(push, "a.pdf", aPDF(strings.Repeat("x", i+1)))
	}
	for _, doc := range docs {
		w.becomes(doc, printing.Printed)
	}
	require.Len(t, w.printer.printed(), len(docs))
	require.Equal(t, 1, w.printer.atOnce)
}

func TestTakingTurns(t *testing.T) {
	var turns turns
	raw := func(address string) printer.Target { return printer.Target{Protocol: printer.TCP, Address: address} }
	leave, err := turns.take(t.Context(), raw("a"), time.Hour)
	require.NoError(t, err)
	_, err = turns.take(t.Context(), raw("a"), time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for _, other := range []printer.Target{raw("b"), {Protocol: printer.IPP, Address: "a"}} {
		leaveOther, err := turns.take(t.Context(), other, time.Hour)
		require.NoError(t, err)
		leaveOther()
	}
	next := make(chan func())
	go func() {
		leave, err := turns.take(context.Background(), raw("a"), time.Hour)
		if err == nil {
			next <- leave
		}
	}()
	leave()
	(<-next)()
	require.Empty(t, turns.busy)
}

// rendering is a renderer that says what it was asked for.
type rendering struct{}

func (rendering) Available() error { return nil }
func (rendering) Render(_ context.Context, in string, to paper.Language, gray bool, dir string) (string, string, error) {
	name := string(to)
	if gray {
		name += " gray"
	}
	path := filepath.Join(dir, "rendered")
	return path, "application/" + string(to), os.WriteFile(path, []byte(name), 0o600)
}

func (rendering) Lay(_ context.Context, in string, l paper.Layout, dir string) (string, error) {
	path := filepath.Join(dir, "laid")
	return path, os.WriteFile(path, fmt.Appendf(nil, "laid %+v", l), 0o600)
}

// TestPageOptions: a push queue sends pages as its options say, a pull queue does not.
func TestPageOptions(t *testing.T) {
	w := newWorld(t)
	c := &carrier{}
	w.Config.Deliver, w.Config.Renderer = c.deliver, rendering{}
	w.run()
	for i, p := range []struct {
		page  printing.PageOptions
		sent  string
		media string
	}{
		{printing.PageOptions{}, aPDF("x"), ""},
		{printing.PageOptions{Scale: 100}, aPDF("x"), ""},
		{printing.PageOptions{PageSize: "A3"}, "laid {Size:A3 Landscape:false Scale:0}", "A3"},
		{printing.PageOptions{Orientation: 1, Scale: 50}, "laid {Size:A4 Landscape:true Scale:50}", ""},
	} {
		w.options = p.page
		w.becomes(w.upload(push, "a.pdf", aPDF("x")), printing.Printed)
		require.Equal(t, p.sent, c.sent[i])
		require.Equal(t, p.media, c.jobs[i].Media)
	}
}

// TestLanguages says what printers get of a document.
func TestLanguages(t *testing.T) {
	w := newWorld(t)
	pdfContent, ps := aPDF("x"), "%!PS"
	for _, c := range []struct {
		title    string
		language printing.OutputType
		gray     bool
		with     Renderer
		sent     string
		format   string
	}{
		{"a.pdf", printing.AsReceived, false, rendering{}, pdfContent, "application/pdf"},
		{"a.pdf", printing.PDF, false, rendering{}, pdfContent, "application/pdf"},
		{"a.pdf", printing.AsReceived, true, rendering{}, "pdf gray", "application/pdf"},
		{"a.pdf", printing.AsReceived, true, noRenderer{}, pdfContent, "application/pdf"},
		{"a.pdf", printing.PCL6, false, rendering{}, "pcl6", "application/pcl6"},
		{"a.pdf", printing.PostScript, true, rendering{}, "ps gray", "application/ps"},
		{"a.pdf", printing.PS2, false, rendering{}, "ps", "application/ps"},
		{"a.ps", printing.PCL6, true, rendering{}, ps, "application/postscript"},
	} {
		carried := &carrier{}
		w.Config.Deliver, w.Config.Renderer = carried.deliver, c.with
		p := w.run()
		send(t, w.bus, commanded.UpdateOutputPort{ID: hall, Details: commanded.OutputPortDetails{OutputType: &c.language}})
		content := pdfContent
		if c.title == "a.ps" {
			content = ps
		}
		doc := w.upload(pull, c.title, content)
		w.becomes(doc, printing.Ready)
		w.release(doc, func(r *commanded.ReleaseDocument) { r.Grayscale = &c.gray })
		w.becomes(doc, printing.Printed)
		require.Equal(t, []string{c.sent}, carried.sent, "%+v", c)
		require.Equal(t, c.format, carried.jobs[0].Format)
		require.Equal(t, c.gray, carried.jobs[0].Grayscale)
		p.stop()
	}
	left, err := os.ReadDir(w.Config.TempDir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTargets(t *testing.T) {
	w := &Workers{Config: Config{AnyCertificate: true}}
	for _, c := range []struct {
		settings printing.OutputPortSettings
		want     printer.Target
	}{
		{printing.OutputPortSettings{Type: printing.Printer, Address: "p"}, printer.Target{Protocol: printer.TCP, Address: "p"}},
		{printing.OutputPortSettings{Type: printing.Printer, Address: "q", Protocol: printing.Spooler}, printer.Target{Protocol: printer.Spooler, Address: "q"}},
		{printing.OutputPortSettings{Type: printing.Printer, Address: "p:8631", Protocol: printing.IPP}, printer.Target{Protocol: printer.IPP, Address: "p:8631", URL: "ipp://p:8631/ipp/print"}},
		{printing.OutputPortSettings{Type: printing.Printer, Address: "::1", Protocol: printing.IPP}, printer.Target{Protocol: printer.IPP, Address: "::1", URL: "ipp://[::1]/ipp/print"}},
		{printing.OutputPortSettings{Type: printing.Printer, Address: "p", Protocol: printing.IPP, IPPURL: "ipps://x/y"}, printer.Target{Protocol: printer.IPP, Address: "p", URL: "ipps://x/y"}},
		{printing.OutputPortSettings{Type: printing.Dummy, Address: "p", Protocol: printing.IPP}, printer.Target{Protocol: printer.Dummy, Address: "p"}},
	} {
		c.want.AnyCertificate = true
		require.Equal(t, c.want, w.target(c.settings))
		require.NoError(t, printer.Check(w.target(c.settings)))
	}
}

func TestMedia(t *testing.T) {
	for size, want := range map[string]string{"": "", "A4": "A4", "Ledger": "Tabloid", "595x842": "custom_210x297mm_210x297mm"} {
		require.Equal(t, want, media(size))
	}
}

// A reactor that lost its place makes jobs of nothing that was done long ago.
func TestLostPlace(t *testing.T) {
	w := newWorld(t)
	p := w.run()
	doc := w.upload(push, "a.pdf", aPDF("x"))
	w.becomes(doc, printing.Printed)
	settled(t, w.pool, 2)
	p.stop()
	_, err := w.pool.Exec(t.Context(), "delete from reactors.checkpoint; delete from effects.river_job")
	require.NoError(t, err)
	p = w.run() // all is young: jobs are made and find nothing to do
	settled(t, w.pool, 2)
	p.stop()
	require.Len(t, w.printer.printed(), 1)
	require.Equal(t, []string{"received", "ready", "release-requested", "printed"}, events(t, w.store, doc))
	_, err = w.pool.Exec(t.Context(), "delete from reactors.checkpoint")
	require.NoError(t, err)
	w.run() // the jobs are there still
	after := w.upload(push, "b.pdf", aPDF("y"))
	w.becomes(after, printing.Printed)
	settled(t, w.pool, 4)
	require.Len(t, w.printer.printed(), 2)
}

func TestExpire(t *testing.T) {
	w := newWorld(t)
	docs := make([]Due, 3)
	for i := range docs {
		docs[i] = Due{ID: w.upload(pull, "a.pdf", aPDF("x")), OrganizationID: org, Before: time.Now().Add(time.Hour)}
	}
	docs[2].Before = time.Now().Add(-time.Hour)
	w.Config.Lists = &lists{due: [][]Due{docs}}
	w.Config.Bus = w.bus
	workers := New(w.Config)
	ctx := commands.WithRequest(t.Context(), commands.NewRequest("system", time.Now().UTC()))
	require.NoError(t, workers.expire(ctx, time.Now()))
	require.Equal(t, []printing.Status{printing.Expired, printing.Expired, printing.Received},
		[]printing.Status{w.document(docs[0].ID).Status, w.document(docs[1].ID).Status, w.document(docs[2].ID).Status})
}

func TestCollect(t *testing.T) {
	w := newWorld(t)
	used, err := w.blobs.Put(t.Context(), strings.NewReader("used"))
	require.NoError(t, err)
	unused, err := w.blobs.Put(t.Context(), strings.NewReader("unused"))
	require.NoError(t, err)
	there := func(name string) bool { _, err := w.blobs.Stat(t.Context(), name); return err == nil }
	w.Config.Lists, w.Config.Bus = &lists{used: map[string]bool{used.SHA256: true}}, w.bus
	collect := func() error { return New(w.Config).collect(t.Context(), time.Now()) }
	require.NoError(t, collect())
	require.True(t, there(unused.SHA256), "too young")
	w.Config.Grace, w.Config.Models = time.Nanosecond, late{}
	require.ErrorContains(t, collect(), "behind")
	require.True(t, there(unused.SHA256))
	w.Config.Models = current{}
	require.NoError(t, collect())
	require.True(t, there(used.SHA256))
	require.False(t, there(unused.SHA256))
}
