package reporting

import (
	"time"

	"docket/domain"
	"docket/domain/reporting"
	"docket/projections"
)

// ProjectRow is a project.
type ProjectRow struct {
	ID             domain.ID `db:"id,pk"`
	OrganizationID domain.ID `db:"organization_id"`
	OwnerID        domain.ID `db:"owner_id"`
	Name           string    `db:"name"`
	NameF          string    `db:"name_f,fold"`
	Description    string    `db:"description"`
	DescriptionF   string    `db:"description_f,fold"`
	IsActive       bool      `db:"is_active"`
	ModifiedBy     domain.ID `db:"modified_by"`
	ReportsCount   int32     `db:"reports_count"`
	TasksCount     int32     `db:"tasks_count"`
	CreatedAt      time.Time `db:"created_at"`
	ModifiedAt     time.Time `db:"modified_at"`
}

// Projects are all projects.
var Projects = projections.NewTable[ProjectRow]("projects",
	projections.Index("name_f", "id"), projections.Index("description_f", "id"), projections.Index("organization_id", "name_f", "id"),
	projections.Index("created_at", "id"), projections.Index("modified_at", "id"), projections.Index("tasks_count", "id"),
	projections.Trigram("name_f"), projections.Trigram("description_f"), projections.Reverse("name_f"), projections.CountBy("organization_id"))

// ReportRow is a report of a project.
type ReportRow struct {
	ID             domain.ID `db:"id,pk"`
	ProjectID      domain.ID `db:"project_id"`
	OrganizationID domain.ID `db:"organization_id"`
	OwnerID        domain.ID `db:"owner_id"`
	Name           string    `db:"name"`
	NameF          string    `db:"name_f,fold"`
	Description    string    `db:"description"`
	DescriptionF   string    `db:"description_f,fold"`
	Type           string    `db:"type"`
	OutputFormats  []string  `db:"output_formats"`
	TemplateFile   string    `db:"template_file"`
	CreatedAt      time.Time `db:"created_at"`
}

// Reports are all reports.
var Reports = projections.NewTable[ReportRow]("reports",
	projections.Index("name_f", "id"), projections.Index("project_id", "name_f", "id"), projections.Trigram("name_f"), projections.CountBy("organization_id"))

func projectHandlers() []projections.Part {
	deleted := func(e reporting.ProjectDeleted, _ projections.Rec) domain.ID { return e.ID }
	return []projections.Part{
		projections.Put(Projects, func(e reporting.ProjectPublished, rec projections.Rec) ProjectRow {
			return ProjectRow{ID: e.ID, OrganizationID: e.OrganizationID, OwnerID: e.OwnerID, Name: e.Name, Description: e.Description, IsActive: true,
				ModifiedBy: rec.Meta.Actor, ReportsCount: int32(len(e.Reports)), CreatedAt: e.PublishedAt, ModifiedAt: e.PublishedAt}
		}),
		projections.PutEach(Reports, newReports),
		projections.DeleteEach(Recipients, func(e reporting.ProjectDeleted, rec projections.Rec) []RecipientKey {
			return recipientsBelow(rec, e.ID)
		}),
		projections.DeleteWhere(Tasks, "project_id", deleted),
		projections.DeleteWhere(Reports, "project_id", deleted),
		projections.Delete(Projects, deleted),
	}
}

func newReports(e reporting.ProjectPublished, _ projections.Rec) []ReportRow {
	rows := make([]ReportRow, len(e.Reports))
	for i, r := range e.Reports {
		rows[i] = ReportRow{ID: r.ID, ProjectID: e.ID, OrganizationID: e.OrganizationID, OwnerID: e.OwnerID, Name: r.Name, Description: r.Description,
			Type: r.Type, OutputFormats: r.OutputFormats, CreatedAt: e.PublishedAt}
		if r.Template != nil {
			rows[i].TemplateFile = r.Template.Name
		}
	}
	return rows
}
