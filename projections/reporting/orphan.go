package reporting

import (
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/reporting"
	"docket/projections"
)

// OrphanedTaskRow is a task that no event has ended although its project was
// deleted. A reactor ends it, which removes the row.
type OrphanedTaskRow struct {
	TaskID    domain.ID `db:"task_id,pk"`
	ProjectID domain.ID `db:"project_id"`
	Late      bool      `db:"late"` // recorded after the project's end
}

// OrphanedTasks is the work list of who ends tasks.
var OrphanedTasks = projections.NewTable[OrphanedTaskRow]("orphaned_tasks",
	projections.Index("project_id", "task_id"), projections.IndexWhere("late", "task_id"))

// OrphanedRecipientRow is a recipient of a task whose user or group was deleted.
// A reactor removes it from the task, which removes the row.
type OrphanedRecipientRow struct {
	TaskID      domain.ID `db:"task_id,pk"`
	RecipientID domain.ID `db:"recipient_id,pk"`
	Type        string    `db:"type,pk"`
}

// OrphanedRecipients is the work list of who removes recipients.
var OrphanedRecipients = projections.NewTable[OrphanedRecipientRow]("orphaned_recipients",
	projections.Index("recipient_id", "task_id"), projections.LookUpBy("task_id"))

// orphanHandlers must come before those that remove the rows they look at.
func orphanHandlers() []projections.Part {
	return []projections.Part{
		projections.PutEach(OrphanedTasks, tasksOf),
		projections.PutEach(OrphanedTasks, lateTask, projections.Prefetch(Projects, func(e reporting.TaskCreated, _ projections.Rec) []domain.ID { return []domain.ID{e.ProjectID} })),
		projections.Delete(OrphanedTasks, func(e reporting.TaskDeleted, _ projections.Rec) domain.ID { return e.ID }),

		projections.PutEach(OrphanedRecipients, func(e directory.UserDeleted, rec projections.Rec) []OrphanedRecipientRow {
			return recipientsThatAre(rec, e.ID)
		}),
		projections.PutEach(OrphanedRecipients, func(e directory.GroupDeleted, rec projections.Rec) []OrphanedRecipientRow {
			return recipientsThatAre(rec, e.ID)
		}),
		projections.DeleteEach(OrphanedRecipients, func(e reporting.TaskRecipientsRemoved, _ projections.Rec) []RecipientKey {
			return recipientKeys(e.TaskID, e.Recipients)
		}),
		projections.DeleteWhere(OrphanedRecipients, "task_id", func(e reporting.TaskDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}

func tasksOf(e reporting.ProjectDeleted, rec projections.Rec) []OrphanedTaskRow {
	tasks := projections.Where(rec, Tasks, "project_id", e.ID)
	rows := make([]OrphanedTaskRow, len(tasks))
	for i, t := range tasks {
		rows[i] = OrphanedTaskRow{TaskID: t.ID, ProjectID: e.ID}
	}
	return rows
}

// lateTask is a task whose project was deleted while it was being created.
func lateTask(e reporting.TaskCreated, rec projections.Rec) []OrphanedTaskRow {
	if _, live := projections.Get(rec, Projects, e.ProjectID); live {
		return nil
	}
	return []OrphanedTaskRow{{TaskID: e.ID, ProjectID: e.ProjectID, Late: true}}
}

func recipientsThatAre(rec projections.Rec, who domain.ID) []OrphanedRecipientRow {
	entries := projections.Where(rec, Recipients, "recipient_id", who)
	rows := make([]OrphanedRecipientRow, len(entries))
	for i, r := range entries {
		rows[i] = OrphanedRecipientRow{TaskID: r.TaskID, RecipientID: r.RecipientID, Type: r.Type}
	}
	return rows
}
