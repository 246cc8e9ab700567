package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// cloneFS copies a disk.
func cloneFS(t *testing.T, fs vfs.FS) *vfs.MemFS {
	t.Helper()
	out := vfs.NewMem()
	ok, err := vfs.Clone(fs, out, "store", "store")
	require.NoError(t, err)
	require.True(t, ok)
	return out
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	require.NoError(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	return b
}

func writeFile(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(b)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// largest is the largest file of the database whose name ends in suffix.
func largest(t *testing.T, fs vfs.FS, suffix string) string {
	t.Helper()
	names, err := fs.List("store/log")
	require.NoError(t, err)
	best, size := "", int64(-1)
	for _, n := range names {
		st, err := fs.Stat("store/log/" + n)
		require.NoError(t, err)
		if strings.HasSuffix(n, suffix) && st.Size() > size {
			best, size = "store/log/"+n, st.Size()
		}
	}
	require.NotEmpty(t, best)
	return best
}

// damaged opens a damaged disk and reads everything. It returns the first error, and fails the test if the log gives
// other events than were written without saying anything.
func damaged(t *testing.T, fs vfs.FS, want []*Event, what string) error {
	t.Helper()
	l, err := Open("store", Options{FS: fs})
	if err != nil {
		return err
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Logf("%s: close: %v", what, err)
		}
	}()
	got, err := tryCollect(l.ReadAll(context.Background(), AllRead{}))
	require.LessOrEqual(t, len(got), len(want), what)
	for i, e := range got {
		if want[i].Position != e.Position || want[i].ID != e.ID || !bytes.Equal(want[i].Data, e.Data) || want[i].Stream != e.Stream {
			t.Fatalf("%s: event %d is not what was written", what, i)
		}
	}
	if err == nil {
		require.Len(t, got, len(want), "%s: events are missing without an error", what)
	}
	return err
}

// TestFlippedByteInTable flips single bytes all over the stored table: what is damaged is reported with its position,
// and never read over.
func TestFlippedByteInTable(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	for i := range 300 {
		mustAppend(t, l, fmt.Sprintf("s-%d", i%10), Any, event("happened", randomText(i)))
	}
	all := readAll(t, l)
	require.NoError(t, l.Close())
	require.NoError(t, openTest(t, fs).Close()) // moves the write-ahead log into a table
	table := largest(t, fs, ".sst")
	whole := readFile(t, fs, table)
	reported := 0
	for at := 0; at < len(whole); at += len(whole)/40 + 1 {
		broken := cloneFS(t, fs)
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		writeFile(t, broken, table, b)
		err := damaged(t, broken, all, fmt.Sprintf("byte %d of %d", at, len(whole)))
		var damage *CorruptionError
		if errors.As(err, &damage) {
			require.LessOrEqual(t, damage.Position, all[len(all)-1].Position)
			reported++
		}
	}
	require.Greater(t, reported, 10, "most of a table is events")
}

// TestAlteredRecords changes records in ways the database's own checksums cannot see.
func TestAlteredRecords(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	for i := range 50 {
		mustAppend(t, l, fmt.Sprintf("s-%d", i%2), Any, someEvents(1)...)
	}
	all := readAll(t, l)
	require.NoError(t, l.Close())
	at, before := all[20], all[19]
	stored := func(l *Log, pos uint64) []byte {
		v, closer, err := l.db.Get(logKey(pos))
		require.NoError(t, err)
		defer closer.Close()
		return bytes.Clone(v)
	}
	for name, tc := range map[string]struct {
		alter func(l *Log)
		want  CorruptionError
	}{
		"flipped byte": {func(l *Log) {
			v := stored(l, at.Position)
			v[len(v)-1] ^= 1
			must(l.db.Set(logKey(at.Position), v, nil))
		}, CorruptionError{Position: at.Position}},
		"cut short": {func(l *Log) {
			must(l.db.Set(logKey(at.Position), stored(l, at.Position)[:40], nil))
		}, CorruptionError{Position: at.Position}},
		"missing": {func(l *Log) {
			must(l.db.Delete(logKey(at.Position), nil))
		}, CorruptionError{Position: before.Position, AfterPosition: true}},
		"replaced by a sound one": {func(l *Log) {
			v := stored(l, at.Position)
			e := &Event{Position: at.Position, Stream: at.Stream, Type: at.Type, Revision: at.Revision, Data: at.Data}
			var old record
			must(old.parse(at.Position, v))
			v = make([]byte, recordSize(e))
			encodeRecord(v, e, old.prev)
			must(l.db.Set(logKey(at.Position), v, nil))
		}, CorruptionError{Position: at.Position, AfterPosition: true}},
	} {
		t.Run(name, func(t *testing.T) {
			l := openTest(t, cloneFS(t, fs))
			tc.alter(l)
			got, err := tryCollect(l.ReadAll(context.Background(), AllRead{}))
			var damage *CorruptionError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, tc.want.Position, damage.Position)
			require.Equal(t, tc.want.AfterPosition, damage.AfterPosition)
			require.LessOrEqual(t, len(got), 21)
			if _, err = tryCollect(l.ReadStream(context.Background(), at.Stream, StreamRead{})); name != "replaced by a sound one" {
				require.ErrorAs(t, err, &damage)
				require.Equal(t, at.Position, damage.Position)
			}
		})
	}
}

