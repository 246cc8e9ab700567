package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("docket-test", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("NOT TESTED: no file system may be mounted here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// takeUp makes a file of the size, or as large as the disk allows when the size is 0.
func takeUp(t *testing.T, name string, size int64) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	block := make([]byte, 1<<20)
	for at := int64(0); size == 0 || at < size; at += int64(len(block)) {
		if _, err := f.Write(block); size == 0 && errors.Is(err, syscall.ENOSPC) {
			return
		}
		require.NoError(t, err)
	}
}

// TestRealDiskFull fills a small disk to the last byte: clients are told to try later, reads and subscriptions go on,
// and with the space come the writes.
func TestRealDiskFull(t *testing.T) {
	disk := smallDisk(t, "size=400m")
	dir := filepath.Join(disk, "store")
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	c, err := esdb.NewClient(s.ClientConfig())
	require.NoError(t, err)
	appendTo(t, c, "a", esdb.NoStream{}, events(10)...)
	sub := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	for _, size := range []int64{200 << 20, 0} { // into the reserve, and to the last byte
		ballast := filepath.Join(disk, "ballast")
		takeUp(t, ballast, size)
		untilFull(t, s, true)
		require.Equal(t, codes.ResourceExhausted, rpcCode(tryAppend(t, c, "a", esdb.Any{}, events(1)...)))
		got := mustRead(t, c, "a")
		require.NoError(t, os.Remove(ballast))
		untilFull(t, s, false)
		appendTo(t, c, "a", esdb.Revision(uint64(len(got)-1)), events(5)...)
	}
	for n := 0; n < 20; {
		m := sub.Recv()
		require.Nil(t, m.SubscriptionDropped)
		if m.EventAppeared != nil {
			require.Equal(t, uint64(n), m.EventAppeared.Event.EventNumber)
			n++
		}
	}
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
	f, err := eventlog.Verify(dir, nil, nil)
	require.NoError(t, err)
	require.Equal(t, eventlog.Findings{Events: 20, Streams: 1}, f)
}

// TestRealReadOnlyDisk opens a store on a disk that has become read-only.
func TestRealReadOnlyDisk(t *testing.T) {
	disk := smallDisk(t, "size=400m")
	dir := filepath.Join(disk, "store")
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	appendTo(t, connect(t, s), "a", esdb.NoStream{}, events(10)...)
	require.NoError(t, s.Close())
	remount := func(flags uintptr) {
		require.NoError(t, syscall.Mount("docket-test", disk, "tmpfs", syscall.MS_REMOUNT|flags, ""))
	}
	remount(syscall.MS_RDONLY)
	_, err = Open(dir, Options{})
	remount(0)
	require.ErrorIs(t, err, syscall.EROFS)
	require.NotErrorIs(t, err, eventlog.ErrLocked)
	f, err := eventlog.Verify(dir, nil, nil)
	require.NoError(t, err)
	require.Equal(t, eventlog.Findings{Events: 10, Streams: 1}, f)
	s, err = Open(dir, Options{})
	require.NoError(t, err)
	require.Len(t, mustRead(t, connect(t, s), "a"), 10)
	require.NoError(t, s.Close())
}
