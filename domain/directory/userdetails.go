package directory

import (
	"time"

	"docket/domain"
)

// UserDetailsChanged replaces what only printing and user directories know of a
// person. Personal fields are encrypted in the log.
type UserDetailsChanged struct {
	ID         domain.ID  `json:"id"`
	Department string     `json:"department" pii:"ID"`
	HomeFolder string     `json:"homeFolder" pii:"ID"`
	Alias      string     `json:"alias" pii:"ID"` // whose documents the person may release as well: "name@domain#PID"
	ShortID    string     `json:"shortId" pii:"ID"`
	ExternalID string     `json:"externalId" pii:"ID"` // in the user directory they came from, or another system
	ExpiresAt  *time.Time `json:"expiresAt,omitempty"` // can't log in from then on
	At         time.Time  `json:"at"`
}

// UserPINChanged replaces the PIN that goes with a card.
type UserPINChanged struct {
	ID      domain.ID `json:"id"`
	PINHash string    `json:"pinHash"` // argon2id, PHC string; "" for none
	At      time.Time `json:"at"`
}

// UserCardAdded lets a person identify themselves with a card.
type UserCardAdded struct {
	ID   domain.ID `json:"id"`
	Card string    `json:"card" pii:"ID"`
	At   time.Time `json:"at"`
}

// UserCardRemoved takes a card from a person.
type UserCardRemoved struct {
	ID   domain.ID `json:"id"`
	Card string    `json:"card" pii:"ID"`
	At   time.Time `json:"at"`
}

func (UserDetailsChanged) EventType() string { return "directory.user-details-changed" }
func (UserPINChanged) EventType() string     { return "directory.user-pin-changed" }
func (UserCardAdded) EventType() string      { return "directory.user-card-added" }
func (UserCardRemoved) EventType() string    { return "directory.user-card-removed" }

// UserDetails is what UserDetailsChanged said last.
type UserDetails struct {
	Department string
	HomeFolder string
	Alias      string
	ShortID    string
	ExternalID string
	ExpiresAt  *time.Time
}

// Details is what the event says, for the state and for comparing.
func (e UserDetailsChanged) Details() UserDetails {
	return UserDetails{Department: e.Department, HomeFolder: e.HomeFolder, Alias: e.Alias, ShortID: e.ShortID, ExternalID: e.ExternalID, ExpiresAt: e.ExpiresAt}
}

// NormalCard is the form in which card ids are compared: readers write the same
// id in either case.
func NormalCard(card string) string { return domain.Normal(card) }

// Expired tells whether somebody with these details can't log in any more.
func (d UserDetails) Expired(now time.Time) bool {
	return d.ExpiresAt != nil && !now.Before(*d.ExpiresAt)
}
