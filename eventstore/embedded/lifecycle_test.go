package embedded

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

// socketOf is the path of a server's socket.
func socketOf(s *Server) string { return s.socket.path }

func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not there yet", "store")
	for i := range 3 {
		s, err := Open(dir, Options{})
		require.NoError(t, err)
		require.Equal(t, filepath.Join(dir, "es.sock"), socketOf(s))
		for path, mode := range map[string]os.FileMode{dir: 0o700, socketOf(s): 0o600} {
			st, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, mode, st.Mode().Perm(), path)
		}
		_, err = Open(dir, Options{})
		require.ErrorIs(t, err, eventlog.ErrLocked)
		c := connect(t, s)
		appendTo(t, c, "a", esdb.Any{}, events(1)...)
		require.Len(t, mustRead(t, c, "a"), i+1)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close(), "again")
		require.NoFileExists(t, socketOf(s))
		<-s.Done()
		require.NoError(t, s.Err())
	}
}

// TestStaleSocket starts over a socket that a killed process left behind.
func TestStaleSocket(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	require.FileExists(t, filepath.Join(dir, socketName))
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	appendTo(t, connect(t, s), "a", esdb.Any{}, events(1)...)
	require.NoError(t, s.Close())
}

// TestLongPath falls back to a private folder where the path would not fit into a socket's address.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "odd %41 ?#name")
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	private := filepath.Dir(socketOf(s))
	require.LessOrEqual(t, len(socketOf(s)), maxSocketPath)
	st, err := os.Stat(private)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	appendTo(t, connect(t, s), "a", esdb.Any{}, events(1)...)
	require.NoError(t, s.Close())
	require.NoDirExists(t, private)
}

func TestSocketDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd %41 ?#name")
	s := openServer(t, Options{SocketDir: dir})
	require.Equal(t, filepath.Join(dir, socketName), socketOf(s))
	appendTo(t, connect(t, s), "a", esdb.Any{}, events(1)...)
}

// lockWatch tells when the store's lock is released.
type lockWatch struct {
	vfs.FS
	released func()
}

type watchedLock struct {
	io.Closer
	released func()
}

func (w lockWatch) Lock(name string) (io.Closer, error) {
	lock, err := w.FS.Lock(name)
	return watchedLock{lock, w.released}, err
}

func (w watchedLock) Close() error {
	err := w.Closer.Close()
	w.released()
	return err
}

// TestSocketOfTheNext: a server that closes leaves alone the socket of one that has waited for its lock.
func TestSocketOfTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), socketName)
	next := func() { require.NoError(t, os.WriteFile(path, nil, 0o600)) }
	s, err := Open("store", Options{FS: lockWatch{vfs.NewMem(), next}, SocketDir: filepath.Dir(path)})
	require.NoError(t, err)
	require.Equal(t, path, socketOf(s))
	require.NoError(t, s.Close())
	require.FileExists(t, path)
}

// TestTakenAddress: a server that does not come up leaves no socket open.
func TestTakenAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	dir := t.TempDir()
	_, err = Open("store", Options{FS: vfs.NewMem(), Addr: taken.Addr().String(), SocketDir: dir})
	require.Error(t, err)
	require.NoFileExists(t, filepath.Join(dir, socketName))
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Skip("open sockets cannot be listed here")
	}
	require.NotContains(t, string(sockets), dir)
}

func TestTCP(t *testing.T) {
	s := openServer(t, Options{Addr: "127.0.0.1:0"})
	config, err := esdb.ParseConnectionString("esdb://" + s.Addr().String() + "?tls=false")
	require.NoError(t, err)
	config.Logger = nil
	c, err := esdb.NewClient(config)
	require.NoError(t, err)
	defer c.Close()
	appendTo(t, c, "a", esdb.Any{}, events(1)...)
	require.Equal(t, []uint64{0}, mustRead(t, connect(t, s), "a"))
	_, err = Open("other", Options{FS: vfs.NewMem(), Addr: s.Addr().String()})
	require.Error(t, err, "the address is taken")

	// Through gossip, as for a cluster.
	config, err = esdb.ParseConnectionString("esdb+discover://" + s.Addr().String() + "?tls=false")
	require.NoError(t, err)
	config.Logger = nil
	discovered, err := esdb.NewClient(config)
	require.NoError(t, err)
	defer discovered.Close()
	require.Equal(t, []uint64{0}, mustRead(t, discovered, "a"))
}

