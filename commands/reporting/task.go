package reporting

import (
	"fmt"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// CreateTask adds a task to a project, owned by the actor. It is inactive at
// first. Problems: name, description, projectId.
type CreateTask struct {
	ID        domain.ID
	ProjectID domain.ID
	Details   Details
}

func (c CreateTask) Name() string         { return "reporting.create-task" }
func (c CreateTask) Stream() string       { return reporting.TaskStream(c.ID) }
func (c CreateTask) Permission() string   { return "tasks.create" }
func (c CreateTask) Refs() []commands.Ref { return []commands.Ref{projectRef(c.ProjectID)} }

// Decide implements commands.Command.
func (c CreateTask) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if t.ID != (domain.ID{}) {
		return nil, taskExists(c.ID)
	}
	var problems fault.Problems
	details := c.Details.check(&problems)
	project, there := projectOf(env, c.ProjectID)
	problems.Check(there, "projectId", "does not exist")
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if err := covered(env, c.Permission(), c.ProjectID); err != nil {
		return nil, err
	}
	return []domain.Event{reporting.TaskCreated{
		ID: c.ID, ProjectID: c.ProjectID, OrganizationID: project.OrganizationID, OwnerID: env.Actor.UserID,
		Name: details.Name, Description: details.Description, CreatedAt: env.Now,
	}}, nil
}

func taskExists(id domain.ID) error {
	return fault.New(fault.Conflict, "task.exists", "task %s exists already or did", id)
}

// UpdateTask makes a task what the command says; only what differs is recorded.
// Problems: name, description, notificationRecipients, notificationCc,
// notificationBcc, testModeRecipients.
type UpdateTask struct {
	ID             domain.ID
	Details        Details
	Active         bool
	Notifications  reporting.Notifications
	TestMode       bool
	TestRecipients string // mail addresses; needed in test mode
}

func (c UpdateTask) Name() string       { return "reporting.update-task" }
func (c UpdateTask) Stream() string     { return reporting.TaskStream(c.ID) }
func (c UpdateTask) Permission() string { return "tasks.edit" }

// Explore implements commands.Exploring.
func (c UpdateTask) Explore(t reporting.Task, _ commands.Env) []commands.Ref {
	return exploreProject(t)
}

// Decide implements commands.Command.
func (c UpdateTask) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := taskThere(c.Permission(), c.ID, t, env); err != nil {
		return nil, err
	}
	var problems fault.Problems
	details := c.Details.check(&problems)
	notify := c.Notifications
	notify.Recipients = rule.Addresses(&problems, "notificationRecipients", notify.Recipients)
	notify.Cc = rule.Addresses(&problems, "notificationCc", notify.Cc)
	notify.Bcc = rule.Addresses(&problems, "notificationBcc", notify.Bcc)
	testers := rule.Addresses(&problems, "testModeRecipients", c.TestRecipients)
	problems.Check(!c.TestMode || len(rule.SplitAddresses(testers)) > 0, "testModeRecipients", "must not be empty in test mode")
	if err := problems.Err(); err != nil {
		return nil, err
	}
	var events []domain.Event
	if details != (Details{t.Name, t.Description}) {
		events = append(events, reporting.TaskDetailsChanged{ID: c.ID, Name: details.Name, Description: details.Description, At: env.Now})
	}
	events = append(events, activation(c.ID, t.Active, c.Active, env)...)
	if notify != t.Notifications {
		events = append(events, reporting.TaskNotificationsChanged{ID: c.ID, Notifications: notify, At: env.Now})
	}
	if c.TestMode != t.TestMode || testers != t.TestRecipients {
		events = append(events, reporting.TaskTestModeChanged{ID: c.ID, On: c.TestMode, Recipients: testers, At: env.Now})
	}
	return events, nil
}

// activation is what turns a task on or off.
func activation(id domain.ID, was, is bool, env commands.Env) []domain.Event {
	switch {
	case is && !was:
		return []domain.Event{reporting.TaskActivated{ID: id, At: env.Now}}
	case was && !is:
		return []domain.Event{reporting.TaskDeactivated{ID: id, At: env.Now}}
	}
	return nil
}

// ActivateTask turns a task on or off.
type ActivateTask struct {
	ID     domain.ID
	Active bool
}

func (c ActivateTask) Name() string       { return "reporting.activate-task" }
func (c ActivateTask) Stream() string     { return reporting.TaskStream(c.ID) }
func (c ActivateTask) Permission() string { return "tasks.edit" }