// randomText does not compress, so that the file is mostly events.
func randomText(seed int) string {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	b := make([]byte, 300)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

// TestDamagedWriteAheadLog flips bytes in, and cuts, the write-ahead log of a process that was killed. The database alone
// opens some of these without a word and with fewer events.
func TestDamagedWriteAheadLog(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := openTest(t, fs)
	for i := range 300 {
		mustAppend(t, l, fmt.Sprintf("s-%d", i%10), Any, event("happened", randomText(i)))
	}
	all := readAll(t, l)
	killed := killedFS(fs)
	wal := largest(t, killed, ".log")
	whole := bytes.TrimRight(readFile(t, killed, wal), "\x00")
	require.NoError(t, damaged(t, cloneFS(t, killed), all, "undamaged"))
	lost, refused := 0, 0
	try := func(what string, b []byte) {
		broken := cloneFS(t, killed)
		writeFile(t, broken, wal, b)
		var loss *LossError
		if err := damaged(t, broken, all, what); errors.As(err, &loss) {
			require.Equal(t, all[len(all)-1].Position, loss.Acknowledged)
			lost++
		} else if err != nil {
			refused++
		}
	}
	for at := 0; at < len(whole); at += len(whole)/40 + 1 {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		try(fmt.Sprintf("byte %d of %d", at, len(whole)), b)
		try(fmt.Sprintf("cut at %d of %d", at, len(whole)), whole[:at])
	}
	require.NotZero(t, lost, "the watermark noticed what the database did not")
	require.NotZero(t, refused, "the database notices some, even in its first write-ahead log")
}

// TestAcceptLoss opens a shortened log on demand. Positions of lost events are not used again, so that whoever remembers
// one does not take a new event for an old one.
func TestAcceptLoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := openTest(t, fs)
	for range 100 {
		mustAppend(t, l, "a", Any, someEvents(1)...)
	}
	all := readAll(t, l)
	killed := killedFS(fs)
	wal := largest(t, killed, ".log")
	b := bytes.TrimRight(readFile(t, killed, wal), "\x00")
	writeFile(t, killed, wal, b[:len(b)/2])

	_, err := Open("store", Options{FS: killed})
	var loss *LossError
	require.ErrorAs(t, err, &loss)
	require.Contains(t, err.Error(), fmt.Sprint(all[99].Position))
	_, err = Open("store", Options{FS: killed})
	require.ErrorAs(t, err, &loss, "refusing leaves everything as it was")

	l, err = Open("store", Options{FS: killed, AcceptLoss: true})
	require.NoError(t, err)
	left := readAll(t, l)
	require.Less(t, len(left), 100)
	requireSame(t, all[:len(left)], left)
	res := mustAppend(t, l, "a", Any, someEvents(1)...)
	require.Greater(t, res.Position, all[99].Position)
	require.Equal(t, int64(len(left)), res.Revision)
	require.NoError(t, l.Close())
	l, err = Open("store", Options{FS: killed})
	require.NoError(t, err, "the loss was accepted once and for all")
	require.Len(t, readAll(t, l), len(left)+1)
	require.NoError(t, l.Close())
}

func TestWatermarkFile(t *testing.T) {
	fs := vfs.NewMem()
	l := openTest(t, fs)
	mustAppend(t, l, "a", Any, someEvents(5)...)
	require.NoError(t, l.Close())
	mark := "store/" + markFile
	whole := readFile(t, fs, mark)

	// One torn slot does no harm, two are refused.
	for _, slots := range [][]int{{0}, {1}} {
		broken := cloneFS(t, fs)
		b := bytes.Clone(whole)
		for _, s := range slots {
			b[s*markSlot+20] ^= 1
		}
		writeFile(t, broken, mark, b)
		require.NoError(t, openTest(t, broken).Close())
	}
	broken := cloneFS(t, fs)
	b := bytes.Clone(whole)
	b[20] ^= 1
	b[markSlot+20] ^= 1
	writeFile(t, broken, mark, b)
	var loss *LossError
	_, err := Open("store", Options{FS: broken})
	require.ErrorAs(t, err, &loss)

	// Without the file, as in a copy of the database alone, there is nothing to compare with.
	gone := cloneFS(t, fs)
	require.NoError(t, gone.Remove(mark))
	require.Len(t, readAll(t, openTest(t, gone)), 5)

	// The database gone, the file left: everything is lost.
	require.NoError(t, fs.RemoveAll("store/log"))
	_, err = Open("store", Options{FS: fs})
	require.ErrorAs(t, err, &loss)
	require.Zero(t, loss.Last)
}
