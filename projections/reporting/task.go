package reporting

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/reporting"
	"docket/projections"
)

// TaskRow is a task. The project's name is copied, since lists sort by it.
type TaskRow struct {
	ID             domain.ID `db:"id,pk"`
	ProjectID      domain.ID `db:"project_id"`
	ProjectName    string    `db:"project_name"`
	ProjectNameF   string    `db:"project_name_f,fold"`
	OrganizationID domain.ID `db:"organization_id"`
	OwnerID        domain.ID `db:"owner_id"`
	Name           string    `db:"name"`
	NameF          string    `db:"name_f,fold"`
	Description    string    `db:"description"`
	DescriptionF   string    `db:"description_f,fold"`
	IsActive       bool      `db:"is_active"`
	IsScheduled    bool      `db:"is_scheduled"` // has an active schedule
	TestMode       bool      `db:"test_mode"`
	TestRecipients string    `db:"test_recipients"`

	SendNotifications      bool   `db:"send_notifications"`
	NotifyIfError          bool   `db:"notify_if_error"`
	NotifyIfWarning        bool   `db:"notify_if_warning"`
	NotifyIfSuccess        bool   `db:"notify_if_success"`
	NotificationRecipients string `db:"notification_recipients"`
	NotificationCc         string `db:"notification_cc"`
	NotificationBcc        string `db:"notification_bcc"`

	CreatedAt  time.Time `db:"created_at"`
	ModifiedAt time.Time `db:"modified_at"`
}

// Tasks are all tasks.
var Tasks = projections.NewTable[TaskRow]("tasks",
	projections.Index("name_f", "id"), projections.Index("created_at", "id"), projections.Index("project_name_f", "id"),
	projections.Index("organization_id", "name_f", "id"), projections.Index("project_id", "name_f", "id"), projections.Index("description_f", "id"),
	projections.Index("is_active", "id"), projections.Index("test_mode", "id"), projections.Index("is_scheduled", "id"), projections.Index("organization_id", "id"),
	projections.Trigram("name_f"), projections.Trigram("description_f"), projections.Reverse("description_f"),
	projections.CountBy("organization_id"), projections.CountBy("project_id"), projections.CountBy("is_active"))

// RecipientRow is a recipient of a task.
type RecipientRow struct {
	TaskID      domain.ID `db:"task_id,pk"`
	RecipientID domain.ID `db:"recipient_id,pk"`
	Type        string    `db:"type,pk"` // "user" or "group"
	ID          domain.ID `db:"id"`      // of this row, for paging
	SendEmail   bool      `db:"send_email"`
	SeeInHub    bool      `db:"see_in_hub"`
	AddedAt     time.Time `db:"added_at"`

	OrganizationID domain.ID `db:"organization_id"`
}

// RecipientKey identifies a recipient of a task.
type RecipientKey struct {
	TaskID      domain.ID
	RecipientID domain.ID
	Type        string
}

// Recipients are the recipients of all tasks.
var Recipients = projections.NewTable[RecipientRow]("task_recipients",
	projections.Index("task_id", "id"), projections.Index("recipient_id"))

