package directory

import (
	"strings"
	"time"

	"docket/domain"
)

// RoleCreated adds a role.
type RoleCreated struct {
	ID             domain.ID   `json:"id"`
	Number         int32       `json:"number"`
	OrganizationID domain.ID   `json:"organizationId"`
	Name           string      `json:"name"`
	Description    string      `json:"description"`
	System         bool        `json:"system,omitempty"` // came with the installation; stays as it is
	AllProjects    bool        `json:"allProjects"`
	Projects       []domain.ID `json:"projects"`
	Permissions    []string    `json:"permissions"` // sorted keys of the catalogue
	Active         bool        `json:"active"`
	CreatedAt      time.Time   `json:"createdAt"`
}

// RoleDetailsChanged replaces what describes a role.
type RoleDetailsChanged struct {
	ID          domain.ID `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	At          time.Time `json:"at"`
}

// RolePermissionsChanged replaces what holders of a role may do.
type RolePermissionsChanged struct {
	ID          domain.ID `json:"id"`
	Permissions []string  `json:"permissions"`
	At          time.Time `json:"at"`
}

// RoleProjectsChanged replaces the projects that a role's rights are limited to.
type RoleProjectsChanged struct {
	ID          domain.ID   `json:"id"`
	AllProjects bool        `json:"allProjects"`
	Projects    []domain.ID `json:"projects"`
	At          time.Time   `json:"at"`
}

// RoleActivated makes a role count again.
type RoleActivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// RoleDeactivated makes a role give its holders nothing.
type RoleDeactivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// RoleDeleted ends a role; who held it holds it no longer.
type RoleDeleted struct {
	ID        domain.ID `json:"id"`
	DeletedAt time.Time `json:"deletedAt"`
}

func (RoleCreated) EventType() string            { return "directory.role-created" }
func (RoleDetailsChanged) EventType() string     { return "directory.role-details-changed" }
func (RolePermissionsChanged) EventType() string { return "directory.role-permissions-changed" }
func (RoleProjectsChanged) EventType() string    { return "directory.role-projects-changed" }
func (RoleActivated) EventType() string          { return "directory.role-activated" }
func (RoleDeactivated) EventType() string        { return "directory.role-deactivated" }
func (RoleDeleted) EventType() string            { return "directory.role-deleted" }

// Role is a role as it is.
type Role struct {
	ID             domain.ID
	Number         int32
	OrganizationID domain.ID
	Name           string
	Description    string
	System         bool
	AllProjects    bool
	Projects       []domain.ID
	Permissions    []string
	Active         bool
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (r Role) Apply(e domain.Event) Role {
	switch e := e.(type) {
	case RoleCreated:
		return Role{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, Name: e.Name, Description: e.Description, System: e.System,
			AllProjects: e.AllProjects, Projects: e.Projects, Permissions: e.Permissions, Active: e.Active,
			CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case RoleDetailsChanged:
		r.Name, r.Description, r.ModifiedAt = e.Name, e.Description, e.At
	case RolePermissionsChanged:
		r.Permissions, r.ModifiedAt = e.Permissions, e.At
	case RoleProjectsChanged:
		r.AllProjects, r.Projects, r.ModifiedAt = e.AllProjects, e.Projects, e.At
	case RoleActivated:
		r.Active, r.ModifiedAt = true, e.At
	case RoleDeactivated:
		r.Active, r.ModifiedAt = false, e.At
	case RoleDeleted:
		r.Live = false
	}
	return r
}

// Exists implements domain.State.
func (r Role) Exists() bool { return r.Live }

// Organizations implements domain.State. System roles are everybody's.
func (r Role) Organizations() []domain.ID {
	if r.System {
		return nil
	}
	return []domain.ID{r.OrganizationID}
}

// Keys implements domain.State.
func (r Role) Keys() []domain.Key {
	if !r.Live {
		return nil
	}
	return []domain.Key{{Kind: "role-name", Scope: r.OrganizationID.String(), Value: domain.Normal(r.Name)}}
}

// Level is "admin" for a role that lets its holders change who may do what, and
// "user" for any other (Qlik's documents name the two words).
func Level(permissions []string) string {
	for _, p := range permissions {
		area, action, _ := strings.Cut(p, ".")
		switch area {
		case "users", "groups", "roles", "organizations", "identityProviders", "accessKeys", "devices", "operations":
			if action != "view" {
				return "admin"
			}
		}
	}
	return "user"
}
