package server

import (
	"time"

	"docket/projections"

	"github.com/prometheus/client_golang/prometheus"
)

// projectionMetrics are the figures of the read models.
type projectionMetrics struct {
	events, rows *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	age          *prometheus.GaugeVec
	state        *prometheus.GaugeVec
}

func newProjectionMetrics(r prometheus.Registerer) *projectionMetrics {
	by := []string{"group"}
	m := &projectionMetrics{
		events:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "docket_projection_events_total", Help: "Events folded into read models."}, by),
		rows:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "docket_projection_rows_total", Help: "Rows written to read models."}, by),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "docket_projection_batch_seconds", Help: "Time of one transaction.", Buckets: prometheus.ExponentialBuckets(.0005, 2, 14)}, by),
		age:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "docket_projection_latency_seconds", Help: "Age of the newest event of the last transaction when it was committed."}, by),
		state:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "docket_projection_state", Help: "1 for the state that a group is in."}, []string{"group", "state"}),
	}
	r.MustRegister(m.events, m.rows, m.seconds, m.age, m.state)
	return m
}

// BatchCommitted implements projections.Metrics.
func (m *projectionMetrics) BatchCommitted(group string, events, rows int, took time.Duration, newest time.Time) {
	m.events.WithLabelValues(group).Add(float64(events))
	m.rows.WithLabelValues(group).Add(float64(rows))
	m.seconds.WithLabelValues(group).Observe(took.Seconds())
	if !newest.IsZero() {
		m.age.WithLabelValues(group).Set(time.Since(newest).Seconds())
	}
}

// StateChanged implements projections.Metrics.
func (m *projectionMetrics) StateChanged(group string, state projections.State) {
	m.state.DeletePartialMatch(prometheus.Labels{"group": group})
	m.state.WithLabelValues(group, string(state)).Set(1)
}
