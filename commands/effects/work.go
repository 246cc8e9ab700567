package effects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/internal/postgres"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

const (
	buryWithin = 30 * time.Second // what dead gets for a try
	margin     = 10 * time.Second // beyond run and dead, before River cuts a job off
	maxText    = 2000             // bytes of an error that are kept
)

// precision of times in events is that of the read models.
const precision = time.Microsecond

// notes are what we keep in the metadata of River's jobs.
type notes struct {
	Run     int    `json:"docket_run,omitempty"`     // from 0
	Base    int    `json:"docket_base,omitempty"`    // attempts of earlier runs
	Cause   string `json:"docket_cause,omitempty"`   // why it is given up
	Cancel  string `json:"docket_cancel,omitempty"`  // who wants it cancelled
	Waiting string `json:"docket_waiting,omitempty"` // what it waits for, beside its turn
	Waits   int    `json:"docket_waits,omitempty"`   // in a row
	Snoozes int    `json:"snoozes,omitempty"`        // River's own
}

func notesOf(row *rivertype.JobRow) (n notes, err error) { return n, json.Unmarshal(row.Metadata, &n) }

// note sets some of the notes when the job's attempt ends.
func note(ctx context.Context, name string, value any) error {
	return river.MetadataSet(ctx, "docket_"+name, value)
}

// worker runs jobs of a kind for River.
type worker struct {
	river.WorkerDefaults[envelope]
	engine *Engine
	*definition
}

// Timeout implements river.Worker: when a job that does not heed its context is
// taken to be lost.
func (w *worker) Timeout(*river.Job[envelope]) time.Duration {
	return w.definition.Timeout + buryWithin + margin
}

// NextRetry implements river.Worker.
func (w *worker) NextRetry(row *river.Job[envelope]) time.Time {
	n, _ := notesOf(row.JobRow) // Work has read them, too
	return time.Now().Add(max(w.Backoff(max(row.Attempt-n.Base, 1)), leastBackoff))
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, row *river.Job[envelope]) error {
	n, err := notesOf(row.JobRow)
	if err != nil {
		return err
	}
	job := Job{ID: row.ID, Kind: w.name, Attempt: row.Attempt - n.Base, MaxAttempts: w.MaxAttempts, Run: n.Run + 1,
		Repeat: row.Attempt > 1 || n.Snoozes > 0, Event: row.Args.Event, Tenant: row.Args.Tenant}
	t := &task{worker: w, row: row, job: job, notes: n}
	cancellable, leave := w.engine.enter(ctx, row.JobRow)
	defer leave()
	begun := time.Now()
	result, err := t.do(ctx, cancellable)
	w.engine.Metrics.AttemptEnded(w.name, result, time.Since(begun))
	return err
}

// Results of an attempt, for Metrics.
const (
	ResultDone        = "done"
	ResultFailed      = "failed"      // to be tried again
	ResultUnavailable = "unavailable" // our own stores; costs no attempt
	ResultInterrupted = "interrupted" // the process stops; costs no attempt
	ResultDead        = "dead"
	ResultCancelled   = "cancelled"
)

// task is an attempt under way.
type task struct {
	*worker
	row   *river.Job[envelope]
	job   Job
	notes notes
}

// do decides what becomes of the job: in what result that ends, and the error
// that tells River.
func (t *task) do(ctx, cancellable context.Context) (string, error) {
	cause := t.givenUp()
	if cause == nil {
		err := t.attempt(cancellable)
		switch {
		case err == nil:
			return ResultDone, note(ctx, "waiting", "")
		case errors.Is(context.Cause(cancellable), ErrCancelled):
			cause = ErrCancelled
		case ctx.Err() != nil && t.engine.stopping():
			return ResultInterrupted, river.JobSnooze(0)
		case ours(err):
			return ResultUnavailable, t.wait(ctx, err)
		case isPermanent(err) || t.job.Attempt >= t.job.MaxAttempts:
			cause = err
		default:
			return ResultFailed, t.retry(ctx, err)
		}
	}
	return t.bury(ctx, cause)
}

// givenUp is why the job is not to be run any more, if so.
func (t *task) givenUp() error {
	switch {
	case t.notes.Cancel != "":
		return ErrCancelled
	case t.notes.Cause != "":
		return errors.New(t.notes.Cause)
	case t.job.Attempt > t.job.MaxAttempts && len(t.row.Errors) > 0:
		return errors.New(t.row.Errors[len(t.row.Errors)-1].Error)
	case t.job.Attempt > t.job.MaxAttempts:
		return errors.New(cutOff)
	}
	return nil
}

var errTimeout = errors.New("out of time")

// attempt runs the job once.
func (t *task) attempt(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.definition.Timeout, errTimeout)
	defer cancel()
	err := t.protect(func() error { return t.run(t.acting(ctx), t.row.Args.Args, t.job) })
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		// Not wrapped: the stores call whatever the timeout broke off unavailable.
		return fmt.Errorf("took longer than %s: %s", t.definition.Timeout, shown(err).Error())
	}
	return err
}

