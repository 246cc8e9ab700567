package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	lockRetry    = 500 * time.Millisecond // how often a standby asks for a group
	skipPoll     = 5 * time.Second        // how often a stopped group looks for a skip, beside notifications
	refusedRetry = 30 * time.Second       // how long a refused statement is left alone
	finishWithin = 10 * time.Second       // what a batch under way gets after a stop
)

// errFenced says that somebody else moved the checkpoint: another process took
// the group over, or a rebuild was swapped in.
var errFenced = errors.New("checkpoint was moved by somebody else")

// runner keeps one group's tables up to date.
type runner struct {
	engine *Engine
	group  *Group
	log    *slog.Logger
	gate   *gate
	owner  atomic.Bool   // this process holds the group's lock
	wake   chan struct{} // try again after having stopped

	mu     sync.Mutex
	status Status
	oldest time.Time // time stamp of the oldest event under way; zero for none
}

func newRunner(e *Engine, g *Group) *runner {
	r := &runner{engine: e, group: g, log: e.Logger.With("group", g.name), gate: newGate(), wake: make(chan struct{}, 1)}
	r.status = Status{Group: g.name, Version: g.version, State: Starting, Since: time.Now()}
	if e.WatchOnly {
		r.status.State = Watching
	}
	return r
}

func (r *runner) snapshot() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Position, _, _ = r.gate.look()
	if !r.oldest.IsZero() {
		s.Behind = max(time.Since(r.oldest), 0)
	}
	return s
}

// enter changes the state.
func (r *runner) enter(state State) { r.update(func(s *Status) { s.State = state }) }

func (r *runner) update(change func(*Status)) {
	r.mu.Lock()
	before := r.status.State
	change(&r.status)
	after := r.status.State
	if before != after {
		r.status.Since = time.Now()
	}
	r.mu.Unlock()
	if before != after {
		r.engine.Metrics.StateChanged(r.group.name, after)
	}
}

func (r *runner) underWay(oldest time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.oldest = oldest
}

func (r *runner) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run holds sessions until ctx ends.
func (r *runner) run(ctx context.Context) {
	wait := newBackoff()
	for ctx.Err() == nil {
		err := r.session(ctx, wait.Reset)
		r.owner.Store(false)
		var poison *eventError
		switch {
		case ctx.Err() != nil:
		case errors.As(err, &poison):
			r.stop(ctx, poison)
		case errors.Is(err, errFenced):
			r.log.Info("projections: the checkpoint was moved; starting again from it")
		case fromDatabase(err) && !curable(err):
			r.refused(ctx, err)
		default:
			r.log.Warn("projections: interrupted, will try again", "error", err)
			r.update(func(s *Status) { s.State, s.Retry = Retrying, err.Error() })
			sleep(ctx, wait.NextBackOff())
		}
	}
	r.enter(Starting)
}

// session takes ownership and keeps the group going until something fails.
func (r *runner) session(ctx context.Context, progress func()) error {
	conn, err := r.engine.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if err := createMetadata(ctx, conn); err != nil {
		return err
	}
	if err := r.lock(ctx, conn); err != nil {
		return err
	}
	r.owner.Store(true)
	at, err := r.prepare(ctx, conn)
	if err != nil {
		return err
	}
	if err := r.sameLog(ctx, at); err != nil {
		return err
	}
	progress()
	r.update(func(s *Status) { s.State, s.Retry, s.Failure = CatchingUp, "", nil })
	r.gate.advance(at)
	r.gate.giveUp(false)
	sweeping, stop := context.WithCancel(ctx)
	var swept sync.WaitGroup
	swept.Go(func() { r.sweep(sweeping) })
	defer swept.Wait()
	defer stop()
	return r.follow(ctx, conn, at, progress)
}

