package directory

import (
	"time"

	"docket/domain"
)

// AccountType is what an organization is to the SAFEQ API. The values are those
// of its accounttype.
type AccountType int

const (
	Vendor    AccountType = 1
	Customer  AccountType = 2
	Container AccountType = 3
)

// AccountSettings are what the SAFEQ API knows of an organization. Zero values
// mean the default that the comment names.
type AccountSettings struct {
	Type            AccountType `json:"type"`            // 0: customer
	DomainNames     []string    `json:"domainNames"`     // lower case; a request to one of them is about this account
	ApplicationName string      `json:"applicationName"` // "": Docket
	TrustAllClients bool        `json:"trustAllClients"`
	LocationID      int32       `json:"locationId,omitempty"`
	AccessSeconds   int32       `json:"accessSeconds,omitempty"` // life of an access token; 0: 3,600
	RefreshDays     int32       `json:"refreshDays,omitempty"`   // life of a refresh token; 0: 90
	KeepHours       int32       `json:"keepHours,omitempty"`     // until a document expires; 0: 168
	NameLogins      bool        `json:"nameLogins,omitempty"`    // logins by name or mail address alone are allowed
}

// AccountChanged replaces the account settings of an organization.
type AccountChanged struct {
	ID       domain.ID       `json:"id"`
	Settings AccountSettings `json:"settings"`
	At       time.Time       `json:"at"`
}

func (AccountChanged) EventType() string { return "directory.account-changed" }

// Defaulted fills in the defaults.
func (s AccountSettings) Defaulted() AccountSettings {
	if s.Type == 0 {
		s.Type = Customer
	}
	if s.ApplicationName == "" {
		s.ApplicationName = "Docket"
	}
	if s.AccessSeconds == 0 {
		s.AccessSeconds = 3600
	}
	if s.RefreshDays == 0 {
		s.RefreshDays = 90
	}
	if s.KeepHours == 0 {
		s.KeepHours = 168
	}
	return s
}
