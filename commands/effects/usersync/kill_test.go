package usersync

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"docket/domain/directory"
	"docket/eventstore/embedded"
	"docket/eventstore/esdb"
	"docket/internal/postgres/pgtest"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// The test program becomes a process that synchronises when childVariable is set:
// it stops for ever before that entry of the first reading, and says so. -1 is
// nowhere.
const (
	childVariable = "DOCKET_TEST_SYNC_CHILD"
	childDir      = "DOCKET_TEST_SYNC_DIR"
	childDatabase = "DOCKET_TEST_SYNC_DATABASE"
)

func openStores(dir string) (*embedded.Server, *esdb.Store, error) {
	quiet := slog.New(slog.DiscardHandler)
	server, err := embedded.Open(filepath.Join(dir, "events"), embedded.Options{Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	store, err := esdb.Open(esdb.Config{Client: server.ClientConfig(), Log: esdb.Direct(server.Log()), Logger: quiet})
	return server, store, err
}

// entries is how many users the directory of these tests has.
const entries = 2*batch + 10

func child() {
	err := func() error {
		ctx := context.Background()
		at, err := strconv.Atoi(os.Getenv(childVariable))
		if err != nil {
			return err
		}
		_, store, err := openStores(os.Getenv(childDir))
		if err != nil {
			return err
		}
		pool, err := pgxpool.New(ctx, os.Getenv(childDatabase))
		if err != nil {
			return err
		}
		w := worldOf(store, pool)
		w.source.users = many(entries)
		w.source.before = func(_ context.Context, _, n int) error {
			if n == at {
				fmt.Println(n)
				select {}
			}
			return nil
		}
		engines, err := w.assemble()
		if err != nil {
			return err
		}
		running, ctx := errgroup.WithContext(ctx)
		for _, run := range engines {
			running.Go(func() error { return run(ctx) })
		}
		return running.Wait()
	}()
	fmt.Println("ended:", err)
	os.Exit(1)
}

// process runs a child and returns what it says and a way to kill -9 it.
func process(t *testing.T, dir string, pool *pgxpool.Pool, at int) (said <-chan string, kill func()) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+strconv.Itoa(at), childDir+"="+dir, childDatabase+"="+pool.Config().ConnString())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := make(chan string, 10)
	go func() {
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
		close(lines)
	}()
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	return lines, kill
}

// A process is killed in a run, another one goes on with it: every entry is there
// and counted once, and the next run finds nothing to do.
func TestKilledInARun(t *testing.T) {
	for _, at := range []int{0, batch - 1, batch, batch + 5, 2 * batch, entries} {
		t.Run(fmt.Sprintf("before entry %d", at), func(t *testing.T) {
			dir, pool := t.TempDir(), pgtest.New(t)
			reopen := func() (*world, func()) {
				server, store, err := openStores(dir)
				require.NoError(t, err)
				w := worldOf(store, pool)
				w.t, w.source.users = t, many(entries)
				return w, func() {
					require.NoError(t, store.Close())
					require.NoError(t, server.Close())
				}
			}
			w, closed := reopen()
			w.furnish()
			w.bus = w.newBus(nil)
			run := w.begin()
			closed()

			said, kill := process(t, dir, pool, at)
			select {
			case n := <-said:
				require.Equal(t, strconv.Itoa(at), n)
			case <-time.After(waiting):
				require.Fail(t, "never got there")
			}
			kill()

			said, kill = process(t, dir, pool, -1)
			require.Eventually(t, func() bool {
				var status string
				err := pool.QueryRow(t.Context(), "select status from rm_directory.sync_runs where id = $1", run).Scan(&status)
				return err == nil && status != string(directory.SyncRunning)
			}, waiting, 10*time.Millisecond, "%v", said)
			kill()

			w, closed = reopen()
			defer closed()
			w.start()
			defer w.stop()
			r := w.state(run)
			require.Equal(t, directory.SyncSucceeded, r.Status, "%s", r.Reason)
			require.Equal(t, directory.Tally{Added: entries}, r.Counts.Users, "each is counted once")
			require.Empty(t, r.Errors)
			before := w.log()
			require.Equal(t, entries, before["directory.user-created"], "%v", before)
			require.Equal(t, directory.Tally{Unchanged: entries}, w.run().Counts.Users)
			require.Equal(t, before, w.log(), "nothing was appended")
		})
	}
}
