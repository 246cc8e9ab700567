package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"docket/commands/effects"
	"docket/domain"
	"docket/internal/config"
	"docket/internal/httpx"
	"docket/readapi/admin"
	writeadmin "docket/writeapi/admin"

	"github.com/prometheus/client_golang/prometheus"
)

// openEffects makes what runs jobs and timers. Processes without the role do not
// run it, but operators can look after jobs through them, too.
func (s *Server) openEffects() error {
	process, err := s.processName()
	if err != nil {
		return err
	}
	s.effects, err = effects.NewEngine(effects.Config{
		Pool: s.pools.Main, Process: process, Logger: s.log, Metrics: newEffectMetrics(s.tel.Metrics),
		Kinds:  slices.Concat(s.printing.Kinds(), s.userSync.Kinds()),
		Timers: slices.Concat(s.printing.Timers(), s.userSync.Timers()),
	})
	return err
}

// runEffects works until ctx ends.
func (s *Server) runEffects(ctx context.Context) {
	if !s.config.Roles.Has(config.Reactors) {
		return
	}
	if err := s.effects.Run(ctx); err != nil {
		s.log.Error("effects ended", "error", err)
	}
}

// effectsCheck shows the jobs in the readiness report. Dead ones keep nobody from
// being served, so they are no reason not to be ready.
func (s *Server) effectsCheck() httpx.Check {
	return httpx.Check{Name: "effects", Run: func(context.Context) (string, error) {
		if !s.config.Roles.Has(config.Reactors) {
			return "", nil
		}
		st := s.effects.Status()
		parts := []string{string(st.State)}
		for _, c := range st.Counts {
			if c.Waiting+c.Running+c.Dead > 0 {
				parts = append(parts, fmt.Sprintf("%s %d waiting %d running %d dead", c.Kind, c.Waiting, c.Running, c.Dead))
			}
		}
		return strings.Join(parts, ", "), nil
	}}
}

// watchedJobs are the jobs as operators see them.
type watchedJobs struct{ engine *effects.Engine }

var (
	_ admin.Jobs      = watchedJobs{}
	_ writeadmin.Jobs = watchedJobs{}
)

// Jobs implements admin.Jobs.
func (w watchedJobs) Jobs(ctx context.Context, f admin.JobFilter) ([]admin.Job, error) {
	jobs, err := w.engine.Jobs(ctx, effects.Filter{State: effects.JobState(f.State), Kind: f.Kind, Event: f.Event, Tenants: visible(ctx), Before: f.Before, Limit: f.Limit})
	list := make([]admin.Job, len(jobs))
	for i, j := range jobs {
		list[i] = jobOf(j)
	}
	return list, err
}

// Job implements admin.Jobs.
func (w watchedJobs) Job(ctx context.Context, id int64) (admin.Job, error) {
	j, err := w.engine.Job(ctx, id, visible(ctx))
	return jobOf(j), err
}

// RetryJob implements the administration API's Jobs.
func (w watchedJobs) RetryJob(ctx context.Context, id int64) error {
	if _, err := w.Job(ctx, id); err != nil {
		return err
	}
	return w.engine.Retry(ctx, id)
}

// CancelJob implements the administration API's Jobs.
func (w watchedJobs) CancelJob(ctx context.Context, id int64) error {
	if _, err := w.Job(ctx, id); err != nil {
		return err
	}
	actor, _ := domain.ActorOf(ctx) // a permission was asked for
	return w.engine.Cancel(ctx, id, actor.UserID.String())
}

// visible are the organizations whose jobs the caller sees; nil: all.
func visible(ctx context.Context) []domain.ID {
	actor, _ := domain.ActorOf(ctx)
	if actor.Unrestricted {
		return nil
	}
	return append([]domain.ID{}, actor.Organizations...)
}

func jobOf(j effects.JobInfo) admin.Job {
	job := admin.Job{ID: j.ID, Kind: j.Kind, State: string(j.State), EventID: j.Event, OrganizationID: j.Tenant, Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, Run: j.Run,
		CreatedAt: j.CreatedAt.UTC(), StartedAt: whenever(j.StartedAt), EndedAt: whenever(j.EndedAt), Error: j.Error, Cancelling: j.Cancelling}
	if j.State == effects.Waiting || j.State == effects.Again {
		job.DueAt = whenever(j.DueAt)
	}
	return job
}

// whenever is a time that may be none.
func whenever(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// effectMetrics are the figures of jobs and timers.
type effectMetrics struct {
	attempts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	jobs     *prometheus.GaugeVec
	oldest   *prometheus.GaugeVec
	timers   *prometheus.HistogramVec
}

func newEffectMetrics(r prometheus.Registerer) *effectMetrics {
	buckets := prometheus.ExponentialBuckets(.005, 4, 10)
	m := &effectMetrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "docket_effect_attempts_total", Help: "Attempts at jobs by this process: done, failed, unavailable, interrupted, dead or cancelled."}, []string{"kind", "result"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "docket_effect_seconds", Help: "Time of an attempt at a job.", Buckets: buckets}, []string{"kind"}),
		jobs:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "docket_effect_jobs", Help: "Jobs of all processes that are waiting, running or dead."}, []string{"kind", "state"}),
		oldest:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "docket_effect_oldest_seconds", Help: "Age of the oldest job of all processes that is waiting or running."}, []string{"kind"}),
		timers:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "docket_effect_timer_seconds", Help: "Time of a timer's run, done or failed.", Buckets: buckets}, []string{"timer", "result"}),
	}
	r.MustRegister(m.attempts, m.seconds, m.jobs, m.oldest, m.timers)
	return m
}

// AttemptEnded implements effects.Metrics.
func (m *effectMetrics) AttemptEnded(kind, result string, took time.Duration) {
	m.attempts.WithLabelValues(kind, result).Inc()
	m.seconds.WithLabelValues(kind).Observe(took.Seconds())
}

// TimerEnded implements effects.Metrics.
func (m *effectMetrics) TimerEnded(timer string, well bool, took time.Duration) {
	result := effects.ResultDone
	if !well {
		result = effects.ResultFailed
	}
	m.timers.WithLabelValues(timer, result).Observe(took.Seconds())
}

// Counted implements effects.Metrics.
func (m *effectMetrics) Counted(c effects.Count) {
	m.jobs.WithLabelValues(c.Kind, "waiting").Set(float64(c.Waiting))
	m.jobs.WithLabelValues(c.Kind, "running").Set(float64(c.Running))
	m.jobs.WithLabelValues(c.Kind, "dead").Set(float64(c.Dead))
	m.oldest.WithLabelValues(c.Kind).Set(c.Oldest.Seconds())
}
