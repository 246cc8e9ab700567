package query

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"docket/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// listPool makes a pool as lists use it.
func listPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(pgtest.URL(t))
	require.NoError(t, err)
	for name, value := range map[string]string{
		"plan_cache_mode": "force_custom_plan", "jit": "off", "max_parallel_workers_per_gather": "0",
	} {
		config.ConnConfig.RuntimeParams[name] = value
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func execute(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(context.Background(), sql, args...)
	require.NoError(t, err)
}
