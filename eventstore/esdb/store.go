// Package esdb implements the event store port over the EventStoreDB client.
//
// The client is used through a supervisor (see supervisor.go), because by
// itself it closes for good once the server has been away for a second,
// ignores deadlines while it looks for the server, and leaks connections when
// it finds it again. Requires a server of version 23.10 or newer, the first to
// tell subscribers that they caught up.
package esdb

import (
	"context"
	"iter"
	"log/slog"
	"net"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"docket/eventstore"
)

// Config says how to reach the server. Either ConnectionString or Client is
// given, the rest is optional.
type Config struct {
	// ConnectionString is an "esdb://" or "esdb+discover://" URL.
	ConnectionString string
	// Client is a ready configuration, as the embedded server hands one out. It
	// is copied.
	Client *client.Configuration
	// Log reads the server's log without the way over gRPC, for servers in the
	// same process. ReadAll uses it.
	Log Log
	// Dial is a quicker way to the same server, as the embedded one has it, for the call that appends share.
	Dial func(context.Context) (net.Conn, error)
	// NoBatch makes a call for every append, instead of one call for all of them where the server can.
	NoBatch bool
	// Logger gets outages and recoveries. Nil discards them.
	Logger *slog.Logger
	// Deadlines bound every call.
	Deadlines Deadlines
	// OnAppend, when given, is told how long each Append took and what came of it.
	OnAppend func(took time.Duration, err error)
}

// Log is the direct way to the log of a server in the same process.
type Log interface {
	// ReadAll has the meaning of eventstore.Store.ReadAll.
	ReadAll(ctx context.Context, after eventstore.Position, filter eventstore.Filter) iter.Seq2[eventstore.Recorded, error]
}

// Deadlines are upper bounds; the caller's context may end a call earlier, and a
// server that is known to be away ends it after a moment unless it was under way
// before. Zero means the default.
type Deadlines struct {
	// Append bounds an append with all its retries. Default 10 s.
	Append time.Duration
	// Read bounds each page of a read, and the opening of a subscription, with
	// all retries. Default 10 s.
	Read time.Duration
	// Probe bounds the question whether the server answers. Default 3 s.
	Probe time.Duration
}

func (d Deadlines) orDefaults() Deadlines {
	set := func(v *time.Duration, fallback time.Duration) {
		if *v <= 0 {
			*v = fallback
		}
	}
	set(&d.Append, 10*time.Second)
	set(&d.Read, 10*time.Second)
	set(&d.Probe, 3*time.Second)
	return d
}

// Store is the event store behind an EventStoreDB server.
type Store struct {
	supervisor *supervisor
	batcher    *batcher
	log        Log
	deadlines  Deadlines
	logger     *slog.Logger
	onAppend   func(time.Duration, error)
}

var _ eventstore.Store = (*Store)(nil)

// Open starts connecting and returns at once: the server may be away, and calls
// wait a moment for it. It fails on an unusable configuration.
func Open(cfg Config) (*Store, error) {
	conf, err := clientConfiguration(cfg)
	if err != nil {
		return nil, err
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if conf.DisableTLS && conf.Username != "" {
		logger.Warn("event store: the client sends no credentials without TLS, the configured user is ignored")
	}
	conf.Logger = clientLogger(logger)
	deadlines := cfg.Deadlines.orDefaults()
	sv := supervise(conf, deadlines.Probe, logger)
	return &Store{
		supervisor: sv,
		batcher:    startBatcher(cfg, conf, sv, logger),
		log:        cfg.Log,
		deadlines:  deadlines,
		logger:     logger,
		onAppend:   cfg.OnAppend,
	}, nil
}

// Close ends all calls and followers with an error and releases the connection.
func (s *Store) Close() error {
	s.supervisor.close()
	s.batcher.close()
	return nil
}

// Stats are counters since Open, for metrics.
type Stats struct {
	Connected  bool   // a connection stands
	Reconnects uint64 // connections made after the first
	InFlight   int64  // calls to the server under way, those given up by their callers included
	Retries    uint64 // calls repeated after an error
	Batched    uint64 // appends that shared one call
}

// Stats reads the counters.
func (s *Store) Stats() Stats {
	sv := s.supervisor
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return Stats{
		Connected:  sv.current != nil,
		Reconnects: max(sv.connections, 1) - 1,
		InFlight:   sv.inFlight.Load(),
		Retries:    sv.retries.Load(),
		Batched:    s.batcher.decided.Load(),
	}
}

// Ready asks the server for the end of its log, waiting for it a moment.
func (s *Store) Ready(ctx context.Context) error {
	_, err := retry(ctx, s, call{what: "ask event store", limit: s.deadlines.Probe}, lastPosition)
	return err
}

// Head is the position of the newest event, the server's own included.
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	return retry(ctx, s, call{what: "read end of log", limit: s.deadlines.Read}, lastPosition)
}
