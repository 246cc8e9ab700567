package directory

import (
	"slices"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// Origin is the user directory that an entry comes from.
type Origin struct {
	DirectoryID    domain.ID
	OrganizationID domain.ID
}

func (o Origin) source() string { return o.DirectoryID.String() }

// SyncUser makes a user what their user directory says of them, or adds them.
// Language, roles, other organizations and groups that are not of the directory
// stay. Only the system sends it. Problems as of UpdateUser, and externalId.
type SyncUser struct {
	ID         domain.ID
	From       Origin
	ExternalID string
	Person     Person
	Department string
	Active     bool
	Groups     []domain.ID // of the directory
	Role       *domain.ID  // of who is added; nil or a role that is gone: none
	Invite     bool        // who is added, if there is a mail address
}

func (c SyncUser) Name() string       { return "directory.sync-user" }
func (c SyncUser) Stream() string     { return directory.UserStream(c.ID) }
func (c SyncUser) Permission() string { return onlySystem }
func (c SyncUser) NumberKind() string { return "user" }

// Refs implements commands.Referring.
func (c SyncUser) Refs() []commands.Ref {
	all := append(groupRefs(c.Groups), organizationRefs(c.From.OrganizationID)...)
	if c.Role != nil {
		all = append(all, roleRefs([]domain.ID{*c.Role})...)
	}
	return all
}

// Explore implements commands.Exploring.
func (c SyncUser) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, c.Groups)
}

// Decide implements commands.Command.
func (c SyncUser) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if err := ofDirectory("user", c.ID, u.ID, u.Exists(), u.Source, c.From, env); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	v.Check(c.ExternalID != "", "externalId", "must not be empty")
	if len(c.Groups) > MaxGroups { // more were not looked at
		v.Add("groups", "must not hold more than %d entries", MaxGroups)
		return nil, v.Err()
	}
	if !u.Exists() {
		return c.add(v)
	}
	d, person := change{v: v, was: u}, c.Person
	if person.DomainAccount == "" {
		person.DomainAccount = u.DomainAccount // not every directory has a say in it
	}
	d.profile(person)
	d.activation(&c.Active)
	d.details(UserDetails{Department: &c.Department, ExternalID: &c.ExternalID})
	d.follow(c.Groups, c.From)
	return d.done()
}

// Settled tells whether the command would find nothing to do, going by the user
// alone. of tells which groups are of the directory. It may be false although
// there is nothing to do.
func (c SyncUser) Settled(u directory.User, of func(group domain.ID) bool) bool {
	p := c.Person
	return u.Exists() && u.Source == c.From.source() && u.Active == c.Active && u.Details.ExternalID == c.ExternalID && u.Details.Department == c.Department &&
		u.UserName == or(p.UserName, u.UserName) && (p.DomainAccount == "" || p.DomainAccount == u.DomainAccount) && u.FirstName == p.FirstName && u.LastName == p.LastName &&
		u.Email == p.Email && sameSet(c.Groups, slices.DeleteFunc(slices.Clone(u.Groups), func(g domain.ID) bool { return !of(g) }))
}

func (c SyncUser) add(v *verdict) ([]domain.Event, error) {
	details := UserDetails{Department: &c.Department, ExternalID: &c.ExternalID}.check(v, directory.UserDetails{})
	roles := []domain.ID{}
	if c.Role != nil && looked[directory.Role](v.env, directory.RoleStream(*c.Role)).Exists() {
		roles = append(roles, *c.Role)
	}
	events, err := create(v, directory.User{}, directory.UserCreated{ID: c.ID, Kind: directory.KindUser, Active: c.Active,
		Invite: c.Invite && c.Person.Email != "", Source: c.From.source(), Roles: roles},
		c.Person, Membership{Organizations: []domain.ID{c.From.OrganizationID}, Groups: live[directory.Group](v.env, directory.GroupStream, c.Groups)})
	if err != nil {
		return nil, err
	}
	return append(events, detailsChanged(c.ID, details, v.env.Now)), nil
}

