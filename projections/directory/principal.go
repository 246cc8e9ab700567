package directory

import (
	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// PrincipalRow is a person or a group, for lists that mix them: members of an
// organization, recipients of a task.
type PrincipalRow struct {
	ID       domain.ID `db:"id,pk"`
	Type     string    `db:"type"` // "user" or "group"
	Name     string    `db:"name"`
	NameF    string    `db:"name_f,fold"`
	Email    string    `db:"email"`
	EmailF   string    `db:"email_f,fold"`
	IsActive bool      `db:"is_active"`
}

// PrincipalOrganizationRow says which organizations a principal belongs to.
type PrincipalOrganizationRow struct {
	PrincipalID    domain.ID `db:"principal_id,pk"`
	OrganizationID domain.ID `db:"organization_id,pk"`
}

// People and groups together.
var (
	Principals = projections.NewTable[PrincipalRow]("principals",
		projections.Index("name_f", "id"), projections.Index("email_f", "id"), projections.Trigram("name_f"))
	PrincipalOrganizations = projections.NewTable[PrincipalOrganizationRow]("principal_organizations", projections.Index("organization_id", "principal_id"))
)

func principalHandlers() []projections.Part {
	userDeleted := func(e directory.UserDeleted, _ projections.Rec) domain.ID { return e.ID }
	groupDeleted := func(e directory.GroupDeleted, _ projections.Rec) domain.ID { return e.ID }
	return []projections.Part{
		projections.Put(Principals, func(e directory.UserCreated, _ projections.Rec) PrincipalRow {
			return PrincipalRow{ID: e.ID, Type: "user", Name: directory.FullName(e.FirstName, e.LastName), Email: e.Email, IsActive: e.Active}
		}),
		projections.PutEach(PrincipalOrganizations, func(e directory.UserCreated, _ projections.Rec) []PrincipalOrganizationRow {
			return principalOrganizations(e.ID, e.Organizations)
		}),
		projections.Update(Principals, projections.ByStream, func(p *PrincipalRow, e directory.UserProfileChanged, _ projections.Rec) {
			p.Name, p.Email = directory.FullName(e.FirstName, e.LastName), e.Email
		}),
		projections.Update(Principals, projections.ByStream, func(p *PrincipalRow, _ directory.UserActivated, _ projections.Rec) { p.IsActive = true }),
		projections.Update(Principals, projections.ByStream, func(p *PrincipalRow, _ directory.UserDeactivated, _ projections.Rec) { p.IsActive = false }),
		projections.DeleteWhere(PrincipalOrganizations, "principal_id", func(e directory.UserOrganizationsChanged, _ projections.Rec) domain.ID { return e.ID }),
		projections.PutEach(PrincipalOrganizations, func(e directory.UserOrganizationsChanged, _ projections.Rec) []PrincipalOrganizationRow {
			return principalOrganizations(e.ID, e.Organizations)
		}),
		projections.DeleteWhere(PrincipalOrganizations, "principal_id", userDeleted),
		projections.Delete(Principals, userDeleted),

		projections.Put(Principals, func(e directory.GroupCreated, _ projections.Rec) PrincipalRow {
			return PrincipalRow{ID: e.ID, Type: "group", Name: e.Name, IsActive: e.Active}
		}),
		projections.PutEach(PrincipalOrganizations, func(e directory.GroupCreated, _ projections.Rec) []PrincipalOrganizationRow {
			return principalOrganizations(e.ID, []domain.ID{e.OrganizationID})
		}),
		projections.Update(Principals, projections.ByStream, func(p *PrincipalRow, e directory.GroupDetailsChanged, _ projections.Rec) { p.Name = e.Name }),
		projections.Update(Principals, projections.ByStream, func(p *PrincipalRow, _ directory.GroupActivated, _ projections.Rec) { p.IsActive = true }),
		projections.Update(Principals, projections.ByStream, func(p *PrincipalRow, _ directory.GroupDeactivated, _ projections.Rec) { p.IsActive = false }),
		projections.DeleteWhere(PrincipalOrganizations, "principal_id", groupDeleted),
		projections.Delete(Principals, groupDeleted),
	}
}

func principalOrganizations(id domain.ID, organizations []domain.ID) []PrincipalOrganizationRow {
	rows := make([]PrincipalOrganizationRow, len(organizations))
	for i, o := range organizations {
		rows[i] = PrincipalOrganizationRow{PrincipalID: id, OrganizationID: o}
	}
	return rows
}
