package reporting

import (
	"testing"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// everything is an actor who may do anything and still isn't the system.
func everything(a domain.Actor) domain.Actor {
	a.Everything = true
	return a
}

func TestEndOrphanedTask(t *testing.T) {
	end := reporting.TaskDeleted{ID: task, ProjectID: deleted, DeletedAt: spec.Now}
	given[reporting.Task](t, created(deleted)).When(EndOrphanedTask{task}).Then(end)
	given[reporting.Task](t, created(north)).When(EndOrphanedTask{task}).ThenNothing()
	given[reporting.Task](t, created(deleted), end).When(EndOrphanedTask{task}).ThenNothing()
	given[reporting.Task](t).When(EndOrphanedTask{task}).ThenNothing()
	given[reporting.Task](t, created(deleted)).As(everything(planner)).When(EndOrphanedTask{task}).ThenFault(fault.Denied)
}

func TestRemoveGoneRecipient(t *testing.T) {
	var (
		person = reporting.Recipient{ID: ann, Type: "user", SendEmail: true}
		group  = reporting.Recipient{ID: staff, Type: "group", SeeInHub: true}
		added  = reporting.TaskRecipientsAdded{TaskID: task, Recipients: []reporting.Recipient{person, group}, At: before}
	)
	begin := given[reporting.Task](t, created(north), added)
	noAnn := begin.Ref(directory.UserStream(ann), directory.User{})
	noAnn.When(RemoveGoneRecipient{task, ann, "user"}).Then(reporting.TaskRecipientsRemoved{TaskID: task, Recipients: []reporting.Recipient{person}, At: spec.Now})
	noAnn.When(RemoveGoneRecipient{task, ann, "group"}).ThenNothing()
	noAnn.When(RemoveGoneRecipient{task, bob, "user"}).ThenNothing()
	noAnn.As(everything(planner)).When(RemoveGoneRecipient{task, ann, "user"}).ThenFault(fault.Denied)
	begin.When(RemoveGoneRecipient{task, ann, "user"}).ThenNothing()
	begin.When(RemoveGoneRecipient{task, staff, "group"}).ThenNothing()
	begin.Ref(directory.GroupStream(staff), directory.Group{}).When(RemoveGoneRecipient{task, staff, "group"}).
		Then(reporting.TaskRecipientsRemoved{TaskID: task, Recipients: []reporting.Recipient{group}, At: spec.Now})
	given[reporting.Task](t, created(north), added, reporting.TaskDeleted{ID: task, ProjectID: north, DeletedAt: before}).
		Ref(directory.UserStream(ann), directory.User{}).When(RemoveGoneRecipient{task, ann, "user"}).ThenNothing()
}