func taskHandlers() []projections.Part {
	deleted := func(e reporting.TaskDeleted, _ projections.Rec) domain.ID { return e.ID }
	return []projections.Part{
		// A task of a project that was deleted meanwhile never shows.
		projections.PutEach(Tasks, newTask, projections.Prefetch(Projects, func(e reporting.TaskCreated, _ projections.Rec) []domain.ID { return []domain.ID{e.ProjectID} })),
		projections.Update(Projects, func(e reporting.TaskCreated, _ projections.Rec) domain.ID { return e.ProjectID },
			func(p *ProjectRow, _ reporting.TaskCreated, _ projections.Rec) { p.TasksCount++ }),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskDetailsChanged, _ projections.Rec) {
			t.Name, t.Description, t.ModifiedAt = e.Name, e.Description, e.At
		}),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskActivated, _ projections.Rec) { t.IsActive, t.ModifiedAt = true, e.At }),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskDeactivated, _ projections.Rec) {
			t.IsActive, t.ModifiedAt = false, e.At
		}),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskNotificationsChanged, _ projections.Rec) {
			n := e.Notifications
			t.SendNotifications, t.NotifyIfError, t.NotifyIfWarning, t.NotifyIfSuccess = n.Send, n.IfError, n.IfWarning, n.IfSuccess
			t.NotificationRecipients, t.NotificationCc, t.NotificationBcc, t.ModifiedAt = n.Recipients, n.Cc, n.Bcc, e.At
		}),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskTestModeChanged, _ projections.Rec) {
			t.TestMode, t.TestRecipients, t.ModifiedAt = e.On, e.Recipients, e.At
		}),
		projections.UpdateEach(Projects, func(e reporting.TaskDeleted, rec projections.Rec) []domain.ID { return projectOf(rec, e) },
			func(p *ProjectRow, _ reporting.TaskDeleted, _ projections.Rec) { p.TasksCount-- }),
		projections.DeleteWhere(Recipients, "task_id", deleted),
		projections.Delete(Tasks, deleted),

		projections.PutEach(Recipients, addedRecipients, projections.Prefetch(Tasks, func(e reporting.TaskRecipientsAdded, _ projections.Rec) []domain.ID { return []domain.ID{e.TaskID} })),
		projections.Update(Recipients, func(e reporting.TaskRecipientChanged, _ projections.Rec) RecipientKey {
			return recipientKey(e.TaskID, e.Recipient)
		},
			func(r *RecipientRow, e reporting.TaskRecipientChanged, _ projections.Rec) {
				r.SendEmail, r.SeeInHub = e.Recipient.SendEmail, e.Recipient.SeeInHub
			}),
		projections.DeleteEach(Recipients, func(e reporting.TaskRecipientsRemoved, _ projections.Rec) []RecipientKey {
			return recipientKeys(e.TaskID, e.Recipients)
		}),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskRecipientsAdded, _ projections.Rec) { t.ModifiedAt = e.At }),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskRecipientChanged, _ projections.Rec) { t.ModifiedAt = e.At }),
		projections.Update(Tasks, projections.ByStream, func(t *TaskRow, e reporting.TaskRecipientsRemoved, _ projections.Rec) { t.ModifiedAt = e.At }),
		// Who is gone gets nothing any more.
		projections.DeleteWhere(Recipients, "recipient_id", func(e directory.UserDeleted, _ projections.Rec) domain.ID { return e.ID }),
		projections.DeleteWhere(Recipients, "recipient_id", func(e directory.GroupDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}

func newTask(e reporting.TaskCreated, rec projections.Rec) []TaskRow {
	project, live := projections.Get(rec, Projects, e.ProjectID)
	if !live {
		return nil
	}
	return []TaskRow{{ID: e.ID, ProjectID: e.ProjectID, ProjectName: project.Name, OrganizationID: e.OrganizationID, OwnerID: e.OwnerID,
		Name: e.Name, Description: e.Description, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}}
}

// projectOf is the project whose count a deleted task leaves.
func projectOf(rec projections.Rec, e reporting.TaskDeleted) []domain.ID {
	if _, live := projections.Get(rec, Tasks, e.ID); !live {
		return nil
	}
	return []domain.ID{e.ProjectID}
}

func addedRecipients(e reporting.TaskRecipientsAdded, rec projections.Rec) []RecipientRow {
	task, live := projections.Get(rec, Tasks, e.TaskID)
	if !live {
		return nil
	}
	rows := make([]RecipientRow, len(e.Recipients))
	for i, r := range e.Recipients {
		rows[i] = RecipientRow{TaskID: e.TaskID, RecipientID: r.ID, Type: r.Type, ID: r.IDWithin(e.TaskID), SendEmail: r.SendEmail, SeeInHub: r.SeeInHub,
			AddedAt: e.At, OrganizationID: task.OrganizationID}
	}
	return rows
}

func recipientKey(task domain.ID, r reporting.Recipient) RecipientKey {
	return RecipientKey{TaskID: task, RecipientID: r.ID, Type: r.Type}
}

func recipientKeys(task domain.ID, recipients []reporting.Recipient) []RecipientKey {
	keys := make([]RecipientKey, len(recipients))
	for i, r := range recipients {
		keys[i] = recipientKey(task, r)
	}
	return keys
}

// recipientsBelow are the recipients of all tasks of a project.
func recipientsBelow(rec projections.Rec, project domain.ID) []RecipientKey {
	var keys []RecipientKey
	for _, t := range projections.Where(rec, Tasks, "project_id", project) {
		for _, r := range projections.Where(rec, Recipients, "task_id", t.ID) {
			keys = append(keys, RecipientKey{TaskID: t.ID, RecipientID: r.RecipientID, Type: r.Type})
		}
	}
	return keys
}
