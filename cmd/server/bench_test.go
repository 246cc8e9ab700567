package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"docket/cmd/server"
	"docket/cmd/server/servertest"
	"docket/internal/config"
	"docket/internal/postgres"

	"github.com/stretchr/testify/require"
)

// These benchmarks run client, server, event store and a private Postgres of
// production settings (fsync on) on one machine. Their figures are for this
// process: CPU time is that of client and server together, with that of
// Postgres' processes beside it.

// private starts a Docket with a Postgres of its own, as `make run` does.
func private(b *testing.B, changes ...func(*config.Config)) *servertest.Server {
	dir := openFolder(b)
	pg, err := postgres.Start(b.Context(), postgres.Options{Dir: dir + "/postgres", FallbackDir: dir + "/postgres"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, pg.Stop()) })
	place := func(c *config.Config) {
		c.DataDir, c.PostgresURL, c.WriteWait = dir+"/data", pg.URL(), 10*time.Second
	}
	return servertest.Start(b, append([]func(*config.Config){place}, changes...)...)
}

// BenchmarkCreateTask measures tasks created over HTTP and answered after their
// read model shows them, by number of clients.
func BenchmarkCreateTask(b *testing.B) {
	s := private(b)
	project := publish(b, s)
	for _, clients := range []int{1, 8, 32, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			load(b, s, clients, 0, func(n int64) (string, string) {
				return "/api/v2/tasks", fmt.Sprintf(`{"name":"Task %d","projectId":%q,"description":"Sales by region, every week"}`, n, project)
			})
		})
	}
}

// BenchmarkCreateTaskAt200 measures the latency at a steady 200 creates a second.
func BenchmarkCreateTaskAt200(b *testing.B) {
	s := private(b)
	project := publish(b, s)
	load(b, s, 64, 200, func(n int64) (string, string) {
		return "/api/v2/tasks", fmt.Sprintf(`{"name":"Task %d","projectId":%q}`, n, project)
	})
}

// BenchmarkCreateGroup is the same with a unique name to be claimed.
func BenchmarkCreateGroup(b *testing.B) {
	s := private(b)
	for _, clients := range []int{1, 8, 32, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			load(b, s, clients, 0, func(n int64) (string, string) {
				return "/api/v2/groups", fmt.Sprintf(`{"name":"Group %d of %d at %d"}`, n, clients, time.Now().UnixNano())
			})
		})
	}
}

func publish(b *testing.B, s *servertest.Server) string {
	made := s.Post("/admin/v1/projects", map[string]any{"name": "Bench", "description": "", "reports": []any{
		map[string]any{"name": "Report", "description": "", "type": "Excel", "outputFormats": []string{"Xlsx"}}}}).Is(http.StatusCreated)
	return made.Map()["id"].(string)
}

// load posts b.N bodies from a number of clients, at most rate a second (0: as
// fast as they get answers).
func load(b *testing.B, s *servertest.Server, clients, rate int, request func(n int64) (path, body string)) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	times := make([][]time.Duration, clients)
	var next, failed atomic.Int64
	var running sync.WaitGroup
	before, children := cpu(b), postgresCPU()
	b.ResetTimer()
	start := time.Now()
	for c := range clients {
		running.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				due := time.Now()
				if rate > 0 {
					// Latency counts from when the request was due, so that a stall
					// is felt by all that it holds up.
					due = start.Add(time.Duration(n) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(due))
				}
				path, body := request(n)
				if !post(client, s, path, body) {
					failed.Add(1)
				}
				times[c] = append(times[c], time.Since(due))
			}
		})
	}
	running.Wait()
	took := time.Since(start)
	b.StopTimer()
	require.Zero(b, failed.Load())
	all := slices.Concat(times...)
	slices.Sort(all)
	ms := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)/took.Seconds(), "creates/s")
	b.ReportMetric(ms(.5), "p50-ms")
	b.ReportMetric(ms(.99), "p99-ms")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/create")
	b.ReportMetric(float64((postgresCPU()-children).Microseconds())/float64(b.N), "postgres-µs/create")
}

func post(client *http.Client, s *servertest.Server, path, body string) bool {
	r, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+s.Key)
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusCreated
}

