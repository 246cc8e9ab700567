package effects

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"docket/commands/reactors"
	"docket/domain"
	"docket/internal/postgres"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Options say how jobs of a kind are run. Zero values take the defaults.
type Options struct {
	// MaxAttempts is after how many attempts a job is given up. Default 8. Attempts
	// that only our own stores stood in the way of do not count.
	MaxAttempts int
	// Timeout bounds an attempt. Default 1 minute.
	Timeout time.Duration
	// Backoff is how long to wait after the nth failed attempt (from 1), at least
	// 50 ms. Default: 2 s, doubled each time up to 5 minutes, with jitter.
	Backoff func(attempt int) time.Duration
	// Queue names the workers that share the jobs of several kinds. Default: the
	// kind's own.
	Queue string
	// Workers is how many jobs of the queue run at once in one process. Default 4.
	// Of several kinds in a queue the highest counts.
	Workers int
}

// Job is one run of a job.
type Job struct {
	ID          int64
	Kind        string
	Attempt     int // from 1; above MaxAttempts when the last one was cut off
	MaxAttempts int
	// Repeat says that an earlier attempt may have had its effect: it was cut off,
	// or failed after it had begun.
	Repeat bool
	// Run is 1, and one more each time that an operator has a job begin again.
	Run    int
	Event  uuid.UUID // that led to the job
	Tenant domain.ID // of the event
}

// Kind is a kind of job with arguments of type A. Arguments are kept as JSON in
// Postgres and shown to nobody, but are no place for personal data: ids only.
type Kind[A any] struct{ definition }

// AnyKind is a Kind whatever its arguments.
type AnyKind interface{ define() *definition }

// definition is a kind without the type of its arguments.
type definition struct {
	name string
	Options
	run  func(ctx context.Context, args json.RawMessage, job Job) error
	dead func(ctx context.Context, args json.RawMessage, job Job, cause error) error
}

func (d *definition) define() *definition { return d }

// Define declares a kind of job. The name stands in the ids of its commands and
// in Postgres, so it must never change: lower case, digits, dots and hyphens. It
// panics on a mistake in the declaration.
//
// run does the work. Its context carries what commands.Send needs: the system as
// the actor, in the event's tenant, and a request that is caused by the event,
// whose id is fixed by event, kind and Job.Run. So a command that an earlier
// attempt sent already (same name, same stream, same place among those) is not
// done twice. Fresh gives a context for commands that each attempt should send
// anew. run returns nil when the job is done; Permanent(err) when no further
// attempt makes sense; an error of our own stores, which is waited out (see OfPostgres and
// Unavailable); any other error to be tried again. After MaxAttempts the job is given up.
//
// dead records that a job was given up: after the last attempt, a Permanent
// error, or a cancellation (ErrCancelled). It gets the context that run gets. It
// is tried until it returns nil, and only then the job counts as dead. cause is
// run's last error, or one with its text after a crash; its text never repeats what
// our stores say. dead may be nil.
func Define[A any](name string, o Options, run func(ctx context.Context, args A, job Job) error, dead func(ctx context.Context, args A, job Job, cause error) error) *Kind[A] {
	if !wellNamed.MatchString(name) || run == nil {
		panic(fmt.Sprintf("effects: a kind needs a name and something to run: %q", name))
	}
	k := &Kind[A]{definition{name: name, Options: o.filled(name)}}
	k.run = func(ctx context.Context, raw json.RawMessage, job Job) error {
		args, err := decode[A](raw)
		if err != nil {
			return Permanent(err)
		}
		return run(ctx, args, job)
	}
	if dead != nil {
		k.dead = func(ctx context.Context, raw json.RawMessage, job Job, cause error) error {
			args, err := decode[A](raw)
			if err != nil {
				return err
			}
			return dead(ctx, args, job, cause)
		}
	}
	return k
}

var wellNamed = regexp.MustCompile(`^[a-z0-9]+([.-][a-z0-9]+)*$`)

