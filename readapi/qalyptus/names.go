package qalyptus

import (
	"context"
	"encoding/json"
	"fmt"

	"docket/domain"
	"docket/readapi/access"
	"docket/readapi/query"
)

// Ref is a thing that another refers to, by id and name.
type Ref struct {
	ID   domain.ID `json:"id" col:"id"`
	Name string    `json:"name" col:"name"`
}

// organizationRef is the organization of a row.
type organizationRef struct {
	ID   domain.ID `json:"id" col:"organization_id"`
	Name string    `json:"name" col:"organization.name"`
}

// refsSQL gathers {id, name} of what a condition on x selects, in the order of
// the names.
func refsSQL(from, where string) string {
	return fmt.Sprintf(`select coalesce(jsonb_agg(jsonb_build_object('id', x.id, 'name', x.name) order by x.name, x.id), '[]') from %s where %s`, from, where)
}

// Names are what is known of things that a state names by id alone, for answers
// that the read models can't give yet.
type Names struct {
	known map[domain.ID]access.Named
	actor domain.Actor
}

// NamesFor are names as the caller may see them.
func NamesFor(ctx context.Context, known map[domain.ID]access.Named) Names {
	actor, _ := domain.ActorOf(ctx)
	return Names{known, actor}
}

// ref names a thing; what is not known yet has an empty name.
func (n Names) ref(id domain.ID) Ref { return Ref{ID: id, Name: n.known[id].Name} }

// refs name those things that the caller sees.
func (n Names) refs(ids []domain.ID) []Ref {
	refs := make([]Ref, 0, len(ids))
	for _, id := range ids {
		if o := n.known[id].Organization; o == nil || n.actor.Sees(*o) {
			refs = append(refs, n.ref(id))
		}
	}
	return refs
}

// mine tells whether the caller is the owner.
func (n Names) mine(owner domain.ID) bool { return n.actor.UserID == owner }

// appendProjectRefs writes a role's projects, those outside of the caller's own
// rights left out.
func appendProjectRefs(dst []byte, row query.RawRow) []byte {
	actor, _ := row.Env.(domain.Actor)
	if actor.Projects == nil {
		return append(dst, row.JSON(0)...)
	}
	var all []Ref
	if err := json.Unmarshal(row.JSON(0), &all); err != nil {
		panic("projects of a role are no list: " + err.Error())
	}
	seen := make([]Ref, 0, len(all))
	for _, r := range all {
		if actor.SeesProject(r.ID) {
			seen = append(seen, r)
		}
	}
	body, err := json.Marshal(seen)
	if err != nil {
		panic(err) // ids and texts always encode
	}
	return append(dst, body...)
}
