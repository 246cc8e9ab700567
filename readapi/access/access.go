// Package access finds out who a caller is: it resolves credentials against the
// directory's read models into the actor of a request.
package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/readapi/query"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Resolver turns credentials into actors.
type Resolver struct {
	pool  *pgxpool.Pool
	keys  *fresh[resolved]
	users *fresh[resolved]
	now   func() time.Time
	look  func(ctx context.Context, hash [sha256.Size]byte) (resolved, error)
}

type resolved struct {
	actor   domain.Actor
	expires time.Time
	fault   *fault.Error
}

// NewResolver reads the directory through pool.
func NewResolver(pool *pgxpool.Pool) *Resolver {
	r := &Resolver{pool: pool, now: time.Now}
	now := func() time.Time { return r.now() }
	r.look, r.keys, r.users = r.lookUp, newFresh[resolved](now), newFresh[resolved](now)
	return r
}

// Bearer resolves the Authorization header of a request. Its errors are faults
// of kind Unauthenticated; the text tells expired and revoked keys from unknown
// ones only to who holds them.
func (r *Resolver) Bearer(ctx context.Context, req *http.Request) (context.Context, error) {
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return ctx, fault.New(fault.Unauthenticated, "credential.missing", "send the header Authorization: Bearer <API key>")
	}
	actor, err := r.Key(ctx, token)
	if err != nil {
		return ctx, err
	}
	return domain.WithActor(ctx, actor), nil
}

// Key resolves an API key.
func (r *Resolver) Key(ctx context.Context, key string) (domain.Actor, error) {
	hash := sha256.Sum256([]byte(key))
	found, err := r.keys.get(hash, func() (resolved, error) { return r.look(ctx, hash) })
	if err != nil {
		return domain.Actor{}, err
	}
	if found.fault != nil {
		return domain.Actor{}, found.fault
	}
	if !r.now().Before(found.expires) {
		return domain.Actor{}, fault.New(fault.Unauthenticated, "credential.expired", "this API key has expired")
	}
	return found.actor, nil
}

// Forget drops what was resolved before, for changes that a caller's own next
// request must see. What is being looked up meanwhile does not count either.
func (r *Resolver) Forget() {
	r.keys.forget()
	r.users.forget()
}

// User is a user as an actor in an organization, without an API key: who they
// are has been proved in another way. What they may do and see is what a key of
// theirs for that organization would give them. Its errors are faults of kind
// Unauthenticated.
func (r *Resolver) User(ctx context.Context, user, organization domain.ID) (domain.Actor, error) {
	found, err := r.users.get(sha256.Sum256(append(user[:], organization[:]...)), func() (resolved, error) {
		return r.resolve(ctx, userSQL, user, organization)
	})
	if err != nil {
		return domain.Actor{}, err
	}
	if found.fault != nil {
		return domain.Actor{}, found.fault
	}
	return found.actor, nil
}

// holds tells whether somebody may act: recipients, inactive and expired users
// get nothing.
const holds = `u.is_active and u.kind = 'user' and (u.expires_at is null or u.expires_at > now()) as active`

// keySQL and userSQL find who a credential stands for, and where.
const (
	keySQL = `select k.id, k.user_id, k.organization_id, k.expires_at, o.path, ` + holds + `
  from rm_directory.api_keys k
  join rm_directory.users u on u.id = k.user_id
  join rm_directory.organizations o on o.id = k.organization_id
  where k.hash = $1`
	userSQL = `select null::uuid as id, u.id as user_id, o.id as organization_id, timestamptz '9999-12-31' as expires_at, o.path, ` + holds + `
  from rm_directory.users u, rm_directory.organizations o
  where u.id = $1 and o.id = $2`
)

