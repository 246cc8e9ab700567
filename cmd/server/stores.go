package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"docket/eventstore/embedded"
	"docket/eventstore/esdb"
	"docket/internal/config"
	"docket/internal/postgres"
	"docket/internal/vault"
)

// startTime is how long a Postgres of one's own may take to answer at the start.
const startTime = 30 * time.Second

// stores are what keeps data: the log, the read models, the secrets.
type stores struct {
	embedded *embedded.Server // nil with an EventStoreDB of one's own
	log      *esdb.Store
	private  *postgres.Server // nil with a Postgres of one's own
	pools    *postgres.Pools
	vault    *vault.Vault
}

// openStores brings both stores up side by side. appended hears of every append to the log.
func openStores(ctx context.Context, c *config.Config, logger *slog.Logger, appended func(time.Duration, error)) (*stores, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	s := &stores{}
	var err error
	if s.vault, err = vault.Open(c.SecretKey, filepath.Join(c.DataDir, "secret.key")); err != nil {
		return nil, err
	}
	ready := make(chan error, 1)
	go func() { ready <- s.openPostgres(ctx, c, logger) }()
	err = errors.Join(s.openLog(c, logger, appended), <-ready)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stores) openLog(c *config.Config, logger *slog.Logger, appended func(time.Duration, error)) error {
	cfg := esdb.Config{ConnectionString: c.EventstoreURL, Logger: logger, OnAppend: appended}
	if c.EventstoreURL == "" {
		var err error
		if s.embedded, err = embedded.Open(filepath.Join(c.DataDir, "events"), embedded.Options{Logger: logger, CacheStreams: c.CacheStreams}); err != nil {
			return fmt.Errorf("embedded event store: %w", err)
		}
		cfg.Client, cfg.Log, cfg.Dial = s.embedded.ClientConfig(), esdb.Direct(s.embedded.Log()), s.embedded.Dial
	}
	var err error
	if s.log, err = esdb.Open(cfg); err != nil {
		return fmt.Errorf("event store: %w", err)
	}
	return nil
}

func (s *stores) openPostgres(ctx context.Context, c *config.Config, logger *slog.Logger) error {
	url := c.PostgresURL
	if url == "" {
		var err error
		if s.private, err = postgres.Start(ctx, postgres.Options{Dir: filepath.Join(c.DataDir, "postgres"), Bin: c.PGBin, Logger: logger}); err != nil {
			return err
		}
		url = s.private.URL()
	}
	var err error
	if s.pools, err = postgres.Connect(ctx, url, postgres.PoolOptions{}); err != nil {
		return err
	}
	return s.pools.Ping(ctx, startTime)
}

// lost is closed when a store of this process failed for good.
func (s *stores) lost() <-chan struct{} {
	if s.embedded == nil {
		return nil
	}
	return s.embedded.Done()
}

func (s *stores) close() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.embedded != nil {
		errs = append(errs, s.embedded.Close())
	}
	if s.pools != nil {
		s.pools.Close()
	}
	if s.private != nil {
		errs = append(errs, s.private.Stop())
	}
	return errors.Join(errs...)
}
