package commands

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"docket/domain"
	"docket/eventstore"
	"github.com/maypok86/otter/v2"
)

// Waiter blocks until the read models that take in these event types have
// passed a position. It is false when ctx ended first.
type Waiter interface {
	Await(ctx context.Context, position eventstore.Position, eventTypes []string) bool
}

// Config is what a Bus needs.
type Config struct {
	Store eventstore.Store
	Codec *eventstore.Codec
	// Digest hides a value behind a keyed hash, the same for the life of the log.
	Digest func(purpose, value string) string
	// Waiter may be nil: then results are never Current.
	Waiter Waiter
	// Wait bounds how long a command waits for its read models.
	Wait   time.Duration
	Logger *slog.Logger
	// Reached is called at named points between the steps of the pipeline. Tests
	// stall or kill there.
	Reached func(point string)
	// CacheSize is how many folded aggregates are kept; 0 means 50,000.
	CacheSize int
}

// Bus runs commands.
type Bus struct {
	store   eventstore.Store
	codec   *eventstore.Codec
	digest  func(purpose, value string) string
	waiter  Waiter
	wait    time.Duration
	log     *slog.Logger
	reached func(string)
	folders map[string]folder
	inspect map[string]inspector
	replay  map[string]replayer
	cache   *otter.Cache[string, any]
	turns   turns
	numbers numbers
}

// folder loads an aggregate whose Go type the caller does not know.
type folder func(ctx context.Context, b *Bus, stream string) ([]domain.Key, eventstore.Revision, error)

// NewBus makes a bus that knows no aggregate yet; see Register.
func NewBus(c Config) *Bus {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.CacheSize == 0 {
		c.CacheSize = 50_000
	}
	return &Bus{
		store: c.Store, codec: c.Codec, digest: c.Digest, waiter: c.Waiter, wait: c.Wait, log: c.Logger, reached: c.Reached,
		folders: make(map[string]folder), inspect: make(map[string]inspector), replay: make(map[string]replayer),
		cache: otter.Must(&otter.Options[string, any]{MaximumSize: c.CacheSize}),
	}
}

// Register tells the bus that streams "<category>-..." hold aggregates of type S.
func Register[S domain.State[S]](b *Bus, category string) {
	if _, twice := b.folders[category]; twice {
		panic("aggregate registered twice: " + category)
	}
	b.folders[category] = func(ctx context.Context, b *Bus, stream string) ([]domain.Key, eventstore.Revision, error) {
		f, err := loadDelta[S](loader{ctx: ctx, bus: b}, stream)
		if err != nil {
			return nil, 0, err
		}
		return f.state.Keys(), f.revision, nil
	}
	b.inspect[category], b.replay[category] = inspect[S], replay[S]
}

// reach marks a point between two steps.
func (b *Bus) reach(point string) {
	if b.reached != nil {
		b.reached(point)
	}
}

// Await waits for read models on behalf of whoever appended elsewhere.
func (b *Bus) Await(ctx context.Context, position eventstore.Position, types []string) bool {
	if b.waiter == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	return b.waiter.Await(ctx, position, types)
}

// awaitAll waits for what the commands of a batch appended.
func (b *Bus) awaitAll(ctx context.Context, all batch) bool {
	if len(all) == 0 {
		return true
	}
	if b.waiter == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	at := make(map[eventstore.Position][]string, len(all))
	for eventType, position := range all {
		at[position] = append(at[position], eventType)
	}
	for _, position := range slices.Sorted(maps.Keys(at)) {
		if !b.waiter.Await(ctx, position, at[position]) {
			return false
		}
	}
	return true
}

// Together runs several commands of one request and waits for their read
// models once, at the end. current tells whether those have passed all of them.
func Together(ctx context.Context, b *Bus, run func(ctx context.Context) error) (current bool, err error) {
	r := RequestOf(ctx)
	if r == nil {
		return false, errNoRequest
	}
	r.mu.Lock()
	nested := r.batch != nil
	if !nested {
		r.batch = make(batch)
	}
	all := r.batch
	r.mu.Unlock()
	err = run(ctx)
	if nested {
		return true, err
	}
	r.mu.Lock()
	r.batch = nil
	r.mu.Unlock()
	return b.awaitAll(ctx, all), err
}
