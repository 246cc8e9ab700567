package postgres_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"docket/internal/postgres"
	"docket/internal/postgres/pgtest"
)

// envChild turns the test binary into a supervisor process for tests that kill
// one or need another user; the value is its childOrder.
const envChild = "DOCKET_POSTGRES_TEST_CHILD"

type childOrder struct{ Dir, Bin, CacheDir string }

// childAnswer is the line that a child prints when its server is up.
type childAnswer struct {
	URL, DataDir string
	Pid          int
	Error        string
}

func TestMain(m *testing.M) {
	if order := os.Getenv(envChild); order != "" {
		os.Exit(supervisorChild(order))
	}
	pgtest.Main(m)
}

// supervisorChild runs a server until its standard input ends.
func supervisorChild(order string) int {
	var o childOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		panic(err)
	}
	answer := childAnswer{}
	s, err := postgres.Start(context.Background(), postgres.Options{Dir: o.Dir, Bin: o.Bin, CacheDir: o.CacheDir, NoSync: true})
	if err != nil {
		answer.Error = err.Error()
	} else {
		answer = childAnswer{URL: s.URL(), DataDir: s.DataDir(), Pid: s.Pid()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		panic(err)
	}
	if answer.Error != "" {
		return 1
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		panic(err)
	}
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child is a running supervisor process.
type child struct {
	childAnswer
	cmd   *exec.Cmd
	stdin io.Closer
}

// startChild runs the test binary as a supervisor, as another user if
// credential is set, and waits for its answer.
func startChild(t testing.TB, o childOrder, credential *syscall.Credential) *child {
	t.Helper()
	order, err := json.Marshal(o)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	if credential != nil { // the folder where go test builds is closed to others
		self = copyFile(t, self, filepath.Join(openDir(t), "supervisor"))
	}
	cmd := exec.Command(self)
	cmd.Dir = "/"
	cmd.Env = []string{envChild + "=" + string(order)}
	for _, key := range []string{"PATH", "DOCKET_PG_BIN", "npm_config_registry"} {
		cmd.Env = append(cmd.Env, key+"="+os.Getenv(key))
	}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{cmd: cmd, stdin: stdin}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			stdin.Close()
			_ = cmd.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(line, &c.childAnswer))
	return c
}

// stop ends the child as its owner would.
func (c *child) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, c.stdin.Close())
	require.NoError(t, c.cmd.Wait())
}

// kill ends the child as the kernel would.
func (c *child) kill(t testing.TB) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Kill())
	require.Error(t, c.cmd.Wait())
}

func copyFile(t testing.TB, from, to string) string {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return to
}

// openDir is a temporary folder that other users can enter, unlike t.TempDir.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docket-pg-test-*")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// options are those of a throw-away server in dir whose log goes to the test.
func options(t testing.TB, dir string) postgres.Options {
	return postgres.Options{Dir: dir, NoSync: true, Logger: textLogger(t.Output())}
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// start runs a server for the length of the test and checks that it leaves
// nothing running.
func start(t testing.TB, o postgres.Options) *postgres.Server {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	s, err := postgres.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Stop())
		require.Empty(t, postgres.ProcessesIn(s.DataDir()))
		goleak.VerifyNone(t, leaks)
	})
	return s
}

// query runs a statement on a connection of its own and returns its one value.
func query[T any](t testing.TB, url, sql string, args ...any) T {
	t.Helper()
	value, err := tryQuery[T](url, sql, args...)
	require.NoError(t, err)
	return value
}

func tryQuery[T any](url, sql string, args ...any) (value T, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return value, err
	}
	defer conn.Close(ctx)
	return value, conn.QueryRow(ctx, sql, args...).Scan(&value)
}

// execute runs statements on a connection of its own.
func execute(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// needsRoot skips a test that can only be made by root.
func needsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: changing users needs root")
	}
}

func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
