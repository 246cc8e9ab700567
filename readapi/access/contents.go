package access

import (
	"context"
	"fmt"
	"strings"

	"docket/domain"
	"docket/domain/fault"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Contents answers what stands in many aggregates at once, from the read models.
// It does not look at who asks.
type Contents struct{ pool *pgxpool.Pool }

// NewContents reads through pool.
func NewContents(pool *pgxpool.Pool) *Contents { return &Contents{pool} }

// Empty is a Conflict fault that says what an organization still holds, apart
// from these organizations.
func (c *Contents) Empty(ctx context.Context, organization domain.ID, apart []domain.ID) error {
	var children, people, groups, projects, roles int64
	err := c.pool.QueryRow(ctx, `select
		(select count(*) from rm_directory.organizations where parent_id = $1 and id <> all($2)),
		(select count(*) from rm_directory.user_organizations where organization_id = $1),
		(select count(*) from rm_directory.groups where organization_id = $1),
		(select count(*) from rm_reporting.projects where organization_id = $1),
		(select count(*) from rm_directory.roles where organization_id = $1 and not is_system)`, organization, apart).
		Scan(&children, &people, &groups, &projects, &roles)
	if err != nil {
		return err
	}
	var holds []string
	for _, h := range []struct {
		n    int64
		what string
	}{{children, "organizations below it"}, {people, "users and recipients"}, {groups, "groups"}, {projects, "projects"}, {roles, "roles"}} {
		if h.n > 0 {
			holds = append(holds, fmt.Sprintf("%d %s", h.n, h.what))
		}
	}
	if holds == nil {
		return nil
	}
	return fault.New(fault.Conflict, "organization.not-empty", "organization %s still has %s", organization, strings.Join(holds, ", "))
}

// Named is what answers show of a thing that they refer to.
type Named struct {
	Name         string
	Email        string     // of people
	Organization *domain.ID // nil for people and for what all organizations share
}

// Names finds organizations, people, groups, roles and projects by their ids.
func (c *Contents) Names(ctx context.Context, ids []domain.ID) (map[domain.ID]Named, error) {
	rows, err := c.pool.Query(ctx, `
		select id, name, '', id from rm_directory.organizations where id = any($1)
		union all select id, full_name, email, null from rm_directory.users where id = any($1)
		union all select id, name, '', organization_id from rm_directory.groups where id = any($1)
		union all select id, name, '', case when not is_system then organization_id end from rm_directory.roles where id = any($1)
		union all select id, name, '', organization_id from rm_reporting.projects where id = any($1)`, ids)
	if err != nil {
		return nil, err
	}
	names := make(map[domain.ID]Named, len(ids))
	var (
		id domain.ID
		n  Named
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &n.Name, &n.Email, &n.Organization}, func() error {
		names[id] = n
		return nil
	})
	return names, err
}

// Members are the ids of who is in a group.
func (c *Contents) Members(ctx context.Context, group domain.ID) ([]domain.ID, error) {
	rows, err := c.pool.Query(ctx, "select user_id from rm_directory.user_groups where group_id = $1 order by user_id", group)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[domain.ID])
}
