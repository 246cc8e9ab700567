package effects

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"docket/internal/postgres"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

const schema = "effects"

// steps are our tables beside River's.
var steps = []string{`create table timer (
	name text primary key,
	due timestamptz not null,
	ran_at timestamptz, -- the last time that it went well
	error text not null default ''
)`}

// migrate brings our tables and River's up to date. Processes that start
// together wait for each other.
func migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	if err := postgres.Migrate(ctx, pool, schema, steps); err != nil {
		return err
	}
	for {
		done, err := migrateRiver(ctx, pool, log)
		if done || err != nil {
			return err
		}
		if err := sleep(ctx, lockRetry); err != nil {
			return err
		}
	}
}

// lockRetry is how often a process asks whether it may migrate. Waiting in the
// server would hold a connection that the one that migrates may be short of.
const lockRetry = 50 * time.Millisecond

// migrateRiver is false while another process migrates.
func migrateRiver(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) (done bool, err error) {
	// River's steps need transactions of their own, so this one holds the lock only.
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock(hashtext('docket migrate effects'))").Scan(&done); err != nil || !done {
			return err
		}
		migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema, Logger: log})
		if err != nil {
			return err
		}
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	})
	return done, err
}

// endless is more attempts than River ever counts, so that it gives up nothing.
const endless = 1<<15 - 1

// inserter makes jobs in transactions of others.
var inserter = sync.OnceValues(func() (*river.Client[pgx.Tx], error) {
	return river.NewClient(riverpgxv5.New(nil), &river.Config{
		Schema: schema,
		Logger: slog.New(slog.DiscardHandler),
		// How seldom it wakes workers; what is left out waits for their next poll.
		FetchCooldown: river.FetchCooldownMin,
	})
})

func insert(ctx context.Context, tx pgx.Tx, d *definition, job envelope) error {
	client, err := inserter()
	if err != nil {
		return err
	}
	_, err = client.InsertTx(ctx, tx, job, &river.InsertOpts{
		MaxAttempts: endless, Queue: d.Queue,
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: rivertype.JobStates()},
	})
	return err
}
