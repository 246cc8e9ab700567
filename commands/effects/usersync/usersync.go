// Package usersync brings users and groups of user directories into Docket: a run
// is started by somebody or by the clock, read from the directory by a durable
// job, and written by commands that append nothing for what has not changed.
// docs/user-directories.md says what becomes of what.
package usersync

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/commands/effects"
	"docket/commands/reactors"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/internal/userdir"
)

// Known is what the read models know.
type Known interface {
	// Users and Groups are those that came from a user directory and were not
	// deleted.
	Users(ctx context.Context, directory domain.ID) ([]Link, error)
	Groups(ctx context.Context, directory domain.ID) ([]Link, error)
	// Scheduled are the active directories that are synchronised by the clock.
	Scheduled(ctx context.Context) ([]Scheduled, error)
}

// Link ties a user or group to an entry of a user directory.
type Link struct {
	ID         domain.ID
	ExternalID string
	Active     bool
}

// Scheduled is a user directory that is synchronised by the clock.
type Scheduled struct {
	DirectoryID    domain.ID
	OrganizationID domain.ID
	Schedule       Schedule
	Since          time.Time // due times before it are not made up for
}

// Config is what synchronisation needs.
type Config struct {
	Bus    *commands.Bus
	Models commands.Waiter
	Known  Known
	// Unseal opens a secret that was sealed for a context.
	Unseal func(context string, sealed []byte) ([]byte, error)
	Open   func(userdir.Settings) userdir.Source
	// MaxLoss is the share of a directory's active users, in percent, that a run may
	// not deactivate: with 100, a run that would deactivate all of them deactivates
	// nobody and fails. 0: there is no such share. It holds for groups, too.
	MaxLoss int
	Logger  *slog.Logger
	// Backoff is how long to wait after the nth attempt to read a directory that was
	// away; nil: some seconds.
	Backoff func(attempt int) time.Duration

	batchSize int // shortened by tests
}

// Sync synchronises user directories.
type Sync struct {
	Config
	kind *effects.Kind[args]
}

// args are a job's.
type args struct {
	RunID    domain.ID           `json:"runId"`
	Position eventstore.Position `json:"position"` // of the run's start
}

const (
	attempts  = 3 // of a directory that is away
	longest   = 6 * time.Hour
	atOnce    = 2                // runs in one process
	patience  = 10 * time.Second // with read models, for a try
	interval  = time.Minute      // between looks at the clock
	loginTime = 15 * time.Second
)

// New makes what Config describes.
func New(c Config) *Sync {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Backoff == nil {
		c.Backoff = effects.Exponential(5*time.Second, time.Minute)
	}
	if c.batchSize == 0 {
		c.batchSize = batchSize
	}
	s := &Sync{Config: c}
	s.kind = effects.Define("directory.sync", effects.Options{MaxAttempts: attempts, Timeout: longest, Backoff: c.Backoff, Workers: atOnce}, s.work, s.dead)
	return s
}

// Kinds are the kinds of jobs.
func (s *Sync) Kinds() []effects.AnyKind { return []effects.AnyKind{s.kind} }

// Reactors make jobs of runs. They begin at the beginning of the log, so that no
// run is left lying; jobs of runs that have ended do nothing.
func (s *Sync) Reactors() []reactors.Reactor {
	return []reactors.Reactor{reactors.New("directory.synchronise", reactors.AtBeginning,
		effects.On(s.kind, func(_ context.Context, e directory.SyncRunStarted, in reactors.Event) (args, bool) {
			return args{RunID: e.ID, Position: in.Position}, true
		}))}
}

// Timers start the runs that are due.
func (s *Sync) Timers() []effects.Timer {
	return []effects.Timer{effects.Every("directory.sync-schedule", interval, s.startDue)}
}

// work is an attempt at a run.
func (s *Sync) work(ctx context.Context, a args, job effects.Job) error {
	r, _, err := commands.Load[directory.SyncRun](ctx, s.Bus, directory.SyncRunStream(a.RunID))
	if err != nil || !r.Running() {
		return err
	}
	if err := s.await(ctx, a.Position); err != nil {
		return err
	}
	// What the first attempt does was done by none before, so nobody has to look.
	request := commands.RequestOf(ctx)
	ctx = commands.WithRequest(ctx, &commands.Request{ID: request.ID, Now: request.Now, IDTime: request.IDTime, Retry: job.Repeat, Dialect: request.Dialect,
		Correlation: request.Correlation, Causation: request.Causation, Traceparent: request.Traceparent})
	run, err := s.begin(ctx, r, job.Repeat)
	if err == nil {
		err = run.do(ctx)
	}
	var away *userdir.Error
	if errors.As(err, &away) && away.Passing && job.Attempt < job.MaxAttempts && ctx.Err() == nil {
		if told := run.progress(ctx); told != nil {
			err = told
		}
	}
	return run.outcome(ctx, err, job.Attempt >= job.MaxAttempts)
}

// outcome ends a run, unless a further attempt is to come: then it is the error.
func (r *run) outcome(ctx context.Context, err error, last bool) error {
	var stopped *stop
	var away *userdir.Error
	switch {
	case err == nil:
		return r.end(ctx, commanded.EndSyncRun{})
	case ctx.Err() != nil:
		return err // it goes on elsewhere, or later
	case errors.As(err, &stopped):
		r.log(ctx, r.was, "ended early", "code", stopped.Code, "reason", stopped.Reason, "cause", stopped.cause)
		return r.end(ctx, stopped.EndSyncRun)
	case errors.As(err, &away) && (last || !away.Passing):
		r.log(ctx, r.was, "failed", "code", away.Code, "cause", away)
		return r.end(ctx, commanded.EndSyncRun{Code: away.Code, Reason: away.Reason})
	}
	return err
}

