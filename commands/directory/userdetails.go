package directory

import (
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

const (
	// MaxCards of one person.
	MaxCards = 100
	// MaxCard is the length of a card's id in code points.
	MaxCard = 128
	// MinPIN and MaxPIN bound a PIN, in code points.
	MinPIN = 4
	MaxPIN = 32
)

// UserDetails is what printing and user directories know of a person beside
// Person. A nil member stays as it is; an empty one is cleared. Problems:
// department, homeFolder, alias, shortId, externalId, expiresAt.
type UserDetails struct {
	Department *string
	HomeFolder *string
	Alias      *string // "name@domain#PID": whose documents the person may release as well
	ShortID    *string
	ExternalID *string
	ExpiresAt  *time.Time // zero: never
}

// check returns the details as they are to be.
func (d UserDetails) check(v *verdict, was directory.UserDetails) directory.UserDetails {
	line := func(path string, s *string, had string, most int) string {
		if s == nil {
			return had
		}
		return rule.Line(&v.Problems, path, *s, most)
	}
	is := directory.UserDetails{
		Department: line("department", d.Department, was.Department, rule.MaxName),
		HomeFolder: line("homeFolder", d.HomeFolder, was.HomeFolder, rule.MaxDescription),
		Alias:      line("alias", d.Alias, was.Alias, rule.MaxName),
		ShortID:    line("shortId", d.ShortID, was.ShortID, rule.MaxName),
		ExternalID: line("externalId", d.ExternalID, was.ExternalID, rule.MaxName),
		ExpiresAt:  was.ExpiresAt,
	}
	if d.ExpiresAt != nil {
		is.ExpiresAt = storedTime(*d.ExpiresAt)
	}
	return is
}

// storedTime is a time as exact as read models are; nil for the zero time.
func storedTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Microsecond)
	return &t
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

func sameDetails(a, b directory.UserDetails) bool {
	same := sameTime(a.ExpiresAt, b.ExpiresAt)
	a.ExpiresAt, b.ExpiresAt = nil, nil
	return same && a == b
}

func detailsChanged(id domain.ID, d directory.UserDetails, at time.Time) directory.UserDetailsChanged {
	return directory.UserDetailsChanged{ID: id, Department: d.Department, HomeFolder: d.HomeFolder, Alias: d.Alias, ShortID: d.ShortID, ExternalID: d.ExternalID,
		ExpiresAt: d.ExpiresAt, At: at}
}

// checkCards returns the cards that somebody is to have, without repetitions.
func (v *verdict) checkCards(cards []string) []string {
	v.Check(len(cards) <= MaxCards, "cards", "must not hold more than %d entries", MaxCards)
	kept := []string{}
	for i, card := range cards[:min(len(cards), MaxCards)] {
		path := fmt.Sprintf("cards[%d]", i)
		card = rule.Line(&v.Problems, path, card, MaxCard)
		v.Check(card != "", path, "must not be empty")
		if !hasCard(kept, card) {
			kept = append(kept, card)
		}
	}
	return kept
}

func hasCard(cards []string, card string) bool {
	return slices.ContainsFunc(cards, func(c string) bool { return directory.NormalCard(c) == directory.NormalCard(card) })
}

// CheckPIN says what is wrong with a PIN before it is hashed, "" for nothing.
// Commands only see hashes.
func CheckPIN(plain string) string {
	if n := utf8.RuneCountInString(plain); n < MinPIN || n > MaxPIN {
		return fmt.Sprintf("must have %d to %d characters", MinPIN, MaxPIN)
	}
	for _, r := range plain {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return "must not hold control characters"
		}
	}
	return ""
}

// details replaces what the command names of a person's details.
func (d *change) details(details UserDetails) {
	is := details.check(d.v, d.was.Details)
	if sameDetails(is, d.was.Details) {
		return
	}
	if is.ShortID != d.was.Details.ShortID {
		d.needs("shortIds.generate", "shortId")
		d.credential("shortId")
	}
	if is.Alias != d.was.Details.Alias {
		d.credential("alias")
	}
	if !sameTime(is.ExpiresAt, d.was.Details.ExpiresAt) {
		d.expiry(is)
	}
	d.add(detailsChanged(d.was.ID, is, d.v.env.Now))
}

// expiry keeps those in who must stay.
func (d *change) expiry(is directory.UserDetails) {
	switch {
	case d.was.ID == directory.AdministratorID && is.ExpiresAt != nil:
		d.refuse(system("user", "the first administrator"))
	case is.Expired(d.v.env.Now):
		d.stays("expiresAt", "you can't make yourself expire")
	}
}

// pin replaces the PIN; "" takes it away.
func (d *change) pin(hash *string) {
	if hash != nil && *hash != d.was.PINHash {
		d.credential("pin")
		d.add(directory.UserPINChanged{ID: d.was.ID, PINHash: *hash, At: d.v.env.Now})
	}
}

