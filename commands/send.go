package commands

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"github.com/google/uuid"
)

// maxDecisions bounds how often a command is decided again after others wrote
// to its stream in between.
const maxDecisions = 8

// sending is one command under way.
type sending struct {
	request   *Request
	actor     domain.Actor
	name      string
	stream    string
	commandID uuid.UUID
	// taken are the claims this command took from nobody or from a stranger and
	// may give back, with the revision at which it took them.
	taken map[domain.Key]eventstore.Revision
}

// Send runs a command: may the actor → fold → decide → claim → append →
// release → wait for the read models. The context carries the actor
// (domain.WithActor) and the request (WithRequest).
//
// Errors are faults: Unauthenticated and Denied, NotFound for an aggregate of
// an organization the actor doesn't see, whatever Decide says, Unique for a
// taken key, Conflict when others won every race, Unavailable with the outcome
// unknown: repeat with the same request.
func Send[S domain.State[S]](ctx context.Context, b *Bus, cmd Command[S]) (Result[S], error) {
	s, err := begin(ctx, cmd.Name(), cmd.Stream(), cmd.Permission())
	if err != nil {
		return Result[S]{}, err
	}
	result, err := run(ctx, b, s, cmd)
	if err != nil {
		return result, unavailable(err)
	}
	result.Current = b.settle(ctx, s.request, result.Position, result.Events)
	return result, nil
}

var errNoRequest = errors.New("a command was sent without a request in its context")

func begin(ctx context.Context, name, stream, permission string) (*sending, error) {
	request := RequestOf(ctx)
	if request == nil {
		return nil, errNoRequest
	}
	actor, err := admit(ctx, permission)
	if err != nil {
		return nil, err
	}
	return &sending{request: request, actor: actor, name: name, stream: stream, commandID: request.commandID(name, stream)}, nil
}

// admit is the actor of a context, if they hold a permission.
func admit(ctx context.Context, permission string) (domain.Actor, error) {
	actor, ok := domain.ActorOf(ctx)
	if !ok {
		return actor, fault.New(fault.Unauthenticated, "unauthenticated", "a credential is needed")
	}
	if !actor.May(permission) {
		return actor, fault.New(fault.Denied, "denied", "the permission %s is needed", permission)
	}
	return actor, nil
}

// run holds the stream's turn from the first look until claims are settled.
func run[S domain.State[S]](ctx context.Context, b *Bus, s *sending, cmd Command[S]) (Result[S], error) {
	if err := b.turns.take(ctx, s.stream); err != nil {
		return Result[S]{}, err
	}
	defer b.turns.leave(s.stream)
	result, err := attempt(ctx, b, s, cmd)
	b.giveBack(ctx, s)
	return result, err
}

// attempt decides and appends, again when others wrote in between. No refusal
// rests on a baseline or a look at other aggregates that may be stale.
func attempt[S domain.State[S]](ctx context.Context, b *Bus, s *sending, cmd Command[S]) (Result[S], error) {
	l := loader{ctx: ctx, bus: b}
	env := Env{Now: s.request.Now.UTC().Round(0), Actor: s.actor} // as it reads back from JSON
	base := cached[S](b, s.stream)
	// Looked for after the baseline was taken: what another run of the request
	// appends later than that shows when this one appends.
	if s.request.Retry {
		if done, found, err := earlier[S](ctx, b, s); found || err != nil {
			return done, err
		}
	}
	for range maxDecisions {
		result, err := once(l, s, cmd, &env, base)
		lost := isWrongRevision(err)
		switch {
		case err == nil && len(result.Events) > 0:
			return appended(ctx, b, s, result)
		case l.fresh && !lost, errors.Is(err, eventstore.ErrUnavailable), ctx.Err() != nil:
			return result, err
		}
		newest, loadErr := loadDelta[S](l, s.stream)
		if loadErr != nil {
			return Result[S]{}, loadErr
		}
		if !lost && newest.revision == base.revision && !looks(cmd) {
			return result, err
		}
		if s.request.Retry {
			if done, found, err := earlier[S](ctx, b, s); found || err != nil {
				return done, err
			}
		}
		base, l.fresh = newest, true
	}
	return Result[S]{}, fault.New(fault.Unavailable, "contended", "others kept changing this at the same time; try again")
}

