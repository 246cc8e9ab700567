package qalyptus

import (
	"context"
	"fmt"
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
	create[qalyptus.Organization](w, httpx.Op{ID: "55", Path: "/organizations", Summary: "Add organization", Tags: tags,
		Permission: "organizations.create"}, w.addOrganization)
	update[qalyptus.Organization](w, httpx.Op{ID: "57", Path: "/organizations/{id}", Summary: "Update organization", Tags: tags,
		Permission: "organizations.edit"}, w.updateOrganization)
	remove(w, httpx.Op{ID: "59", Path: "/organizations/{id}", Summary: "Delete organization by id", Tags: tags, Permission: "organizations.delete"}, w.deleteOrganization)
	remove(w, httpx.Op{ID: "69", Path: "/organizations", Summary: "Delete organizations", Tags: tags, Permission: "organizations.delete"}, w.deleteOrganizations)
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
	return answer(ctx, w, status, qalyptus.OrganizationShape, id, done, err, qalyptus.OrganizationOf)
}

func (w *writes) deleteOrganization(ctx context.Context, in *byID) (*httpx.Raw, error) {
	if err := w.empty(ctx, in.ID, nil); err != nil {
		return nil, err
	}
	return blank(commands.Send(ctx, w.Bus, commanded.DeleteOrganization{ID: in.ID}))
}

func (w *writes) deleteOrganizations(ctx context.Context, in *ids) (*httpx.Raw, error) {
	for i, id := range in.Body {
		if err := w.empty(ctx, id, in.Body); err != nil {
			return nil, on(fmt.Sprintf("[%d]", i), err)
		}
	}
	return blank(commands.SendAll(ctx, w.Bus, each(in.Body, func(id domain.ID) commands.Command[directory.Organization] {
		return commanded.DeleteOrganization{ID: id}
	})...))
}

// empty refuses an organization that still holds something, apart from those
// that are deleted with it.
func (w *writes) empty(ctx context.Context, id domain.ID, apart []domain.ID) error {
	actor, _ := domain.ActorOf(ctx)
	switch {
	case actor.Sees(id):
		return w.Contents.Empty(ctx, id, apart)
	case commands.RequestOf(ctx).Retry:
		return nil // it may be gone by this very request; the command knows
	}
	return fault.Missing("organization", id) // what others hold is not for the caller to know
}
