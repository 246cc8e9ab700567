package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// Names inside the private server. The socket's folder is open to the server's
// user only, so there is no password.
const (
	serverUser     = "docket"
	serverDatabase = "docket"
	serverPort     = "5432" // part of the socket's name; no port is opened
)

// Server is a running private PostgreSQL server. It is restarted when it dies,
// until Stop.
type Server struct {
	opts      Options
	log       *slog.Logger
	account   account
	bin       binaries
	dir       string // <base>/pg<major>
	socketDir string
	lock      *os.File

	healthy  atomic.Bool
	pid      atomic.Int64
	stopping chan struct{}
	stopOnce sync.Once
	stopped  chan struct{}
	stopErr  error // valid once stopped is closed
}

// Start finds a PostgreSQL server, makes a cluster if there is none and
// returns when the server answers queries; ctx bounds that, not the server's
// life. A server that a killed process left behind in the same folder is
// stopped first. It fails when another process supervises the same folder.
func Start(ctx context.Context, opts Options) (*Server, error) {
	s := &Server{opts: opts.withDefaults(), stopping: make(chan struct{}), stopped: make(chan struct{})}
	s.log = s.opts.Logger
	if err := s.locate(ctx); err != nil {
		return nil, err
	}
	if err := s.acquireLock(); err != nil {
		return nil, err
	}
	p, err := s.bringUp(ctx)
	if err != nil {
		return nil, errors.Join(err, s.release())
	}
	go s.supervise(p)
	s.log.Info("private PostgreSQL server is up", "major", s.bin.major, "binaries", s.bin.dir, "data", s.DataDir(), "pid", p.pid)
	return s, nil
}

// bringUp readies the folder and launches the server for the first time.
func (s *Server) bringUp(ctx context.Context) (*process, error) {
	if err := s.initCluster(ctx); err != nil {
		return nil, err
	}
	if err := s.chooseSocketDir(); err != nil {
		return nil, err
	}
	if err := s.trimLog(); err != nil {
		return nil, err
	}
	p, err := s.launch(ctx, startPatience)
	if err != nil {
		return nil, err
	}
	if err := s.prepareDatabase(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// locate decides where the cluster lives, who runs it and with which binaries.
func (s *Server) locate(ctx context.Context) error {
	if s.opts.Dir == "" {
		return errors.New("the private PostgreSQL server needs a data folder")
	}
	base, err := filepath.Abs(s.opts.Dir)
	if err != nil {
		return err
	}
	if s.account, err = openBase(base); err != nil {
		return err
	}
	if s.account.other && !s.account.reaches(base) {
		closed := base
		if base = s.opts.FallbackDir; base == "" {
			sum := sha256.Sum256([]byte(closed))
			base = filepath.Join("/var/lib/docket", hex.EncodeToString(sum[:6]))
		}
		if s.account, err = openBase(base); err != nil {
			return err
		}
		if !s.account.reaches(base) {
			return fmt.Errorf("run as root, the PostgreSQL server needs a data folder that user id %d can reach; neither %s nor %s is: open their parents (chmod a+x), choose another data folder, or set DOCKET_POSTGRES_URL", s.account.uid, closed, base)
		}
		s.log.Warn("the data folder is closed to the user that the PostgreSQL server runs as; its data are elsewhere", "closed", closed, "uid", s.account.uid, "data", base)
	}
	existing := clusters(base)
	if s.bin, err = findBinaries(ctx, s.opts, s.account, existing); err != nil {
		return err
	}
	s.dir = filepath.Join(base, fmt.Sprintf("pg%d", s.bin.major))
	if len(existing) > 0 && existing[0].major != s.bin.major {
		s.log.Warn("the PostgreSQL server has another major version than the data used last; those stay as they are", "unused", existing[0].dir, "data", s.dir)
	}
	return s.account.mkdir(s.dir)
}

// openBase makes sure that the base folder exists and says who runs a cluster
// below it. Made by root it stays open for passing through: the cluster inside
// is closed by itself.
func openBase(base string) (account, error) {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(base, mode); err != nil {
		return account{}, err
	}
	return serverAccount(base)
}

// URL is the address of the server's database, for [Connect] and tools.
func (s *Server) URL() string { return s.urlOf(serverDatabase) }

func (s *Server) urlOf(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(serverUser), Path: "/" + database}
	u.RawQuery = url.Values{"host": {s.socketDir}, "port": {serverPort}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// ConnConfig is URL, parsed.
func (s *Server) ConnConfig() (*pgx.ConnConfig, error) { return pgx.ParseConfig(s.URL()) }

// DataDir is where the cluster is, which is not below Options.Dir if that is
// closed to the server's user.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// LogFile is the server's own log.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "postgres.log") }

// Major is the server's major version.
func (s *Server) Major() int { return s.bin.major }

// Pid is the process id of the server, 0 while there is none.
func (s *Server) Pid() int { return int(s.pid.Load()) }

// Healthy reports whether the server runs and has answered since its last start.
func (s *Server) Healthy() bool { return s.healthy.Load() }

// Stop ends the sessions and the server (fast shutdown; harder after 30 s) and
// waits for it. It may be called more than once.
func (s *Server) Stop() error {
	s.stopOnce.Do(func() { close(s.stopping) })
	<-s.stopped
	return s.stopErr
}
