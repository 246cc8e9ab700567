package directory

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"docket/domain"
)

// UserKind tells people who log in from those who only receive.
type UserKind string

const (
	KindUser      UserKind = "user"
	KindRecipient UserKind = "recipient"
)

// UserCreated adds a person. Personal fields are encrypted in the log.
type UserCreated struct {
	ID            domain.ID   `json:"id"`
	Number        int32       `json:"number"`
	Kind          UserKind    `json:"kind"`
	UserName      string      `json:"userName" pii:"ID"`
	DomainAccount string      `json:"domainAccount" pii:"ID"`
	FirstName     string      `json:"firstName" pii:"ID"`
	LastName      string      `json:"lastName" pii:"ID"`
	Email         string      `json:"email" pii:"ID"`
	PasswordHash  string      `json:"passwordHash,omitempty"` // argon2id, PHC string
	Active        bool        `json:"active"`
	Language      string      `json:"language"` // ISO 639-1
	Roles         []domain.ID `json:"roles"`
	Organizations []domain.ID `json:"organizations"` // the first one is home
	Groups        []domain.ID `json:"groups"`
	Source        string      `json:"source,omitempty"` // user directory the person came from
	Invite        bool        `json:"invite,omitempty"` // a mail to choose a password was asked for
	CreatedAt     time.Time   `json:"createdAt"`
}

// UserProfileChanged replaces what describes a person.
type UserProfileChanged struct {
	ID            domain.ID `json:"id"`
	UserName      string    `json:"userName" pii:"ID"`
	DomainAccount string    `json:"domainAccount" pii:"ID"`
	FirstName     string    `json:"firstName" pii:"ID"`
	LastName      string    `json:"lastName" pii:"ID"`
	Email         string    `json:"email" pii:"ID"`
	Language      string    `json:"language"`
	At            time.Time `json:"at"`
}

// UserPasswordChanged replaces a password.
type UserPasswordChanged struct {
	ID           domain.ID `json:"id"`
	PasswordHash string    `json:"passwordHash"`
	At           time.Time `json:"at"`
}

// UserActivated lets a person act again.
type UserActivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// UserDeactivated stops a person and their keys.
type UserDeactivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// UserRolesChanged replaces the roles given to a person directly.
type UserRolesChanged struct {
	ID    domain.ID   `json:"id"`
	Roles []domain.ID `json:"roles"`
	At    time.Time   `json:"at"`
}

// UserOrganizationsChanged replaces the organizations a person is in.
type UserOrganizationsChanged struct {
	ID            domain.ID   `json:"id"`
	Organizations []domain.ID `json:"organizations"`
	At            time.Time   `json:"at"`
}

// UserGroupsChanged says which groups a person joined and left.
type UserGroupsChanged struct {
	ID     domain.ID   `json:"id"`
	Joined []domain.ID `json:"joined"`
	Left   []domain.ID `json:"left"`
	At     time.Time   `json:"at"`
}

// RecipientConverted makes a recipient a user who can log in.
type RecipientConverted struct {
	ID     domain.ID `json:"id"`
	Invite bool      `json:"invite,omitempty"`
	At     time.Time `json:"at"`
}

// UserInvited asks for a mail in which a person is invited to choose a password.
// On creation and conversion the flag there says the same.
type UserInvited struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// UserDeleted ends a person's presence; their keys and memberships end with it.
type UserDeleted struct {
	ID        domain.ID `json:"id"`
	DeletedAt time.Time `json:"deletedAt"`
}

func (UserCreated) EventType() string              { return "directory.user-created" }
func (UserProfileChanged) EventType() string       { return "directory.user-profile-changed" }
func (UserPasswordChanged) EventType() string      { return "directory.user-password-changed" }
func (UserActivated) EventType() string            { return "directory.user-activated" }
func (UserDeactivated) EventType() string          { return "directory.user-deactivated" }
func (UserRolesChanged) EventType() string         { return "directory.user-roles-changed" }
func (UserOrganizationsChanged) EventType() string { return "directory.user-organizations-changed" }
func (UserGroupsChanged) EventType() string        { return "directory.user-groups-changed" }
func (RecipientConverted) EventType() string       { return "directory.recipient-converted" }
func (UserInvited) EventType() string              { return "directory.user-invited" }
func (UserDeleted) EventType() string              { return "directory.user-deleted" }

// User is a person as they are.
type User struct {
	ID            domain.ID
	Number        int32
	Kind          UserKind
	UserName      string
	DomainAccount string
	FirstName     string
	LastName      string
	Email         string
	PasswordHash  string `json:"-"`
	Active        bool
	Language      string
	Roles         []domain.ID
	InOrgs        []domain.ID
	Groups        []domain.ID
	Source        string // user directory the person came from
	Details       UserDetails
	PINHash       string   `json:"-"`
	Cards         []string // as they were given, in the order they came
	CreatedAt     time.Time
	ModifiedAt    time.Time
	Live          bool
}

