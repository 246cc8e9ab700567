package pgtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// envEnd makes TestEnd end its process in a bad way.
const envEnd = "DOCKET_PGTEST_END"

// TestEnd is run by TestNothingIsLeft in a process of its own.
func TestEnd(t *testing.T) {
	end := os.Getenv(envEnd)
	if end == "" {
		t.Skip("run by TestNothingIsLeft")
	}
	New(t)
	fmt.Println("\nready")
	switch end {
	case "panic":
		panic("on purpose")
	case "exit":
		os.Exit(3)
	case "fail":
		t.FailNow()
	case "wait":
		select {}
	}
}

func TestNothingIsLeft(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for _, c := range []struct {
		name, end string
		signal    syscall.Signal
	}{
		{"a panic", "panic", 0}, {"an exit", "exit", 0}, {"a failure", "fail", 0}, {"success", "pass", 0},
		{"Ctrl-C", "wait", syscall.SIGINT}, {"a kill", "wait", syscall.SIGKILL},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openDir(t)
			cmd := exec.Command(self, "-test.run=^TestEnd$")
			cmd.Env = childEnv(envEnd+"="+c.end, "TMPDIR="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			awaitLine(t, bufio.NewScanner(out), "ready")
			require.NotEmpty(t, serverFolders(t, dir))
			if c.signal != 0 { // a terminal signals the whole group
				require.NoError(t, syscall.Kill(-cmd.Process.Pid, c.signal))
			}
			err = cmd.Wait()
			if c.end == "pass" {
				require.NoError(t, err)
				require.Empty(t, serverFolders(t, dir), "Main waits for the removal")
				return
			}
			require.Error(t, err)
			// The keeper removes the folder after the server has ended.
			require.Eventually(t, func() bool { return len(serverFolders(t, dir)) == 0 }, 20*time.Second, 5*time.Millisecond)
		})
	}
}

func TestServe(t *testing.T) {
	serve := filepath.Join(t.TempDir(), "serve")
	out, err := exec.Command("go", "build", "-o", serve, "./serve").CombinedOutput()
	require.NoError(t, err, string(out))

	t.Run("passes the address and the exit code", func(t *testing.T) {
		dir := openDir(t)
		cmd := exec.Command(serve, "--", "sh", "-c", `echo "$`+EnvURL+`"; exit 3`)
		cmd.Env = childEnv("TMPDIR=" + dir)
		out, err := cmd.Output()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 3, exit.ExitCode())
		require.True(t, strings.HasPrefix(string(out), "postgres://"), string(out))
		require.Empty(t, serverFolders(t, dir))
	})
	t.Run("uses a server that is already named", func(t *testing.T) {
		cmd := exec.Command(serve, "--", "sh", "-c", `echo "$`+EnvURL+`"`)
		cmd.Env = childEnv(EnvURL + "=postgres://elsewhere")
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, "postgres://elsewhere\n", string(out))
	})
	t.Run("passes signals on and cleans up", func(t *testing.T) {
		dir := openDir(t)
		cmd := exec.Command(serve, "--", "sh", "-c", `trap 'kill $!; exit 5' TERM; sleep 1000 & echo ready; wait`)
		cmd.Env = childEnv("TMPDIR=" + dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		awaitLine(t, bufio.NewScanner(out), "ready")
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, 5, exit.ExitCode())
		require.Empty(t, serverFolders(t, dir))
	})
	t.Run("a command that does not exist", func(t *testing.T) {
		dir := openDir(t)
		cmd := exec.Command(serve, "/nonexistent/command")
		cmd.Env = childEnv("TMPDIR=" + dir)
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Run(), &exit)
		require.Equal(t, 127, exit.ExitCode())
		require.Empty(t, serverFolders(t, dir))
	})
}

// childEnv is our environment without a server to use.
func childEnv(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, EnvURL+"=") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// openDir is a temporary folder with a short name that other users can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest-*")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}

func serverFolders(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "docket-*"))
	require.NoError(t, err)
	return found
}

func awaitLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	require.FailNow(t, "the process did not say "+want)
}
