package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrNoLog says that a folder holds no event log.
var ErrNoLog = errors.New("no event log is there")

// Summary describes a log that is not open.
type Summary struct {
	Events       uint64    // recorded, including metadata and tombstones
	Streams      uint64    // ever written, metadata streams included
	LastPosition uint64    // of the newest event, 0 for none
	Acknowledged uint64    // position of the last event known to have been acknowledged, 0 for none
	LogBytes     uint64    // of all records before compression
	DiskBytes    uint64    // used by the database
	Oldest       time.Time // when the first event was recorded, zero for none
	Newest       time.Time // when the last one was
}

// inspection is a log opened for looking only: nothing on disk changes, but the lock is held.
type inspection struct {
	*Log
	mark        mark
	marked      bool  // there is a watermark
	markProblem error // the watermark cannot be read
}

// inspect opens the log in dir for looking. It returns ErrNoLog or ErrLocked when that cannot be.
func inspect(dir string, disk vfs.FS) (i *inspection, err error) {
	if disk == nil {
		disk = vfs.Default
	}
	db := disk.PathJoin(dir, dbDir)
	if desc, err := pebble.Peek(db, disk); err != nil || !desc.Exists {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrNoLog), err)
	}
	l := &Log{fs: disk, logger: slog.New(slog.DiscardHandler), done: make(chan struct{}), states: newStates(1)}
	if l.lock, err = lockDir(db, disk); err != nil {
		return nil, err
	}
	opts := l.dbOptions()
	opts.ReadOnly = true
	if l.db, err = pebble.Open(db, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the event log: %w", err), l.lock.Close())
	}
	i = &inspection{Log: l}
	if err := i.readMark(dir); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

func (i *inspection) readMark(dir string) error {
	f, err := i.fs.Open(i.fs.PathJoin(dir, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		i.markProblem = errors.New("there is no watermark file, so lost events cannot be noticed")
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the watermark file: %w", err)
	}
	var merr error
	_, i.mark, i.marked, i.markProblem, merr = readMark(f)
	return errors.Join(merr, f.Close())
}

func (i *inspection) close() error { return errors.Join(i.db.Close(), i.lock.Close()) }

// Inspect describes the log in dir, which no server may have open. disk is nil for the operating system's file system.
func Inspect(dir string, disk vfs.FS) (s Summary, err error) {
	i, err := inspect(dir, disk)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	return i.summary()
}

func (i *inspection) summary() (s Summary, err error) {
	if err := i.findTail(); err != nil {
		return s, err
	}
	s = Summary{Events: i.tail.last.seq, Streams: i.tail.nextStream - 1, LastPosition: i.tail.last.pos,
		Acknowledged: i.mark.pos, LogBytes: i.tail.next - firstPosition, DiskBytes: i.db.Metrics().DiskSpaceUsage()}
	if s.Events == 0 {
		return s, nil
	}
	s.Newest = (&Event{Created: i.tail.created}).CreatedTime()
	it, err := i.scan(keyLog)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var r record
	if it.First() {
		if _, err := parseAt(it, &r); err != nil {
			return s, err
		}
		s.Oldest = (&Event{Created: r.created}).CreatedTime()
	}
	return s, it.Error()
}

// scan iterates over all keys of a kind.
func (i *inspection) scan(kind byte) (*pebble.Iterator, error) {
	it, err := i.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return nil, readError(0, true, err)
	}
	return it, nil
}

// Findings is what Verify found.
type Findings struct {
	Events   uint64   // in the log, damaged ones included
	Streams  uint64   // in the index
	Count    uint64   // of problems
	Problems []string // the first of them, in words
}

// maxProblems are told; more are only counted.
const maxProblems = 100

func (f *Findings) add(format string, args ...any) {
	if f.Count++; len(f.Problems) < maxProblems {
		f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify reads the whole log in dir, which no server may have open, and changes nothing. It checks every record's
// checksum and its link to the one before, that the index and the log name each other, that every stream's revisions
// have no gap, and that the log reaches to what was acknowledged. Problems are findings, not errors. progress, if not
// nil, hears now and then how many events were read.
func Verify(dir string, disk vfs.FS, progress func(events uint64)) (f Findings, err error) {
	i, err := inspect(dir, disk)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	v := &verifier{inspection: i, findings: &f, progress: progress, names: newCache[string, uint64](DefaultCacheStreams)}
	if err := v.log(); err != nil {
		return f, err
	}
	if err := v.index(); err != nil {
		return f, err
	}
	v.watermark()
	return f, nil
}

type verifier struct {
	*inspection
	findings *Findings
	progress func(uint64)
	names    *cache[string, uint64]
	last     link // of the record read last; seq is the ordinal expected next
	broken   bool // the record before could not be read
}

// log walks the records.
func (v *verifier) log() (err error) {
	it, err := v.scan(keyLog)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAnyway(it)) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := v.record(it); err != nil {
			return err
		}
		if v.findings.Events++; v.progress != nil && v.findings.Events%(1<<14) == 0 {
			v.progress(v.findings.Events)
		}
	}
	if err := it.Error(); err != nil {
		v.findings.add("the log cannot be read behind position %d: %v", v.last.pos, err)
	}
	return nil
}

