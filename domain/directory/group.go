package directory

import (
	"time"

	"docket/domain"
)

// GroupCreated adds a group to an organization.
type GroupCreated struct {
	ID             domain.ID   `json:"id"`
	Number         int32       `json:"number"`
	OrganizationID domain.ID   `json:"organizationId"`
	Name           string      `json:"name"`
	Description    string      `json:"description"`
	Active         bool        `json:"active"`
	Roles          []domain.ID `json:"roles"`
	CreatedAt      time.Time   `json:"createdAt"`
}

// GroupDetailsChanged replaces what describes a group.
type GroupDetailsChanged struct {
	ID          domain.ID `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	ChangedAt   time.Time `json:"changedAt"`
}

// GroupActivated makes a group count again.
type GroupActivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// GroupDeactivated makes a group give its members nothing.
type GroupDeactivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// GroupRolesChanged replaces the roles that members of a group have.
type GroupRolesChanged struct {
	ID    domain.ID   `json:"id"`
	Roles []domain.ID `json:"roles"`
	At    time.Time   `json:"at"`
}

// GroupDeleted ends a group and every membership in it.
type GroupDeleted struct {
	ID        domain.ID `json:"id"`
	DeletedAt time.Time `json:"deletedAt"`
}

// GroupLinked says what a group is to the user directory that it came from, or to
// another system.
type GroupLinked struct {
	ID         domain.ID `json:"id"`
	Source     string    `json:"source"`     // id of the user directory, "" for a group that was made here
	ExternalID string    `json:"externalId"` // textual id, such as a distinguished name (SAFEQ's groupdn)
	At         time.Time `json:"at"`
}

func (GroupLinked) EventType() string         { return "directory.group-linked" }
func (GroupCreated) EventType() string        { return "directory.group-created" }
func (GroupDetailsChanged) EventType() string { return "directory.group-details-changed" }
func (GroupActivated) EventType() string      { return "directory.group-activated" }
func (GroupDeactivated) EventType() string    { return "directory.group-deactivated" }
func (GroupRolesChanged) EventType() string   { return "directory.group-roles-changed" }
func (GroupDeleted) EventType() string        { return "directory.group-deleted" }

// Group is a group as it is. Who is in it stands with the users.
type Group struct {
	ID             domain.ID
	Number         int32
	OrganizationID domain.ID
	Name           string
	Description    string
	Active         bool
	Roles          []domain.ID
	Source         string
	ExternalID     string
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (g Group) Apply(e domain.Event) Group {
	switch e := e.(type) {
	case GroupCreated:
		return Group{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, Name: e.Name, Description: e.Description, Active: e.Active,
			Roles: e.Roles, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case GroupDetailsChanged:
		g.Name, g.Description, g.ModifiedAt = e.Name, e.Description, e.ChangedAt
	case GroupActivated:
		g.Active, g.ModifiedAt = true, e.At
	case GroupDeactivated:
		g.Active, g.ModifiedAt = false, e.At
	case GroupRolesChanged:
		g.Roles, g.ModifiedAt = e.Roles, e.At
	case GroupLinked:
		g.Source, g.ExternalID, g.ModifiedAt = e.Source, e.ExternalID, e.At
	case GroupDeleted:
		g.Live = false
	}
	return g
}

// Exists implements domain.State.
func (g Group) Exists() bool { return g.Live }

// Organizations implements domain.State.
func (g Group) Organizations() []domain.ID { return []domain.ID{g.OrganizationID} }

// Keys implements domain.State: Qlik's documents say that group names are
// unique and that their case counts. A textual id names one group of an
// organization; distinguished names are compared without regard to case.
func (g Group) Keys() []domain.Key {
	if !g.Live {
		return nil
	}
	keys := []domain.Key{{Kind: "group-name", Scope: g.OrganizationID.String(), Value: g.Name}}
	if g.ExternalID != "" {
		keys = append(keys, domain.Key{Kind: "group-externalId", Scope: g.OrganizationID.String(), Value: domain.Normal(g.ExternalID)})
	}
	return keys
}

// GroupSettingsChanged replaces how an organization treats groups that come
// from an identity provider.
type GroupSettingsChanged struct {
	OrganizationID   domain.ID `json:"organizationId"`
	AutoCreateGroups bool      `json:"autoCreateGroups"`
	SyncIdpGroups    bool      `json:"syncIdpGroups"`
	At               time.Time `json:"at"`
}

// EveryoneRolesChanged replaces the roles that everybody in an organization has.
type EveryoneRolesChanged struct {
	OrganizationID domain.ID   `json:"organizationId"`
	Roles          []domain.ID `json:"roles"`
	At             time.Time   `json:"at"`
}

func (GroupSettingsChanged) EventType() string { return "directory.group-settings-changed" }
func (EveryoneRolesChanged) EventType() string { return "directory.everyone-roles-changed" }

// GroupSettings always exist; without events they are the defaults.
type GroupSettings struct {
	OrganizationID   domain.ID
	AutoCreateGroups bool
	SyncIdpGroups    bool
	EveryoneRoles    []domain.ID
	CreatedAt        time.Time // of the first change; zero before
	ModifiedAt       time.Time
}

// Apply implements domain.State.
func (s GroupSettings) Apply(e domain.Event) GroupSettings {
	var at time.Time
	switch e := e.(type) {
	case GroupSettingsChanged:
		s.OrganizationID, s.AutoCreateGroups, s.SyncIdpGroups, at = e.OrganizationID, e.AutoCreateGroups, e.SyncIdpGroups, e.At
	case EveryoneRolesChanged:
		s.OrganizationID, s.EveryoneRoles, at = e.OrganizationID, e.Roles, e.At
	default:
		return s
	}
	if s.CreatedAt.IsZero() {
		s.CreatedAt = at
	}
	s.ModifiedAt = at
	return s
}

// Exists implements domain.State.
func (s GroupSettings) Exists() bool { return !s.CreatedAt.IsZero() }

// Organizations implements domain.State.
func (s GroupSettings) Organizations() []domain.ID { return []domain.ID{s.OrganizationID} }

// Keys implements domain.State.
func (s GroupSettings) Keys() []domain.Key { return nil }
