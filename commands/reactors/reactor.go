package reactors

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/eventstore"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Start says where a reactor that never ran begins.
type Start int

const (
	// AtBeginning makes it see all events that were ever recorded.
	AtBeginning Start = iota + 1
	// AtEnd makes it see what is recorded from then on.
	AtEnd
)

// Event is an event as a reactor sees it.
type Event struct {
	eventstore.Recorded
	Meta eventstore.Metadata
}

// Reactor is a named set of reactions. The name stands for its place in the log
// and in the ids of its commands, so it must never change.
type Reactor struct {
	Name      string
	start     Start
	reactions map[string]reaction
}

type reaction func(ctx context.Context, event domain.Event, in Event) ([]Write, error)

// Write is done in the transaction that moves the reactor's checkpoint past the
// event: both are there or neither is. It must not decide anything: an error
// that is not the database's absence makes the reactor try for ever.
type Write func(ctx context.Context, tx pgx.Tx) error

// Reaction is what a reactor does about one type of event.
type Reaction struct {
	eventType string
	react     reaction
}

// On declares the reaction to events of type E. The context carries what
// commands.Send needs: the system as the actor, in the event's tenant, and a
// request that is caused by the event, with ids and time fixed by it. The
// reaction decides what a refused command means; an error that it returns is
// retried if it is passing (see the package) and stops the reactor otherwise.
func On[E domain.Event](react func(ctx context.Context, event E, in Event) error) Reaction {
	return OnWriting(func(ctx context.Context, event E, in Event) ([]Write, error) { return nil, react(ctx, event, in) })
}

// OnWriting is On for a reaction that has something written together with the
// checkpoint, such as jobs to be done: that happens once per event, since only
// one process moves the checkpoint past it.
func OnWriting[E domain.Event](react func(ctx context.Context, event E, in Event) ([]Write, error)) Reaction {
	var zero E
	return Reaction{zero.EventType(), func(ctx context.Context, event domain.Event, in Event) ([]Write, error) {
		return react(ctx, event.(E), in)
	}}
}

// New declares a reactor. It panics on a mistake in the declaration.
func New(name string, start Start, on ...Reaction) Reactor {
	if name == "" || len(on) == 0 || start != AtBeginning && start != AtEnd {
		panic("reactors: a reactor needs a name, a start and a reaction: " + name)
	}
	r := Reactor{Name: name, start: start, reactions: make(map[string]reaction, len(on))}
	for _, reaction := range on {
		if r.reactions[reaction.eventType] != nil {
			panic(fmt.Sprintf("reactors: %s reacts to %s twice", name, reaction.eventType))
		}
		r.reactions[reaction.eventType] = reaction.react
	}
	return r
}

// filter selects what the reactor reacts to; longer names that begin the same
// come along and are left alone.
func (r Reactor) filter() eventstore.Filter {
	return eventstore.Filter{TypePrefixes: slices.Sorted(maps.Keys(r.reactions))}
}

// precision of times in events is that of the read models.
const precision = time.Microsecond

// acting is the context in which a reaction sends commands. A second run of the
// same event makes the same ids. Each run may be a second one: nothing tells a
// process for certain that no other has the reactor, too.
func (r Reactor) acting(ctx context.Context, in Event) context.Context {
	correlation := in.Meta.Correlation
	if correlation == uuid.Nil {
		correlation = in.ID
	}
	return domain.WithActor(commands.WithRequest(ctx, &commands.Request{
		ID: uuid.NewSHA1(in.ID, []byte(r.Name)), Now: in.Created.UTC().Truncate(precision), Retry: true, Dialect: "system",
		Correlation: correlation, Causation: in.ID, Traceparent: in.Meta.Traceparent,
	}), domain.System(in.Meta.Tenant))
}
