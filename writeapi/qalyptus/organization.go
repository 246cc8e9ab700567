package qalyptus

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

type organizationBody struct {
	Name        *string   `json:"name,omitempty" nullable:"true"`
	DisplayName string    `json:"displayName" minLength:"1"`
	Description *string   `json:"description,omitempty" nullable:"true"`
	ThemeID     uuid.UUID `json:"themeId"`
}

func (b organizationBody) details() commanded.OrganizationDetails {
	return commanded.OrganizationDetails{Name: text(b.Name), DisplayName: b.DisplayName, Description: text(b.Description), ThemeID: &b.ThemeID}
}

type addOrganization struct{ Body organizationBody }

type updateOrganization struct {
	ID   uuid.UUID `path:"id"`
	Body organizationBody
}

func registerOrganizations(w *writes) {
	tags := []string{"Organization"}
	answer := qalyptus.Envelope[qalyptus.Organization]{}
	httpx.Register(w.API, httpx.Op{ID: "55", Method: http.MethodPost, Path: "/organizations", Summary: "Add organization", Tags: tags,
		Permission: "organizations.create", Success: http.StatusCreated, Returns: answer}, w.addOrganization)
	httpx.Register(w.API, httpx.Op{ID: "57", Method: http.MethodPut, Path: "/organizations/{id}", Summary: "Update organization", Tags: tags,
		Permission: "organizations.edit", Returns: answer}, w.updateOrganization)
	httpx.Register(w.API, httpx.Op{ID: "59", Method: http.MethodDelete, Path: "/organizations/{id}", Summary: "Delete organization by id", Tags: tags,
		Permission: "organizations.delete", Returns: qalyptus.Envelope[*string]{}},
		func(ctx context.Context, in *byID) (*httpx.Raw, error) {
			return w.deleteOrganizations(ctx, []domain.ID{in.ID})
		})
	httpx.Register(w.API, httpx.Op{ID: "69", Method: http.MethodDelete, Path: "/organizations", Summary: "Delete organizations", Tags: tags,
		Permission: "organizations.delete", Returns: qalyptus.Envelope[*string]{}},
		func(ctx context.Context, in *ids) (*httpx.Raw, error) { return w.deleteOrganizations(ctx, in.Body) })
}

func (w *writes) addOrganization(ctx context.Context, in *addOrganization) (*httpx.Raw, error) {
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateOrganization{ID: id, Details: in.Body.details()})
	if err == nil {
		w.Forget() // who sees the parent sees the new one from the next request on
	}
	return w.organization(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) updateOrganization(ctx context.Context, in *updateOrganization) (*httpx.Raw, error) {
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateOrganization{ID: in.ID, Details: in.Body.details()})
	return w.organization(ctx, http.StatusOK, in.ID, done, err)
}

func (w *writes) organization(ctx context.Context, status int, id domain.ID, done commands.Result[directory.Organization], err error) (*httpx.Raw, error) {
	if err != nil {
		return nil, err
	}
	return qalyptus.Written(ctx, w.Reads, status, qalyptus.OrganizationShape, id, done.Current,
		func() qalyptus.Organization { return qalyptus.OrganizationOf(done.State) })
}

// deleteOrganizations refuses those that still hold something.
func (w *writes) deleteOrganizations(ctx context.Context, list []domain.ID) (*httpx.Raw, error) {
	actor, _ := domain.ActorOf(ctx)
	for _, id := range list {
		// What others hold is not for the caller to know.
		if !actor.Sees(id) {
			return nil, fault.Missing("organization", id)
		}
		if err := w.Contents.Empty(ctx, id, list); err != nil {
			return nil, err
		}
	}
	if err := sendAll(ctx, w.Bus, list, func(id domain.ID) commands.Command[directory.Organization] {
		return commanded.DeleteOrganization{ID: id}
	}); err != nil {
		return nil, err
	}
	return qalyptus.Done(), nil
}