// cards replaces the cards; nil leaves them.
func (d *change) cards(cards []string) {
	if cards == nil {
		return
	}
	is := d.v.checkCards(cards)
	changes := len(d.events)
	for _, card := range d.was.Cards {
		if !hasCard(is, card) {
			d.add(directory.UserCardRemoved{ID: d.was.ID, Card: card, At: d.v.env.Now})
		}
	}
	for _, card := range is {
		if !hasCard(d.was.Cards, card) {
			d.add(directory.UserCardAdded{ID: d.was.ID, Card: card, At: d.v.env.Now})
		}
	}
	if len(d.events) > changes {
		d.needs("cards.manage", "cards")
		d.credential("cards")
	}
}

// needs refuses a change that takes a permission of its own.
func (d *change) needs(permission, path string) {
	if !d.v.env.Actor.May(permission) {
		d.refuse(fault.New(fault.Denied, "denied", "the permission %s is needed", permission).On(path, "needs the permission %s", permission))
	}
}

// stays refuses to shut out oneself or the first administrator.
func (d *change) stays(path, message string) {
	switch d.was.ID {
	case d.v.env.Actor.UserID:
		d.refuse(fault.New(fault.Conflict, "user.self", "%s", message).On(path, "%s", message))
	case directory.AdministratorID:
		d.refuse(system("user", "the first administrator"))
	}
}

// SetUserDetails changes single things about a user; what is nil stays as it is.
// Who changes a short id needs shortIds.generate as well, and cards cards.manage.
// Problems: firstName, lastName, email, password, pin, cards, cards[i], isActive
// and those of UserDetails.
type SetUserDetails struct {
	ID           domain.ID
	FullName     *string // taken apart by directory.SplitName
	Email        *string
	PasswordHash *string // argon2id, PHC string; "" takes the password away
	PINHash      *string // likewise
	Details      UserDetails
	Cards        []string // nil: as they are; empty: none
}

func (c SetUserDetails) Name() string       { return "directory.set-user-details" }
func (c SetUserDetails) Stream() string     { return directory.UserStream(c.ID) }
func (c SetUserDetails) Permission() string { return "users.edit" }

// Explore implements commands.Exploring.
func (c SetUserDetails) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, nil)
}

// Decide implements commands.Command.
func (c SetUserDetails) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if !u.Exists() || u.Kind != directory.KindUser {
		return nil, fault.Missing("user", c.ID)
	}
	d := change{v: &verdict{env: env}, was: u}
	p := PersonOf(u)
	if c.FullName != nil {
		p.FirstName, p.LastName = directory.SplitName(*c.FullName)
	}
	if c.Email != nil {
		p.Email = *c.Email
	}
	if c.FullName != nil || c.Email != nil {
		d.profile(p)
	}
	d.newPassword(c.PasswordHash)
	d.details(c.Details)
	d.pin(c.PINHash)
	d.cards(c.Cards)
	return d.done()
}

// newPassword replaces the password; "" takes it away.
func (d *change) newPassword(hash *string) {
	if hash != nil && *hash != d.was.PasswordHash {
		d.credential("password")
		d.add(directory.UserPasswordChanged{ID: d.was.ID, PasswordHash: *hash, At: d.v.env.Now})
	}
}

// AddCard gives a user a card. One they have already is no change. Problems:
// cards[0], cards.
type AddCard struct {
	UserID domain.ID
	Card   string
}

func (c AddCard) Name() string       { return "directory.add-card" }
func (c AddCard) Stream() string     { return directory.UserStream(c.UserID) }
func (c AddCard) Permission() string { return "cards.manage" }

// Explore implements commands.Exploring.
func (c AddCard) Explore(u directory.User, env commands.Env) []commands.Ref {
	return around(u, env, nil)
}

// Decide implements commands.Command.
func (c AddCard) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if !u.Exists() || u.Kind != directory.KindUser {
		return nil, fault.Missing("user", c.UserID)
	}
	d := change{v: &verdict{env: env}, was: u}
	for _, card := range d.v.checkCards([]string{c.Card}) {
		if hasCard(u.Cards, card) {
			continue
		}
		d.v.Check(len(u.Cards) < MaxCards, "cards", "must not hold more than %d entries", MaxCards)
		d.credential("cards")
		d.add(directory.UserCardAdded{ID: c.UserID, Card: card, At: env.Now})
	}
	return d.done()
}

// RemoveCard takes a card from a user. One they don't have is no change.
type RemoveCard struct {
	UserID domain.ID
	Card   string
}

func (c RemoveCard) Name() string       { return "directory.remove-card" }
func (c RemoveCard) Stream() string     { return directory.UserStream(c.UserID) }
func (c RemoveCard) Permission() string { return "cards.manage" }

// Decide implements commands.Command.
func (c RemoveCard) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if !u.Exists() {
		return nil, fault.Missing("user", c.UserID)
	}
	for _, card := range u.Cards {
		if hasCard([]string{c.Card}, card) {
			return []domain.Event{directory.UserCardRemoved{ID: c.UserID, Card: card, At: env.Now}}, nil
		}
	}
	return nil, nil
}
