package directory

import (
	"slices"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// Person describes a user or recipient. First and last name are required unless
// there is a user name.
type Person struct {
	UserName      *string // nil: as it is (not every API knows of it)
	DomainAccount string
	FirstName     string
	LastName      string
	Email         string
	Language      string // "": as it is, "en" for a new person
}

// PersonOf is a person as they are, for who wants to change only a part.
func PersonOf(u directory.User) Person {
	return Person{UserName: &u.UserName, DomainAccount: u.DomainAccount, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email, Language: u.Language}
}

// profile checks a person against what they are and returns what they are to
// be: only the personal fields of the result count.
func (p Person) profile(v *verdict, was directory.User) directory.UserProfileChanged {
	userName := rule.Line(&v.Problems, "userName", or(p.UserName, was.UserName), rule.MaxName)
	is := directory.UserProfileChanged{
		ID: was.ID, UserName: userName,
		DomainAccount: rule.Line(&v.Problems, "domainAccount", p.DomainAccount, rule.MaxName),
		FirstName:     rule.Line(&v.Problems, "firstName", p.FirstName, rule.MaxName),
		LastName:      rule.Line(&v.Problems, "lastName", p.LastName, rule.MaxName),
		Email:         rule.Email(&v.Problems, "email", p.Email),
		Language:      rule.Language(&v.Problems, "isoLanguage", p.Language, fallbackLanguage(was)),
	}
	v.Check(is.FirstName != "" || userName != "", "firstName", "must not be empty")
	v.Check(is.LastName != "" || userName != "", "lastName", "must not be empty")
	return is
}

func fallbackLanguage(u directory.User) string {
	if u.Language == "" {
		return "en"
	}
	return u.Language
}

// Membership says where a person is. Nil leaves a list as it is; an empty one
// clears it.
type Membership struct {
	Organizations []domain.ID // at least one; the first is home
	Groups        []domain.ID // of those organizations
}

func (m Membership) refs() []commands.Ref {
	return append(organizationRefs(m.Organizations...), groupRefs(m.Groups)...)
}

// around are the aggregates one has to see to change where a person is.
func around(u directory.User, env commands.Env, joined []domain.ID) []commands.Ref {
	all := append(groupRefs(u.Groups), roleRefs(u.Roles)...)
	for _, id := range slices.Concat(u.Groups, joined) {
		if g, known := commands.Known[directory.Group](env, directory.GroupStream(id)); known {
			all = append(all, roleRefs(g.Roles)...)
		}
	}
	return all
}

// check returns the organizations and groups a person is to be in. What the
// actor doesn't see stays as it is; who leaves an organization leaves its groups.
func (m Membership) check(v *verdict, was directory.User) (organizations, groups []domain.ID) {
	organizations = was.InOrgs
	if m.Organizations != nil || !was.Exists() {
		v.Check(len(m.Organizations) > 0, "organizations", "must hold at least one")
		organizations = v.home(was.InOrgs, named[directory.Organization](v, "organizations", directory.OrganizationStream, MaxOrganizations, m.Organizations))
	}
	belongs := func(g directory.Group) bool { return slices.Contains(organizations, g.OrganizationID) }
	had := live[directory.Group](v.env, directory.GroupStream, was.Groups)
	for _, id := range had {
		g := looked[directory.Group](v.env, directory.GroupStream(id))
		if belongs(g) && (m.Groups == nil || !visible(v.env, g)) {
			groups = append(groups, id)
		}
	}
	for _, id := range named[directory.Group](v, "groups", directory.GroupStream, MaxGroups, m.Groups) {
		g := looked[directory.Group](v.env, directory.GroupStream(id))
		path := entry("groups", slices.Index(m.Groups, id))
		v.Check(!visible(v.env, g) || belongs(g), path, "belongs to none of the user's organizations")
		if !slices.Contains(had, id) {
			v.joining(path, g)
		}
		groups = append(groups, id)
	}
	v.Check(len(groups) <= MaxGroups, "groups", "must not hold more than %d entries", MaxGroups)
	return organizations, groups
}

// home puts the organizations that the actor doesn't see back where they were:
// first if one of them is home.
func (v *verdict) home(had, wanted []domain.ID) []domain.ID {
	var unseen []domain.ID
	for _, id := range had {
		if !v.env.Actor.Sees(id) && !slices.Contains(wanted, id) {
			unseen = append(unseen, id)
		}
	}
	if len(unseen) > 0 && unseen[0] == had[0] {
		return slices.Concat(unseen, wanted)
	}
	return slices.Concat(wanted, unseen)
}

// checkInvite refuses to invite somebody who can't be reached.
func (v *verdict) checkInvite(invite bool, email string) {
	v.Check(!invite || email != "", "email", "is needed for the mail that lets the user choose a password")
}

// CreateUser adds a person who logs in. Problems: firstName, lastName, email,
// userName, domainAccount, isoLanguage, roles[i].id, organizations[i].id,
// groups[i].id, cards[i] and those of UserDetails. Everything is one append.
type CreateUser struct {
	ID           domain.ID
	Person       Person
	PasswordHash string // argon2id, PHC string; "" for none
	Active       bool
	Invite       bool   // send a mail to choose a password
	Source       string // user directory the person came from, "" for none
	Roles        []domain.ID
	Membership   Membership
	Details      UserDetails
	PINHash      string // argon2id, PHC string; "" for none
	Cards        []string
}

func (c CreateUser) Name() string       { return "directory.create-user" }
func (c CreateUser) Stream() string     { return directory.UserStream(c.ID) }
func (c CreateUser) Permission() string { return "users.create" }
func (c CreateUser) NumberKind() string { return "user" }

// Refs implements commands.Referring.
func (c CreateUser) Refs() []commands.Ref { return append(c.Membership.refs(), roleRefs(c.Roles)...) }

// Explore implements commands.Exploring.
func (c CreateUser) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, c.Membership.Groups)
}

