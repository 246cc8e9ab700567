package embedded

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"docket/eventstore/embedded/eventlog"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func fill(t *testing.T, l *eventlog.Log, n int) (ids []uuid.UUID) {
	t.Helper()
	for range n {
		e := eventlog.EventData{ID: uuid.New(), Type: "made", JSON: true, Data: []byte(`{}`)}
		_, err := l.Append(context.Background(), "s", eventlog.Any, e)
		require.NoError(t, err)
		ids = append(ids, e.ID)
	}
	return ids
}

// requireStore checks that a folder holds a sound store whose events begin with these.
func requireStore(t *testing.T, dir string, ids []uuid.UUID) {
	t.Helper()
	found, err := eventlog.Verify(dir, nil, nil)
	require.NoError(t, err)
	require.Empty(t, found.Problems)
	l, err := eventlog.Open(dir, eventlog.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	var got []uuid.UUID
	for e, err := range l.ReadAll(context.Background(), eventlog.AllRead{}) {
		require.NoError(t, err)
		got = append(got, e.ID)
	}
	require.GreaterOrEqual(t, len(got), len(ids))
	require.Equal(t, ids, got[:len(ids)])
	fill(t, l, 1) // it can be written
}

func noSnapshots(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "snapshot-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestBackupOfAServedStore copies a store again and again while it is written, as another process would.
func TestBackupOfAServedStore(t *testing.T) {
	for name, dir := range map[string]string{
		"socket in the folder": filepath.Join(t.TempDir(), "a"),
		"path too long":        filepath.Join(t.TempDir(), strings.Repeat("long", 30)),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(dir, Options{})
			require.NoError(t, err)
			closed := false
			defer func() {
				if !closed {
					require.NoError(t, s.Close())
				}
			}()
			ids := fill(t, s.Log(), 50)
			stop := make(chan struct{})
			var writer sync.WaitGroup
			var mu sync.Mutex
			writer.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					e := eventlog.EventData{ID: uuid.New(), Type: "made", JSON: true, Data: []byte(`{}`)}
					if _, err := s.Log().Append(context.Background(), "s", eventlog.Any, e); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					ids = append(ids, e.ID)
					mu.Unlock()
				}
			})
			for range 3 {
				target := filepath.Join(t.TempDir(), "copy")
				mu.Lock()
				acknowledged := ids[:len(ids):len(ids)]
				mu.Unlock()
				last := int64(-1)
				require.NoError(t, Backup(context.Background(), dir, target, func(done, total int64) {
					require.LessOrEqual(t, done, total)
					last = total - done
				}))
				require.Zero(t, last, "all bytes were seen")
				requireStore(t, target, acknowledged)
			}
			close(stop)
			writer.Wait()
			noSnapshots(t, dir)
			require.NoError(t, s.Close())
			closed = true
			requireStore(t, dir, ids)
		})
	}
}

func TestBackupOfAStoppedStore(t *testing.T) {
	dir, target := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "copy")
	require.ErrorIs(t, Backup(context.Background(), dir, target, nil), eventlog.ErrNoLog)
	l, err := eventlog.Open(dir, eventlog.Options{})
	require.NoError(t, err)
	ids := fill(t, l, 20)
	require.NoError(t, l.Close())
	require.NoError(t, Backup(context.Background(), dir, target, nil))
	require.ErrorIs(t, Backup(context.Background(), dir, target, nil), fs.ErrExist)
	requireStore(t, target, ids)
	requireStore(t, dir, ids)
	noSnapshots(t, dir)
}

// A copy that breaks off leaves nothing behind.
func TestBackupThatBreaksOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	fill(t, s.Log(), 20)
	attempt := func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		target := filepath.Join(t.TempDir(), "copy")
		err := Backup(ctx, dir, target, func(int64, int64) { cancel() })
		if err != nil { // the last bytes may have come before
			require.NoFileExists(t, target)
			require.NoDirExists(t, target)
		}
	}
	attempt()
	require.NoError(t, s.Close())
	noSnapshots(t, dir)
	attempt()
	noSnapshots(t, dir)
}

func TestPlace(t *testing.T) {
	parent := t.TempDir()
	dir, stage := filepath.Join(parent, "a"), filepath.Join(parent, "stage")
	l, err := eventlog.Open(dir, eventlog.Options{})
	require.NoError(t, err)
	ids := fill(t, l, 3)
	require.NoError(t, l.Close())
	require.NoError(t, Backup(context.Background(), dir, stage, nil))
	require.ErrorIs(t, Place(stage, dir), fs.ErrExist)
	other := filepath.Join(parent, "b")
	require.NoError(t, Place(stage, other))
	require.NoDirExists(t, stage)
	requireStore(t, other, ids)
}

// What a process that was killed during a backup left behind goes at the next start.
func TestOldSnapshotsGo(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "snapshot-1", "log"), 0o700))
	l, err := eventlog.Open(dir, eventlog.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	noSnapshots(t, dir)
}
