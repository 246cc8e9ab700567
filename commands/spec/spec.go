// Package spec tests commands the way they are written: given events, when a
// command, then events or a refusal. No store is involved. Every use also
// checks what must hold for all commands and events (see laws.go).
package spec

import (
	"maps"
	"slices"
	"testing"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/eventstore"
	"github.com/stretchr/testify/require"
)

// Now is the time of a command unless At says otherwise.
var Now = time.Date(2030, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// Number is what a numbered command gets.
const Number int32 = 41

var codec = eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events(), reporting.Events(), printing.Events())...)

// Scenario is what a command meets. Its methods return changed copies, so that
// one may be the beginning of several.
type Scenario[S domain.State[S]] struct {
	t     testing.TB
	given []domain.Event
	refs  map[string]any
	env   commands.Env
}

// Given starts a scenario with the events of the command's own aggregate. The
// actor is the system's until As says otherwise.
func Given[S domain.State[S]](t testing.TB, events ...domain.Event) Scenario[S] {
	return Scenario[S]{t: t, given: events, env: commands.Env{Now: Now, Number: Number, Actor: domain.System(directory.GlobalID)}}
}

// Ref adds another aggregate. Those not added have no events.
func (s Scenario[S]) Ref(stream string, state any) Scenario[S] {
	return s.Refs(map[string]any{stream: state})
}

// Refs adds other aggregates by their streams.
func (s Scenario[S]) Refs(states map[string]any) Scenario[S] {
	all := make(map[string]any, len(s.refs)+len(states))
	maps.Copy(all, s.refs)
	maps.Copy(all, states)
	s.refs = all
	return s
}

// As sets the actor.
func (s Scenario[S]) As(actor domain.Actor) Scenario[S] {
	s.env.Actor = actor
	return s
}

// At sets the time.
func (s Scenario[S]) At(now time.Time) Scenario[S] {
	s.env.Now = now
	return s
}

// Outcome is what a command decided.
type Outcome[S domain.State[S]] struct {
	t      testing.TB
	state  S
	events []domain.Event
	err    error
}

// When decides the command.
func (s Scenario[S]) When(cmd commands.Command[S]) Outcome[S] {
	s.t.Helper()
	checkCommand(s.t, cmd, s.env.Actor)
	before := reread[S](s.t, s.given)
	env, err := commands.Gather(cmd, before, s.env, func(r commands.Ref) (any, error) {
		if state, added := s.refs[r.Stream()]; added {
			require.IsType(s.t, r.Zero(), state, "state of %s", r.Stream())
			return state, nil
		}
		return r.Zero(), nil
	})
	require.NoError(s.t, err)
	untouched, refs := snapshot(before), snapshot(s.refs)
	events, err := cmd.Decide(before, env)
	again, errAgain := cmd.Decide(before, env)
	require.Equal(s.t, events, again, "Decide is not deterministic")
	require.Equal(s.t, err, errAgain, "Decide is not deterministic")
	require.Equal(s.t, untouched, snapshot(before), "Decide wrote to the state")
	require.Equal(s.t, refs, snapshot(s.refs), "Decide wrote to the state of another aggregate")
	if err != nil {
		require.Empty(s.t, events, "events beside an error")
	}
	return Outcome[S]{t: s.t, state: applied(s.t, before, events), events: events, err: err}
}

// Then wants exactly these events and returns the state after them.
func (o Outcome[S]) Then(events ...domain.Event) S {
	o.t.Helper()
	require.NoError(o.t, o.err)
	require.Equal(o.t, events, o.events)
	return o.state
}

// ThenSome wants any events and returns the state after them.
func (o Outcome[S]) ThenSome() S {
	o.t.Helper()
	require.NoError(o.t, o.err)
	require.NotEmpty(o.t, o.events)
	return o.state
}

// ThenNothing wants neither events nor a refusal.
func (o Outcome[S]) ThenNothing() {
	o.t.Helper()
	require.NoError(o.t, o.err)
	require.Empty(o.t, o.events)
}

// ThenFault wants a refusal of this kind that names exactly these fields.
func (o Outcome[S]) ThenFault(kind fault.Kind, fields ...string) *fault.Error {
	o.t.Helper()
	require.Error(o.t, o.err, "decided %v", o.events)
	f, ok := o.err.(*fault.Error)
	require.True(o.t, ok, "not a fault: %v", o.err)
	require.Equal(o.t, kind.String(), f.Kind.String(), "%v", f)
	require.NotEmpty(o.t, f.Code)
	require.NotEmpty(o.t, f.Public)
	var named []string
	for _, problem := range f.Fields {
		require.NotEmpty(o.t, problem.Message)
		named = append(named, problem.Path)
	}
	require.Equal(o.t, fields, named, "%v", f)
	return f
}

// Err is the refusal, nil for none, for tests of its code.
func (o Outcome[S]) Err() error { return o.err }
