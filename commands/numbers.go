package commands

import (
	"context"
	"math"
	"sync"

	"docket/domain/fault"
	"docket/eventstore"
)

// Some APIs address things by a 32-bit number. Numbers are reserved in blocks
// by an event, so that none is given out twice; those of a block that a stop
// left unused stay unused.
const numberBlock = 64

type numbers struct {
	mu    sync.Mutex // for the map; a block is guarded by its stream's turn
	kinds map[string]*block
}

// block is what this process may hand out of one kind.
type block struct {
	next, last int32
	revision   eventstore.Revision // of the event that reserved it
}

func numberStream(kind string) string { return "numbers-" + kind }

// number hands out the next number of a kind, from 1.
func (b *Bus) number(ctx context.Context, s *sending, kind string) (int32, error) {
	stream := numberStream(kind)
	if err := b.turns.take(ctx, stream); err != nil {
		return 0, err
	}
	defer b.turns.leave(stream)
	have := b.numbers.of(kind)
	if have.next > have.last {
		if err := b.reserve(ctx, s, stream, have); err != nil {
			return 0, err
		}
	}
	n := have.next
	have.next++
	return n, nil
}

func (n *numbers) of(kind string) *block {
	n.mu.Lock()
	defer n.mu.Unlock()
	have := n.kinds[kind]
	if have == nil {
		have = &block{next: 1, revision: eventstore.NoStream}
		if n.kinds == nil {
			n.kinds = make(map[string]*block)
		}
		n.kinds[kind] = have
	}
	return have
}

// reserve takes the next block after the last one in the log.
func (b *Bus) reserve(ctx context.Context, s *sending, stream string, have *block) error {
	upTo, revision := have.last, have.revision
	for range maxDecisions {
		for r, err := range b.store.Load(ctx, stream, revision+1) {
			if err != nil {
				return err
			}
			e, _, err := b.codec.DecodeRecorded(r)
			if err != nil {
				return err
			}
			if reserved, ok := e.(NumbersReserved); ok {
				upTo = reserved.UpTo
			}
			revision = r.Revision
		}
		if upTo > math.MaxInt32-numberBlock {
			return fault.New(fault.Limited, "numbers.used-up", "no number is left for another one")
		}
		err := b.appendKernel(ctx, s, stream, revision, NumbersReserved{UpTo: upTo + numberBlock})
		if err == nil {
			have.next, have.last, have.revision = upTo+1, upTo+numberBlock, revision+1
			return nil
		}
		if !isWrongRevision(err) {
			return err
		}
	}
	return fault.New(fault.Unavailable, "numbers.contended", "too many writers at once; try again")
}
