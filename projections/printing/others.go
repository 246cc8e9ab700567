package printing

import (
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/reporting"
	"docket/projections"
)

// UserRow is what the history shows of a person. It stays when the person is
// deleted, as their jobs do.
type UserRow struct {
	ID        domain.ID `db:"id,pk"`
	UserName  string    `db:"user_name"`
	UserNameF string    `db:"user_name_f,fold"`
	FullName  string    `db:"full_name"`
}

// Users are all people there ever were.
var Users = projections.NewTable[UserRow]("users", projections.Index("user_name_f", "id"))

// AccountRow says how long an organization keeps documents. It stays when the
// organization is deleted: its documents still have to expire.
type AccountRow struct {
	OrganizationID domain.ID `db:"organization_id,pk"`
	KeepHours      int32     `db:"keep_hours"`
}

// Accounts are all organizations there ever were.
var Accounts = projections.NewTable[AccountRow]("accounts")

// ProjectContentRow says that a project refers to content in the blob store.
type ProjectContentRow struct {
	ProjectID domain.ID `db:"project_id,pk"`
	SHA256    string    `db:"sha256,pk"`
}

// ProjectContents are the templates of all projects. They are here since the same
// blob store keeps them: whoever removes content looks at this and at Documents.
var ProjectContents = projections.NewTable[ProjectContentRow]("project_contents", projections.Index("sha256"))

func templates(e reporting.ProjectPublished, _ projections.Rec) []ProjectContentRow {
	var rows []ProjectContentRow
	for _, r := range e.Reports {
		if r.Template != nil {
			rows = append(rows, ProjectContentRow{e.ID, r.Template.SHA256})
		}
	}
	return rows
}

func othersHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(Users, func(e directory.UserCreated, _ projections.Rec) UserRow {
			return UserRow{ID: e.ID, UserName: e.UserName, FullName: directory.FullName(e.FirstName, e.LastName)}
		}),
		projections.Update(Users, projections.ByStream, func(r *UserRow, e directory.UserProfileChanged, _ projections.Rec) {
			r.UserName, r.FullName = e.UserName, directory.FullName(e.FirstName, e.LastName)
		}),
		projections.Put(Accounts, func(e directory.OrganizationCreated, _ projections.Rec) AccountRow {
			return account(e.ID, directory.AccountSettings{})
		}),
		projections.Put(Accounts, func(e directory.AccountChanged, _ projections.Rec) AccountRow { return account(e.ID, e.Settings) }),
		projections.PutEach(ProjectContents, templates),
		projections.DeleteWhere(ProjectContents, "project_id", func(e reporting.ProjectDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}

func account(id domain.ID, s directory.AccountSettings) AccountRow {
	return AccountRow{OrganizationID: id, KeepHours: s.Defaulted().KeepHours}
}
