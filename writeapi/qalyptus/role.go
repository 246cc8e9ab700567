package qalyptus

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

type roleBody struct {
	Name        string                     `json:"name" minLength:"1"`
	Description *string                    `json:"description,omitempty" nullable:"true"`
	AllProjects bool                       `json:"allProjects,omitempty"`
	Projects    []entity                   `json:"projects,omitempty" nullable:"true"`
	Permissions map[string]map[string]bool `json:"permissions" doc:"By area, which actions are allowed; what is not named is not."`
	IsActive    bool                       `json:"isActive"`
}

func (b roleBody) details() commanded.Details {
	return commanded.Details{Name: b.Name, Description: text(b.Description)}
}

// rights reads the permissions; areas and actions that are not in the catalogue
// are named in the fault.
func (b roleBody) rights() (commanded.Rights, error) {
	var problems fault.Problems
	rights := commanded.Rights{AllProjects: b.AllProjects, Projects: idsOf(b.Projects)}
	for _, area := range slices.Sorted(maps.Keys(b.Permissions)) { // sorted: the same request gets the same answer
		actions := b.Permissions[area]
		if directory.Actions(area) == nil {
			problems.Add("permissions."+area, "is no area of rights")
			continue
		}
		for _, action := range slices.Sorted(maps.Keys(actions)) {
			known := slices.Contains(directory.Actions(area), action)
			problems.Check(known, fmt.Sprintf("permissions.%s.%s", area, action), "is no right of this area")
			if known && actions[action] {
				rights.Permissions = append(rights.Permissions, area+"."+action)
			}
		}
	}
	return rights, problems.Err()
}

type addRole struct{ Body roleBody }

type updateRole struct {
	ID   uuid.UUID `path:"id"`
	Body roleBody
}

func registerRoles(w *writes) {
	tags := []string{"Security"}
	create[qalyptus.Role](w, httpx.Op{ID: "99", Path: "/security/roles", Summary: "Add role", Tags: tags, Permission: "roles.create"}, w.addRole)
	update[qalyptus.Role](w, httpx.Op{ID: "103", Path: "/security/roles/{id}", Summary: "Update role", Tags: tags, Permission: "roles.edit"}, w.updateRole)
	removeOne(w, httpx.Op{ID: "102", Path: "/security/roles/{id}", Summary: "Delete role", Tags: tags, Permission: "roles.delete"}, deleteRole)
	removeMany(w, httpx.Op{ID: "104", Path: "/security/roles", Summary: "Delete roles", Tags: tags, Permission: "roles.delete"}, deleteRole)
}

func deleteRole(id domain.ID) commands.Command[directory.Role] { return commanded.DeleteRole{ID: id} }

func (w *writes) addRole(ctx context.Context, in *addRole) (*httpx.Raw, error) {
	rights, err := in.Body.rights()
	if err != nil {
		return nil, err
	}
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateRole{ID: id, Details: in.Body.details(), Rights: rights, Active: in.Body.IsActive})
	return w.role(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) updateRole(ctx context.Context, in *updateRole) (*httpx.Raw, error) {
	rights, err := in.Body.rights()
	if err != nil {
		return nil, err
	}
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateRole{ID: in.ID, Details: in.Body.details(), Rights: rights, Active: in.Body.IsActive})
	return w.role(ctx, http.StatusOK, in.ID, done, err)
}

func (w *writes) role(ctx context.Context, status int, id domain.ID, done commands.Result[directory.Role], err error) (*httpx.Raw, error) {
	return answer(ctx, w, status, qalyptus.RoleShape, id, done, err, func(r directory.Role) qalyptus.Role {
		return qalyptus.RoleOf(r, w.names(ctx, r.Projects...))
	})
}
