package esdb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"docket/eventstore"
	"docket/eventstore/esdb"
	"docket/internal/postgres"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// BenchmarkAppendAgainst holds an append through the port against two others on
// the same disk in the same run: a log in Postgres whose readers can't miss an
// event (an identity column gives the order, a lock makes it the order of
// commits), and a bare write with fdatasync.
func BenchmarkAppendAgainst(b *testing.B) {
	data, meta := payload()
	pool := orderedLog(b)
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("embedded/%d", writers), func(b *testing.B) {
			server := startDurable(b)
			store := openStore(b, esdb.Config{Client: server.ClientConfig(), Dial: server.Dial})
			awaitBatch(b, store)
			each(b, writers, func(i int64) {
				_, err := store.Append(ctx, fmt.Sprint("s", i), eventstore.NoStream,
					[]eventstore.Proposed{{ID: uuid.New(), Type: "bench.made", Data: data, Meta: meta}})
				if err != nil {
					b.Error(err)
				}
			})
		})
		b.Run(fmt.Sprintf("postgres-ordered/%d", writers), func(b *testing.B) {
			each(b, writers, func(int64) {
				// One implicit transaction; the lock ends with it.
				_, err := pool.Exec(ctx, `with turn as materialized (select pg_advisory_xact_lock(1))
					insert into log (id, stream, revision, type, data, meta) select $1, $2, 0, 'bench.made', $3, $4 from turn`,
					uuid.New(), uuid.NewString(), data, meta)
				if err != nil {
					b.Error(err)
				}
			})
		})
		b.Run(fmt.Sprintf("fsync/%d", writers), func(b *testing.B) { fsyncs(b, writers, len(data)+len(meta)) })
	}
}

// orderedLog is a private Postgres with production settings.
func orderedLog(b *testing.B) *pgxpool.Pool {
	dir, err := os.MkdirTemp("", "docket-bench")
	require.NoError(b, err)
	require.NoError(b, os.Chmod(dir, 0o755)) // Postgres may run as another user
	b.Cleanup(func() { require.NoError(b, os.RemoveAll(dir)) })
	server, err := postgres.Start(ctx, postgres.Options{Dir: filepath.Join(dir, "pg"), FallbackDir: filepath.Join(dir, "pg")})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Stop()) })
	pools, err := postgres.Connect(ctx, server.URL(), postgres.PoolOptions{MainConns: 64})
	require.NoError(b, err)
	b.Cleanup(pools.Close)
	_, err = pools.Main.Exec(ctx, `create table log (position bigint generated always as identity primary key, id uuid not null,
		stream text not null, revision bigint not null, type text not null, data bytea not null, meta bytea not null, unique (stream, revision))`)
	require.NoError(b, err)
	return pools.Main
}

// fsyncs writes records to one file, each followed by a sync of its own.
func fsyncs(b *testing.B, writers, size int) {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	require.NoError(b, err)
	defer f.Close()
	record := make([]byte, size)
	var mu sync.Mutex
	each(b, writers, func(int64) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := f.Write(record); err != nil {
			b.Error(err)
		}
		if err := f.Sync(); err != nil {
			b.Error(err)
		}
	})
}
