package directory

import (
	"slices"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// UpdateUser makes a user what the command says; only what differs is recorded.
// What the actor doesn't see of a user's roles, organizations and groups stays.
// Who changes a short id needs shortIds.generate as well, and cards cards.manage.
// Problems as of CreateUser, and password, pin, cards, isActive.
type UpdateUser struct {
	ID           domain.ID
	Person       Person
	PasswordHash string      // "": as it is
	Active       *bool       // nil: as it is
	Invite       bool        // send a mail to choose a password
	Roles        []domain.ID // nil: as they are
	Membership   Membership
	Details      UserDetails
	PINHash      *string  // nil: as it is; "": none
	Cards        []string // nil: as they are; empty: none
}

func (c UpdateUser) Name() string         { return "directory.update-user" }
func (c UpdateUser) Stream() string       { return directory.UserStream(c.ID) }
func (c UpdateUser) Permission() string   { return "users.edit" }
func (c UpdateUser) Refs() []commands.Ref { return append(c.Membership.refs(), roleRefs(c.Roles)...) }

// Explore implements commands.Exploring.
func (c UpdateUser) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, c.Membership.Groups)
}

// Decide implements commands.Command.
func (c UpdateUser) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if !u.Exists() || u.Kind != directory.KindUser {
		return nil, fault.Missing("user", c.ID)
	}
	v := &verdict{env: env}
	d := change{v: v, was: u}
	d.profile(c.Person)
	d.password(c.PasswordHash)
	d.activation(c.Active)
	d.details(c.Details)
	d.pin(c.PINHash)
	d.cards(c.Cards)
	if c.Roles != nil {
		d.roles(v.roles(u.Roles, c.Roles))
	}
	d.membership(c.Membership)
	if c.Invite {
		v.checkInvite(true, d.email)
		d.add(directory.UserInvited{ID: c.ID, At: env.Now})
	}
	return d.done()
}

// UpdateRecipient is UpdateUser for a recipient, whose one role stays.
type UpdateRecipient struct {
	ID           domain.ID
	Person       Person
	PasswordHash string // "": as it is
	Active       *bool  // nil: as it is
	Membership   Membership
}

func (c UpdateRecipient) Name() string         { return "directory.update-recipient" }
func (c UpdateRecipient) Stream() string       { return directory.UserStream(c.ID) }
func (c UpdateRecipient) Permission() string   { return "users.edit" }
func (c UpdateRecipient) Refs() []commands.Ref { return c.Membership.refs() }

// Explore implements commands.Exploring.
func (c UpdateRecipient) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, c.Membership.Groups)
}

// Decide implements commands.Command.
func (c UpdateRecipient) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if !u.Exists() || u.Kind != directory.KindRecipient {
		return nil, fault.Missing("recipient", c.ID)
	}
	d := change{v: &verdict{env: env}, was: u}
	d.profile(c.Person)
	d.password(c.PasswordHash)
	d.activation(c.Active)
	d.membership(c.Membership)
	return d.done()
}

// ConvertRecipient makes a recipient a user who can log in. Problems: roles,
// roles[i].id, groups, language, domain, sendNotification.
type ConvertRecipient struct {
	ID            domain.ID
	Roles         []domain.ID // at least one; they replace the recipient's
	Active        bool
	Invite        bool // send a mail to choose a password
	Language      string
	DomainAccount string // "": as it is
}

func (c ConvertRecipient) Name() string         { return "directory.convert-recipient" }
func (c ConvertRecipient) Stream() string       { return directory.UserStream(c.ID) }
func (c ConvertRecipient) Permission() string   { return "users.edit" }
func (c ConvertRecipient) Refs() []commands.Ref { return roleRefs(c.Roles) }

// Explore implements commands.Exploring.
func (c ConvertRecipient) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, nil)
}

// Decide implements commands.Command.
func (c ConvertRecipient) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	switch {
	case !u.Exists():
		return nil, fault.Missing("recipient", c.ID)
	case u.Kind != directory.KindRecipient:
		return nil, fault.New(fault.Conflict, "recipient.converted", "%s is a user already", c.ID)
	}
	v := &verdict{env: env}
	d := change{v: v, was: u}
	d.add(directory.RecipientConverted{ID: c.ID, Invite: c.Invite, At: env.Now})
	is := profileOf(u)
	is.Language = rule.Language(&v.Problems, "language", c.Language, fallbackLanguage(u))
	if account := rule.Line(&v.Problems, "domain", c.DomainAccount, rule.MaxName); account != "" {
		is.DomainAccount = account
	}
	d.replaceProfile(is)
	v.Check(!c.Invite || u.Email != "", "sendNotification", "needs a mail address, which the recipient does not have")
	d.activation(&c.Active)
	for _, id := range live[directory.Group](env, directory.GroupStream, u.Groups) {
		// What a recipient's groups give begins to count now.
		v.joining("groups", looked[directory.Group](env, directory.GroupStream(id)))
	}
	v.Check(len(c.Roles) > 0, "roles", "must hold at least one")
	d.roles(v.roles(u.Roles, c.Roles))
	return d.done()
}

