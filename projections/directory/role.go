package directory

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// RoleRow is a role.
type RoleRow struct {
	ID             domain.ID   `db:"id,pk"`
	Number         int32       `db:"number"`
	OrganizationID domain.ID   `db:"organization_id"`
	Name           string      `db:"name"`
	NameF          string      `db:"name_f,fold"`
	Description    string      `db:"description"`
	Type           string      `db:"type"` // "default": came with the installation; "custom"
	TypeF          string      `db:"type_f,fold"`
	Level          string      `db:"level"` // directory.Level
	AllProjects    bool        `db:"all_projects"`
	Projects       []domain.ID `db:"projects"`
	Permissions    []string    `db:"permissions"`
	IsActive       bool        `db:"is_active"`
	IsSystem       bool        `db:"is_system"`
	CreatedAt      time.Time   `db:"created_at"`
	ModifiedAt     time.Time   `db:"modified_at"`
}

// Roles are all roles.
var Roles = projections.NewTable[RoleRow]("roles",
	projections.Index("name_f", "id"), projections.Index("created_at", "id"), projections.Index("modified_at", "id"),
	projections.Trigram("name_f"), projections.Reverse("name_f"), projections.CountBy("organization_id"))

func roleHandlers() []projections.Part {
	deleted := func(e directory.RoleDeleted, _ projections.Rec) domain.ID { return e.ID }
	return []projections.Part{
		projections.Put(Roles, newRole),
		projections.Update(Roles, projections.ByStream, func(r *RoleRow, e directory.RoleDetailsChanged, _ projections.Rec) {
			r.Name, r.Description, r.ModifiedAt = e.Name, e.Description, e.At
		}),
		projections.Update(Roles, projections.ByStream, func(r *RoleRow, e directory.RolePermissionsChanged, _ projections.Rec) {
			r.Permissions, r.Level, r.ModifiedAt = e.Permissions, directory.Level(e.Permissions), e.At
		}),
		projections.Update(Roles, projections.ByStream, func(r *RoleRow, e directory.RoleProjectsChanged, _ projections.Rec) {
			r.AllProjects, r.Projects, r.ModifiedAt = e.AllProjects, e.Projects, e.At
		}),
		projections.Update(Roles, projections.ByStream, func(r *RoleRow, e directory.RoleActivated, _ projections.Rec) { r.IsActive, r.ModifiedAt = true, e.At }),
		projections.Update(Roles, projections.ByStream, func(r *RoleRow, e directory.RoleDeactivated, _ projections.Rec) {
			r.IsActive, r.ModifiedAt = false, e.At
		}),
		projections.DeleteWhere(UserRoles, "role_id", deleted),
		projections.DeleteWhere(GroupRoles, "role_id", deleted),
		projections.Delete(Roles, deleted),
	}
}

func newRole(e directory.RoleCreated, _ projections.Rec) RoleRow {
	kind := "custom"
	if e.System {
		kind = "default"
	}
	return RoleRow{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, Name: e.Name, Description: e.Description, Type: kind,
		Level: directory.Level(e.Permissions), AllProjects: e.AllProjects, Projects: e.Projects, Permissions: e.Permissions,
		IsActive: e.Active, IsSystem: e.System, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
}
