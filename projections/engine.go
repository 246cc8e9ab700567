package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"docket/eventstore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is what an engine needs. Store, Codec, Pool and Groups are required.
type Config struct {
	Store eventstore.Store
	Codec *eventstore.Codec
	// Pool gives connections. Each running group, each rebuild and the listener
	// take one out of it for good, so its limit does not count them.
	Pool   *pgxpool.Pool
	Groups []*Group
	Logger *slog.Logger // default: slog.Default
	// Metrics is told what happens. It must not block.
	Metrics Metrics
	// WatchOnly makes an engine that runs no group and only knows, by way of the
	// database, how far other processes are.
	WatchOnly bool
	// BatchSize is the most events written in one transaction, but for the rest
	// of an append. Default 5,000.
	BatchSize int
	// RebuildRows is how many rows a rebuild keeps in memory before it goes on
	// against the database. Default 500,000.
	RebuildRows int
	// DropAfter is how long replaced tables stay for reads in flight. Default 30 s.
	DropAfter time.Duration

	appendRest time.Duration // how long a batch waits for the rest of an append; for tests
}

// Metrics receives figures for monitoring.
type Metrics interface {
	// BatchCommitted tells of a transaction: events folded, rows written, the
	// time it took, and the time stamp of its newest event.
	BatchCommitted(group string, events, rows int, took time.Duration, newest time.Time)
	// StateChanged tells of a group's new state.
	StateChanged(group string, state State)
}

type noMetrics struct{}

func (noMetrics) BatchCommitted(string, int, int, time.Duration, time.Time) {}
func (noMetrics) StateChanged(string, State)                                {}

// Engine keeps the tables of groups in step with the event store.
type Engine struct {
	Config
	runners map[string]*runner
	polling sync.Mutex
	polled  time.Time
}

// NewEngine makes an engine. It does nothing until Run.
func NewEngine(c Config) (*Engine, error) {
	if c.Store == nil || c.Codec == nil || c.Pool == nil || len(c.Groups) == 0 {
		return nil, errors.New("projections: Store, Codec, Pool and Groups are required")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.BatchSize <= 0 {
		c.BatchSize = 5000
	}
	if c.RebuildRows <= 0 {
		c.RebuildRows = 500_000
	}
	if c.DropAfter <= 0 {
		c.DropAfter = 30 * time.Second
	}
	if c.appendRest <= 0 {
		c.appendRest = 10 * time.Millisecond
	}
	e := &Engine{Config: c, runners: map[string]*runner{}}
	for _, g := range c.Groups {
		if e.runners[g.name] != nil {
			return nil, fmt.Errorf("projections: two groups named %s", g.name)
		}
		for _, eventType := range g.EventTypes() {
			if !c.Codec.Knows(eventType) {
				return nil, fmt.Errorf("projections: group %s handles %s, which the codec does not know", g.name, eventType)
			}
		}
		e.runners[g.name] = newRunner(e, g)
	}
	return e, nil
}

// Run works until ctx ends; batches under way are finished. It returns nil:
// failures of the stores are retried, and a group that fails stops alone.
func (e *Engine) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { e.listen(ctx) })
	if !e.WatchOnly {
		for _, r := range e.runners {
			running.Go(func() { r.run(ctx) })
		}
	}
	running.Wait()
	return nil
}

// State is what a group is doing.
type State string

const (
	Starting       State = "starting"
	WaitingForLock State = "waiting-for-lock" // another process runs the group
	Rebuilding     State = "rebuilding"       // no tables of this version yet
	CatchingUp     State = "catching-up"
	Live           State = "live"
	Retrying       State = "retrying" // a store does not answer
	Stopped        State = "stopped"  // an event cannot be digested; see Skip
	Watching       State = "watching" // this process runs no groups
)

// Status is a group's condition.
type Status struct {
	Group    string
	Version  string
	State    State
	Since    time.Time           // of the state
	Position eventstore.Position // everything up to here is in the tables
	Head     eventstore.Position // of the log; 0 if the store does not answer
	Behind   time.Duration       // age of the oldest event known to be missing
	Failure  *Failure            // what stopped it
	Retry    string              // why it is retrying, for operators
	Progress *Progress           // of a rebuild under way in this process
}

// Status tells the condition of each group, by name.
func (e *Engine) Status(ctx context.Context) []Status {
	head, err := e.Store.Head(ctx)
	if err != nil {
		head = 0
	}
	list := make([]Status, 0, len(e.runners))
	for _, name := range sortedKeys(e.runners) {
		s := e.runners[name].snapshot()
		s.Head = head
		list = append(list, s)
	}
	return list
}

// Healthy is nil when every group is live, catching up, or run by another
// process; otherwise it names those that are not.
func (e *Engine) Healthy() error {
	var problems []error
	for _, name := range sortedKeys(e.runners) {
		s := e.runners[name].snapshot()
		if slices.Contains([]State{Live, CatchingUp, WaitingForLock, Watching}, s.State) {
			continue
		}
		why := s.Retry
		if s.Failure != nil {
			why = s.Failure.String()
		}
		problems = append(problems, fmt.Errorf("projection group %s is %s %s", name, s.State, why))
	}
	return errors.Join(problems...)
}

func (e *Engine) runner(group string) (*runner, error) {
	r := e.runners[group]
	if r == nil {
		return nil, fmt.Errorf("projections: no group %q", group)
	}
	return r, nil
}

// connect takes a connection out of the pool for good and prepares it for
// writing read models.
func (e *Engine) connect(ctx context.Context) (*pgx.Conn, error) {
	pooled, err := e.Pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	conn := pooled.Hijack()
	// Rows and checkpoint commit together, so a crash loses both and the events
	// come again: waiting for the disk is not needed. The planner is kept to the
	// indexes: it plans before there are statistics. Keepalives make the server
	// notice a dead machine and free its lock.
	_, err = conn.PgConn().Exec(ctx, `
		set synchronous_commit = off; set statement_timeout = 0; set lock_timeout = 0;
		set idle_in_transaction_session_timeout = 0; set jit = off; set plan_cache_mode = auto;
		set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
		set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3`).ReadAll()
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	return conn, nil
}

// closeConn closes a connection whatever has become of the context.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is gone either way
}