// cpu is the CPU time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// postgresCPU is the CPU time of all Postgres processes of the machine.
func postgresCPU() time.Duration {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	var ticks int64
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil || !strings.Contains(string(stat), "(postgres)") {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		var user, system int64
		if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err == nil {
			ticks += user + system
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // Linux: 100 ticks a second
}

// BenchmarkStart measures the time from the start to ready: cold with an empty
// data folder (cluster made, read models built), warm with what was left.
func BenchmarkStart(b *testing.B) {
	for _, kind := range []string{"cold", "warm"} {
		b.Run(kind, func(b *testing.B) {
			var took time.Duration
			dir := ""
			for range b.N {
				if dir == "" || kind == "cold" {
					dir = openFolder(b)
				}
				if kind == "warm" && took == 0 {
					startAndStop(b, dir) // makes what is then found
				}
				took += startAndStop(b, dir)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms-to-ready")
		})
	}
}

// openFolder is a temporary folder that other users may enter, since Postgres
// may run as one.
func openFolder(b *testing.B) string {
	dir, err := os.MkdirTemp("", "docket-bench")
	require.NoError(b, err)
	require.NoError(b, os.Chmod(dir, 0o755))
	b.Cleanup(func() { require.NoError(b, os.RemoveAll(dir)) })
	return dir
}

func startAndStop(b *testing.B, dir string) time.Duration {
	c, err := config.FromEnviron([]string{"DOCKET_DATA_DIR=" + dir, "DOCKET_HTTP_ADDR=127.0.0.1:0", "DOCKET_SAFEQ_ADDR=off", "DOCKET_LOG_LEVEL=error",
		"DOCKET_BOOTSTRAP_KEY=" + servertest.Key})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	start := time.Now()
	s, err := server.Open(ctx, c, io.Discard)
	if err != nil {
		cancel()
	}
	require.NoError(b, err)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	require.Eventually(b, func() bool {
		r, err := http.Get("http://" + s.Addr() + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, time.Minute, 2*time.Millisecond)
	took := time.Since(start)
	cancel()
	require.NoError(b, <-done)
	require.NoError(b, s.Close())
	return took
}

// BenchmarkMixedLoad runs creates, changes, lists and deletes for as long as
// DOCKET_BENCH_SOAK says (default 20s; the figure in the docs is of 10m) and
// reports the heap after a collection at a tenth, a fifth, the half and the end of
// the time. The caches are small, so that they are full by then.
func BenchmarkMixedLoad(b *testing.B) {
	length := 20 * time.Second
	if text := os.Getenv("DOCKET_BENCH_SOAK"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(b, err)
	}
	s := private(b, func(c *config.Config) { c.CacheStreams = 4000 })
	project := publish(b, s)
	start := time.Now()
	end := start.Add(length)
	var requests, failed atomic.Int64
	var running sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	for c := range 8 {
		running.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				requests.Add(1)
				if !mixed(client, s, project, c, n) {
					failed.Add(1)
				}
			}
		})
	}
	var heaps []float64
	for _, part := range []time.Duration{10, 5, 2} {
		time.Sleep(time.Until(start.Add(length / part)))
		heaps = append(heaps, heap())
	}
	running.Wait()
	heaps = append(heaps, heap())
	require.Zero(b, failed.Load())
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(requests.Load())/length.Seconds(), "requests/s")
	for i, at := range []string{"10%", "20%", "50%", "end"} {
		b.ReportMetric(heaps[i], "MiB-"+at)
	}
}

// mixed is one step of the mixed load.
func mixed(client *http.Client, s *servertest.Server, project string, c, n int) bool {
	switch n % 4 {
	case 0:
		return post(client, s, "/api/v2/tasks", fmt.Sprintf(`{"name":"Task %d of %d","projectId":%q}`, n, c, project))
	case 1:
		return post(client, s, "/api/v2/groups", fmt.Sprintf(`{"name":"Group %d of %d"}`, n, c))
	case 2:
		return get(client, s, fmt.Sprintf("/api/v2/tasks?name[contains]=of+%d&sort_by=CreatedDate&sort_direction=desc&page_size=50", c))
	}
	return get(client, s, "/api/v1/groups?limit=50&sort=-name&filter="+url.QueryEscape(fmt.Sprintf(`name sw "group %d"`, n-2)))
}

func get(client *http.Client, s *servertest.Server, path string) bool {
	r, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+s.Key)
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK
}

// heap is what is in use after a collection, in MiB.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what pools held outlives the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
