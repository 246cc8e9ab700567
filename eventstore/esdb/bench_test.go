package esdb_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
	"docket/eventstore/embedded"
	"docket/eventstore/esdb"
)

// Server and client share the machine and the process, as in an installation
// without a cluster; the log is on disk and synced.

func startDurable(b *testing.B) *embedded.Server {
	server, err := embedded.Open(b.TempDir(), embedded.Options{SocketDir: socketDir(b)})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Close()) })
	return server
}

func payload() (data, meta []byte) {
	return fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 180)), fmt.Appendf(nil, `{"audit":%q}`, strings.Repeat("y", 100))
}

// each runs work b.N times over several goroutines.
func each(b *testing.B, writers int, work func(i int64)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				work(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkAppend compares appends through the port, which share one call, with a
// call for each and with the same through the bare client.
func BenchmarkAppend(b *testing.B) {
	data, meta := payload()
	for _, writers := range []int{1, 8, 64} {
		for _, way := range []string{"within", "socket", "alone"} {
			b.Run(fmt.Sprintf("%s/%d", way, writers), func(b *testing.B) {
				server := startDurable(b)
				config := esdb.Config{Client: server.ClientConfig(), NoBatch: way == "alone"}
				if way == "within" {
					config.Dial = server.Dial
				}
				store := openStore(b, config)
				require.NoError(b, store.Ready(ctx))
				if way != "alone" {
					awaitBatch(b, store)
				}
				each(b, writers, func(i int64) {
					_, err := store.Append(ctx, fmt.Sprint("s", i), eventstore.NoStream,
						[]eventstore.Proposed{{ID: uuid.New(), Type: "bench.made", Data: data, Meta: meta}})
					if err != nil {
						b.Error(err)
					}
				})
			})
		}
		b.Run(fmt.Sprintf("client/%d", writers), func(b *testing.B) {
			c, err := client.NewClient(startDurable(b).ClientConfig())
			require.NoError(b, err)
			defer c.Close()
			each(b, writers, func(i int64) {
				_, err := c.AppendToStream(ctx, fmt.Sprint("s", i), client.AppendToStreamOptions{ExpectedRevision: client.NoStream{}},
					client.EventData{EventID: uuid.New(), EventType: "bench.made", ContentType: client.ContentTypeJson, Data: data, Metadata: meta})
				if err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkRead compares the ways through a whole log of 100,000 events.
func BenchmarkRead(b *testing.B) {
	const total = 100_000
	server := startDurable(b)
	through := openStore(b, esdb.Config{Client: server.ClientConfig()})
	beside := openStore(b, esdb.Config{Client: server.ClientConfig(), Log: esdb.Direct(server.Log())})
	data, meta := payload()
	for s := range total / 1000 {
		events := make([]eventstore.Proposed, 1000)
		for i := range events {
			events[i] = eventstore.Proposed{ID: uuid.New(), Type: "bench.made", Data: data, Meta: meta}
		}
		_, err := through.Append(ctx, fmt.Sprint("s", s), eventstore.NoStream, events)
		require.NoError(b, err)
	}
	measure := func(name string, read func() int) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				require.Equal(b, total, read())
			}
			b.ReportMetric(float64(b.N)*total/b.Elapsed().Seconds(), "events/s")
		})
	}
	readAll := func(store *esdb.Store) func() int {
		return func() (n int) {
			for _, err := range store.ReadAll(ctx, 0, eventstore.Filter{}) {
				require.NoError(b, err)
				n++
			}
			return n
		}
	}
	measure("all/client", readAll(through))
	measure("all/direct", readAll(beside))
	measure("streams/client", func() (n int) {
		for s := range total / 1000 {
			for _, err := range through.Load(ctx, fmt.Sprint("s", s), 0) {
				require.NoError(b, err)
				n++
			}
		}
		return n
	})
	measure("follow/client", func() (n int) {
		for m, err := range through.Follow(ctx, 0, eventstore.Filter{}) {
			require.NoError(b, err)
			if m.Event != nil {
				n++
			}
			if m.CaughtUp {
				break
			}
		}
		return n
	})
}
