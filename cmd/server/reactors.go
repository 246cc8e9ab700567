package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"docket/commands/reactors"
	"docket/commands/reactors/cascade"
	"docket/internal/config"
	"docket/internal/httpx"
	"docket/readapi/access"

	"github.com/prometheus/client_golang/prometheus"
)

// openReactors makes what acts upon events, in processes that have the role.
func (s *Server) openReactors() error {
	if !s.config.Roles.Has(config.Reactors) {
		return nil
	}
	var err error
	s.reactors, err = reactors.NewEngine(reactors.Config{
		Store: s.stores.log, Codec: s.codec, Pool: s.pools.Main, Logger: s.log, Metrics: newReactorMetrics(s.tel.Metrics),
		Reactors: cascade.Reactors(cascade.Config{Bus: s.bus, Models: s.engine, Work: access.NewContents(s.pools.List)}),
	})
	return err
}

// runReactors works until ctx ends.
func (s *Server) runReactors(ctx context.Context) {
	if s.reactors == nil {
		return
	}
	if err := s.reactors.Run(ctx); err != nil {
		s.log.Error("reactors ended", "error", err)
	}
}

// Reactors tells the condition of the reactors of this process.
func (s *Server) Reactors() []reactors.Status {
	if s.reactors == nil {
		return nil
	}
	return s.reactors.Status()
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
