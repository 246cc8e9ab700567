package eventlog

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/semaphore"
)

const dbDir = "log"

// Open opens the log in dir, creating it if there is none. It returns ErrLocked when the log is open elsewhere, a
// *LossError when acknowledged events are missing and a *CorruptionError when the newest are damaged.
func Open(dir string, opts Options) (*Log, error) {
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.MaxAppendBytes == 0 {
		opts.MaxAppendBytes = DefaultMaxAppendBytes
	}
	if opts.CacheStreams == 0 {
		opts.CacheStreams = DefaultCacheStreams
	}
	if opts.reserve == 0 {
		opts.reserve = diskReserve
	}
	if opts.patience == 0 {
		opts.patience = 3 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{
		opts: opts, logger: opts.Logger, fs: opts.FS,
		queue: make(chan *Write, queueLength), queued: semaphore.NewWeighted(queueBytes),
		stop: make(chan struct{}), sequenced: make(chan struct{}), done: make(chan struct{}),
		ids: newCache[[16]byte, place](opts.CacheStreams), seed: maphash.MakeSeed(), states: newStates(opts.CacheStreams),
	}
	l.decoders.New = func() any { return newDecoder() }
	l.replies.New = func() any { return make(chan *Write, 1) }
	if err := l.open(dir); err != nil {
		return nil, err
	}
	l.syncing.Add(1)
	go l.syncLoop()
	go l.sequence()
	return l, nil
}

func (l *Log) open(dir string) (err error) {
	l.dir = dir
	db := l.fs.PathJoin(dir, dbDir)
	if err := makeDir(l.fs, db); err != nil {
		return fmt.Errorf("creating the event log's folder: %w", err)
	}
	if l.lock, err = lockDir(db, l.fs); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.release())
		}
	}()
	if err := l.removeSnapshots(); err != nil {
		return fmt.Errorf("removing old snapshots of the event log: %w", err)
	}
	if err := l.openDB(db); err != nil {
		return err
	}
	mark, m, found, damaged, err := openMark(l.fs, dir)
	if err != nil {
		return err
	}
	l.mark = mark
	if err := l.findTail(); err != nil {
		return err
	}
	if err := l.checkMark(m, found, damaged); err != nil {
		return err
	}
	if err := l.warm(); err != nil {
		return err
	}
	l.watchSpace()
	// The mark and its file must survive a power failure from the first append on.
	if err := mark.advance(l.tail.mark()); err != nil {
		return err
	}
	if err := mark.sync(); err != nil {
		return err
	}
	if err := syncDir(l.fs, dir); err != nil {
		return err
	}
	return l.Err()
}

