package reactors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"docket/eventstore"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"
)

// errStopped says that an event could not be handled; judge has said more.
var errStopped = errors.New("stopped at an event that cannot be handled")

// runner is the subscription of one reactor.
type runner struct {
	engine  *Engine
	reactor Reactor
	log     *slog.Logger
	cancel  context.CancelFunc

	mu     sync.Mutex
	status Status
}

var _ message.Subscriber = (*runner)(nil)

func newRunner(e *Engine, r Reactor) *runner {
	return &runner{engine: e, reactor: r, log: e.Logger.With("reactor", r.Name), status: Status{Reactor: r.Name, State: Starting, Since: time.Now()}}
}

func (r *runner) snapshot() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

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
		r.engine.Metrics.StateChanged(r.reactor.Name, after)
	}
}

func (r *runner) enter(s State) { r.update(func(st *Status) { st.State = s }) }

// Subscribe implements message.Subscriber. The channel lives as long as the
// router: interruptions are ridden out behind it.
func (r *runner) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	ctx, r.cancel = context.WithCancel(ctx)
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		r.run(ctx, out)
	}()
	return out, nil
}

// Close implements message.Subscriber.
func (r *runner) Close() error {
	r.cancel()
	return nil
}

// run holds sessions until ctx ends.
func (r *runner) run(ctx context.Context, out chan<- *message.Message) {
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		err := r.session(ctx, out, wait.Reset)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errStopped):
			r.enter(Stopped)
			r.rest(ctx)
		default:
			r.log.Warn("reactor: interrupted, will try again", "error", err)
			r.update(func(s *Status) { s.State, s.Retry = Retrying, err.Error() })
			_ = sleep(ctx, wait.NextBackOff()) // the loop asks ctx
		}
	}
	r.enter(Starting)
}

// session owns the reactor and hands its events out until something fails.
func (r *runner) session(ctx context.Context, out chan<- *message.Message, progress func()) error {
	if r.engine.Prepare != nil {
		if err := r.engine.Prepare(ctx); err != nil {
			return err
		}
	}
	l, err := take(ctx, r.engine.Pool, r.reactor.Name, r.standBy, r.start)
	if err != nil {
		return err
	}
	defer l.close()
	head, err := r.engine.Store.Head(ctx)
	if err != nil {
		return err
	}
	if l.written > head {
		return fmt.Errorf("the event log ends at position %d, the reactor is at %d: it worked on another log; bring that back", head, l.written)
	}
	r.update(func(s *Status) { s.State, s.Retry, s.Position, s.Failure = CatchingUp, "", l.written, l.failed })
	ctx, cancel := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		if err := l.keep(ctx); err != nil {
			cancel(err)
		}
	})
	err = r.follow(ctx, l, out, progress)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	keeping.Wait()
	if f := r.snapshot().Failure; errors.Is(err, errStopped) && f != nil {
		if unrecorded := l.fail(f); unrecorded != nil {
			r.log.Warn("reactor: what stopped it is not recorded", "error", unrecorded)
		}
	}
	return errors.Join(err, l.flush())
}

// standBy says that another process has the reactor, and its troubles.
func (r *runner) standBy() {
	r.update(func(s *Status) { s.State, s.Retry, s.Failure = Standby, "", nil })
}

// start is where a reactor begins that never ran.
func (r *runner) start(ctx context.Context) (eventstore.Position, error) {
	if r.reactor.start == AtBeginning {
		return 0, nil
	}
	return r.engine.Store.Head(ctx)
}

// follow hands out one event after the other.
func (r *runner) follow(ctx context.Context, l *lease, out chan<- *message.Message, progress func()) error {
	live := false
	for m, err := range r.engine.Store.Follow(ctx, l.written, r.reactor.filter()) {
		if err != nil {
			return err
		}
		var writes []Write
		if m.Event != nil && r.reactor.reactions[m.Event.Type] != nil {
			if writes, err = r.deliver(ctx, l, out, m.Event); err != nil {
				return err
			}
		}
		progress()
		if err := l.advance(ctx, m.Position, writes); err != nil {
			return err
		}
		live = live || m.CaughtUp
		r.update(func(s *Status) {
			if s.Position, s.State = m.Position, CatchingUp; live {
				s.State = Live
			}
		})
	}
	return errors.New("the subscription ended")
}

// deliver blocks until the event is handled for good, or leaves it out. It gives
// what is to be written with the checkpoint.
func (r *runner) deliver(ctx context.Context, l *lease, out chan<- *message.Message, e *eventstore.Recorded) ([]Write, error) {
	if l.skips[e.ID] {
		r.log.Warn("reactor: skips an event, as an operator wants", "event", e.ID, "type", e.Type, "stream", e.Stream, "revision", e.Revision, "position", e.Position)
		r.update(func(s *Status) { s.Retry, s.Failure = "", nil })
		return nil, nil
	}
	begun := time.Now()
	left := &outcome{}
	m, err := newMessage(context.WithValue(ctx, outcomeKey{}, left), e)
	if err != nil {
		r.stopped(e, err)
		return nil, errStopped
	}
	select {
	case out <- m:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// The handler sees the context end, too. Going on before it returns would
	// let two of them run at once.
	select {
	case <-m.Acked():
		r.engine.Metrics.EventHandled(r.reactor.Name, time.Since(begun), e.Created)
		r.update(func(s *Status) { s.Retry, s.Failure = "", nil })
		return left.writes, nil
	case <-m.Nacked():
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errStopped
	}
}

// stopped says at what.
func (r *runner) stopped(e *eventstore.Recorded, cause error) {
	stack := ""
	if p := (*panicked)(nil); errors.As(cause, &p) {
		stack = string(p.stack)
	}
	r.log.Error("reactor: stopped at an event that cannot be handled", "event", e.ID, "type", e.Type, "stream", e.Stream,
		"revision", e.Revision, "position", e.Position, "error", cause, "stack", stack)
	f := &Failure{EventID: e.ID, EventType: e.Type, Stream: e.Stream, Revision: e.Revision, Position: e.Position, Error: cause.Error(), At: time.Now()}
	r.update(func(s *Status) { s.State, s.Failure, s.Retry = Stopped, f, "" })
}