// protect makes a panic an error.
func (t *task) protect(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.engine.Logger.Error("effects: a job panicked", "kind", t.name, "job", t.job.ID, "event", t.job.Event, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	return do()
}

// retry has River try again later.
func (t *task) retry(ctx context.Context, err error) error {
	t.engine.Logger.Warn("effects: an attempt failed, there will be another", "kind", t.name, "job", t.job.ID, "event", t.job.Event, "attempt", t.job.Attempt, "of", t.job.MaxAttempts, "error", inFull(err))
	return errors.Join(note(ctx, "waits", 0), note(ctx, "waiting", ""), kept(err))
}

// wait has River try again later without counting the attempt.
func (t *task) wait(ctx context.Context, err error) error {
	t.engine.Logger.Warn("effects: a job waits", "kind", t.name, "job", t.job.ID, "event", t.job.Event, "error", inFull(err))
	wait := Exponential(t.engine.waits, 60*t.engine.waits)(t.notes.Waits + 1)
	return errors.Join(note(ctx, "waits", t.notes.Waits+1), note(ctx, "waiting", text(err)), river.JobSnooze(wait))
}

// bury has it recorded that the job is given up, and then lets River give it up.
func (t *task) bury(ctx context.Context, cause error) (string, error) {
	cancelled := errors.Is(cause, ErrCancelled)
	if t.notes.Cause == "" && !cancelled {
		// From here on the job is not run again, even if the process dies now.
		if err := t.engine.remember(ctx, t.job.ID, notes{Cause: text(cause)}); err != nil {
			return ResultUnavailable, t.wait(ctx, Unavailable(err))
		}
	}
	if t.dead != nil {
		recording, cancel := context.WithTimeout(ctx, buryWithin)
		defer cancel()
		err := t.protect(func() error { return t.dead(t.acting(recording), t.row.Args.Args, t.job, shown(cause)) })
		if err != nil {
			return ResultUnavailable, t.wait(ctx, fmt.Errorf("to record that it was given up: %w", err))
		}
	}
	if err := errors.Join(note(ctx, "waiting", ""), note(ctx, "waits", 0)); err != nil {
		return ResultFailed, err
	}
	if cancelled {
		return ResultCancelled, river.JobCancel(kept(fmt.Errorf("cancelled by %s", t.notes.canceller())))
	}
	t.engine.Logger.Error("effects: a job is given up", "kind", t.name, "job", t.job.ID, "event", t.job.Event, "attempt", t.job.Attempt, "error", inFull(cause))
	t.row.MaxAttempts = t.row.Attempt // what River takes for the last one it discards
	return ResultDead, kept(cause)
}

func (n notes) canceller() string {
	if n.Cancel == "" {
		return "an operator" // meanwhile
	}
	return n.Cancel
}

// acting is the context in which a job sends commands.
func (t *task) acting(ctx context.Context) context.Context {
	e := t.row.Args
	return domain.WithActor(commands.WithRequest(ctx, &commands.Request{
		ID:  uuid.NewSHA1(e.Event, fmt.Appendf(nil, "%s/%d", t.name, t.job.Run)),
		Now: time.Now().UTC().Truncate(precision), IDTime: e.Created, Retry: true, Dialect: "system",
		Correlation: e.Correlation, Causation: e.Event, Traceparent: e.Traceparent,
	}), domain.System(e.Tenant))
}

// Fresh is the context of a job or timer with a request that only this attempt
// has: for commands that an attempt sends although an earlier one sent the same,
// such as progress. They have the same cause.
func Fresh(ctx context.Context) context.Context {
	r := commands.RequestOf(ctx)
	return commands.WithRequest(ctx, &commands.Request{ID: uuid.New(), Now: time.Now().UTC().Truncate(precision), Dialect: r.Dialect,
		Correlation: r.Correlation, Causation: r.Causation, Traceparent: r.Traceparent})
}

func isPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

// ours tells an error of our own stores that waiting may cure. It is narrower
// than postgres.IsUnavailable, which takes any lost connection for the database's:
// here it may be a printer's.
func ours(err error) bool {
	var f *fault.Error
	var server *pgconn.PgError
	switch {
	case isPermanent(err):
		return false
	case byStore(err):
		return true
	case errors.As(err, &server):
		return postgres.IsUnavailable(err)
	case errors.As(err, &f):
		return f.Kind == fault.Unavailable
	}
	return false
}

// byStore tells an error that is marked as one of our own stores, or made by
// their drivers because they could not be talked to.
func byStore(err error) bool {
	var marked *unavailable
	var connect *pgconn.ConnectError
	var driver interface{ SafeToRetry() bool } // what errors of pgconn itself have in common
	return errors.As(err, &marked) || errors.As(err, &connect) || errors.As(err, &driver) || errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, pgconn.ErrConnClosed)
}

// shown is an error as operators, and whoever records that a job was given up,
// may see it: what our stores and their drivers say, which may be addresses and
// statements, is for the log. A fault's text is written to be seen. The error
// itself stays in the chain.
func shown(err error) error {
	var f *fault.Error
	var server *pgconn.PgError
	switch {
	case errors.As(err, &f):
		return err
	case errors.As(err, &server) && !ours(err):
		return &veiled{err, "our database refused a statement (SQLSTATE " + server.Code + "); the server's log says why"}
	case byStore(err), server != nil:
		return &veiled{err, "one of our own stores did not answer; the server's log says more"}
	}
	return err
}

// veiled is an error with another text.
type veiled struct {
	error
	text string
}

func (v *veiled) Error() string { return v.text }
func (v *veiled) Unwrap() error { return v.error }

// inFull is an error as the log has it, with the cause that a fault hides.
func inFull(err error) string {
	if f := new(fault.Error); errors.As(err, &f) && f.Cause != nil {
		return err.Error() + ": " + f.Cause.Error()
	}
	return err.Error()
}

// text is an error as it may be kept.
func text(err error) string {
	s := strings.ToValidUTF8(strings.ReplaceAll(shown(err).Error(), "\x00", ""), "�")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	if s == "" {
		return "an error without a text"
	}
	return s
}

// kept is an error that River keeps.
func kept(err error) error { return errors.New(text(err)) }
