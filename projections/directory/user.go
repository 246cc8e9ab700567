package directory

import (
	"slices"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// UserRow is a person: a user or a recipient.
type UserRow struct {
	ID             domain.ID  `db:"id,pk"`
	Number         int32      `db:"number"`
	Kind           string     `db:"kind"` // directory.UserKind
	UserName       string     `db:"user_name"`
	UserNameF      string     `db:"user_name_f,fold"`
	DomainAccount  string     `db:"domain_account"`
	FirstName      string     `db:"first_name"`
	LastName       string     `db:"last_name"`
	FullName       string     `db:"full_name"`
	FullNameF      string     `db:"full_name_f,fold"`
	Email          string     `db:"email"`
	EmailF         string     `db:"email_f,fold"`
	IsActive       bool       `db:"is_active"`
	Language       string     `db:"language"`
	Source         string     `db:"source"`
	GroupsCount    int32      `db:"groups_count"`
	HasPassword    bool       `db:"has_password"`
	HasPIN         bool       `db:"has_pin"`
	Department     string     `db:"department"`
	HomeFolder     string     `db:"home_folder"`
	Alias          string     `db:"alias"`
	AliasF         string     `db:"alias_f,fold"`
	ShortID        string     `db:"short_id"`
	ShortIDF       string     `db:"short_id_f,fold"`
	ExternalID     string     `db:"external_id"`
	ExpiresAt      *time.Time `db:"expires_at"`      // null: never
	OrganizationID domain.ID  `db:"organization_id"` // home: the first of theirs
	CreatedAt      time.Time  `db:"created_at"`
	ModifiedAt     time.Time  `db:"modified_at"`
}

// Users are all users and recipients.
var Users = projections.NewTable[UserRow]("users",
	projections.Index("full_name_f", "id"), projections.Index("email_f", "id"), projections.Index("user_name_f", "id"),
	projections.Index("created_at", "id"), projections.Index("modified_at", "id"), projections.Index("groups_count", "id"),
	projections.Trigram("full_name_f"), projections.Trigram("email_f"), projections.Reverse("full_name_f"), projections.Reverse("email_f"),
	projections.Index("number"), projections.IndexWhere("short_id_f <> ''", "short_id_f", "id"), projections.IndexWhere("alias_f <> ''", "alias_f", "id"),
	projections.IndexWhere("external_id <> ''", "source", "external_id"), projections.Index("source", "id"),
	projections.CountBy("kind"))

// UserOrganizationRow says that a person is in an organization.
type UserOrganizationRow struct {
	UserID         domain.ID `db:"user_id,pk"`
	OrganizationID domain.ID `db:"organization_id,pk"`
}

// UserRoleRow says that a role was given to a person directly.
type UserRoleRow struct {
	UserID domain.ID `db:"user_id,pk"`
	RoleID domain.ID `db:"role_id,pk"`
}

// UserGroupRow says that a person is in a group.
type UserGroupRow struct {
	UserID  domain.ID `db:"user_id,pk"`
	GroupID domain.ID `db:"group_id,pk"`
}

// What people belong to.
var (
	UserOrganizations = projections.NewTable[UserOrganizationRow]("user_organizations", projections.Index("organization_id", "user_id"),
		projections.CountBy("organization_id"))
	UserRoles  = projections.NewTable[UserRoleRow]("user_roles", projections.Index("role_id", "user_id"))
	UserGroups = projections.NewTable[UserGroupRow]("user_groups", projections.Index("group_id", "user_id"))
)

func userHandlers() []projections.Part {
	deleted := func(e directory.UserDeleted, _ projections.Rec) domain.ID { return e.ID }
	return []projections.Part{
		projections.Put(Users, newUser),
		projections.PutEach(UserOrganizations, func(e directory.UserCreated, _ projections.Rec) []UserOrganizationRow {
			return userOrganizations(e.ID, e.Organizations)
		}),
		projections.PutEach(UserRoles, func(e directory.UserCreated, rec projections.Rec) []UserRoleRow { return userRoles(rec, e.ID, e.Roles) }),
		projections.PutEach(UserGroups, func(e directory.UserCreated, rec projections.Rec) []UserGroupRow {
			return userGroups(rec, e.ID, e.Groups)
		}),
		projections.UpdateEach(Groups, func(e directory.UserCreated, _ projections.Rec) []domain.ID { return e.Groups },
			func(g *GroupRow, _ directory.UserCreated, _ projections.Rec) { g.UsersCount++ }),

		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserProfileChanged, _ projections.Rec) {
			u.UserName, u.DomainAccount, u.FirstName, u.LastName = e.UserName, e.DomainAccount, e.FirstName, e.LastName
			u.FullName, u.Email, u.Language, u.ModifiedAt = directory.FullName(e.FirstName, e.LastName), e.Email, e.Language, e.At
		}),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserPasswordChanged, _ projections.Rec) {
			u.HasPassword, u.ModifiedAt = e.PasswordHash != "", e.At
		}),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserActivated, _ projections.Rec) { u.IsActive, u.ModifiedAt = true, e.At }),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserDeactivated, _ projections.Rec) {
			u.IsActive, u.ModifiedAt = false, e.At
		}),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.RecipientConverted, _ projections.Rec) {
			u.Kind, u.ModifiedAt = string(directory.KindUser), e.At
		}),

		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserRolesChanged, _ projections.Rec) { u.ModifiedAt = e.At }),
		projections.DeleteWhere(UserRoles, "user_id", func(e directory.UserRolesChanged, _ projections.Rec) domain.ID { return e.ID }),
		projections.PutEach(UserRoles, func(e directory.UserRolesChanged, rec projections.Rec) []UserRoleRow {
			return userRoles(rec, e.ID, e.Roles)
		}),

		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserOrganizationsChanged, _ projections.Rec) {
			u.OrganizationID, u.ModifiedAt = home(e.Organizations), e.At
		}),
		projections.DeleteWhere(UserOrganizations, "user_id", func(e directory.UserOrganizationsChanged, _ projections.Rec) domain.ID { return e.ID }),
		projections.PutEach(UserOrganizations, func(e directory.UserOrganizationsChanged, _ projections.Rec) []UserOrganizationRow {
			return userOrganizations(e.ID, e.Organizations)
		}),

		projections.UpdateEach(Groups, func(e directory.UserGroupsChanged, rec projections.Rec) []domain.ID {
			return slices.Concat(joined(e, rec), left(e, rec))
		}, countMember),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserGroupsChanged, rec projections.Rec) {
			u.GroupsCount += int32(len(joined(e, rec)) - len(left(e, rec)))
			u.ModifiedAt = e.At
		}),
		projections.DeleteEach(UserGroups, func(e directory.UserGroupsChanged, _ projections.Rec) []UserGroupRow { return pairs(e.ID, e.Left) }),
		projections.PutEach(UserGroups, func(e directory.UserGroupsChanged, rec projections.Rec) []UserGroupRow {
			return userGroups(rec, e.ID, e.Joined)
		}),

		projections.UpdateEach(Groups, func(e directory.UserDeleted, rec projections.Rec) []domain.ID { return groupsOf(rec, e.ID) },
			func(g *GroupRow, _ directory.UserDeleted, _ projections.Rec) { g.UsersCount-- }),
		projections.DeleteWhere(UserOrganizations, "user_id", deleted),
		projections.DeleteWhere(UserRoles, "user_id", deleted),
		projections.DeleteWhere(UserGroups, "user_id", deleted),
		projections.DeleteWhere(APIKeys, "user_id", deleted),
		projections.Delete(Users, deleted),
	}
}