// lookUpSQL reads, for one of the above, everything they may do and see: the roles
// given directly, through active groups, and to Everyone of the organization and
// those above it.
const lookUpSQL = `
with key as materialized (%s), held as materialized (
  select r.id, r.permissions, r.all_projects, r.projects
  from rm_directory.roles r
  where r.is_active and r.id in (
    select ur.role_id from rm_directory.user_roles ur, key where ur.user_id = key.user_id
    union all
    select gr.role_id from rm_directory.group_roles gr
      join rm_directory.groups g on g.id = gr.group_id and g.is_active
      join rm_directory.user_groups ug on ug.group_id = g.id, key where ug.user_id = key.user_id
    union all
    select unnest(s.everyone_roles) from rm_directory.group_settings s, key where s.organization_id = any(key.path))
)
select key.id, key.user_id, key.organization_id, key.expires_at, key.active,
  exists (select from rm_directory.user_organizations m where m.user_id = key.user_id and m.organization_id = any(key.path)),
  (select coalesce(array_agg(id), '{}') from held),
  (select coalesce(array_agg(distinct p), '{}') from held, unnest(permissions) p),
  (select coalesce(jsonb_agg(jsonb_build_object('permissions', permissions, 'all', all_projects, 'projects', projects)), '[]') from held),
  (select coalesce(array_agg(d.id order by d.id), '{}') from rm_directory.organizations d where d.path @> array[key.organization_id])
from key`

// lookUp resolves an API key.
func (r *Resolver) lookUp(ctx context.Context, hash [sha256.Size]byte) (resolved, error) {
	out, err := r.resolve(ctx, keySQL, hex.EncodeToString(hash[:]))
	if err == nil && out.fault == nil && !out.actor.May("apiKeys.use") {
		out.fault = fault.New(fault.Unauthenticated, "credential.not-allowed", "the user of this API key may not use API keys")
	}
	return out, err
}

// resolve reads who a credential stands for, found by some SQL.
func (r *Resolver) resolve(ctx context.Context, sql string, args ...any) (resolved, error) {
	var (
		out            resolved
		active, member bool
		roles          []domain.ID
		permissions    []string
		grants         []grant
		organizations  []domain.ID
		a              = &out.actor
	)
	err := r.pool.QueryRow(ctx, fmt.Sprintf(lookUpSQL, sql), args...).Scan(&a.KeyID, &a.UserID, &a.Tenant, &out.expires, &active, &member,
		&roles, &permissions, &grants, &organizations)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		out.fault = fault.New(fault.Unauthenticated, "credential.unknown", "this credential is not known or was revoked")
		return out, nil
	case err != nil:
		return out, err
	case !active || !member:
		out.fault = fault.New(fault.Unauthenticated, "credential.inactive", "the user of this credential may not act here any more")
		return out, nil
	}
	a.Everything = slices.Contains(roles, directory.AdministratorsID)
	a.Unrestricted = a.Tenant == directory.GlobalID
	a.Organizations = organizations
	a.Permissions = make(map[string]bool, len(permissions))
	for _, p := range permissions {
		a.Permissions[p] = true
	}
	if !a.Everything {
		limit(a, grants)
	}
	return out, nil
}

// grant is what one role gives.
type grant struct {
	Permissions []string    `json:"permissions"`
	All         bool        `json:"all"`
	Projects    []domain.ID `json:"projects"`
}

// limit works out for which projects each permission holds: the union over the
// roles that give it, not over all roles.
func limit(a *domain.Actor, grants []grant) {
	everywhere := map[string]bool{}
	some := map[string][]domain.ID{}
	var union []domain.ID
	for _, g := range grants {
		for _, p := range g.Permissions {
			switch {
			case !directory.PerProject(p):
			case g.All:
				everywhere[p] = true
			default:
				some[p] = append(some[p], g.Projects...)
				union = append(union, g.Projects...)
			}
		}
	}
	for p := range everywhere {
		delete(some, p)
	}
	for p := range some {
		some[p] = sorted(some[p])
	}
	a.Limited = some
	if len(everywhere) == 0 {
		a.Projects = sorted(union)
	}
}

// sorted is never nil: nil would mean no limit.
func sorted(ids []domain.ID) []domain.ID {
	ids = append([]domain.ID{}, ids...)
	slices.SortFunc(ids, domain.CompareIDs)
	return slices.Compact(ids)
}

// Scope is what an actor sees, for lists.
func Scope(a domain.Actor) query.Scope {
	if a.Unrestricted {
		return query.Everything()
	}
	return query.Organizations(a.Organizations...)
}

// Allow checks a permission of the caller in ctx.
func Allow(ctx context.Context, permission string) error {
	a, ok := domain.ActorOf(ctx)
	if !ok {
		return fault.New(fault.Unauthenticated, "credential.missing", "a credential is needed")
	}
	if !a.May(permission) {
		return fault.New(fault.Denied, "denied", "the permission %s is needed", permission)
	}
	return nil
}
