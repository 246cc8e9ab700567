package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"docket/internal/postgres"
)

// envKeeper set to 1 turns a process into the keeper.
const envKeeper = "DOCKET_PGTEST_KEEPER"

// settings trade durability for speed; the data do not outlive the tests.
var settings = map[string]string{
	"fsync":              "off",
	"full_page_writes":   "off",
	"synchronous_commit": "off",
	"max_connections":    "400", // many test binaries share one server
	"shared_buffers":     "128MB",
}

// The keeper is this very program started a second time, so that tests need
// no other executable; it must take over before the program's own main does.
func init() {
	if os.Getenv(envKeeper) == "1" {
		os.Exit(keep())
	}
}

// StartServer starts a private server for tests in a keeper process and
// returns its address. stop removes it and waits for that; it is removed as
// well when this process ends without calling stop.
func StartServer() (url string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	// The keeper leaves when its standard input ends, that is with the last
	// holder of the other end: only this process.
	stdin, alive, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	answers, stdout, err := os.Pipe()
	if err != nil {
		return "", nil, errors.Join(err, stdin.Close(), alive.Close())
	}
	defer answers.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envKeeper+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for the keeper
	err = cmd.Start()
	stdin.Close()
	stdout.Close()
	if err != nil {
		alive.Close()
		return "", nil, err
	}
	stop = func() error { return errors.Join(alive.Close(), cmd.Wait()) }
	line, err := bufio.NewReader(answers).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(errors.New("the PostgreSQL server for tests did not start"), stop())
	}
	return strings.TrimSpace(line), stop, nil
}

// keep runs a server until standard input ends and leaves nothing behind.
func keep() int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	if err := keepServer(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	return 0
}

func keepServer() (err error) {
	dir, err := os.MkdirTemp("", "docket-pgtest-*")
	if err != nil {
		return err
	}
	// Where root's temporary folder is closed to the server's user.
	fallback := filepath.Join("/tmp", filepath.Base(dir)+"-open")
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(fallback)) }()
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	server, err := postgres.Start(context.Background(), postgres.Options{
		Dir: dir, FallbackDir: fallback, Settings: settings, NoSync: true,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(server.Stop(), err) }()
	if _, err := fmt.Println(server.URL()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