// once decides on a baseline and appends to it.
func once[S domain.State[S]](l loader, s *sending, cmd Command[S], env *Env, base folded[S]) (Result[S], error) {
	unchanged := Result[S]{State: base.state, Revision: base.revision}
	if c, ok := cmd.(Numbered); ok && env.Number == 0 && !base.state.Exists() {
		n, err := l.bus.number(l.ctx, s, c.NumberKind())
		if err != nil {
			return unchanged, err
		}
		env.Number = n
	}
	known := *env
	if looks(cmd) {
		var err error
		if known, err = Gather(cmd, base.state, known, func(r Ref) (any, error) { return r.load(l) }); err != nil {
			return unchanged, err
		}
	}
	events, err := decide(cmd, base.state, known)
	if err != nil || len(events) == 0 {
		return unchanged, err
	}
	return commit(l.ctx, l.bus, s, known, base, events)
}

// looks tells whether a command decides from other aggregates too.
func looks[S domain.State[S]](cmd Command[S]) bool {
	_, refers := cmd.(Referring)
	_, explores := cmd.(Exploring[S])
	return refers || explores
}

// appended is the result of an append. When the request has another run, that
// one's append may stand in the place of this one, so what the log says counts.
func appended[S domain.State[S]](ctx context.Context, b *Bus, s *sending, result Result[S]) (Result[S], error) {
	if !s.request.Retry && !s.request.overtaken() {
		return result, nil
	}
	logged, _, err := earlier[S](ctx, b, s)
	return logged, err
}

// decide adds the one rule that holds for all aggregates: what the actor does
// not see does not exist for them.
func decide[S domain.State[S]](cmd Command[S], state S, env Env) ([]domain.Event, error) {
	if state.Exists() && !env.Actor.SeesAny(state.Organizations()) {
		return nil, fault.New(fault.NotFound, category(cmd.Stream())+".not-found", "%s does not exist", category(cmd.Stream()))
	}
	return cmd.Decide(state, env)
}

// commit claims what the new state holds, appends, and releases what it gave
// up.
func commit[S domain.State[S]](ctx context.Context, b *Bus, s *sending, env Env, base folded[S], events []domain.Event) (Result[S], error) {
	after := domain.Fold(base.state, events...)
	if err := newOrganizationsVisible(s.stream, env.Actor, base.state.Organizations(), after.Organizations()); err != nil {
		return Result[S]{}, err
	}
	proposed, err := b.propose(s, events)
	if err != nil {
		return Result[S]{}, err
	}
	held := after.Keys()
	gained, lost := keyChanges(base.state.Keys(), held)
	for _, k := range gained {
		b.reach("claim: before take")
		if err := b.take(ctx, s, k); err != nil {
			return Result[S]{}, err
		}
		b.reach("claim: taken")
	}
	// The claims to give up are read before the append: see claims.go on why.
	leaving, err := b.claimsHeld(ctx, s, lost)
	if err != nil {
		return Result[S]{}, err
	}
	b.reach("append: before")
	if s.request.overtaken() { // the baseline may hold what the other run did
		return Result[S]{}, errOvertaken()
	}
	checked := time.Now()
	receipt, err := b.store.Append(ctx, s.stream, base.revision, proposed)
	if err != nil {
		if !isWrongRevision(err) && !errors.Is(err, eventstore.ErrTooLarge) {
			s.taken = nil // it may have been written: the claims may be in use
		}
		return Result[S]{}, err
	}
	b.reach("append: done")
	for _, k := range held {
		delete(s.taken, k)
	}
	if !s.request.Retry && !s.request.overtaken() { // see appended
		keep(b, s.stream, folded[S]{state: after, revision: receipt.Revision, checked: checked})
	}
	for _, claim := range leaving {
		b.release(ctx, s, claim.stream, claim.revision)
		b.reach("claim: released")
	}
	return Result[S]{State: after, Revision: receipt.Revision, Position: receipt.Position, Events: events}, nil
}

