package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// longestSocket is how long a socket's path may be, in bytes; systems allow
// 103 to 107.
const longestSocket = 100

// acquireLock claims the cluster for this process. The kernel drops the claim
// when the process ends, however it ends.
func (s *Server) acquireLock() error {
	path := filepath.Join(s.dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("the PostgreSQL data in %s are in use by process %s: stop that one, or choose another data folder", s.dir, strings.TrimSpace(string(holder)))
		}
		return fmt.Errorf("locking %s: %w", path, err)
	}
	s.lock = f
	// Rewritten at every start: says who holds it and which cluster was used last.
	if err := f.Truncate(0); err != nil {
		return errors.Join(err, s.release())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return errors.Join(err, s.release())
	}
	return nil
}

// release removes a socket folder outside the cluster and gives up the claim.
func (s *Server) release() error {
	var err error
	if s.socketDir != "" && s.socketDir != filepath.Join(s.dir, "s") {
		err = os.RemoveAll(s.socketDir)
	}
	return errors.Join(err, s.lock.Close())
}

// initCluster makes the data folder if there is none. It is made aside and
// renamed, so that a half-made one is never taken for a whole.
func (s *Server) initCluster(ctx context.Context) error {
	data := s.DataDir()
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return nil
	}
	if _, err := os.Lstat(data); err == nil {
		return fmt.Errorf("%s is not a PostgreSQL data folder: move it away", data)
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	args := []string{"-D", fresh, "-U", serverUser, "-A", "trust", "-E", "UTF8", "--locale=C"}
	if s.bin.major >= 17 {
		args = append(args, "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
	}
	if s.opts.NoSync {
		args = append(args, "--no-sync")
	}
	if err := s.initdb(ctx, args); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return os.Rename(fresh, data)
}

// initdb runs the program; for a user id that has no name it runs it again
// where it has one.
func (s *Server) initdb(ctx context.Context, args []string) error {
	out, err := s.runInitdb(ctx, args, false)
	if err != nil && strings.Contains(out, "could not look up effective user ID") {
		if out, err = s.runInitdb(ctx, args, true); err != nil {
			return fmt.Errorf("user id %d has no line in the password file, which initdb needs, and a user namespace did not help: %w: %s; "+
				"give it a line, run as another user, or set DOCKET_POSTGRES_URL", s.account.uid, err, out)
		}
	}
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) runInitdb(ctx context.Context, args []string, named bool) (string, error) {
	cmd := s.account.command("/", s.bin.path("initdb"), args...)
	if named {
		if err := asUser(cmd.SysProcAttr, s.account, namedUser()); err != nil {
			return "", err
		}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	p, err := startProcess(cmd)
	if err != nil {
		return "", err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		err := syscall.Kill(-p.pid, syscall.SIGKILL)
		<-p.done
		return "", errors.Join(ctx.Err(), err)
	}
	return strings.TrimSpace(out.String()), p.err
}

// namedUser is a user id that the password file knows.
func namedUser() int {
	for _, name := range []string{"nobody", "postgres", "daemon"} {
		if u, err := user.Lookup(name); err == nil {
			if uid, err := strconv.Atoi(u.Uid); err == nil && uid > 0 {
				return uid
			}
		}
	}
	return 65534
}

// chooseSocketDir keeps the socket in the cluster's folder, or in a short one
// below the system's temporary folder when the path would be too long.
func (s *Server) chooseSocketDir() error {
	dir := filepath.Join(s.dir, "s")
	if len(filepath.Join(dir, ".s.PGSQL."+serverPort)) <= longestSocket {
		s.socketDir = dir
		return s.account.mkdir(dir)
	}
	sum := sha256.Sum256([]byte(s.dir))
	name := "docket-pg-" + hex.EncodeToString(sum[:6])
	var refused error
	for _, tmp := range []string{os.TempDir(), "/tmp"} {
		if len(filepath.Join(tmp, name+"-1234567890", ".s.PGSQL."+serverPort)) > longestSocket || !s.account.reaches(tmp) {
			continue
		}
		// The name is fixed so that a killed process leaves at most one folder,
		// which its successor takes over; unless somebody else sits on it.
		dir = filepath.Join(tmp, name)
		if info, err := os.Lstat(dir); err == nil && !s.ownFolder(info) {
			if dir, err = os.MkdirTemp(tmp, name+"-*"); err != nil {
				refused = err
				continue
			}
		}
		if refused = s.account.mkdir(dir); refused == nil {
			s.socketDir = dir
			return nil
		}
	}
	return fmt.Errorf("the path of %s is too long for a socket and no temporary folder will do (%v): choose a shorter data folder", s.dir, refused)
}

func (s *Server) ownFolder(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && int(st.Uid) == s.account.uid && info.Mode().Perm() == 0o700
}

// clearRemains ends what a killed supervisor or a killed server left behind in
// the cluster: a whole server, or backends whose postmaster is gone. We hold
// the cluster's lock, so nobody else is responsible for them.
func (s *Server) clearRemains() error {
	pidFile := filepath.Join(s.DataDir(), "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	left := processesIn(s.DataDir())
	if err == nil && slices.Contains(left, pid) {
		s.log.Warn("stopping a PostgreSQL server that was left behind", "pid", pid, "data", s.DataDir())
		if left = s.signalUntilGone([]int{pid}, syscall.SIGINT, 30*time.Second); len(left) == 0 {
			return nil
		}
	}
	// Backends see for themselves that their postmaster is gone, unless they are
	// in the middle of a long computation.
	if left = s.signalUntilGone(left, 0, 500*time.Millisecond); len(left) > 0 {
		s.log.Warn("ending PostgreSQL processes that were left behind", "pids", left, "data", s.DataDir())
		left = s.signalUntilGone(left, syscall.SIGQUIT, 10*time.Second)
	}
	if len(left) > 0 {
		return fmt.Errorf("processes %v still use %s and do not end", left, s.DataDir())
	}
	// The server would take any process with the old id for its predecessor:
	// somebody else's, as after a reboot or in a new container, or one that is
	// dead but not yet buried. The pid file also guards against backends that
	// still use the shared memory, so it goes only where those can be seen.
	stale := []string{filepath.Join(s.socketDir, ".s.PGSQL."+serverPort+".lock")}
	if seesBackends && err == nil && pid != os.Getpid() && alive(pid) {
		stale = append(stale, pidFile)
	}
	for _, file := range stale {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// signalUntilGone sends the signal once (0: none) and waits until no process
// of the cluster is left; it returns those that are.
func (s *Server) signalUntilGone(pids []int, signal syscall.Signal, most time.Duration) []int {
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.log.Warn("cannot signal a PostgreSQL process", "pid", pid, "error", err)
		}
	}
	deadline := time.NewTimer(most)
	defer deadline.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		left := processesIn(s.DataDir())
		if len(left) == 0 {
			return nil
		}
		select {
		case <-deadline.C:
			return left
		case <-poll.C:
		}
	}
}
