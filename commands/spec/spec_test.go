package spec

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"github.com/stretchr/testify/require"
)

// recorder is a testing.TB that records a failure instead of failing.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Name() string                      { return "scenario" }
func (r *recorder) Errorf(format string, args ...any) { r.failure += fmt.Sprintf(format, args...) }
func (r *recorder) FailNow()                          { runtime.Goexit() }

// failure runs a scenario that should fail and returns what it says.
func failure(scenario func(t testing.TB)) string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		scenario(r)
	}()
	<-done
	return r.failure
}

// shelf is a state that breaks what Apply promises, as told by its events.
type shelf struct {
	Live  bool
	Books []domain.ID
}

func (s shelf) Apply(e domain.Event) shelf {
	switch e := e.(type) {
	case directory.UserRolesChanged:
		s.Live, s.Books = true, append([]domain.ID(nil), e.Roles...)
		s.Books = append(make([]domain.ID, 0, 8), s.Books...)
	case directory.UserOrganizationsChanged: // writes to a shared element
		s.Books[0] = e.ID
	case directory.UserGroupsChanged: // writes to shared spare capacity
		s.Books = append(s.Books, e.ID)
	}
	return s
}
func (s shelf) Exists() bool               { return s.Live }
func (s shelf) Keys() []domain.Key         { return nil }
func (s shelf) Organizations() []domain.ID { return nil }

// act is a command that does as its function says.
type act struct {
	name, stream, permission string
	decide                   func(shelf, commands.Env) ([]domain.Event, error)
}

func (a act) Name() string                                             { return a.name }
func (a act) Stream() string                                           { return a.stream }
func (a act) Permission() string                                       { return a.permission }
func (a act) Decide(s shelf, env commands.Env) ([]domain.Event, error) { return a.decide(s, env) }
func acting(events ...domain.Event) act {
	return deciding(func(shelf, commands.Env) ([]domain.Event, error) { return events, nil })
}
func deciding(decide func(shelf, commands.Env) ([]domain.Event, error)) act {
	return act{"test.act", "user-" + domain.WellKnownID(1).String(), "users.edit", decide}
}

type unregistered struct{}

func (unregistered) EventType() string { return "test.unregistered" }

func TestLawsAreEnforced(t *testing.T) {
	id := domain.WellKnownID(1)
	filled := directory.UserRolesChanged{ID: id, Roles: []domain.ID{id}}
	deleted := directory.UserDeleted{ID: id}
	refused := fault.Missing("shelf", id)
	flip := false
	for what, c := range map[string]struct {
		says string
		run  func(s Scenario[shelf])
	}{
		"fine": {"", func(s Scenario[shelf]) { s.When(acting(deleted)).Then(deleted) }},
		"fine refusal": {"", func(s Scenario[shelf]) {
			s.When(deciding(func(shelf, commands.Env) ([]domain.Event, error) { return nil, refused })).ThenFault(fault.NotFound)
		}},
		"name":                {"Test.Act", func(s Scenario[shelf]) { c := acting(); c.name = "Test.Act"; s.When(c) }},
		"stream":              {"users", func(s Scenario[shelf]) { c := acting(); c.stream = "users"; s.When(c) }},
		"unknown permission":  {"catalogue", func(s Scenario[shelf]) { c := acting(); c.permission = "users.fly"; s.When(c) }},
		"permission not held": {"lacks users.edit", func(s Scenario[shelf]) { s.As(domain.Actor{}).When(acting()) }},
		"unregistered event":  {"not registered", func(s Scenario[shelf]) { s.When(acting(unregistered{})) }},
		"null list":           {"holds null", func(s Scenario[shelf]) { s.When(acting(directory.UserRolesChanged{ID: id})) }},
		"local time": {"does not survive", func(s Scenario[shelf]) {
			s.When(acting(directory.UserDeleted{ID: id, DeletedAt: Now.In(time.FixedZone("east", 3600))}))
		}},
		"Apply writes an element": {"wrote to its receiver", func(s Scenario[shelf]) {
			s.When(acting(directory.UserOrganizationsChanged{Organizations: []domain.ID{}}))
		}},
		"Apply appends": {"wrote to its receiver", func(s Scenario[shelf]) {
			s.When(acting(directory.UserGroupsChanged{ID: id, Joined: []domain.ID{}, Left: []domain.ID{}}))
		}},
		"Decide writes": {"wrote to the state", func(s Scenario[shelf]) {
			s.When(deciding(func(s shelf, _ commands.Env) ([]domain.Event, error) { s.Books[0] = domain.ID{}; return nil, nil }))
		}},
		"Decide wavers": {"not deterministic", func(s Scenario[shelf]) {
			s.When(deciding(func(shelf, commands.Env) ([]domain.Event, error) {
				if flip = !flip; flip {
					return []domain.Event{deleted}, nil
				}
				return nil, nil
			}))
		}},
		"events and an error": {"beside an error", func(s Scenario[shelf]) {
			s.When(deciding(func(shelf, commands.Env) ([]domain.Event, error) { return []domain.Event{deleted}, refused }))
		}},
		"error that is no fault": {"not a fault", func(s Scenario[shelf]) {
			s.When(deciding(func(shelf, commands.Env) ([]domain.Event, error) { return nil, errors.New("x") })).ThenFault(fault.Internal)
		}},
		"other events":      {"Not equal", func(s Scenario[shelf]) { s.When(acting(deleted)).Then(filled) }},
		"events unexpected": {"Should be empty", func(s Scenario[shelf]) { s.When(acting(deleted)).ThenNothing() }},
		"refusal missing":   {"error is expected", func(s Scenario[shelf]) { s.When(acting(deleted)).ThenFault(fault.Invalid) }},
		"field not mentioned": {"Not equal", func(s Scenario[shelf]) {
			s.When(deciding(func(shelf, commands.Env) ([]domain.Event, error) { return nil, fault.InvalidField("a", "x") })).ThenFault(fault.Invalid, "b")
		}},
	} {
		t.Run(what, func(t *testing.T) {
			said := failure(func(t testing.TB) { c.run(Given[shelf](t, filled)) })
			if c.says == "" {
				require.Empty(t, said)
				return
			}
			require.Contains(t, said, c.says)
		})
	}
}
