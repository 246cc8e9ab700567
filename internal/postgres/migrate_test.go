package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"docket/internal/postgres"
	"docket/internal/postgres/pgtest"
)

var steps = []string{
	"create table apikey (id int primary key); create index on apikey (id)",
	"insert into apikey values (1)",
}

func TestMigrateRunsEachStepOnce(t *testing.T) {
	pool := pgtest.New(t)
	for range 2 {
		require.NoError(t, postgres.Migrate(t.Context(), pool, "vault", steps))
	}
	require.NoError(t, postgres.Migrate(t.Context(), pool, "vault", append(steps, "insert into apikey values (2)")))
	require.NoError(t, postgres.Migrate(t.Context(), pool, "other", steps), "schemas do not meddle with each other")
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from vault.apikey").Scan(&n))
	require.Equal(t, 2, n)
	var path string
	require.NoError(t, pool.QueryRow(t.Context(), "show search_path").Scan(&path))
	require.NotContains(t, path, "vault", "the connection is given back as it was")
}

func TestMigrateTogether(t *testing.T) {
	pool := pgtest.New(t)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error { return postgres.Migrate(t.Context(), pool, "vault", steps) })
	}
	require.NoError(t, g.Wait())
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from vault.apikey").Scan(&n))
	require.Equal(t, 1, n)
}

func TestMigrateRefuses(t *testing.T) {
	pool := pgtest.New(t)
	require.NoError(t, postgres.Migrate(t.Context(), pool, "vault", steps))

	err := postgres.Migrate(t.Context(), pool, "vault", steps[:1])
	require.ErrorContains(t, err, "newer version")

	err = postgres.Migrate(t.Context(), pool, "vault", []string{steps[0], "insert into apikey values (9)"})
	require.ErrorContains(t, err, "step 2 was edited")

	err = postgres.Migrate(t.Context(), pool, "vault", append(steps, "create table half (n int)", "no sql"))
	require.ErrorContains(t, err, "step 4")
	var half bool
	require.NoError(t, pool.QueryRow(t.Context(), "select to_regclass('vault.half') is not null").Scan(&half))
	require.False(t, half, "all or nothing")
}
