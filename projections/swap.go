package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"docket/eventstore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How finished tables take the place of the live ones, and how what is left over
// is dropped.

const (
	swapAttempts = 30
	lockTimeout  = "2s" // of a swap that reads stand in the way of, and of a builder that meets another
	// dropTimeout is that of a drop. A builder gives up later, so that it is not
	// refused because a long read keeps replaced tables.
	dropTimeout = "500ms"
)

// swapIn puts the schema in the place of the live one. It is tried again when
// locks cannot be had.
func (b *builder) swapIn(live *checkpoint) error {
	b.tell("swapping", true)
	wait := newBackoff()
	for attempt := 1; ; attempt++ {
		// Outside the transaction, so that little is left for inside and an event
		// that fails is named.
		if err := b.catchUp(logEnd); err != nil {
			return err
		}
		before := b.position
		err := b.swapOnce(live.version)
		if err == nil {
			b.log.Info("projections: rebuilt", "version", b.group.version, "events", b.done.Events, "took", time.Since(b.done.Started))
			return nil
		}
		var pg *pgconn.PgError
		if attempt == swapAttempts || b.ctx.Err() != nil || !errors.As(err, &pg) || !curable(err) {
			return err
		}
		b.position = before // rolled back
		sleep(b.ctx, wait.NextBackOff())
	}
}

// swapOnce holds the checkpoint's row, so that live writing waits, applies what
// is left, and renames. The live writer then finds its checkpoint moved and
// goes on in the new tables.
func (b *builder) swapOnce(liveVersion string) error {
	tx, err := b.conn.Begin(b.ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(b.ctx)) }() // after a commit it does nothing
	position, err := b.holdLive(tx, liveVersion)
	if err != nil {
		return err
	}
	if _, err := b.pass(logEnd); err != nil {
		return err
	}
	b.position = max(b.position, position)
	if _, err := tx.Exec(b.ctx, fmt.Sprintf("alter schema %s rename to %s", liveSchema(b.group.name), oldSchema(b.group.name))); err != nil {
		return err
	}
	if _, err := tx.Exec(b.ctx, fmt.Sprintf("alter schema %s rename to %s", b.schema, liveSchema(b.group.name))); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue("update docket_projections.checkpoints set version = $2, position = $3, updated_at = now() where group_name = $1",
		b.group.name, b.group.version, b.position)
	b.queueVersion(batch)
	if err := tx.SendBatch(b.ctx, batch).Close(); err != nil {
		return err
	}
	return tx.Commit(b.ctx)
}

// holdLive stops live writing until the transaction ends and tells where it is.
func (b *builder) holdLive(tx pgx.Tx, version string) (eventstore.Position, error) {
	if _, err := tx.Exec(b.ctx, "set local lock_timeout = '"+lockTimeout+"'"); err != nil {
		return 0, err
	}
	var c checkpoint
	err := tx.QueryRow(b.ctx, "select version, position from docket_projections.checkpoints where group_name = $1 for update", b.group.name).
		Scan(&c.version, &c.position)
	if err == nil && c.version != version {
		err = fmt.Errorf("projections: group %s changed from version %s to %s meanwhile", b.group.name, version, c.version)
	}
	return c.position, err
}

// sweep drops, as long as ctx lasts, what swaps and crashes left behind. Tables
// just replaced stay a little, for reads in flight.
func (r *runner) sweep(ctx context.Context) {
	pattern := strings.ReplaceAll(liveSchema(r.group.name), "_", `\_`) + "$%"
	wait := newBackoff()
	for first := true; ctx.Err() == nil; first = false {
		rows, err := r.engine.Pool.Query(ctx, "select nspname::text from pg_namespace where nspname like $1", pattern)
		var left []string
		if err == nil {
			left, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err == nil && len(left) == 0 {
			return
		}
		if err == nil && first {
			sleep(ctx, r.engine.DropAfter)
		}
		if err == nil {
			err = r.dropAll(ctx, left)
		}
		if err == nil {
			return
		}
		if ctx.Err() == nil && !errors.Is(err, ErrBusy) {
			r.log.Debug("projections: dropping replaced tables, will try again", "error", err)
		}
		sleep(ctx, wait.NextBackOff())
	}
}

func (r *runner) dropAll(ctx context.Context, schemas []string) error {
	var failures []error
	for _, schema := range schemas {
		failures = append(failures, r.drop(ctx, schema))
	}
	return errors.Join(failures...)
}

// drop drops a schema, unless a builder is at work, which may be its own.
func (r *runner) drop(ctx context.Context, schema string) error {
	b, err := r.newBuilder(ctx, "", nil)
	if err != nil {
		return err
	}
	defer closeConn(b.conn)
	return r.engine.dropSchema(ctx, schema)
}

// dropSchema drops a schema, but does not wait long for reads in flight.
func (e *Engine) dropSchema(ctx context.Context, schema string) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	return execAll(ctx, conn, "set lock_timeout = '"+dropTimeout+"'; drop schema if exists "+schema+" cascade")
}
