// Package qlik is the writing half of the Qlik Cloud Groups API v1: bodies and
// JSON patches in, commands out.
package qlik

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/qlik"
)

// maxGroups is the documented limit of a tenant. Creating looks at the read
// model, so requests at the same moment can exceed it by their number.
const maxGroups = 10_000

// Config is what the writes need.
type Config struct {
	API   *httpx.API
	Bus   *commands.Bus
	Reads *qlik.Reads
}

type writes struct{ Config }

// Register adds all operations that change something.
func Register(c Config) {
	w := &writes{c}
	tags := []string{"Groups"}
	httpx.Register(w.API, httpx.Op{ID: "2", Method: http.MethodPost, Path: "", Summary: "Create group", Tags: tags,
		Permission: "groups.create", RateTier: qlik.Tier2, Success: http.StatusCreated, Returns: qlik.Group{}}, w.create)
	httpx.Register(w.API, httpx.Op{ID: "4", Method: http.MethodPatch, Path: "/{groupId}", Summary: "Update group by id", Tags: tags,
		Permission: "groups.edit", RateTier: qlik.Tier2, Success: http.StatusNoContent, AnyType: true}, w.patchGroup)
	httpx.Register(w.API, httpx.Op{ID: "5", Method: http.MethodDelete, Path: "/{groupId}", Summary: "Delete group by id", Tags: tags,
		Permission: "groups.delete", RateTier: qlik.Tier2, Success: http.StatusNoContent}, w.delete)
	httpx.Register(w.API, httpx.Op{ID: "8", Method: http.MethodPatch, Path: "/settings", Summary: "Update group settings", Tags: tags,
		Permission: "groups.edit", RateTier: qlik.Tier2, Success: http.StatusNoContent, AnyType: true}, w.patchSettings)
}

type createGroup struct {
	Body struct {
		Name          string        `json:"name" minLength:"1" maxLength:"256"`
		Status        string        `json:"status,omitempty" enum:"active,"`
		AssignedRoles assignedRoles `json:"assignedRoles,omitempty" maxItems:"100" doc:"All by id or all by name."`
	}
}

func (w *writes) create(ctx context.Context, in *createGroup) (*httpx.Raw, error) {
	roles, err := w.roles(ctx, in.Body.AssignedRoles, "assignedRoles")
	if err != nil {
		return nil, err
	}
	n, err := w.Reads.Count(ctx)
	if err != nil {
		return nil, err
	}
	if n >= maxGroups {
		return nil, fault.New(fault.Denied, qlik.CodeQuota, "a tenant holds at most %d groups", maxGroups)
	}
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateGroup{ID: id, Details: commanded.Details{Name: in.Body.Name}, Active: true, Roles: roles.ids})
	if err != nil {
		return nil, roles.locate(err)
	}
	if done.Current {
		return w.Reads.Group(ctx, http.StatusCreated, id)
	}
	return w.early(ctx, done.State)
}

// early answers with a group that the read models do not have yet.
func (w *writes) early(ctx context.Context, g directory.Group) (*httpx.Raw, error) {
	roles := make([]directory.Role, len(g.Roles))
	for i, id := range g.Roles {
		var err error
		if roles[i], _, err = commands.Load[directory.Role](ctx, w.Bus, directory.RoleStream(id)); err != nil {
			return nil, err
		}
	}
	return qlik.GroupOf(ctx, http.StatusCreated, g, roles)
}

func (w *writes) delete(ctx context.Context, in *qlik.ByID) (*struct{}, error) {
	id, err := w.inTenant(ctx, in.GroupID)
	if err != nil {
		return nil, err
	}
	_, err = commands.Send(ctx, w.Bus, commanded.DeleteGroup{ID: id})
	return nil, err
}

// inTenant is the id of a group of the caller's own tenant; a group below it is
// not in this API's reach, and neither is Everyone.
func (w *writes) inTenant(ctx context.Context, text string) (domain.ID, error) {
	id, err := qlik.GroupID(text)
	if err != nil {
		return id, err
	}
	group, _, err := commands.Load[directory.Group](ctx, w.Bus, directory.GroupStream(id))
	if err != nil {
		return id, err
	}
	actor, _ := domain.ActorOf(ctx)
	if !group.Exists() || group.OrganizationID != actor.Tenant {
		return id, qlik.NoSuchGroup(text)
	}
	return id, nil
}
