// Package commands is the write side: the pipeline every mutation takes (Send),
// the claims behind unique keys, the numbers some APIs need. The commands
// themselves live in the packages below it, one file per aggregate.
//
// Adding a command: a struct with Name, Stream, Permission and a pure Decide.
package commands

import (
	"fmt"
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
	load   func(l loader) (any, error)
}

// RefTo is a reference to the aggregate of type S behind a stream.
func RefTo[S domain.State[S]](stream string) Ref {
	return Ref{stream: stream, load: func(l loader) (any, error) {
		f, err := loadFresh[S](l, stream)
		return f.state, err
	}}
}

// Lookup is the state of a referred aggregate. A stream that the command did
// not name in Refs is a programming error.
func Lookup[S domain.State[S]](env Env, stream string) S {
	s, ok := env.refs[stream].(S)
	if !ok {
		panic(fmt.Sprintf("command looks at %s without naming it in Refs", stream))
	}
	return s
}

// WithRef is env with a referred state set. For tests of Decide.
func (env Env) WithRef(stream string, state any) Env {
	refs := make(map[string]any, len(env.refs)+1)
	for k, v := range env.refs {
		refs[k] = v
	}
	refs[stream] = state
	env.refs = refs
	return env
}