// closeAnyway closes an iterator whose errors have been reported.
func closeAnyway(it io.Closer) error {
	_ = it.Close()
	return nil
}

func (v *verifier) record(it *pebble.Iterator) error {
	var r record
	_, err := parseAt(it, &r)
	var damage *CorruptionError
	if errors.As(err, &damage) {
		v.findings.add("%v", err)
		v.broken = true
		return nil
	}
	if err != nil {
		return err
	}
	if !v.broken {
		v.chain(&r)
	}
	v.broken = false
	v.last = link{pos: r.pos, crc: r.crc, seq: r.prev.seq + 1}
	return v.indexed(&r)
}

// chain checks that the record follows the one before.
func (v *verifier) chain(r *record) {
	if r.prev.pos != v.last.pos || r.prev.crc != v.last.crc || r.prev.seq != v.last.seq {
		v.findings.add("event at position %d (the log's number %d) does not follow the one at position %d (number %d): events are missing",
			r.pos, r.prev.seq, v.last.pos, v.last.seq)
	}
}

// indexed checks that the index leads to the record.
func (v *verifier) indexed(r *record) error {
	no, known := v.names.get(string(r.stream))
	if !known {
		var err error
		if no, err = v.streamNo(string(r.stream)); err != nil {
			return v.unreadable(r, err)
		}
		v.names.put(string(r.stream), no)
	}
	if no == 0 {
		v.findings.add("event at position %d: stream %q is not in the index", r.pos, r.stream)
		return nil
	}
	pos, err := v.positionOf(no, r.rev)
	if err != nil {
		return v.unreadable(r, err)
	}
	if pos != r.pos {
		v.findings.add("event at position %d: the index has revision %d of stream %q at position %d", r.pos, r.rev, r.stream, pos)
	}
	return nil
}

// unreadable turns damage of the index into a finding.
func (v *verifier) unreadable(r *record, err error) error {
	var damage *CorruptionError
	if errors.As(err, &damage) {
		v.findings.add("event at position %d: its place in the index cannot be read: %v", r.pos, err)
		return nil
	}
	return err
}

// index walks the streams. log has checked that every record has its entry, so their numbers tell of entries too many.
func (v *verifier) index() error {
	var no, entries uint64
	last := int64(-1)
	err := v.entries(func(n uint64, rev int64, _ uint64) {
		if n != no {
			no, last = n, -1
			v.findings.Streams++
		}
		if rev != last+1 && rev != Tombstoned {
			v.findings.add("stream number %d goes from revision %d to %d", no, last, rev)
		}
		last = rev
		entries++
	})
	if err != nil {
		return err
	}
	if entries != v.findings.Events {
		v.findings.add("the index has %d entries for %d events", entries, v.findings.Events)
	}
	if entries > v.findings.Events {
		if err := v.entries(v.exists); err != nil {
			return err
		}
	}
	return v.named()
}

// entries shows every entry of the index.
func (v *verifier) entries(show func(no uint64, rev int64, pos uint64)) (err error) {
	it, err := v.scan(keyStream)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAnyway(it)) }()
	for ok := it.First(); ok; ok = it.Next() {
		rev, pos, err := indexEntry(it)
		if err != nil {
			v.findings.add("an entry of the index cannot be read: %v", err)
			continue
		}
		show(streamNoOf(it.Key()), rev, pos)
	}
	if err := it.Error(); err != nil {
		v.findings.add("the index cannot be read to its end: %v", err)
	}
	return nil
}

// exists checks that an entry leads to a record.
func (v *verifier) exists(no uint64, rev int64, pos uint64) {
	value, closer, err := v.db.Get(logKey(pos))
	if err == nil {
		var r record
		if err = r.parse(pos, value); err == nil && r.rev != rev {
			err = fmt.Errorf("revision %d of stream %q is there", r.rev, r.stream)
		}
		_ = closer.Close() // nothing to lose
	}
	if err != nil {
		v.findings.add("the index has revision %d of stream number %d at position %d: %v", rev, no, pos, err)
	}
}

// named checks that every name has its stream.
func (v *verifier) named() (err error) {
	it, err := v.scan(keyName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAnyway(it)) }()
	var names uint64
	for ok := it.First(); ok; ok = it.Next() {
		names++
		value, err := it.ValueAndErr()
		if err != nil || len(value) != 8 || binary.BigEndian.Uint64(value) == 0 {
			v.findings.add("stream %q has no number (%v)", it.Key()[1:], err)
		}
	}
	if err := it.Error(); err != nil {
		v.findings.add("the stream names cannot be read behind number %d: %v", names, err)
	}
	if names != v.findings.Streams {
		v.findings.add("%d stream names, but %d streams in the index", names, v.findings.Streams)
	}
	return nil
}

// watermark checks that what was acknowledged is there.
func (v *verifier) watermark() {
	if v.markProblem != nil {
		v.findings.add("%v", v.markProblem)
		return
	}
	if reason := v.lostAt(v.mark); v.marked && reason != "" {
		v.findings.add("acknowledged events are lost: %s (acknowledged up to position %d, last present %d)",
			reason, v.mark.pos, v.last.pos)
	}
}
