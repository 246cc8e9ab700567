package eventlog

import (
	"encoding/binary"
	"hash/maphash"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
)

// Caps of one group commit.
const (
	groupWrites = 2048
	groupBytes  = 8 << 20
)

// place is where an event id was written. It holds no pointers: the collector need not look through very many of them.
type place struct {
	stream uint64 // hash of its name
	rev    int64
	pos    uint64
}

// hash is that of a stream name. Ids are unique by themselves, so it need not be.
func (l *Log) hash(stream string) uint64 { return maphash.String(l.seed, stream) }

// tail is where the log ends. It belongs to the sequencer.
type tail struct {
	next       uint64 // position of the next event
	last       link   // position and checksum of the last event; seq is the ordinal of the next
	created    int64
	nextStream uint64
}

// group is one group commit in the making: what was decided but is not yet durable.
type group struct {
	batch  *pebble.Batch
	writes []*Write
	events []*Event
	nos    []uint64 // stream number of each event
	states map[string]streamState
	tail   tail
	bytes  int64
}

// sequence is the sequencer's goroutine.
func (l *Log) sequence() {
	defer close(l.sequenced)
	g := &group{states: make(map[string]streamState), tail: l.tail}
	busy := false
	for {
		select {
		case w := <-l.queue:
			busy = l.round(g, w, busy)
		case <-l.stop:
			for {
				select {
				case w := <-l.queue:
					l.round(g, w, false)
				default:
					return
				}
			}
		}
	}
}

// round decides w and everything queued behind it, commits and answers. It reports whether several writers are at work.
func (l *Log) round(g *group, w *Write, busy bool) bool {
	if busy {
		// The writers answered by the last round are about to write again: let them, so that they share a sync. A lone
		// writer never waits here.
		runtime.Gosched()
	}
	l.admit(g, w)
fill:
	for len(g.writes) < groupWrites && g.bytes < groupBytes {
		select {
		case w := <-l.queue:
			l.admit(g, w)
		default:
			break fill
		}
	}
	several := len(g.writes) > 1
	l.commit(g)
	return several || len(l.queue) > 0
}

// admit decides one write. Whatever the decision is, the answer waits for the group's sync.
func (l *Log) admit(g *group, w *Write) {
	g.writes = append(g.writes, w)
	if err := l.Err(); err != nil {
		w.Err = err
		return
	}
	if err := w.ctx.Err(); err != nil {
		w.Err = err // nobody waits any more: leave it unwritten
		return
	}
	g.bytes += w.size
	w.Result, w.Err = l.decide(g, w)
}

// commit makes the group durable, publishes it and answers its writers.
func (l *Log) commit(g *group) {
	if len(g.events) > 0 {
		if err := l.persist(g); err != nil {
			l.fail(err)
			failed := l.Err()
			for _, w := range g.writes {
				w.Err = failed
			}
		}
	}
	for i, w := range g.writes {
		g.writes[i] = nil
		l.queued.Release(w.size)
		w.reply <- w
	}
	clear(g.events)
	clear(g.states)
	g.writes, g.events, g.nos, g.bytes = g.writes[:0], g.events[:0], g.nos[:0], 0
}

// persist writes and syncs the batch, then makes its events visible.
func (l *Log) persist(g *group) error {
	err := l.apply(g.batch)
	g.batch = nil
	if err != nil {
		return err
	}
	if err := l.Err(); err != nil {
		return err // pebble reports a lost write through its logger, not as an error
	}
	l.tail = g.tail
	l.ring.push(g.events)
	l.states.publish(g.states, g.tail.next)
	l.count.Store(g.tail.last.seq)
	l.last.Store(g.tail.last.pos)
	m := g.tail.mark()
	if l.opts.NoSync {
		l.unsynced.Store(&m)
	} else if err := l.mark.advance(m); err != nil {
		return err
	}
	l.wake.publish(g.events)
	l.spend(g.bytes)
	return nil
}

