package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"docket/internal/postgres"
	"docket/internal/postgres/pgtest"
)

func connect(t *testing.T, url string, o postgres.PoolOptions) *postgres.Pools {
	t.Helper()
	p, err := postgres.Connect(t.Context(), url, o)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// one runs a query that any server answers.
func one(ctx context.Context, pool *pgxpool.Pool) error {
	var n int
	return pool.QueryRow(ctx, "select 1").Scan(&n)
}

func TestEachPoolHasItsSettings(t *testing.T) {
	p := connect(t, pgtest.URL(t), postgres.PoolOptions{ListTimeout: 3 * time.Second, ListConns: 5, Name: "app"})
	setting := func(pool *pgxpool.Pool, name string) (value string) {
		require.NoError(t, pool.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&value))
		return value
	}
	require.Equal(t, "on", setting(p.Main, "synchronous_commit"))
	require.Equal(t, "off", setting(p.Projection, "synchronous_commit"))
	require.Equal(t, "force_custom_plan", setting(p.List, "plan_cache_mode"))
	require.Equal(t, "off", setting(p.List, "jit"))
	require.Equal(t, "0", setting(p.List, "max_parallel_workers_per_gather"))
	require.Equal(t, "3s", setting(p.List, "statement_timeout"))
	require.Equal(t, "0", setting(p.Main, "statement_timeout"))
	require.Equal(t, "app-list", setting(p.List, "application_name"))
	require.EqualValues(t, 5, p.List.Config().MaxConns)
	require.GreaterOrEqual(t, p.Main.Config().MaxConns, int32(8))
}

func TestPoolsOutliveTheServer(t *testing.T) {
	dir := openDir(t)
	s := start(t, options(t, dir))
	p := connect(t, s.URL(), postgres.PoolOptions{})
	pools := []*pgxpool.Pool{p.Main, p.Projection, p.List}
	// Several idle connections each, all of which the restart breaks.
	for _, pool := range pools {
		var held []*pgxpool.Conn
		for range 4 {
			c, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			held = append(held, c)
		}
		for _, c := range held {
			c.Release()
		}
	}
	require.NoError(t, s.Stop())
	for _, pool := range pools {
		err := one(t.Context(), pool)
		require.Error(t, err)
		require.True(t, postgres.IsUnavailable(err), "%v", err)
	}

	again := start(t, options(t, dir))
	require.Equal(t, s.URL(), again.URL())
	for _, pool := range pools {
		require.NoError(t, one(t.Context(), pool), "the first query after the restart")
	}
}

// Nothing was asked while the server was away: the pool still believes in its
// connections, and has to find out before it hands them out.
func TestTheFirstQueryAfterACrashSucceeds(t *testing.T) {
	s := start(t, options(t, openDir(t)))
	p := connect(t, s.URL(), postgres.PoolOptions{})
	for range 3 {
		require.NoError(t, one(t.Context(), p.Main))
		require.NoError(t, one(t.Context(), p.List))
		before := s.Pid()
		require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
		requireBack(t, s, before)
		require.NoError(t, one(t.Context(), p.Main))
		require.NoError(t, one(t.Context(), p.List))
	}
}

func TestABackendThatWasEndedIsNotHandedOut(t *testing.T) {
	p := connect(t, pgtest.URL(t), postgres.PoolOptions{})
	for range 5 {
		var pid int
		require.NoError(t, p.Main.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&pid))
		var ended bool
		require.NoError(t, p.List.QueryRow(t.Context(), "select pg_terminate_backend($1, 5000)", pid).Scan(&ended))
		require.True(t, ended)
		require.NoError(t, one(t.Context(), p.Main))
	}
}

func TestConnectDoesNotNeedTheServer(t *testing.T) {
	p := connect(t, "postgres://docket@/docket?host=/nonexistent", postgres.PoolOptions{})
	err := one(t.Context(), p.Main)
	require.True(t, postgres.IsUnavailable(err), "%v", err)
	err = p.Ping(t.Context(), 50*time.Millisecond)
	require.ErrorContains(t, err, "/nonexistent")
	require.True(t, postgres.IsUnavailable(err), "%v", err)
}

func TestPingWaitsForTheServer(t *testing.T) {
	dir := openDir(t)
	s, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	p := connect(t, s.URL(), postgres.PoolOptions{})
	answer := make(chan error, 1)
	go func() { answer <- p.Ping(context.Background(), time.Minute) }()
	start(t, options(t, dir))
	require.NoError(t, <-answer)
}

