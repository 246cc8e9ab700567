package directory

import (
	"time"

	"docket/domain"
)

// OrganizationCreated adds an organization below another.
type OrganizationCreated struct {
	ID          domain.ID   `json:"id"`
	Number      int32       `json:"number"`
	ParentID    *domain.ID  `json:"parentId,omitempty"` // nil only for the root
	Ancestors   []domain.ID `json:"ancestors"`          // from the root to the parent; the tree never moves
	Name        string      `json:"name"`
	DisplayName string      `json:"displayName"`
	Description string      `json:"description"`
	ThemeID     *domain.ID  `json:"themeId,omitempty"`
	CreatedAt   time.Time   `json:"createdAt"`
}

// OrganizationChanged replaces what describes an organization.
type OrganizationChanged struct {
	ID          domain.ID  `json:"id"`
	Name        string     `json:"name"`
	DisplayName string     `json:"displayName"`
	Description string     `json:"description"`
	ThemeID     *domain.ID `json:"themeId,omitempty"`
	ChangedAt   time.Time  `json:"changedAt"`
}

// OrganizationDeleted ends an organization.
type OrganizationDeleted struct {
	ID        domain.ID `json:"id"`
	DeletedAt time.Time `json:"deletedAt"`
}

func (OrganizationCreated) EventType() string { return "directory.organization-created" }
func (OrganizationChanged) EventType() string { return "directory.organization-changed" }
func (OrganizationDeleted) EventType() string { return "directory.organization-deleted" }

// Organization is an organization as it is.
type Organization struct {
	ID          domain.ID
	Number      int32
	ParentID    *domain.ID
	Ancestors   []domain.ID
	Name        string
	DisplayName string
	Description string
	ThemeID     *domain.ID
	Account     AccountSettings // as given: see Defaulted
	CreatedAt   time.Time
	ModifiedAt  time.Time
	Live        bool
}

// Apply implements domain.State.
func (o Organization) Apply(e domain.Event) Organization {
	switch e := e.(type) {
	case OrganizationCreated:
		return Organization{ID: e.ID, Number: e.Number, ParentID: e.ParentID, Ancestors: e.Ancestors, Name: e.Name, DisplayName: e.DisplayName,
			Description: e.Description, ThemeID: e.ThemeID, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case OrganizationChanged:
		o.Name, o.DisplayName, o.Description, o.ThemeID, o.ModifiedAt = e.Name, e.DisplayName, e.Description, e.ThemeID, e.ChangedAt
	case AccountChanged:
		o.Account, o.ModifiedAt = e.Settings, e.At
	case OrganizationDeleted:
		o.Live = false
	}
	return o
}

// Exists implements domain.State.
func (o Organization) Exists() bool { return o.Live }

// Organizations implements domain.State: an organization is in itself.
func (o Organization) Organizations() []domain.ID { return []domain.ID{o.ID} }

// Keys implements domain.State: names differ among siblings, and a domain name
// leads to one account.
func (o Organization) Keys() []domain.Key {
	if !o.Live {
		return nil
	}
	scope := ""
	if o.ParentID != nil {
		scope = o.ParentID.String()
	}
	keys := []domain.Key{{Kind: "organization-name", Scope: scope, Value: domain.Normal(o.Name)}}
	for _, name := range o.Account.DomainNames {
		keys = append(keys, domain.Key{Kind: "account-domainNames", Value: domain.Normal(name)})
	}
	return keys
}

// System tells whether the organization is the root, which stays.
func (o Organization) System() bool { return o.ID == GlobalID }
