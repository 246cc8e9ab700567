package eventlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// acked is an append that was answered.
type acked struct {
	stream string
	rev    int64 // of its last event
	pos    uint64
	ids    []uuid.UUID
}

// requireIntact checks that a log holds every answered append where the answer said, that every stream's revisions have
// no gap, that no id is there twice and that both orders agree.
func requireIntact(t testing.TB, l *Log, answered []acked) {
	t.Helper()
	all := readAll(t, l)
	require.Equal(t, l.Stats().Events, uint64(len(all)))
	at := make(map[uuid.UUID]*Event, len(all))
	next := map[string]int64{}
	last := uint64(0)
	for _, e := range all {
		require.Greater(t, e.Position, last)
		last = e.Position
		require.Equal(t, next[e.Stream], e.Revision, "gap or duplicate in %s", e.Stream)
		next[e.Stream]++
		require.Nil(t, at[e.ID], "an event is there twice")
		at[e.ID] = e
	}
	for _, a := range answered {
		for i, id := range a.ids {
			e := at[id]
			require.NotNil(t, e, "lost: %s revision %d", a.stream, a.rev)
			require.Equal(t, a.stream, e.Stream)
			require.Equal(t, a.rev-int64(len(a.ids)-1-i), e.Revision)
		}
		require.Equal(t, a.pos, at[a.ids[len(a.ids)-1]].Position)
	}
	for stream, n := range next {
		require.Len(t, readStream(t, l, stream), int(n))
	}
}

// crashes is how often the power is cut: a few times with the other tests, as often as asked for by make test-crash.
func crashes() int {
	if n, err := strconv.Atoi(os.Getenv("DOCKET_TEST_KILLS")); err == nil {
		return n
	}
	return 12
}

// TestPowerFailure cuts the power at random moments: everything answered before is there afterwards, in order. Every
// unsynced block survives or not by the toss of a coin. Now and then it goes on with a new disk, because each check reads
// everything.
func TestPowerFailure(t *testing.T) {
	const rounds = 12 // of one disk
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 11))
	cuts, appends, events := crashes(), 0, uint64(0)
	for left := cuts; left > 0; left -= rounds {
		fs := vfs.NewCrashableMem()
		var answered []acked
		for round := range min(rounds, left) {
			l, err := Open("store", Options{FS: fs})
			require.NoError(t, err, "round %d of seed %d", round, seed)
			requireIntact(t, l, answered)
			stopAt := int64(rng.IntN(600))
			fs, answered = writeAndCrash(t, l, fs, answered, stopAt, rng)
			require.NoError(t, l.Close())
		}
		l, err := Open("store", Options{FS: fs})
		require.NoError(t, err)
		requireIntact(t, l, answered)
		appends, events = appends+len(answered), events+l.Stats().Events
		require.NoError(t, l.Close())
	}
	t.Logf("seed %d: %d power failures, %d appends acknowledged, %d events", seed, cuts, appends, events)
}

// writeAndCrash writes with many goroutines and takes the disk as a crash would leave it after about n answers, while
// writes are under way. It returns that disk and what had been answered by then.
func writeAndCrash(t *testing.T, l *Log, fs *vfs.MemFS, answered []acked, n int64, rng *rand.Rand) (*vfs.MemFS, []acked) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var count atomic.Int64
	reached, stop := make(chan struct{}), make(chan struct{})
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				stream := fmt.Sprintf("s-%d", (w*7+i)%5)
				events := someEvents(1 + i%3)
				a := acked{stream: stream}
				for _, e := range events {
					a.ids = append(a.ids, e.ID)
				}
				res, err := l.Append(context.Background(), stream, Any, events...)
				if err != nil {
					t.Error(err)
					return
				}
				a.rev, a.pos = res.Revision, res.Position
				mu.Lock()
				answered = append(answered, a)
				mu.Unlock()
				if count.Add(1) == n+1 {
					close(reached)
				}
			}
		})
	}
	<-reached
	mu.Lock()
	before := answered[:len(answered):len(answered)]
	mu.Unlock()
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
	close(stop)
	wg.Wait()
	return crashed, before
}

// What a child of the tests is told by its environment.
const (
	childDir      = "EVENTLOG_TEST_CHILD_DIR"
	childFull     = "EVENTLOG_TEST_CHILD_FULL" // which operation that takes space finds none
	childFullOnce = "EVENTLOG_TEST_CHILD_FULL_ONCE"
)

