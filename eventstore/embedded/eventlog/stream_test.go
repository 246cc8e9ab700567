package eventlog

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestRetryIsIdempotent repeats an append with every kind of expectation, before and after a reopen.
func TestRetryIsIdempotent(t *testing.T) {
	for _, tc := range []struct {
		name     string
		expected Expected
		before   int
	}{
		{"no stream", NoStream, 0}, {"any on nothing", Any, 0}, {"any", Any, 2}, {"stream exists", StreamExists, 2}, {"revision", 1, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := vfs.NewMem()
			l := openTest(t, fs)
			if tc.before > 0 {
				mustAppend(t, l, "a", NoStream, someEvents(tc.before)...)
			}
			events := someEvents(3)
			first := mustAppend(t, l, "a", tc.expected, events...)
			require.Equal(t, first, mustAppend(t, l, "a", tc.expected, events...))
			mustAppend(t, l, "a", first0(first), someEvents(1)...)
			require.Equal(t, first, mustAppend(t, l, "a", tc.expected, events...), "even when others wrote in between")
			require.NoError(t, l.Close())
			l = openTest(t, fs)
			require.Equal(t, first, mustAppend(t, l, "a", tc.expected, events...), "even after a restart")
			require.Len(t, readStream(t, l, "a"), tc.before+4)

			var wrong *WrongExpectedVersionError
			_, err := l.Append(context.Background(), "a", tc.expected, events[0], event("other", "{}"))
			require.ErrorAs(t, err, &wrong, "half a retry is a conflict")
			// The same ids in another stream are another write.
			require.Equal(t, int64(2), mustAppend(t, l, "b", Any, events...).Revision)
		})
	}
}

func first0(r WriteResult) Expected { return Expected(r.Revision) }

func TestEmptyAppend(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	require.Equal(t, WriteResult{Revision: -1}, mustAppend(t, l, "a", NoStream))
	mustAppend(t, l, "a", NoStream, someEvents(2)...)
	require.Equal(t, WriteResult{Revision: 1}, mustAppend(t, l, "a", 1))
	var wrong *WrongExpectedVersionError
	_, err := l.Append(context.Background(), "a", NoStream)
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, int64(1), wrong.Current)
}

func TestLimits(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	ctx := context.Background()
	full := event("abc", string(make([]byte, DefaultMaxAppendBytes-6-2))) // metadata is {}
	mustAppend(t, l, "a", NoStream, full)
	var large *AppendTooLargeError
	_, err := l.Append(ctx, "a", Any, EventData{ID: uuid.New(), Type: "abc", Data: make([]byte, DefaultMaxAppendBytes-5)})
	require.ErrorAs(t, err, &large)
	var bad *InvalidError
	for _, name := range []string{"", "$$", "$all", "$$$$a", "a\xff", strings.Repeat("x", MaxStreamName+1)} {
		_, err = l.Append(ctx, name, Any, someEvents(1)...)
		require.ErrorAs(t, err, &bad, "%q", name)
		_, err = tryCollect(l.ReadStream(ctx, name, StreamRead{}))
		require.ErrorAs(t, err, &bad, "%q", name)
	}
	for name, e := range map[string]EventData{
		"no id": {Type: "x"}, "no type": {ID: uuid.New()}, "bad type": {ID: uuid.New(), Type: "\xff"},
	} {
		_, err = l.Append(ctx, "b", Any, e)
		require.ErrorAs(t, err, &bad, name)
	}
	_, err = l.Append(ctx, "b", -3, someEvents(1)...)
	require.ErrorAs(t, err, &bad)
	for _, del := range []func() error{
		func() error { _, err := l.SoftDelete(ctx, "$$a", Any); return err },
		func() error { _, err := l.Tombstone(ctx, "$$a", Any); return err },
	} {
		require.ErrorAs(t, del(), &bad)
	}
	mustAppend(t, l, strings.Repeat("x", MaxStreamName), NoStream, someEvents(1)...)
}

// TestMoreThanTheQueueHolds: very many small events count more in the queue of writes than there is room for, and must
// not wait for it for ever.
func TestMoreThanTheQueueHolds(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	many := make([]EventData, queueBytes/256)
	for i := range many {
		many[i] = EventData{ID: uuid.New(), Type: "t"}
	}
	size, err := l.validate(&Write{Stream: "a", Expected: NoStream, Events: many})
	require.NoError(t, err)
	require.True(t, l.queued.TryAcquire(int64(size)))
}

