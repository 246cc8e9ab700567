package reporting

import (
	"strings"
	"testing"

	"docket/commands"
	"docket/commands/spec"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/reporting"
)

func TestCreateTask(t *testing.T) {
	begin := given[reporting.Task](t).As(planner)
	cmd := CreateTask{ID: task, ProjectID: north, Details: Details{" Task ", "d"}}
	event := reporting.TaskCreated{ID: task, ProjectID: north, OrganizationID: sales, OwnerID: me, Name: "Task", Description: "d", CreatedAt: spec.Now}
	begin.When(cmd).Then(event)
	begin.When(CreateTask{ID: task, ProjectID: id(9), Details: Details{"", long}}).ThenFault(fault.Invalid, "name", "description", "projectId")
	for _, project := range []domain.ID{deleted, id(0x143)} {
		begin.When(with(cmd, func(c *CreateTask) { c.ProjectID = project })).ThenFault(fault.Invalid, "projectId")
	}
	begin.As(southerner).When(cmd).ThenFault(fault.Invalid, "projectId")
	given[reporting.Task](t, event).As(planner).When(cmd).ThenFault(fault.Conflict)
}

// full is a task with all that a copy takes along.
func full() []domain.Event {
	return []domain.Event{created(north), reporting.TaskActivated{ID: task, At: before},
		reporting.TaskNotificationsChanged{ID: task, Notifications: notifications(), At: before},
		reporting.TaskTestModeChanged{ID: task, On: true, Recipients: "t@x.org", At: before},
		reporting.TaskRecipientsAdded{TaskID: task, Recipients: []reporting.Recipient{{ID: ann, Type: "user", SendEmail: true}}, At: before}}
}

func notifications() reporting.Notifications {
	return reporting.Notifications{Send: true, IfError: true, Recipients: "a@x.org; b@x.org", Cc: "c@x.org", Bcc: "d@x.org"}
}

func TestUpdateTask(t *testing.T) {
	begin := given[reporting.Task](t, full()...).As(planner)
	same := UpdateTask{ID: task, Details: Details{"Task", "d"}, Active: true, Notifications: notifications(), TestMode: true, TestRecipients: " t@x.org"}
	begin.When(same).ThenNothing()
	begin.When(UpdateTask{ID: task, Details: Details{"T", ""}}).Then(
		reporting.TaskDetailsChanged{ID: task, Name: "T", At: spec.Now},
		reporting.TaskDeactivated{ID: task, At: spec.Now},
		reporting.TaskNotificationsChanged{ID: task, At: spec.Now},
		reporting.TaskTestModeChanged{ID: task, At: spec.Now})
	begin.When(with(same, func(c *UpdateTask) { c.TestMode = false })).Then(reporting.TaskTestModeChanged{ID: task, Recipients: "t@x.org", At: spec.Now})
	begin.When(with(same, func(c *UpdateTask) { c.Notifications.IfSuccess = true })).Then(
		reporting.TaskNotificationsChanged{ID: task, Notifications: with(notifications(), func(n *reporting.Notifications) { n.IfSuccess = true }), At: spec.Now})
	given[reporting.Task](t, created(north)).As(planner).When(UpdateTask{ID: task, Details: Details{"Task", "d"}, Active: true, Notifications: reporting.Notifications{Send: true}}).
		Then(reporting.TaskActivated{ID: task, At: spec.Now}, reporting.TaskNotificationsChanged{ID: task, Notifications: reporting.Notifications{Send: true}, At: spec.Now})

	begin.When(UpdateTask{ID: task, Details: Details{"", long}, Notifications: reporting.Notifications{Recipients: "a", Cc: "a@x.org b@x.org", Bcc: "c@x.org,d"}, TestMode: true, TestRecipients: " ; "}).
		ThenFault(fault.Invalid, "name", "description", "notificationRecipients", "notificationCc", "notificationBcc", "testModeRecipients")
	begin.When(with(same, func(c *UpdateTask) { c.TestRecipients = "tester" })).ThenFault(fault.Invalid, "testModeRecipients")
}

