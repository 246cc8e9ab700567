// Package embedded is a durable single-node event store inside the process that speaks the EventStoreDB gRPC protocol, so
// that an application uses the EventStoreDB client, and nothing else, whether its events live here or in a cluster.
//
// Package eventlog underneath stores and orders the events; this package is the protocol over it: the Streams service
// (append, batch append, read, subscribe, delete, tombstone), persistent subscriptions, server features and gossip.
// Server-side projections and user management answer UNIMPLEMENTED, the HTTP interface 501.
//
// It is one node without replication: whoever needs more points the client at an EventStoreDB cluster.
package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
)

// Version is the EventStoreDB version the server reports. Clients choose by it what they may use.
const Version = "24.10.0"

const maxMessageBytes = 16 << 20

// memoryBytes is how much a connection in memory holds that was sent and not read yet.
const memoryBytes = 1 << 20

// How long Close waits: for writes under way to be answered, and then for clients to take notice. A reader that does not
// read is cut off.
const (
	drainTime  = 4 * time.Second
	noticeTime = 250 * time.Millisecond
)

// Options of Open. The zero value is a durable store reachable over a unix socket only.
type Options struct {
	// NoSync answers appends before they are on disk, so that a crash loses the newest ones. For tests and bulk loads.
	NoSync bool
	// AcceptLoss opens a store that has lost acknowledged events instead of refusing with an *eventlog.LossError.
	AcceptLoss bool
	// FS is the file system of the log; nil means the operating system's. With another one nothing but the socket touches
	// the disk.
	FS vfs.FS
	// CacheStreams is how many streams' states, and how many ids of the newest events, are kept in memory; 0 means 131,072.
	CacheStreams int
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger
	// Addr is a TCP address to listen on besides the socket, as "127.0.0.1:2113"; empty means none.
	Addr string
	// Advertise is the host, or host:port, by which clients that discover a cluster are told to reach Addr; empty means
	// Addr itself.
	Advertise string
	// TLS secures Addr; nil leaves it in the clear.
	TLS *tls.Config
	// User and Password are asked of everybody who comes by Addr; empty admits everybody. They need TLS.
	User, Password string
	// SocketDir is the folder of the unix socket; empty means the store's own folder, or a private temporary one where
	// the path would be too long for a socket.
	SocketDir string
}

