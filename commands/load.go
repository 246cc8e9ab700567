package commands

import (
	"context"
	"encoding/json"
	"time"

	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"github.com/maypok86/otter/v2"
)

// refFreshness is how old a referred aggregate may be. A look across streams is
// never atomic with the append, so a bound is all one can have; within one
// process the cache follows its own appends at once.
const refFreshness = 250 * time.Millisecond

// folded is an aggregate as of a revision.
type folded[S any] struct {
	state    S
	revision eventstore.Revision
	checked  time.Time // when the revision was last known to be the newest
}

type loader struct {
	ctx   context.Context
	bus   *Bus
	fresh bool // trust no baseline
}

// cached is the kept baseline of a stream, or an empty one.
func cached[S domain.State[S]](b *Bus, stream string) folded[S] {
	if hit, ok := b.cache.GetIfPresent(stream); ok {
		if f, ok := hit.(folded[S]); ok {
			return f
		}
	}
	return folded[S]{revision: eventstore.NoStream}
}

// loadDelta reads what came after the baseline.
func loadDelta[S domain.State[S]](l loader, stream string) (folded[S], error) {
	f := cached[S](l.bus, stream)
	now := time.Now()
	for r, err := range l.bus.store.Load(l.ctx, stream, f.revision+1) {
		if err != nil {
			return f, unavailable(err)
		}
		e, _, err := l.bus.codec.DecodeRecorded(r)
		if err != nil {
			return f, err
		}
		f.state, f.revision = f.state.Apply(e), r.Revision
	}
	f.checked = now
	if f.revision >= 0 {
		keep(l.bus, stream, f)
	}
	return f, nil
}

// loadFresh trusts a baseline that was checked a moment ago, unless the loader
// says otherwise.
func loadFresh[S domain.State[S]](l loader, stream string) (folded[S], error) {
	if f := cached[S](l.bus, stream); !l.fresh && f.revision >= 0 && time.Since(f.checked) < refFreshness {
		return f, nil
	}
	return loadDelta[S](l, stream)
}

// keep never puts an older fold over a newer one.
func keep[S any](b *Bus, stream string, f folded[S]) {
	b.cache.Compute(stream, func(old any, found bool) (any, otter.ComputeOp) {
		if have, ok := old.(folded[S]); found && ok && have.revision > f.revision {
			return old, otter.CancelOp
		}
		return f, otter.WriteOp
	})
}

// Load is the current state of an aggregate, read from its stream.
func Load[S domain.State[S]](ctx context.Context, b *Bus, stream string) (S, eventstore.Revision, error) {
	f, err := loadDelta[S](loader{ctx: ctx, bus: b}, stream)
	return f.state, f.revision, err
}

// Until bounds how much of a stream Inspect folds. Zero values don't bound.
type Until struct {
	Revision *eventstore.Revision // this one included
	Time     time.Time            // events recorded after it are left out
}

// Snapshot is an aggregate as it was.
type Snapshot struct {
	Stream   string              `json:"stream"`
	Revision eventstore.Revision `json:"revision"`
	At       time.Time           `json:"at"`
	Exists   bool                `json:"exists"`
	State    json.RawMessage     `json:"state"`

	Organizations []domain.ID `json:"-"`
}

type inspector func(ctx context.Context, b *Bus, stream string, until Until) (Snapshot, error)

// Inspect folds any registered aggregate up to a revision or time.
func (b *Bus) Inspect(ctx context.Context, stream string, until Until) (Snapshot, error) {
	f, known := b.inspect[category(stream)]
	if !known {
		return Snapshot{}, fault.Missing("stream", stream)
	}
	return f(ctx, b, stream, until)
}

func inspect[S domain.State[S]](ctx context.Context, b *Bus, stream string, until Until) (Snapshot, error) {
	var s S
	at := Snapshot{Stream: stream, Revision: eventstore.NoStream}
	for r, err := range b.store.Load(ctx, stream, 0) {
		if err != nil {
			return at, unavailable(err)
		}
		if until.Revision != nil && r.Revision > *until.Revision || !until.Time.IsZero() && r.Created.After(until.Time) {
			break
		}
		e, _, err := b.codec.DecodeRecorded(r)
		if err != nil {
			return at, err
		}
		s, at.Revision, at.At = s.Apply(e), r.Revision, r.Created
	}
	if at.Revision == eventstore.NoStream {
		return at, fault.Missing("stream", stream)
	}
	at.Exists, at.Organizations = s.Exists(), s.Organizations()
	raw, err := json.Marshal(s)
	at.State = raw
	return at, err
}
