package reporting

import (
	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// bySystem is the permission of what reactors do; no API does it, and Decide
// refuses everybody else.
const bySystem = "operations.edit"

func systemOnly(env commands.Env) error {
	if env.Actor.UserID != domain.SystemID {
		return fault.New(fault.Denied, "denied", "only the system does this")
	}
	return nil
}

// EndOrphanedTask ends a task whose project was deleted. It does nothing to a
// task that has ended or whose project is there.
type EndOrphanedTask struct{ ID domain.ID }

func (c EndOrphanedTask) Name() string       { return "reporting.end-orphaned-task" }
func (c EndOrphanedTask) Stream() string     { return reporting.TaskStream(c.ID) }
func (c EndOrphanedTask) Permission() string { return bySystem }

// Explore implements commands.Exploring.
func (c EndOrphanedTask) Explore(t reporting.Task, _ commands.Env) []commands.Ref {
	return exploreProject(t)
}

// Decide implements commands.Command.
func (c EndOrphanedTask) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := systemOnly(env); err != nil {
		return nil, err
	}
	if !t.Exists() || commands.Lookup[reporting.Project](env, reporting.ProjectStream(t.ProjectID)).Exists() {
		return nil, nil
	}
	return []domain.Event{reporting.TaskDeleted{ID: c.ID, ProjectID: t.ProjectID, DeletedAt: env.Now}}, nil
}

// RemoveGoneRecipient takes a recipient from a task whose user or group was
// deleted. It does nothing to a task that has ended or doesn't have the
// recipient, or when the user or group is there.
type RemoveGoneRecipient struct {
	TaskID      domain.ID
	RecipientID domain.ID
	Type        string
}

func (c RemoveGoneRecipient) Name() string       { return "reporting.remove-gone-recipient" }
func (c RemoveGoneRecipient) Stream() string     { return reporting.TaskStream(c.TaskID) }
func (c RemoveGoneRecipient) Permission() string { return bySystem }

// Refs implements commands.Referring.
func (c RemoveGoneRecipient) Refs() []commands.Ref {
	if c.Type == reporting.RecipientGroup {
		return []commands.Ref{commands.RefTo[directory.Group](directory.GroupStream(c.RecipientID))}
	}
	return []commands.Ref{commands.RefTo[directory.User](directory.UserStream(c.RecipientID))}
}

// Decide implements commands.Command.
func (c RemoveGoneRecipient) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := systemOnly(env); err != nil {
		return nil, err
	}
	i := t.Find(reporting.Recipient{ID: c.RecipientID, Type: c.Type})
	if !t.Exists() || i < 0 || c.there(env) {
		return nil, nil
	}
	return []domain.Event{reporting.TaskRecipientsRemoved{TaskID: c.TaskID, Recipients: []reporting.Recipient{t.Recipients[i]}, At: env.Now}}, nil
}

func (c RemoveGoneRecipient) there(env commands.Env) bool {
	if c.Type == reporting.RecipientGroup {
		return commands.Lookup[directory.Group](env, directory.GroupStream(c.RecipientID)).Exists()
	}
	return commands.Lookup[directory.User](env, directory.UserStream(c.RecipientID)).Exists()
}
