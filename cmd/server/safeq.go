package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/config"
	"docket/internal/httpx"
	"docket/readapi/access"
	"docket/readapi/query"
	readsafeq "docket/readapi/safeq"
	writesafeq "docket/writeapi/safeq"

	"github.com/google/uuid"
)

// safeqAPI makes the SAFEQ dialect.
func (s *Server) safeqAPI(d httpx.Dialect, reader *query.Reader, resolver *access.Resolver) *httpx.API {
	gate := &readsafeq.Gate{Directory: access.NewDirectory(s.pools.List), Resolver: resolver, Account: s.safeqAccount(), Now: time.Now,
		Tokens: readsafeq.NewTokens(s.vault.SigningKey("safeq/access-token"))}
	api := httpx.NewAPI(readsafeq.Describe(d, gate))
	reads := readsafeq.NewReads(readsafeq.Config{API: api, Reader: reader, Gate: gate, Vault: s.vault, Version: Version()})
	writesafeq.Register(writesafeq.Config{API: api, Bus: s.bus, Reads: reads, Gate: gate, Vault: s.vault, Uploads: s.uploads, MaxUpload: int64(s.config.MaxUploadMiB) << 20,
		DirectoryLogin: s.userSync.Login, Background: s.background.run, Logger: s.log})
	return api
}

// safeqAccount is the account of requests that name none.
func (s *Server) safeqAccount() domain.ID {
	if s.config.SafeqAccount == "" {
		return directory.GlobalID
	}
	return uuid.MustParse(s.config.SafeqAccount) // checked by config
}

// listenSafeq opens the dialect's own listener.
func (s *Server) listenSafeq() error {
	if s.config.SafeqAddr == config.Off {
		return nil
	}
	var secure *tls.Config
	if s.config.SafeqCert != "" {
		certificate, err := tls.LoadX509KeyPair(s.config.SafeqCert, s.config.SafeqKey)
		if err != nil {
			return fmt.Errorf("certificate of the SAFEQ listener (DOCKET_SAFEQ_CERT, DOCKET_SAFEQ_KEY): %w", err)
		}
		secure = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	l, err := net.Listen("tcp", string(s.config.SafeqAddr))
	if err != nil {
		return fmt.Errorf("SAFEQ listener (DOCKET_SAFEQ_ADDR): %w", err)
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s.listeners = append(s.listeners, httpx.Listener{Listener: l})
	return nil
}

// SafeqAddr is where the SAFEQ dialect's own listener is, "" without one.
func (s *Server) SafeqAddr() string {
	if len(s.listeners) < 2 {
		return ""
	}
	return s.listeners[1].Listener.Addr().String()
}

// safeqAddress is where to find the dialect, for people.
func (s *Server) safeqAddress(base string) string {
	switch {
	case s.SafeqAddr() == "":
		return base + "/safeq" + readsafeq.Base
	case s.config.SafeqCert != "":
		return "https://" + s.SafeqAddr() + readsafeq.Base
	}
	return "http://" + s.SafeqAddr() + readsafeq.Base
}

// background is work that outlives the requests that asked for it.
type background struct {
	once    sync.Once
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	stopped bool
	running sync.WaitGroup
}

func (b *background) init() {
	b.once.Do(func() { b.ctx, b.cancel = context.WithCancel(context.Background()) })
}

// run does work unless the process is about to end.
func (b *background) run(work func(ctx context.Context)) {
	b.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		b.running.Go(func() { work(b.ctx) })
	}
}

// stop ends what is running and waits for it.
func (b *background) stop() {
	b.init()
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
}
