package qalyptus

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

type groupBody struct {
	Name           string     `json:"name" minLength:"1"`
	Description    *string    `json:"description,omitempty" nullable:"true"`
	OrganizationID *uuid.UUID `json:"organizationId,omitempty" nullable:"true"`
	IsActive       *bool      `json:"isActive,omitempty"`
}

func (b groupBody) details() commanded.Details {
	return commanded.Details{Name: b.Name, Description: text(b.Description)}
}

type addGroup struct{ Body groupBody }

type updateGroup struct {
	ID   uuid.UUID `path:"id"`
	Body groupBody
}

func registerGroups(w *writes) {
	tags := []string{"Group"}
	httpx.Register(w.API, httpx.Op{ID: "22", Method: http.MethodPost, Path: "/groups", Summary: "Add group", Tags: tags,
		Permission: "groups.create", Success: http.StatusCreated, Returns: qalyptus.Envelope[qalyptus.Group]{}}, w.addGroup)
	httpx.Register(w.API, httpx.Op{ID: "25", Method: http.MethodPut, Path: "/groups/{id}", Summary: "Update group", Tags: tags,
		Permission: "groups.edit", Returns: qalyptus.Envelope[qalyptus.Group]{}}, w.updateGroup)
	deleteOne(w, httpx.Op{ID: "27", Path: "/groups/{id}", Summary: "Delete group", Tags: tags, Permission: "groups.delete"}, deleteGroup)
	deleteMany(w, httpx.Op{ID: "24", Path: "/groups", Summary: "Delete multiple groups", Tags: tags, Permission: "groups.delete"}, deleteGroup)
}

func deleteGroup(id domain.ID) commands.Command[directory.Group] {
	return commanded.DeleteGroup{ID: id}
}

func (w *writes) addGroup(ctx context.Context, in *addGroup) (*httpx.Raw, error) {
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateGroup{ID: id, OrganizationID: value(in.Body.OrganizationID), Details: in.Body.details(),
		Active: in.Body.IsActive == nil || *in.Body.IsActive})
	return w.group(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) updateGroup(ctx context.Context, in *updateGroup) (*httpx.Raw, error) {
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateGroup{ID: in.ID, OrganizationID: value(in.Body.OrganizationID), Details: in.Body.details(), Active: in.Body.IsActive})
	return w.group(ctx, http.StatusOK, in.ID, done, err)
}

func (w *writes) group(ctx context.Context, status int, id domain.ID, done commands.Result[directory.Group], err error) (*httpx.Raw, error) {
	if err != nil {
		return nil, err
	}
	return qalyptus.Written(ctx, w.Reads, status, qalyptus.GroupShape, id, done.Current, func() qalyptus.Group { return qalyptus.GroupOf(done.State) })
}
