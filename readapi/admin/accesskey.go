package admin

import (
	"context"
	"net/http"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// AccessKey is a key of the SAFEQ API, without its value.
type AccessKey struct {
	ID                   domain.ID  `json:"id"`
	OrganizationID       domain.ID  `json:"organizationId" doc:"It works for this account and those below it."`
	Name                 string     `json:"name"`
	Kind                 string     `json:"kind"`
	Active               bool       `json:"active"`
	AllowUnauthenticated bool       `json:"allowUnauthenticated" doc:"Requests need no user token."`
	AllowUntrusted       bool       `json:"allowUntrusted" doc:"Logins need no device token."`
	AutomaticTrust       bool       `json:"automaticTrust" doc:"Devices that register with the key are approved at once."`
	Advanced             bool       `json:"advanced" doc:"The key has rights of its own."`
	Rights               []string   `json:"rights" doc:"Permissions by their SAFEQ names; they count only when advanced."`
	AllowedAddresses     []string   `json:"allowedAddresses" doc:"Addresses and networks from where it may be used; empty allows all."`
	ExpiresAt            *time.Time `json:"expiresAt" doc:"null: never."`
	CreatedAt            time.Time  `json:"createdAt"`
	ModifiedAt           time.Time  `json:"modifiedAt"`
}

// AccessKeyOf is a key as the command side knows it.
func AccessKeyOf(k directory.AccessKey) AccessKey {
	s := k.Settings
	return AccessKey{ID: k.ID, OrganizationID: k.OrganizationID, Name: s.Name, Kind: string(s.Kind), Active: s.Active, AllowUnauthenticated: s.AllowUnauthenticated,
		AllowUntrusted: s.AllowUntrusted, AutomaticTrust: s.AutomaticTrust, Advanced: s.Advanced, Rights: append([]string{}, s.Rights...),
		AllowedAddresses: append([]string{}, s.AllowedAddresses...), ExpiresAt: s.ExpiresAt, CreatedAt: k.CreatedAt, ModifiedAt: k.ModifiedAt}
}

type listAccessKeys struct{ Part }

type getAccessKey struct {
	ID uuid.UUID `path:"id"`
}

type (
	accessKeyPage   struct{ Body Page[AccessKey] }
	accessKeyAnswer struct{ Body AccessKey }
)

func registerAccessKeys(r *reads) {
	tags, permission := []string{"Access keys"}, "accessKeys.view"
	httpx.Register(r.API, httpx.Op{ID: "list-access-keys", Method: http.MethodGet, Path: "/access-keys", Summary: "Get the keys of the SAFEQ API", Tags: tags,
		Permission: permission}, func(ctx context.Context, in *listAccessKeys) (*accessKeyPage, error) {
		page, err := partOf(ctx, r, in.Part, accessKeySQL+"true", scanAccessKey, func(k AccessKey) domain.ID { return k.ID })
		return &accessKeyPage{page}, err
	})
	httpx.Register(r.API, httpx.Op{ID: "get-access-key", Method: http.MethodGet, Path: "/access-keys/{id}", Summary: "Get a key of the SAFEQ API", Tags: tags,
		Permission: permission}, func(ctx context.Context, in *getAccessKey) (*accessKeyAnswer, error) {
		page, err := partOf(ctx, r, Part{}, accessKeySQL+"id = $6", scanAccessKey, func(k AccessKey) domain.ID { return k.ID }, in.ID)
		if err == nil && len(page.Items) == 0 {
			err = fault.Missing("accesskey", in.ID)
		}
		if err != nil {
			return nil, err
		}
		return &accessKeyAnswer{page.Items[0]}, nil
	})
}

const accessKeySQL = `select id, organization_id, name, kind, is_active, allow_unauthenticated, allow_untrusted, automatic_trust, advanced, rights, allowed_addresses,
	expires_at, created_at, modified_at from rm_directory.access_keys where `

func scanAccessKey(row pgx.CollectableRow) (AccessKey, error) {
	var k AccessKey
	err := row.Scan(&k.ID, &k.OrganizationID, &k.Name, &k.Kind, &k.Active, &k.AllowUnauthenticated, &k.AllowUntrusted, &k.AutomaticTrust, &k.Advanced, &k.Rights,
		&k.AllowedAddresses, &k.ExpiresAt, &k.CreatedAt, &k.ModifiedAt)
	k.CreatedAt, k.ModifiedAt, k.ExpiresAt = k.CreatedAt.UTC(), k.ModifiedAt.UTC(), utc(k.ExpiresAt)
	return k, err
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	in := t.UTC()
	return &in
}
