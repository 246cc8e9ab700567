package printing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"docket/commands"
	"docket/commands/effects"
	commanded "docket/commands/printing"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/printing"
	"docket/internal/blob"
	"docket/internal/paper"
	"docket/internal/printer"
)

// deliverArgs are those of a job that brings a document to a printer.
type deliverArgs struct {
	ID        domain.ID `json:"id"`
	ReleaseID domain.ID `json:"releaseId"`
}

// recordWithin bounds one try to record a delivery's outcome. It goes on when the
// job is told to end.
const recordWithin = 4 * time.Second

// runDeliver brings a document to the printer that its release names. What happens
// between the printer's taking it and the outcome's being in the log is all that can
// make it print twice; so that is nothing else.
func (w *Workers) runDeliver(ctx context.Context, args deliverArgs, job effects.Job) error {
	d, err := w.load(ctx, args.ID)
	switch {
	case err != nil:
		return err
	case job.Run > 1 && d.LastFailed != nil && d.LastFailed.ID == args.ReleaseID:
		return w.releaseAgain(ctx, d)
	case !d.Releasing() || d.Release.ID != args.ReleaseID:
		w.handed.drop(args.ReleaseID)
		return nil // the outcome is known, or nobody wants it any more
	}
	receipt, done := w.handed.get(args.ReleaseID)
	if !done {
		w.reach("deliver: begun")
		if receipt, err = w.bring(ctx, d, job); err != nil {
			w.reach("deliver: failed")
			return err
		}
		w.handed.put(args.ReleaseID, receipt)
		w.reach("deliver: done")
	}
	return w.delivered(ctx, args, receipt)
}

// releaseAgain asks for a release like the one that failed: an operator had its job
// run again. The outcome of a release stands, so this is another.
func (w *Workers) releaseAgain(ctx context.Context, d printing.Document) error {
	like := d.LastFailed
	_, err := commands.Send(ctx, w.Bus, commanded.ReleaseDocument{ID: d.ID, ReleaseID: commands.NewID(ctx), OutputPortID: like.OutputPortID,
		Copies: &like.Options.Copies, Grayscale: &like.Options.Grayscale, Duplex: &like.Options.Duplex, Retain: like.Retain})
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) && fault.Of(err).Code == commanded.CodeNotReady {
		return effects.Permanent(err)
	}
	return err
}

// delivered records that a printer took a document.
func (w *Workers) delivered(ctx context.Context, args deliverArgs, receipt printer.Receipt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	_, err := commands.Send(ctx, w.Bus, commanded.RecordDelivery{ID: args.ID, ReleaseID: args.ReleaseID, PrinterJob: receipt.PrinterJob})
	if err != nil {
		return err
	}
	w.handed.drop(args.ReleaseID)
	w.reach("deliver: recorded")
	return nil
}

// deadDeliver records that a printer did not take a document.
func (w *Workers) deadDeliver(ctx context.Context, args deliverArgs, _ effects.Job, cause error) error {
	if receipt, done := w.handed.get(args.ReleaseID); done { // cancelled before that was recorded
		return w.delivered(ctx, args, receipt)
	}
	reason := publicReason(cause, "the document could not be delivered")
	if printer.Reached(cause) {
		reason += "; the printer may have printed it all the same"
	}
	_, err := commands.Send(ctx, w.Bus, commanded.RecordDelivery{ID: args.ID, ReleaseID: args.ReleaseID, Failure: reason})
	return err
}

