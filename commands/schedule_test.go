package commands_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"docket/eventstore/memory"

	"github.com/stretchr/testify/require"
)

// A schedule decides who goes on at every use of the store: between two of them
// nothing that others could see happens. Writers run in a bubble whose clock
// stands still while somebody can go on, so that waiting costs nothing.

// fate is what happens to a writer at its next use of the store.
type fate int

const (
	goOn      fate = iota
	dieBefore      // its process is gone; nothing more of it reaches the log
	dieAfter       // as dieBefore, but this one use still got through
)

// choice lets one writer take one step.
type choice struct {
	writer int
	fate   fate
}

// script is what the writers of one run do, on a world made anew.
type script struct {
	writers []func(ctx context.Context)
	check   func(dead []bool)
}

type writer struct {
	ctx     context.Context
	go_     chan fate
	arrived chan struct{} // stands before a use of the store
	ended   chan struct{}
	waiting bool // arrived and not chosen yet
	done    bool
	dead    bool
}

type writerKey struct{}

// play runs a script and returns what its check found. pick chooses among the
// writers that can go on.
func play(t *testing.T, setup func(w *world) script, pick func(enabled []int) choice) (found error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		c := &collector{}
		defer func() {
			if p := recover(); p != nil && p != any(c) {
				panic(p)
			}
			found = c.err
		}()
		w := &world{T: c, store: memory.New()}
		w.store.SetHook(stand)
		s := setup(w)
		writers := make([]*writer, len(s.writers))
		defer w.store.SetHook(nil)
		for i, act := range s.writers {
			writers[i] = start(act)
		}
		for enabled := settle(w.T, writers); len(enabled) > 0; enabled = settle(w.T, writers) {
			c := pick(enabled)
			step(writers[c.writer], c.fate)
		}
		w.store.SetHook(nil)
		dead := make([]bool, len(writers))
		for i, r := range writers {
			dead[i] = r.dead
		}
		s.check(dead)
	})
	return found
}

// collector keeps the first failure of a check instead of failing a test, so
// that the schedule can be told, or made smaller.
type collector struct{ err error }

func (c *collector) Helper() {}
func (c *collector) Errorf(format string, args ...any) {
	c.err = errors.Join(c.err, fmt.Errorf(format, args...))
}
func (c *collector) FailNow() { panic(c) }

func start(act func(ctx context.Context)) *writer {
	r := &writer{go_: make(chan fate), arrived: make(chan struct{}, 1), ended: make(chan struct{})}
	r.ctx = context.WithValue(context.Background(), writerKey{}, r)
	go func() {
		defer close(r.ended)
		r.stand() // also before its first step
		act(r.ctx)
	}()
	r.look(time.Second)
	return r
}

// stand is the store's hook: it waits to be chosen.
func stand(ctx context.Context, _ memory.Call) memory.Verdict {
	r := writerOf(ctx)
	if r == nil {
		return memory.Pass
	}
	if r.dead {
		return memory.Drop
	}
	switch r.stand() {
	case dieBefore:
		r.dead = true
		return memory.Drop
	case dieAfter:
		r.dead = true
		return memory.LoseAnswer
	}
	return memory.Pass
}

func writerOf(ctx context.Context) *writer {
	r, _ := ctx.Value(writerKey{}).(*writer)
	return r
}

func (r *writer) stand() fate {
	r.arrived <- struct{}{}
	return <-r.go_
}

// step lets a writer go on until it stands again, ends or waits for another.
func step(r *writer, f fate) {
	r.waiting = false
	r.go_ <- f
	r.look(time.Second)
}

// look notes where a writer stands. The clock moves only while nobody can, so
// that a nanosecond is enough for one who can, and a second for one who pauses.
func (r *writer) look(patience time.Duration) {
	if r.done || r.waiting {
		return
	}
	select {
	case <-r.arrived:
		r.waiting = true
	case <-r.ended:
		r.done = true
	case <-time.After(patience): // it waits for somebody who was not chosen
	}
}

// settle returns who can go on. Nobody means that all are done.
func settle(t testingT, writers []*writer) []int {
	for _, patience := range []time.Duration{1, time.Second} {
		var enabled []int
		done := 0
		for i, r := range writers {
			r.look(patience)
			if r.waiting {
				enabled = append(enabled, i)
			}
			if r.done {
				done++
			}
		}
		if len(enabled) > 0 || done == len(writers) {
			return enabled
		}
	}
	require.Fail(t, "nobody can go on")
	return nil
}

// limits bound an exploration.
type limits struct {
	switches int   // from a writer that could go on to another
	deaths   int   // of writers
	most     int   // schedules; more is a failure, so that nothing is left out silently
	mortal   []int // writers that may die; nil means all
}

// explore plays every schedule within the limits, each once.
func explore(t *testing.T, l limits, setup func(w *world) script) {
	t.Helper()
	played := 0
	var from func(prefix []choice)
	from = func(prefix []choice) {
		played++
		require.LessOrEqual(t, played, l.most, "more schedules than expected")
		var made []choice
		var enabled [][]int
		err := play(t, setup, func(who []int) choice {
			c := choice{writer: who[0]}
			if n := len(made); n < len(prefix) && slices.Contains(who, prefix[n].writer) {
				c = prefix[n]
			} else if n > 0 && slices.Contains(who, made[n-1].writer) {
				c.writer = made[n-1].writer
			}
			made, enabled = append(made, c), append(enabled, who)
			return c
		})
		require.NoError(t, err, "schedule %v", made)
		for at := len(prefix); at < len(made); at++ {
			for _, i := range enabled[at] {
				for _, f := range []fate{goOn, dieBefore, dieAfter} {
					c := choice{i, f}
					next := append(slices.Clone(made[:at]), c)
					if c != made[at] && l.allow(next, enabled) {
						from(next)
					}
				}
			}
		}
	}
	from(nil)
	t.Logf("%d schedules", played)
}

func (l limits) allow(made []choice, enabled [][]int) bool {
	switches, deaths := 0, 0
	for i, c := range made {
		if c.fate != goOn {
			deaths++
			if l.mortal != nil && !slices.Contains(l.mortal, c.writer) {
				return false
			}
		}
		if i > 0 && c.writer != made[i-1].writer && slices.Contains(enabled[i], made[i-1].writer) {
			switches++
		}
	}
	return switches <= l.switches && deaths <= l.deaths
}
