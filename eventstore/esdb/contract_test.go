package esdb_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
	"docket/eventstore/contract"
	"docket/eventstore/embedded"
	"docket/eventstore/esdb"
)

// serverURL names a real EventStoreDB, with an unsecured or trusted connection,
// to run the contract against as well.
const serverURL = "DOCKET_TEST_EVENTSTORE_URL"

func TestContract(t *testing.T) {
	t.Run("Embedded", func(t *testing.T) {
		contract.Run(t, func(t *testing.T) eventstore.Store {
			server := startNode(t)
			store := openStore(t, esdb.Config{Client: server.node.ClientConfig()})
			awaitBatch(t, store)
			return store
		}, contract.Options{})
	})
	t.Run("Within", func(t *testing.T) {
		contract.Run(t, func(t *testing.T) eventstore.Store {
			server := startNode(t)
			store := openStore(t, esdb.Config{Client: server.node.ClientConfig(), Dial: server.node.Dial})
			awaitBatch(t, store)
			return store
		}, contract.Options{})
	})
	t.Run("OneCallPerAppend", func(t *testing.T) {
		contract.Run(t, func(t *testing.T) eventstore.Store {
			server := startNode(t)
			return openStore(t, esdb.Config{Client: server.node.ClientConfig(), NoBatch: true})
		}, contract.Options{})
	})
	t.Run("Direct", func(t *testing.T) {
		contract.Run(t, func(t *testing.T) eventstore.Store {
			server := startNode(t)
			return openStore(t, esdb.Config{Client: server.node.ClientConfig(), Log: esdb.Direct(server.node.Log())})
		}, contract.Options{})
	})
	t.Run("Real", func(t *testing.T) {
		url := os.Getenv(serverURL)
		if url == "" {
			t.Skip(serverURL + " names no server")
		}
		contract.Run(t, func(t *testing.T) eventstore.Store {
			return openStore(t, esdb.Config{ConnectionString: url})
		}, contract.Options{Shared: true})
	})
}

func TestFaults(t *testing.T) {
	t.Run("Restart", func(t *testing.T) {
		contract.RunFaults(t, func(t *testing.T) (contract.Server, eventstore.Store) {
			server := startNode(t)
			return server, openStore(t, esdb.Config{Client: server.node.ClientConfig()})
		})
	})
	t.Run("Cut", func(t *testing.T) {
		contract.RunFaults(t, func(t *testing.T) (contract.Server, eventstore.Store) {
			server := startNode(t)
			cable := startCable(t, "unix", strings.TrimPrefix(server.node.ClientConfig().Address, "unix:"))
			conf := *server.node.ClientConfig()
			conf.Address = cable.address
			return cable, openStore(t, esdb.Config{Client: &conf})
		})
	})
	t.Run("Real", func(t *testing.T) {
		url := os.Getenv(serverURL)
		if url == "" {
			t.Skip(serverURL + " names no server")
		}
		conf, err := client.ParseConnectionString(url)
		require.NoError(t, err)
		if conf.Address == "" || conf.DnsDiscover || !conf.DisableTLS {
			t.Skip("cables lead to a single node without TLS only")
		}
		contract.RunFaults(t, func(t *testing.T) (contract.Server, eventstore.Store) {
			cable := startCable(t, "tcp", conf.Address)
			return cable, openStore(t, esdb.Config{Client: &client.Configuration{Address: cable.address, DisableTLS: true}})
		})
	})
}

func openStore(t testing.TB, cfg esdb.Config) *esdb.Store {
	store, err := esdb.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// node is an embedded server that can be restarted on the same data and socket.
type node struct {
	t    testing.TB
	dir  string
	opts embedded.Options
	node *embedded.Server // nil while stopped
}

// startNode keeps its data in memory, which is synced as a disk is, and faster.
func startNode(t testing.TB) *node {
	n := &node{t: t, dir: "log", opts: embedded.Options{FS: vfs.NewMem(), SocketDir: socketDir(t)}}
	n.Start()
	t.Cleanup(n.Stop)
	return n
}

func (n *node) Start() {
	server, err := embedded.Open(n.dir, n.opts)
	require.NoError(n.t, err)
	n.node = server
}

func (n *node) Stop() {
	if n.node == nil {
		return
	}
	require.NoError(n.t, n.node.Close())
	n.node = nil
}

// socketDir is a folder with a path short enough for a socket.
func socketDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "esdb")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// cable is a connection to a server that can be cut while calls are on it,
// unlike a server, which ends calls before it stops.
type cable struct {
	t               testing.TB
	network, target string
	socket          string
	address         string // for clients

	mu       sync.Mutex
	listener net.Listener // nil while cut
	ends     map[net.Conn]bool
	running  sync.WaitGroup
}

func startCable(t testing.TB, network, target string) *cable {
	socket := filepath.Join(socketDir(t), "cable")
	c := &cable{t: t, network: network, target: target, socket: socket, address: "unix:" + socket, ends: map[net.Conn]bool{}}
	c.Start()
	t.Cleanup(c.Stop)
	return c
}

func (c *cable) Start() {
	listener, err := net.Listen("unix", c.socket)
	require.NoError(c.t, err)
	c.mu.Lock()
	c.listener = listener
	c.mu.Unlock()
	c.running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return // cut
			}
			c.running.Go(func() { c.join(near) })
		}
	})
}

// Stop cuts all connections, in the middle of whatever goes over them.
func (c *cable) Stop() {
	c.mu.Lock()
	if c.listener != nil {
		_ = c.listener.Close()
		c.listener = nil
	}
	for end := range c.ends {
		_ = end.Close()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// plug registers one end, unless the cable is cut.
func (c *cable) plug(end net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener == nil {
		_ = end.Close()
		return false
	}
	c.ends[end] = true
	return true
}

func (c *cable) unplug(end net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = end.Close()
	delete(c.ends, end)
}

// join copies both ways until either end closes.
func (c *cable) join(near net.Conn) {
	far, err := net.Dial(c.network, c.target)
	if err != nil {
		_ = near.Close()
		return
	}
	if !c.plug(near) || !c.plug(far) {
		_ = near.Close()
		_ = far.Close()
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // ends when either end is closed
			c.unplug(near)
			c.unplug(far)
		})
	}
	both.Wait()
}
