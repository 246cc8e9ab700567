package effects

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"docket/commands"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Timer is something done again and again.
type Timer struct {
	name     string
	interval time.Duration
	run      func(ctx context.Context, now time.Time) error
}

// Every declares a timer. It runs at once when it never ran, and then whenever
// the interval has passed, in one process at a time. Due times that passed while
// no process was there, or during a long run, are made up for by one run. An error is
// logged and tried again soon. After a crash a run may come again.
//
// The context carries a request of its own (the same for the same due time) and
// no actor: commands need domain.System with the tenant they work in.
// It panics on a mistake in the declaration.
func Every(name string, interval time.Duration, run func(ctx context.Context, now time.Time) error) Timer {
	if !wellNamed.MatchString(name) || interval <= 0 || run == nil {
		panic("effects: a timer needs a name, an interval and something to run: " + name)
	}
	return Timer{name, interval, run}
}

// soon is how long a timer waits after an error, doubled up to its interval.
const soon = time.Second

// timing runs the timers while this process is the first.
type timing struct {
	engine  *Engine
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	state map[string]*timerState
}

type timerState struct {
	busy   bool
	failed int       // in a row
	again  time.Time // not before
}

func newTiming(e *Engine) *timing { return &timing{engine: e, state: make(map[string]*timerState)} }

// stop ends the contexts of the runs under way and waits for them.
func (t *timing) stop() {
	if t.cancel != nil {
		t.cancel()
		t.running.Wait()
		t.ctx, t.cancel = nil, nil
	}
}

// tick starts what is due.
func (t *timing) tick(ctx context.Context) error {
	if len(t.engine.Timers) == 0 {
		return nil
	}
	if t.ctx == nil {
		t.ctx, t.cancel = context.WithCancel(ctx)
	}
	// Who is idle is asked first: what a run that ends meanwhile was due for is due no more.
	idle := t.idle(time.Now())
	due, err := t.due(ctx, idle)
	if err != nil {
		return err
	}
	for _, timer := range idle {
		if at, is := due[timer.name]; is {
			t.mu.Lock()
			t.state[timer.name].busy = true
			t.mu.Unlock()
			t.running.Go(func() { t.run(timer, at) })
		}
	}
	return nil
}

// idle are the timers that neither run nor have to wait after an error.
func (t *timing) idle(now time.Time) []Timer {
	t.mu.Lock()
	defer t.mu.Unlock()
	var idle []Timer
	for _, timer := range t.engine.Timers {
		s := t.state[timer.name]
		if s == nil {
			s = &timerState{}
			t.state[timer.name] = s
		}
		if !s.busy && !now.Before(s.again) {
			idle = append(idle, timer)
		}
	}
	return idle
}

// due are those of the timers that are due, and since when. One without a place
// in the table is due now, one whose interval was shortened, too.
func (t *timing) due(ctx context.Context, of []Timer) (map[string]time.Time, error) {
	names, intervals := make([]string, len(of)), make([]float64, len(of))
	for i, timer := range of {
		names[i], intervals[i] = timer.name, timer.interval.Seconds()
	}
	rows, err := t.engine.Pool.Query(ctx, `with known as (
		insert into effects.timer as t (name, due) select name, now() from unnest($1::text[]) as name
		on conflict (name) do nothing
		returning name, due)
	select name, due from known
	union all
	select t.name, t.due from effects.timer t join unnest($1::text[], $2::float8[]) as w(name, seconds) on w.name = t.name
	where t.due <= now() or t.due > now() + make_interval(secs => w.seconds)`, names, intervals)
	if err != nil {
		return nil, err
	}
	due := make(map[string]time.Time)
	var name string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &at}, func() error {
		due[name] = at
		return nil
	})
	return due, err
}

// run runs a timer once and says when it is due next.
func (t *timing) run(timer Timer, due time.Time) {
	begun := time.Now()
	err := t.attempt(timer, due, begun)
	t.engine.Metrics.TimerEnded(timer.name, err == nil, time.Since(begun))
	if err == nil {
		err = t.done(timer, due)
	} else if t.ctx.Err() == nil {
		t.engine.Logger.Error("effects: a timer failed, it will be tried again", "timer", timer.name, "error", err)
		_, _ = t.engine.Pool.Exec(t.ctx, "update effects.timer set error = $2 where name = $1", timer.name, text(err)) // for the eye only
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.state[timer.name]
	s.busy = false
	if err == nil {
		s.failed, s.again = 0, time.Time{}
		return
	}
	s.failed++
	s.again = time.Now().Add(Exponential(soon, max(soon, timer.interval))(s.failed))
}

// attempt runs a timer with a request that its due time fixes.
func (t *timing) attempt(timer Timer, due, now time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.engine.Logger.Error("effects: a timer panicked", "timer", timer.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	id := uuid.NewSHA1(timers, fmt.Appendf(nil, "%s/%d", timer.name, due.UnixMicro()))
	return timer.run(commands.WithRequest(t.ctx, &commands.Request{
		ID: id, Now: now.UTC().Truncate(precision), IDTime: due.UTC(), Retry: true, Dialect: "system",
	}), now)
}

// timers is the name space of the ids of their requests.
var timers = uuid.MustParse("6a2c6c0e-6d0f-4d0b-9a57-3f2f1f6f0c11")

// done stores that a timer ran, unless another process did meanwhile. It is due
// next at the first time in its rhythm that is still to come. Only Postgres' clock counts.
func (t *timing) done(timer Timer, due time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), talkWithin)
	defer cancel()
	_, err := t.engine.Pool.Exec(ctx, `update effects.timer set ran_at = now(), error = '', due = least(now() + make_interval(secs => $3),
			due + make_interval(secs => $3 * (1 + greatest(0, floor(extract(epoch from now() - due)::float8 / $3)))))
		where name = $1 and due = $2`, timer.name, due, timer.interval.Seconds())
	return err
}
