package eventlog

import (
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
)

// Restore makes a new log in dir out of recorded events, in $all order, and keeps their positions, revisions, ids and
// times. Positions must grow, and the revisions of each stream must have no gap. A failure leaves a part behind: remove
// the folder. Options are those of Open.
func Restore(dir string, opts Options, events iter.Seq2[*Event, error]) error {
	l, err := Open(dir, opts)
	if err != nil {
		return err
	}
	if l.count.Load() > 0 {
		return errors.Join(fmt.Errorf("%s holds events already", dir), l.Close())
	}
	r := &restorer{log: l, group: group{tail: tail{next: firstPosition, nextStream: 1}}, streams: map[string]*restored{}}
	return errors.Join(r.run(events), l.Close())
}

// restored is a stream as far as it has been restored.
type restored struct {
	no   uint64
	last int64
}

// restorer writes past the sequencer, which nobody gives any work meanwhile.
type restorer struct {
	log     *Log
	group   group
	streams map[string]*restored
}

func (r *restorer) run(events iter.Seq2[*Event, error]) error {
	for e, err := range events {
		if err != nil {
			return err
		}
		if err := r.add(e); err != nil {
			return fmt.Errorf("event %d of stream %q at position %d: %w", e.Revision, e.Stream, e.Position, err)
		}
		if r.group.batch.Len() > groupBytes {
			if err := r.apply(); err != nil {
				return err
			}
		}
	}
	if err := r.apply(); err != nil {
		return err
	}
	if err := r.log.syncDB(); err != nil {
		return err
	}
	return r.log.mark.advance(r.group.tail.mark())
}

func (r *restorer) add(e *Event) error {
	g := &r.group
	if err := ValidateStreamName(e.Stream); err != nil {
		return err
	}
	if e.Position <= g.tail.last.pos || e.Position < firstPosition || e.Position >= End-uint64(recordSize(e)) {
		return errors.New("positions must grow")
	}
	if g.batch == nil {
		g.batch = r.log.db.NewBatch(pebble.WithMaxRetainedSizeBytes(4 << 20))
	}
	s := r.streams[e.Stream]
	if s == nil {
		s = &restored{no: g.tail.nextStream, last: -1}
		g.tail.nextStream++
		r.streams[e.Stream] = s
		r.log.putName(g.batch, e.Stream, s.no)
	}
	if s.last == Tombstoned || e.Revision != s.last+1 && e.Revision != Tombstoned {
		return fmt.Errorf("it does not follow revision %d", s.last)
	}
	s.last = e.Revision
	g.tail.next = e.Position
	g.put(e, s.no)
	return nil
}

// apply writes what has gathered.
func (r *restorer) apply() error {
	g := &r.group
	if g.batch == nil {
		return nil
	}
	b := g.batch
	g.batch, g.events, g.nos = nil, nil, nil
	return r.log.apply(b)
}
