package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Migrate brings the tables of a schema that cannot be rebuilt from the event
// log up to date. Steps run once each, in order; they may only be added at the
// end. All that are missing run in one transaction, in which unqualified names
// mean the schema; processes that start together wait for each other. It fails,
// changing nothing, when a step fails, when a step that ran has been edited
// since, and when the database is ahead of the steps.
func Migrate(ctx context.Context, pool *pgxpool.Pool, schema string, steps []string) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return migrate(ctx, tx, schema, steps) })
	if err != nil {
		return fmt.Errorf("migrating schema %s: %w", schema, err)
	}
	return nil
}

func migrate(ctx context.Context, tx pgx.Tx, schema string, steps []string) error {
	// One lock for all schemas: they share the catalogue.
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtext('docket migrate'))"); err != nil {
		return err
	}
	name := pgx.Identifier{schema}.Sanitize()
	if _, err := tx.Exec(ctx, fmt.Sprintf(`create schema if not exists %[1]s;
		set local search_path = %[1]s, public;
		create table if not exists migration (
			step integer primary key,
			checksum text not null,
			applied_at timestamptz not null default now())`, name)); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, "select checksum from migration order by step")
	if err != nil {
		return err
	}
	done, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(done) > len(steps) {
		return fmt.Errorf("the database has %d steps, this program knows %d: it was made by a newer version", len(done), len(steps))
	}
	for i, step := range steps {
		sum := sha256.Sum256([]byte(step))
		checksum := hex.EncodeToString(sum[:])
		if i < len(done) {
			if done[i] != checksum {
				return fmt.Errorf("step %d was edited after it ran", i+1)
			}
			continue
		}
		if _, err := tx.Exec(ctx, step); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		if _, err := tx.Exec(ctx, "insert into migration (step, checksum) values ($1, $2)", i+1, checksum); err != nil {
			return err
		}
	}
	return nil
}