// stop is an end of a run that no further attempt would change.
type stop struct {
	commanded.EndSyncRun
	cause error // for the log
}

func (s *stop) Error() string { return s.Code + ": " + s.Reason }

func failed(code, format string, of ...any) *stop {
	return &stop{EndSyncRun: commanded.EndSyncRun{Code: code, Reason: fmt.Sprintf(format, of...)}}
}

// dead ends the run of a job that was given up for a reason of our own.
func (s *Sync) dead(ctx context.Context, a args, _ effects.Job, cause error) error {
	end := commanded.EndSyncRun{ID: a.RunID, Code: "sync.given-up", Reason: "the synchronisation was given up; the server's log says why"}
	if errors.Is(cause, effects.ErrCancelled) {
		end = commanded.EndSyncRun{ID: a.RunID, Stopped: true}
	}
	_, err := commands.Send(effects.Fresh(ctx), s.Bus, end)
	return err
}

// await waits until the read models know all that was recorded before the run.
func (s *Sync) await(ctx context.Context, position eventstore.Position) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !s.Models.Await(ctx, position, []string{directory.SyncRunStarted{}.EventType()}) {
		return fault.New(fault.Unavailable, "projections.late", "the read models have not taken in the start of the run at position %d", position)
	}
	return nil
}

func (s *Sync) log(ctx context.Context, r directory.SyncRun, what string, more ...any) {
	s.Logger.WarnContext(ctx, "synchronisation "+what, append([]any{"directory", r.DirectoryID, "run", r.ID}, more...)...)
}

// source opens a user directory.
func (s *Sync) source(d directory.UserDirectory) (userdir.Source, error) {
	settings := userdir.Settings{Kind: userdir.LDAP, Filter: d.Settings.Filter, Prefix: d.Settings.Prefix, Domain: d.Settings.UserDirectoryName,
		Host: d.Settings.HostName, Port: int(d.Settings.Port), BindName: d.Settings.UserName, TenantID: d.Settings.AzureTenantID, ClientID: d.Settings.AzureClientID}
	if d.Settings.Type == directory.AzureAD {
		settings.Kind = userdir.Entra
	}
	for _, secret := range []struct {
		name   string
		sealed []byte
		into   *string
	}{{"password", d.Password, &settings.Password}, {"azureClientSecret", d.AzureClientSecret, &settings.ClientSecret}} {
		if secret.sealed == nil {
			continue
		}
		plain, err := s.Unseal(directory.SecretContext(d.ID, secret.name), secret.sealed)
		if err != nil {
			return nil, &stop{EndSyncRun: commanded.EndSyncRun{Code: "directory.secret", Reason: "the stored " + secret.name + " does not open with this installation's key; set it anew"}, cause: err}
		}
		*secret.into = string(plain)
	}
	return s.Open(settings), nil
}

// startDue starts the runs whose time has come. The id of a run is fixed by its
// due time, so that no due time has two.
func (s *Sync) startDue(ctx context.Context, now time.Time) error {
	all, err := s.Known.Scheduled(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, d := range all {
		due, ok := d.Schedule.Last(now)
		if !ok || !due.After(d.Since) {
			continue
		}
		ctx := domain.WithActor(commands.WithRequest(ctx, commands.NewRequest("system", time.Now().UTC().Truncate(time.Microsecond))), domain.System(d.OrganizationID))
		_, err := commands.Send(ctx, s.Bus, commanded.StartSyncRun{ID: RunID(d.DirectoryID, due), DirectoryID: d.DirectoryID, Due: &due})
		if fault.Is(err, fault.Unique) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
			continue // one is running, or there is nothing to synchronise any more
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// RunID is the id of the run of a due time.
func RunID(directory domain.ID, due time.Time) domain.ID {
	sum := sha256.Sum256(fmt.Appendf(directory[:], "/due/%d", due.Unix()))
	return domain.NewID(due, binary.BigEndian.Uint64(sum[:8]))
}

// Login tells whether a password is that of a user who came from a user
// directory. It is false for users of no directory, of one that was deleted or is
// not active, and for whom the directory does not have any more. Faults: Denied
// when that kind of directory checks no passwords, Unavailable when it can't be
// asked.
func (s *Sync) Login(ctx context.Context, u directory.User, password string) (bool, error) {
	id, err := domainID(u.Source)
	if err != nil || !u.Exists() || !u.Active || u.Details.ExternalID == "" {
		return false, nil
	}
	d, _, err := commands.Load[directory.UserDirectory](ctx, s.Bus, directory.UserDirectoryStream(id))
	if err != nil || !d.Exists() || !d.Settings.Active {
		return false, err
	}
	source, err := s.source(d)
	if err != nil {
		return false, unanswered(err)
	}
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	ok, err := source.Authenticate(ctx, u.Details.ExternalID, password)
	switch {
	case errors.Is(err, userdir.ErrNoPasswords):
		return false, fault.New(fault.Denied, "userdirectory.no-passwords", "users of this user directory can't log in with a password here")
	case err != nil:
		s.Logger.WarnContext(ctx, "a user directory could not check a password", "directory", id, "error", err)
		return false, unanswered(err)
	}
	return ok, nil
}

func unanswered(cause error) error {
	return fault.New(fault.Unavailable, "userdirectory.unavailable", "the user directory can't be asked now").Because(cause)
}
