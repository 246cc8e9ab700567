package qlik

import (
	"context"
	"fmt"
	"strings"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/readapi/qlik"
)

type patchGroup struct {
	GroupID string `path:"groupId"`
	Body    []operation
}

// patchGroup replaces the roles of a group. Of several steps on one path the
// last one counts; a step that is wrong stops all of them.
func (w *writes) patchGroup(ctx context.Context, in *patchGroup) (*struct{}, error) {
	id, err := w.inTenant(ctx, in.GroupID)
	if err != nil {
		return nil, err
	}
	var roles []domain.ID
	for i, step := range in.Body {
		// The documents give both spellings of the path.
		if strings.TrimPrefix(step.Path, "/") != "assignedRoles" {
			return nil, badPatch(i, "path", "must be /assignedRoles")
		}
		if roles, err = w.stepRoles(ctx, i, step); err != nil {
			return nil, err
		}
	}
	if len(in.Body) == 0 {
		return nil, nil
	}
	_, err = commands.Send(ctx, w.Bus, commanded.SetGroupRoles{ID: id, Roles: roles})
	return nil, err
}

// stepRoles reads the value of a step that replaces roles.
func (w *writes) stepRoles(ctx context.Context, i int, step operation) ([]domain.ID, error) {
	var refs assignedRoles
	if err := step.read(i, &refs); err != nil {
		return nil, err
	}
	return w.roles(ctx, refs, fmt.Sprintf("[%d].value", i))
}

type patchSettings struct{ Body []operation }

// patchSettings changes the settings of the caller's tenant, all steps or none.
func (w *writes) patchSettings(ctx context.Context, in *patchSettings) (*struct{}, error) {
	actor, _ := domain.ActorOf(ctx)
	change := commanded.ChangeGroupSettings{OrganizationID: actor.Tenant}
	for i, step := range in.Body {
		var err error
		switch step.Path {
		case "/autoCreateGroups":
			change.AutoCreateGroups, err = flag(i, step)
		case "/syncIdpGroups":
			change.SyncIdpGroups, err = flag(i, step)
		case "/systemGroups/" + qlik.EveryoneID + "/assignedRoles":
			var roles []domain.ID
			roles, err = w.stepRoles(ctx, i, step)
			change.EveryoneRoles = &roles
		default:
			err = badPatch(i, "path", "must be /autoCreateGroups, /syncIdpGroups or /systemGroups/%s/assignedRoles", qlik.EveryoneID)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(in.Body) == 0 {
		return nil, nil
	}
	_, err := commands.Send[directory.GroupSettings](ctx, w.Bus, change)
	return nil, err
}

func flag(i int, step operation) (*bool, error) {
	var on bool
	err := step.read(i, &on)
	return &on, err
}
