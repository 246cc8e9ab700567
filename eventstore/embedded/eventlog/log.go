package eventlog

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/semaphore"
)

// Options of Open. The zero value is what a server wants.
type Options struct {
	// FS is where the log lives; nil means the operating system's file system.
	FS vfs.FS
	// NoSync answers before data is on disk: a crash of the process or the machine loses the newest writes. For tests and
	// bulk loads.
	NoSync bool
	// AcceptLoss opens a log that has lost acknowledged events instead of refusing. Positions are never reused.
	AcceptLoss bool
	// MaxAppendBytes limits data, metadata and twice the type names of one append; 0 means 1 MiB, as in EventStoreDB.
	MaxAppendBytes int
	// CacheStreams is how many streams' states, and how many ids of the newest events, are kept in memory; 0 means 131,072.
	CacheStreams int
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger

	reserve  uint64        // space on the disk that writers leave free; 0 means diskReserve
	patience time.Duration // how long a failed database may take to close; 0 means 3 s
}

// Defaults of Options.
const (
	DefaultMaxAppendBytes = 1 << 20
	DefaultCacheStreams   = 128 << 10
)

const (
	queueLength = 4096
	queueBytes  = 64 << 20 // writes waiting for the sequencer
)

// Log is an open event log. It is safe for concurrent use.
type Log struct {
	opts   Options
	logger *slog.Logger
	fs     vfs.FS
	dir    string
	db     *pebble.DB
	lock   *pebble.Lock
	mark   *markWriter

	// gate is held for reading by everything that uses the database or the queue, and taken by Close.
	gate   sync.RWMutex
	closed bool

	queue     chan *Write
	queued    *semaphore.Weighted
	stop      chan struct{} // closed by Close: no more writes will come
	sequenced chan struct{} // closed when the sequencer has ended
	syncing   sync.WaitGroup
	tail      tail                    // of the sequencer
	ids       *cache[[16]byte, place] // of the sequencer: the newest, to recognise repeated appends with Any and StreamExists
	seed      maphash.Seed

	// What readers may see: everything before end.
	last, count atomic.Uint64
	states      *states
	ring        *ring
	wake        wakeups

	unsynced atomic.Pointer[mark] // newest mark while writes are not synced

	full  atomic.Pointer[FullError] // why writes are refused, nil while they are not
	spent uint64                    // bytes written since the sequencer looked at the free space

	failure     atomic.Pointer[FailedError]
	done        chan struct{}
	doneOnce    sync.Once
	closeOnce   sync.Once
	closeErr    error
	corruptions atomic.Uint64

	decoders sync.Pool
	replies  sync.Pool
}

// Stats is a cheap look at the log.
type Stats struct {
	Events       uint64 // recorded, including metadata and tombstones
	LastPosition uint64 // of the newest event, 0 for none
	LogBytes     uint64 // of all records before compression
	DiskBytes    uint64 // used by the database
	Corruptions  uint64 // damaged blocks met since Open
	Full         bool   // writes are refused because the disk is full
}

// Stats describes the log now.
func (l *Log) Stats() Stats {
	s := Stats{Events: l.count.Load(), LastPosition: l.last.Load(), LogBytes: l.end() - firstPosition,
		Corruptions: l.corruptions.Load(), Full: l.full.Load() != nil}
	if l.enter() == nil {
		defer l.leave()
		s.DiskBytes = l.db.Metrics().DiskSpaceUsage()
	}
	return s
}

// LastPosition is the position of the newest durable event, 0 for an empty log.
func (l *Log) LastPosition() uint64 { return l.last.Load() }

// Done is closed when the log has stopped, by Close or by a failure; Err tells which.
func (l *Log) Done() <-chan struct{} { return l.done }

// Err is the failure that stopped the log, nil while it works and after a Close.
func (l *Log) Err() error {
	if f := l.failure.Load(); f != nil {
		return f
	}
	return nil
}

// enter admits one operation until leave. It must not be nested: Close waits between the two.
func (l *Log) enter() error {
	l.gate.RLock()
	err := l.Err()
	if l.closed {
		err = ErrClosed
	}
	if err != nil {
		l.gate.RUnlock()
	}
	return err
}

func (l *Log) leave() { l.gate.RUnlock() }

// fail stops the log: nothing is written or read any more.
func (l *Log) fail(cause error) {
	if l.failure.CompareAndSwap(nil, &FailedError{Cause: cause}) {
		l.logger.Error("event log has failed and stops", "error", cause)
		l.finish()
	}
}

func (l *Log) finish() {
	l.doneOnce.Do(func() { close(l.done) })
	l.wake.close()
}

// Close writes what is queued, answers it and closes the database. Reads and subscriptions under way end with ErrClosed.
// After a failure it releases what it can.
func (l *Log) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Log) close() error {
	l.gate.Lock()
	l.closed = true
	l.gate.Unlock()
	close(l.stop)
	<-l.sequenced
	l.syncing.Wait()
	l.finish()
	err := l.Err()
	if err == nil {
		err = l.checkpointMark()
	}
	if cerr := l.release(); err == nil {
		err = cerr
	}
	return err
}

// release closes what open has opened. A database that does not close is left alone, together with its lock, for the
// process to end.
func (l *Log) release() error {
	var err error
	if l.db != nil {
		if err = l.closeDB(); errors.Is(err, errNotClosing) {
			return err
		}
	}
	if l.mark != nil {
		err = errors.Join(err, l.mark.file.Close())
	}
	return errors.Join(err, l.lock.Close())
}

var errNotClosing = errors.New("the failed database does not close")

// closeDB closes the database. One whose disk has failed may never finish closing.
func (l *Log) closeDB() error {
	closed := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				closed <- fmt.Errorf("closing the database: %v", r)
			}
		}()
		closed <- l.db.Close()
	}()
	t := time.NewTicker(l.opts.patience)
	defer t.Stop()
	for {
		select {
		case err := <-closed:
			return err
		case <-t.C:
			if l.Err() != nil {
				return errNotClosing
			}
		}
	}
}

// syncLoop makes the watermark durable and looks at the free space once a second.
func (l *Log) syncLoop() {
	defer l.syncing.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-l.done:
			return
		case <-t.C:
			if err := l.checkpointMark(); err != nil {
				l.fail(err)
			}
			l.watchSpace()
		}
	}
}

// checkpointMark makes the watermark durable. Without synced writes it first makes the log durable up to there.
func (l *Log) checkpointMark() error {
	if m := l.unsynced.Swap(nil); m != nil {
		if err := l.syncDB(); err != nil {
			return err
		}
		if err := l.mark.advance(*m); err != nil {
			return err
		}
	}
	return l.mark.sync()
}

func (l *Log) syncDB() (err error) {
	defer recoverWAL(&err)
	if err := l.db.LogData(nil, pebble.Sync); err != nil {
		return err
	}
	return l.Err()
}

// recoverWAL turns the panics pebble raises on a broken write-ahead log into errors.
func recoverWAL(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("write-ahead log: %v", r)
	}
}
