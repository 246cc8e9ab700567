package directory

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// OrganizationRow is an organization with its place in the tree.
type OrganizationRow struct {
	ID           domain.ID   `db:"id,pk"`
	Number       int32       `db:"number"`
	ParentID     *domain.ID  `db:"parent_id"`
	Path         []domain.ID `db:"path"` // from the root to the organization itself: whoever sees one of these sees it
	Name         string      `db:"name"`
	NameF        string      `db:"name_f,fold"`
	DisplayName  string      `db:"display_name"`
	DisplayNameF string      `db:"display_name_f,fold"`
	Description  string      `db:"description"`
	DescriptionF string      `db:"description_f,fold"`
	ThemeID      *domain.ID  `db:"theme_id"`
	IsSystem     bool        `db:"is_system"`
	CreatedAt    time.Time   `db:"created_at"`
	ModifiedAt   time.Time   `db:"modified_at"`
}

// Organizations are all organizations.
var Organizations = projections.NewTable[OrganizationRow]("organizations",
	projections.Index("name_f", "id"), projections.Index("display_name_f", "id"), projections.Index("description_f", "id"),
	projections.Index("parent_id", "id"), projections.Trigram("name_f"), projections.Trigram("description_f"))

func organizationHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(Organizations, func(e directory.OrganizationCreated, _ projections.Rec) OrganizationRow {
			path := append(append([]domain.ID{}, e.Ancestors...), e.ID)
			return OrganizationRow{ID: e.ID, Number: e.Number, ParentID: e.ParentID, Path: path, Name: e.Name, DisplayName: e.DisplayName,
				Description: e.Description, ThemeID: e.ThemeID, IsSystem: e.ID == directory.GlobalID, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
		}),
		projections.Update(Organizations, projections.ByStream, func(o *OrganizationRow, e directory.OrganizationChanged, _ projections.Rec) {
			o.Name, o.DisplayName, o.Description, o.ThemeID, o.ModifiedAt = e.Name, e.DisplayName, e.Description, e.ThemeID, e.ChangedAt
		}),
		projections.DeleteWhere(APIKeys, "organization_id", func(e directory.OrganizationDeleted, _ projections.Rec) domain.ID { return e.ID }),
		projections.Delete(Organizations, func(e directory.OrganizationDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}
