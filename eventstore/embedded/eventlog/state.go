package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// streamState is what a write or read needs to know of a stream and of its metadata stream.
type streamState struct {
	no, metaNo     uint64 // 0: never written
	last, metaLast int64  // last revision, -1 for none
	meta           metadata
}

func (s streamState) tombstoned() bool { return s.last == Tombstoned }

// states caches the state of recently used streams as published, that is durable, together with the end of the log it
// belongs to: a reader that saw a newer state with an older end would miss events. Readers fill the cache too, guarded
// against storing what a write has overtaken meanwhile.
type states struct {
	mu    sync.Mutex
	cache *cache[string, streamState]
	end   atomic.Uint64 // changed under mu
}

func newStates(size int) *states { return &states{cache: newCache[string, streamState](size)} }

func (s *states) get(base string) (st streamState, end uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok = s.cache.get(base)
	return st, s.end.Load(), ok
}

// loaded stores a state read from the database as of end, unless something was published since.
func (s *states) loaded(base string, st streamState, end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end.Load() == end {
		s.cache.put(base, st)
	}
}

// publish makes everything before end visible.
func (s *states) publish(changed map[string]streamState, end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for base, st := range changed {
		s.cache.put(base, st)
	}
	s.end.Store(end)
}

// end is where the visible log ends.
func (l *Log) end() uint64 { return l.states.end.Load() }

// state is the published state of a base stream and the end of the log it belongs to. The caller holds the gate or is
// the sequencer.
func (l *Log) state(base string) (st streamState, end uint64, err error) {
	st, end, ok := l.states.get(base)
	if ok {
		return st, end, nil
	}
	if st, err = l.loadState(base, end); err != nil {
		return st, end, err
	}
	l.states.loaded(base, st, end)
	return st, end, nil
}

// loadState reads a stream's state as of end from the database.
func (l *Log) loadState(base string, end uint64) (st streamState, err error) {
	st = streamState{last: -1, metaLast: -1}
	if st.no, err = l.streamNo(base); err != nil {
		return st, err
	}
	if st.metaNo, err = l.streamNo(MetadataStream(base)); err != nil {
		return st, err
	}
	if st.no != 0 {
		if st.last, _, err = l.lastOf(st.no, end); err != nil {
			return st, err
		}
	}
	if st.metaNo != 0 {
		var pos uint64
		if st.metaLast, pos, err = l.lastOf(st.metaNo, end); err != nil || pos == 0 {
			return st, err
		}
		e, err := l.eventAt(pos)
		if err != nil {
			return st, err
		}
		st.meta = parseMetadata(e.Data)
	}
	return st, nil
}

// streamNo is the number of a stream, 0 if it was never written.
func (l *Log) streamNo(name string) (uint64, error) {
	var buf [128]byte
	v, closer, err := l.db.Get(nameKey(buf[:0], name))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking up a stream: %w", err)
	}
	defer closer.Close()
	if len(v) != 8 {
		return 0, &CorruptionError{AfterPosition: true, Cause: fmt.Errorf("stream number of %d bytes", len(v))}
	}
	return binary.BigEndian.Uint64(v), nil
}

// lastOf is the last revision of a stream before end and its position; -1 and 0 when there is none.
func (l *Log) lastOf(no, end uint64) (rev int64, pos uint64, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: streamKey(no, 0), UpperBound: streamKey(no+1, 0)})
	if err != nil {
		return 0, 0, readError(0, true, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok; ok = it.Prev() {
		rev, pos, err := indexEntry(it)
		if err != nil {
			return 0, 0, err
		}
		if pos < end {
			return rev, pos, nil
		}
	}
	if err := it.Error(); err != nil {
		return 0, 0, readError(0, true, err)
	}
	return -1, 0, nil
}

func indexEntry(it *pebble.Iterator) (rev int64, pos uint64, err error) {
	k := it.Key()
	v, err := it.ValueAndErr()
	if err != nil {
		return 0, 0, readError(0, true, err)
	}
	if len(k) != 17 || len(v) != 8 {
		return 0, 0, &CorruptionError{AfterPosition: true, Cause: errors.New("malformed stream index entry")}
	}
	return int64(binary.BigEndian.Uint64(k[9:])), binary.BigEndian.Uint64(v), nil
}

// positionOf is the position of one revision of a stream, 0 when there is none.
func (l *Log) positionOf(no uint64, rev int64) (uint64, error) {
	var key [17]byte
	putStreamKey(key[:], no, rev)
	v, closer, err := l.db.Get(key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, readError(0, true, err)
	}
	defer closer.Close()
	if len(v) != 8 {
		return 0, &CorruptionError{AfterPosition: true, Cause: errors.New("malformed stream index entry")}
	}
	return binary.BigEndian.Uint64(v), nil
}

// eventAt reads the event at exactly pos, which the index says exists.
func (l *Log) eventAt(pos uint64) (*Event, error) {
	if e := l.ring.get(pos); e != nil {
		return e, nil
	}
	var key [9]byte
	putLogKey(key[:], pos)
	v, closer, err := l.db.Get(key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, &CorruptionError{Position: pos, Cause: errors.New("the stream index names an event that is not in the log")}
	}
	if err != nil {
		return nil, readError(pos, false, err)
	}
	defer closer.Close()
	var r record
	if err := r.parse(pos, v); err != nil {
		return nil, err
	}
	d := l.decoders.Get().(*decoder)
	defer l.decoders.Put(d)
	return d.event(&r), nil
}