func TestPingDoesNotWaitForWhatWillNotChange(t *testing.T) {
	url := pgtest.URL(t)
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	absent := fmt.Sprintf("postgres://%s@/nosuchdatabase?host=%s&port=%d", config.ConnConfig.User, config.ConnConfig.Host, config.ConnConfig.Port)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Waiting would end with the test's time-out.
	err = connect(t, absent, postgres.PoolOptions{}).Ping(ctx, time.Hour)
	require.ErrorContains(t, err, "nosuchdatabase")
}

func TestParseURL(t *testing.T) {
	for _, good := range []string{
		"postgres://u:p@localhost:5432/d", "postgresql://u@localhost/d?sslmode=require", "host=/run user=u dbname=d",
		"postgres://u@/d?host=/run/postgresql",
	} {
		_, err := postgres.ParseURL(good)
		require.NoError(t, err, good)
	}
	for bad, says := range map[string]string{
		"":                                      "must look like",
		"localhost:5432":                        "must look like",
		"mysql://u:p@localhost":                 "must look like",
		"postgres://u:sec/ret@localhost:5432/d": "%XX",
		"postgres://u:secret@localhost:99999/d": "invalid port",
		"postgres://u:secret@localhost/d?sslmode=maybe":        "sslmode",
		"postgres://u:secret@localhost/d?connect_timeout=soon": "connect_timeout",
	} {
		_, err := postgres.ParseURL(bad)
		require.ErrorContains(t, err, says, bad)
		require.ErrorContains(t, err, "DOCKET_POSTGRES_URL")
		require.NotContains(t, err.Error(), "sec")
		_, err = postgres.Connect(t.Context(), bad, postgres.PoolOptions{})
		require.Error(t, err)
	}
}

func TestIsUnavailable(t *testing.T) {
	for _, err := range []error{
		&pgconn.PgError{Code: "57P01"}, &pgconn.PgError{Code: "57P03"}, &pgconn.PgError{Code: "53300"},
		&pgconn.PgError{Code: "08006"}, &pgconn.PgError{Code: "57014"},
		syscall.ECONNREFUSED, &net.OpError{Op: "write", Err: syscall.EPIPE}, io.ErrUnexpectedEOF, context.DeadlineExceeded,
		fmt.Errorf("reading the page: %w", &pgconn.PgError{Code: "57P02"}),
	} {
		require.True(t, postgres.IsUnavailable(err), "%v", err)
	}
	for _, err := range []error{
		nil, context.Canceled, errors.New("other"), &pgconn.PgError{Code: "23505"}, &pgconn.PgError{Code: "42P01"},
		&pgconn.PgError{Code: "40001"}, &pgconn.PgError{},
	} {
		require.False(t, postgres.IsUnavailable(err), "%v", err)
	}
}

// The same with errors as they really arrive.
func TestIsUnavailableForRealErrors(t *testing.T) {
	url := pgtest.URL(t)
	p := connect(t, url, postgres.PoolOptions{MainConns: 1, ListTimeout: 20 * time.Millisecond})

	_, err := p.Main.Exec(t.Context(), "select pg_terminate_backend(pg_backend_pid())")
	require.True(t, postgres.IsUnavailable(err), "ended by an administrator: %v", err)

	_, err = p.List.Exec(t.Context(), "select pg_sleep(60)")
	require.True(t, postgres.IsUnavailable(err), "statement timeout: %v", err)

	only, err := p.Main.Acquire(t.Context())
	require.NoError(t, err)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = one(soon, p.Main)
	require.True(t, postgres.IsUnavailable(err), "no free connection: %v", err)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	err = one(gone, p.Main)
	require.Error(t, err)
	require.False(t, postgres.IsUnavailable(err), "the caller left: %v", err)
	only.Release()

	_, err = p.Main.Exec(t.Context(), "select from nothing")
	require.Error(t, err)
	require.False(t, postgres.IsUnavailable(err), "a mistake: %v", err)

	p.Close()
	err = one(t.Context(), p.Main)
	require.True(t, postgres.IsUnavailable(err), "a closed pool: %v", err)
}

func BenchmarkAcquire(b *testing.B) {
	p, err := postgres.Connect(b.Context(), pgtest.URL(b), postgres.PoolOptions{})
	require.NoError(b, err)
	defer p.Close()
	for b.Loop() {
		c, err := p.Main.Acquire(b.Context())
		require.NoError(b, err)
		c.Release()
	}
}
