package directory

import (
	"testing"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

func TestCreateGroup(t *testing.T) {
	begin := given[directory.Group](t).As(clerk)
	cmd := CreateGroup{ID: staff, OrganizationID: sales, Details: Details{" Staff ", "all of\nus"}, Active: true, Roles: ids(reader, reader)}
	created := directory.GroupCreated{ID: staff, Number: spec.Number, OrganizationID: sales, Name: "Staff", Description: "all of\nus", Active: true,
		Roles: ids(reader), CreatedAt: spec.Now}
	begin.When(cmd).Then(created)
	begin.When(with(cmd, func(c *CreateGroup) { c.OrganizationID = domain.ID{} })).Then(created)
	begin.When(CreateGroup{ID: staff, Details: Details{Name: "Bare"}}).Then(
		directory.GroupCreated{ID: staff, Number: spec.Number, OrganizationID: sales, Name: "Bare", Roles: ids(), CreatedAt: spec.Now})

	begin.When(CreateGroup{ID: staff, OrganizationID: lab, Details: Details{" ", long}, Roles: ids(reader, labRole, id(9))}).
		ThenFault(fault.Invalid, "name", "description", "organizationId", "roles[1].id", "roles[2].id")
	begin.When(with(cmd, func(c *CreateGroup) { c.OrganizationID = gone })).ThenFault(fault.Invalid, "organizationId")
	begin.When(with(cmd, func(c *CreateGroup) { c.Roles = many(101) })).ThenFault(fault.Invalid, "roles")
	begin.When(with(cmd, func(c *CreateGroup) { c.Roles = ids(reader, boss) })).ThenFault(fault.Denied, "roles[1].id")
	given[directory.Group](t, group(staff, sales)).As(clerk).When(cmd).ThenFault(fault.Conflict)
	given[directory.Group](t, group(staff, sales), directory.GroupDeleted{ID: staff}).As(clerk).When(cmd).ThenFault(fault.Conflict)
}

func TestUpdateGroup(t *testing.T) {
	begin := given[directory.Group](t, group(staff, sales, reader)).As(clerk)
	same := UpdateGroup{ID: staff, OrganizationID: sales, Details: Details{"Group", "d"}, Active: ptr(true)}
	renamed := directory.GroupDetailsChanged{ID: staff, Name: "Team", ChangedAt: spec.Now}
	begin.When(same).ThenNothing()
	begin.When(UpdateGroup{ID: staff, Details: Details{"Team", ""}}).Then(renamed)
	begin.When(UpdateGroup{ID: staff, Details: Details{"Team", ""}, Active: ptr(false)}).Then(renamed, directory.GroupDeactivated{ID: staff, At: spec.Now})
	begin.When(UpdateGroup{ID: staff, OrganizationID: lab, Details: Details{"", long}}).ThenFault(fault.Invalid, "name", "description", "organizationId")

	off := directory.GroupDeactivated{ID: staff, At: before}
	given[directory.Group](t, group(staff, sales, reader), off).As(clerk).When(same).Then(directory.GroupActivated{ID: staff, At: spec.Now})
	given[directory.Group](t, group(staff, sales, boss), off).As(clerk).When(same).ThenFault(fault.Denied, "isActive")
	given[directory.Group](t).As(clerk).When(same).ThenFault(fault.NotFound)
	given[directory.Group](t).As(clerk).When(UpdateGroup{ID: directory.EveryoneID}).ThenFault(fault.Conflict)
}

func TestSetGroupRoles(t *testing.T) {
	begin := given[directory.Group](t, group(staff, sales, reader, boss)).As(clerk)
	set := func(roles ...domain.ID) SetGroupRoles { return SetGroupRoles{ID: staff, Roles: roles} }
	changed := func(roles ...domain.ID) directory.GroupRolesChanged {
		return directory.GroupRolesChanged{ID: staff, Roles: ids(roles...), At: spec.Now}
	}
	begin.When(set(boss, reader, boss)).ThenNothing()
	begin.When(set(boss)).Then(changed(boss)) // given before: not the clerk's gift
	begin.When(set()).Then(changed())
	begin.When(set(id(9), labRole)).ThenFault(fault.Invalid, "roles[0].id", "roles[1].id")
	given[directory.Group](t, group(staff, sales)).As(clerk).When(set(boss)).ThenFault(fault.Denied, "roles[0].id")
	// A role of an organization that the clerk doesn't see stays, a deleted one needs no event.
	given[directory.Group](t, group(staff, sales, labRole)).As(clerk).When(set(reader)).Then(changed(reader, labRole))
	given[directory.Group](t, group(staff, sales, reader, id(9))).As(clerk).When(set(reader)).ThenNothing()
	given[directory.Group](t, group(staff, sales)).When(set(boss, labRole)).Then(changed(boss, labRole))
	given[directory.Group](t).When(set()).ThenFault(fault.NotFound)
	given[directory.Group](t).When(SetGroupRoles{ID: directory.EveryoneID}).ThenFault(fault.Conflict)
}

func TestRightsLimitedToProjects(t *testing.T) {
	limited := clerk
	limited.Projects = ids(north)
	begin := given[directory.Group](t, group(staff, sales)).As(limited)
	begin.When(SetGroupRoles{ID: staff, Roles: ids(reader)}).ThenFault(fault.Denied, "roles[0].id")
	narrow := directory.Role{}.Apply(with(role(reader, sales, "tasks.view"), func(r *directory.RoleCreated) { r.AllProjects, r.Projects = false, ids(north) }))
	begin.Ref(directory.RoleStream(reader), narrow).When(SetGroupRoles{ID: staff, Roles: ids(reader)}).
		Then(directory.GroupRolesChanged{ID: staff, Roles: ids(reader), At: spec.Now})
	people := directory.Role{}.Apply(role(reader, sales, "users.edit"))
	begin.Ref(directory.RoleStream(reader), people).When(SetGroupRoles{ID: staff, Roles: ids(reader)}).
		Then(directory.GroupRolesChanged{ID: staff, Roles: ids(reader), At: spec.Now})
}

func TestDeleteGroup(t *testing.T) {
	deleted := directory.GroupDeleted{ID: staff, DeletedAt: spec.Now}
	given[directory.Group](t, group(staff, sales)).As(clerk).When(DeleteGroup{staff}).Then(deleted)
	given[directory.Group](t, group(staff, sales), deleted).As(clerk).When(DeleteGroup{staff}).ThenFault(fault.NotFound)
	given[directory.Group](t).As(clerk).When(DeleteGroup{staff}).ThenFault(fault.NotFound)
	given[directory.Group](t).When(DeleteGroup{directory.EveryoneID}).ThenFault(fault.Conflict)
}

func TestChangeGroupSettings(t *testing.T) {
	begin := given[directory.GroupSettings](t).As(clerk)
	on := directory.GroupSettingsChanged{OrganizationID: sales, AutoCreateGroups: true, At: spec.Now}
	roles := directory.EveryoneRolesChanged{OrganizationID: sales, Roles: ids(reader), At: spec.Now}
	begin.When(ChangeGroupSettings{OrganizationID: sales}).ThenNothing()
	begin.When(ChangeGroupSettings{OrganizationID: sales, AutoCreateGroups: ptr(false), SyncIdpGroups: ptr(false), EveryoneRoles: ptr(ids())}).ThenNothing()
	begin.When(ChangeGroupSettings{OrganizationID: sales, AutoCreateGroups: ptr(true), EveryoneRoles: ptr(ids(reader))}).Then(on, roles)
	begin.When(ChangeGroupSettings{OrganizationID: sales, EveryoneRoles: ptr(ids(reader, id(9)))}).ThenFault(fault.Invalid, "roles[1].id")
	begin.When(ChangeGroupSettings{OrganizationID: sales, EveryoneRoles: ptr(ids(boss))}).ThenFault(fault.Denied, "roles[0].id")
	begin.When(ChangeGroupSettings{OrganizationID: lab, AutoCreateGroups: ptr(true)}).ThenFault(fault.NotFound)
	begin.When(ChangeGroupSettings{OrganizationID: gone, AutoCreateGroups: ptr(true)}).ThenFault(fault.NotFound)

	after := given[directory.GroupSettings](t, on, roles).As(clerk)
	after.When(ChangeGroupSettings{OrganizationID: sales, AutoCreateGroups: ptr(true), EveryoneRoles: ptr(ids(reader))}).ThenNothing()
	after.When(ChangeGroupSettings{OrganizationID: sales, SyncIdpGroups: ptr(true), EveryoneRoles: ptr(ids())}).Then(
		directory.GroupSettingsChanged{OrganizationID: sales, AutoCreateGroups: true, SyncIdpGroups: true, At: spec.Now},
		directory.EveryoneRolesChanged{OrganizationID: sales, Roles: ids(), At: spec.Now})
}

// TestMostRoles: a hundred are fine, also together with those that are not seen.
func TestMostRoles(t *testing.T) {
	roles := make(map[string]any)
	for _, r := range many(MaxRoles + 1) {
		roles[directory.RoleStream(r)] = directory.Role{}.Apply(role(r, sales, "tasks.view"))
	}
	begin := given[directory.Group](t, group(staff, sales, labRole)).Refs(roles).As(clerk)
	begin.When(SetGroupRoles{staff, many(MaxRoles - 1)}).Then(directory.GroupRolesChanged{ID: staff, Roles: append(many(MaxRoles-1), labRole), At: spec.Now})
	begin.As(domain.System(sales)).When(SetGroupRoles{staff, many(MaxRoles)}).Then(directory.GroupRolesChanged{ID: staff, Roles: many(MaxRoles), At: spec.Now})
	begin.When(SetGroupRoles{staff, many(MaxRoles)}).ThenFault(fault.Invalid, "roles")
	begin.When(SetGroupRoles{staff, many(MaxRoles + 1)}).ThenFault(fault.Invalid, "roles")
}
