// Package server puts the parts of Docket together into a running process.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"docket/commands"
	commandeddirectory "docket/commands/directory"
	"docket/commands/effects"
	"docket/commands/effects/usersync"
	commandedprinting "docket/commands/printing"
	"docket/commands/reactors"
	workedprinting "docket/commands/reactors/printing"
	commandedreporting "docket/commands/reporting"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/eventstore"
	"docket/internal/blob"
	"docket/internal/config"
	"docket/internal/httpx"
	"docket/internal/idempotency"
	"docket/internal/keyring"
	"docket/internal/telemetry"
	"docket/internal/vault"
	"docket/projections"
	projectedaudit "docket/projections/audit"
	projecteddirectory "docket/projections/directory"
	projectedprinting "docket/projections/printing"
	projectedreporting "docket/projections/reporting"

	"github.com/google/uuid"
)

// drain bounds how long requests under way may take after a signal to stop.
const drain = 20 * time.Second

// Server is a running Docket.
type Server struct {
	config *config.Config
	log    *slog.Logger
	tel    *telemetry.Telemetry
	folder *os.File // locked while we run

	*stores
	codec       *eventstore.Codec
	engine      *projections.Engine
	bus         *commands.Bus
	effects     *effects.Engine
	reactors    *reactors.Engine
	idempotency *idempotency.Store
	blobs       blob.Store
	uploads     blob.Store // blobs, with a limit for what clients send
	printing    *workedprinting.Workers
	userSync    *usersync.Sync
	operations  *operations
	background  background // what requests left to do
	site        *httpx.Site
	listeners   []httpx.Listener

	ready   bool // bootstrapped; guarded by mu
	mu      sync.Mutex
	keyFile string // where the bootstrap key is kept, "" when configured
}

// Events are all event types of Docket.
func Events() []domain.Event {
	return slices.Concat(commands.Events(), directory.Events(), reporting.Events(), printing.Events())
}

// Open brings everything up but answers nothing yet; see Run. Log lines go to logs.
func Open(ctx context.Context, c *config.Config, logs io.Writer) (*Server, error) {
	tel, err := telemetry.Start(ctx, telemetry.Options{LogOutput: logs, LogLevel: c.LogLevel, LogFormat: c.LogFormat, OTLPEndpoint: c.OTLPEndpoint, Version: Version()})
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, log: tel.Logger, tel: tel, codec: eventstore.NewCodec(Events()...)}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	if err := s.claimFolder(); err != nil {
		return err
	}
	// Sockets first: an address in use should be known before a store starts.
	if err := s.listen(); err != nil {
		return err
	}
	var err error
	metrics := newStoreMetrics(s.tel.Metrics)
	if s.stores, err = openStores(ctx, s.config, s.log, metrics.appended); err != nil {
		return err
	}
	metrics.watch(s.tel.Metrics, s.stores)
	if err := s.sameInstallation(ctx); err != nil {
		return err
	}
	if err := s.sameLog(ctx, s.log); err != nil {
		return err
	}
	ring, err := keyring.Open(ctx, s.pools.Main, s.vault)
	if err != nil {
		return err
	}
	s.codec = s.codec.WithProtection(ring)
	if s.idempotency, err = idempotency.Open(ctx, s.pools.Main, s.vault, s.log); err != nil {
		return err
	}
	process, err := s.processName()
	if err != nil {
		return err
	}
	if err := s.idempotency.Resume(ctx, process); err != nil {
		return err
	}
	if s.engine, err = projections.NewEngine(projections.Config{
		Store: s.stores.log, Codec: s.codec, Pool: s.pools.Projection, Logger: s.log, Metrics: newProjectionMetrics(s.tel.Metrics),
		Groups: Groups(), WatchOnly: !s.config.Roles.Has(config.Projections),
	}); err != nil {
		return err
	}
	s.bus = commands.NewBus(commands.Config{Store: s.stores.log, Codec: s.codec, Digest: s.vault.HMAC, Waiter: s.engine, Wait: s.config.WriteWait, CacheSize: s.config.CacheStreams, Logger: s.log})
	commandeddirectory.Register(s.bus)
	commandedreporting.Register(s.bus)
	commandedprinting.Register(s.bus)
	if err = s.openBlobs(ctx); err != nil {
		return err
	}
	if err = s.openPrinting(); err != nil {
		return err
	}
	if err = s.openUserDirectories(); err != nil {
		return err
	}
	if err = s.openEffects(); err != nil {
		return err
	}
	if err = s.openReactors(); err != nil {
		return err
	}
	s.operations = newOperations(s.engine, s.log)
	s.serve()
	return nil
}

// Groups are all read models.
var Groups = sync.OnceValue(func() []*projections.Group {
	return []*projections.Group{projecteddirectory.Group(), projectedreporting.Group(), projectedprinting.Group(), projectedaudit.Group(Events())}
})