// Apply implements domain.State.
func (u User) Apply(e domain.Event) User {
	switch e := e.(type) {
	case UserCreated:
		return User{ID: e.ID, Number: e.Number, Kind: e.Kind, UserName: e.UserName, DomainAccount: e.DomainAccount, FirstName: e.FirstName,
			LastName: e.LastName, Email: e.Email, PasswordHash: e.PasswordHash, Active: e.Active, Language: e.Language, Roles: e.Roles,
			InOrgs: e.Organizations, Groups: e.Groups, Source: e.Source, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case UserProfileChanged:
		u.UserName, u.DomainAccount, u.FirstName, u.LastName = e.UserName, e.DomainAccount, e.FirstName, e.LastName
		u.Email, u.Language, u.ModifiedAt = e.Email, e.Language, e.At
	case UserPasswordChanged:
		u.PasswordHash, u.ModifiedAt = e.PasswordHash, e.At
	case UserActivated:
		u.Active, u.ModifiedAt = true, e.At
	case UserDeactivated:
		u.Active, u.ModifiedAt = false, e.At
	case UserRolesChanged:
		u.Roles, u.ModifiedAt = e.Roles, e.At
	case UserOrganizationsChanged:
		u.InOrgs, u.ModifiedAt = e.Organizations, e.At
	case UserGroupsChanged:
		u.Groups, u.ModifiedAt = regroup(u.Groups, e.Joined, e.Left), e.At
	case RecipientConverted:
		u.Kind, u.ModifiedAt = KindUser, e.At
	case UserDetailsChanged:
		u.Details, u.ModifiedAt = e.Details(), e.At
	case UserPINChanged:
		u.PINHash, u.ModifiedAt = e.PINHash, e.At
	case UserCardAdded:
		u.Cards, u.ModifiedAt = append(without(u.Cards, e.Card), e.Card), e.At
	case UserCardRemoved:
		u.Cards, u.ModifiedAt = without(u.Cards, e.Card), e.At
	case UserDeleted:
		u.Live = false
	}
	return u
}

// without makes a new list of the cards that are not this one.
func without(cards []string, card string) []string {
	left := make([]string, 0, len(cards)+1)
	for _, c := range cards {
		if NormalCard(c) != NormalCard(card) {
			left = append(left, c)
		}
	}
	return left
}

// regroup makes a new list: folded states are shared.
func regroup(groups, joined, left []domain.ID) []domain.ID {
	after := make([]domain.ID, 0, len(groups)+len(joined))
	for _, g := range groups {
		if !slices.Contains(left, g) {
			after = append(after, g)
		}
	}
	for _, g := range joined {
		if !slices.Contains(after, g) {
			after = append(after, g)
		}
	}
	return after
}

// Exists implements domain.State.
func (u User) Exists() bool { return u.Live }

// Organizations implements domain.State.
func (u User) Organizations() []domain.ID { return u.InOrgs }

// Keys implements domain.State: the mail address is unique, and the domain
// account and user name where there is one (Qalyptus' user documentation). Cards
// and short ids lead to one person of an organization, an external id to one of
// the user directory it comes from; without a directory, of the organization.
func (u User) Keys() []domain.Key {
	if !u.Live {
		return nil
	}
	home := ""
	if len(u.InOrgs) > 0 {
		home = u.InOrgs[0].String()
	}
	candidates := []domain.Key{
		{Kind: "user-email", Value: domain.Normal(u.Email)}, {Kind: "user-domainAccount", Value: domain.Normal(u.DomainAccount)},
		{Kind: "user-userName", Value: domain.Normal(u.UserName)}, {Kind: "user-shortId", Scope: home, Value: domain.Normal(u.Details.ShortID)},
		u.externalKey(home),
	}
	for _, card := range u.Cards {
		candidates = append(candidates, domain.Key{Kind: "user-cards", Scope: home, Value: NormalCard(card)})
	}
	var keys []domain.Key
	for _, k := range candidates {
		if k.Value != "" && k.Value != domain.Erased {
			keys = append(keys, k)
		}
	}
	return keys
}

// externalKey is exact: case counts in ids of some systems.
func (u User) externalKey(home string) domain.Key {
	if u.Details.ExternalID == "" || u.Details.ExternalID == domain.Erased {
		return domain.Key{}
	}
	if u.Source == "" {
		return domain.Key{Kind: "user-externalId", Scope: home, Value: u.Details.ExternalID}
	}
	return domain.Key{Kind: "user-externalId", Value: u.Source + "\x00" + u.Details.ExternalID}
}

// FullName is how a person is shown.
func FullName(first, last string) string {
	if first == "" || last == "" {
		return first + last
	}
	return first + " " + last
}

// SplitName takes a full name apart, so that FullName gives it back: the last
// word is the last name, with the lower-case words before it ("Ludwig van
// Beethoven"). "Lovelace, Ada" is turned round. One word is a first name.
func SplitName(full string) (first, last string) {
	if family, given, ok := strings.Cut(full, ","); ok && strings.TrimSpace(family) != "" && strings.TrimSpace(given) != "" {
		return words(given), words(family)
	}
	all := strings.Fields(full)
	if len(all) < 2 {
		return words(full), ""
	}
	at := len(all) - 1
	for at > 1 && unicode.IsLower([]rune(all[at-1])[0]) {
		at--
	}
	return strings.Join(all[:at], " "), strings.Join(all[at:], " ")
}

func words(s string) string { return strings.Join(strings.Fields(s), " ") }
