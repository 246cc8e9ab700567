package access

import (
	"context"
	"time"

	"docket/domain"

	"github.com/jackc/pgx/v5"
)

// Linked is a user or group that came from a user directory.
type Linked struct {
	ID         domain.ID
	ExternalID string
	Active     bool
}

// LinkedUsers are the users that came from a user directory.
func (c *Contents) LinkedUsers(ctx context.Context, directory domain.ID) ([]Linked, error) {
	return c.linked(ctx, `select id, external_id, is_active from rm_directory.users where source = $1 and external_id <> ''`, directory)
}

// LinkedGroups are the groups that came from a user directory.
func (c *Contents) LinkedGroups(ctx context.Context, directory domain.ID) ([]Linked, error) {
	return c.linked(ctx, `select id, external_id, is_active from rm_directory.groups where source = $1 and external_id <> ''`, directory)
}

func (c *Contents) linked(ctx context.Context, sql string, directory domain.ID) ([]Linked, error) {
	rows, err := c.pool.Query(ctx, sql, directory.String())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Linked])
}

// ScheduledDirectory is an active user directory that the clock synchronises.
type ScheduledDirectory struct {
	ID             domain.ID
	OrganizationID domain.ID
	Frequency      string
	Time           string
	Zone           string
	Since          time.Time
}

// ScheduledDirectories are all of them.
func (c *Contents) ScheduledDirectories(ctx context.Context) ([]ScheduledDirectory, error) {
	rows, err := c.pool.Query(ctx, `select id, organization_id, frequency, frequency_time, time_zone, scheduled_since
		from rm_directory.user_directories where synchronization = 'Scheduled' and is_active order by id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[ScheduledDirectory])
}
