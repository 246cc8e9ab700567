package qlik

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/readapi/qlik"
)

// maxSteps bounds a patch: there are no more than three paths to replace.
const maxSteps = 100

// operation is one step of a JSON patch. Unknown members are ignored (RFC 6902).
type operation struct {
	Op    string          `json:"op" enum:"replace"`
	Path  string          `json:"path" doc:"Of a group /assignedRoles; of the settings /autoCreateGroups, /syncIdpGroups or /systemGroups/000000000000000000000001/assignedRoles."`
	Value json.RawMessage `json:"value,omitempty" doc:"Of assignedRoles a list of up to 100 roles, all by id or all by name; of the others true or false."`
}

// read decodes the value of a step.
func (o operation) read(i int, v any) error {
	if len(o.Value) == 0 {
		return badPatch(i, "value", "is required")
	}
	if err := json.Unmarshal(o.Value, v); err != nil || string(o.Value) == "null" {
		return badPatch(i, "value", "does not fit %.100s", o.Path)
	}
	return nil
}

func badPatch(i int, member, format string, args ...any) error {
	return fault.InvalidField(fmt.Sprintf("[%d].%s", i, member), format, args...)
}

func checkSteps(steps []operation) error {
	if len(steps) > maxSteps {
		return fault.New(fault.Invalid, qlik.CodePatch, "a patch holds at most %d operations", maxSteps)
	}
	return nil
}

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
	if err := checkSteps(in.Body); err != nil {
		return nil, err
	}
	for i, step := range in.Body {
		// The documents give both spellings of the path.
		if strings.TrimPrefix(step.Path, "/") != "assignedRoles" {
			return nil, badPatch(i, "path", "must be /assignedRoles")
		}
		roles, err := w.stepRoles(ctx, i, step)
		if err != nil {
			return nil, err
		}
		command := commanded.SetGroupRoles{ID: id, Roles: roles.ids}
		if i < len(in.Body)-1 {
			err = commands.Check(ctx, w.Bus, command)
		} else {
			_, err = commands.Send(ctx, w.Bus, command)
		}
		if err != nil {
			return nil, roles.locate(err)
		}
	}
	return nil, nil
}

// stepRoles reads the value of a step that replaces roles.
func (w *writes) stepRoles(ctx context.Context, i int, step operation) (chosen, error) {
	var refs assignedRoles
	if err := step.read(i, &refs); err != nil {
		return chosen{}, err
	}
	return w.roles(ctx, refs, fmt.Sprintf("[%d].value", i))
}

type patchSettings struct{ Body []operation }

// patchSettings changes the settings of the caller's tenant, all steps or none.
func (w *writes) patchSettings(ctx context.Context, in *patchSettings) (*struct{}, error) {
	if err := checkSteps(in.Body); err != nil {
		return nil, err
	}
	actor, _ := domain.ActorOf(ctx)
	change := commanded.ChangeGroupSettings{OrganizationID: actor.Tenant}
	var roles chosen
	for i, step := range in.Body {
		var err error
		switch step.Path {
		case "/autoCreateGroups":
			change.AutoCreateGroups, err = flag(i, step)
		case "/syncIdpGroups":
			change.SyncIdpGroups, err = flag(i, step)
		case "/systemGroups/" + qlik.EveryoneID + "/assignedRoles":
			if err = w.check(ctx, change, roles); err == nil { // roles of an earlier step
				roles, err = w.stepRoles(ctx, i, step)
				change.EveryoneRoles = &roles.ids
			}
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
	if _, err := commands.Send[directory.GroupSettings](ctx, w.Bus, change); err != nil {
		return nil, roles.locate(err)
	}
	return nil, nil
}

// check refuses roles that a later step replaces again.
func (w *writes) check(ctx context.Context, change commanded.ChangeGroupSettings, roles chosen) error {
	if change.EveryoneRoles == nil {
		return nil
	}
	if err := commands.Check[directory.GroupSettings](ctx, w.Bus, change); err != nil {
		return roles.locate(err)
	}
	return nil
}

func flag(i int, step operation) (*bool, error) {
	var on bool
	err := step.read(i, &on)
	return &on, err
}