// Server is an open event store that serves clients. It is safe for concurrent use.
type Server struct {
	log       *eventlog.Log
	logger    *slog.Logger
	grpc      *grpc.Server
	gate      *gate // nil admits everybody
	socket    *socket
	memory    *bufconn.Listener // for clients in this process
	tcp       net.Listener
	tls       *tls.Config
	advertise *gossip.EndPoint

	// ctx ends when the server closes or the log fails; reads and subscriptions under way end with it.
	ctx       context.Context
	cancel    context.CancelCauseFunc
	writing   sync.RWMutex // held for reading while a write is decided and answered
	serving   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

var errShutdown = errors.New("the event store is shutting down")

// Open opens the store in dir, creating it if there is none, and serves it. See eventlog.Open for the errors.
func Open(dir string, opts Options) (*Server, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	gate, err := newGate(opts)
	if err != nil {
		return nil, err
	}
	log, err := eventlog.Open(dir, eventlog.Options{
		FS: opts.FS, NoSync: opts.NoSync, AcceptLoss: opts.AcceptLoss, CacheStreams: opts.CacheStreams, Logger: opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{log: log, logger: opts.Logger, gate: gate, tls: opts.TLS, memory: bufconn.Listen(memoryBytes)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	if err := s.listen(dir, opts); err != nil {
		s.cancel(errShutdown)
		return nil, errors.Join(err, log.Close())
	}
	s.serve()
	return s, nil
}

func (s *Server) listen(dir string, opts Options) (err error) {
	socketDir := opts.SocketDir
	if socketDir == "" && opts.FS == nil {
		socketDir = dir
	}
	if s.socket, err = listenSocket(socketDir); err != nil {
		return err
	}
	if opts.Addr == "" {
		return nil
	}
	if s.tcp, err = net.Listen("tcp", opts.Addr); err != nil {
		return errors.Join(fmt.Errorf("listening for event store clients: %w", err), s.socket.Close(), s.socket.remove())
	}
	if s.advertise, err = advertised(s.tcp.Addr(), opts.Advertise); err != nil {
		return errors.Join(err, s.tcp.Close(), s.socket.Close(), s.socket.remove())
	}
	return nil
}

func (s *Server) serve() {
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.InitialWindowSize(1 << 20),
		grpc.InitialConnWindowSize(4 << 20),
		// Clients ping every 10 s even without calls; the default policy would cut them off after half a minute.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 2 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		grpc.UnknownServiceHandler(unimplemented),
	}
	if s.gate != nil {
		opts = append(opts, grpc.UnaryInterceptor(s.gate.unary), grpc.StreamInterceptor(s.gate.stream))
	}
	s.grpc = grpc.NewServer(opts...)
	streams.RegisterStreamsServer(s.grpc, &streamsServer{server: s, log: s.log})
	persistent.RegisterPersistentSubscriptionsServer(s.grpc, &persistentServer{groups: &groups{server: s, log: s.log}})
	serverfeatures.RegisterServerFeaturesServer(s.grpc, &featuresServer{server: s})
	gossip.RegisterGossipServer(s.grpc, &gossipServer{server: s, started: time.Now()})
	s.grpc.RegisterService(s.backupDesc(), s)
	s.run(s.socket.Listener)
	s.run(s.memory)
	if s.tcp != nil {
		s.run(plainHTTP{s.secured()})
	}
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		<-s.log.Done()
		if err := s.log.Err(); err != nil {
			s.cancel(err)
		}
	}()
}

// secured is the TCP listener, with TLS if that is configured.
func (s *Server) secured() net.Listener {
	if s.tls == nil {
		return s.tcp
	}
	c := s.tls.Clone()
	c.NextProtos = []string{"h2"}
	return tls.NewListener(s.tcp, c)
}

func (s *Server) run(l net.Listener) {
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		if err := s.grpc.Serve(l); err != nil && s.ctx.Err() == nil {
			s.logger.Error("event store stopped accepting clients", "address", l.Addr().String(), "error", err)
		}
	}()
}

// Dial connects to the server within this process, by the same protocol without the way through the kernel. The
// EventStoreDB client cannot use it, since it takes no dialer.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) { return s.memory.DialContext(ctx) }

// Log is the log under the server, for reading in the same process without the protocol.
func (s *Server) Log() *eventlog.Log { return s.log }

// ClientConfig returns a new configuration for an EventStoreDB client of this server, over the unix socket. Every client
// should be given its own.
func (s *Server) ClientConfig() *esdb.Configuration {
	c := clientConfig(s.socket.target())
	c.Logger = s.clientLog
	return c
}

// ClientConfigOf is the same for the server, in another process of the same user, that has the store in dir open.
func ClientConfigOf(dir string) (*esdb.Configuration, error) {
	address, err := SocketOf(dir)
	if err != nil {
		return nil, err
	}
	return clientConfig(address), nil
}

func clientConfig(address string) *esdb.Configuration {
	return &esdb.Configuration{
		Address:             address,
		DisableTLS:          true,
		NodePreference:      esdb.NodePreferenceLeader,
		MaxDiscoverAttempts: 10,
		DiscoveryInterval:   100,
		GossipTimeout:       5,
		KeepAliveInterval:   10 * time.Second,
		KeepAliveTimeout:    10 * time.Second,
	}
}

// clientLog hands what the client says to the server's logger. Everything it reports also comes back as an error.
func (s *Server) clientLog(level esdb.LogLevel, format string, args ...any) {
	s.logger.Debug("event store client: " + fmt.Sprintf(format, args...))
}

// Addr is the TCP address the server listens on, nil without Options.Addr.
func (s *Server) Addr() net.Addr {
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr()
}

// Done is closed when the store has stopped, by Close or by a failure; Err tells which.
func (s *Server) Done() <-chan struct{} { return s.log.Done() }

// Err is the failure that stopped the store, nil while it works and after a Close.
func (s *Server) Err() error { return s.log.Err() }

// Close ends subscriptions and reads, lets appends under way finish, closes the log and removes the socket. It takes at
// most five seconds.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	s.cancel(errShutdown)
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	answered := make(chan struct{})
	go func() {
		s.writing.Lock()
		defer s.writing.Unlock()
		close(answered)
	}()
	wait(drainTime, stopped, answered)
	wait(noticeTime, stopped, stopped)
	s.grpc.Stop()
	<-stopped
	// Closing the log lets the next server in, whose socket has the same path.
	err := s.socket.remove()
	err = errors.Join(err, s.log.Close())
	s.serving.Wait()
	return err
}

// wait returns when one of the channels is closed, after d at the latest.
func wait(d time.Duration, one, other <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-one:
	case <-other:
	case <-t.C:
	}
}
