package eventlog

import (
	"context"
	"errors"
	"iter"
	"math"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// StreamRead says what to read of a stream.
type StreamRead struct {
	From      int64 // first revision returned; FromEnd backwards starts at the last one, forwards there is nothing
	Backwards bool
	Limit     uint64 // most events returned; 0 means all
}

// FromEnd is the end of a stream.
const FromEnd = math.MaxInt64

// streamView is a stream as a reader may see it at one moment.
type streamView struct {
	no         uint64
	low, high  int64  // visible revisions, low > high when there are none
	end        uint64 // positions from here on are not visible
	minCreated int64  // older events have expired
}

// ReadStream reads a stream as it is at the call. A stream that was never written or is soft-deleted gives a
// *StreamNotFoundError, a tombstoned one a *StreamDeletedError; one whose events have all expired gives nothing.
func (l *Log) ReadStream(ctx context.Context, stream string, q StreamRead) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		v, err := l.openView(stream)
		if err != nil {
			yield(nil, err)
			return
		}
		left := q.Limit
		if left == 0 {
			left = math.MaxUint64
		}
		if q.Backwards {
			v.high = min(v.high, q.From)
		} else {
			v.low = max(v.low, q.From)
		}
		for left > 0 && v.low <= v.high {
			events, err := l.viewChunk(ctx, &v, q.Backwards, int(min(left, chunkEvents)))
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			left -= uint64(len(events))
		}
	}
}

// ReadEvent reads one revision of a stream, nil when it does not exist or is not visible.
func (l *Log) ReadEvent(stream string, revision int64) (*Event, error) {
	v, err := l.openView(stream)
	if err != nil || revision < v.low || revision > v.high {
		return nil, err
	}
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	pos, err := l.positionOf(v.no, revision)
	if err != nil || pos == 0 || pos >= v.end {
		return nil, err
	}
	e, err := l.eventAt(pos)
	if err != nil || e.Created < v.minCreated {
		return nil, err
	}
	return e, nil
}

func (l *Log) openView(stream string) (streamView, error) {
	if err := ValidateStreamName(stream); err != nil {
		return streamView{}, err
	}
	if err := l.enter(); err != nil {
		return streamView{}, err
	}
	defer l.leave()
	return l.view(stream)
}

// view works out which events of a stream are visible: $maxCount and $tb bound the revisions, $maxAge the creation time.
func (l *Log) view(stream string) (streamView, error) {
	base, isMeta := splitMeta(stream)
	st, end, err := l.state(base)
	v := streamView{end: end}
	if err != nil {
		return v, err
	}
	meta := st.meta
	v.no, v.high = st.no, st.last
	if isMeta {
		v.no, v.high, meta = st.metaNo, st.metaLast, metadataOfMetadata
	}
	if st.tombstoned() {
		return v, &StreamDeletedError{Stream: stream}
	}
	if v.high < 0 || meta.softDeleted() {
		return v, &StreamNotFoundError{Stream: stream}
	}
	v.low = meta.TruncateBefore
	if meta.MaxCount > 0 {
		v.low = max(v.low, v.high-meta.MaxCount+1)
	}
	if meta.MaxAge > 0 {
		v.minCreated = ticks(time.Now().Add(-meta.MaxAge))
		return v, l.skipExpired(&v)
	}
	return v, nil
}

// skipExpired moves the lower bound past expired events. Creation times never run backwards, so it can search.
func (l *Log) skipExpired(v *streamView) error {
	if v.low > v.high {
		return nil
	}
	var failed error
	n := sort.Search(int(v.high-v.low+1), func(i int) bool {
		if failed != nil {
			return true
		}
		pos, err := l.positionOf(v.no, v.low+int64(i))
		if err != nil || pos == 0 {
			failed = err
			return false
		}
		e, err := l.eventAt(pos)
		if err != nil {
			failed = err
			return true
		}
		return e.Created >= v.minCreated
	})
	v.low += int64(n)
	return failed
}

// viewChunk reads up to limit events and narrows the view to what is left.
func (l *Log) viewChunk(ctx context.Context, v *streamView, backwards bool, limit int) ([]*Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	return l.narrow(v, backwards, limit)
}

func (l *Log) narrow(v *streamView, backwards bool, limit int) (events []*Event, err error) {
	upper := v.high
	if upper < math.MaxInt64 {
		upper++
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: streamKey(v.no, v.low), UpperBound: streamKey(v.no, upper)})
	if err != nil {
		return nil, readError(0, true, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	first, next := it.First, it.Next
	if backwards {
		first, next = it.Last, it.Prev
	}
	bytes := 0
	for ok := first(); ok; ok = next() {
		if len(events) == limit || bytes >= chunkBytes {
			return events, nil
		}
		rev, pos, err := indexEntry(it)
		if err != nil {
			return events, err
		}
		if backwards {
			v.high = rev - 1
		} else {
			v.low = rev + 1
		}
		if pos >= v.end {
			continue
		}
		e, err := l.eventAt(pos)
		if err != nil {
			return events, err
		}
		if e.Created < v.minCreated {
			continue
		}
		events = append(events, e)
		bytes += e.size()
	}
	if err := it.Error(); err != nil {
		return events, readError(0, true, err)
	}
	v.low = v.high + 1 // everything was read
	return events, nil
}
