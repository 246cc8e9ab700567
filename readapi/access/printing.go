package access

import (
	"context"
	"time"

	"docket/domain"

	"github.com/jackc/pgx/v5"
)

// DueDocument is a document that is too old.
type DueDocument struct {
	ID             domain.ID
	OrganizationID domain.ID
	Before         time.Time // documents of the organization from before this are too old
}

// DueDocuments are documents that have waited longer at a time than their
// organization keeps documents, at most limit. One that is on its way to a printer
// is not among them unless it was sent there as long ago.
func (c *Contents) DueDocuments(ctx context.Context, now time.Time, limit int) ([]DueDocument, error) {
	rows, err := c.pool.Query(ctx, `
		select d.id, d.organization_id, a.before
		from (select organization_id, $1::timestamptz - make_interval(hours => keep_hours) as before from rm_printing.accounts) a
		cross join lateral (
			select id, organization_id from rm_printing.documents
			where organization_id = a.organization_id and has_content and created_at < a.before and (release is null or modified_at < a.before)
			order by created_at limit $2) d
		limit $2`, now, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[DueDocument])
}

// ContentsInUse tells which of some names of contents in the blob store a document
// or a project refers to.
func (c *Contents) ContentsInUse(ctx context.Context, sha256 []string) (map[string]bool, error) {
	rows, err := c.pool.Query(ctx, `
		select content from rm_printing.documents where content <> '' and content = any($1)
		union select sha256 from rm_printing.project_contents where sha256 = any($1)`, sha256)
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	var name string
	_, err = pgx.ForEachRow(rows, []any{&name}, func() error {
		used[name] = true
		return nil
	})
	return used, err
}
