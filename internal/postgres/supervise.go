package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
)

const (
	// startPatience is how long Start tries again when the server ends at once,
	// as it does while the children of a killed one are still leaving.
	startPatience = 10 * time.Second
	// restartInterval is the least time between two starts of a server that
	// comes up and dies again.
	restartInterval = time.Second
	// largestLog is the size, in bytes, above which the log starts anew.
	largestLog = 10 << 20
)

// supervise restarts the server whenever it ends, until Stop.
func (s *Server) supervise(p *process) {
	defer close(s.stopped)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-s.stopping
		cancel()
	}()
	for {
		up := time.Now()
		select {
		case <-s.stopping:
			s.stopErr = s.down(p)
			return
		case <-p.done:
		}
		s.healthy.Store(false)
		s.pid.Store(0)
		s.log.Error("the PostgreSQL server ended unexpectedly; starting it again", "cause", p.err, "log", s.LogFile())
		if !s.pause(restartInterval - time.Since(up)) {
			s.stopErr = s.down(p)
			return
		}
		next, err := s.launch(ctx, 0)
		if err != nil { // only Stop ends the attempts
			s.stopErr = s.down(p)
			return
		}
		p = next
		s.log.Info("the PostgreSQL server is back", "pid", p.pid)
	}
}

// down stops the server for good, if it still runs, and waits for what a
// killed one has left.
func (s *Server) down(p *process) error {
	s.healthy.Store(false)
	err := errors.Join(p.stop(), s.clearRemains(), s.release())
	s.pid.Store(0)
	if err == nil {
		s.log.Info("private PostgreSQL server stopped", "data", s.DataDir())
	}
	return err
}

// mayPass reports whether a failed start is due to the remains of a killed
// server or to being killed, as opposed to a setting or a file in disorder.
func mayPass(err error) bool {
	text := err.Error()
	return strings.Contains(text, "shared memory block") || strings.Contains(text, "lock file") || strings.Contains(text, "signal: killed")
}

// launch starts the server until it answers, with growing pauses. With
// patience it gives up after that, or at once when waiting cannot help;
// without, only when ctx ends.
func (s *Server) launch(ctx context.Context, patience time.Duration) (*process, error) {
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval, policy.MaxElapsedTime = 50*time.Millisecond, 5*time.Second, patience
	var p *process
	attempt := func() error {
		if err := s.clearRemains(); err != nil {
			return err
		}
		var err error
		p, err = s.launchOnce(ctx)
		if err != nil && patience > 0 && !mayPass(err) {
			return backoff.Permanent(err)
		}
		return err
	}
	notify := func(err error, next time.Duration) {
		s.log.Warn("the PostgreSQL server did not start; trying again", "error", err, "after", next)
	}
	if err := backoff.RetryNotify(attempt, backoff.WithContext(policy, ctx), notify); err != nil {
		return nil, err
	}
	s.pid.Store(int64(p.pid))
	s.healthy.Store(true)
	return p, nil
}

// launchOnce starts the server and waits until it answers, as long as it lives:
// recovery after a crash may take a while.
func (s *Server) launchOnce(ctx context.Context) (*process, error) {
	log, err := os.OpenFile(s.LogFile(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	args := append([]string{"-D", s.DataDir()}, serverSettings(s.socketDir, s.opts.Settings)...)
	cmd := s.account.command("/", s.bin.path("postgres"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for s.ping(ctx) != nil {
		select {
		case <-p.done:
			return nil, fmt.Errorf("the PostgreSQL server ended (%v): %s", p.err, tail(log, from))
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for the PostgreSQL server: %w", ctx.Err()), p.stop())
		case <-poll.C:
		}
	}
	return p, nil
}

// ping asks the server for an answer.
func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.urlOf("postgres"))
	if err != nil {
		return err
	}
	return errors.Join(conn.Ping(ctx), conn.Close(ctx))
}

// prepareDatabase creates the database in a new cluster and checks that the
// server has the one extension that read models need.
func (s *Server) prepareDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.urlOf("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var there, trigrams bool
	err = conn.QueryRow(ctx, `select exists (select from pg_database where datname = $1),
		exists (select from pg_available_extensions where name = 'pg_trgm')`, serverDatabase).Scan(&there, &trigrams)
	if err != nil {
		return err
	}
	if !trigrams {
		return fmt.Errorf("the PostgreSQL server in %s lacks the extension pg_trgm: install its contrib package, or set DOCKET_PG_BIN=%s", s.bin.dir, Download)
	}
	if !there {
		_, err = conn.Exec(ctx, "create database "+pgx.Identifier{serverDatabase}.Sanitize())
	}
	return err
}

// pause waits for d; false means that Stop came first.
func (s *Server) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stopping:
		return false
	}
}

// tail is what was written to the log since from, shortened to its end.
func tail(log *os.File, from int64) string {
	info, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	const most = 2000
	from = max(from, info.Size()-most)
	text := make([]byte, max(0, info.Size()-from))
	n, err := log.ReadAt(text, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return strings.TrimSpace(string(text[:n]))
}

// trimLog starts the log anew when it has grown large.
func (s *Server) trimLog() error {
	info, err := os.Stat(s.LogFile())
	if err != nil || info.Size() <= largestLog {
		return nil
	}
	return os.Truncate(s.LogFile(), 0)
}
