package postgres_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"docket/internal/postgres"
)

func TestDataOutliveTheServer(t *testing.T) {
	dir := openDir(t)
	first, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.True(t, first.Healthy())
	require.Equal(t, filepath.Join(dir, "pg"+strconv.Itoa(first.Major()), "data"), first.DataDir())
	execute(t, first.URL(), "create table kept (n int); insert into kept values (7); create extension pg_trgm")
	require.NoError(t, first.Stop())
	require.NoError(t, first.Stop(), "stopping twice is fine")
	require.False(t, first.Healthy())
	require.Empty(t, postgres.ProcessesIn(first.DataDir()))

	second := start(t, options(t, dir))
	require.Equal(t, 7, query[int](t, second.URL(), "select n from kept"))
}

func TestTheServerIsPrivateAndDurable(t *testing.T) {
	s := start(t, options(t, openDir(t)))
	for setting, want := range map[string]string{
		"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "jit": "off", "max_connections": "200",
		"shared_buffers": "256MB", "max_wal_size": "4GB", "server_encoding": "UTF8", "log_min_error_statement": "panic",
	} {
		require.Equal(t, want, query[string](t, s.URL(), "select current_setting($1)", setting), setting)
	}
	require.Equal(t, "zÜ", query[string](t, s.URL(), "select 'zÜ'"))
	for _, dir := range []string{s.SocketDir(), filepath.Dir(s.DataDir())} {
		info, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
	// What a statement says does not get into the server's log.
	_, err := tryQuery[int](s.URL(), "select 'someone@example.org'::int")
	require.ErrorContains(t, err, "someone@example.org")
	log, err := os.ReadFile(s.LogFile())
	require.NoError(t, err)
	require.Contains(t, string(log), "ready to accept connections")
	require.NotContains(t, string(log), "someone@example.org")
}

func TestSettingsOverride(t *testing.T) {
	o := options(t, openDir(t))
	o.Settings = map[string]string{"max_connections": "23", "shared_buffers": "16MB"}
	s := start(t, o)
	require.Equal(t, "23", query[string](t, s.URL(), "show max_connections"))
	config, err := s.ConnConfig()
	require.NoError(t, err)
	require.Equal(t, s.SocketDir(), config.Host)
}

func TestAKilledServerComesBackByItself(t *testing.T) {
	s := start(t, options(t, openDir(t)))
	execute(t, s.URL(), "create table kept (n int); insert into kept values (7)")
	before := s.Pid()
	require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
	requireBack(t, s, before)
	require.Equal(t, 7, query[int](t, s.URL(), "select n from kept"))
}

// A backend in the middle of a computation does not notice that its postmaster
// is gone, and keeps the shared memory that the next server needs.
func TestABusyBackendDoesNotPreventTheRestart(t *testing.T) {
	s := start(t, options(t, openDir(t)))
	busy := make(chan error, 1)
	go func() {
		_, err := tryQuery[int](s.URL(), "select count(*)::int from generate_series(1, 1000000) busy, generate_series(1, 1000000)")
		busy <- err
	}()
	require.Eventually(t, func() bool {
		n, err := tryQuery[int](s.URL(), "select count(*)::int from pg_stat_activity where query like '%1000000) busy%' and state = 'active' and pid <> pg_backend_pid()")
		return err == nil && n == 1
	}, 10*time.Second, 10*time.Millisecond)
	before := s.Pid()
	require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
	requireBack(t, s, before)
	require.Error(t, <-busy)
}

// requireBack waits until another server than the one with the id answers.
func requireBack(t *testing.T, s *postgres.Server, before int) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Healthy() && s.Pid() != before && s.Pid() != 0 }, 30*time.Second, 5*time.Millisecond)
}

func TestStopDuringARestart(t *testing.T) {
	s := start(t, options(t, openDir(t)))
	require.NoError(t, syscall.Kill(s.Pid(), syscall.SIGKILL))
	require.NoError(t, s.Stop())
	require.Empty(t, postgres.ProcessesIn(s.DataDir()))
}

