package reactors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"docket/internal/postgres"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// skipPoll is how often a stopped reactor looks whether its event was skipped.
const skipPoll = time.Second

// ErrNotStopped says that a reactor is not stopped at the event to be skipped.
var ErrNotStopped = errors.New("reactors: not stopped at this event")

// Skip makes a stopped reactor, in whatever process it is, leave out the event
// it is stopped at: now, and whenever the event comes again. Who did it and why
// is recorded in the table reactors.skip.
func (e *Engine) Skip(ctx context.Context, reactor string, event uuid.UUID, actor, reason string) error {
	if !slices.ContainsFunc(e.Reactors, func(r Reactor) bool { return r.Name == reactor }) {
		return fmt.Errorf("reactors: no reactor %q", reactor)
	}
	if actor == "" || reason == "" {
		return errors.New("reactors: a skip needs an actor and a reason")
	}
	if err := postgres.Migrate(ctx, e.Pool, schema, steps); err != nil {
		return err
	}
	tag, err := e.Pool.Exec(ctx, `with failed as (delete from reactors.failure where name = $1 and event_id = $2 returning *)
		insert into reactors.skip (name, event_id, event_type, stream, revision, position, error, actor, reason)
		select name, event_id, event_type, stream, revision, position, error, $3, $4 from failed
		on conflict (name, event_id) do nothing`, reactor, event, actor, reason)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: reactor %s, event %s", ErrNotStopped, reactor, event)
	}
	e.Logger.Warn("reactor: an operator has an event skipped", "reactor", reactor, "event", event, "actor", actor, "reason", reason)
	return nil
}

// Overview is Status with the place and the failure of each reactor as they are
// recorded, whichever process they come from.
func (e *Engine) Overview(ctx context.Context) ([]Status, error) {
	if err := postgres.Migrate(ctx, e.Pool, schema, steps); err != nil {
		return nil, err
	}
	list := e.Status()
	for i := range list {
		err := e.Pool.QueryRow(ctx, "select position from reactors.checkpoint where name = $1", list[i].Reactor).Scan(&list[i].Position)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, err
		}
		if list[i].Failure, err = readFailure(ctx, e.Pool, list[i].Reactor); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// querier is a connection or a pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// readFailure is what a reactor is stopped at; nil if nothing.
func readFailure(ctx context.Context, q querier, name string) (*Failure, error) {
	rows, err := q.Query(ctx, "select event_id, event_type, stream, revision, position, error, at from reactors.failure where name = $1", name)
	if err != nil {
		return nil, err
	}
	f, err := pgx.CollectOneRow(rows, pgx.RowToAddrOfStructByPos[Failure])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return f, err
}

// recordFailure keeps a failure for other processes and for Skip.
func recordFailure(ctx context.Context, q querier, name string, f *Failure) error {
	text := strings.ToValidUTF8(strings.ReplaceAll(f.Error, "\x00", ""), "�") // what Postgres takes
	_, err := q.Exec(ctx, `insert into reactors.failure (name, event_id, event_type, stream, revision, position, error, at) values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (name) do update set event_id = excluded.event_id, event_type = excluded.event_type, stream = excluded.stream,
			revision = excluded.revision, position = excluded.position, error = excluded.error, at = excluded.at`,
		name, f.EventID, f.EventType, f.Stream, f.Revision, f.Position, text, f.At)
	return err
}

// readSkips are the events that a reactor leaves out.
func readSkips(ctx context.Context, q querier, name string) (map[uuid.UUID]bool, error) {
	rows, err := q.Query(ctx, "select event_id from reactors.skip where name = $1", name)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	skips := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		skips[id] = true
	}
	return skips, err
}

// rest waits until a stopped reactor tries its event again, which is sooner when
// the event was skipped meanwhile.
func (r *runner) rest(ctx context.Context) {
	f := r.snapshot().Failure
	ctx, cancel := context.WithTimeout(ctx, r.engine.StoppedFor)
	defer cancel()
	for sleep(ctx, skipPoll) == nil {
		skips, err := readSkips(ctx, r.engine.Pool, r.reactor.Name)
		if err == nil && f != nil && skips[f.EventID] {
			return
		}
	}
}

// fail records what stopped the reactor, as long as it is this process's.
func (l *lease) fail(f *Failure) error {
	ctx, cancel := context.WithTimeout(context.Background(), talkWithin)
	defer cancel()
	return recordFailure(ctx, l.conn, l.name, f)
}
