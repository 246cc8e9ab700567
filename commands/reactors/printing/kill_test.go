package printing

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/commands/effects"
	commanded "docket/commands/printing"
	"docket/commands/reactors"
	"docket/domain/printing"
	"docket/eventstore/embedded"
	"docket/eventstore/esdb"
	"docket/internal/blob"
	"docket/internal/postgres/pgtest"
	"docket/internal/printer/printertest"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// These tests kill a process with kill -9 between every two steps of the way of a
// document from its upload to paper, start another on the same stores, and look at
// the log and the printer.

// childVariable makes the test program a process that works. It holds where that
// says so and goes no further: a point between two steps, or "" for nowhere.
const (
	childVariable = "DOCKET_TEST_PRINT_CHILD"
	childDir      = "DOCKET_TEST_PRINT_DIR"
	childDatabase = "DOCKET_TEST_PRINT_DATABASE"
)

// onlyReactors is the point at which jobs are made and nobody works.
const onlyReactors = "enqueued"

// openStores opens the stores in a folder.
func openStores(dir string) (*embedded.Server, *esdb.Store, error) {
	server, err := embedded.Open(filepath.Join(dir, "events"), embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	store, err := esdb.Open(esdb.Config{Client: server.ClientConfig(), Log: esdb.Direct(server.Log()), Logger: slog.New(slog.DiscardHandler)})
	return server, store, err
}

// child works until it is killed, and tells on its output what it reaches.
func child() {
	point := strings.TrimPrefix(os.Getenv(childVariable), "at ")
	must := func(err error) {
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	_, store, err := openStores(os.Getenv(childDir))
	must(err)
	pool, err := pgxpool.New(ctx, os.Getenv(childDatabase))
	must(err)
	blobs, err := blob.OpenFolder(filepath.Join(os.Getenv(childDir), "blobs"))
	must(err)
	var once sync.Mutex
	workers := New(Config{Bus: newBus(store), Store: store, Blobs: blobs, Converter: noConverter{}, Renderer: noRenderer{}, Models: current{}, Lists: &lists{},
		TempDir: os.Getenv(childDir), RetryWait: time.Millisecond, AnyCertificate: true,
		Reached: func(at string) {
			once.Lock()
			defer once.Unlock()
			if at == point {
				fmt.Println(at)
				select {}
			}
		}})
	logger := slog.New(slog.DiscardHandler)
	engine, err := effects.NewEngine(effects.Config{Pool: pool, Kinds: workers.Kinds(), Process: "one", Logger: logger})
	must(err)
	must(engine.Prepare(ctx))
	seeing, err := reactors.NewEngine(reactors.Config{Store: store, Codec: codec(), Pool: pool, Reactors: workers.Reactors(), Logger: logger})
	must(err)
	if point != onlyReactors {
		go func() { must(engine.Run(ctx)) }()
	}
	must(seeing.Run(ctx))
}

// installation is what outlives its processes.
type installation struct {
	t    *testing.T
	dir  string
	pool *pgxpool.Pool
}

// newInstallation is one with a document that was uploaded to a push queue.
func newInstallation(t *testing.T, s printing.OutputPortSettings) *installation {
	i := &installation{t: t, dir: t.TempDir(), pool: pgtest.New(t)}
	server, store, err := openStores(i.dir)
	require.NoError(t, err)
	furnish(t, store, s)
	blobs, err := blob.OpenFolder(filepath.Join(i.dir, "blobs"))
	require.NoError(t, err)
	ref, err := blobs.Put(t.Context(), strings.NewReader(aPDF("to be killed")))
	require.NoError(t, err)
	require.NoError(t, blobs.Close())
	send(t, newBus(store), commanded.ReceiveDocument{ID: killed, UserID: ann, InputPortID: push, Title: "a.pdf", Content: printing.Blob{SHA256: ref.SHA256, Size: ref.Size}})
	require.NoError(t, store.Close())
	require.NoError(t, server.Close())
	return i
}

var killed = id(0x10001)

// worker is a process.
type worker struct {
	*installation
	cmd     *exec.Cmd
	reached chan string
}

func (i *installation) start(point string) *worker {
	i.t.Helper()
	self, err := os.Executable()
	require.NoError(i.t, err)
	w := &worker{installation: i, cmd: exec.Command(self), reached: make(chan string, 10)}
	w.cmd.Env = append(os.Environ(), childVariable+"=at "+point, childDir+"="+i.dir, childDatabase+"="+i.pool.Config().ConnString())
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	require.NoError(i.t, err)
	require.NoError(i.t, w.cmd.Start())
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			w.reached <- lines.Text()
		}
		close(w.reached)
	}()
	i.t.Cleanup(w.kill)
	return w
}