func TestASecondSupervisorIsRefused(t *testing.T) {
	dir := openDir(t)
	s := start(t, options(t, dir))
	_, err := postgres.Start(t.Context(), options(t, dir))
	require.ErrorContains(t, err, "in use by process "+strconv.Itoa(os.Getpid()))
	require.ErrorContains(t, err, filepath.Dir(s.DataDir()))
	require.Equal(t, 1, query[int](t, s.URL(), "select 1"), "the first is not harmed")
}

func TestAForeignProcessInThePidFileIsNoServer(t *testing.T) {
	dir := openDir(t)
	s, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	// As left by a server that was killed in another container: the id now
	// belongs to a process of the same user that has nothing to do with it.
	foreign := startChild(t, childOrder{Dir: openDir(t)}, nil)
	require.Empty(t, foreign.Error)
	info, err := os.Stat(s.DataDir())
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	for _, file := range []string{filepath.Join(s.DataDir(), "postmaster.pid"), filepath.Join(s.SocketDir(), ".s.PGSQL.5432.lock")} {
		require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(foreign.Pid)+"\n"+s.DataDir()+"\n"), 0o600))
		require.NoError(t, os.Chown(file, int(owner.Uid), int(owner.Gid)))
	}

	again := start(t, options(t, dir))
	require.Equal(t, 1, query[int](t, again.URL(), "select 1"))
	require.Equal(t, 1, query[int](t, foreign.URL, "select 1"), "the foreign process is not harmed")
	foreign.stop(t)
}

func TestALongFolderPutsTheSocketElsewhere(t *testing.T) {
	dir := filepath.Join(openDir(t), strings.Repeat("long", 20), strings.Repeat("longer", 10))
	s, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.Equal(t, 1, query[int](t, s.URL(), "select 1"))
	require.LessOrEqual(t, len(s.SocketDir()), 100)
	require.NotContains(t, s.SocketDir(), dir)
	info, err := os.Stat(s.SocketDir())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	require.NoError(t, s.Stop())
	require.NoDirExists(t, s.SocketDir())
}

func TestSomebodyElsesShortFolderIsNotUsed(t *testing.T) {
	dir := filepath.Join(openDir(t), strings.Repeat("long", 30))
	first, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.NoError(t, first.Stop())
	require.NoError(t, os.Mkdir(first.SocketDir(), 0o777))
	require.NoError(t, os.Chmod(first.SocketDir(), 0o777))
	defer os.Remove(first.SocketDir())

	second := start(t, options(t, dir))
	require.NotEqual(t, first.SocketDir(), second.SocketDir())
	require.Equal(t, 1, query[int](t, second.URL(), "select 1"))
}

func TestALargeLogStartsAnew(t *testing.T) {
	dir := openDir(t)
	s, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	require.NoError(t, os.Truncate(s.LogFile(), postgres.LargestLog+1))
	s = start(t, options(t, dir))
	info, err := os.Stat(s.LogFile())
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(100_000))
}

func TestAHalfMadeClusterIsMadeAgain(t *testing.T) {
	dir := openDir(t)
	s, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	half := s.DataDir() + ".new"
	require.NoError(t, os.Rename(s.DataDir(), half))
	require.NoError(t, os.RemoveAll(filepath.Join(half, "base")))

	s = start(t, options(t, dir))
	require.NoDirExists(t, half)
	require.Equal(t, 1, query[int](t, s.URL(), "select 1"))
}

func TestWhatIsNotAClusterIsLeftAlone(t *testing.T) {
	dir := openDir(t)
	s, err := postgres.Start(t.Context(), options(t, dir))
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	require.NoError(t, os.Remove(filepath.Join(s.DataDir(), "PG_VERSION")))
	_, err = postgres.Start(t.Context(), options(t, dir))
	require.ErrorContains(t, err, "is not a PostgreSQL data folder")
	require.DirExists(t, filepath.Join(s.DataDir(), "base"))
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	o := options(t, openDir(t))
	o.Settings = map[string]string{"shared_buffers": "a lot"}
	_, err := postgres.Start(t.Context(), o)
	require.ErrorContains(t, err, "invalid value for parameter")

	o.Bin = t.TempDir()
	_, err = postgres.Start(t.Context(), o)
	require.ErrorContains(t, err, "no usable PostgreSQL server in "+o.Bin)
}
