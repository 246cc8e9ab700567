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
	var children, people, groups, projects, roles, directories int64
	err := c.pool.QueryRow(ctx, `select
		(select count(*) from rm_directory.organizations where parent_id = $1 and id <> all($2)),
		(select count(*) from rm_directory.user_organizations where organization_id = $1),
		(select count(*) from rm_directory.groups where organization_id = $1),
		(select count(*) from rm_reporting.projects where organization_id = $1),
		(select count(*) from rm_directory.roles where organization_id = $1 and not is_system),
		(select count(*) from rm_directory.user_directories where organization_id = $1)`, organization, apart).
		Scan(&children, &people, &groups, &projects, &roles, &directories)
	if err != nil {
		return err
	}
	var holds []string
	for _, h := range []struct {
		n    int64
		what string
	}{{children, "organizations below it"}, {people, "users and recipients"}, {groups, "groups"}, {projects, "projects"}, {roles, "roles"}, {directories, "user directories"}} {
		if h.n > 0 {
			holds = append(holds, fmt.Sprintf("%d %s", h.n, h.what))
		}
	}
	if holds == nil {
		return nil
	}
	return fault.New(fault.Conflict, "organization.not-empty", "organization %s still has %s", organization, strings.Join(holds, ", "))
}

// Users is how many users an organization has who may act.
func (c *Contents) Users(ctx context.Context, organization domain.ID) (n int64, err error) {
	err = c.pool.QueryRow(ctx, `select count(*) from rm_directory.user_organizations m join rm_directory.users u on u.id = m.user_id
		where m.organization_id = $1 and u.kind = 'user' and u.is_active`, organization).Scan(&n)
	return n, err
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

// OrphanedTasks are tasks of a deleted project that no event has ended, in the
// order of their ids, after an id.
func (c *Contents) OrphanedTasks(ctx context.Context, project, after domain.ID, limit int) ([]domain.ID, error) {
	return c.ids(ctx, `select task_id from rm_reporting.orphaned_tasks where project_id = $1 and task_id > $2 order by task_id limit $3`, project, after, limit)
}

// OrphanedKeys are API keys of a deleted user or organization that no event has
// ended, in the order of their ids, after an id.
func (c *Contents) OrphanedKeys(ctx context.Context, owner, after domain.ID, limit int) ([]domain.ID, error) {
	return c.ids(ctx, `select key_id from rm_directory.orphaned_keys where (user_id = $1 or organization_id = $1) and key_id > $2 order by key_id limit $3`, owner, after, limit)
}

// OrphanedAccessKeys are access keys of a deleted organization that no event has
// ended, in the order of their ids, after an id.
func (c *Contents) OrphanedAccessKeys(ctx context.Context, organization, after domain.ID, limit int) ([]domain.ID, error) {
	return c.ids(ctx, orphanedAccessSQL, organization, after, limit, "accesskey")
}

// OrphanedDevices is OrphanedAccessKeys for devices.
func (c *Contents) OrphanedDevices(ctx context.Context, organization, after domain.ID, limit int) ([]domain.ID, error) {
	return c.ids(ctx, orphanedAccessSQL, organization, after, limit, "device")
}

const orphanedAccessSQL = `select id from rm_directory.orphaned_access where organization_id = $1 and id > $2 and kind = $4 order by id limit $3`

// LateAccess tells whether an access key or device was created after its
// organization was deleted and has not been ended, and whether there is any such.
func (c *Contents) LateAccess(ctx context.Context, id domain.ID) (late, any bool, err error) {
	err = c.pool.QueryRow(ctx, `select coalesce(bool_or(id = $1), false), count(*) > 0 from rm_directory.orphaned_access where late`, id).Scan(&late, &any)
	return late, any, err
}

// TasksWithRecipient are tasks that still have a deleted user or group as a
// recipient by the log, in the order of their ids, after an id.
func (c *Contents) TasksWithRecipient(ctx context.Context, recipient, after domain.ID, limit int) ([]domain.ID, error) {
	return c.ids(ctx, `select task_id from rm_reporting.orphaned_recipients where recipient_id = $1 and task_id > $2 order by task_id limit $3`, recipient, after, limit)
}

func (c *Contents) ids(ctx context.Context, sql string, args ...any) ([]domain.ID, error) {
	rows, err := c.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[domain.ID])
}

// LateTask tells whether a task was created after its project was deleted and
// has not been ended, and whether there is any such task.
func (c *Contents) LateTask(ctx context.Context, task domain.ID) (late, any bool, err error) {
	err = c.pool.QueryRow(ctx, `select coalesce(bool_or(task_id = $1), false), count(*) > 0 from rm_reporting.orphaned_tasks where late`, task).Scan(&late, &any)
	return late, any, err
}

// LateKey tells whether an API key was created after its user or organization
// was deleted and has not been revoked, and whether there is any such key.
func (c *Contents) LateKey(ctx context.Context, key domain.ID) (late, any bool, err error) {
	err = c.pool.QueryRow(ctx, `select coalesce(bool_or(key_id = $1), false), count(*) > 0 from rm_directory.orphaned_keys where late`, key).Scan(&late, &any)
	return late, any, err
}
