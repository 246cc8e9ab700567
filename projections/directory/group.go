package directory

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// GroupRow is a group.
type GroupRow struct {
	ID             domain.ID   `db:"id,pk"`
	Number         int32       `db:"number"`
	OrganizationID domain.ID   `db:"organization_id"`
	Name           string      `db:"name"`
	NameF          string      `db:"name_f,fold"`
	NameExact      string      `db:"name_exact_f"` // not folded: some lists sort by code points
	Description    string      `db:"description"`
	Type           string      `db:"type"` // "Custom": made here
	TypeF          string      `db:"type_f,fold"`
	IsActive       bool        `db:"is_active"`
	Source         string      `db:"source"`      // user directory it came from, "" for none
	ExternalID     string      `db:"external_id"` // textual id there or in another system, "" for none
	ExternalIDF    string      `db:"external_id_f,fold"`
	RoleIDs        []domain.ID `db:"role_ids"`
	UsersCount     int32       `db:"users_count"`
	CreatedAt      time.Time   `db:"created_at"`
	ModifiedAt     time.Time   `db:"modified_at"`
}

// Groups are all groups.
var Groups = projections.NewTable[GroupRow]("groups",
	projections.Index("name_f", "id"), projections.Index("organization_id", "name_f", "id"), projections.Index("organization_id", "name_exact_f", "id"), projections.Index("organization_id", "created_at", "id"), projections.Index("organization_id", "id"), projections.Index("organization_id", "external_id_f", "id"), projections.Index("number"),
	projections.Index("created_at", "id"), projections.Index("modified_at", "id"), projections.Index("users_count", "id"),
	projections.Trigram("name_f"), projections.Reverse("name_f"), projections.CountBy("organization_id"))

// GroupRoleRow says that members of a group have a role.
type GroupRoleRow struct {
	GroupID domain.ID `db:"group_id,pk"`
	RoleID  domain.ID `db:"role_id,pk"`
}

// GroupRoles are the roles of groups.
var GroupRoles = projections.NewTable[GroupRoleRow]("group_roles")

// GroupSettingsRow are an organization's settings for groups, once changed.
type GroupSettingsRow struct {
	OrganizationID   domain.ID   `db:"organization_id,pk"`
	AutoCreateGroups bool        `db:"auto_create_groups"`
	SyncIdpGroups    bool        `db:"sync_idp_groups"`
	EveryoneRoles    []domain.ID `db:"everyone_roles"`
	CreatedAt        time.Time   `db:"created_at"`
	ModifiedAt       time.Time   `db:"modified_at"`
}

// GroupSettings are the settings of organizations that changed theirs.
var GroupSettings = projections.NewTable[GroupSettingsRow]("group_settings")

func groupHandlers() []projections.Part {
	id := func(e directory.GroupDeleted, _ projections.Rec) domain.ID { return e.ID }
	return []projections.Part{
		projections.Put(Groups, func(e directory.GroupCreated, _ projections.Rec) GroupRow {
			return GroupRow{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, Name: e.Name, NameExact: e.Name, Description: e.Description, Type: "Custom",
				IsActive: e.Active, RoleIDs: e.Roles, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
		}),
		projections.PutEach(GroupRoles, func(e directory.GroupCreated, _ projections.Rec) []GroupRoleRow { return groupRoles(e.ID, e.Roles) }),
		projections.Update(Groups, projections.ByStream, func(g *GroupRow, e directory.GroupDetailsChanged, _ projections.Rec) {
			g.Name, g.NameExact, g.Description, g.ModifiedAt = e.Name, e.Name, e.Description, e.ChangedAt
		}),
		projections.Update(Groups, projections.ByStream, func(g *GroupRow, e directory.GroupActivated, _ projections.Rec) {
			g.IsActive, g.ModifiedAt = true, e.At
		}),
		projections.Update(Groups, projections.ByStream, func(g *GroupRow, e directory.GroupDeactivated, _ projections.Rec) {
			g.IsActive, g.ModifiedAt = false, e.At
		}),
		projections.Update(Groups, projections.ByStream, func(g *GroupRow, e directory.GroupRolesChanged, _ projections.Rec) {
			g.RoleIDs, g.ModifiedAt = e.Roles, e.At
		}),
		projections.Update(Groups, projections.ByStream, func(g *GroupRow, e directory.GroupLinked, _ projections.Rec) {
			g.Source, g.ExternalID, g.ModifiedAt = e.Source, e.ExternalID, e.At
		}),
		projections.DeleteWhere(GroupRoles, "group_id", func(e directory.GroupRolesChanged, _ projections.Rec) domain.ID { return e.ID }),
		projections.PutEach(GroupRoles, func(e directory.GroupRolesChanged, _ projections.Rec) []GroupRoleRow {
			return groupRoles(e.ID, e.Roles)
		}),

		projections.UpdateEach(Users, func(e directory.GroupDeleted, rec projections.Rec) []domain.ID { return membersOf(rec, e.ID) },
			func(u *UserRow, _ directory.GroupDeleted, _ projections.Rec) { u.GroupsCount-- }),
		projections.DeleteWhere(UserGroups, "group_id", id),
		projections.DeleteWhere(GroupRoles, "group_id", id),
		projections.Delete(Groups, id),

		projections.Put(GroupSettings, func(e directory.GroupSettingsChanged, rec projections.Rec) GroupSettingsRow {
			s := settings(rec, e.OrganizationID, e.At)
			s.AutoCreateGroups, s.SyncIdpGroups = e.AutoCreateGroups, e.SyncIdpGroups
			return s
		}),
		projections.Put(GroupSettings, func(e directory.EveryoneRolesChanged, rec projections.Rec) GroupSettingsRow {
			s := settings(rec, e.OrganizationID, e.At)
			s.EveryoneRoles = e.Roles
			return s
		}),
	}
}

func groupRoles(group domain.ID, roles []domain.ID) []GroupRoleRow {
	rows := make([]GroupRoleRow, len(roles))
	for i, r := range roles {
		rows[i] = GroupRoleRow{GroupID: group, RoleID: r}
	}
	return rows
}

func membersOf(rec projections.Rec, group domain.ID) []domain.ID {
	var members []domain.ID
	for _, m := range projections.Where(rec, UserGroups, "group_id", group) {
		members = append(members, m.UserID)
	}
	return members
}

// settings is the row to change, which begins with the first change.
func settings(rec projections.Rec, organization domain.ID, at time.Time) GroupSettingsRow {
	s, found := projections.Get(rec, GroupSettings, organization)
	if !found {
		s = GroupSettingsRow{OrganizationID: organization, CreatedAt: at}
	}
	s.ModifiedAt = at
	return s
}
