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

type recipientBody struct {
	ID        uuid.UUID `json:"id" doc:"Of the user or group."`
	Type      string    `json:"type" minLength:"1" doc:"user or group."`
	SendEmail bool      `json:"sendEmail"`
	SeeInHub  bool      `json:"seeInHub"`
}

func (b recipientBody) recipient() reporting.Recipient {
	return reporting.Recipient{ID: b.ID, Type: b.Type, SendEmail: b.SendEmail, SeeInHub: b.SeeInHub}
}

type manyRecipients struct {
	TaskID uuid.UUID `path:"taskId"`
	Body   []recipientBody
}

func (in *manyRecipients) recipients() []reporting.Recipient {
	list := make([]reporting.Recipient, len(in.Body))
	for i, b := range in.Body {
		list[i] = b.recipient()
	}
	return list
}

type oneRecipient struct {
	TaskID uuid.UUID `path:"taskId"`
	Body   recipientBody
}

func registerRecipients(w *writes) {
	tags := []string{"Task"}
	path := "/tasks/{taskId}/recipients"
	create[[]qalyptus.Recipient](w, httpx.Op{ID: "151", Path: path, Summary: "Add task recipients", Tags: tags, Permission: "tasks.edit"},
		func(ctx context.Context, in *manyRecipients) (*httpx.Raw, error) {
			done, err := commands.Send(ctx, w.Bus, commanded.AddRecipients{TaskID: in.TaskID, Recipients: in.recipients()})
			return w.recipients(ctx, http.StatusCreated, in.TaskID, in.recipients(), done.Current, err)
		})
	update[[]qalyptus.Recipient](w, httpx.Op{ID: "153", Path: path, Summary: "Update task users", Tags: tags, Permission: "tasks.edit"},
		func(ctx context.Context, in *oneRecipient) (*httpx.Raw, error) {
			r := in.Body.recipient()
			done, err := commands.Send(ctx, w.Bus, commanded.UpdateRecipient{TaskID: in.TaskID, Recipient: r})
			return w.recipients(ctx, http.StatusOK, in.TaskID, []reporting.Recipient{r}, done.Current, err)
		})
	remove(w, httpx.Op{ID: "152", Path: path, Summary: "Delete task recipients", Tags: tags, Permission: "tasks.edit"},
		func(ctx context.Context, in *manyRecipients) (*httpx.Raw, error) {
			return blank(commands.Send(ctx, w.Bus, commanded.RemoveRecipients{TaskID: in.TaskID, Recipients: in.recipients()}))
		})
}

// recipients answers with those that were written, as they read now.
func (w *writes) recipients(ctx context.Context, status int, task domain.ID, written []reporting.Recipient, current bool, err error) (*httpx.Raw, error) {
	if err != nil {
		return nil, err
	}
	ids := make([]domain.ID, len(written))
	for i, r := range written {
		ids[i] = r.ID
	}
	if current { // as in qalyptus.Written
		if data, err := w.Reads.Recipients(ctx, task, ids); err == nil {
			return httpx.JSON(status, qalyptus.Envelope[[]qalyptus.Recipient]{Data: data, IsSuccess: true})
		}
	}
	names, data := w.names(ctx, ids...), make([]qalyptus.Recipient, len(written))
	for i, r := range written {
		data[i] = qalyptus.RecipientOf(task, r, names)
	}
	return httpx.JSON(status, qalyptus.Envelope[[]qalyptus.Recipient]{Data: data, IsSuccess: true})
}
