package qalyptus

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/reporting"
	"docket/domain"
	"docket/domain/reporting"
	"docket/internal/httpx"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

type addTask struct {
	Body struct {
		Name        string    `json:"name" minLength:"1"`
		ProjectID   uuid.UUID `json:"projectId"`
		Description *string   `json:"description,omitempty" nullable:"true"`
	}
}

type updateTask struct {
	ID   uuid.UUID `path:"id"`
	Body struct {
		Name                   string  `json:"name" minLength:"1"`
		Description            *string `json:"description,omitempty" nullable:"true"`
		IsActive               bool    `json:"isActive"`
		SendNotifications      bool    `json:"sendNotifications,omitempty"`
		NotifyIfError          bool    `json:"notifyIfError,omitempty"`
		NotifyIfWarning        bool    `json:"notifyIfWarning,omitempty"`
		NotifyIfSuccess        bool    `json:"notifyIfSuccess,omitempty"`
		NotificationRecipients *string `json:"notificationRecipients,omitempty" nullable:"true"`
		NotificationCc         *string `json:"notificationCc,omitempty" nullable:"true"`
		NotificationBcc        *string `json:"notificationBcc,omitempty" nullable:"true"`
		TestMode               bool    `json:"testMode,omitempty"`
		TestModeRecipients     *string `json:"testModeRecipients,omitempty" nullable:"true"`
	}
}

type duplicateTask struct {
	ID   uuid.UUID `path:"id"`
	Body struct {
		NewName             *string     `json:"newName,omitempty" nullable:"true"`
		OverwriteReportApps []overwrite `json:"overwriteReportApps,omitempty" nullable:"true"`
	}
}

// overwrite replaces the Qlik app behind one report of a task.
type overwrite struct {
	ReportID     uuid.UUID `json:"reportId"`
	ConnectionID uuid.UUID `json:"connectionId,omitempty"`
	SourceAppID  string    `json:"sourceAppId,omitempty"`
	TargetAppID  string    `json:"targetAppId,omitempty"`
}

type taskID struct {
	ID uuid.UUID `path:"taskId"`
}

type activateTasks struct {
	Body []activation `maxItems:"1000"`
}

type activation struct {
	ID       uuid.UUID `json:"id"`
	IsActive bool      `json:"isActive"`
}

func registerTasks(w *writes) {
	tags := []string{"Task"}
	create[qalyptus.Task](w, httpx.Op{ID: "136", Path: "/tasks", Summary: "Add task", Tags: tags, Permission: "tasks.create"}, w.addTask)
	update[qalyptus.Task](w, httpx.Op{ID: "139", Path: "/tasks/{id}", Summary: "Update task", Tags: tags, Permission: "tasks.edit"}, w.updateTask)
	create[qalyptus.Task](w, httpx.Op{ID: "141", Path: "/tasks/{id}/duplicate", Summary: "Duplicate task", Tags: tags, Permission: "tasks.create"}, w.duplicateTask)
	update[*string](w, httpx.Op{ID: "143", Path: "/tasks/activation", Summary: "Enable or disable tasks", Tags: tags, Permission: "tasks.edit"}, w.activateTasks)
	remove(w, httpx.Op{ID: "142", Path: "/tasks/{taskId}", Summary: "Delete task", Tags: tags, Permission: "tasks.delete"},
		func(ctx context.Context, in *taskID) (*httpx.Raw, error) {
			return blank(commands.Send(ctx, w.Bus, commanded.DeleteTask{ID: in.ID}))
		})
	removeMany(w, httpx.Op{ID: "138", Path: "/tasks", Summary: "Delete tasks", Tags: tags, Permission: "tasks.delete"},
		func(id domain.ID) commands.Command[reporting.Task] { return commanded.DeleteTask{ID: id} })
	registerRecipients(w)
}

func (w *writes) addTask(ctx context.Context, in *addTask) (*httpx.Raw, error) {
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateTask{ID: id, ProjectID: in.Body.ProjectID,
		Details: commanded.Details{Name: in.Body.Name, Description: text(in.Body.Description)}})
	return w.task(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) updateTask(ctx context.Context, in *updateTask) (*httpx.Raw, error) {
	b := in.Body
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateTask{ID: in.ID, Active: b.IsActive,
		Details: commanded.Details{Name: b.Name, Description: text(b.Description)},
		Notifications: reporting.Notifications{Send: b.SendNotifications, IfError: b.NotifyIfError, IfWarning: b.NotifyIfWarning, IfSuccess: b.NotifyIfSuccess,
			Recipients: text(b.NotificationRecipients), Cc: text(b.NotificationCc), Bcc: text(b.NotificationBcc)},
		TestMode: b.TestMode, TestRecipients: text(b.TestModeRecipients)})
	return w.task(ctx, http.StatusOK, in.ID, done, err)
}

func (w *writes) duplicateTask(ctx context.Context, in *duplicateTask) (*httpx.Raw, error) {
	id := commands.NewID(ctx)
	command := commanded.DuplicateTask{ID: id, SourceID: in.ID, NewName: text(in.Body.NewName)}
	for _, o := range in.Body.OverwriteReportApps {
		command.OverwriteReportApps = append(command.OverwriteReportApps, commanded.AppOverwrite{ReportID: o.ReportID, ConnectionID: o.ConnectionID,
			SourceAppID: o.SourceAppID, TargetAppID: o.TargetAppID})
	}
	done, err := commands.Send(ctx, w.Bus, command)
	return w.task(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) activateTasks(ctx context.Context, in *activateTasks) (*httpx.Raw, error) {
	return blank(commands.SendAll(ctx, w.Bus, each(in.Body, func(a activation) commands.Command[reporting.Task] {
		return commanded.ActivateTask{ID: a.ID, Active: a.IsActive}
	})...))
}

func (w *writes) task(ctx context.Context, status int, id domain.ID, done commands.Result[reporting.Task], err error) (*httpx.Raw, error) {
	return answer(ctx, w, status, qalyptus.TaskShape, id, done, err, func(t reporting.Task) qalyptus.Task {
		return qalyptus.TaskOf(t, w.names(ctx, t.ProjectID, t.OrganizationID, t.OwnerID))
	})
}
