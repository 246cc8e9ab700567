package effects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// Config is what an engine needs. Pool is required.
type Config struct {
	// Pool gives connections that commit durably. A running engine takes one out
	// of it for good, which its limit does not count.
	Pool   *pgxpool.Pool
	Kinds  []AnyKind
	Timers []Timer
	// Process names who has this process's data folder, now and after a restart:
	// jobs that its predecessor left behind are taken up at once. Empty: they are
	// after some seconds, as those of other processes.
	Process string
	Logger  *slog.Logger // default: slog.Default
	// Metrics is told what happens. It must not block.
	Metrics Metrics
	// StopWithin is how long jobs may go on when the engine stops, before their
	// contexts end. Default 10 seconds.
	StopWithin time.Duration

	// Shortened by tests.
	beat   time.Duration // how often everything is looked after
	poll   time.Duration // how often workers look for jobs without being woken
	grace  time.Duration // how long another process must be gone before its jobs are taken
	settle time.Duration // when a job's end must have been stored: River tries for 37 seconds
	waits  time.Duration // first wait for a store
}

// How long jobs are kept once they have ended. While a job is kept there is no
// second one of its kind and event.
const (
	keepDone = 7 * 24 * time.Hour
	keepDead = 90 * 24 * time.Hour
)

// lastCall is how long jobs get to notice that their contexts have ended.
const lastCall = 5 * time.Second

// Metrics receives figures for monitoring.
type Metrics interface {
	// AttemptEnded tells how an attempt ended (one of the Result constants) and
	// how long it took.
	AttemptEnded(kind, result string, took time.Duration)
	// TimerEnded tells whether a timer's run went well, and how long it took.
	TimerEnded(timer string, well bool, took time.Duration)
	// Counted tells how many jobs of a kind there are, every few seconds.
	Counted(Count)
}

type noMetrics struct{}

func (noMetrics) AttemptEnded(string, string, time.Duration) {}
func (noMetrics) TimerEnded(string, bool, time.Duration)     {}
func (noMetrics) Counted(Count)                              {}

// State is what an engine is doing.
type State string

const (
	Starting State = "starting"
	Live     State = "live"
	Retrying State = "retrying" // Postgres does not answer
)

// Count is how many jobs of a kind there are, in all processes.
type Count struct {
	Kind    string
	Waiting int           // for a worker, or for another attempt
	Running int           // now
	Dead    int           // given up, and kept for operators
	Oldest  time.Duration // age of the oldest job that is waiting or running
}

// Status is an engine's condition in this process.
type Status struct {
	State  State
	Since  time.Time
	Retry  string  // why it is retrying, for operators
	Counts []Count // a few seconds old; in the order of Config.Kinds
}

// Engine runs jobs and timers. One that never runs can still list, retry and
// cancel jobs.
type Engine struct {
	Config
	id    string // of this process among River's clients
	kinds map[string]*definition

	prepared struct {
		sync.Mutex
		done bool
	}

	mu     sync.Mutex
	status Status
	active map[int64]*activity
	ending bool
}

// activity is a job that this process runs, or ran until a moment ago.
type activity struct {
	cancel context.CancelCauseFunc
	ended  time.Time // zero while it runs
}

