// Package reporting holds the commands on projects, tasks and what tasks send
// to whom.
//
// An actor whose rights are limited to some projects doesn't see the others:
// they and their tasks do not exist. All problems of a command are named at
// once, under the field names of Qalyptus' documents.
package reporting

import (
	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// Register makes the aggregates of reporting known to a bus.
func Register(b *commands.Bus) {
	commands.Register[reporting.Project](b, "project")
	commands.Register[reporting.Task](b, "task")
}

// Permissions tells which permission each command needs, by its name.
func Permissions() map[string]string {
	all := make(map[string]string)
	for _, c := range []interface {
		Name() string
		Permission() string
	}{
		PublishProject{}, DeleteProject{},
		CreateTask{}, UpdateTask{}, ActivateTask{}, DuplicateTask{}, DeleteTask{},
		AddRecipients{}, UpdateRecipient{}, RemoveRecipients{},
		EndOrphanedTask{}, RemoveGoneRecipient{},
	} {
		all[c.Name()] = c.Permission()
	}
	return all
}

// visible tells whether something exists for the actor.
func visible[S domain.State[S]](env commands.Env, s S) bool {
	return s.Exists() && env.Actor.SeesAny(s.Organizations())
}

func projectRef(id domain.ID) commands.Ref {
	return commands.RefTo[reporting.Project](reporting.ProjectStream(id))
}

// projectOf is a project that was looked at, and whether it exists for the actor.
func projectOf(env commands.Env, id domain.ID) (reporting.Project, bool) {
	p := commands.Lookup[reporting.Project](env, reporting.ProjectStream(id))
	return p, visible(env, p) && env.Actor.SeesProject(id)
}

// covered refuses a permission that does not reach a project the actor sees.
func covered(env commands.Env, permission string, project domain.ID) error {
	if env.Actor.Covers(permission, project) {
		return nil
	}
	return fault.New(fault.Denied, "project.denied", "the permission %s does not reach this project", permission)
}

// taskThere refuses tasks that don't exist for the actor: a task ends with its
// project, which must have been looked at (by exploreProject).
func taskThere(permission string, id domain.ID, t reporting.Task, env commands.Env) error {
	if t.Exists() {
		if _, there := projectOf(env, t.ProjectID); there {
			return covered(env, permission, t.ProjectID)
		}
	}
	return fault.Missing("task", id)
}

// exploreProject names the project of a task.
func exploreProject(t reporting.Task) []commands.Ref {
	if !t.Exists() {
		return nil
	}
	return []commands.Ref{projectRef(t.ProjectID)}
}
