package directory

import (
	"testing"

	"docket/commands/spec"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
)

func TestCreateRole(t *testing.T) {
	begin := given[directory.Role](t).As(clerk)
	created := directory.RoleCreated{ID: reader, Number: spec.Number, OrganizationID: sales, Name: "Reader", Description: "d", AllProjects: true, Projects: ids(),
		Permissions: []string{"tasks.view", "users.edit"}, Active: true, CreatedAt: spec.Now}
	cmd := CreateRole{ID: reader, Details: Details{" Reader ", "d"}, Active: true,
		Rights: Rights{Permissions: []string{"users.edit", "tasks.view", "users.edit"}, AllProjects: true, Projects: ids(id(9))}}
	begin.When(cmd).Then(created)
	begin.When(with(cmd, func(c *CreateRole) { c.Rights.AllProjects, c.Rights.Projects = false, ids(north, north) })).
		Then(with(created, func(e *directory.RoleCreated) { e.AllProjects, e.Projects = false, ids(north) }))
	begin.When(CreateRole{ID: reader, OrganizationID: lab, Details: Details{"", long}, Rights: Rights{Permissions: []string{"tasks.fly", "tasks.run"}, Projects: ids(north, south, gone)}}).
		ThenFault(fault.Invalid, "name", "description", "organizationId", "permissions.tasks.fly", "projects[1].id", "projects[2].id")
	begin.When(with(cmd, func(c *CreateRole) { c.Rights = Rights{Projects: many(1001)} })).ThenFault(fault.Invalid, "projects")
	begin.When(with(cmd, func(c *CreateRole) { c.Rights.Permissions = []string{"tasks.view", "tasks.run", "audit.view"} })).
		ThenFault(fault.Denied, "permissions.tasks.run", "permissions.audit.view")
	limited := clerk
	limited.Projects = ids(south)
	begin.As(limited).When(cmd).ThenFault(fault.Denied, "allProjects")
	begin.As(limited).When(with(cmd, func(c *CreateRole) { c.Rights = Rights{Projects: ids(north)} })).ThenFault(fault.Invalid, "projects[0].id")
	given[directory.Role](t, created).As(clerk).When(cmd).ThenFault(fault.Conflict)
}

func TestUpdateRole(t *testing.T) {
	was := with(role(reader, sales, "tasks.run", "tasks.view"), func(r *directory.RoleCreated) { r.AllProjects, r.Projects = false, ids(north, south, gone) })
	begin := given[directory.Role](t, was).As(clerk)
	same := UpdateRole{ID: reader, Details: Details{Name: "Role"}, Active: true, Rights: Rights{Permissions: []string{"tasks.view", "tasks.run"}, Projects: ids(north)}}
	begin.When(same).ThenNothing() // south is not the clerk's to take away, gone is gone
	begin.When(UpdateRole{ID: reader, Details: Details{"R", "d"}, Rights: Rights{Permissions: []string{"users.edit"}, AllProjects: true}}).Then(
		directory.RoleDetailsChanged{ID: reader, Name: "R", Description: "d", At: spec.Now},
		directory.RolePermissionsChanged{ID: reader, Permissions: []string{"users.edit"}, At: spec.Now},
		directory.RoleProjectsChanged{ID: reader, AllProjects: true, Projects: ids(), At: spec.Now},
		directory.RoleDeactivated{ID: reader, At: spec.Now})
	begin.When(with(same, func(c *UpdateRole) { c.Rights.Projects = nil })).
		Then(directory.RoleProjectsChanged{ID: reader, Projects: ids(south), At: spec.Now})
	begin.When(with(same, func(c *UpdateRole) { c.Rights.Permissions = []string{"tasks.run", "audit.view"} })).ThenFault(fault.Denied, "permissions.audit.view")
	begin.When(UpdateRole{ID: reader, Rights: Rights{Permissions: []string{"x"}, Projects: ids(gone)}}).ThenFault(fault.Invalid, "name", "permissions.x", "projects[0].id")

	off := directory.RoleDeactivated{ID: reader}
	given[directory.Role](t, was, off).As(clerk).When(same).ThenFault(fault.Denied, "permissions.tasks.run")
	given[directory.Role](t, was, off).When(with(same, func(c *UpdateRole) { c.Rights.Projects = ids(north, south) })).Then(directory.RoleActivated{ID: reader, At: spec.Now})
	limited := clerk
	limited.Projects = ids(north)
	begin.As(limited).When(with(same, func(c *UpdateRole) { c.Rights.AllProjects = true })).ThenFault(fault.Denied, "allProjects")
	given[directory.Role](t, with(was, func(r *directory.RoleCreated) { r.System = true })).When(same).ThenFault(fault.Conflict)
	given[directory.Role](t).When(same).ThenFault(fault.NotFound)
}

func TestDeleteRole(t *testing.T) {
	deleted := directory.RoleDeleted{ID: reader, DeletedAt: spec.Now}
	given[directory.Role](t, role(reader, sales)).As(clerk).When(DeleteRole{reader}).Then(deleted)
	given[directory.Role](t, role(reader, sales), deleted).When(DeleteRole{reader}).ThenFault(fault.NotFound)
	given[directory.Role](t).When(DeleteRole{reader}).ThenFault(fault.NotFound)
	given[directory.Role](t, with(role(reader, sales), func(r *directory.RoleCreated) { r.System = true })).When(DeleteRole{reader}).ThenFault(fault.Conflict)
}

// TestMostProjects: a thousand are fine, also together with those not seen.
func TestMostProjects(t *testing.T) {
	was := with(role(reader, sales), func(r *directory.RoleCreated) { r.AllProjects, r.Projects = false, ids(south) })
	projects := make(map[string]any)
	for _, p := range many(MaxProjects + 1) {
		projects[reporting.ProjectStream(p)] = reporting.Project{}.Apply(reporting.ProjectPublished{ID: p, OrganizationID: sales, Name: "P", Reports: []reporting.Report{}})
	}
	begin := given[directory.Role](t, was).Refs(projects).As(clerk)
	limit := func(n int) UpdateRole {
		return UpdateRole{ID: reader, Details: Details{Name: "Role"}, Active: true, Rights: Rights{Projects: many(n)}}
	}
	begin.When(limit(MaxProjects - 1)).Then(directory.RoleProjectsChanged{ID: reader, Projects: append(many(MaxProjects-1), south), At: spec.Now})
	begin.When(limit(MaxProjects)).ThenFault(fault.Invalid, "projects")
	begin.When(limit(MaxProjects+1)).ThenFault(fault.Invalid, "projects")
}