func TestActivateTask(t *testing.T) {
	on := reporting.TaskActivated{ID: task, At: spec.Now}
	begin := given[reporting.Task](t, created(north)).As(planner)
	begin.When(ActivateTask{task, true}).Then(on)
	begin.When(ActivateTask{task, false}).ThenNothing()
	begin = given[reporting.Task](t, created(north), on).As(planner)
	begin.When(ActivateTask{task, true}).ThenNothing()
	begin.When(ActivateTask{task, false}).Then(reporting.TaskDeactivated{ID: task, At: spec.Now})
}

func TestDuplicateTask(t *testing.T) {
	source := reporting.TaskStream(task)
	begin := given[reporting.Task](t).As(planner).Ref(source, domain.Fold(reporting.Task{}, full()...))
	from := task
	copied := reporting.TaskCreated{ID: other, ProjectID: north, OrganizationID: sales, OwnerID: me, Name: "Task (copy)", Description: "d", CopyOf: &from, CreatedAt: spec.Now}
	rest := []domain.Event{
		reporting.TaskNotificationsChanged{ID: other, Notifications: notifications(), At: spec.Now},
		reporting.TaskTestModeChanged{ID: other, On: true, Recipients: "t@x.org", At: spec.Now},
		reporting.TaskRecipientsAdded{TaskID: other, Recipients: []reporting.Recipient{{ID: ann, Type: "user", SendEmail: true}}, At: spec.Now}}
	begin.When(DuplicateTask{ID: other, SourceID: task}).Then(append([]domain.Event{copied}, rest...)...)

	bare := begin.Ref(source, reporting.Task{}.Apply(created(north)))
	bare.When(DuplicateTask{ID: other, SourceID: task, NewName: " Mine "}).Then(with(copied, func(e *reporting.TaskCreated) { e.Name = "Mine" }))
	longName := begin.Ref(source, reporting.Task{}.Apply(with(created(north), func(e *reporting.TaskCreated) { e.Name = strings.Repeat("é", 256) })))
	longName.When(DuplicateTask{ID: other, SourceID: task}).Then(with(copied, func(e *reporting.TaskCreated) { e.Name = strings.Repeat("é", 249) + " (copy)" }))

	begin.When(DuplicateTask{ID: other, SourceID: task, NewName: strings.Repeat("x", 257), OverwriteReportApps: make([]AppOverwrite, 2)}).
		ThenFault(fault.Invalid, "newName", "overwriteReportApps[0].reportId", "overwriteReportApps[1].reportId")
	begin.When(DuplicateTask{ID: other, SourceID: id(9)}).ThenFault(fault.NotFound)
	begin.As(southerner).When(DuplicateTask{ID: other, SourceID: task}).ThenFault(fault.NotFound)
	begin.Ref(source, reporting.Task{}.Apply(created(deleted))).When(DuplicateTask{ID: other, SourceID: task}).ThenFault(fault.NotFound)
	begin.Ref(source, reporting.Task{}.Apply(created(id(0x143)))).When(DuplicateTask{ID: other, SourceID: task}).ThenFault(fault.NotFound)
	given[reporting.Task](t, copied).As(planner).When(DuplicateTask{ID: other, SourceID: task}).ThenFault(fault.Conflict)
}

func TestDeleteTask(t *testing.T) {
	given[reporting.Task](t, created(north)).As(planner).When(DeleteTask{task}).Then(reporting.TaskDeleted{ID: task, ProjectID: north, DeletedAt: spec.Now})
}

// TestTasksThatAreNotThere holds for every command on an existing task.
func TestTasksThatAreNotThere(t *testing.T) {
	someone := reporting.Recipient{ID: ann, Type: "user"}
	for _, cmd := range []commands.Command[reporting.Task]{
		UpdateTask{ID: task, Details: Details{Name: "T"}}, ActivateTask{task, true}, DeleteTask{task},
		AddRecipients{task, []reporting.Recipient{someone}}, UpdateRecipient{task, someone}, RemoveRecipients{task, []reporting.Recipient{someone}},
	} {
		given[reporting.Task](t).As(planner).When(cmd).ThenFault(fault.NotFound)
		given[reporting.Task](t, created(north), reporting.TaskDeleted{ID: task, ProjectID: north, DeletedAt: before}).As(planner).When(cmd).ThenFault(fault.NotFound)
		given[reporting.Task](t, created(deleted)).As(planner).When(cmd).ThenFault(fault.NotFound)
		given[reporting.Task](t, created(north)).As(southerner).When(cmd).ThenFault(fault.NotFound)
	}
}
