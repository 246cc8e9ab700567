package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"docket/commands/reactors"
	"docket/commands/reactors/cascade"
	"docket/domain"
	"docket/domain/fault"
	"docket/internal/config"
	"docket/internal/httpx"
	"docket/readapi/access"
	"docket/readapi/admin"
	writeadmin "docket/writeapi/admin"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// openReactors makes what acts upon events. Processes without the role do not
// run it, but operators can see and skip through them, too.
func (s *Server) openReactors() error {
	var err error
	s.reactors, err = reactors.NewEngine(reactors.Config{
		Store: s.stores.log, Codec: s.codec, Pool: s.pools.Main, Logger: s.log, Metrics: newReactorMetrics(s.tel.Metrics), Prepare: s.effects.Prepare,
		Reactors: slices.Concat(cascade.Reactors(cascade.Config{Bus: s.bus, Models: s.engine, Work: access.NewContents(s.pools.List)}),
			s.printing.Reactors(), s.userSync.Reactors()),
	})
	return err
}

// runReactors works until ctx ends.
func (s *Server) runReactors(ctx context.Context) {
	if !s.config.Roles.Has(config.Reactors) {
		return
	}
	if err := s.reactors.Run(ctx); err != nil {
		s.log.Error("reactors ended", "error", err)
	}
}

// Reactors tells the condition of the reactors that this process runs.
func (s *Server) Reactors() []reactors.Status {
	if !s.config.Roles.Has(config.Reactors) {
		return nil
	}
	return s.reactors.Status()
}

// watchedReactors are the reactors as operators see them.
type watchedReactors struct {
	engine *reactors.Engine
	runs   bool // in this process
}

var (
	_ admin.Reactors      = watchedReactors{}
	_ writeadmin.Reactors = watchedReactors{}
)

// Reactors implements admin.Reactors.
func (w watchedReactors) Reactors(ctx context.Context) ([]admin.Reactor, error) {
	all, err := w.engine.Overview(ctx)
	list := make([]admin.Reactor, len(all))
	for i, st := range all {
		list[i] = admin.Reactor{Name: st.Reactor, State: string(st.State), Since: st.Since.UTC(), Position: int64(st.Position), Retry: st.Retry}
		if !w.runs {
			list[i].State = "elsewhere"
		}
		if f := st.Failure; f != nil {
			list[i].State = string(reactors.Stopped)
			list[i].Failure = &admin.Failure{EventID: &f.EventID, EventType: f.EventType, Stream: f.Stream, Revision: int64(f.Revision), Position: int64(f.Position),
				Error: f.Error, At: f.At.UTC()}
		}
	}
	return list, err
}

// SkipEvent implements the administration API's Reactors.
func (w watchedReactors) SkipEvent(ctx context.Context, reactor string, event uuid.UUID, reason string) error {
	if !slices.ContainsFunc(w.engine.Reactors, func(r reactors.Reactor) bool { return r.Name == reactor }) {
		return fault.Missing("reactor", reactor)
	}
	actor, _ := domain.ActorOf(ctx) // a permission was asked for
	err := w.engine.Skip(ctx, reactor, event, actor.UserID.String(), reason)
	if errors.Is(err, reactors.ErrNotStopped) {
		return fault.New(fault.Conflict, "reactor.not-stopped", "reactor %s is not stopped at event %s", reactor, event).Because(err)
	}
	return err
}

// reactorsCheck shows the reactors in the readiness report. One that stopped
// keeps nobody from being served, so it is no reason not to be ready.
func (s *Server) reactorsCheck() httpx.Check {
	return httpx.Check{Name: "reactors", Run: func(context.Context) (string, error) {
		var states []string
		for _, st := range s.Reactors() {
			states = append(states, fmt.Sprintf("%s %s", st.Reactor, st.State))
		}
		return strings.Join(states, ", "), nil
	}}
}

// reactorMetrics are the figures of the reactors.
type reactorMetrics struct {
	seconds *prometheus.HistogramVec
	age     *prometheus.GaugeVec
	state   *prometheus.GaugeVec
}

func newReactorMetrics(r prometheus.Registerer) *reactorMetrics {
	by := []string{"reactor"}
	m := &reactorMetrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "docket_reactor_event_seconds", Help: "Time to handle an event, with all tries.", Buckets: prometheus.ExponentialBuckets(.0005, 4, 9)}, by),
		age:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "docket_reactor_latency_seconds", Help: "Age of the last event when it was done."}, by),
		state:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "docket_reactor_state", Help: "1 for the state that a reactor is in."}, []string{"reactor", "state"}),
	}
	r.MustRegister(m.seconds, m.age, m.state)
	return m
}

// EventHandled implements reactors.Metrics.
func (m *reactorMetrics) EventHandled(reactor string, took time.Duration, recorded time.Time) {
	m.seconds.WithLabelValues(reactor).Observe(took.Seconds())
	m.age.WithLabelValues(reactor).Set(time.Since(recorded).Seconds())
}

// StateChanged implements reactors.Metrics.
func (m *reactorMetrics) StateChanged(reactor string, state reactors.State) {
	m.state.DeletePartialMatch(prometheus.Labels{"reactor": reactor})
	m.state.WithLabelValues(reactor, string(state)).Set(1)
}
