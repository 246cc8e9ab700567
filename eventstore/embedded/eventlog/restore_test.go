package eventlog

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func seq(events []*Event) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestRestore(t *testing.T) {
	l := openTest(t, stopped(t))
	want := collect(t, l.ReadAll(context.Background(), AllRead{}))
	fs := vfs.NewMem()
	require.NoError(t, Restore("store", Options{FS: fs}, l.ReadAll(context.Background(), AllRead{})))
	f, err := Verify("store", fs, nil)
	require.NoError(t, err)
	require.Equal(t, Findings{Events: 13, Streams: 3}, f)
	copied := openTest(t, fs)
	got := collect(t, copied.ReadAll(context.Background(), AllRead{}))
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Position, got[i].Position)
		require.Equal(t, want[i].Revision, got[i].Revision)
		require.Equal(t, want[i].Created, got[i].Created)
		require.Equal(t, want[i].ID, got[i].ID)
		require.Equal(t, want[i].Stream, got[i].Stream)
		require.Equal(t, want[i].Data, got[i].Data)
	}
	require.Equal(t, l.Stats().LogBytes, copied.Stats().LogBytes)
	_, err = copied.Append(context.Background(), "b", Any, someEvents(1)...)
	var deleted *StreamDeletedError
	require.ErrorAs(t, err, &deleted, "the tombstone came along")
	res := mustAppend(t, copied, "a", Expected(6), someEvents(1)...)
	require.Greater(t, res.Position, want[len(want)-1].Position)
}

func TestRestoreRefuses(t *testing.T) {
	e := func(pos uint64, stream string, rev int64) *Event {
		return &Event{Position: pos, Stream: stream, Revision: rev, Type: "t"}
	}
	for name, events := range map[string][]*Event{
		"position 0":      {e(0, "a", 0)},
		"same position":   {e(100, "a", 0), e(100, "a", 1)},
		"back":            {e(100, "a", 0), e(99, "a", 1)},
		"gap":             {e(100, "a", 0), e(101, "a", 2)},
		"late start":      {e(100, "a", 1)},
		"after tombstone": {e(100, "a", Tombstoned), e(101, "a", 0)},
		"no name":         {e(100, "", 0)},
	} {
		require.Error(t, Restore("store", Options{FS: vfs.NewMem()}, seq(events)), name)
	}
	require.Error(t, Restore("store", Options{FS: stopped(t)}, seq(nil)), "not into a log that is there")
	broken := errors.New("broken")
	require.ErrorIs(t, Restore("store", Options{FS: vfs.NewMem()}, func(yield func(*Event, error) bool) { yield(nil, broken) }), broken)
	require.NoError(t, Restore("store", Options{FS: vfs.NewMem()}, seq(nil)))
}
