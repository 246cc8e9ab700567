package esdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// clientConfiguration fills in what a configuration made by hand leaves zero,
// which the client would take literally.
func clientConfiguration(cfg Config) (client.Configuration, error) {
	var conf client.Configuration
	switch {
	case cfg.Client != nil && cfg.ConnectionString != "":
		return conf, errors.New("event store: both a connection string and a client configuration given")
	case cfg.Client != nil:
		conf = *cfg.Client
	case cfg.ConnectionString != "":
		parsed, err := client.ParseConnectionString(cfg.ConnectionString)
		if err != nil {
			// The parser's error may quote the string with its password.
			return conf, errors.New("event store: unusable connection string; expecting esdb://[user:password@]host:port[,host:port...][?tls=false]")
		}
		conf = *parsed
	default:
		return conf, errors.New("event store: neither a connection string nor a client configuration given")
	}
	if err := conf.Validate(); err != nil {
		return conf, fmt.Errorf("event store: %w", err)
	}
	if conf.GossipTimeout <= 0 {
		conf.GossipTimeout = 5
	}
	if conf.KeepAliveInterval == 0 {
		conf.KeepAliveInterval = 10 * time.Second
	}
	if conf.KeepAliveTimeout == 0 {
		conf.KeepAliveTimeout = 10 * time.Second
	}
	// A client in use that loses the server is replaced; what still runs in it
	// hangs for ever if it gives up searching before. One minute outlasts the
	// grace of a replaced client.
	conf.MaxDiscoverAttempts = 240
	conf.DiscoveryInterval = 250
	return conf, nil
}

// clientLogger passes the client's log on as debug output: it reports every
// error it returns too, so what matters is logged here by those who handle it.
func clientLogger(logger *slog.Logger) client.LoggingFunc {
	return func(level client.LogLevel, format string, args ...any) {
		if logger.Enabled(context.Background(), slog.LevelDebug) {
			logger.Debug("event store client: "+fmt.Sprintf(format, args...), "level", level)
		}
	}
}
