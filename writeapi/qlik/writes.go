// Package qlik is the writing half of the Qlik Cloud Groups API v1: bodies and
// JSON patches in, commands out.
package qlik

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/qlik"
)

// Limits as documented.
const (
	maxRoles  = 100
	maxGroups = 10_000
)

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
		AssignedRoles assignedRoles `json:"assignedRoles,omitempty"`
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
	done, err := commands.Send(ctx, w.Bus, commanded.CreateGroup{ID: id, Details: commanded.Details{Name: in.Body.Name}, Active: true, Roles: roles})
	if err != nil {
		return nil, err
	}
	if !done.Current {
		return w.Reads.GroupOf(ctx, http.StatusCreated, done.State)
	}
	return w.Reads.Group(ctx, http.StatusCreated, id)
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
		return id, fault.New(fault.NotFound, qlik.CodeMissing, "there is no group %.40q", text)
	}
	return id, nil
}

// assignedRoles names roles, all by id or all by name.
type assignedRoles []struct {
	ID   *string `json:"id,omitempty"`
	Name *string `json:"name,omitempty"`
}

// roles finds the roles behind references; base is where they stand in the
// body. Double ones count once.
func (w *writes) roles(ctx context.Context, refs assignedRoles, base string) ([]domain.ID, error) {
	at := func(i int, member string) string { return fmt.Sprintf("%s[%d].%s", base, i, member) }
	if len(refs) > maxRoles {
		return nil, fault.InvalidField(base, "has more than %d roles", maxRoles)
	}
	var ids []domain.ID
	var names []string
	for i, ref := range refs {
		switch {
		case (ref.ID == nil) == (ref.Name == nil):
			return nil, fault.InvalidField(fmt.Sprintf("%s[%d]", base, i), "must have either an id or a name")
		case ref.ID != nil:
			id, err := domain.ParseShortID(*ref.ID)
			if err != nil {
				return nil, unknownRole(at(i, "id"))
			}
			ids = append(ids, id)
		default:
			names = append(names, *ref.Name)
		}
	}
	if len(ids) > 0 && len(names) > 0 {
		return nil, fault.InvalidField(base, "must name its roles all by id or all by name")
	}
	if len(names) > 0 {
		var err error
		if ids, err = w.Reads.RolesByName(ctx, names, func(i int) string { return at(i, "name") }); err != nil {
			return nil, err
		}
	}
	return unique(ids), nil
}

func unknownRole(path string) error {
	f := fault.InvalidField(path, "there is no such role")
	f.Code = qlik.CodeRole
	return f
}

func unique(ids []domain.ID) []domain.ID {
	seen := make(map[domain.ID]bool, len(ids))
	out := ids[:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// operation is one step of a JSON patch. Unknown members are ignored (RFC 6902).
type operation struct {
	Op    string          `json:"op" enum:"replace"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}

// read decodes the value of a step.
func (o operation) read(i int, v any) error {
	if len(o.Value) == 0 {
		return badPatch(i, "value", "is missing")
	}
	if err := json.Unmarshal(o.Value, v); err != nil || string(o.Value) == "null" {
		return badPatch(i, "value", "does not fit %s", o.Path)
	}
	return nil
}

func badPatch(i int, member, format string, args ...any) error {
	f := fault.InvalidField(fmt.Sprintf("[%d].%s", i, member), format, args...)
	f.Code = qlik.CodePatch
	return f
}