func newUser(e directory.UserCreated, rec projections.Rec) UserRow {
	return UserRow{ID: e.ID, Number: e.Number, Kind: string(e.Kind), UserName: e.UserName, DomainAccount: e.DomainAccount,
		FirstName: e.FirstName, LastName: e.LastName, FullName: directory.FullName(e.FirstName, e.LastName), Email: e.Email,
		IsActive: e.Active, Language: e.Language, Source: e.Source, GroupsCount: int32(len(userGroups(rec, e.ID, e.Groups))),
		HasPassword: e.PasswordHash != "", OrganizationID: home(e.Organizations), CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
}

func home(organizations []domain.ID) domain.ID {
	if len(organizations) == 0 {
		return domain.ID{}
	}
	return organizations[0]
}

func userOrganizations(user domain.ID, organizations []domain.ID) []UserOrganizationRow {
	rows := make([]UserOrganizationRow, len(organizations))
	for i, o := range organizations {
		rows[i] = UserOrganizationRow{UserID: user, OrganizationID: o}
	}
	return rows
}

// userRoles leaves out roles that were deleted meanwhile: a role's deletion and
// a person's change are two streams.
func userRoles(rec projections.Rec, user domain.ID, roles []domain.ID) []UserRoleRow {
	var rows []UserRoleRow
	for _, r := range roles {
		if _, live := projections.Get(rec, Roles, r); live {
			rows = append(rows, UserRoleRow{UserID: user, RoleID: r})
		}
	}
	return rows
}

// userGroups leaves out groups that were deleted meanwhile.
func userGroups(rec projections.Rec, user domain.ID, groups []domain.ID) []UserGroupRow {
	var rows []UserGroupRow
	for _, g := range groups {
		if _, live := projections.Get(rec, Groups, g); live {
			rows = append(rows, UserGroupRow{UserID: user, GroupID: g})
		}
	}
	return rows
}

func pairs(user domain.ID, groups []domain.ID) []UserGroupRow {
	rows := make([]UserGroupRow, len(groups))
	for i, g := range groups {
		rows[i] = UserGroupRow{UserID: user, GroupID: g}
	}
	return rows
}

// joined are the live groups a person was not in before.
func joined(e directory.UserGroupsChanged, rec projections.Rec) []domain.ID {
	var groups []domain.ID
	for _, row := range userGroups(rec, e.ID, e.Joined) {
		if _, member := projections.Get(rec, UserGroups, row); !member {
			groups = append(groups, row.GroupID)
		}
	}
	return groups
}

// left are the live groups a person was in before.
func left(e directory.UserGroupsChanged, rec projections.Rec) []domain.ID {
	var groups []domain.ID
	for _, row := range pairs(e.ID, e.Left) {
		if _, member := projections.Get(rec, UserGroups, row); member {
			groups = append(groups, row.GroupID)
		}
	}
	return groups
}

// countMember counts a person who joined or left.
func countMember(g *GroupRow, e directory.UserGroupsChanged, _ projections.Rec) {
	if slices.Contains(e.Joined, g.ID) {
		g.UsersCount++
	} else {
		g.UsersCount--
	}
}

func groupsOf(rec projections.Rec, user domain.ID) []domain.ID {
	var groups []domain.ID
	for _, m := range projections.Where(rec, UserGroups, "user_id", user) {
		groups = append(groups, m.GroupID)
	}
	return groups
}
