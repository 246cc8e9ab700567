package eventlog

import (
	"context"
	"fmt"
	"iter"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		writeUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// openTest opens a log in memory that is closed with the test.
func openTest(t testing.TB, fs vfs.FS) *Log {
	t.Helper()
	l, err := Open("store", Options{FS: fs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func event(typ, data string) EventData {
	return EventData{ID: uuid.New(), Type: typ, JSON: true, Data: []byte(data), Metadata: []byte("{}")}
}

func someEvents(n int) []EventData {
	out := make([]EventData, n)
	for i := range out {
		out[i] = event("happened", fmt.Sprintf(`{"n":%d}`, i))
	}
	return out
}

func mustAppend(t testing.TB, l *Log, stream string, expected Expected, events ...EventData) WriteResult {
	t.Helper()
	res, err := l.Append(context.Background(), stream, expected, events...)
	require.NoError(t, err)
	return res
}

func collect(t testing.TB, seq iter.Seq2[*Event, error]) []*Event {
	t.Helper()
	out, err := tryCollect(seq)
	require.NoError(t, err)
	return out
}

func tryCollect(seq iter.Seq2[*Event, error]) (out []*Event, err error) {
	for e, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func revisions(events []*Event) []int64 {
	out := make([]int64, len(events))
	for i, e := range events {
		out[i] = e.Revision
	}
	return out
}

func readStream(t testing.TB, l *Log, stream string) []*Event {
	t.Helper()
	return collect(t, l.ReadStream(context.Background(), stream, StreamRead{}))
}

func readAll(t testing.TB, l *Log) []*Event {
	t.Helper()
	return collect(t, l.ReadAll(context.Background(), AllRead{}))
}

func TestAppendAndRead(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	ctx := context.Background()
	first := mustAppend(t, l, "a", NoStream, someEvents(3)...)
	require.Equal(t, int64(2), first.Revision)
	second := mustAppend(t, l, "b", NoStream, someEvents(1)...)
	require.Greater(t, second.Position, first.Position)
	mustAppend(t, l, "a", 2, someEvents(2)...)

	check := func(l *Log) {
		require.Equal(t, []int64{0, 1, 2, 3, 4}, revisions(readStream(t, l, "a")))
		back := collect(t, l.ReadStream(ctx, "a", StreamRead{From: FromEnd, Backwards: true, Limit: 2}))
		require.Equal(t, []int64{4, 3}, revisions(back))
		require.Equal(t, []int64{1, 2}, revisions(collect(t, l.ReadStream(ctx, "a", StreamRead{From: 1, Limit: 2}))))
		require.Empty(t, collect(t, l.ReadStream(ctx, "a", StreamRead{From: FromEnd})))
		all := readAll(t, l)
		require.Len(t, all, 6)
		for i := 1; i < len(all); i++ {
			require.Greater(t, all[i].Position, all[i-1].Position)
			require.GreaterOrEqual(t, all[i].Created, all[i-1].Created)
		}
		require.Equal(t, all[3:], collect(t, l.ReadAll(ctx, AllRead{From: second.Position})), "forwards includes the position")
		backwards := collect(t, l.ReadAll(ctx, AllRead{From: second.Position, Backwards: true}))
		require.Equal(t, []int64{2, 1, 0}, revisions(backwards), "backwards excludes it")
		st := l.Stats()
		require.Equal(t, uint64(6), st.Events)
		require.Equal(t, all[5].Position, st.LastPosition)
	}
	check(l)
	require.NoError(t, l.Close())
	check(openTest(t, fs))
}