// NewEngine makes an engine. It does nothing until Run.
func NewEngine(c Config) (*Engine, error) {
	if c.Pool == nil {
		return nil, errors.New("effects: Pool is required")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Process == "" {
		c.Process = uuid.NewString()
	}
	for value, standard := range map[*time.Duration]time.Duration{&c.StopWithin: 10 * time.Second, &c.beat: time.Second, &c.poll: time.Second,
		&c.grace: 10 * time.Second, &c.settle: time.Minute, &c.waits: 500 * time.Millisecond} {
		if *value <= 0 {
			*value = standard
		}
	}
	e := &Engine{Config: c, id: c.Process + "/" + uuid.NewString(), kinds: make(map[string]*definition), active: make(map[int64]*activity),
		status: Status{State: Starting, Since: time.Now()}}
	for _, k := range c.Kinds {
		d := k.define()
		if e.kinds[d.name] != nil {
			return nil, fmt.Errorf("effects: two kinds are named %s", d.name)
		}
		e.kinds[d.name] = d
	}
	timers := make(map[string]bool)
	for _, t := range c.Timers {
		if timers[t.name] {
			return nil, fmt.Errorf("effects: two timers are named %s", t.name)
		}
		timers[t.name] = true
	}
	return e, nil
}

// Prepare makes the tables. Reactors need that before they can enqueue.
func (e *Engine) Prepare(ctx context.Context) error {
	e.prepared.Lock()
	defer e.prepared.Unlock()
	if e.prepared.done {
		return nil
	}
	err := migrate(ctx, e.Pool, quiet(e.Logger))
	e.prepared.done = err == nil
	return err
}

// quiet is the log for River, which tells at Info what is of interest to its
// developers, and of every failure of Postgres more than once.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(lessLoud{log.Handler()}) }

type lessLoud struct{ slog.Handler }

func (h lessLoud) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, level-4)
}

func (h lessLoud) Handle(ctx context.Context, r slog.Record) error {
	r.Level -= 4
	return h.Handler.Handle(ctx, r)
}

func (h lessLoud) WithAttrs(a []slog.Attr) slog.Handler { return lessLoud{h.Handler.WithAttrs(a)} }
func (h lessLoud) WithGroup(g string) slog.Handler      { return lessLoud{h.Handler.WithGroup(g)} }

// Run works until ctx ends, and returns when the jobs under way have ended.
// Failures of Postgres are waited out. It must be called once.
func (e *Engine) Run(ctx context.Context) error {
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		begun, err := e.session(ctx)
		if begun {
			return err
		}
		if ctx.Err() == nil {
			e.Logger.Warn("effects: cannot begin, will try again", "error", err)
			e.enterState(Retrying, err)
			_ = sleep(ctx, wait.NextBackOff()) // the loop asks ctx
		}
	}
	return nil
}

// session runs jobs and timers until ctx ends, unless it cannot begin.
func (e *Engine) session(ctx context.Context) (begun bool, err error) {
	if err := e.Prepare(ctx); err != nil {
		return false, err
	}
	p := &presence{engine: e}
	defer p.leave()
	if err := p.keep(ctx); err != nil {
		return false, err
	}
	// Before the first job is begun: who is told of a repetition must be told in time.
	if err := e.rescue(ctx, p); err != nil {
		return false, err
	}
	stop, err := e.work(ctx)
	if err != nil {
		return false, err
	}
	timers := newTiming(e)
	e.enterState(Live, nil)
	e.tendUntil(ctx, p, timers)
	e.mu.Lock()
	e.ending = true
	e.mu.Unlock()
	timers.stop()
	return true, stop()
}

// work starts River's client. Stop returns when the jobs under way have ended.
func (e *Engine) work(ctx context.Context) (stop func() error, err error) {
	if len(e.kinds) == 0 {
		return func() error { return nil }, nil
	}
	client, err := river.NewClient(riverpgxv5.New(e.Pool), e.riverConfig())
	if err != nil {
		return nil, err
	}
	background := context.WithoutCancel(ctx) // ends with Stop
	if err := client.Start(background); err != nil {
		return nil, err
	}
	return func() error {
		// A job that does not notice is left behind. It comes again.
		ctx, cancel := context.WithTimeout(background, e.StopWithin+lastCall)
		defer cancel()
		return client.Stop(ctx)
	}, nil
}