// TestCloseWithCallsUnderWay closes a server with subscriptions, an unread read and writers at work.
func TestCloseWithCallsUnderWay(t *testing.T) {
	s := openServer(t, Options{})
	c := connect(t, s)
	data := strings.Repeat("x", 10_000)
	for range 100 {
		appendTo(t, c, "a", esdb.Any{}, event("big", data), event("big", data), event("big", data))
	}
	live := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.End{}})
	upToLive(t, live)
	unread := subscribe(t, c, "a", esdb.Start{})
	read, err := c.ReadStream(within(t), "a", esdb.ReadStreamOptions{}, 1000)
	require.NoError(t, err)
	defer read.Close()
	_, err = read.Recv()
	require.NoError(t, err)

	batch, err := streams.NewStreamsClient(dial(t, s)).BatchAppend(within(t))
	require.NoError(t, err)
	batchCall{batch, t}.send(uuid.New(), batchOptions("c"), batchMessages(1), true)
	batchCall{batch, t}.answers(1)

	var wg sync.WaitGroup
	var answered atomic.Uint64
	started := make(chan struct{})
	var once sync.Once
	for range 4 {
		// One client each: calls that share a client hang for ever once it has given up discovering.
		writer := connect(t, s)
		wg.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				_, err := writer.AppendToStream(ctx, "b", esdb.AppendToStreamOptions{}, events(1)...)
				cancel()
				if err != nil {
					return
				}
				answered.Add(1)
				once.Do(func() { close(started) })
			}
		})
	}
	<-started
	require.NoError(t, s.Close())
	for {
		if m := live.Recv(); m.SubscriptionDropped != nil {
			require.Equal(t, codes.Unavailable, rpcCode(m.SubscriptionDropped.Error))
			break
		}
	}
	for unread.Recv().SubscriptionDropped == nil {
	}
	wg.Wait()
	_, err = batch.Recv()
	require.Equal(t, codes.Unavailable, rpcCode(err))
	require.NotZero(t, answered.Load())
}

// TestCloseAnswersWrites closes while an append waits for a slow disk: it is written and answered.
func TestCloseAnswersWrites(t *testing.T) {
	var armed atomic.Bool
	stalled, release := make(chan struct{}), make(chan struct{})
	mem := vfs.NewMem()
	s, err := Open("store", Options{FS: errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") && armed.CompareAndSwap(true, false) {
			close(stalled)
			<-release
		}
		return nil
	}))})
	require.NoError(t, err)
	c := connect(t, s)
	appendTo(t, c, "a", esdb.Any{}, events(1)...)
	armed.Store(true)
	answered := make(chan error, 1)
	go func() {
		_, err := c.AppendToStream(context.Background(), "a", esdb.AppendToStreamOptions{}, events(1)...)
		answered <- err
	}()
	<-stalled
	time.AfterFunc(2*noticeTime, func() { close(release) })
	require.NoError(t, s.Close())
	require.NoError(t, <-answered)
}

// TestStoreFailure breaks the disk: clients get errors that name no driver, connecting shows it, the owner is told.
func TestStoreFailure(t *testing.T) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			return errorfs.ErrInjected
		}
		return nil
	}))
	s, err := Open("store", Options{FS: fs})
	require.NoError(t, err)
	c := connect(t, s)
	appendTo(t, c, "a", esdb.Any{}, events(1)...)
	sub := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.End{}})
	upToLive(t, sub)
	broken.Store(true)
	for range 3 {
		err = tryAppend(t, c, "a", esdb.Any{}, events(1)...)
		require.Equal(t, esdb.ErrorUnavailable, code(err), "%v", err)
		require.NotContains(t, err.Error(), "injected")
		require.NotContains(t, err.Error(), "WAL")
		c = connect(t, s)
	}
	require.Equal(t, codes.Unavailable, rpcCode(sub.Recv().SubscriptionDropped.Error))
	<-s.Done()
	require.ErrorContains(t, s.Err(), "injected")
	require.Error(t, s.Close())
}

// TestDamageReachesClients reads a damaged event: the client gets the position, not the file.
func TestDamageReachesClients(t *testing.T) {
	s, c := open(t)
	p := s.explain(context.Background(), &eventlog.CorruptionError{Position: 77, Cause: errorfs.ErrInjected})
	require.Equal(t, codes.DataLoss, p.code)
	require.Equal(t, "the event store is damaged at position 77", p.text)
	p = s.explain(context.Background(), errorfs.ErrInjected)
	require.Equal(t, codes.Internal, p.code)
	require.NotContains(t, p.text, "injected")
	appendTo(t, c, "a", esdb.Any{}, events(1)...)
}
