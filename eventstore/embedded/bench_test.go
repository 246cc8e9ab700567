package embedded

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// These benchmarks go through the real client and a unix socket; client and server share the process, so CPU is that of
// both. Those of package eventlog measure the store alone and the disk: compare figures of one run only.

var payload = []byte(`{"id":"0190b5a2-7d4e-7c3a-9f5e-0123456789ab","name":"Quarterly report","organization":"0190b5a2-7d4e-7000-8000-` +
	`000000000001","enabled":true,"tags":["finance","monthly","board"],"description":"A report of about three hundred bytes, ` +
	`as most events are, so that figures say something about real work.","n":12345}`)

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func openOnDisk(b *testing.B, opts Options) (*Server, *esdb.Client) {
	b.Helper()
	s, err := Open(b.TempDir(), opts)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	return s, connect(b, s)
}

func report(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("client/writers=%d", n), func(b *testing.B) {
			_, c := openOnDisk(b, Options{})
			appendTo(b, c, "warm", esdb.Any{}, events(1)...)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			for range n {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						_, err := c.AppendToStream(context.Background(), fmt.Sprintf("task-%d", i),
							esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}},
							esdb.EventData{EventID: uuid.New(), EventType: "reporting.task-created", ContentType: esdb.ContentTypeJson, Data: payload})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			report(b, before)
		})
	}
	b.Run("batch/in-flight=64", benchmarkBatch)
}

// benchmarkBatch keeps 64 appends under way over one BatchAppend call.
func benchmarkBatch(b *testing.B) {
	s, _ := openOnDisk(b, Options{})
	call, err := streams.NewStreamsClient(dial(b, s)).BatchAppend(context.Background())
	require.NoError(b, err)
	slots := make(chan struct{}, 64)
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	go func() {
		for range b.N {
			m, err := call.Recv()
			if err == nil && m.GetSuccess() == nil {
				err = fmt.Errorf("refused: %v", m)
			}
			if err != nil {
				done <- err
				return
			}
			<-slots
		}
		done <- nil
	}()
	for i := range b.N {
		slots <- struct{}{}
		require.NoError(b, call.Send(&streams.BatchAppendReq{
			CorrelationId: structuredUUID(uuid.New()), Options: batchOptions(fmt.Sprintf("task-%d", i)), IsFinal: true,
			ProposedMessages: []*streams.BatchAppendReq_ProposedMessage{{
				Id: structuredUUID(uuid.New()), Data: payload,
				Metadata: map[string]string{"type": "reporting.task-created", "content-type": "application/json"},
			}},
		}))
	}
	require.NoError(b, <-done)
	b.StopTimer()
	report(b, before)
	require.NoError(b, call.CloseSend())
}

func BenchmarkRead(b *testing.B) {
	const n = 100_000
	s, c := openOnDisk(b, Options{NoSync: true})
	for i := 0; i < n; i += 100 {
		ev := make([]eventlog.EventData, 100)
		for j := range ev {
			ev[j] = eventlog.EventData{ID: uuid.New(), Type: "reporting.task-created", JSON: true, Data: payload, Metadata: []byte("{}")}
		}
		_, err := s.Log().Append(context.Background(), fmt.Sprintf("task-%d", i), eventlog.NoStream, ev...)
		require.NoError(b, err)
	}
	rate := func(b *testing.B, read func()) {
		b.ReportAllocs()
		before := cpu()
		for b.Loop() {
			read()
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N)/n, "cpu-ns/event")
	}
	b.Run("direct", func(b *testing.B) {
		rate(b, func() {
			got := 0
			for _, err := range s.Log().ReadAll(context.Background(), eventlog.AllRead{}) {
				require.NoError(b, err)
				got++
			}
			require.Equal(b, n, got)
		})
	})
	b.Run("client/read", func(b *testing.B) {
		rate(b, func() {
			stream, err := c.ReadAll(context.Background(), esdb.ReadAllOptions{}, math.MaxUint64)
			require.NoError(b, err)
			defer stream.Close()
			for range n {
				if _, err := stream.Recv(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("client/catch-up", func(b *testing.B) {
		rate(b, func() {
			sub, err := c.SubscribeToAll(context.Background(), esdb.SubscribeToAllOptions{From: esdb.Start{}})
			require.NoError(b, err)
			defer sub.Close()
			for got := 0; got < n; {
				if sub.Recv().EventAppeared != nil {
					got++
				}
			}
		})
	})
}

// BenchmarkDelivery is how long after its acknowledgement an event reaches subscribers of the whole log that filter, on a
// disk that is synced and with about three hundred appends a second. A negative time is an event that was faster than the
// acknowledgement.
func BenchmarkDelivery(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			_, c := openOnDisk(b, Options{})
			appendTo(b, c, "task-warm", esdb.Any{}, events(1)...)
			received := make([]chan time.Time, n)
			for i := range received {
				received[i] = make(chan time.Time, b.N)
				deliver(b, c, received[i])
			}
			acknowledged := make([]time.Time, b.N)
			pace := time.NewTicker(time.Second / 300)
			defer pace.Stop()
			b.ResetTimer()
			for i := range acknowledged {
				<-pace.C
				appendTo(b, c, "task-1", esdb.Any{}, esdb.EventData{EventID: uuid.New(), EventType: "reporting.task-created",
					ContentType: esdb.ContentTypeJson, Data: payload})
				acknowledged[i] = time.Now()
			}
			var took []time.Duration
			for _, r := range received {
				for _, at := range acknowledged {
					took = append(took, (<-r).Sub(at))
				}
			}
			b.StopTimer()
			slices.Sort(took)
			for _, p := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
			}
		})
	}
}

// deliver subscribes behind what is there and notes when each event comes.
func deliver(b *testing.B, c *esdb.Client, received chan<- time.Time) {
	b.Helper()
	sub, err := c.SubscribeToAll(context.Background(), esdb.SubscribeToAllOptions{From: esdb.End{},
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"task-"}}})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, sub.Close()) })
	for sub.Recv().CaughtUp == nil {
	}
	go func() {
		for {
			switch m := sub.Recv(); {
			case m.EventAppeared != nil:
				received <- time.Now()
			case m.SubscriptionDropped != nil:
				return
			}
		}
	}()
}
