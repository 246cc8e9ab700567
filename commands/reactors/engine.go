package reactors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"docket/eventstore"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is what an engine needs. Store, Codec and Pool are required.
type Config struct {
	Store eventstore.Store
	Codec *eventstore.Codec
	// Pool gives connections that commit durably. Each reactor takes one out of
	// it for good, so its limit does not count them.
	Pool     *pgxpool.Pool
	Reactors []Reactor
	// Prepare makes the tables that the reactions' Writes need. It is called
	// before a reactor begins, by several at once; nil: there are none.
	Prepare func(ctx context.Context) error
	Logger  *slog.Logger // default: slog.Default
	// Metrics is told what happens. It must not block.
	Metrics Metrics
	// StoppedFor is how long a stopped reactor waits before it, or another
	// process, tries the event again. Default 1 minute.
	StoppedFor time.Duration
	// CloseWithin is how long handlers get to notice that the engine stops.
	// Default 5 seconds.
	CloseWithin time.Duration
}

// Metrics receives figures for monitoring.
type Metrics interface {
	// EventHandled tells of an event that is done, how long that took with all
	// tries, and when it was recorded.
	EventHandled(reactor string, took time.Duration, recorded time.Time)
	// StateChanged tells of a reactor's new state.
	StateChanged(reactor string, state State)
}

type noMetrics struct{}

func (noMetrics) EventHandled(string, time.Duration, time.Time) {}
func (noMetrics) StateChanged(string, State)                    {}

// State is what a reactor is doing.
type State string

const (
	Starting   State = "starting"
	Standby    State = "standby" // another process has the reactor
	CatchingUp State = "catching-up"
	Live       State = "live"
	Retrying   State = "retrying" // something it needs does not answer
	Stopped    State = "stopped"  // an event cannot be handled, see Failure
)

// Failure is what stopped a reactor.
type Failure struct {
	EventID   uuid.UUID
	EventType string
	Stream    string
	Revision  eventstore.Revision
	Position  eventstore.Position
	Error     string
	At        time.Time
}

// Status is a reactor's condition in this process.
type Status struct {
	Reactor  string
	State    State
	Since    time.Time           // of the state
	Position eventstore.Position // everything up to here is done, as far as this process knows
	Retry    string              // why it is retrying, for operators
	Failure  *Failure            // what stopped it; nil once the event is done
}

// Engine runs reactors.
type Engine struct {
	Config
	runners []*runner
}

// NewEngine makes an engine. It does nothing until Run.
func NewEngine(c Config) (*Engine, error) {
	if c.Store == nil || c.Codec == nil || c.Pool == nil {
		return nil, errors.New("reactors: Store, Codec and Pool are required")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.StoppedFor <= 0 {
		c.StoppedFor = time.Minute
	}
	if c.CloseWithin <= 0 {
		c.CloseWithin = 5 * time.Second
	}
	e := &Engine{Config: c}
	names := make(map[string]bool, len(c.Reactors))
	for _, r := range c.Reactors {
		if names[r.Name] {
			return nil, fmt.Errorf("reactors: two are named %s", r.Name)
		}
		names[r.Name] = true
		for eventType := range r.reactions {
			if !c.Codec.Knows(eventType) {
				return nil, fmt.Errorf("reactors: %s reacts to %s, which the codec does not know", r.Name, eventType)
			}
		}
		e.runners = append(e.runners, newRunner(e, r))
	}
	return e, nil
}

// Run works until ctx ends. Failures of the stores are retried, and a reactor
// that fails stops alone. It must be called once.
func (e *Engine) Run(ctx context.Context) error {
	// Watermill tells at Info what is of interest to its developers only.
	logger := watermill.NewSlogLoggerWithLevelMapping(e.Logger, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: e.CloseWithin}, logger)
	if err != nil {
		return err
	}
	for _, r := range e.runners {
		// The first is outermost: a panic becomes an error, an error is retried or
		// not, and what is left is what stops the reactor.
		router.AddConsumerHandler(r.reactor.Name, r.reactor.Name, r, r.handle).
			AddMiddleware(r.judge, r.again, recoverer)
	}
	ended := make(chan struct{})
	closed := make(chan error, 1)
	go func() {
		select {
		case <-router.Running(): // closing before that would wait in vain
			select {
			case <-ctx.Done():
			case <-ended:
			}
		case <-ended:
		}
		closed <- router.Close()
	}()
	// Sessions end with Close, which then waits for them.
	err = router.Run(context.WithoutCancel(ctx))
	close(ended)
	return errors.Join(err, <-closed)
}

// Status tells the condition of each reactor.
func (e *Engine) Status() []Status {
	list := make([]Status, len(e.runners))
	for i, r := range e.runners {
		list[i] = r.snapshot()
	}
	return list
}
