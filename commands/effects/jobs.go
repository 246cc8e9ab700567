package effects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/fault"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
)

// JobState is where a job is.
type JobState string

const (
	Waiting   JobState = "waiting"   // for a worker or a store
	Again     JobState = "retrying"  // for another attempt, after one that failed
	Running   JobState = "running"   // now
	Done      JobState = "done"      // kept for a week
	Dead      JobState = "dead"      // given up, and that is recorded; kept for 90 days
	Cancelled JobState = "cancelled" // by an operator; kept for 90 days
)

// JobStates are all of them.
func JobStates() []JobState { return []JobState{Waiting, Again, Running, Done, Dead, Cancelled} }

// conditions tell the states of River's rows. What failed once is retrying until
// it runs, however River has it wait.
var conditions = map[JobState]string{
	Waiting:   "(state in ('available', 'scheduled', 'pending') and not " + failed + ")",
	Again:     "(state = 'retryable' or state in ('available', 'scheduled', 'pending') and " + failed + ")",
	Running:   "state = 'running'",
	Done:      "state = 'completed'",
	Dead:      "state = 'discarded'",
	Cancelled: "state = 'cancelled'",
}

const failed = "(attempt > coalesce((metadata->>'docket_base')::int, 0) and coalesce(metadata->>'docket_waiting', '') = '')"

// JobInfo is a job as operators see it.
type JobInfo struct {
	ID          int64
	Kind        string
	State       JobState
	Event       uuid.UUID // that led to it
	Tenant      domain.ID // of the event
	Attempt     int       // of the run
	MaxAttempts int       // 0 for a kind that this program does not know
	Run         int       // from 1
	CreatedAt   time.Time
	DueAt       time.Time // when it runs next, if it does
	StartedAt   time.Time // zero: never
	EndedAt     time.Time // zero: not yet
	Error       string    // of the last attempt that failed, or what it waits for
	Cancelling  bool      // an operator wants it cancelled
}

// Filter selects jobs. Zero values select all.
type Filter struct {
	State   JobState
	Kind    string
	Event   uuid.UUID
	Tenants []domain.ID // nil: all
	Before  int64       // only jobs with lower ids: the last of the page before
	Limit   int         // at most; default 100
}

// Jobs lists jobs, newest first.
func (e *Engine) Jobs(ctx context.Context, f Filter) ([]JobInfo, error) {
	if err := e.Prepare(ctx); err != nil {
		return nil, err
	}
	var where []string
	var args []any
	add := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args))))
	}
	if f.State != "" {
		condition, known := conditions[f.State]
		if !known {
			return nil, fault.InvalidQuery("state", "is no state of a job")
		}
		where = append(where, condition)
	}
	if f.Kind != "" {
		add("kind = ?", f.Kind)
	}
	if f.Event != uuid.Nil {
		add("args @> ?::jsonb", fmt.Sprintf(`{"event": %q}`, f.Event))
	}
	if f.Tenants != nil {
		add("(args->>'tenant')::uuid = any(?)", f.Tenants)
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	sql := "select " + jobColumns + " from effects.river_job"
	if len(where) > 0 {
		sql += " where " + strings.Join(where, " and ")
	}
	rows, err := e.Pool.Query(ctx, sql+" order by id desc limit "+strconv.Itoa(f.Limit), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, e.scan)
}

const jobColumns = "id, kind, state::text, args, attempt, created_at, scheduled_at, attempted_at, finalized_at, metadata, to_jsonb(errors[array_upper(errors, 1)])"

func (e *Engine) scan(row pgx.CollectableRow) (JobInfo, error) {
	var j JobInfo
	var state string
	var args, metadata, last []byte
	var started, ended *time.Time
	if err := row.Scan(&j.ID, &j.Kind, &state, &args, &j.Attempt, &j.CreatedAt, &j.DueAt, &started, &ended, &metadata, &last); err != nil {
		return j, err
	}
	var a envelope
	var n notes
	var failure rivertype.AttemptError
	err := errors.Join(json.Unmarshal(args, &a), json.Unmarshal(metadata, &n))
	if len(last) > 0 {
		err = errors.Join(err, json.Unmarshal(last, &failure))
	}
	if err != nil {
		return j, fmt.Errorf("job %d: %w", j.ID, err)
	}
	j.Event, j.Tenant, j.Run, j.Attempt = a.Event, a.Tenant, n.Run+1, j.Attempt-n.Base
	if d := e.kinds[j.Kind]; d != nil {
		j.MaxAttempts = d.MaxAttempts
	}
	if started != nil {
		j.StartedAt = *started
	}
	if ended != nil {
		j.EndedAt = *ended
	}
	j.State, j.Error = stateOf(state, j, n), strings.TrimPrefix(failure.Error, "JobCancelError: ") // River's
	if n.Waiting != "" {
		j.Error = n.Waiting
	}
	j.Cancelling = n.Cancel != "" && j.State != Cancelled
	return j, nil
}

