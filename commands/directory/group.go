package directory

import (
	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// CreateGroup adds a group. Problems are named name, description,
// organizationId, roles[i].id, source, externalId.
type CreateGroup struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	Details        Details
	Active         bool
	Roles          []domain.ID
	Source         string // user directory the group came from, "" for none
	ExternalID     string // textual id there or in another system, "" for none
}

func (c CreateGroup) Name() string         { return "directory.create-group" }
func (c CreateGroup) Stream() string       { return directory.GroupStream(c.ID) }
func (c CreateGroup) Permission() string   { return "groups.create" }
func (c CreateGroup) NumberKind() string   { return "group" }
func (c CreateGroup) Refs() []commands.Ref { return roleRefs(c.Roles) }

// Explore implements commands.Exploring: the organization may be the actor's.
func (c CreateGroup) Explore(_ directory.Group, env commands.Env) []commands.Ref {
	return organizationRefs(orTenant(env.Actor, c.OrganizationID))
}

// Decide implements commands.Command.
func (c CreateGroup) Decide(g directory.Group, env commands.Env) ([]domain.Event, error) {
	if g.ID != (domain.ID{}) {
		return nil, exists("group", c.ID)
	}
	v := &verdict{env: env}
	details := c.Details.check(v)
	organization := v.organization("organizationId", c.OrganizationID)
	roles := v.roles(nil, c.Roles)
	linked := v.link(c.ID, c.Source, c.ExternalID)
	if err := v.Err(); err != nil {
		return nil, err
	}
	events := []domain.Event{directory.GroupCreated{
		ID: c.ID, Number: env.Number, OrganizationID: organization, Name: details.Name, Description: details.Description,
		Active: c.Active, Roles: roles, CreatedAt: env.Now,
	}}
	if linked.Source != "" || linked.ExternalID != "" {
		events = append(events, linked)
	}
	return events, nil
}

// maxExternalID is the length of a group's textual id, which may be a
// distinguished name, in code points.
const maxExternalID = 600

// link checks what a group is to another system.
func (v *verdict) link(id domain.ID, source, externalID string) directory.GroupLinked {
	return directory.GroupLinked{ID: id, Source: rule.Line(&v.Problems, "source", source, rule.MaxName),
		ExternalID: rule.Line(&v.Problems, "externalId", externalID, maxExternalID), At: v.env.Now}
}

// LinkGroup says what a group is to another system, in place of what was said
// before. Problems: source, externalId.
type LinkGroup struct {
	ID         domain.ID
	Source     string // "" for a group that was made here
	ExternalID string // "" for none
}

func (c LinkGroup) Name() string       { return "directory.link-group" }
func (c LinkGroup) Stream() string     { return directory.GroupStream(c.ID) }
func (c LinkGroup) Permission() string { return "groups.edit" }

// Decide implements commands.Command.
func (c LinkGroup) Decide(g directory.Group, env commands.Env) ([]domain.Event, error) {
	if err := groupStays(c.ID, g); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	linked := v.link(c.ID, c.Source, c.ExternalID)
	if err := v.Err(); err != nil {
		return nil, err
	}
	if linked.Source == g.Source && linked.ExternalID == g.ExternalID {
		return nil, nil
	}
	return []domain.Event{linked}, nil
}

// UpdateGroup changes what describes a group. A group can't move to another
// organization. Problems: name, description, organizationId.
type UpdateGroup struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: not said
	Details        Details
	Active         *bool // nil: as it is
}

func (c UpdateGroup) Name() string       { return "directory.update-group" }
func (c UpdateGroup) Stream() string     { return directory.GroupStream(c.ID) }
func (c UpdateGroup) Permission() string { return "groups.edit" }

// Explore implements commands.Exploring: who activates a group gives its
// members the group's roles.
func (c UpdateGroup) Explore(g directory.Group, _ commands.Env) []commands.Ref {
	return roleRefs(g.Roles)
}

// Decide implements commands.Command.
func (c UpdateGroup) Decide(g directory.Group, env commands.Env) ([]domain.Event, error) {
	if err := groupStays(c.ID, g); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	details := c.Details.check(v)
	v.Check(c.OrganizationID == domain.ID{} || c.OrganizationID == g.OrganizationID, "organizationId", "can't change: a group stays in its organization")
	toggled := c.Active != nil && *c.Active != g.Active
	if toggled && *c.Active {
		v.joining("isActive", g)
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	var events []domain.Event
	if details != (Details{g.Name, g.Description}) {
		events = append(events, directory.GroupDetailsChanged{ID: c.ID, Name: details.Name, Description: details.Description, ChangedAt: env.Now})
	}
	switch {
	case toggled && *c.Active:
		events = append(events, directory.GroupActivated{ID: c.ID, At: env.Now})
	case toggled:
		events = append(events, directory.GroupDeactivated{ID: c.ID, At: env.Now})
	}
	return events, nil
}

// SetGroupRoles replaces the roles of a group's members. Roles that the actor
// doesn't see stay. Problems: roles, roles[i].id.
type SetGroupRoles struct {
	ID    domain.ID
	Roles []domain.ID
}

func (c SetGroupRoles) Name() string         { return "directory.set-group-roles" }
func (c SetGroupRoles) Stream() string       { return directory.GroupStream(c.ID) }
func (c SetGroupRoles) Permission() string   { return "groups.edit" }
func (c SetGroupRoles) Refs() []commands.Ref { return roleRefs(c.Roles) }

// Explore implements commands.Exploring.
func (c SetGroupRoles) Explore(g directory.Group, _ commands.Env) []commands.Ref {
	return roleRefs(g.Roles)
}

// Decide implements commands.Command.
func (c SetGroupRoles) Decide(g directory.Group, env commands.Env) ([]domain.Event, error) {
	if err := groupStays(c.ID, g); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	roles := v.roles(g.Roles, c.Roles)
	if err := v.Err(); err != nil {
		return nil, err
	}
	if sameSet(roles, live[directory.Role](env, directory.RoleStream, g.Roles)) {
		return nil, nil
	}
	return []domain.Event{directory.GroupRolesChanged{ID: c.ID, Roles: roles, At: env.Now}}, nil
}

// DeleteGroup ends a group.
type DeleteGroup struct{ ID domain.ID }

func (c DeleteGroup) Name() string       { return "directory.delete-group" }
func (c DeleteGroup) Stream() string     { return directory.GroupStream(c.ID) }
func (c DeleteGroup) Permission() string { return "groups.delete" }

// Decide implements commands.Command.
func (c DeleteGroup) Decide(g directory.Group, env commands.Env) ([]domain.Event, error) {
	if err := groupStays(c.ID, g); err != nil {
		return nil, err
	}
	return []domain.Event{directory.GroupDeleted{ID: c.ID, DeletedAt: env.Now}}, nil
}

// groupStays refuses to change the group of everybody and groups that are not there.
func groupStays(id domain.ID, g directory.Group) error {
	if id == directory.EveryoneID {
		return system("group", "Everyone")
	}
	if !g.Exists() {
		return fault.Missing("group", id)
	}
	return nil
}
