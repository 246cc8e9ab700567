package postgres_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"docket/internal/postgres"
)

// BenchmarkLifecycle measures, in milliseconds, a private server's life: the
// first start (with initdb, flushed to disk) to the first answer, a start with
// data, a clean stop, and the start after server and supervisor were killed
// with 60 MB of log to replay. Run it with -benchtime=5x.
func BenchmarkLifecycle(b *testing.B) {
	for _, bin := range []string{"", postgres.Download} {
		name := "installed"
		if bin != "" {
			name = "downloaded"
		}
		b.Run(name, func(b *testing.B) {
			o := options(b, "")
			o.Bin, o.NoSync, o.CacheDir = bin, false, openDir(b)
			o.Dir = openDir(b)
			startAndStop(b, o) // fills the cache
			var fresh, warm, stop, recover time.Duration
			for b.Loop() {
				o.Dir = openDir(b)
				var s *postgres.Server
				up := func() {
					var err error
					s, err = postgres.Start(b.Context(), o)
					require.NoError(b, err)
					query[int](b, s.URL(), "select 1")
				}
				measure(&fresh, up)
				require.NoError(b, s.Stop())
				measure(&warm, up)
				measure(&stop, func() { require.NoError(b, s.Stop()) })
				crash(b, o)
				measure(&recover, up)
				require.Equal(b, 300_000, query[int](b, s.URL(), "select count(*)::int from bulk"))
				require.NoError(b, s.Stop())
				require.NoError(b, os.RemoveAll(o.Dir))
			}
			for unit, total := range map[string]time.Duration{"fresh-ms": fresh, "warm-ms": warm, "stop-ms": stop, "recover-ms": recover} {
				b.ReportMetric(float64(total.Milliseconds())/float64(b.N), unit)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// measure adds what f takes to total.
func measure(total *time.Duration, f func()) {
	begin := time.Now()
	f()
	*total += time.Since(begin)
}

func startAndStop(b *testing.B, o postgres.Options) {
	s, err := postgres.Start(b.Context(), o)
	require.NoError(b, err)
	require.NoError(b, s.Stop())
}

// crash writes 60 MB of log and kills the server and its supervisor.
func crash(b *testing.B, o postgres.Options) {
	c := startChild(b, childOrder{Dir: o.Dir, Bin: o.Bin, CacheDir: o.CacheDir}, nil)
	require.Empty(b, c.Error)
	execute(b, c.URL, "create table bulk as select n, repeat('x', 170) from generate_series(1, 300000) n")
	require.NoError(b, syscall.Kill(c.Pid, syscall.SIGKILL))
	c.kill(b)
}
