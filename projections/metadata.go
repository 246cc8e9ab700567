package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// channel is where committed positions and operators' actions are announced.
const channel = "docket_projections"

// fencedCode is raised when the checkpoint is not where the writer left it.
const fencedCode = "DK001"

// metadataSQL makes the engine's own tables. It may run again and again.
const metadataSQL = `
select pg_advisory_xact_lock(hashtextextended('docket_projections', 0));
create extension if not exists pg_trgm;
create schema if not exists docket_projections;
-- One row per group whose live tables are complete; version is what built them.
create table if not exists docket_projections.checkpoints (
	group_name text primary key,
	version text not null,
	position bigint not null,
	updated_at timestamptz not null default now()
) with (fillfactor = 50);
-- Every version that ever became live.
create table if not exists docket_projections.versions (
	group_name text not null,
	version text not null,
	position bigint not null,
	live_at timestamptz not null default clock_timestamp(),
	build_seconds double precision not null
);
-- The event a group is stopped at.
create table if not exists docket_projections.failures (
	group_name text primary key,
	event_id uuid not null,
	event_type text not null,
	stream text not null,
	revision bigint not null,
	position bigint not null,
	error text not null,
	at timestamptz not null default now()
);
-- Events that an operator had a group leave out, for ever.
create table if not exists docket_projections.projection_skips (
	group_name text not null,
	event_id uuid not null,
	event_type text not null,
	stream text not null,
	revision bigint not null,
	position bigint not null,
	error text not null,
	actor text not null,
	reason text not null,
	at timestamptz not null default now(),
	primary key (group_name, event_id)
);
-- Moves a checkpoint on and announces it at commit. Raising is what rolls back
-- the whole batch of a writer that lost its place. A swap may leave the position
-- as it was, so the version is part of the place.
create or replace function docket_projections.advance(which text, built text, expected bigint, next bigint) returns void language plpgsql as $$
begin
	update docket_projections.checkpoints set position = next, updated_at = now()
		where group_name = which and version = built and position = expected;
	if not found then
		raise exception 'checkpoint of % is not at % of version %', which, expected, built using errcode = '` + fencedCode + `';
	end if;
	perform pg_notify('` + channel + `', format('at %s %s', which, next));
end $$;
`

// createMetadata makes the engine's own tables where they are missing.
func createMetadata(ctx context.Context, conn *pgx.Conn) error {
	return execAll(ctx, conn, metadataSQL)
}

// Forget takes back all that is known of how far read models are, so that every group is built again, beside its tables
// until it is complete. It is for a log whose positions have changed: a copy on another server.
func Forget(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `do $$ begin
		if to_regclass('docket_projections.checkpoints') is not null then
			update docket_projections.checkpoints set version = 'of another log', position = 0;
			delete from docket_projections.failures;
		end if; end $$`)
	return err
}

// execAll runs several statements without parameters as one transaction.
func execAll(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// checkpoint is where a group's live tables are.
type checkpoint struct {
	version  string
	position eventstore.Position
}

// readCheckpoint returns nil for a group that has no live tables.
func readCheckpoint(ctx context.Context, q querier, group string) (*checkpoint, error) {
	var c checkpoint
	err := q.QueryRow(ctx, "select version, position from docket_projections.checkpoints where group_name = $1", group).Scan(&c.version, &c.position)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// querier is a connection, a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Failure is what stopped a group. EventID is nil when it was no event.
type Failure struct {
	EventID   uuid.UUID
	EventType string
	Stream    string
	Revision  eventstore.Revision
	Position  eventstore.Position
	Error     string
	At        time.Time
}

func (f *Failure) String() string {
	if f.EventID == uuid.Nil {
		return f.Error
	}
	return fmt.Sprintf("at %s %s (%s@%d): %s", f.EventType, f.EventID, f.Stream, f.Revision, f.Error)
}

func failureOf(e *eventError) *Failure {
	return &Failure{EventID: e.event.ID, EventType: e.event.Type, Stream: e.event.Stream, Revision: e.event.Revision,
		Position: e.event.Position, Error: e.cause.Error(), At: time.Now()}
}

// recordFailure keeps the failure for other processes and for Skip.
func recordFailure(ctx context.Context, q querier, group string, f *Failure) error {
	_, err := q.Exec(ctx, `insert into docket_projections.failures as f (group_name, event_id, event_type, stream, revision, position, error, at)
		values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (group_name) do update set event_id = excluded.event_id, event_type = excluded.event_type, stream = excluded.stream,
			revision = excluded.revision, position = excluded.position, error = excluded.error, at = excluded.at`,
		group, f.EventID, f.EventType, f.Stream, f.Revision, f.Position, storableText(f.Error), f.At)
	return err
}

func clearFailure(ctx context.Context, q querier, group string) error {
	_, err := q.Exec(ctx, "delete from docket_projections.failures where group_name = $1", group)
	return err
}

// readSkips lists the events a group leaves out.
func readSkips(ctx context.Context, q querier, group string) (map[uuid.UUID]bool, error) {
	rows, err := q.Query(ctx, "select event_id from docket_projections.projection_skips where group_name = $1", group)
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

// tablesSQL creates the group's schema with bare tables, keysSQL adds the keys,
// indexesSQL what reading needs.
func (g *Group) tablesSQL(schema string) string {
	sql := "create schema " + schema + ";\n"
	for _, t := range g.tables {
		sql += t.tableSQL(schema)
	}
	return sql
}

func (g *Group) keysSQL(schema string) string {
	sql := ""
	for _, t := range g.tables {
		sql += t.keySQL(schema)
	}
	return sql
}

func (g *Group) indexesSQL(schema string) string {
	sql := ""
	for _, t := range g.tables {
		sql += t.indexSQL(schema)
	}
	return sql
}

// curable tells whether the database, still connected, may answer differently
// later: everything but what it says about the data or the statement.
func curable(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false // the driver could not encode or read a value
	}
	switch pg.Code[:2] {
	case "22", "23", "42", "54", "0A", "P0", "21", "44":
		return false
	}
	return true
}
