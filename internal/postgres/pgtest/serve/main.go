// Command serve runs a command with a PostgreSQL server for tests beside it:
//
//	go run ./internal/postgres/pgtest/serve -- go test ./...
//
// The command finds the server's address in DOCKET_TEST_POSTGRES_URL. When it
// ends, the server is removed and serve exits with the command's code.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"docket/internal/postgres/pgtest"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: serve -- command [argument ...]")
		os.Exit(2)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run runs the command and returns its exit code.
func run(args []string) (code int, err error) {
	// Caught from the start, so that the server is never left to itself. Ctrl-C
	// reaches the command by the terminal; other signals are passed on.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	env := os.Environ()
	if os.Getenv(pgtest.EnvURL) == "" {
		url, stop, startErr := pgtest.StartServer()
		if startErr != nil {
			return 1, startErr
		}
		defer func() { err = errors.Join(err, stop()) }()
		env = append(env, pgtest.EnvURL+"="+url)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	go func() {
		for s := range signals {
			// Gone already: its exit code is on its way.
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}
