package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// free makes a disk in memory say that so many bytes are free.
func free(fs *vfs.MemFS, bytes uint64) {
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 1 << 40})
}

// TestDiskFull lets the disk fill up and get space again: writes are refused meanwhile and nothing else.
func TestDiskFull(t *testing.T) {
	var logged bytes.Buffer
	disk := vfs.NewMem()
	free(disk, 1<<30)
	l, err := Open("store", Options{FS: disk, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	require.NoError(t, err)
	ctx, written := context.Background(), someEvents(2)
	first := mustAppend(t, l, "a", NoStream, written...)
	mustAppend(t, l, "b", NoStream, someEvents(1)...)
	follower := l.FollowAll(AllFollow{After: End})
	untilCaughtUp(t, follower)

	free(disk, diskReserve-1)
	l.watchSpace()
	l.watchSpace()
	var full *FullError
	_, err = l.Append(ctx, "a", Any, someEvents(1)...)
	require.ErrorAs(t, err, &full)
	require.Equal(t, FullError{Free: diskReserve - 1, Reserve: diskReserve}, *full)
	_, err = l.SoftDelete(ctx, "b", Any)
	require.ErrorAs(t, err, &full)
	_, err = l.Tombstone(ctx, "b", Any)
	require.ErrorAs(t, err, &full)
	require.True(t, l.Stats().Full)

	// What writes nothing is answered as ever.
	require.Equal(t, first, mustAppend(t, l, "a", NoStream, written...), "repeated")
	require.Equal(t, first, mustAppend(t, l, "a", Any, written...), "repeated")
	_, err = l.Append(ctx, "a", NoStream, someEvents(1)...)
	require.ErrorAs(t, err, new(*WrongExpectedVersionError))
	require.Equal(t, WriteResult{Revision: 1}, mustAppend(t, l, "a", Any), "no events")
	require.Len(t, readStream(t, l, "a"), 2)
	require.Len(t, readAll(t, l), 3)

	free(disk, diskReserve+1)
	l.watchSpace()
	require.True(t, l.Stats().Full, "a little more is not enough")
	free(disk, 2*diskReserve)
	require.Eventually(t, func() bool { return !l.Stats().Full }, time.Minute, time.Millisecond, "noticed by itself")
	last := mustAppend(t, l, "a", 1, someEvents(1)...)
	d, err := follower.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, last.Position, d.Events[0].Position)
	require.NoError(t, l.Close())
	require.Equal(t, 1, strings.Count(logged.String(), "level=ERROR"), logged.String())
	require.Equal(t, 1, strings.Count(logged.String(), "level=INFO"), logged.String())

	free(disk, diskReserve-1)
	l = openTest(t, disk)
	require.Len(t, readAll(t, l), 4, "a full disk can be read")
	_, err = l.Append(ctx, "a", Any, someEvents(1)...)
	require.ErrorAs(t, err, &full)
}

// shrinkingFS has less free space with every event written.
type shrinkingFS struct {
	vfs.FS
	log  atomic.Pointer[Log]
	size uint64
}

func (s *shrinkingFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	u := vfs.DiskUsage{AvailBytes: s.size}
	if l := s.log.Load(); l != nil {
		u.AvailBytes -= min(s.size, l.end())
	}
	return u, nil
}

// TestFastWriter fills a disk much faster than the clock ticks: the reserve is kept nevertheless.
func TestFastWriter(t *testing.T) {
	disk := &shrinkingFS{FS: vfs.NewMem(), size: 24 << 20}
	l, err := Open("store", Options{FS: disk, reserve: 8 << 20})
	require.NoError(t, err)
	disk.log.Store(l)
	e := event("big", strings.Repeat("x", 512<<10))
	for err == nil {
		e.ID = uuid.New()
		_, err = l.Append(context.Background(), "a", Any, e)
	}
	require.ErrorAs(t, err, new(*FullError))
	require.Greater(t, l.Stats().LogBytes, uint64(15<<20))
	require.Less(t, l.Stats().LogBytes, uint64(18<<20))
	require.NoError(t, l.Close())
}

// takesSpace says whether an operation may fail for want of space.
func takesSpace(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpFilePreallocate,
		errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return true
	}
	return false
}

// failing makes operations of a disk fail: those for which fails holds.
func failing(disk vfs.FS, err error, fails func(errorfs.Op) bool) vfs.FS {
	return errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fails(op) {
			return &fs.PathError{Op: "write", Path: op.Path, Err: err}
		}
		return nil
	}))
}