// apply writes the batch.
func (l *Log) apply(b *pebble.Batch) (err error) {
	defer recoverWAL(&err)
	sync := pebble.Sync
	if l.opts.NoSync {
		sync = pebble.NoSync
	}
	if err := l.db.Apply(b, sync); err != nil {
		return err
	}
	return b.Close()
}

func (t *tail) mark() mark { return mark{pos: t.last.pos, next: t.next, crc: t.last.crc} }

// groupState is a stream's state including what the group has already decided.
func (l *Log) groupState(g *group, base string) (streamState, error) {
	if st, ok := g.states[base]; ok {
		return st, nil
	}
	st, _, err := l.state(base)
	return st, err
}

// write adds decided events to the group. It cannot be undone, so it comes last.
func (l *Log) write(g *group, stream string, st *streamState, first int64, data []EventData) WriteResult {
	base, isMeta := splitMeta(stream)
	no := &st.no
	if isMeta {
		no = &st.metaNo
	}
	if g.batch == nil {
		g.batch = l.db.NewBatch(pebble.WithMaxRetainedSizeBytes(4 << 20))
	}
	if *no == 0 {
		*no = g.tail.nextStream
		g.tail.nextStream++
		l.putName(g.batch, stream, *no)
	}
	if now := ticks(time.Now()); now > g.tail.created {
		g.tail.created = now
	}
	events, hash := make([]Event, len(data)), l.hash(stream)
	for i := range data {
		e, d := &events[i], &data[i]
		e.Position, e.Revision, e.Created = g.tail.next, first+int64(i), g.tail.created
		e.ID, e.Stream, e.Type, e.JSON, e.Data, e.Metadata = d.ID, stream, d.Type, d.JSON, d.Data, d.Metadata
		e.Shared = true
		g.put(e, *no)
		l.ids.put(e.ID, place{stream: hash, rev: e.Revision, pos: e.Position})
	}
	last := &events[len(events)-1]
	if isMeta {
		st.metaLast = last.Revision
		st.meta = parseMetadata(last.Data)
	} else {
		st.last = last.Revision
	}
	g.states[base] = *st
	return WriteResult{Revision: last.Revision, Position: last.Position}
}

func (l *Log) putName(b *pebble.Batch, stream string, no uint64) {
	op := b.SetDeferred(1+len(stream), 8)
	op.Key[0] = keyName
	copy(op.Key[1:], stream)
	binary.BigEndian.PutUint64(op.Value, no)
	must(op.Finish())
}

// put encodes an event straight into the batch.
func (g *group) put(e *Event, no uint64) {
	size := recordSize(e)
	op := g.batch.SetDeferred(9, size)
	putLogKey(op.Key, e.Position)
	crc := encodeRecord(op.Value, e, g.tail.last)
	must(op.Finish())

	op = g.batch.SetDeferred(17, 8)
	putStreamKey(op.Key, no, e.Revision)
	binary.BigEndian.PutUint64(op.Value, e.Position)
	must(op.Finish())

	g.tail.last = link{pos: e.Position, crc: crc, seq: g.tail.last.seq + 1}
	g.tail.next += uint64(size)
	g.events = append(g.events, e)
	g.nos = append(g.nos, no)
}

// must holds for operations on a batch in memory, which fail only on an indexed batch.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// pending is an event of the group that is not yet in the database, or nil.
func (g *group) pending(no uint64, rev int64) *Event {
	for i := len(g.events) - 1; i >= 0; i-- {
		if g.nos[i] == no && g.events[i].Revision == rev {
			return g.events[i]
		}
	}
	return nil
}

// eventOf is a revision of a stream, written or pending; nil when there is none.
func (l *Log) eventOf(g *group, no uint64, rev int64) (*Event, error) {
	if e := g.pending(no, rev); e != nil {
		return e, nil
	}
	pos, err := l.positionOf(no, rev)
	if err != nil || pos == 0 {
		return nil, err
	}
	return l.eventAt(pos)
}

// newID makes ids for the events the log writes itself.
func newID() uuid.UUID { return uuid.New() }
