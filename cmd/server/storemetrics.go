package server

import (
	"errors"
	"time"

	"docket/eventstore"

	"github.com/prometheus/client_golang/prometheus"
)

// storeMetrics are the figures of the event store: of appends as they are answered, and of the connection and the
// embedded store as they are when asked for.
type storeMetrics struct {
	appends *prometheus.HistogramVec
	stores  *stores // nil until they are open
	read    []storeFigure
}

// storeFigure is a figure that is read when asked for.
type storeFigure struct {
	desc     *prometheus.Desc
	kind     prometheus.ValueType
	embedded bool // of the embedded store only
	value    func(*stores) float64
}

func newStoreMetrics(r prometheus.Registerer) *storeMetrics {
	m := &storeMetrics{appends: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "docket_eventstore_append_seconds", Help: "Time of an append with all its repetitions.", Buckets: prometheus.ExponentialBuckets(.0005, 2, 15),
	}, []string{"result"})}
	add := func(name, help string, kind prometheus.ValueType, embedded bool, value func(*stores) float64) {
		m.read = append(m.read, storeFigure{prometheus.NewDesc("docket_eventstore_"+name, help, nil, nil), kind, embedded, value})
	}
	add("connected", "1 while a connection to the event store stands.", prometheus.GaugeValue, false, func(s *stores) float64 { return truth(s.log.Stats().Connected) })
	add("calls", "Calls to the event store under way.", prometheus.GaugeValue, false, func(s *stores) float64 { return float64(s.log.Stats().InFlight) })
	add("reconnects_total", "Connections made after the first.", prometheus.CounterValue, false, func(s *stores) float64 { return float64(s.log.Stats().Reconnects) })
	add("retries_total", "Calls repeated after an error.", prometheus.CounterValue, false, func(s *stores) float64 { return float64(s.log.Stats().Retries) })
	add("shared_appends_total", "Appends that shared one call.", prometheus.CounterValue, false, func(s *stores) float64 { return float64(s.log.Stats().Batched) })
	add("events", "Events in the embedded store.", prometheus.GaugeValue, true, func(s *stores) float64 { return float64(s.embedded.Log().Stats().Events) })
	add("disk_bytes", "Disk space that the embedded store takes.", prometheus.GaugeValue, true, func(s *stores) float64 { return float64(s.embedded.Log().Stats().DiskBytes) })
	add("disk_full", "1 while the embedded store refuses writes because its disk is full.", prometheus.GaugeValue, true, func(s *stores) float64 { return truth(s.embedded.Log().Stats().Full) })
	add("corruptions_total", "Damaged blocks that the embedded store has met since the start.", prometheus.CounterValue, true, func(s *stores) float64 { return float64(s.embedded.Log().Stats().Corruptions) })
	r.MustRegister(m.appends)
	return m
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// watch adds what can be read once the stores are open.
func (m *storeMetrics) watch(r prometheus.Registerer, s *stores) {
	m.stores = s
	r.MustRegister(m)
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, f := range m.read {
		out <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(out chan<- prometheus.Metric) {
	for _, f := range m.read {
		if !f.embedded || m.stores.embedded != nil {
			out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(m.stores))
		}
	}
}

// appended takes note of an append.
func (m *storeMetrics) appended(took time.Duration, err error) {
	result := "written"
	switch {
	case errors.As(err, new(*eventstore.WrongRevision)):
		result = "conflict"
	case errors.Is(err, eventstore.ErrUnavailable):
		result = "unavailable"
	case err != nil:
		result = "refused"
	}
	m.appends.WithLabelValues(result).Observe(took.Seconds())
}
