package projections

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"docket/eventstore"
	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
)

// pollInterval is the safety net under notifications from other processes. It
// only polls while somebody waits.
const pollInterval = 50 * time.Millisecond

// firstAsk is after what time somebody who waits looks into the log for what keeps
// a group from a position, and then again after twice as long each time. Mostly
// that is nothing: a filtered subscription tells of events of no concern only when
// thousands of them have gone by.
const firstAsk = 500 * time.Millisecond

// gate tells waiters how far a group's tables are.
type gate struct {
	mu       sync.Mutex
	position eventstore.Position
	hopeless bool // the position will not move soon
	changed  chan struct{}
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// set changes the gate under its lock and wakes the waiters if it changed.
func (g *gate) set(change func() bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if change() {
		close(g.changed)
		g.changed = make(chan struct{})
	}
}

func (g *gate) advance(to eventstore.Position) {
	g.set(func() bool {
		if to <= g.position {
			return false
		}
		g.position = to
		return true
	})
}

func (g *gate) giveUp(hopeless bool) {
	g.set(func() bool {
		changed := g.hopeless != hopeless
		g.hopeless = hopeless
		return changed
	})
}

func (g *gate) look() (eventstore.Position, bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.position, g.hopeless, g.changed
}

// Await blocks until all groups that handle one of the event types, but for
// Background ones, have committed everything up to a position, and tells whether they have. It is
// false when ctx ends before, and at once when a group cannot get there: it is
// stopped, or its tables stand still until a changed version is built.
func (e *Engine) Await(ctx context.Context, position eventstore.Position, eventTypes []string) bool {
	for _, r := range e.runners {
		for _, eventType := range eventTypes {
			if r.group.Handles(eventType) && !r.group.background {
				if !e.awaitGroup(ctx, r, position) {
					return false
				}
				break
			}
		}
	}
	return true
}

func (e *Engine) awaitGroup(ctx context.Context, r *runner, position eventstore.Position) bool {
	var poll <-chan time.Time
	var ask *time.Timer
	for pause := firstAsk; ; {
		at, hopeless, changed := r.gate.look()
		if at >= position {
			return true
		}
		if hopeless {
			return false
		}
		if poll == nil && !r.owner.Load() {
			ticker := time.NewTicker(pollInterval)
			defer ticker.Stop()
			poll = ticker.C
		}
		if ask == nil {
			ask = time.NewTimer(pause)
			defer ask.Stop()
		}
		select {
		case <-changed:
		case <-ask.C:
			if r.nothingBetween(ctx, at, position, pause) {
				return true
			}
			pause *= 2
			ask.Reset(pause)
		case <-ctx.Done():
			return false
		case <-poll:
			e.poll(ctx)
		}
	}
}

// nothingBetween tells whether the log has nothing for the group after one
// position and up to another. It is false when that is not known in time.
func (r *runner) nothingBetween(ctx context.Context, after, to eventstore.Position, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for e, err := range r.engine.Store.ReadAll(ctx, after, r.group.filter) {
		switch {
		case err != nil, e.Position <= to:
			return false
		case e.Position > to:
			return true
		}
	}
	return true
}

// poll reads all checkpoints, unless somebody just did or is about it: nobody
// waits longer for the database than for the position.
func (e *Engine) poll(ctx context.Context) {
	if !e.polling.TryLock() {
		return
	}
	defer e.polling.Unlock()
	if time.Since(e.polled) < pollInterval/2 {
		return
	}
	// An error is the owners' to report; waiting goes on.
	if err := e.readPositions(ctx, e.Pool); err != nil {
		e.Logger.Debug("projections: polling checkpoints", "error", err)
	}
	e.polled = time.Now()
}

// readPositions learns from the database how far groups of other processes are.
func (e *Engine) readPositions(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, `select c.group_name, c.position, f.group_name is not null
		from docket_projections.checkpoints c left join docket_projections.failures f using (group_name)`)
	if err != nil {
		return err
	}
	var name string
	var position eventstore.Position
	var failed bool
	_, err = pgx.ForEachRow(rows, []any{&name, &position, &failed}, func() error {
		if r := e.runners[name]; r != nil && !r.owner.Load() {
			r.gate.advance(position)
			r.gate.giveUp(failed)
		}
		return nil
	})
	return err
}

// announcement is the payload that tells other processes of a commit; the
// advance function sends the same.
func announcement(group string, position eventstore.Position) string {
	return fmt.Sprintf("at %s %d", group, position)
}

// wakeUp is the payload that tells a stopped group to try again.
func wakeUp(group string) string { return "wake " + group }

// listen follows what other processes announce until ctx ends.
func (e *Engine) listen(ctx context.Context) {
	wait := newBackoff()
	for ctx.Err() == nil {
		err := e.listenOnce(ctx, wait.Reset)
		if ctx.Err() == nil {
			e.Logger.Warn("projections: listening for other processes was interrupted", "error", err)
			sleep(ctx, wait.NextBackOff())
		}
	}
}

func (e *Engine) listenOnce(ctx context.Context, connected func()) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if err := createMetadata(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
		return err
	}
	if err := e.readPositions(ctx, conn); err != nil { // what was missed until now
		return err
	}
	connected()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		e.heard(strings.Fields(n.Payload))
	}
}

func (e *Engine) heard(words []string) {
	if len(words) < 2 || e.runners[words[1]] == nil {
		return
	}
	r := e.runners[words[1]]
	switch {
	case words[0] == "wake":
		r.wakeUp()
	case words[0] == "at" && len(words) == 3 && !r.owner.Load():
		if position, err := strconv.ParseUint(words[2], 10, 64); err == nil {
			r.gate.advance(eventstore.Position(position))
			r.gate.giveUp(false)
		}
	}
}

// newBackoff waits longer and longer between attempts, for ever, but never so
// long that recovery would be noticed late.
func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
}

// sleep waits, or less when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