// follow makes the groups of a user directory that somebody is in those that it
// says. Who was taken out of the directory's organization is in none of them.
func (d *change) follow(wanted []domain.ID, from Origin) {
	of := func(g directory.Group) bool { return g.Exists() && g.Source == from.source() }
	group := func(id domain.ID) directory.Group { return looked[directory.Group](d.v.env, directory.GroupStream(id)) }
	var had, is []domain.ID
	for _, id := range d.was.Groups {
		if of(group(id)) {
			had = append(had, id)
		}
	}
	for _, id := range wanted {
		if g := group(id); of(g) && slices.Contains(d.was.InOrgs, g.OrganizationID) && !slices.Contains(is, id) {
			is = append(is, id)
		}
	}
	joined, left := without(is, had), without(had, is)
	d.v.Check(len(d.was.Groups)+len(joined)-len(left) <= MaxGroups, "groups", "must not hold more than %d entries", MaxGroups)
	if len(joined)+len(left) > 0 {
		d.add(directory.UserGroupsChanged{ID: d.was.ID, Joined: joined, Left: left, At: d.v.env.Now})
	}
}

// DropUser deactivates a user who is no longer in their user directory. Only the
// system sends it.
type DropUser struct {
	ID   domain.ID
	From Origin
}

func (c DropUser) Name() string       { return "directory.drop-user" }
func (c DropUser) Stream() string     { return directory.UserStream(c.ID) }
func (c DropUser) Permission() string { return onlySystem }

// Decide implements commands.Command.
func (c DropUser) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if err := ofDirectory("user", c.ID, u.ID, u.Exists(), u.Source, c.From, env); err != nil || !u.Active {
		return nil, err
	}
	return []domain.Event{directory.UserDeactivated{ID: c.ID, At: env.Now}}, nil
}

// SyncGroup makes a group what its user directory says of it, or adds it. Its
// description and roles stay. Only the system sends it. Problems: name,
// externalId.
type SyncGroup struct {
	ID          domain.ID
	From        Origin
	ExternalID  string
	DisplayName string
}

func (c SyncGroup) Name() string       { return "directory.sync-group" }
func (c SyncGroup) Stream() string     { return directory.GroupStream(c.ID) }
func (c SyncGroup) Permission() string { return onlySystem }
func (c SyncGroup) NumberKind() string { return "group" }

// Refs implements commands.Referring.
func (c SyncGroup) Refs() []commands.Ref { return organizationRefs(c.From.OrganizationID) }

// Decide implements commands.Command.
func (c SyncGroup) Decide(g directory.Group, env commands.Env) ([]domain.Event, error) {
	if err := ofDirectory("group", c.ID, g.ID, g.Exists(), g.Source, c.From, env); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	v.Check(c.ExternalID != "", "externalId", "must not be empty")
	name := rule.Name(&v.Problems, "name", c.DisplayName)
	linked := v.link(c.ID, c.From.source(), c.ExternalID)
	if !g.Exists() {
		v.organization("organizationId", c.From.OrganizationID)
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	if !g.Exists() {
		return []domain.Event{directory.GroupCreated{ID: c.ID, Number: env.Number, OrganizationID: c.From.OrganizationID, Name: name,
			Active: true, Roles: []domain.ID{}, CreatedAt: env.Now}, linked}, nil
	}
	var events []domain.Event
	if name != g.Name {
		events = append(events, directory.GroupDetailsChanged{ID: c.ID, Name: name, Description: g.Description, ChangedAt: env.Now})
	}
	if linked.ExternalID != g.ExternalID {
		events = append(events, linked)
	}
	if !g.Active {
		events = append(events, directory.GroupActivated{ID: c.ID, At: env.Now})
	}
	return events, nil
}

// DropGroup deactivates a group that is no longer in its user directory. Only the
// system sends it.
type DropGroup struct {
	ID   domain.ID
	From Origin
}

func (c DropGroup) Name() string       { return "directory.drop-group" }
func (c DropGroup) Stream() string     { return directory.GroupStream(c.ID) }
func (c DropGroup) Permission() string { return onlySystem }

// Decide implements commands.Command.
func (c DropGroup) Decide(g directory.Group, env commands.Env) ([]domain.Event, error) {
	if err := ofDirectory("group", c.ID, g.ID, g.Exists(), g.Source, c.From, env); err != nil || !g.Active {
		return nil, err
	}
	return []domain.Event{directory.GroupDeactivated{ID: c.ID, At: env.Now}}, nil
}

// ofDirectory refuses what only the system does, what was deleted meanwhile, and
// things that are not of this user directory.
func ofDirectory(what string, id, was domain.ID, there bool, source string, from Origin, env commands.Env) error {
	switch {
	case env.Actor.UserID != domain.SystemID:
		return fault.New(fault.Denied, "denied", "only the system does this")
	case was != (domain.ID{}) && !there:
		return fault.Missing(what, id)
	case there && source != from.source():
		return fault.New(fault.Conflict, what+".foreign", "the %s does not come from this user directory", what)
	}
	return nil
}