// writeUntilKilled is the child of TestKill and TestOutOfSpace: it appends with several writers, prints each answer and
// ends with the first error.
func writeUntilKilled(dir string) {
	var opts Options
	left := math.MaxInt // answers until the child ends by itself
	if n, err := strconv.ParseInt(os.Getenv(childFull), 10, 64); err == nil {
		opts.FS = fullFrom(vfs.Default, n, os.Getenv(childFullOnce) == "true")
		left = 2000 // an operation that failed once may be tried again, and nothing comes of it
	}
	l, err := Open(dir, opts)
	if err != nil {
		fmt.Printf("error %q\n", err.Error())
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				stream := fmt.Sprintf("s-%d", (w+i)%3)
				e := event("happened", `{"n":1}`)
				res, err := l.Append(context.Background(), stream, Any, e)
				mu.Lock()
				if err != nil {
					fmt.Printf("error %q\n", err.Error())
					os.Exit(1)
				}
				fmt.Println(stream, res.Revision, res.Position, e.ID)
				if left--; left == 0 {
					os.Exit(1)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKill kills a writing process again and again. Nothing it answered is lost, and its lock does not outlive it.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(3, 5))
	var answered []acked
	for range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := rng.IntN(400); lines.Scan(); n-- {
			answered = append(answered, parseAcked(t, lines.Text()))
			if n == 0 {
				require.NoError(t, cmd.Process.Kill())
			}
		}
		require.Error(t, cmd.Wait(), "killed")
		l, err := Open(dir, Options{})
		require.NoError(t, err)
		requireIntact(t, l, answered)
		require.NoError(t, l.Close())
	}
}

// parseAcked reads a line of the child. The last one may be cut off by the kill only before its newline, so it is whole.
func parseAcked(t *testing.T, line string) acked {
	var a acked
	var id string
	_, err := fmt.Sscan(line, &a.stream, &a.rev, &a.pos, &id)
	require.NoError(t, err, line)
	a.ids = []uuid.UUID{uuid.MustParse(id)}
	return a
}

func TestLockedElsewhere(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Options{})
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, l.Close())
	l, err = Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// killedFS is the disk as a killed process leaves it: what was written is there, synced or not.
func killedFS(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// TestFailStop breaks the disk under a writing log. Nothing is answered any more, the owner is told, and after a restart
// everything answered is there.
func TestFailStop(t *testing.T) {
	for name, kind := range map[string]errorfs.OpKind{"write": errorfs.OpFileWrite, "sync": errorfs.OpFileSyncData} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var broken atomic.Bool
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && op.Kind == kind && strings.HasSuffix(op.Path, ".log") {
					return errorfs.ErrInjected
				}
				return nil
			}))
			l, err := Open("store", Options{FS: fs})
			require.NoError(t, err)
			var answered []acked
			for i := range 20 {
				e := event("happened", "{}")
				res := mustAppend(t, l, "a", Expected(i-1), e)
				answered = append(answered, acked{stream: "a", rev: res.Revision, pos: res.Position, ids: []uuid.UUID{e.ID}})
			}
			follower := l.FollowAll(AllFollow{After: End})
			untilCaughtUp(t, follower)
			followed := make(chan error, 1)
			go func() { _, err := follower.Next(context.Background()); followed <- err }()
			broken.Store(true)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					_, err := l.Append(context.Background(), "a", Any, someEvents(1)...)
					if failed := (*FailedError)(nil); !errors.As(err, &failed) {
						t.Errorf("want a failure, got %v", err)
					}
				})
			}
			wg.Wait()
			<-l.Done()
			require.ErrorAs(t, l.Err(), new(*FailedError))
			require.ErrorAs(t, <-followed, new(*FailedError))
			_, err = tryCollect(l.ReadAll(context.Background(), AllRead{}))
			require.ErrorAs(t, err, new(*FailedError))
			require.Error(t, l.Close())
			l = openTest(t, mem.CrashClone(vfs.CrashCloneCfg{}))
			requireIntact(t, l, answered)
		})
	}
}

// TestUnsynced does without syncing each write: a clean close keeps everything, and a killed process is not refused for
// what it never promised to keep.
func TestUnsynced(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, err := Open("store", Options{FS: fs, NoSync: true})
	require.NoError(t, err)
	mustAppend(t, l, "a", NoStream, someEvents(100)...)
	killed := killedFS(fs)
	require.NoError(t, l.Close())
	require.Len(t, readAll(t, openTest(t, fs)), 100)
	require.LessOrEqual(t, len(readAll(t, openTest(t, killed))), 100)
}
