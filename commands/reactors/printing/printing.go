// Package printing makes documents ready and brings them to printers: the
// reactors that turn events into jobs, the jobs themselves, and the timers that
// let documents expire and remove content that nothing refers to.
//
// It lies below commands/reactors because that is where what acts upon events may
// use Postgres, files and the network; commands/printing decides and touches
// nothing.
package printing

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"docket/commands"
	"docket/commands/effects"
	"docket/commands/reactors"
	"docket/domain"
	"docket/domain/printing"
	"docket/eventstore"
	"docket/internal/blob"
	"docket/internal/paper"
	"docket/internal/printer"
)

// Converter makes PDF of other formats; see paper.Converter.
type Converter interface {
	Convert(ctx context.Context, in, extension, outDir string) (string, error)
}

// Renderer makes what a printer takes of PDF; see paper.Renderer.
type Renderer interface {
	Available() error
	Render(ctx context.Context, in string, to paper.Language, gray bool, outDir string) (path, mime string, err error)
	Lay(ctx context.Context, in string, l paper.Layout, outDir string) (string, error)
}

// Models are the read models as far as the timers need them.
type Models interface {
	Await(ctx context.Context, position eventstore.Position, eventTypes []string) bool
}

// Due is a document to expire.
type Due struct {
	ID             domain.ID
	OrganizationID domain.ID
	Before         time.Time // documents of the organization from before this are too old
}

// Lists are what the timers ask of the read models.
type Lists interface {
	// DueDocuments are documents that are too old at a time, at most limit.
	DueDocuments(ctx context.Context, now time.Time, limit int) ([]Due, error)
	// ContentsInUse tells which of some names a document or project refers to.
	ContentsInUse(ctx context.Context, sha256 []string) (map[string]bool, error)
}

// Config is what the workers need. Bus, Store, Blobs, Converter, Renderer, Models
// and Lists are required.
type Config struct {
	Bus       *commands.Bus
	Store     eventstore.Store
	Blobs     blob.Store
	Converter Converter
	Renderer  Renderer
	Models    Models
	Lists     Lists
	Logger    *slog.Logger // default: slog.Default

	Analyse func(ctx context.Context, path string) (paper.Info, error)                                  // default: paper.Analyse
	Deliver func(context.Context, printer.Target, printer.Job, printer.Source) (printer.Receipt, error) // default: printer.Deliver

	// TempDir is where working files lie; empty: the system's.
	TempDir string
	// Attempts is how often a delivery is tried; default 5.
	Attempts int
	// RetryWait is how long to wait after the first try that failed, doubled after
	// each one that follows; default 8 seconds.
	RetryWait time.Duration
	// DeliverWithin bounds one try; default 10 minutes. IPP uses it to wait until the
	// document is on paper.
	DeliverWithin time.Duration
	// AnyCertificate takes the certificates of IPP printers unseen.
	AnyCertificate bool
	// Grace is how long content that nothing refers to is kept; default 1 hour.
	Grace time.Duration

	// Reached is called at named points between the steps of a job. Tests stop there.
	Reached func(point string)
}

// Workers are the parts of printing for whoever runs reactors and effects.
type Workers struct {
	Config
	prepare *effects.Kind[prepareArgs]
	deliver *effects.Kind[deliverArgs]
	turns   turns
	handed  handed
}

// New makes the workers.
func New(c Config) *Workers {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Analyse == nil {
		c.Analyse = paper.Analyse
	}
	if c.Deliver == nil {
		c.Deliver = printer.Deliver
	}
	if c.Attempts <= 0 {
		c.Attempts = 5
	}
	for value, standard := range map[*time.Duration]time.Duration{&c.RetryWait: 8 * time.Second, &c.DeliverWithin: 10 * time.Minute, &c.Grace: time.Hour} {
		if *value <= 0 {
			*value = standard
		}
	}
	w := &Workers{Config: c}
	w.prepare = effects.Define("printing.prepare", effects.Options{MaxAttempts: 4, Timeout: prepareWithin, Workers: 4}, w.runPrepare, w.deadPrepare)
	w.deliver = effects.Define("printing.deliver", effects.Options{MaxAttempts: c.Attempts, Timeout: c.DeliverWithin, Workers: deliverers,
		Backoff: effects.Exponential(c.RetryWait, time.Hour)}, w.runDeliver, w.deadDeliver)
	return w
}

const (
	// prepareWithin has room for a conversion that waits for its turn.
	prepareWithin = 10 * time.Minute
	// deliverers is many: they wait for printers, one at a time for each.
	deliverers = 48
)

// Kinds are the kinds of jobs.
func (w *Workers) Kinds() []effects.AnyKind { return []effects.AnyKind{w.prepare, w.deliver} }

// Reactors turn events into jobs. They begin at the beginning of the log: a job
// looks at its document first and leaves alone what is done.
func (w *Workers) Reactors() []reactors.Reactor {
	return []reactors.Reactor{
		reactors.New("printing.prepare-documents", reactors.AtBeginning,
			onPending(w, w.prepare, func(e printing.DocumentReceived) (domain.ID, prepareArgs) { return e.ID, prepareArgs{e.ID} }, printing.Document.Preparing)),
		reactors.New("printing.deliver-documents", reactors.AtBeginning,
			onPending(w, w.deliver, func(e printing.DocumentReleaseRequested) (domain.ID, deliverArgs) {
				return e.ID, deliverArgs{e.ID, e.ReleaseID}
			}, printing.Document.Releasing)),
	}
}

// Timers are what is done again and again.
func (w *Workers) Timers() []effects.Timer {
	return []effects.Timer{
		effects.Every("printing.expire-documents", 5*time.Minute, w.expire),
		effects.Every("printing.collect-blobs", time.Hour, w.collect),
	}
}

// history is the age from which on an event is taken for one that was handled
// before, so that its document is looked at before a job is made: a reactor that
// lost its place begins with all documents there ever were.
const history = time.Hour

// onPending enqueues a job unless the event is old and its document needs it no more.
func onPending[E domain.Event, A any](w *Workers, k *effects.Kind[A], of func(E) (domain.ID, A), pending func(printing.Document) bool) reactors.Reaction {
	return effects.On(k, func(ctx context.Context, e E, in reactors.Event) (A, bool) {
		id, args := of(e)
		if time.Since(in.Created) > history {
			if d, err := w.load(ctx, id); err == nil && !pending(d) {
				return args, false
			}
		}
		return args, true // in doubt: the job looks, too
	})
}

func (w *Workers) load(ctx context.Context, id domain.ID) (printing.Document, error) {
	d, _, err := commands.Load[printing.Document](ctx, w.Bus, printing.DocumentStream(id))
	return d, err
}

func (w *Workers) reach(point string) {
	if w.Reached != nil {
		w.Reached(point)
	}
}

// refusal is a reason of our own why a document can't be printed, for users.
type refusal string

func (r refusal) Error() string { return string(r) }

// publicReason is what users are told of an error.
func publicReason(err error, general string) string {
	var own refusal
	var ofPaper *paper.Error
	var ofPrinter *printer.Error
	switch {
	case errors.Is(err, effects.ErrCancelled):
		return "an operator cancelled it"
	case errors.As(err, &own):
		return string(own)
	case errors.As(err, &ofPaper):
		return ofPaper.Reason
	case errors.As(err, &ofPrinter):
		return ofPrinter.Reason
	}
	return general
}
