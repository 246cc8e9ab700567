package query

import "github.com/google/uuid"

// Scope says which organizations the caller sees. The zero Scope is not a
// scope: a request without one is refused, so that no list can forget it.
type Scope struct {
	kind scopeKind
	ids  []uuid.UUID
}

type scopeKind uint8

const (
	scopeUnset scopeKind = iota
	scopeAll
	scopeSome
)

// Everything is the scope of a caller who sees all organizations.
func Everything() Scope { return Scope{kind: scopeAll} }

// Organizations is the scope of a caller who sees these organizations. Without
// any the caller sees nothing but what belongs to no organization by its nature
// (Resource.Unscoped).
func Organizations(ids ...uuid.UUID) Scope {
	return Scope{kind: scopeSome, ids: distinctIDs(ids)}
}
