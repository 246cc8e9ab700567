package postgres_test

import (
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"docket/internal/postgres"
)

// owner is the user id that a file belongs to.
func owner(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func TestRootRunsTheServerAsSomebodyElse(t *testing.T) {
	needsRoot(t)
	s := start(t, options(t, openDir(t)))
	require.NotZero(t, owner(t, s.DataDir()))
	require.NotZero(t, owner(t, "/proc/"+strconv.Itoa(s.Pid())))
}

func TestRootBelowAClosedParentFallsBack(t *testing.T) {
	needsRoot(t)
	closed := openDir(t)
	require.NoError(t, os.Chmod(closed, 0o700))
	o := options(t, filepath.Join(closed, "data"))
	var log strings.Builder
	o.Logger = textLogger(&log)
	o.FallbackDir = filepath.Join(openDir(t), "open")
	s := start(t, o)
	require.True(t, strings.HasPrefix(s.DataDir(), o.FallbackDir), s.DataDir())
	require.Contains(t, log.String(), o.FallbackDir)
	require.Equal(t, 1, query[int](t, s.URL(), "select 1"))
}

func TestTheDefaultFallbackDependsOnTheFolder(t *testing.T) {
	needsRoot(t)
	_, err := os.Stat("/var/lib/docket")
	made := os.IsNotExist(err)
	closed := openDir(t)
	require.NoError(t, os.Chmod(closed, 0o700))
	s := start(t, options(t, filepath.Join(closed, "data")))
	base := filepath.Dir(filepath.Dir(s.DataDir()))
	t.Cleanup(func() {
		require.NoError(t, s.Stop())
		require.NoError(t, os.RemoveAll(base))
		if made {
			require.NoError(t, os.Remove("/var/lib/docket"))
		}
	})
	require.Equal(t, "/var/lib/docket", filepath.Dir(base))
	require.Len(t, filepath.Base(base), 12)
}

func TestRootWithNowhereToGoSaysSo(t *testing.T) {
	needsRoot(t)
	closed := openDir(t)
	require.NoError(t, os.Chmod(closed, 0o700))
	o := options(t, filepath.Join(closed, "data"))
	o.FallbackDir = filepath.Join(closed, "also")
	_, err := postgres.Start(t.Context(), o)
	require.ErrorContains(t, err, "DOCKET_POSTGRES_URL")
	require.ErrorContains(t, err, o.FallbackDir)
}

// Whoever started Docket as themselves and then as root keeps their data.
func TestRootKeepsTheOwnerOfACluster(t *testing.T) {
	needsRoot(t)
	nobody := account(t, "nobody")
	dir := openDir(t)
	require.NoError(t, os.Chown(dir, int(nobody.Uid), int(nobody.Gid)))
	c := startChild(t, childOrder{Dir: dir}, nobody)
	require.Empty(t, c.Error)
	execute(t, c.URL, "create table kept (n int); insert into kept values (7)")
	c.stop(t)

	s := start(t, options(t, dir))
	require.Equal(t, 7, query[int](t, s.URL(), "select n from kept"))
	require.EqualValues(t, nobody.Uid, owner(t, s.DataDir()))
	require.EqualValues(t, nobody.Uid, owner(t, "/proc/"+strconv.Itoa(s.Pid())))
}

func TestAnOrdinaryUser(t *testing.T) {
	needsRoot(t)
	nobody := account(t, "nobody")
	dir := openDir(t)
	require.NoError(t, os.Chown(dir, int(nobody.Uid), int(nobody.Gid)))
	c := startChild(t, childOrder{Dir: dir}, nobody)
	require.Empty(t, c.Error)
	require.EqualValues(t, nobody.Uid, owner(t, c.DataDir))
	require.Equal(t, 1, query[int](t, c.URL, "select 1"))
	c.stop(t)

	// Another user is told whose folder it is.
	require.NoError(t, os.Chmod(dir, 0o777))
	other := startChild(t, childOrder{Dir: dir}, &syscall.Credential{Uid: nobody.Uid - 1, Gid: nobody.Gid})
	require.True(t, contains(other.Error, "belongs to user id "+strconv.Itoa(int(nobody.Uid))), other.Error)
}

// As container platforms do that give every workload a user id of its own.
func TestAUserWithoutAName(t *testing.T) {
	needsRoot(t)
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: needs user namespaces")
	}
	const uid = 1_234_567
	_, err := user.LookupId(strconv.Itoa(uid))
	require.Error(t, err)
	dir := openDir(t)
	require.NoError(t, os.Chown(dir, uid, uid))
	c := startChild(t, childOrder{Dir: dir}, &syscall.Credential{Uid: uid, Gid: uid})
	if strings.Contains(c.Error, "operation not permitted") {
		t.Skip("SKIPPED: this system refuses user namespaces: " + c.Error)
	}
	require.Empty(t, c.Error)
	require.EqualValues(t, uid, owner(t, c.DataDir))
	require.Equal(t, 1, query[int](t, c.URL, "select 1"))
	c.stop(t)
}

// account looks a user up.
func account(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.Atoi(u.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
