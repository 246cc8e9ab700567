// Package access finds out who a caller is: it resolves credentials against the
// directory's read models into the actor of a request.
package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/readapi/query"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/maypok86/otter/v2"
)

// freshness bounds how long a resolved key is trusted: a key revoked, a user
// deactivated or a role changed takes effect within it.
const freshness = 500 * time.Millisecond

// maxCached keys are kept resolved.
const maxCached = 10_000

// Resolver turns credentials into actors.
type Resolver struct {
	pool  *pgxpool.Pool
	cache *otter.Cache[[sha256.Size]byte, resolved]
	now   func() time.Time
	look  func(ctx context.Context, hash [sha256.Size]byte) (resolved, error)
	era   atomic.Uint64 // ends with Forget
}

type resolved struct {
	actor   domain.Actor
	expires time.Time
	fault   *fault.Error

	asked time.Time // before the look-up: its rows may be as old
	era   uint64
}

// NewResolver reads the directory through pool.
func NewResolver(pool *pgxpool.Pool) *Resolver {
	r := &Resolver{pool: pool, now: time.Now, cache: otter.Must(&otter.Options[[sha256.Size]byte, resolved]{
		MaximumSize:      maxCached,
		ExpiryCalculator: otter.ExpiryWriting[[sha256.Size]byte, resolved](freshness),
	})}
	r.look = r.lookUp
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
	found, hit := r.cache.GetIfPresent(hash)
	if !hit || found.era != r.era.Load() || r.now().Sub(found.asked) >= freshness {
		asked, era := r.now(), r.era.Load()
		var err error
		if found, err = r.look(ctx, hash); err != nil {
			return domain.Actor{}, err
		}
		found.asked, found.era = asked, era
		r.cache.Set(hash, found)
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
	r.era.Add(1)
	r.cache.InvalidateAll()
}

// lookUpSQL reads a key with everything its holder may do and see: the roles
// given directly, through active groups, and to Everyone of the key's
// organization and those above it. Recipients and inactive users get nothing.
const lookUpSQL = `
with key as materialized (
  select k.id, k.user_id, k.organization_id, k.expires_at, o.path, u.is_active and u.kind = 'user' as active
  from rm_directory.api_keys k
  join rm_directory.users u on u.id = k.user_id
  join rm_directory.organizations o on o.id = k.organization_id
  where k.hash = $1
), held as materialized (
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

func (r *Resolver) lookUp(ctx context.Context, hash [sha256.Size]byte) (resolved, error) {
	var (
		out            resolved
		key            domain.ID
		active, member bool
		roles          []domain.ID
		permissions    []string
		grants         []grant
		organizations  []domain.ID
		a              = &out.actor
	)
	err := r.pool.QueryRow(ctx, lookUpSQL, hex.EncodeToString(hash[:])).Scan(&key, &a.UserID, &a.Tenant, &out.expires, &active, &member,
		&roles, &permissions, &grants, &organizations)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		out.fault = fault.New(fault.Unauthenticated, "credential.unknown", "this API key is not known or was revoked")
		return out, nil
	case err != nil:
		return out, err
	case !active || !member:
		out.fault = fault.New(fault.Unauthenticated, "credential.inactive", "the user of this API key may not act here any more")
		return out, nil
	}
	a.KeyID = &key
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
	if !a.Everything && !a.May("apiKeys.use") {
		out.fault = fault.New(fault.Unauthenticated, "credential.not-allowed", "the user of this API key may not use API keys")
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