// bring makes of a document what its printer takes, and delivers that.
func (w *Workers) bring(ctx context.Context, d printing.Document, job effects.Job) (printer.Receipt, error) {
	port, _, err := commands.Load[printing.OutputPort](ctx, w.Bus, printing.OutputPortStream(d.Release.OutputPortID))
	if err != nil {
		return printer.Receipt{}, err
	}
	if !port.Exists() {
		return printer.Receipt{}, effects.Permanent(refusal("the printer does not exist any more"))
	}
	user, _, err := commands.Load[directory.User](ctx, w.Bus, directory.UserStream(d.UserID))
	if err != nil {
		return printer.Receipt{}, err
	}
	target := w.target(port.Settings)
	source, format, clean, err := w.source(ctx, d, port.Settings)
	if err != nil {
		return printer.Receipt{}, lasting(err)
	}
	defer clean()
	leave, err := w.turns.take(ctx, target, min(turnWithin, w.DeliverWithin/2))
	if err != nil {
		return printer.Receipt{}, fault.New(fault.Unavailable, "printer.taken", "other documents are before it at the printer").Because(err)
	}
	defer leave()
	receipt, err := w.Deliver(ctx, target, jobOf(d, user, format, job.Repeat), source)
	switch {
	case err == nil:
		return receipt, nil
	case errors.Is(err, blob.ErrNotFound):
		return receipt, lasting(err)
	case !printer.Temporary(err):
		return receipt, effects.Permanent(err)
	}
	return receipt, err
}

// target is how a printer is reached.
func (w *Workers) target(s printing.OutputPortSettings) printer.Target {
	t := printer.Target{Address: s.Address, AnyCertificate: w.AnyCertificate}
	switch {
	case s.Type == printing.Dummy:
		t.Protocol = printer.Dummy
	case s.Protocol == printing.IPP:
		t.Protocol, t.URL = printer.IPP, s.IPPURL
		if t.URL == "" {
			t.URL = "ipp://" + inURL(s.Address) + "/ipp/print"
		}
	case s.Protocol == printing.Spooler:
		t.Protocol = printer.Spooler
	default:
		t.Protocol = printer.TCP
	}
	return t
}

// inURL puts a bare IPv6 address into brackets.
func inURL(address string) string {
	if strings.Count(address, ":") > 1 && !strings.HasPrefix(address, "[") {
		return "[" + address + "]"
	}
	return address
}

var sides = map[printing.Duplex]printer.Duplex{printing.Simplex: printer.Simplex, printing.LongEdge: printer.LongEdge, printing.ShortEdge: printer.ShortEdge}

// jobOf is what the printer is told of a document.
func jobOf(d printing.Document, user directory.User, format string, repeat bool) printer.Job {
	o := d.Release.Options
	job := printer.Job{ID: d.Release.ID.String(), Name: d.Title, User: user.UserName, Format: format,
		Copies: int(o.Copies), Duplex: sides[o.Duplex], Grayscale: o.Grayscale, Repeat: repeat}
	if job.User == "" {
		job.User = directory.FullName(user.FirstName, user.LastName)
	}
	if d.Release.Push {
		job.Media = media(d.Page.PageSize)
	}
	return job
}

// media is the name that printers know a page size by. Sizes in points become a
// custom size of PWG 5101.1, which is in millimetres.
func media(size string) string {
	if size == "Ledger" {
		return "Tabloid" // the same sheet
	}
	width, height, points := strings.Cut(size, "x")
	w, errW := strconv.Atoi(width)
	h, errH := strconv.Atoi(height)
	if !points || errW != nil || errH != nil {
		return size
	}
	const mm = 25.4 / 72
	text := fmt.Sprintf("%.0fx%.0fmm", float64(w)*mm, float64(h)*mm)
	return "custom_" + text + "_" + text
}

// languages are what printers may be given of a PDF; those not named get it as it is.
var languages = map[printing.OutputType]paper.Language{printing.PCL6: paper.LanguagePCL6, printing.PostScript: paper.LanguagePS, printing.PS2: paper.LanguagePS}