// change gathers the events that lead from one state of a person to another.
type change struct {
	v      *verdict
	was    directory.User
	email  string // as it is to be
	events []domain.Event
	err    error
}

func (d *change) add(e domain.Event) { d.events = append(d.events, e) }

// refuse keeps the first refusal that is not about a field.
func (d *change) refuse(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *change) done() ([]domain.Event, error) {
	if err := d.v.Err(); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.events, nil
}

func profileOf(u directory.User) directory.UserProfileChanged {
	return directory.UserProfileChanged{ID: u.ID, UserName: u.UserName, DomainAccount: u.DomainAccount, FirstName: u.FirstName, LastName: u.LastName,
		Email: u.Email, Language: u.Language}
}

func (d *change) profile(p Person) {
	is := p.profile(d.v, d.was)
	d.email = is.Email
	if is.Email != d.was.Email { // the mail that lets one choose a password goes there
		d.credential("email")
	}
	if is.DomainAccount != d.was.DomainAccount {
		d.credential("domainAccount")
	}
	if is.UserName != d.was.UserName {
		d.credential("userName")
	}
	d.replaceProfile(is)
}

func (d *change) replaceProfile(is directory.UserProfileChanged) {
	if is != profileOf(d.was) {
		is.At = d.v.env.Now
		d.add(is)
	}
}

func (d *change) password(hash string) {
	if hash != "" {
		d.newPassword(&hash)
	}
}

// credential checks that the actor does not take over somebody who may do more
// than the actor. Recipients can't log in, so nobody is them.
func (d *change) credential(path string) {
	if d.was.ID == d.v.env.Actor.UserID || d.was.Kind == directory.KindRecipient {
		return
	}
	roles := slices.Clone(d.was.Roles)
	for _, id := range d.was.Groups {
		roles = append(roles, looked[directory.Group](d.v.env, directory.GroupStream(id)).Roles...)
	}
	for _, id := range roles {
		r := looked[directory.Role](d.v.env, directory.RoleStream(id))
		if right := exceeds(d.v.env.Actor, r); r.Exists() && right != "" {
			d.v.deny(path, "can't be changed: the user holds the right %s, which you do not", right)
			return
		}
	}
}

func (d *change) activation(active *bool) {
	if active == nil || *active == d.was.Active {
		return
	}
	if *active {
		d.add(directory.UserActivated{ID: d.was.ID, At: d.v.env.Now})
		return
	}
	d.stays("isActive", "you can't deactivate yourself")
	d.add(directory.UserDeactivated{ID: d.was.ID, At: d.v.env.Now})
}

func (d *change) roles(is []domain.ID) {
	if sameSet(is, live[directory.Role](d.v.env, directory.RoleStream, d.was.Roles)) {
		return
	}
	if d.was.ID == directory.AdministratorID && !slices.Contains(is, directory.AdministratorsID) {
		d.refuse(system("user", "the first administrator"))
	}
	d.add(directory.UserRolesChanged{ID: d.was.ID, Roles: is, At: d.v.env.Now})
}

func (d *change) membership(m Membership) {
	organizations, groups := m.check(d.v, d.was)
	if !slices.Equal(organizations, d.was.InOrgs) {
		d.add(directory.UserOrganizationsChanged{ID: d.was.ID, Organizations: organizations, At: d.v.env.Now})
	}
	had := live[directory.Group](d.v.env, directory.GroupStream, d.was.Groups)
	joined, left := without(groups, had), without(had, groups)
	if len(joined)+len(left) > 0 {
		d.add(directory.UserGroupsChanged{ID: d.was.ID, Joined: joined, Left: left, At: d.v.env.Now})
	}
}

// without are the ids of all that are not among gone.
func without(all, gone []domain.ID) []domain.ID {
	left := []domain.ID{}
	for _, id := range all {
		if !slices.Contains(gone, id) {
			left = append(left, id)
		}
	}
	return left
}
