// Package commands is the write side: the pipeline every mutation takes (Send),
// the claims behind unique keys, the numbers some APIs need. The commands
// themselves live in the packages below it, one file per aggregate.
//
// Adding a command: a struct with Name, Stream, Permission and a pure Decide.
package commands

import (
	"fmt"
	"maps"
	"time"

	"docket/domain"
	"docket/eventstore"
)

// Command decides what happens to one aggregate.
type Command[S domain.State[S]] interface {
	// Name is stable and stands in the metadata: "reporting.create-task".
	Name() string
	// Stream of the aggregate: "task-<id>".
	Stream() string
	// Permission the actor needs; "" for any authenticated actor.
	Permission() string
	// Decide is pure: what happens, given the state. No events means that
	// nothing needs to change. Its error is a *fault.Error.
	Decide(s S, env Env) ([]domain.Event, error)
}

// Referring commands name other aggregates that Decide looks at (by Lookup).
// Such a look is not atomic with the append; it may be refFreshness old.
type Referring interface{ Refs() []Ref }

// Exploring commands learn from the state, or from what they looked at already,
// what else to look at: the roles of a group somebody joins. Explore is pure and
// asked again (with Known to see what is there) until it names nothing new.
type Exploring[S domain.State[S]] interface{ Explore(s S, env Env) []Ref }

// Numbered commands create aggregates that carry a number of this kind (Env.Number).
type Numbered interface{ NumberKind() string }

// Env is what Decide may know beside the state.
type Env struct {
	Now    time.Time
	Actor  domain.Actor
	Number int32 // for Numbered commands on an aggregate that does not exist yet
	refs   map[string]any
}

// Result is what came of a command.
type Result[S any] struct {
	State    S
	Revision eventstore.Revision
	Position eventstore.Position // 0 when nothing was appended
	Events   []domain.Event      // appended by this command
	// Current tells whether the read models have passed Position.
	Current bool
}

// Ref points at another aggregate that a command looks at.
type Ref struct {
	stream string
	zero   any
	load   func(l loader) (any, error)
}

// RefTo is a reference to the aggregate of type S behind a stream.
func RefTo[S domain.State[S]](stream string) Ref {
	return Ref{stream: stream, zero: *new(S), load: func(l loader) (any, error) {
		f, err := loadFresh[S](l, stream)
		return f.state, err
	}}
}

// Stream the reference points at.
func (r Ref) Stream() string { return r.stream }

// Zero is the state of an aggregate without events.
func (r Ref) Zero() any { return r.zero }

// Lookup is the state of a referred aggregate. A stream that the command named
// neither in Refs nor in Explore is a programming error.
func Lookup[S domain.State[S]](env Env, stream string) S {
	s, ok := Known[S](env, stream)
	if !ok {
		panic(fmt.Sprintf("command looks at %s without naming it in Refs or Explore", stream))
	}
	return s
}

// Known is the state of a referred aggregate, if it has been looked at.
func Known[S domain.State[S]](env Env, stream string) (S, bool) {
	s, ok := env.refs[stream].(S)
	return s, ok
}

// Gather adds to env what the command refers to and env does not hold yet.
func Gather[S domain.State[S]](cmd Command[S], s S, env Env, load func(Ref) (any, error)) (Env, error) {
	var named []Ref
	if c, ok := cmd.(Referring); ok {
		named = c.Refs()
	}
	explorer, explores := cmd.(Exploring[S])
	env.refs = maps.Clone(env.refs)
	for round := 0; ; round++ {
		before := len(env.refs)
		if err := env.look(named, load); err != nil {
			return env, err
		}
		if !explores || round > 0 && len(env.refs) == before {
			return env, nil
		}
		named = explorer.Explore(s, env)
	}
}

// look loads the references that are not there yet.
func (env *Env) look(refs []Ref, load func(Ref) (any, error)) error {
	if env.refs == nil {
		env.refs = make(map[string]any, len(refs))
	}
	for _, r := range refs {
		if _, known := env.refs[r.stream]; known {
			continue
		}
		state, err := load(r)
		if err != nil {
			return err
		}
		env.refs[r.stream] = state
	}
	return nil
}

// WithRef is env with a referred state set. For tests of Decide.
func (env Env) WithRef(stream string, state any) Env {
	refs := make(map[string]any, len(env.refs)+1)
	maps.Copy(refs, env.refs)
	refs[stream] = state
	env.refs = refs
	return env
}
