package admin

import (
	"context"

	"docket/domain"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// belonged holds for a change to a thing that belonged to one of the
// organizations just after it, or just before it if it is what moved the thing.
const belonged = `exists (select 1 from (select b.belongs_to, b.revision from rm_audit.entries b
		where b.stream = e.stream and b.revision <= e.last_revision and b.belongs_to <> '{}' order by b.revision desc limit 1) afterwards
	where afterwards.belongs_to && %[1]s or afterwards.revision >= e.revision and exists (select 1 from (select b.belongs_to from rm_audit.entries b
		where b.stream = e.stream and b.revision < e.revision and b.belongs_to <> '{}' order by b.revision desc limit 1) before
	where before.belongs_to && %[1]s))`

// A change concerns organizations when it was made in one, or to a thing of one.
// Things are looked through one by one, unless few ever belonged to any.
const (
	concerns    = `(e.organization_id = any(%[1]s) or ` + belonged + `)`
	concernsFew = `(e.organization_id = any(%[1]s) or e.stream = any(%[2]s) and ` + belonged + `)`
)

// fewStreams is how many things are few. Tests change it.
var fewStreams = 5000

// confine adds to a query what the caller sees, and the organization they ask
// for. It ends where the audit trail ends now: an export of a busy log comes to
// an end, and nothing is passed over whose stream was not there a moment before.
func (r *reads) confine(ctx context.Context, q *changesQuery, in *listChanges) error {
	var end int64
	if err := r.Pool.QueryRow(ctx, "select coalesce(max(position), 0) from rm_audit.entries").Scan(&end); err != nil {
		return err
	}
	q.where.add("e.position <= %s", end)
	if actor := actorOf(ctx); !actor.Unrestricted {
		if err := r.concern(ctx, q, actor.Organizations); err != nil {
			return err
		}
	}
	if in.Organization.Set {
		return r.concern(ctx, q, []uuid.UUID{in.Organization.Value})
	}
	return nil
}

func (r *reads) concern(ctx context.Context, q *changesQuery, organizations []domain.ID) error {
	const naming = `(select stream from rm_audit.entries where belongs_to <> '{}' and home_id = any($1) limit $2)
		union all (select stream from rm_audit.entries where cardinality(belongs_to) > 1 and belongs_to && $1 limit $2) limit $2`
	rows, err := r.Pool.Query(ctx, naming, organizations, fewStreams+1)
	if err != nil {
		return err
	}
	streams, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(streams) > fewStreams {
		q.where.add(concerns, organizations)
	} else {
		q.where.add(concernsFew, organizations, streams)
	}
	return nil
}
