package domain

// Event is a fact: something that happened to one aggregate. Events are value
// structs whose JSON is stored for ever.
type Event interface {
	// EventType is the stable dotted name under which the event is stored
	// ("reporting.task-created"). It never follows a rename of the Go type.
	EventType() string
}

// State is what an aggregate is after its events. Implementations are values.
type State[S any] interface {
	// Apply returns the state after e. It is total: a recorded fact is never
	// rejected, an unknown one changes nothing. It must not write to a slice
	// or map reachable from the receiver, since folded states are cached and
	// shared.
	Apply(e Event) S
	// Exists tells whether the aggregate was created and not deleted.
	Exists() bool
	// Keys are the unique keys the aggregate holds in this state. The command
	// pipeline claims and releases the difference between two states.
	Keys() []Key
	// Organizations the aggregate belongs to. Who may see none of them is told
	// that the aggregate does not exist. Empty means: not scoped.
	Organizations() []ID
}

// Fold applies events in order, starting from s.
func Fold[S State[S]](s S, events ...Event) S {
	for _, e := range events {
		s = s.Apply(e)
	}
	return s
}

// Key is a value that only one aggregate may hold at a time.
type Key struct {
	Kind  string // what is unique: "group-name"; letters and '-' only
	Scope string // within what: an organization id, or "" for everywhere
	Value string // normalised by the aggregate (see Normal)
}
