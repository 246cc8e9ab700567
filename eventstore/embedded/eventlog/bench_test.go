package eventlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The benchmarks write to the disk under TMPDIR. Each reports the CPU of the whole process per operation, because rates
// depend on the disk and on what else the machine does: compare figures of one run only.

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

// writers runs b.N operations on n goroutines and reports rate and CPU.
func writers(b *testing.B, n int, op func(i int64) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := op(i); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("store/writers=%d", n), func(b *testing.B) {
			l, err := Open(b.TempDir(), Options{})
			require.NoError(b, err)
			defer func() { require.NoError(b, l.Close()) }()
			ctx := context.Background()
			writers(b, n, func(i int64) error {
				_, err := l.Append(ctx, fmt.Sprintf("task-%d", i), NoStream,
					EventData{ID: uuid.New(), Type: "reporting.task-created", JSON: true, Data: payload, Metadata: []byte("{}")})
				return err
			})
		})
		b.Run(fmt.Sprintf("pebble/writers=%d", n), func(b *testing.B) {
			db, err := pebble.Open(b.TempDir(), &pebble.Options{Logger: quiet{}, MemTableSize: 32 << 20})
			require.NoError(b, err)
			defer func() { require.NoError(b, db.Close()) }()
			writers(b, n, func(i int64) error {
				batch := db.NewBatch()
				key := fmt.Appendf(nil, "l%020d", i)
				if err := batch.Set(key, payload, nil); err != nil {
					return err
				}
				if err := batch.Set(fmt.Appendf(nil, "s%020d", i), key, nil); err != nil {
					return err
				}
				if err := batch.Set(fmt.Appendf(nil, "n-task-%d", i), key[:8], nil); err != nil {
					return err
				}
				return batch.Commit(pebble.Sync)
			})
		})
	}
	b.Run("fsync", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "f"))
		require.NoError(b, err)
		defer f.Close()
		block := make([]byte, 512)
		writers(b, 1, func(i int64) error {
			if _, err := f.WriteAt(block, i%8192*512); err != nil {
				return err
			}
			return syscall.Fdatasync(int(f.Fd()))
		})
	})
}

type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// write makes a log of n events in n/10 streams.
func write(b *testing.B, dir string, n int) {
	b.Helper()
	l, err := Open(dir, Options{NoSync: true})
	require.NoError(b, err)
	for i := 0; i < n; i += 10 {
		ev := make([]EventData, 10)
		for j := range ev {
			ev[j] = EventData{ID: uuid.New(), Type: "reporting.task-created", JSON: true, Data: payload, Metadata: []byte("{}")}
		}
		_, err := l.Append(context.Background(), fmt.Sprintf("task-%d", i), NoStream, ev...)
		require.NoError(b, err)
	}
	require.NoError(b, l.Close())
}

// filled is a closed-and-reopened log.
func filled(b *testing.B, n int) *Log {
	b.Helper()
	dir := b.TempDir()
	write(b, dir, n)
	l, err := Open(dir, Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, l.Close()) })
	return l
}

func BenchmarkReadAll(b *testing.B) {
	const n = 200_000
	l := filled(b, n)
	read := func(b *testing.B, f *Filter, want int) {
		b.ReportAllocs()
		for b.Loop() {
			got := 0
			for _, err := range l.ReadAll(context.Background(), AllRead{Filter: f}) {
				if err != nil {
					b.Fatal(err)
				}
				got++
			}
			require.Equal(b, want, got)
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
	}
	b.Run("everything", func(b *testing.B) { read(b, nil, n) })
	b.Run("type-prefix", func(b *testing.B) { read(b, &Filter{TypePrefixes: []string{"reporting."}}, n) })
	b.Run("nothing-matches", func(b *testing.B) { read(b, &Filter{StreamPrefixes: []string{"user-"}}, 0) })
	b.Run("streams", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			got := 0
			for _, err := range l.ReadStream(context.Background(), fmt.Sprintf("task-%d", i*10%n), StreamRead{}) {
				if err != nil {
					b.Fatal(err)
				}
				got++
			}
			require.Equal(b, 10, got)
			i += 7919
		}
	})
}

// benchEvents is how large a log BenchmarkOpen opens.
func benchEvents(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("DOCKET_BENCH_EVENTS"))
	if err != nil {
		return 200_000
	}
	return n
}

// BenchmarkOpen opens a log of very many events.
func BenchmarkOpen(b *testing.B) {
	n := benchEvents(b)
	dir := b.TempDir()
	write(b, dir, n)
	open := func(b *testing.B) *Log {
		l, err := Open(dir, Options{})
		require.NoError(b, err)
		require.Equal(b, uint64(n), l.Stats().Events)
		return l
	}
	require.NoError(b, open(b).Close()) // moves the write-ahead log into tables
	b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
		for b.Loop() {
			l := open(b)
			b.StopTimer()
			require.NoError(b, l.Close())
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/open")
	})
}
