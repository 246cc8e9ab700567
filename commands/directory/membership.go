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

// JoinGroups puts a user or recipient into groups of their organizations. Groups
// they are in already are no change. Problems: groups, groups[i].id.
type JoinGroups struct {
	UserID domain.ID
	Groups []domain.ID
}

func (c JoinGroups) Name() string         { return "directory.join-groups" }
func (c JoinGroups) Stream() string       { return directory.UserStream(c.UserID) }
func (c JoinGroups) Permission() string   { return "groups.edit" }
func (c JoinGroups) Refs() []commands.Ref { return groupRefs(c.Groups) }

// Explore implements commands.Exploring.
func (c JoinGroups) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, c.Groups)
}

// Decide implements commands.Command.
func (c JoinGroups) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	return regroup(c.UserID, u, env, func(had []domain.ID) []domain.ID { return slices.Concat(c.Groups, without(had, c.Groups)) })
}

// SetGroups makes a user or recipient a member of exactly these groups; what the
// actor doesn't see stays. Problems: groups, groups[i].id.
type SetGroups struct {
	UserID domain.ID
	Groups []domain.ID
}

func (c SetGroups) Name() string         { return "directory.set-groups" }
func (c SetGroups) Stream() string       { return directory.UserStream(c.UserID) }
func (c SetGroups) Permission() string   { return "groups.edit" }
func (c SetGroups) Refs() []commands.Ref { return groupRefs(c.Groups) }

// Explore implements commands.Exploring.
func (c SetGroups) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, c.Groups)
}

// Decide implements commands.Command.
func (c SetGroups) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	return regroup(c.UserID, u, env, func([]domain.ID) []domain.ID { return c.Groups })
}

// LeaveGroups takes a user or recipient out of groups. Groups they are not in are
// no change. Problems: groups[i].id.
type LeaveGroups struct {
	UserID domain.ID
	Groups []domain.ID
}

func (c LeaveGroups) Name() string         { return "directory.leave-groups" }
func (c LeaveGroups) Stream() string       { return directory.UserStream(c.UserID) }
func (c LeaveGroups) Permission() string   { return "groups.edit" }
func (c LeaveGroups) Refs() []commands.Ref { return groupRefs(c.Groups) }

// Explore implements commands.Exploring.
func (c LeaveGroups) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, nil)
}

// Decide implements commands.Command.
func (c LeaveGroups) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	v := &verdict{env: env}
	named[directory.Group](v, "groups", directory.GroupStream, MaxGroups, c.Groups)
	if err := v.Err(); err != nil && u.Exists() {
		return nil, err
	}
	return regroup(c.UserID, u, env, func(had []domain.ID) []domain.ID { return without(had, c.Groups) })
}

// regroup changes the groups that somebody is in, as far as the actor sees them.
func regroup(id domain.ID, u directory.User, env commands.Env, wanted func(had []domain.ID) []domain.ID) ([]domain.Event, error) {
	if !u.Exists() {
		return nil, fault.Missing("user", id)
	}
	var had []domain.ID
	for _, g := range u.Groups {
		if visible(env, looked[directory.Group](env, directory.GroupStream(g))) {
			had = append(had, g)
		}
	}
	d := change{v: &verdict{env: env}, was: u}
	d.membership(Membership{Groups: orEmpty(wanted(had))})
	return d.done()
}