func stateOf(state string, j JobInfo, n notes) JobState {
	switch rivertype.JobState(state) {
	case rivertype.JobStateRunning:
		return Running
	case rivertype.JobStateCompleted:
		return Done
	case rivertype.JobStateDiscarded:
		return Dead
	case rivertype.JobStateCancelled:
		return Cancelled
	case rivertype.JobStateRetryable:
		return Again
	}
	if j.Attempt > 0 && n.Waiting == "" {
		return Again
	}
	return Waiting
}

// Job is one job; a NotFound fault without it or outside of tenants (nil: all).
func (e *Engine) Job(ctx context.Context, id int64, tenants []domain.ID) (JobInfo, error) {
	if err := e.Prepare(ctx); err != nil {
		return JobInfo{}, err
	}
	rows, err := e.Pool.Query(ctx, "select "+jobColumns+" from effects.river_job where id = $1", id)
	if err != nil {
		return JobInfo{}, err
	}
	j, err := pgx.CollectOneRow(rows, e.scan)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && tenants != nil && !slices.Contains(tenants, j.Tenant) {
		return JobInfo{}, fault.Missing("job", id)
	}
	return j, err
}

// Retry has a job that is dead or cancelled begin again, as a new run with all
// its attempts, and one that waits for another attempt go on now. Others are a
// Conflict fault.
func (e *Engine) Retry(ctx context.Context, id int64) error {
	return e.change(ctx, id, "done or running", `update effects.river_job set state = 'available', scheduled_at = now(), finalized_at = null,
		metadata = case when finalized_at is null then metadata else metadata - array['docket_cause', 'docket_cancel', 'docket_waiting', 'docket_waits']
			|| jsonb_build_object('docket_run', coalesce((metadata->>'docket_run')::int, 0) + 1, 'docket_base', attempt) end
		where id = $1 and state not in ('completed', 'running') returning queue`)
}

// Cancel ends a job: its context if it runs, and all further attempts. That it
// was cancelled, and by whom, is recorded as that of a job given up. A job that has
// ended is a Conflict fault.
func (e *Engine) Cancel(ctx context.Context, id int64, actor string) error {
	return e.change(ctx, id, "over", `update effects.river_job set metadata = metadata || jsonb_build_object('docket_cancel', $2::text),
		state = case when state = 'running' then state else 'available' end, scheduled_at = case when state = 'running' then scheduled_at else now() end
		where id = $1 and finalized_at is null returning queue`, actor)
}

// change updates a job and wakes the workers of its queue.
func (e *Engine) change(ctx context.Context, id int64, otherwise, sql string, args ...any) error {
	if _, err := e.Job(ctx, id, nil); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, e.Pool, func(tx pgx.Tx) error {
		var queue string
		if err := tx.QueryRow(ctx, sql, append([]any{id}, args...)...).Scan(&queue); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "select pg_notify('effects.river_insert', jsonb_build_object('queue', $1::text)::text)", queue)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.Conflict, "job.over", "job %d is %s", id, otherwise)
	}
	return err
}

// count counts the jobs of each kind that are not over, and the dead ones.
func (e *Engine) count(ctx context.Context) ([]Count, error) {
	rows, err := e.Pool.Query(ctx, `select kind, count(*) filter (where state <> 'running' and state <> 'discarded'), count(*) filter (where state = 'running'),
		count(*) filter (where state = 'discarded'), coalesce(extract(epoch from now() - min(created_at) filter (where state <> 'discarded')), 0)::float8
		from effects.river_job where state in ('available', 'pending', 'retryable', 'running', 'scheduled', 'discarded') group by kind`)
	if err != nil {
		return nil, err
	}
	counts := make([]Count, len(e.Kinds))
	for i, k := range e.Kinds {
		counts[i].Kind = k.define().name
	}
	var c Count
	var oldest float64
	_, err = pgx.ForEachRow(rows, []any{&c.Kind, &c.Waiting, &c.Running, &c.Dead, &oldest}, func() error {
		for i := range counts {
			if counts[i].Kind == c.Kind {
				counts[i] = c
				counts[i].Oldest = time.Duration(oldest * float64(time.Second))
			}
		}
		return nil
	})
	return counts, err
}