func decode[A any](raw json.RawMessage) (A, error) {
	var args A
	if err := json.Unmarshal(raw, &args); err != nil {
		return args, fmt.Errorf("the job's arguments cannot be read: %w", err)
	}
	return args, nil
}

const (
	defaultAttempts = 8
	defaultTimeout  = time.Minute
	defaultWorkers  = 4
	leastBackoff    = 50 * time.Millisecond
)

func (o Options) filled(kind string) Options {
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = defaultAttempts
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Backoff == nil {
		o.Backoff = Exponential(2*time.Second, 5*time.Minute)
	}
	if o.Queue == "" {
		o.Queue = kind
	}
	o.Queue = strings.ReplaceAll(o.Queue, ".", "-") // River's queues have no dots
	if o.Workers <= 0 {
		o.Workers = defaultWorkers
	}
	return o
}

// Exponential is a Backoff that begins with first and doubles up to most, each
// time a random quarter shorter or longer.
func Exponential(first, most time.Duration) func(attempt int) time.Duration {
	return func(attempt int) time.Duration {
		wait := first
		for n := 1; n < attempt && wait < most; n++ {
			wait *= 2
		}
		return time.Duration(float64(min(wait, most)) * (0.75 + rand.Float64()/2))
	}
}

// ErrCancelled is the cause of dead for a job that an operator cancelled.
var ErrCancelled = errors.New("cancelled by an operator")

// Permanent marks an error after which no further attempt makes sense.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// Unavailable marks an error of our own stores that looks like another's: it
// costs no attempt, and its text goes to the log only. Those of commands need no
// mark.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &unavailable{err}
}

// OfPostgres marks an error of reading from Postgres as Unavailable if the same
// may succeed later. A connection that broke does not tell by itself whose it was.
func OfPostgres(err error) error {
	if postgres.IsUnavailable(err) {
		return Unavailable(err)
	}
	return err
}

type unavailable struct{ error }

func (u *unavailable) Unwrap() error { return u.error }

// On is the reaction that turns an event into a job of a kind, in the transaction
// that moves the reactor's checkpoint. args gives the job's arguments, or false
// when the event leads to none. An event leads to one job of a kind at most, also
// when two reactors or a reset checkpoint ask for it again.
func On[E domain.Event, A any](k *Kind[A], args func(ctx context.Context, e E, in reactors.Event) (A, bool)) reactors.Reaction {
	return reactors.OnWriting(func(ctx context.Context, e E, in reactors.Event) ([]reactors.Write, error) {
		a, wanted := args(ctx, e, in)
		if !wanted {
			return nil, nil
		}
		job, err := envelop(k.name, a, in)
		if err != nil {
			return nil, err
		}
		return []reactors.Write{func(ctx context.Context, tx pgx.Tx) error { return insert(ctx, tx, &k.definition, job) }}, nil
	})
}

// envelope is what River keeps of a job.
type envelope struct {
	kind        string
	Event       uuid.UUID       `json:"event" river:"unique"`
	Tenant      domain.ID       `json:"tenant"`
	Correlation uuid.UUID       `json:"correlation"`
	Traceparent string          `json:"traceparent,omitempty"`
	Created     time.Time       `json:"created"` // the event
	Args        json.RawMessage `json:"args"`
}

// Kind implements river.JobArgs.
func (e envelope) Kind() string { return e.kind }

func envelop[A any](kind string, args A, in reactors.Event) (envelope, error) {
	raw, err := json.Marshal(args)
	if err == nil && bytes.Contains(raw, []byte(`\u0000`)) {
		err = errors.New("a NUL can't be stored")
	}
	if err != nil {
		return envelope{}, fmt.Errorf("arguments of a job %s: %w", kind, err)
	}
	e := envelope{kind: kind, Event: in.ID, Tenant: in.Meta.Tenant, Correlation: in.Meta.Correlation, Traceparent: in.Meta.Traceparent, Created: in.Created.UTC(), Args: raw}
	if e.Correlation == uuid.Nil {
		e.Correlation = in.ID
	}
	return e, nil
}