func (e *Engine) riverConfig() *river.Config {
	c := &river.Config{
		ID: e.id, Schema: schema, Logger: quiet(e.Logger), Workers: river.NewWorkers(), Queues: make(map[string]river.QueueConfig),
		FetchOnlyKnownKinds: true, FetchCooldown: min(20*time.Millisecond, e.poll), FetchPollInterval: e.poll,
		MaxAttempts: endless, SoftStopTimeout: e.StopWithin,
		CompletedJobRetentionPeriod: keepDone, CancelledJobRetentionPeriod: keepDead, DiscardedJobRetentionPeriod: keepDead,
	}
	for _, d := range e.kinds {
		w := &worker{engine: e, definition: d}
		river.AddWorkerArgs(c.Workers, envelope{kind: d.name}, w)
		c.Queues[d.Queue] = river.QueueConfig{MaxWorkers: max(d.Workers, c.Queues[d.Queue].MaxWorkers)}
		c.JobTimeout = max(c.JobTimeout, w.Timeout(nil))
	}
	c.RescueStuckJobsAfter = c.JobTimeout + e.settle // of processes that live; see rescue
	return c
}

// tendUntil looks after everything until ctx ends.
func (e *Engine) tendUntil(ctx context.Context, p *presence, timers *timing) {
	tick := time.NewTicker(e.beat)
	defer tick.Stop()
	for beats := 0; ; beats++ {
		if err := e.tend(ctx, p, timers, beats%5 == 0); err != nil && ctx.Err() == nil {
			e.Logger.Warn("effects: interrupted, will try again", "error", err)
			e.enterState(Retrying, err)
		} else {
			e.enterState(Live, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *Engine) tend(ctx context.Context, p *presence, timers *timing, count bool) error {
	if err := p.keep(ctx); err != nil {
		timers.stop() // another process may have them now
		return err
	}
	if err := e.rescue(ctx, p); err != nil {
		return err
	}
	if err := e.heedCancellations(ctx); err != nil {
		return err
	}
	if p.first {
		if err := timers.tick(ctx); err != nil {
			return err
		}
	}
	if !count {
		return nil
	}
	counts, err := e.count(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.status.Counts = counts
	e.mu.Unlock()
	for _, c := range counts {
		e.Metrics.Counted(c)
	}
	return nil
}

// Status tells the condition of this process's engine.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}

func (e *Engine) enterState(s State, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.status.State != s {
		e.status.State, e.status.Since = s, time.Now()
	}
	e.status.Retry = ""
	if why != nil {
		e.status.Retry = why.Error()
	}
}

// stopping tells whether jobs end because the engine does.
func (e *Engine) stopping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ending
}

// enter notes a job as running here. Its context ends with the given one and
// when an operator cancels the job.
func (e *Engine) enter(ctx context.Context, row *rivertype.JobRow) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &activity{cancel: cancel}
	e.mu.Lock()
	e.active[row.ID] = a
	e.mu.Unlock()
	return ctx, func() {
		cancel(nil)
		e.mu.Lock()
		a.ended = time.Now()
		e.mu.Unlock()
	}
}

// heedCancellations ends the contexts of running jobs that operators cancelled.
func (e *Engine) heedCancellations(ctx context.Context) error {
	e.mu.Lock()
	var running []int64
	for id, a := range e.active {
		if a.ended.IsZero() {
			running = append(running, id)
		}
	}
	e.mu.Unlock()
	if len(running) == 0 {
		return nil
	}
	rows, err := e.Pool.Query(ctx, "select id from effects.river_job where id = any($1) and state = 'running' and metadata ? 'docket_cancel'", running)
	if err != nil {
		return err
	}
	cancelled, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range cancelled {
		if a := e.active[id]; a != nil {
			a.cancel(ErrCancelled)
		}
	}
	return nil
}

// remember adds to the notes of a job at once.
func (e *Engine) remember(ctx context.Context, id int64, n notes) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, buryWithin)
	defer cancel()
	_, err = e.Pool.Exec(ctx, "update effects.river_job set metadata = metadata || $2 where id = $1", id, data)
	return err
}

// sleep waits; its error is that of a context that ended before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