// kill is kill -9.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// await waits until the process is at its point.
func (w *worker) await(point string) {
	w.t.Helper()
	select {
	case at := <-w.reached:
		require.Equal(w.t, point, at)
	case <-time.After(patience):
		require.Fail(w.t, "never got there", point)
	}
}

// job waits for a job of a kind in a state.
func (i *installation) job(kind, state string) {
	i.t.Helper()
	require.Eventually(i.t, func() bool {
		var there bool
		err := i.pool.QueryRow(context.Background(), "select exists (select from effects.river_job where kind = $1 and state::text = $2)", kind, state).Scan(&there)
		return err == nil && there
	}, patience, 10*time.Millisecond, "%s %s", kind, state)
}

// finish has another process do what is left, and gives the document's events.
func (i *installation) finish() []string {
	i.t.Helper()
	w := i.start("")
	settled(i.t, i.pool, 2)
	w.kill()
	server, store, err := openStores(i.dir)
	require.NoError(i.t, err)
	defer func() {
		require.NoError(i.t, store.Close())
		require.NoError(i.t, server.Close())
	}()
	return events(i.t, store, killed)
}

var wholeLife = []string{"received", "ready", "release-requested", "printed"}

func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	for _, c := range []struct {
		point  string
		papers int // how often the printer gets the document
	}{
		{onlyReactors, 1},
		{"prepare: begun", 1},
		{"prepare: done", 1},
		{"prepare: recorded", 1},
		{"deliver: begun", 1},
		// The printer has it, the log does not know: a raw printer can't be asked.
		{"deliver: done", 2},
		{"deliver: recorded", 1},
	} {
		t.Run(c.point, func(t *testing.T) {
			printer := newDevice(t)
			i := newInstallation(t, printing.OutputPortSettings{Address: printer.address()})
			w := i.start(c.point)
			if c.point == onlyReactors {
				i.job("printing.prepare", "available")
			} else {
				w.await(c.point)
			}
			w.kill()
			require.Equal(t, wholeLife, i.finish())
			require.Len(t, printer.printed(), c.papers)
			t.Logf("killed at %q: events %v, the printer got the document %d times", c.point, wholeLife, c.papers)
		})
	}
	t.Run("on the wire", func(t *testing.T) {
		printer := newDevice(t)
		printer.stall()
		i := newInstallation(t, printing.OutputPortSettings{Address: printer.address()})
		w := i.start("")
		<-printer.bitten
		w.kill()
		printer.goOn()
		require.Equal(t, wholeLife, i.finish())
		require.Len(t, printer.printed(), 1, "what broke off was no document")
	})
	t.Run("when all is done", func(t *testing.T) {
		printer := newDevice(t)
		i := newInstallation(t, printing.OutputPortSettings{Address: printer.address()})
		w := i.start("")
		i.job("printing.deliver", "completed")
		w.kill()
		require.Equal(t, wholeLife, i.finish())
		require.Len(t, printer.printed(), 1)
	})
	t.Run("again and again", func(t *testing.T) {
		printer := newDevice(t)
		i := newInstallation(t, printing.OutputPortSettings{Address: printer.address()})
		for range 5 { // as many attempts as a delivery has
			w := i.start("deliver: begun")
			w.await("deliver: begun")
			w.kill()
		}
		require.Equal(t, []string{"received", "ready", "release-requested", "delivery-failed"}, i.finish(), "visibly failed, not tried for ever")
		require.Empty(t, printer.printed())
	})
}

// A printer that can be asked prints once even when the process is killed between
// the printer's taking the document and the log's knowing.
func TestKilledBehindAnIPPPrinter(t *testing.T) {
	printed := filepath.Join(t.TempDir(), "printed")
	url := printertest.Eve(t, "cat \"$1\" >>"+printed)
	i := newInstallation(t, printing.OutputPortSettings{Address: "127.0.0.1", Protocol: printing.IPP, IPPURL: url})
	w := i.start("deliver: done")
	w.await("deliver: done")
	w.kill()
	require.Equal(t, wholeLife, i.finish())
	content, err := os.ReadFile(printed)
	require.NoError(t, err)
	require.Equal(t, aPDF("to be killed"), string(content), "once")
}