// TestMaxAge lets events expire. Expired events are an empty read, not a missing stream, and stay in the whole log.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open("store", Options{FS: vfs.NewMem()})
		require.NoError(t, err)
		for range 5 {
			mustAppend(t, l, "a", Any, someEvents(2)...)
			time.Sleep(10 * time.Second) // of the bubble's clock
		}
		mustAppend(t, l, "$$a", NoStream, event(TypeMetadata, `{"$maxAge":25}`))
		require.Equal(t, []int64{6, 7, 8, 9}, revisions(readStream(t, l, "a")))
		back := collect(t, l.ReadStream(context.Background(), "a", StreamRead{From: FromEnd, Backwards: true}))
		require.Equal(t, []int64{9, 8, 7, 6}, revisions(back))
		old, err := l.ReadEvent("a", 5)
		require.NoError(t, err)
		require.Nil(t, old)
		kept, err := l.ReadEvent("a", 6)
		require.NoError(t, err)
		require.Equal(t, int64(6), kept.Revision)
		time.Sleep(time.Hour)
		require.Empty(t, readStream(t, l, "a"))
		require.Len(t, readAll(t, l), 11)
		require.NoError(t, l.Close())
	})
}

func TestReadEvent(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	mustAppend(t, l, "a", NoStream, someEvents(3)...)
	mustAppend(t, l, "$$a", NoStream, event(TypeMetadata, `{"$tb":1}`))
	for rev, there := range map[int64]bool{-1: false, 0: false, 1: true, 2: true, 3: false, Tombstoned: false} {
		e, err := l.ReadEvent("a", rev)
		require.NoError(t, err)
		require.Equal(t, there, e != nil, "revision %d", rev)
	}
	var missing *StreamNotFoundError
	_, err := l.ReadEvent("b", 0)
	require.ErrorAs(t, err, &missing)
}

// TestOddMetadata holds metadata that says nothing useful: it restricts nothing.
func TestOddMetadata(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	mustAppend(t, l, "a", NoStream, someEvents(3)...)
	for _, meta := range []string{`not json`, `[]`, `{"$maxCount":"many"}`, `{"$tb":-1}`, `{"$maxAge":1e300}`, `{"$maxCount":0}`, `null`} {
		mustAppend(t, l, "$$a", Any, event(TypeMetadata, meta))
		require.Len(t, readStream(t, l, "a"), 3, meta)
	}
	// Bringing back a stream whose metadata was replaced by something odd works too.
	_, err := l.SoftDelete(context.Background(), "a", Any)
	require.NoError(t, err)
	mustAppend(t, l, "$$a", Any, event(TypeMetadata, `null`))
	require.Empty(t, readStream(t, l, "a"), "all events are before $tb")
	mustAppend(t, l, "a", 2, someEvents(1)...)
	require.Equal(t, []int64{3}, revisions(readStream(t, l, "a")))
}

// TestLongStream reads across chunk boundaries in both directions.
func TestLongStream(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	const n = 3*chunkEvents + 17
	for i := 0; i < n; i += 100 {
		mustAppend(t, l, "long", Any, someEvents(min(100, n-i))...)
		mustAppend(t, l, fmt.Sprintf("other-%d", i), NoStream, someEvents(1)...)
	}
	ctx := context.Background()
	for _, limit := range []uint64{0, 1, chunkEvents, chunkEvents + 1, n, 2 * n} {
		want := int(min(limit, n))
		if limit == 0 {
			want = n
		}
		forwards := revisions(collect(t, l.ReadStream(ctx, "long", StreamRead{Limit: limit})))
		backwards := revisions(collect(t, l.ReadStream(ctx, "long", StreamRead{From: FromEnd, Backwards: true, Limit: limit})))
		require.Len(t, forwards, want)
		require.Len(t, backwards, want)
		for i := range want {
			require.Equal(t, int64(i), forwards[i])
			require.Equal(t, int64(n-1-i), backwards[i])
		}
	}
	all := readAll(t, l)
	require.Len(t, all, int(l.Stats().Events))
	back := collect(t, l.ReadAll(ctx, AllRead{From: End, Backwards: true}))
	require.Len(t, back, len(all))
	for i := range all {
		require.Equal(t, all[i].Position, back[len(back)-1-i].Position)
	}
	stopped := 0
	for range l.ReadAll(ctx, AllRead{}) {
		if stopped++; stopped == 5 {
			break
		}
	}
	require.Equal(t, 5, stopped)
}

