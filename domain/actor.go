package domain

import (
	"context"
	"slices"
)

// Actor is who acts, and what they may do and see. It is made anew for every
// request from what the directory says at that time.
type Actor struct {
	UserID ID
	KeyID  *ID // the API key used, if one was
	Tenant ID  // organization the actor works in; new things belong to it by default

	// Permissions the actor holds, by their keys ("tasks.edit").
	Permissions map[string]bool
	// Organizations the actor sees, sorted. Ignored when Unrestricted.
	Organizations []ID
	// Unrestricted actors see every organization.
	Unrestricted bool
	// Projects are those that any right of the actor reaches, sorted. Nil means
	// every project of the visible organizations.
	Projects []ID
	// Limited are permissions that hold for some projects only, with those,
	// sorted. A permission that is not in it holds for all of Projects.
	Limited map[string][]ID
	// All permissions, also ones added after the actor was made (system, root).
	Everything bool
}

// SystemID is the id of the actor behind timers, reactors and bootstrap.
var SystemID = WellKnownID(0x10)

// System is the actor for what Docket does by itself.
func System(tenant ID) Actor {
	return Actor{UserID: SystemID, Tenant: tenant, Unrestricted: true, Everything: true}
}

// May tells whether the actor holds a permission. The empty permission asks
// only for an actor.
func (a Actor) May(permission string) bool {
	return permission == "" || a.Everything || a.Permissions[permission]
}

// Sees tells whether an organization is visible to the actor.
func (a Actor) Sees(organization ID) bool {
	return a.Unrestricted || contains(a.Organizations, organization)
}

// SeesAny tells whether one of the organizations is visible. No organization at
// all means that the thing is not scoped.
func (a Actor) SeesAny(organizations []ID) bool {
	return len(organizations) == 0 || slices.ContainsFunc(organizations, a.Sees)
}

// SeesProject tells whether any right of the actor reaches a project.
func (a Actor) SeesProject(project ID) bool {
	return a.Projects == nil || contains(a.Projects, project)
}

// ProjectsFor are the projects that a permission reaches, sorted; limited is
// false when it reaches all.
func (a Actor) ProjectsFor(permission string) (projects []ID, limited bool) {
	if projects, limited = a.Limited[permission]; limited {
		return projects, true
	}
	return a.Projects, a.Projects != nil
}

// Covers tells whether a permission of the actor reaches a project. It does not
// tell whether the actor holds the permission.
func (a Actor) Covers(permission string, project ID) bool {
	projects, limited := a.ProjectsFor(permission)
	return !limited || contains(projects, project)
}

func contains(sorted []ID, id ID) bool {
	_, found := slices.BinarySearchFunc(sorted, id, CompareIDs)
	return found
}

// CompareIDs orders ids by their bytes.
func CompareIDs(a, b ID) int { return slices.Compare(a[:], b[:]) }

type actorKey struct{}

// WithActor puts the actor into a context.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf is the actor of a context. Without one, ok is false and the actor may
// do nothing.
func ActorOf(ctx context.Context) (a Actor, ok bool) {
	a, ok = ctx.Value(actorKey{}).(Actor)
	return a, ok
}