func errOvertaken() error {
	f := fault.New(fault.Unavailable, "request.overtaken", "another run of this request has taken over; try again")
	f.RetryAfter = time.Second
	return f
}

// newOrganizationsVisible stops an actor from putting something into an
// organization they don't see. What was there before may stay. A new organization
// is in itself and seen by nobody yet: its own Decide looks at the parent.
func newOrganizationsVisible(stream string, actor domain.Actor, before, after []domain.ID) error {
	for _, o := range after {
		if !actor.Sees(o) && !slices.Contains(before, o) && !strings.HasSuffix(stream, o.String()) {
			return fault.New(fault.Denied, "organization.denied", "organization %s is not yours to use", o).On("organizationId", "is not yours to use")
		}
	}
	return nil
}

// propose encodes events with ids fixed by the command, so that a repeated
// append changes nothing.
func (b *Bus) propose(s *sending, events []domain.Event) ([]eventstore.Proposed, error) {
	proposed := make([]eventstore.Proposed, len(events))
	for i, e := range events {
		data, err := b.codec.Encode(e)
		if err != nil {
			return nil, err
		}
		meta, err := s.metadata(b.codec.Schema(e.EventType()), i, len(events))
		if err != nil {
			return nil, err
		}
		proposed[i] = eventstore.Proposed{ID: uuid.NewSHA1(s.commandID, []byte{byte(i >> 8), byte(i)}), Type: e.EventType(), Data: data, Meta: meta}
	}
	return proposed, nil
}

func (s *sending) metadata(schema, index, count int) ([]byte, error) {
	return json.Marshal(eventstore.Metadata{
		Tenant: s.actor.Tenant, Actor: s.actor.UserID, APIKey: s.actor.KeyID,
		Command: s.name, CommandID: s.commandID,
		Causation: s.request.causation(), Correlation: s.request.correlation(), Traceparent: s.request.Traceparent,
		Dialect: s.request.Dialect, Schema: schema, Index: index, Count: count,
	})
}

// earlier finds what this very command appended before its outcome got lost.
// What the kernel appends for a command stands in other streams.
func earlier[S domain.State[S]](ctx context.Context, b *Bus, s *sending) (result Result[S], found bool, err error) {
	state, revision := *new(S), eventstore.NoStream
	for r, err := range b.store.Load(ctx, s.stream, 0) {
		if err != nil {
			return result, false, err
		}
		e, m, err := b.codec.DecodeRecorded(r)
		if err != nil {
			return result, false, err
		}
		state, revision = state.Apply(e), r.Revision
		if m.CommandID == s.commandID {
			found = true
			result.Events, result.Position = append(result.Events, e), r.Position
		}
	}
	result.State, result.Revision = state, revision
	return result, found, nil
}

// settle waits for the read models, or leaves that to Together.
func (b *Bus) settle(ctx context.Context, r *Request, position eventstore.Position, events []domain.Event) bool {
	if position == 0 {
		return true
	}
	types := make([]string, len(events))
	for i, e := range events {
		types[i] = e.EventType()
	}
	r.mu.Lock()
	if all := r.batch; all != nil {
		for _, t := range types {
			all[t] = max(all[t], position)
		}
		r.mu.Unlock()
		return true
	}
	r.mu.Unlock()
	return b.Await(ctx, position, types)
}

// unavailable turns the store's errors into faults. A context that ended is one
// of them: what it interrupted may be repeated.
func unavailable(err error) error {
	var already *fault.Error
	switch {
	case errors.As(err, &already):
		return err
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		f := fault.New(fault.Unavailable, "store.unavailable", "the event store does not answer; try again").Because(err)
		f.RetryAfter = time.Second
		return f
	case errors.Is(err, eventstore.ErrTooLarge):
		return fault.New(fault.TooLarge, "change.too-large", "this is more than one change can hold").Because(err)
	}
	return err
}
