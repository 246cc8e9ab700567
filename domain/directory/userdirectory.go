package directory

import (
	"time"

	"docket/domain"
)

// DirectoryType is what kind of system a user directory is.
type DirectoryType string

const (
	ActiveDirectory DirectoryType = "ActiveDirectory" // LDAP: Active Directory, OpenLDAP and their like
	AzureAD         DirectoryType = "AzureAD"         // Microsoft Entra ID by Microsoft Graph
)

// Synchronization is what starts the synchronisation of a user directory.
type Synchronization string

const (
	SynchronizeManually Synchronization = "Manual"
	SynchronizeByClock  Synchronization = "Scheduled"
)

// Frequencies of scheduled synchronisation.
const (
	Hourly  = "Hourly"  // at the minute of the time
	Daily   = "Daily"   // at the time
	Weekly  = "Weekly"  // on Mondays
	Monthly = "Monthly" // on the first
)

// DirectorySettings are what a user directory is but for its secrets. Texts that
// the type has no use for are kept as they were given.
type DirectorySettings struct {
	Type              DirectoryType   `json:"type"`
	Name              string          `json:"name"`
	Prefix            string          `json:"prefix"`            // put before user names
	UserDirectoryName string          `json:"userDirectoryName"` // domain of domain accounts: CORP of CORP\ada
	AzureClientID     string          `json:"azureClientId"`
	AzureTenantID     string          `json:"azureTenantId"`
	HostName          string          `json:"hostName"` // a host, or an address ldap(s)://host:port/base
	Port              int32           `json:"port"`     // 0: the usual one
	UserName          string          `json:"userName"` // of the account that reads; "" reads anonymously
	SendNotification  bool            `json:"sendNotification"`
	DefaultUserRole   *domain.ID      `json:"defaultUserRole,omitempty"` // of users that it adds
	Filter            string          `json:"filter"`                    // of LDAP or OData, for users
	Synchronization   Synchronization `json:"synchronization"`
	Frequency         string          `json:"frequency"`
	FrequencyTime     string          `json:"frequencyTime"` // "15:04"
	TimeZone          string          `json:"timeZone"`      // of the IANA database
	Active            bool            `json:"active"`
}

// UserDirectoryCreated adds a place that users and groups come from. Secrets are
// sealed before they get here; the context is SecretContext.
type UserDirectoryCreated struct {
	ID                domain.ID         `json:"id"`
	Number            int32             `json:"number"`
	OrganizationID    domain.ID         `json:"organizationId"` // its users and groups belong there
	Settings          DirectorySettings `json:"settings"`
	Password          []byte            `json:"password,omitempty"`
	AzureClientSecret []byte            `json:"azureClientSecret,omitempty"`
	CreatedAt         time.Time         `json:"createdAt"`
}

// UserDirectoryChanged replaces the settings.
type UserDirectoryChanged struct {
	ID       domain.ID         `json:"id"`
	Settings DirectorySettings `json:"settings"`
	At       time.Time         `json:"at"`
}

// UserDirectorySecretsChanged replaces those secrets that it holds.
type UserDirectorySecretsChanged struct {
	ID                domain.ID `json:"id"`
	Password          []byte    `json:"password,omitempty"`
	AzureClientSecret []byte    `json:"azureClientSecret,omitempty"`
	At                time.Time `json:"at"`
}

// UserDirectoryDeleted ends a user directory. Users and groups that came from it
// stay as they are.
type UserDirectoryDeleted struct {
	ID        domain.ID `json:"id"`
	DeletedAt time.Time `json:"deletedAt"`
}

func (UserDirectoryCreated) EventType() string { return "directory.user-directory-created" }
func (UserDirectoryChanged) EventType() string { return "directory.user-directory-changed" }
func (UserDirectorySecretsChanged) EventType() string {
	return "directory.user-directory-secrets-changed"
}
func (UserDirectoryDeleted) EventType() string { return "directory.user-directory-deleted" }

// UserDirectoryStream names the stream of a user directory.
func UserDirectoryStream(id domain.ID) string { return "userdirectory-" + id.String() }

// SecretContext is what a secret of a user directory is sealed for. secret is
// "password" or "azureClientSecret".
func SecretContext(id domain.ID, secret string) string {
	return "userdirectory/" + id.String() + "/" + secret
}

// UserDirectory is a user directory as it is.
type UserDirectory struct {
	ID                domain.ID
	Number            int32
	OrganizationID    domain.ID
	Settings          DirectorySettings
	Password          []byte    `json:"-"` // sealed
	AzureClientSecret []byte    `json:"-"` // sealed
	ScheduledSince    time.Time // due times before it are not made up for
	CreatedAt         time.Time
	ModifiedAt        time.Time
	Live              bool
}

// Apply implements domain.State.
func (d UserDirectory) Apply(e domain.Event) UserDirectory {
	switch e := e.(type) {
	case UserDirectoryCreated:
		return UserDirectory{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, Settings: e.Settings, Password: e.Password,
			AzureClientSecret: e.AzureClientSecret, ScheduledSince: e.CreatedAt, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case UserDirectoryChanged:
		if !d.Settings.SameSchedule(e.Settings) {
			d.ScheduledSince = e.At
		}
		d.Settings, d.ModifiedAt = e.Settings, e.At
	case UserDirectorySecretsChanged:
		if e.Password != nil {
			d.Password = e.Password
		}
		if e.AzureClientSecret != nil {
			d.AzureClientSecret = e.AzureClientSecret
		}
		d.ModifiedAt = e.At
	case UserDirectoryDeleted:
		d.Live = false
	}
	return d
}

// SameSchedule tells whether both are synchronised at the same times.
func (s DirectorySettings) SameSchedule(o DirectorySettings) bool {
	return s.Synchronization == o.Synchronization && s.Frequency == o.Frequency && s.FrequencyTime == o.FrequencyTime &&
		s.TimeZone == o.TimeZone && s.Active == o.Active
}

// Same tells whether settings are equal.
func (s DirectorySettings) Same(o DirectorySettings) bool {
	role := s.DefaultUserRole == o.DefaultUserRole || s.DefaultUserRole != nil && o.DefaultUserRole != nil && *s.DefaultUserRole == *o.DefaultUserRole
	s.DefaultUserRole, o.DefaultUserRole = nil, nil
	return role && s == o
}

// Exists implements domain.State.
func (d UserDirectory) Exists() bool { return d.Live }

// Organizations implements domain.State.
func (d UserDirectory) Organizations() []domain.ID { return []domain.ID{d.OrganizationID} }

// Keys implements domain.State: names differ within an organization.
func (d UserDirectory) Keys() []domain.Key {
	if !d.Live {
		return nil
	}
	return []domain.Key{{Kind: "userdirectory-name", Scope: d.OrganizationID.String(), Value: domain.Normal(d.Settings.Name)}}
}

// Source is what users and groups of the directory have as theirs.
func (d UserDirectory) Source() string { return d.ID.String() }
