package eventlog

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskReserve is the space on the disk that writers leave free. The log's own maintenance, which moves what was written
// into tables, goes on in it: a write that really fails for want of space stops the log.
const diskReserve = 256 << 20

// FullError says that the disk has less free space than the log keeps in reserve, so that nothing was written. Reads go
// on, and so do writes once there is space again.
type FullError struct{ Free, Reserve uint64 } // bytes

func (e *FullError) Error() string {
	return fmt.Sprintf("disk is full: %d bytes are free, %d are kept in reserve", e.Free, e.Reserve)
}

// checkSpace looks at the free space and decides whether writes are refused. Between full and not full again lies a
// quarter of the reserve: else maintenance, which takes space and gives it back, would switch to and fro.
func (l *Log) checkSpace() error {
	usage, err := l.fs.GetDiskUsage(l.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil // not a disk that can be full
	}
	if err != nil {
		return fmt.Errorf("looking for free space: %w", err)
	}
	limit := l.opts.reserve
	if l.full.Load() != nil {
		limit += limit / 4
	}
	if usage.AvailBytes >= limit {
		if l.full.Swap(nil) != nil {
			l.logger.Info("disk has space again: events are written again", "free", usage.AvailBytes)
		}
		return nil
	}
	full := &FullError{Free: usage.AvailBytes, Reserve: l.opts.reserve}
	if l.full.Swap(full) == nil {
		l.logger.Error("disk is full: writes are refused, reads go on", "free", full.Free, "reserve", full.Reserve)
	}
	return nil
}

// watchSpace is checkSpace for a log at work. Without an answer things stay as they are.
func (l *Log) watchSpace() {
	if err := l.checkSpace(); err != nil {
		l.logger.Warn("free space of the event log's disk is not known", "error", err)
	}
}

// spend counts what a group wrote. Fast writers could eat up the reserve before the next look by the clock.
func (l *Log) spend(bytes int64) {
	if l.spent += uint64(bytes); l.spent > l.opts.reserve/8 {
		l.spent = 0
		l.watchSpace()
	}
}