// lockDir takes the lock of a database's folder. That it cannot be written to is not to be taken for being in use.
func lockDir(dir string, disk vfs.FS) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, disk)
	if cannot := (*fs.PathError)(nil); errors.As(err, &cannot) {
		return nil, fmt.Errorf("locking the event log: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return lock, nil
}

// makeDir creates a folder and its missing parents so that they survive a power failure.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent == dir {
		return nil
	}
	if err := makeDir(fs, parent); err != nil {
		return err
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openDB opens the database. A new one is closed and opened once more: its first write-ahead log is in an old format
// that cannot tell a damaged record from the end of the file.
func (l *Log) openDB(dir string) error {
	desc, err := pebble.Peek(dir, l.fs)
	if err != nil {
		return fmt.Errorf("looking for the event log: %w", err)
	}
	if l.db, err = l.tryOpen(dir); err != nil {
		return fmt.Errorf("opening the event log: %w", err)
	}
	if desc.Exists {
		return nil
	}
	if err := l.closeDB(); err != nil {
		return fmt.Errorf("creating the event log: %w", err)
	}
	if l.db, err = l.tryOpen(dir); err != nil {
		return fmt.Errorf("opening the new event log: %w", err)
	}
	return nil
}

// tryOpen opens the database, or gives up on it: on a disk that takes no writes it would try for ever. Until then it
// holds the lock itself.
func (l *Log) tryOpen(dir string) (*pebble.DB, error) {
	type result struct {
		db  *pebble.DB
		err error
	}
	opened := make(chan result, 1)
	go func() {
		db, err := pebble.Open(dir, l.dbOptions())
		opened <- result{db, err}
	}()
	select {
	case r := <-opened:
		return r.db, r.err
	case <-l.done:
		go func() {
			if r := <-opened; r.db != nil {
				_ = r.db.Close() // its failure has been reported
			}
		}()
		return nil, l.Err()
	}
}

func (l *Log) dbOptions() *pebble.Options {
	o := &pebble.Options{
		FS: l.fs, Lock: l.lock, FormatMajorVersion: pebble.FormatNewest,
		CacheSize: 64 << 20, MemTableSize: 32 << 20, MemTableStopWritesThreshold: 4,
		Logger: dbLogger{l}, EventListener: l.listener(),
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// listener watches for what pebble would otherwise end the process for, or keep to itself.
func (l *Log) listener() *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			l.corruptions.Add(1)
			l.logger.Error("event log is damaged", "file", info.Path, "error", info.Details)
		},
		BackgroundError: func(err error) {
			// Damaged tables hurt the reads that meet them; a disk that does not take writes ends the log.
			if pebble.IsCorruptionError(err) || errors.Is(err, pebble.ErrCancelledCompaction) {
				l.logger.Error("event log maintenance failed", "error", err)
				return
			}
			l.fail(fmt.Errorf("maintenance: %w", err))
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			l.logger.Warn("disk is slow", "file", info.Path, "duration", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			l.logger.Warn("writes wait for the disk", "reason", info.Reason)
		},
	}
}

// dbLogger is pebble's logger. A fatal error stops the log, not the process.
type dbLogger struct{ l *Log }

func (d dbLogger) Infof(format string, args ...any)  {}
func (d dbLogger) Errorf(format string, args ...any) { d.l.logger.Error(fmt.Sprintf(format, args...)) }
func (d dbLogger) Fatalf(format string, args ...any) { d.l.fail(fmt.Errorf(format, args...)) }

// findTail reads where the log ends.
func (l *Log) findTail() (err error) {
	l.tail = tail{next: firstPosition, nextStream: 1}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyLog}, UpperBound: []byte{keyLog + 1}})
	if err != nil {
		return readError(0, true, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if it.Last() {
		var r record
		n, err := parseAt(it, &r)
		if err != nil {
			return err
		}
		l.tail.next = r.pos + uint64(n)
		l.tail.last = link{pos: r.pos, crc: r.crc, seq: r.prev.seq + 1}
		l.tail.created = r.created
	}
	if err := it.Error(); err != nil {
		return readError(0, true, err)
	}
	no, err := l.lastStreamNo()
	l.tail.nextStream = no + 1
	return err
}

func (l *Log) lastStreamNo() (no uint64, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyStream}, UpperBound: []byte{keyStream + 1}})
	if err != nil {
		return 0, readError(0, true, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if it.Last() {
		no = streamNoOf(it.Key())
	}
	if err := it.Error(); err != nil {
		return 0, readError(0, true, err)
	}
	return no, nil
}

// checkMark compares what is there with what was acknowledged.
func (l *Log) checkMark(m mark, found bool, damaged error) error {
	loss := &LossError{Acknowledged: m.pos, Last: l.tail.last.pos}
	switch {
	case damaged != nil:
		loss.Reason = damaged.Error()
	case !found:
		if l.tail.last.pos != 0 {
			l.logger.Warn("event log has no watermark file, so lost events cannot be noticed; a new one is written")
		}
		return nil
	default:
		if loss.Reason = l.lostAt(m); loss.Reason == "" {
			return nil
		}
	}
	if !l.opts.AcceptLoss {
		return loss
	}
	l.logger.Error("opening an event log that has lost events, as asked", "loss", loss.Error())
	l.tail.next = max(l.tail.next, m.next)
	return nil
}

// lostAt says why the event that was last acknowledged is not there, "" when it is.
func (l *Log) lostAt(m mark) string {
	if m.pos == 0 {
		return ""
	}
	crc, err := l.crcAt(m.pos)
	switch {
	case err != nil:
		return err.Error()
	case crc != m.crc:
		return "another event is at the acknowledged position"
	}
	return ""
}

func (l *Log) crcAt(pos uint64) (uint32, error) {
	v, closer, err := l.db.Get(logKey(pos))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, errors.New("the last acknowledged event is missing")
	}
	if err != nil {
		return 0, readError(pos, false, err)
	}
	defer closer.Close()
	var r record
	err = r.parse(pos, v)
	return r.crc, err
}

// How much of the end of the log is read at open.
const (
	warmIDs   = 32 << 10
	warmBytes = 64 << 20
)

// warm publishes the tail and reads the ids of the newest events back, to recognise repeated appends.
func (l *Log) warm() (err error) {
	l.count.Store(l.tail.last.seq)
	l.last.Store(l.tail.last.pos)
	l.states.end.Store(l.tail.next)
	l.ring = newRing(l.tail.last.pos)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyLog}, UpperBound: []byte{keyLog + 1}})
	if err != nil {
		return readError(l.tail.last.pos, false, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var r record
	bytes := 0
	for ok, n := it.Last(), 0; ok && n < min(warmIDs, l.opts.CacheStreams) && bytes < warmBytes; ok, n = it.Prev(), n+1 {
		size, err := parseAt(it, &r)
		if err != nil {
			return err
		}
		bytes += size
		if _, known := l.ids.get(r.id); !known { // the newest place of an id counts
			l.ids.put(r.id, place{stream: maphash.Bytes(l.seed, r.stream), rev: r.rev, pos: r.pos})
		}
	}
	if err := it.Error(); err != nil {
		return readError(l.tail.last.pos, false, err)
	}
	return nil
}
