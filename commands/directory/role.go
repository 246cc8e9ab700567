package directory

import (
	"slices"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// Rights are what a role gives. Problems are named permissions.<key>,
// allProjects, projects, projects[i].id.
type Rights struct {
	Permissions []string // keys of the catalogue
	AllProjects bool
	Projects    []domain.ID // when not all
}

func (r Rights) refs() []commands.Ref {
	if r.AllProjects {
		return nil
	}
	return projectRefs(r.Projects)
}

func projectRefs(ids []domain.ID) []commands.Ref {
	return refs[reporting.Project](reporting.ProjectStream, MaxProjects, ids)
}

// check returns the rights in their normal form: keys sorted, nothing twice.
// Only what the role does not give yet counts as given by the actor.
func (r Rights) check(v *verdict, was directory.Role, activated bool) Rights {
	is := Rights{Permissions: []string{}, AllProjects: r.AllProjects, Projects: []domain.ID{}}
	for _, key := range r.Permissions {
		if slices.Contains(is.Permissions, key) {
			continue
		}
		is.Permissions = append(is.Permissions, key)
		gives := activated || !slices.Contains(was.Permissions, key)
		if !directory.KnownPermission(key) {
			v.Add("permissions."+key, "is no permission")
		} else if gives && !v.env.Actor.May(key) {
			v.deny("permissions."+key, "you do not hold it yourself")
		}
	}
	slices.Sort(is.Permissions)
	if r.AllProjects {
		for _, key := range is.Permissions {
			given := activated || !was.AllProjects || !slices.Contains(was.Permissions, key)
			if given && directory.PerProject(key) && widerProjects(v.env.Actor, key, true, nil) {
				v.deny("allProjects", "your own right %s is limited to some projects", key)
				break
			}
		}
		return is
	}
	is = r.limited(v, is, was)
	v.reach(is, was, activated)
	return is
}

// reach checks that nobody gives a right for a project for which they do not
// hold it.
func (v *verdict) reach(is Rights, was directory.Role, activated bool) {
	for _, key := range is.Permissions {
		for _, id := range is.Projects {
			given := activated || !slices.Contains(was.Permissions, key) || !was.AllProjects && !slices.Contains(was.Projects, id)
			if given && directory.PerProject(key) && !v.env.Actor.Everything && !v.env.Actor.Covers(key, id) {
				v.deny("projects", "your own right %s does not reach project %s", key, id)
				return
			}
		}
	}
}

// limited checks the projects that rights are limited to.
func (r Rights) limited(v *verdict, is Rights, was directory.Role) Rights {
	if len(r.Projects) > MaxProjects {
		v.Add("projects", "must not hold more than %d entries", MaxProjects)
		return is
	}
	for i, id := range r.Projects {
		v.Check(projectVisible(v.env, id), entry("projects", i), "does not exist")
		if !slices.Contains(is.Projects, id) {
			is.Projects = append(is.Projects, id)
		}
	}
	for _, id := range was.Projects {
		there := looked[reporting.Project](v.env, reporting.ProjectStream(id)).Exists()
		if there && !projectVisible(v.env, id) && !slices.Contains(is.Projects, id) {
			is.Projects = append(is.Projects, id) // not the actor's to take away
		}
	}
	v.Check(len(is.Projects) <= MaxProjects, "projects", "must not hold more than %d entries", MaxProjects)
	return is
}

// CreateRole adds a role. Problems: name, description, organizationId and those
// of Rights.
type CreateRole struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	Details        Details
	Rights         Rights
	Active         bool
}

func (c CreateRole) Name() string         { return "directory.create-role" }
func (c CreateRole) Stream() string       { return directory.RoleStream(c.ID) }
func (c CreateRole) Permission() string   { return "roles.create" }
func (c CreateRole) NumberKind() string   { return "role" }
func (c CreateRole) Refs() []commands.Ref { return c.Rights.refs() }

