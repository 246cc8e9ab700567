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

type groupMembers struct {
	Body struct {
		GroupID     uuid.UUID   `json:"groupId"`
		Name        string      `json:"name" minLength:"1"`
		Description *string     `json:"description,omitempty" nullable:"true"`
		UserIDs     []uuid.UUID `json:"userIds,omitempty" nullable:"true" maxItems:"10000"`
	}
}

type updateGroup struct {
	ID   uuid.UUID `path:"id"`
	Body groupBody
}

func registerGroups(w *writes) {
	tags := []string{"Group"}
	create[qalyptus.Group](w, httpx.Op{ID: "22", Path: "/groups", Summary: "Add group", Tags: tags, Permission: "groups.create"}, w.addGroup)
	update[qalyptus.Group](w, httpx.Op{ID: "25", Path: "/groups/{id}", Summary: "Update group", Tags: tags, Permission: "groups.edit"}, w.updateGroup)
	update[qalyptus.Group](w, httpx.Op{ID: "29", Path: "/groups/members", Summary: "Update group members", Tags: tags, Permission: "groups.edit"}, w.setMembers)
	removeOne(w, httpx.Op{ID: "27", Path: "/groups/{id}", Summary: "Delete group", Tags: tags, Permission: "groups.delete"}, deleteGroup)
	removeMany(w, httpx.Op{ID: "24", Path: "/groups", Summary: "Delete multiple groups", Tags: tags, Permission: "groups.delete"}, deleteGroup)
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
	return answer(ctx, w, status, qalyptus.GroupShape, id, done, err, func(g directory.Group) qalyptus.Group {
		users, err := w.Contents.Members(ctx, id)
		if err != nil {
			users = nil // as with names
		}
		return qalyptus.GroupOf(g, len(users), w.names(ctx, g.OrganizationID))
	})
}

// setMembers replaces who is in a group, and what describes it: the body of this
// operation repeats the group's name and description. userIds null or absent
// leaves the members as they are.
func (w *writes) setMembers(ctx context.Context, in *groupMembers) (*httpx.Raw, error) {
	group := commanded.UpdateGroup{ID: in.Body.GroupID, Details: commanded.Details{Name: in.Body.Name, Description: text(in.Body.Description)}}
	// All or nothing, and what is wrong with the group is no user's fault.
	if err := commands.Check(ctx, w.Bus, group); err != nil {
		return nil, err
	}
	changes, err := w.memberChanges(ctx, in.Body.GroupID, in.Body.UserIDs)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if err := commands.Check(ctx, w.Bus, c.command); err != nil {
			return nil, c.named(err)
		}
	}
	var done commands.Result[directory.Group]
	current, err := commands.Together(ctx, w.Bus, func(ctx context.Context) (err error) {
		// The group first: its name may be taken.
		if done, err = commands.Send(ctx, w.Bus, group); err != nil {
			return err
		}
		for _, c := range changes {
			if _, err := commands.Send(ctx, w.Bus, c.command); err != nil {
				return c.named(err)
			}
		}
		return nil
	})
	done.Current = current
	return w.group(ctx, http.StatusOK, in.Body.GroupID, done, err)
}

// memberChange is a command that puts somebody into a group or takes them out.
type memberChange struct {
	command commands.Command[directory.User]
	path    string // of the user in the body; "" for who leaves
}

// named says whom in the body a refusal is about.
func (c memberChange) named(err error) error {
	if c.path == "" {
		return err
	}
	return on(c.path, err)
}

// memberChanges lead from the members a group has to those it shall have.
// Members live with the users, so there is one command for each.
func (w *writes) memberChanges(ctx context.Context, group domain.ID, want []domain.ID) ([]memberChange, error) {
	if want == nil {
		return nil, nil
	}
	have, err := w.Contents.Members(ctx, group)
	if err != nil {
		return nil, err
	}
	var changes []memberChange
	had, wanted := setOf(have), make(map[domain.ID]bool, len(want))
	for i, id := range want {
		path := fmt.Sprintf("userIds[%d]", i)
		if wanted[id] {
			return nil, fault.InvalidField(path, "is named twice")
		}
		wanted[id] = true
		if !had[id] {
			changes = append(changes, memberChange{commanded.JoinGroup{UserID: id, GroupID: group}, path})
		}
	}
	for _, id := range have {
		if !wanted[id] {
			changes = append(changes, memberChange{commanded.LeaveGroup{UserID: id, GroupID: group}, ""})
		}
	}
	return changes, nil
}

func setOf(list []domain.ID) map[domain.ID]bool {
	set := make(map[domain.ID]bool, len(list))
	for _, id := range list {
		set[id] = true
	}
	return set
}