// stallingFS holds up syncs of the write-ahead log while armed.
type stallingFS struct {
	armed   atomic.Bool
	stalled chan struct{} // receives when a sync waits
	release chan struct{} // closed to let it go
}

func (s *stallingFS) wrap(fs vfs.FS) vfs.FS {
	s.stalled, s.release = make(chan struct{}, 1), make(chan struct{})
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") && s.armed.CompareAndSwap(true, false) {
			s.stalled <- struct{}{}
			<-s.release
		}
		return nil
	}))
}

// TestAbandonedWriteStaysUnwritten cancels a write that waits behind another: it is never written, and nothing is
// answered or visible before the sync is done.
func TestAbandonedWriteStaysUnwritten(t *testing.T) {
	var stall stallingFS
	l := openTest(t, stall.wrap(vfs.NewMem()))
	follower := l.FollowAll(AllFollow{})
	untilCaughtUp(t, follower)
	stall.armed.Store(true)
	reply := make(chan *Write, 3)
	submit := func(ctx context.Context, stream string, expected Expected) {
		require.NoError(t, l.Submit(ctx, &Write{Stream: stream, Expected: expected, Events: someEvents(1), Tag: stream}, reply))
	}
	submit(context.Background(), "first", NoStream)
	<-stall.stalled
	ctx, cancel := context.WithCancel(context.Background())
	submit(ctx, "abandoned", NoStream)
	submit(context.Background(), "first", NoStream)
	cancel()
	require.Empty(t, readAll(t, l))
	require.Zero(t, l.LastPosition())
	require.Empty(t, reply)
	var missing *StreamNotFoundError
	_, err := tryCollect(l.ReadStream(context.Background(), "first", StreamRead{}))
	require.ErrorAs(t, err, &missing, "written but not durable is not there")
	require.Eventually(t, func() bool { // the database shows a write before it is durable
		st, err := l.loadState("first", End)
		return err == nil && st.last == 0
	}, 30*time.Second, time.Millisecond)
	st, err := l.loadState("first", l.end())
	require.NoError(t, err)
	require.Equal(t, int64(-1), st.last)
	close(stall.release)
	require.NoError(t, (<-reply).Err)
	require.ErrorIs(t, (<-reply).Err, context.Canceled)
	var wrong *WrongExpectedVersionError
	require.ErrorAs(t, (<-reply).Err, &wrong)
	require.Equal(t, "first", next(t, follower).Stream)
	require.Len(t, readAll(t, l), 1)
}

// TestOvertakenState offers the cache a state that was read before a write was published.
func TestOvertakenState(t *testing.T) {
	s := newStates(DefaultCacheStreams)
	_, end, ok := s.get("a")
	require.False(t, ok)
	s.publish(map[string]streamState{"a": {no: 1, last: 7}}, 100)
	s.loaded("a", streamState{no: 1, last: 6}, end)
	st, end, ok := s.get("a")
	require.True(t, ok)
	require.Equal(t, int64(7), st.last)
	require.Equal(t, uint64(100), end)
	s.loaded("b", streamState{no: 2, last: 3}, end)
	st, _, ok = s.get("b")
	require.True(t, ok)
	require.Equal(t, int64(3), st.last)
}

// TestColdReadsDoNotHideWrites reads and writes streams whose state is not in memory at the same time.
func TestColdReadsDoNotHideWrites(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	const n = 400
	for i := range n {
		mustAppend(t, l, fmt.Sprintf("s-%d", i), NoStream, someEvents(1)...)
	}
	require.NoError(t, l.Close())
	l = openTest(t, fs)
	for i := range n {
		stream := fmt.Sprintf("s-%d", i)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := tryCollect(l.ReadStream(context.Background(), stream, StreamRead{})); err != nil {
					t.Error(err)
				}
			})
		}
		mustAppend(t, l, stream, 0, someEvents(1)...)
		wg.Wait()
		require.Equal(t, []int64{0, 1}, revisions(readStream(t, l, stream)))
		mustAppend(t, l, stream, 1, someEvents(1)...)
	}
}