// Decide implements commands.Command.
func (c CreateUser) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	v := &verdict{env: env}
	roles := v.roles(nil, c.Roles)
	details, cards := c.Details.check(v, directory.UserDetails{}), v.checkCards(c.Cards)
	events, err := create(v, u, directory.UserCreated{ID: c.ID, Kind: directory.KindUser, PasswordHash: c.PasswordHash, Active: c.Active, Invite: c.Invite,
		Source: c.Source, Roles: roles}, c.Person, c.Membership)
	if err != nil {
		return nil, err
	}
	if details != (directory.UserDetails{}) {
		events = append(events, detailsChanged(c.ID, details, env.Now))
	}
	if c.PINHash != "" {
		events = append(events, directory.UserPINChanged{ID: c.ID, PINHash: c.PINHash, At: env.Now})
	}
	for _, card := range cards {
		events = append(events, directory.UserCardAdded{ID: c.ID, Card: card, At: env.Now})
	}
	return events, nil
}

// CreateRecipient adds a person who only receives. Problems as of CreateUser.
type CreateRecipient struct {
	ID           domain.ID
	Person       Person
	PasswordHash string // for the day they are made a user
	Active       bool
	Source       string
	Membership   Membership
}

func (c CreateRecipient) Name() string         { return "directory.create-recipient" }
func (c CreateRecipient) Stream() string       { return directory.UserStream(c.ID) }
func (c CreateRecipient) Permission() string   { return "users.create" }
func (c CreateRecipient) NumberKind() string   { return "user" }
func (c CreateRecipient) Refs() []commands.Ref { return c.Membership.refs() }

// Explore implements commands.Exploring.
func (c CreateRecipient) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, c.Membership.Groups)
}

// Decide implements commands.Command.
func (c CreateRecipient) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	return create(&verdict{env: env}, u, directory.UserCreated{ID: c.ID, Kind: directory.KindRecipient, PasswordHash: c.PasswordHash, Active: c.Active,
		Source: c.Source, Roles: []domain.ID{directory.HubUsersID}}, c.Person, c.Membership)
}

// create completes the event that makes a person.
func create(v *verdict, was directory.User, e directory.UserCreated, person Person, in Membership) ([]domain.Event, error) {
	if was.ID != (domain.ID{}) {
		return nil, exists("user", e.ID)
	}
	profile := person.profile(v, directory.User{})
	v.checkInvite(e.Invite, profile.Email)
	e.Source = rule.Line(&v.Problems, "source", e.Source, rule.MaxName)
	organizations, groups := in.check(v, directory.User{})
	if err := v.Err(); err != nil {
		return nil, err
	}
	e.Number, e.CreatedAt = v.env.Number, v.env.Now
	e.UserName, e.DomainAccount, e.FirstName, e.LastName = profile.UserName, profile.DomainAccount, profile.FirstName, profile.LastName
	e.Email, e.Language = profile.Email, profile.Language
	e.Organizations, e.Groups = organizations, orEmpty(groups)
	return []domain.Event{e}, nil
}

// orEmpty keeps null out of the log.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// DeleteUser ends a user or recipient.
type DeleteUser struct{ ID domain.ID }

func (c DeleteUser) Name() string       { return "directory.delete-user" }
func (c DeleteUser) Stream() string     { return directory.UserStream(c.ID) }
func (c DeleteUser) Permission() string { return "users.delete" }

// Decide implements commands.Command.
func (c DeleteUser) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	switch {
	case !u.Exists():
		return nil, fault.Missing("user", c.ID)
	case c.ID == env.Actor.UserID:
		return nil, fault.New(fault.Conflict, "user.self", "you can't delete yourself")
	case c.ID == directory.AdministratorID:
		return nil, system("user", "the first administrator")
	case slices.ContainsFunc(u.InOrgs, func(o domain.ID) bool { return !env.Actor.Sees(o) }):
		return nil, fault.New(fault.Denied, "user.shared", "the user also belongs to organizations that you do not see")
	}
	return []domain.Event{directory.UserDeleted{ID: c.ID, DeletedAt: env.Now}}, nil
}