// Explore implements commands.Exploring.
func (c ActivateTask) Explore(t reporting.Task, _ commands.Env) []commands.Ref {
	return exploreProject(t)
}

// Decide implements commands.Command.
func (c ActivateTask) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := taskThere(c.Permission(), c.ID, t, env); err != nil {
		return nil, err
	}
	return activation(c.ID, t.Active, c.Active, env), nil
}

// AppOverwrite lets a copy of a task read other Qlik apps for one of its reports.
type AppOverwrite struct {
	ReportID     domain.ID
	ConnectionID domain.ID
	SourceAppID  string
	TargetAppID  string
}

// DuplicateTask makes a copy of a task in the same project, owned by the actor.
// The copy has the original's description, notifications, test mode and
// recipients, and is inactive. Problems: newName,
// overwriteReportApps[i].reportId.
type DuplicateTask struct {
	ID                  domain.ID // of the copy
	SourceID            domain.ID
	NewName             string // "": the original's with " (copy)"
	OverwriteReportApps []AppOverwrite
}

func (c DuplicateTask) Name() string       { return "reporting.duplicate-task" }
func (c DuplicateTask) Stream() string     { return reporting.TaskStream(c.ID) }
func (c DuplicateTask) Permission() string { return "tasks.create" }

// Refs implements commands.Referring.
func (c DuplicateTask) Refs() []commands.Ref {
	return []commands.Ref{commands.RefTo[reporting.Task](reporting.TaskStream(c.SourceID))}
}

// Explore implements commands.Exploring.
func (c DuplicateTask) Explore(_ reporting.Task, env commands.Env) []commands.Ref {
	return exploreProject(c.source(env))
}

func (c DuplicateTask) source(env commands.Env) reporting.Task {
	return commands.Lookup[reporting.Task](env, reporting.TaskStream(c.SourceID))
}

// Decide implements commands.Command.
func (c DuplicateTask) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if t.ID != (domain.ID{}) {
		return nil, taskExists(c.ID)
	}
	source := c.source(env)
	if err := taskThere(c.Permission(), c.SourceID, source, env); err != nil {
		return nil, err
	}
	var problems fault.Problems
	name := rule.Line(&problems, "newName", c.NewName, rule.MaxName)
	if name == "" {
		name = copyName(source.Name)
	}
	for i := range c.OverwriteReportApps {
		problems.Add(fmt.Sprintf("overwriteReportApps[%d].reportId", i), "is no report of this task")
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	events := []domain.Event{reporting.TaskCreated{
		ID: c.ID, ProjectID: source.ProjectID, OrganizationID: source.OrganizationID, OwnerID: env.Actor.UserID,
		Name: name, Description: source.Description, CopyOf: &c.SourceID, CreatedAt: env.Now,
	}}
	if source.Notifications != (reporting.Notifications{}) {
		events = append(events, reporting.TaskNotificationsChanged{ID: c.ID, Notifications: source.Notifications, At: env.Now})
	}
	if source.TestMode || source.TestRecipients != "" {
		events = append(events, reporting.TaskTestModeChanged{ID: c.ID, On: source.TestMode, Recipients: source.TestRecipients, At: env.Now})
	}
	if len(source.Recipients) > 0 {
		events = append(events, reporting.TaskRecipientsAdded{TaskID: c.ID, Recipients: source.Recipients, At: env.Now})
	}
	return events, nil
}

// copyName leaves room for the suffix in a name that is long already.
func copyName(name string) string {
	const suffix = " (copy)"
	if runes := []rune(name); len(runes)+len(suffix) > rule.MaxName {
		name = string(runes[:rule.MaxName-len(suffix)])
	}
	return name + suffix
}

// DeleteTask ends a task.
type DeleteTask struct{ ID domain.ID }

func (c DeleteTask) Name() string       { return "reporting.delete-task" }
func (c DeleteTask) Stream() string     { return reporting.TaskStream(c.ID) }
func (c DeleteTask) Permission() string { return "tasks.delete" }

// Explore implements commands.Exploring.
func (c DeleteTask) Explore(t reporting.Task, _ commands.Env) []commands.Ref {
	return exploreProject(t)
}

// Decide implements commands.Command.
func (c DeleteTask) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := taskThere(c.Permission(), c.ID, t, env); err != nil {
		return nil, err
	}
	return []domain.Event{reporting.TaskDeleted{ID: c.ID, ProjectID: t.ProjectID, DeletedAt: env.Now}}, nil
}