// source is the content to send: the document's own, or one made of it in a file
// that clean removes. Only PDF can be made into something else; a printer language
// goes as it is.
func (w *Workers) source(ctx context.Context, d printing.Document, s printing.OutputPortSettings) (open printer.Source, format string, clean func(), err error) {
	wanted := w.wanted(d, s)
	if wanted == (making{}) {
		return w.stored(ctx, d.Content), d.Format, func() {}, nil
	}
	work, err := os.MkdirTemp(w.TempDir, "docket-deliver-")
	if err != nil {
		return nil, "", nil, err
	}
	clean = func() { os.RemoveAll(work) }
	path, format, err := w.produce(ctx, d, wanted, work)
	if err != nil {
		clean()
		return nil, "", nil, err
	}
	return file(path), format, clean, nil
}

// making is what has to be made of a PDF.
type making struct {
	layout paper.Layout
	to     paper.Language // "": as it is
	gray   bool
}

// wanted says what a document's printer and options ask for. Where Ghostscript is
// missing, gray is left to the printer and the layout is left out: better printed
// so than not at all. A language that the printer does not understand is not.
func (w *Workers) wanted(d printing.Document, s printing.OutputPortSettings) (m making) {
	if d.Format != pdf || s.Type == printing.Dummy {
		return m
	}
	m.to = languages[s.OutputType]
	if w.Renderer.Available() != nil {
		return m
	}
	if d.Release.Push {
		m.layout = layout(d)
	}
	if m.gray = d.Release.Options.Grayscale; m.gray && m.to == "" {
		m.to = paper.LanguagePDF
	}
	return m
}

// layout is what a push queue's page options ask for.
func layout(d printing.Document) paper.Layout {
	l := paper.Layout{Size: d.Page.PageSize, Landscape: d.Page.Orientation == 1, Scale: int(d.Page.Scale)}
	if l.Landscape && l.Size == "" {
		l.Size = d.PaperSize
	}
	if l.Scale == 100 {
		l.Scale = 0
	}
	return l
}

// produce makes a file of a document's content, and gives its path and format.
func (w *Workers) produce(ctx context.Context, d printing.Document, m making, dir string) (path, format string, err error) {
	if path, err = w.fetch(ctx, d, dir); err != nil {
		return "", "", err
	}
	if m.layout != (paper.Layout{}) {
		if path, err = w.Renderer.Lay(ctx, path, m.layout, dir); err != nil {
			return "", "", err
		}
	}
	if m.to == "" {
		return path, pdf, nil
	}
	return w.Renderer.Render(ctx, path, m.to, m.gray, dir)
}

// stored reads from the blob store, without a copy on the way.
func (w *Workers) stored(ctx context.Context, b printing.Blob) printer.Source {
	return func() (io.ReadCloser, int64, error) {
		content, err := w.Blobs.Open(ctx, b.SHA256)
		return content, b.Size, ofStore(err)
	}
}

func file(path string) printer.Source {
	return func() (io.ReadCloser, int64, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
		return f, info.Size(), nil
	}
}

// turnWithin bounds how long a job waits for its turn before it makes room for
// another; that costs none of its attempts.
const turnWithin = time.Minute

// turns lets one document at a time through to a raw printer: it takes one
// connection and lets the others wait until they give up.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

// take waits for a target's turn. leave gives it to the next.
func (t *turns) take(ctx context.Context, target printer.Target, within time.Duration) (leave func(), err error) {
	if target.Protocol != printer.TCP {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		t.mu.Lock()
		before := t.busy[target.Address]
		if before == nil {
			if t.busy == nil {
				t.busy = make(map[string]chan struct{})
			}
			mine := make(chan struct{})
			t.busy[target.Address] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, target.Address)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// handed remembers deliveries whose outcome could not be recorded, so that an event
// store that is away for a moment makes nothing print twice.
type handed struct{ sync.Map }

func (h *handed) put(release domain.ID, r printer.Receipt) { h.Store(release, r) }
func (h *handed) drop(release domain.ID)                   { h.Delete(release) }

func (h *handed) get(release domain.ID) (printer.Receipt, bool) {
	r, ok := h.Load(release)
	if !ok {
		return printer.Receipt{}, false
	}
	return r.(printer.Receipt), true
}