// Explore implements commands.Exploring: the organization may be the actor's.
func (c CreateRole) Explore(_ directory.Role, env commands.Env) []commands.Ref {
	return organizationRefs(orTenant(env.Actor, c.OrganizationID))
}

// Decide implements commands.Command.
func (c CreateRole) Decide(r directory.Role, env commands.Env) ([]domain.Event, error) {
	if r.ID != (domain.ID{}) {
		return nil, exists("role", c.ID)
	}
	v := &verdict{env: env}
	details := c.Details.check(v)
	organization := v.organization("organizationId", c.OrganizationID)
	rights := c.Rights.check(v, directory.Role{}, false)
	if err := v.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{directory.RoleCreated{
		ID: c.ID, Number: env.Number, OrganizationID: organization, Name: details.Name, Description: details.Description,
		AllProjects: rights.AllProjects, Projects: rights.Projects, Permissions: rights.Permissions, Active: c.Active, CreatedAt: env.Now,
	}}, nil
}

// UpdateRole makes a role what the command says; only what differs is recorded.
// Problems: name, description and those of Rights.
type UpdateRole struct {
	ID      domain.ID
	Details Details
	Rights  Rights
	Active  bool
}

func (c UpdateRole) Name() string         { return "directory.update-role" }
func (c UpdateRole) Stream() string       { return directory.RoleStream(c.ID) }
func (c UpdateRole) Permission() string   { return "roles.edit" }
func (c UpdateRole) Refs() []commands.Ref { return c.Rights.refs() }

// Explore implements commands.Exploring.
func (c UpdateRole) Explore(r directory.Role, _ commands.Env) []commands.Ref {
	return projectRefs(r.Projects)
}

// Decide implements commands.Command.
func (c UpdateRole) Decide(r directory.Role, env commands.Env) ([]domain.Event, error) {
	if err := roleStays(c.ID, r); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	details := c.Details.check(v)
	rights := c.Rights.check(v, r, c.Active && !r.Active)
	if err := v.Err(); err != nil {
		return nil, err
	}
	var events []domain.Event
	if details != (Details{r.Name, r.Description}) {
		events = append(events, directory.RoleDetailsChanged{ID: c.ID, Name: details.Name, Description: details.Description, At: env.Now})
	}
	if !slices.Equal(rights.Permissions, r.Permissions) {
		events = append(events, directory.RolePermissionsChanged{ID: c.ID, Permissions: rights.Permissions, At: env.Now})
	}
	if rights.AllProjects != r.AllProjects || !sameSet(rights.Projects, live[reporting.Project](env, reporting.ProjectStream, r.Projects)) {
		events = append(events, directory.RoleProjectsChanged{ID: c.ID, AllProjects: rights.AllProjects, Projects: rights.Projects, At: env.Now})
	}
	switch {
	case c.Active && !r.Active:
		events = append(events, directory.RoleActivated{ID: c.ID, At: env.Now})
	case !c.Active && r.Active:
		events = append(events, directory.RoleDeactivated{ID: c.ID, At: env.Now})
	}
	return events, nil
}

// DeleteRole ends a role; who held it holds it no longer.
type DeleteRole struct{ ID domain.ID }

func (c DeleteRole) Name() string       { return "directory.delete-role" }
func (c DeleteRole) Stream() string     { return directory.RoleStream(c.ID) }
func (c DeleteRole) Permission() string { return "roles.delete" }

// Decide implements commands.Command.
func (c DeleteRole) Decide(r directory.Role, env commands.Env) ([]domain.Event, error) {
	if err := roleStays(c.ID, r); err != nil {
		return nil, err
	}
	return []domain.Event{directory.RoleDeleted{ID: c.ID, DeletedAt: env.Now}}, nil
}

// roleStays refuses to change system roles and roles that are not there.
func roleStays(id domain.ID, r directory.Role) error {
	if !r.Exists() {
		return fault.Missing("role", id)
	}
	if r.System {
		return system("role", r.Name)
	}
	return nil
}