// lock waits until this process owns the group. It asks again and again rather
// than wait in the server, where a waiting statement would hold back vacuum.
func (r *runner) lock(ctx context.Context, conn *pgx.Conn) error {
	for {
		var locked bool
		err := conn.QueryRow(ctx, "select pg_try_advisory_lock(hashtextextended($1, 1))", r.group.name).Scan(&locked)
		if err != nil || locked {
			return err
		}
		r.enter(WaitingForLock)
		sleep(ctx, lockRetry)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// prepare sees to it that live tables of this version exist and tells where
// they are.
func (r *runner) prepare(ctx context.Context, conn *pgx.Conn) (eventstore.Position, error) {
	c, err := readCheckpoint(ctx, conn, r.group.name)
	if err != nil {
		return 0, err
	}
	if c == nil || c.version != r.group.version {
		return r.build(ctx, c)
	}
	return c.position, nil
}

// sameLog refuses to follow a log that ends before the checkpoint: these tables
// were built from another one. A server would accept the position and say
// nothing until its log has grown that far.
func (r *runner) sameLog(ctx context.Context, at eventstore.Position) error {
	head, err := r.engine.Store.Head(ctx)
	if err != nil {
		return err
	}
	if at > head {
		return fmt.Errorf("the event log ends at position %d, the read models of %s are at %d: they were built from another log; bring that back, or rebuild them", head, r.group.name, at)
	}
	return nil
}

// stop says what happened and waits until an operator did something about it.
func (r *runner) stop(ctx context.Context, poison *eventError) {
	failure := failureOf(poison)
	var p *handlerPanic
	stack := ""
	if errors.As(poison, &p) {
		stack = string(p.stack)
	}
	r.log.Error("projections: stopped at an event that cannot be digested", "event", failure.EventID, "type", failure.EventType,
		"stream", failure.Stream, "revision", failure.Revision, "position", failure.Position, "error", failure.Error, "stack", stack)
	r.update(func(s *Status) { s.State, s.Failure = Stopped, failure })
	r.gate.giveUp(true)
	recorded := false
	for ctx.Err() == nil {
		if !recorded {
			recorded = r.tolerate(recordFailure(ctx, r.engine.Pool, r.group.name, failure))
		} else if again, err := r.mayGoOn(ctx, failure); r.tolerate(err) && again {
			return
		}
		pause := skipPoll
		if !recorded {
			pause = time.Second
		}
		timer := time.NewTimer(pause)
		select {
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// refused says that the database does not take a statement, whatever the event,
// and waits before the next attempt.
func (r *runner) refused(ctx context.Context, err error) {
	r.log.Error("projections: stopped, the database refuses a statement", "error", err)
	r.update(func(s *Status) {
		s.State, s.Failure = Stopped, &Failure{Error: publicCause(err).Error(), At: time.Now()}
	})
	r.gate.giveUp(true)
	sleep(ctx, refusedRetry)
}

// tolerate logs an error that will be tried again.
func (r *runner) tolerate(err error) bool {
	if err != nil {
		r.log.Warn("projections: while stopped", "error", err)
	}
	return err == nil
}

// mayGoOn tells whether the event was skipped, or a rebuild went past it.
func (r *runner) mayGoOn(ctx context.Context, failure *Failure) (bool, error) {
	skips, err := readSkips(ctx, r.engine.Pool, r.group.name)
	if err != nil || skips[failure.EventID] {
		return err == nil, err
	}
	c, err := readCheckpoint(ctx, r.engine.Pool, r.group.name)
	return err == nil && c != nil && c.version == r.group.version && c.position >= failure.Position, err
}

// Skipped is an operator's decision to leave an event out.
type Skipped struct {
	EventID uuid.UUID
	Actor   string // who decided
	Reason  string
}

// ErrNotStopped says that a group is not stopped at the event to be skipped.
var ErrNotStopped = errors.New("projections: not stopped at this event")

// Skip makes a stopped group leave out the event it is stopped at, now and in
// every rebuild. Who did it and why is recorded.
func (e *Engine) Skip(ctx context.Context, group string, event Skipped) error {
	if _, err := e.runner(group); err != nil {
		return err
	}
	if event.Actor == "" || event.Reason == "" {
		return errors.New("projections: a skip needs an actor and a reason")
	}
	tag, err := e.Pool.Exec(ctx, `with failed as (delete from docket_projections.failures where group_name = $1 and event_id = $2 returning *)
		insert into docket_projections.projection_skips (group_name, event_id, event_type, stream, revision, position, error, actor, reason)
		select group_name, event_id, event_type, stream, revision, position, error, $3, $4 from failed`,
		group, event.EventID, event.Actor, event.Reason)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: group %s, event %s", ErrNotStopped, group, event.EventID)
	}
	_, err = e.Pool.Exec(ctx, "select pg_notify($1, $2)", channel, wakeUp(group))
	return err
}

// fenced recognises the error of the advance function.
func fenced(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == fencedCode
}
