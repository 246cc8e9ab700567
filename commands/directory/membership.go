package directory

import (
	"slices"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// JoinGroup puts a user or recipient into a group of one of their
// organizations. Who is in it already stays. Problems: userId, groupId.
type JoinGroup struct {
	UserID  domain.ID
	GroupID domain.ID
}

func (c JoinGroup) Name() string         { return "directory.join-group" }
func (c JoinGroup) Stream() string       { return directory.UserStream(c.UserID) }
func (c JoinGroup) Permission() string   { return "groups.edit" }
func (c JoinGroup) Refs() []commands.Ref { return groupRefs([]domain.ID{c.GroupID}) }

// Explore implements commands.Exploring.
func (c JoinGroup) Explore(_ directory.User, env commands.Env) []commands.Ref {
	return roleRefs(looked[directory.Group](env, directory.GroupStream(c.GroupID)).Roles)
}

// Decide implements commands.Command.
func (c JoinGroup) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	g, err := membership(u, c.UserID, c.GroupID, env)
	if err != nil {
		return nil, err
	}
	if slices.Contains(u.Groups, c.GroupID) {
		return nil, nil
	}
	v := &verdict{env: env}
	v.Check(slices.Contains(u.InOrgs, g.OrganizationID), "userId", "is not in the group's organization")
	v.Check(len(u.Groups) < MaxGroups, "userId", "is in %d groups, which is the most", MaxGroups)
	v.joining("groupId", g)
	if err := v.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{directory.UserGroupsChanged{ID: c.UserID, Joined: []domain.ID{c.GroupID}, Left: []domain.ID{}, At: env.Now}}, nil
}

// LeaveGroup takes a user or recipient out of a group.
type LeaveGroup struct {
	UserID  domain.ID
	GroupID domain.ID
}

func (c LeaveGroup) Name() string         { return "directory.leave-group" }
func (c LeaveGroup) Stream() string       { return directory.UserStream(c.UserID) }
func (c LeaveGroup) Permission() string   { return "groups.edit" }
func (c LeaveGroup) Refs() []commands.Ref { return groupRefs([]domain.ID{c.GroupID}) }

// Decide implements commands.Command.
func (c LeaveGroup) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if _, err := membership(u, c.UserID, c.GroupID, env); err != nil {
		return nil, err
	}
	if !slices.Contains(u.Groups, c.GroupID) {
		return nil, nil
	}
	return []domain.Event{directory.UserGroupsChanged{ID: c.UserID, Joined: []domain.ID{}, Left: []domain.ID{c.GroupID}, At: env.Now}}, nil
}

// membership finds the group and refuses what is not there.
func membership(u directory.User, userID, groupID domain.ID, env commands.Env) (directory.Group, error) {
	g := looked[directory.Group](env, directory.GroupStream(groupID))
	switch {
	case groupID == directory.EveryoneID:
		return g, system("group", "Everyone")
	case !visible(env, g):
		return g, fault.Missing("group", groupID)
	case !u.Exists():
		return g, fault.Missing("user", userID)
	}
	return g, nil
}
