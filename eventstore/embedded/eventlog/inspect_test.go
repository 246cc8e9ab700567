package eventlog

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// stopped writes a log with all kinds of streams and closes it.
func stopped(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	l, err := Open("store", Options{FS: fs})
	require.NoError(t, err)
	for range 3 {
		mustAppend(t, l, "a", Any, someEvents(2)...)
		mustAppend(t, l, "b", Any, someEvents(1)...)
	}
	_, err = l.SoftDelete(context.Background(), "a", Any)
	require.NoError(t, err)
	mustAppend(t, l, "a", Any, someEvents(1)...)
	_, err = l.Tombstone(context.Background(), "b", Any)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return fs
}

func TestVerifyAndInspect(t *testing.T) {
	fs := stopped(t)
	before := cloneFS(t, fs)
	heard := uint64(0)
	f, err := Verify("store", fs, func(n uint64) { heard = n })
	require.NoError(t, err)
	require.Equal(t, Findings{Events: 13, Streams: 3}, f)
	require.Zero(t, heard, "too few to say")
	s, err := Inspect("store", fs)
	require.NoError(t, err)
	require.Equal(t, uint64(13), s.Events)
	require.Equal(t, uint64(3), s.Streams)
	require.Equal(t, s.LastPosition, s.Acknowledged)
	require.False(t, s.Oldest.After(s.Newest))
	require.NotZero(t, s.DiskBytes)
	require.Equal(t, readFile(t, before, "store/watermark"), readFile(t, fs, "store/watermark"))

	l := openTest(t, fs)
	require.Equal(t, s.LogBytes, l.Stats().LogBytes)
	_, err = Verify("store", fs, nil)
	require.ErrorIs(t, err, ErrLocked)
	for _, dir := range []string{"nowhere", "store/log"} {
		_, err = Inspect(dir, fs)
		require.ErrorIs(t, err, ErrNoLog)
	}
}

// edit changes a stopped log behind its back.
func edit(t *testing.T, fs vfs.FS, change func(*pebble.Batch, *pebble.DB)) {
	t.Helper()
	db, err := pebble.Open("store/log", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
	require.NoError(t, err)
	b := db.NewBatch()
	change(b, db)
	require.NoError(t, b.Commit(pebble.Sync))
	require.NoError(t, db.Close())
}

// TestVerifyFinds damages a log in every way verification is there for.
func TestVerifyFinds(t *testing.T) {
	fs := stopped(t)
	l, err := Open("store", Options{FS: cloneFS(t, fs)})
	require.NoError(t, err)
	events := collect(t, l.ReadAll(context.Background(), AllRead{}))
	require.NoError(t, l.Close())
	third, last := events[2], events[len(events)-1]
	must := func(err error) { require.NoError(t, err) }
	for name, c := range map[string]struct {
		change func(*pebble.Batch, *pebble.DB)
		want   []string
	}{
		"changed record": {func(b *pebble.Batch, db *pebble.DB) {
			v, closer, err := db.Get(logKey(third.Position))
			must(err)
			v = append([]byte(nil), v...)
			must(closer.Close())
			v[len(v)-1] ^= 1
			must(b.Set(logKey(third.Position), v, nil))
		}, []string{"checksum mismatch"}},
		"missing record": {func(b *pebble.Batch, _ *pebble.DB) { must(b.Delete(logKey(third.Position), nil)) },
			[]string{"events are missing", "13 entries for 12 events", "has revision 0 of stream number"}},
		"missing end": {func(b *pebble.Batch, _ *pebble.DB) {
			must(b.Delete(logKey(last.Position), nil))
			must(b.Delete(streamKey(2, last.Revision), nil))
		}, []string{"acknowledged events are lost"}},
		"missing index entry": {func(b *pebble.Batch, _ *pebble.DB) { must(b.Delete(streamKey(1, 1), nil)) },
			[]string{"the index has revision 1 of stream \"a\" at position 0", "goes from revision 0 to 2", "12 entries for 13"}},
		"wrong index entry": {func(b *pebble.Batch, _ *pebble.DB) {
			must(b.Set(streamKey(1, 1), binary.BigEndian.AppendUint64(nil, third.Position), nil))
		}, []string{"the index has revision 1 of stream \"a\" at position"}},
		"one index entry too many": {func(b *pebble.Batch, _ *pebble.DB) {
			must(b.Set(streamKey(1, 7), binary.BigEndian.AppendUint64(nil, 5), nil))
		}, []string{"14 entries for 13", "revision 7 of stream number 1 at position 5"}},
		"missing name": {func(b *pebble.Batch, _ *pebble.DB) { must(b.Delete(nameKey(nil, "b"), nil)) },
			[]string{"stream \"b\" is not in the index", "2 stream names, but 3 streams"}},
	} {
		disk := cloneFS(t, fs)
		edit(t, disk, c.change)
		f, err := Verify("store", disk, nil)
		require.NoError(t, err, name)
		all := strings.Join(f.Problems, "\n")
		require.NotZero(t, f.Count, name)
		for _, want := range c.want {
			require.Contains(t, all, want, name)
		}
	}
}

// TestVerifyDamagedTable: a damaged block on disk is a finding too, wherever it is.
func TestVerifyDamagedTable(t *testing.T) {
	fs := stopped(t)
	edit(t, fs, func(_ *pebble.Batch, db *pebble.DB) { require.NoError(t, db.Flush()) })
	table := largest(t, fs, ".sst")
	content := readFile(t, fs, table)
	for at := 0; at < len(content); at += 97 {
		disk := cloneFS(t, fs)
		changed := append([]byte(nil), content...)
		changed[at] ^= 0xff
		writeFile(t, disk, table, changed)
		if f, err := Verify("store", disk, nil); err == nil && f.Count == 0 {
			require.Equal(t, Findings{Events: 13, Streams: 3}, f, "nothing that is read was hit")
		}
	}
}

func TestVerifyWithoutWatermark(t *testing.T) {
	fs := stopped(t)
	require.NoError(t, fs.Remove("store/watermark"))
	f, err := Verify("store", fs, nil)
	require.NoError(t, err)
	require.Len(t, f.Problems, 1)
	require.Contains(t, f.Problems[0], "no watermark file")
	_, err = fs.Stat("store/watermark")
	require.Error(t, err, "looking makes none")
}
