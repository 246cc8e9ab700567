package directory

import (
	"fmt"
	"slices"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// Most entries of a list in one command.
const (
	MaxRoles         = 100 // Qlik's documents: roles of a group
	MaxOrganizations = 1_000
	MaxGroups        = 1_000
	MaxProjects      = 1_000
)

// verdict gathers what is wrong with a command: all broken rules, and rights
// that the actor would give without holding them.
type verdict struct {
	fault.Problems
	env    commands.Env
	denied *fault.Error
}

// deny records a right that the actor lacks.
func (v *verdict) deny(path, format string, args ...any) {
	if v.denied == nil {
		v.denied = fault.New(fault.Denied, "rights.exceeded", "nobody may give rights that they do not hold")
	}
	v.denied = v.denied.On(path, format, args...)
}

// Err is what to refuse the command with: broken rules first, since a request
// must make sense before its rights matter.
func (v *verdict) Err() error {
	if err := v.Problems.Err(); err != nil {
		return err
	}
	if v.denied != nil {
		return v.denied
	}
	return nil
}

// looked is the state of an aggregate that was looked at.
func looked[S domain.State[S]](env commands.Env, stream string) S {
	return commands.Lookup[S](env, stream)
}

// visible tells whether something exists for the actor.
func visible[S domain.State[S]](env commands.Env, s S) bool {
	return s.Exists() && env.Actor.SeesAny(s.Organizations())
}

// refs are references to aggregates of one kind. Lists longer than any command
// accepts are cut: Decide refuses them without looking.
func refs[S domain.State[S]](stream func(domain.ID) string, most int, ids []domain.ID) []commands.Ref {
	all := make([]commands.Ref, 0, min(len(ids), most))
	for _, id := range ids[:min(len(ids), most)] {
		all = append(all, commands.RefTo[S](stream(id)))
	}
	return all
}

func organizationRefs(ids ...domain.ID) []commands.Ref {
	return refs[directory.Organization](directory.OrganizationStream, MaxOrganizations, ids)
}

func roleRefs(ids []domain.ID) []commands.Ref {
	return refs[directory.Role](directory.RoleStream, MaxRoles, ids)
}

func groupRefs(ids []domain.ID) []commands.Ref {
	return refs[directory.Group](directory.GroupStream, MaxGroups, ids)
}

// named checks a list of references in a request: not too long, each there for
// the actor. It drops repetitions and keeps the order.
func named[S domain.State[S]](v *verdict, list string, stream func(domain.ID) string, most int, ids []domain.ID) []domain.ID {
	if len(ids) > most {
		v.Add(list, "must not hold more than %d entries", most)
		return nil
	}
	kept := make([]domain.ID, 0, len(ids))
	for i, id := range ids {
		v.Check(visible(v.env, looked[S](v.env, stream(id))), entry(list, i), "does not exist")
		if !slices.Contains(kept, id) {
			kept = append(kept, id)
		}
	}
	return kept
}

// entry is the path of an entry's id: "roles[1].id".
func entry(list string, i int) string { return fmt.Sprintf("%s[%d].id", list, i) }

// roles checks the roles that somebody is to have and returns what replaces
// the ones they have. Roles that the actor doesn't see stay. The had ones must
// have been looked at.
func (v *verdict) roles(had, wanted []domain.ID) []domain.ID {
	kept := named[directory.Role](v, "roles", directory.RoleStream, MaxRoles, wanted)
	for _, id := range kept {
		if slices.Contains(had, id) {
			continue // given by somebody else before
		}
		if right := exceeds(v.env.Actor, looked[directory.Role](v.env, directory.RoleStream(id))); right != "" {
			v.deny(entry("roles", slices.Index(wanted, id)), "gives the right %s, which you do not hold", right)
		}
	}
	for _, id := range live[directory.Role](v.env, directory.RoleStream, had) {
		if !visible(v.env, looked[directory.Role](v.env, directory.RoleStream(id))) && !slices.Contains(kept, id) {
			kept = append(kept, id)
		}
	}
	v.Check(len(kept) <= MaxRoles, "roles", "must not hold more than %d entries", MaxRoles)
	return kept
}

// live are those of the ids that were not deleted meanwhile.
func live[S domain.State[S]](env commands.Env, stream func(domain.ID) string, ids []domain.ID) []domain.ID {
	left := make([]domain.ID, 0, len(ids))
	for _, id := range ids {
		if looked[S](env, stream(id)).Exists() {
			left = append(left, id)
		}
	}
	return left
}

// exceeds names a right of a role that the actor does not hold, "" for none.
func exceeds(actor domain.Actor, r directory.Role) string {
	for _, p := range r.Permissions {
		if !actor.May(p) {
			return p
		}
		if directory.PerProject(p) && widerProjects(actor, p, r.AllProjects, r.Projects) {
			return p + " for other projects"
		}
	}
	return ""
}

// widerProjects tells whether projects reach beyond those for which an actor
// holds a permission.
func widerProjects(actor domain.Actor, permission string, all bool, projects []domain.ID) bool {
	if _, limited := actor.ProjectsFor(permission); actor.Everything || !limited {
		return false
	}
	return all || slices.ContainsFunc(projects, func(p domain.ID) bool { return !actor.Covers(permission, p) })
}

// joining checks that joining a group gives nobody more than the actor has. The
// group's roles must have been looked at.
func (v *verdict) joining(path string, g directory.Group) {
	for _, id := range g.Roles {
		r := looked[directory.Role](v.env, directory.RoleStream(id))
		if right := exceeds(v.env.Actor, r); r.Exists() && right != "" {
			v.deny(path, "gives the right %s, which you do not hold", right)
			return
		}
	}
}

// organization checks the organization that something new is to belong to.
// None means the one the actor works in.
func (v *verdict) organization(path string, id domain.ID) domain.ID {
	id = orTenant(v.env.Actor, id)
	v.Check(visible(v.env, looked[directory.Organization](v.env, directory.OrganizationStream(id))), path, "does not exist")
	return id
}

func orTenant(actor domain.Actor, id domain.ID) domain.ID {
	if id == (domain.ID{}) {
		return actor.Tenant
	}
	return id
}

// projectVisible tells whether a project exists for the actor.
func projectVisible(env commands.Env, id domain.ID) bool {
	return visible(env, looked[reporting.Project](env, reporting.ProjectStream(id))) && env.Actor.SeesProject(id)
}

// sameSet tells whether two lists without repetitions hold the same ids.
func sameSet(a, b []domain.ID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id domain.ID) bool { return !slices.Contains(b, id) })
}

// exists refuses to create what was there before, also if it was deleted: others
// may still refer to it by its id.
func exists(what string, id domain.ID) error {
	return fault.New(fault.Conflict, what+".exists", "%s %s exists already or did", what, id)
}

func system(what, name string) error {
	return fault.New(fault.Conflict, what+".system", "%s belongs to the system and stays as it is", name)
}

// Details describe a group, role or key.
type Details struct {
	Name        string
	Description string
}

func (d Details) check(v *verdict) Details {
	return Details{Name: rule.Name(&v.Problems, "name", d.Name), Description: rule.Description(&v.Problems, "description", d.Description)}
}