// fullFrom is a disk that has no space for the nth operation that takes some, nor for those after it unless once is set.
func fullFrom(disk vfs.FS, n int64, once bool) vfs.FS {
	var ops atomic.Int64
	return failing(disk, syscall.ENOSPC, func(op errorfs.Op) bool {
		if !takesSpace(op) {
			return false
		}
		at := ops.Add(1)
		return at == n || at > n && !once
	})
}

// TestOutOfSpace has processes run out of space at random moments, for good or only once: opening, writing, syncing,
// making files. Each ends by itself. What it leaves opens again, holds everything acknowledged and verifies.
func TestOutOfSpace(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 13))
	dir := t.TempDir()
	l, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	var answered []acked
	silent, refused, rounds := 0, 0, crashes()
	for range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childFull, 1+rng.IntN(8<<rng.IntN(7))),
			fmt.Sprintf("%s=%t", childFullOnce, rng.IntN(3) == 0))
		out, err := cmd.Output()
		before := len(answered)
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if strings.HasPrefix(line, "error") {
				require.Contains(t, line, syscall.ENOSPC.Error())
				refused++
			} else if line != "" {
				answered = append(answered, parseAcked(t, line))
			}
		}
		require.Error(t, err, "it ends")
		if len(answered) == before {
			silent++
		}
		f, err := Verify(dir, nil, nil)
		require.NoError(t, err)
		require.Empty(t, f.Problems)
		l, err := Open(dir, Options{})
		require.NoError(t, err)
		requireIntact(t, l, answered)
		require.NoError(t, l.Close())
	}
	t.Logf("seed %d: %d times out of space, %d before the first answer, %d with an error, the others with the process; "+
		"%d appends acknowledged", seed, rounds, silent, refused, len(answered))
}

// TestReadOnlyDisk opens a log where nothing can be written: the error says so, and the files stay as they are.
func TestReadOnlyDisk(t *testing.T) {
	disk := stopped(t)
	before := content(t, disk)
	_, err := Open("store", Options{FS: failing(disk, syscall.EROFS, func(op errorfs.Op) bool {
		return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose
	})})
	require.ErrorIs(t, err, syscall.EROFS)
	require.NotErrorIs(t, err, ErrLocked)
	// The lock's file may be there and open, so that the first write to fail is a later one.
	for _, but := range []errorfs.OpKind{errorfs.OpLock, errorfs.OpCreate} {
		_, err = Open("store", Options{FS: failing(cloneFS(t, disk), syscall.EROFS, func(op errorfs.Op) bool {
			return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose && op.Kind != errorfs.OpLock && op.Kind != but
		})})
		require.ErrorIs(t, err, syscall.EROFS)
	}
	require.Equal(t, before, content(t, disk))
	require.Len(t, readAll(t, openTest(t, disk)), 13)
}

// content is what is in the files of a disk in memory.
func content(t *testing.T, disk vfs.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := disk.List("store/log")
	require.NoError(t, err)
	for _, n := range names {
		out[n] = string(readFile(t, disk, "store/log/"+n))
	}
	out[markFile] = string(readFile(t, disk, "store/"+markFile))
	return out
}

// TestReadOnlyFolder is the same with a folder that the user may not write to.
func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("NOT TESTED: nothing is read-only for root")
	}
	dir := t.TempDir()
	openIn := func(readOnly string) error {
		require.NoError(t, os.Chmod(readOnly, 0o500))
		defer func() { require.NoError(t, os.Chmod(readOnly, 0o700)) }()
		_, err := Open(dir, Options{})
		return err
	}
	require.ErrorIs(t, openIn(dir), fs.ErrPermission, "a new log")
	l, err := Open(dir, Options{})
	require.NoError(t, err)
	mustAppend(t, l, "a", NoStream, someEvents(3)...)
	require.NoError(t, l.Close())
	require.ErrorIs(t, openIn(filepath.Join(dir, dbDir)), fs.ErrPermission)
	// The database that was given up on keeps its lock until it has written what it wanted to.
	require.Eventually(t, func() bool {
		l, err = Open(dir, Options{})
		return !errors.Is(err, ErrLocked)
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, err)
	require.Len(t, readAll(t, l), 3)
	require.NoError(t, l.Close())
}
