package directory

import (
	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// ChangeGroupSettings changes how an organization treats groups, and the roles
// that everybody in it has. Nil leaves things as they are. Problems: roles,
// roles[i].id.
type ChangeGroupSettings struct {
	OrganizationID   domain.ID
	AutoCreateGroups *bool
	SyncIdpGroups    *bool
	EveryoneRoles    *[]domain.ID
}

func (c ChangeGroupSettings) Name() string       { return "directory.change-group-settings" }
func (c ChangeGroupSettings) Stream() string     { return directory.GroupSettingsStream(c.OrganizationID) }
func (c ChangeGroupSettings) Permission() string { return "groups.edit" }

// Refs implements commands.Referring.
func (c ChangeGroupSettings) Refs() []commands.Ref {
	all := organizationRefs(c.OrganizationID)
	if c.EveryoneRoles != nil {
		all = append(all, roleRefs(*c.EveryoneRoles)...)
	}
	return all
}

// Explore implements commands.Exploring.
func (c ChangeGroupSettings) Explore(s directory.GroupSettings, _ commands.Env) []commands.Ref {
	return roleRefs(s.EveryoneRoles)
}

// Decide implements commands.Command.
func (c ChangeGroupSettings) Decide(s directory.GroupSettings, env commands.Env) ([]domain.Event, error) {
	if !visible(env, looked[directory.Organization](env, directory.OrganizationStream(c.OrganizationID))) {
		return nil, fault.Missing("organization", c.OrganizationID)
	}
	var events []domain.Event
	auto, sync := or(c.AutoCreateGroups, s.AutoCreateGroups), or(c.SyncIdpGroups, s.SyncIdpGroups)
	if auto != s.AutoCreateGroups || sync != s.SyncIdpGroups {
		events = append(events, directory.GroupSettingsChanged{OrganizationID: c.OrganizationID, AutoCreateGroups: auto, SyncIdpGroups: sync, At: env.Now})
	}
	if c.EveryoneRoles == nil {
		return events, nil
	}
	v := &verdict{env: env}
	roles := v.roles(s.EveryoneRoles, *c.EveryoneRoles)
	if err := v.Err(); err != nil {
		return nil, err
	}
	if !sameSet(roles, live[directory.Role](env, directory.RoleStream, s.EveryoneRoles)) {
		events = append(events, directory.EveryoneRolesChanged{OrganizationID: c.OrganizationID, Roles: roles, At: env.Now})
	}
	return events, nil
}

// or is the value behind p, or what there is without one.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
