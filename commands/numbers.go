package commands

import (
	"context"
	"sync"

	"docket/domain/fault"
	"docket/eventstore"
)

// Some APIs address things by a 32-bit number. Numbers are reserved in blocks
// by an event, so that none is given out twice; those of a block that a stop
// left unused stay unused.
const numberBlock = 64

type numbers struct {
	mu     sync.Mutex
	blocks map[string]*block // by kind
}

type block struct {
	next, last int32
	revision   eventstore.Revision // of the event that reserved it
}

func numberStream(kind string) string { return "numbers-" + kind }

// number hands out the next number of a kind, from 1.
func (b *Bus) number(ctx context.Context, s *sending, kind string) (int32, error) {
	b.numbers.mu.Lock()
	defer b.numbers.mu.Unlock()
	if b.numbers.blocks == nil {
		b.numbers.blocks = make(map[string]*block)
	}
	have := b.numbers.blocks[kind]
	if have == nil {
		have = &block{next: 1, revision: eventstore.NoStream}
	}
	if have.next > have.last {
		reserved, err := b.reserve(ctx, s, kind, *have)
		if err != nil {
			return 0, err
		}
		have = reserved
		b.numbers.blocks[kind] = have
	}
	n := have.next
	have.next++
	return n, nil
}

// reserve takes the next block after the last one this process has seen.
func (b *Bus) reserve(ctx context.Context, s *sending, kind string, seen block) (*block, error) {
	stream := numberStream(kind)
	upTo, revision := seen.last, seen.revision
	for range maxDecisions {
		for r, err := range b.store.Load(ctx, stream, revision+1) {
			if err != nil {
				return nil, err
			}
			e, _, err := b.codec.DecodeRecorded(r)
			if err != nil {
				return nil, err
			}
			if reserved, ok := e.(NumbersReserved); ok {
				upTo = reserved.UpTo
			}
			revision = r.Revision
		}
		err := b.appendKernel(ctx, s, stream, revision, NumbersReserved{UpTo: upTo + numberBlock})
		if err == nil {
			return &block{next: upTo + 1, last: upTo + numberBlock, revision: revision + 1}, nil
		}
		if !isWrongRevision(err) {
			return nil, err
		}
	}
	return nil, fault.New(fault.Conflict, "numbers.contended", "too many writers at once; try again")
}
