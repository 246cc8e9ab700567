package pgtest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

func TestEveryTestHasADatabaseOfItsOwn(t *testing.T) {
	ctx := context.Background()
	one, two := New(t), New(t)
	_, err := one.Exec(ctx, "create table thing (name text)")
	require.NoError(t, err)
	_, err = one.Exec(ctx, "create index on thing using gin (name gin_trgm_ops)")
	require.NoError(t, err, "pg_trgm is there")
	var there bool
	require.NoError(t, two.QueryRow(ctx, "select to_regclass('thing') is not null").Scan(&there))
	require.False(t, there)
}