// claimFolder makes sure that no other process uses the data folder.
func (s *Server) claimFolder() error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		// Run by root, the private Postgres is another user, who must pass through
		// to its own folder. All others inside are closed by themselves.
		mode = 0o711
	}
	if err := os.MkdirAll(s.config.DataDir, mode); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.config.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := tryLock(f); err != nil {
		return errors.Join(fmt.Errorf("another docket uses the data folder %s: stop it, or set DOCKET_DATA_DIR", s.config.DataDir), f.Close())
	}
	s.folder = f
	return nil
}

// processName is a name for whichever process has the data folder, kept in it.
func (s *Server) processName() (string, error) {
	file := filepath.Join(s.config.DataDir, "process.id")
	name, err := os.ReadFile(file)
	if err == nil {
		return string(name), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	made := uuid.NewString()
	if err := os.WriteFile(file+".new", []byte(made), 0o600); err != nil {
		return "", err
	}
	return made, os.Rename(file+".new", file)
}

func (s *Server) listen() error {
	if !s.config.Roles.Has(config.API) {
		return nil
	}
	l, err := net.Listen("tcp", string(s.config.HTTPAddr))
	if err != nil {
		return fmt.Errorf("main listener (DOCKET_HTTP_ADDR): %w", err)
	}
	s.listeners = append(s.listeners, httpx.Listener{Listener: l})
	return s.listenSafeq()
}

// Addr is where the main listener is, "" without one.
func (s *Server) Addr() string {
	if len(s.listeners) == 0 {
		return ""
	}
	return s.listeners[0].Listener.Addr().String()
}

// Run works until ctx ends or a store of this process fails for good. Requests
// under way are answered before it returns.
func (s *Server) Run(ctx context.Context) error {
	// Projections outlive the listeners: the last writes wait for them.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.engine.Run(background); err != nil {
			s.log.Error("projections ended", "error", err)
		}
	})
	running.Go(func() { s.idempotency.Run(background, time.Hour) })
	running.Go(func() { s.bootstrap(background) })
	running.Go(func() { s.runReactors(background) })
	running.Go(func() { s.runEffects(background) })
	defer running.Wait()
	defer stop()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.lost():
			cancel(fmt.Errorf("the embedded event store failed: %w", s.embedded.Err()))
		case <-ctx.Done():
		}
	}()
	if len(s.listeners) == 0 {
		<-ctx.Done()
	} else if err := httpx.Serve(ctx, s.log, drain, s.listeners...); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// bootstrap makes what every installation has, and tries until it is there.
func (s *Server) bootstrap(ctx context.Context) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		err := s.bootstrapOnce(ctx)
		if err == nil {
			s.mu.Lock()
			s.ready = true
			s.mu.Unlock()
			return
		}
		s.log.Warn("the installation is not made up yet", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (s *Server) bootstrapOnce(ctx context.Context) error {
	key, err := s.bootstrapKey()
	if err != nil {
		return err
	}
	if err := s.sameLog(ctx, s.log); err != nil { // it may have been away at the start
		return err
	}
	r := commands.NewRequest("system", time.Now().UTC())
	if err := commandeddirectory.Bootstrap(commands.WithRequest(ctx, r), s.bus, vault.HashToken(key)); err != nil {
		return err
	}
	if err := s.sameLog(ctx, s.log); err != nil { // a new log has its first event now
		return err
	}
	return s.awaitBootstrapKey(ctx)
}

// awaitBootstrapKey blocks until the key can be used: whoever is told that the
// server is ready may come with it at once.
func (s *Server) awaitBootstrapKey(ctx context.Context) error {
	var last eventstore.Position
	var types []string
	for e, err := range s.stores.log.Load(ctx, directory.APIKeyStream(directory.BootstrapKeyID), 0) {
		if err != nil {
			return err
		}
		last, types = e.Position, append(types, e.Type)
	}
	if !s.engine.Await(ctx, last, types) {
		return errors.New("the read models have not taken in the bootstrap key yet")
	}
	return nil
}

// bootstrapKey is the configured key of the first administrator, or one that is
// made once and kept for its owner only.
func (s *Server) bootstrapKey() (string, error) {
	if s.config.BootstrapKey != "" {
		return s.config.BootstrapKey, nil
	}
	s.keyFile = KeyFile(s.config.DataDir)
	key, err := os.ReadFile(s.keyFile)
	if err == nil {
		return string(key), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	made, _ := vault.NewToken("dk_")
	temporary := s.keyFile + ".new"
	if err := os.WriteFile(temporary, []byte(made), 0o600); err != nil {
		return "", err
	}
	return made, os.Rename(temporary, s.keyFile)
}

// KeyFile is where a generated bootstrap key is kept.
func KeyFile(dataDir string) string { return filepath.Join(dataDir, "bootstrap.key") }

// Close lets go of everything. Run must have returned.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.operations != nil {
		s.operations.close()
	}
	s.background.stop()
	if s.blobs != nil {
		errs = append(errs, s.blobs.Close())
	}
	if s.stores != nil {
		errs = append(errs, s.close())
	}
	errs = append(errs, s.tel.Stop(context.Background()))
	if s.folder != nil {
		errs = append(errs, s.folder.Close())
	}
	return errors.Join(errs...)
}

// APIs are the dialects that the process answers.
func (s *Server) APIs() []*httpx.API { return s.site.APIs }
