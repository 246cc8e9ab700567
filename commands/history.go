package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"docket/domain"
	"docket/eventstore"
	"github.com/google/uuid"
)

// Step is what one append did to an aggregate.
type Step struct {
	Events        []Occurrence // at least one
	Before, After Image
	// Problem says why the images may not be what they were: an event of the step
	// or before it that cannot be read, or a stream that is no aggregate's.
	Problem error
}

// Occurrence names an event.
type Occurrence struct {
	ID       uuid.UUID
	Type     string
	Revision eventstore.Revision
}

// Image is an aggregate at a moment.
type Image struct {
	Exists        bool
	Organizations []domain.ID
	State         json.RawMessage // empty unless it exists
	// Shown is State made of events whose personal data was replaced; it is State
	// when nothing was to be replaced.
	Shown json.RawMessage
}

// Kinds are the kinds of aggregates, sorted. A stream's name begins with its kind.
func (b *Bus) Kinds() []string { return slices.Sorted(maps.Keys(b.replay)) }

// History tells what appends did to the aggregate of a stream, a step after the
// other. first are the revisions at which they begin, ascending; the stream is
// read once, up to the end of the last one. An event that cannot be read is left
// out of the fold. Unless mask is empty, it stands in Shown wherever personal data
// would.
func (b *Bus) History(ctx context.Context, stream string, first []eventstore.Revision, mask string, each func(Step) error) error {
	if f, known := b.replay[category(stream)]; known {
		return f(ctx, b, stream, first, mask, each)
	}
	return replay[nothing](ctx, b, stream, first, mask, func(s Step) error {
		if s.Problem == nil {
			s.Problem = fmt.Errorf("%s is no aggregate's stream", stream)
		}
		return each(s)
	})
}

// nothing is the state of a stream that is no aggregate's.
type nothing struct{}

func (n nothing) Apply(domain.Event) nothing { return n }
func (nothing) Exists() bool                 { return false }
func (nothing) Keys() []domain.Key           { return nil }
func (nothing) Organizations() []domain.ID   { return nil }

type replayer func(ctx context.Context, b *Bus, stream string, first []eventstore.Revision, mask string, each func(Step) error) error

func replay[S domain.State[S]](ctx context.Context, b *Bus, stream string, first []eventstore.Revision, mask string, each func(Step) error) error {
	r := replaying[S]{first: first, mask: mask, each: each}
	for recorded, err := range b.store.Load(ctx, stream, 0) {
		if err != nil {
			return unavailable(err)
		}
		e, m, err := b.codec.DecodeRecorded(recorded)
		if turned := r.turn(recorded.Revision, m); turned != nil || r.step == nil && len(r.first) == 0 {
			return turned
		}
		r.take(recorded, e, err)
	}
	if err := r.end(); err != nil {
		return err
	}
	if len(r.first) > 0 {
		return fmt.Errorf("the log holds no event %s@%d", stream, r.first[0])
	}
	return nil
}

// replaying is a fold under way.
type replaying[S domain.State[S]] struct {
	first   []eventstore.Revision // of steps to come
	mask    string
	each    func(Step) error
	state   S
	shown   S     // the same of masked events
	broken  error // the first event that could not be read
	step    *Step // nil between steps
	command uuid.UUID
}

// turn ends the step under way and begins the next where the event at a revision
// belongs to another append than the one before it.
func (r *replaying[S]) turn(at eventstore.Revision, m eventstore.Metadata) error {
	begins := len(r.first) > 0 && at == r.first[0]
	if begins || m.Index == 0 || m.CommandID == uuid.Nil || m.CommandID != r.command {
		if err := r.end(); err != nil {
			return err
		}
	}
	if !begins {
		return nil
	}
	before, err := r.image()
	r.first, r.command = r.first[1:], m.CommandID
	r.step = &Step{Before: before, Problem: r.broken}
	return err
}

// end hands over the step under way.
func (r *replaying[S]) end() (err error) {
	if r.step == nil {
		return nil
	}
	if r.step.After, err = r.image(); err != nil {
		return err
	}
	done := *r.step
	r.step = nil
	return r.each(done)
}

func (r *replaying[S]) take(recorded eventstore.Recorded, e domain.Event, err error) {
	if err != nil && r.broken == nil {
		r.broken = fmt.Errorf("left out: %w", err)
	}
	if r.step != nil {
		r.step.Events = append(r.step.Events, Occurrence{ID: recorded.ID, Type: recorded.Type, Revision: recorded.Revision})
		r.step.Problem = r.broken
	}
	if err != nil {
		return
	}
	r.state = r.state.Apply(e)
	if r.mask != "" {
		r.shown = r.shown.Apply(masked(e, r.mask))
	}
}

func (r *replaying[S]) image() (i Image, err error) {
	i.Exists, i.Organizations = r.state.Exists(), r.state.Organizations()
	if !i.Exists {
		return i, nil
	}
	if i.State, err = json.Marshal(r.state); err != nil {
		return i, err
	}
	i.Shown = i.State
	if r.mask != "" {
		i.Shown, err = json.Marshal(r.shown)
	}
	return i, err
}

// masked is an event whose personal data reads as something else. What a state
// makes of it can then hold none, whatever the state calls its members.
func masked(e domain.Event, with string) domain.Event {
	t := reflect.TypeOf(e)
	var clone reflect.Value
	for i := range t.NumField() {
		if _, personal := t.Field(i).Tag.Lookup("pii"); !personal {
			continue
		}
		if !clone.IsValid() {
			clone = reflect.New(t).Elem()
			clone.Set(reflect.ValueOf(e))
		}
		maskText(clone.Field(i), with)
	}
	if !clone.IsValid() {
		return e
	}
	return clone.Interface().(domain.Event)
}

// maskText replaces a string or *string that is not empty. The text behind a
// pointer is shared with the event it came from, so it gets a new one.
func maskText(field reflect.Value, with string) {
	switch {
	case field.Kind() == reflect.String && field.Len() > 0:
		field.SetString(with)
	case field.Kind() == reflect.Pointer && !field.IsNil() && field.Elem().Len() > 0:
		text := reflect.New(field.Type().Elem())
		text.Elem().SetString(with)
		field.Set(text)
	}
}
