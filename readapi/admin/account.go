package admin

import (
	"context"
	"errors"
	"net/http"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Account is what the SAFEQ API knows of an organization, with the defaults
// filled in.
type Account struct {
	OrganizationID  domain.ID `json:"organizationId"`
	Number          int32     `json:"number" doc:"The id that the SAFEQ API knows the account by."`
	Name            string    `json:"name"`
	Type            int       `json:"type" doc:"1 vendor, 2 customer, 3 container."`
	DomainNames     []string  `json:"domainNames" doc:"A request to one of them is about this account."`
	ApplicationName string    `json:"applicationName"`
	TrustAllClients bool      `json:"trustAllClients"`
	LocationID      int32     `json:"locationId"`
	AccessSeconds   int32     `json:"accessSeconds" doc:"Life of an access token."`
	RefreshDays     int32     `json:"refreshDays" doc:"Life of a refresh token."`
	KeepHours       int32     `json:"keepHours" doc:"Until a document that waits expires."`
	NameLogins      bool      `json:"nameLogins" doc:"Whether clients may log in by name or mail address alone."`
}

// AccountOf is an account as the command side knows it.
func AccountOf(o directory.Organization) Account {
	s := o.Account.Defaulted()
	return Account{OrganizationID: o.ID, Number: o.Number, Name: o.DisplayName, Type: int(s.Type), DomainNames: append([]string{}, s.DomainNames...),
		ApplicationName: s.ApplicationName, TrustAllClients: s.TrustAllClients, LocationID: s.LocationID, AccessSeconds: s.AccessSeconds, RefreshDays: s.RefreshDays,
		KeepHours: s.KeepHours, NameLogins: s.NameLogins}
}

type getAccount struct {
	OrganizationID uuid.UUID `path:"organizationId"`
}

type accountAnswer struct{ Body Account }

func registerAccounts(r *reads) {
	httpx.Register(r.API, httpx.Op{ID: "get-account", Method: http.MethodGet, Path: "/accounts/{organizationId}", Summary: "Get the account settings of an organization",
		Tags: []string{"Accounts"}, Permission: "organizations.view"}, r.getAccount)
}

func (r *reads) getAccount(ctx context.Context, in *getAccount) (*accountAnswer, error) {
	var a Account
	actor := actorOf(ctx)
	err := r.Pool.QueryRow(ctx, `select id, number, display_name, account_type, domain_names, application_name, trust_all_clients, location_id, access_seconds,
		refresh_days, keep_hours, name_logins from rm_directory.organizations where id = $1 and ($2 or id = any($3))`, in.OrganizationID, actor.Unrestricted, actor.Organizations).
		Scan(&a.OrganizationID, &a.Number, &a.Name, &a.Type, &a.DomainNames, &a.ApplicationName, &a.TrustAllClients, &a.LocationID, &a.AccessSeconds,
			&a.RefreshDays, &a.KeepHours, &a.NameLogins)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.Missing("organization", in.OrganizationID)
	}
	return &accountAnswer{a}, err
}

// Part is the input of a list of an organization's things, by pages. It is exported
// since embedded structs are not read that are not.
type Part struct {
	Organization httpx.Optional[uuid.UUID] `query:"organization" doc:"Only those of this organization."`
	After        httpx.Optional[uuid.UUID] `query:"after" doc:"Where to read on: next of the page before."`
	Limit        httpx.Optional[int]       `query:"limit" minimum:"1" maximum:"1000" doc:"Up to 1000; 100 unless given."`
}

// partOf reads a page of what the caller sees, in the order of ids. sql is a query
// whose conditions go on after "where": $1 to $5 are taken.
func partOf[T any](ctx context.Context, r *reads, in Part, sql string, scan pgx.RowToFunc[T], id func(T) domain.ID, args ...any) (Page[T], error) {
	return pageOf(ctx, r, in, sql, "id > $4 order by id", scan, id, args)
}

// newestOf is partOf with the newest ids first.
func newestOf[T any](ctx context.Context, r *reads, in Part, sql string, scan pgx.RowToFunc[T], id func(T) domain.ID, args ...any) (Page[T], error) {
	if !in.After.Set {
		in.After.Value = uuid.Max
	}
	return pageOf(ctx, r, in, sql, "id < $4 order by id desc", scan, id, args)
}

func pageOf[T any](ctx context.Context, r *reads, in Part, sql, order string, scan pgx.RowToFunc[T], id func(T) domain.ID, args []any) (Page[T], error) {
	limit := defaultLimit
	if in.Limit.Set {
		limit = in.Limit.Value
	}
	actor := actorOf(ctx)
	page := Page[T]{}
	var organization *uuid.UUID
	if in.Organization.Set {
		organization = &in.Organization.Value
	}
	rows, err := r.Pool.Query(ctx, sql+` and ($1 or organization_id = any($2)) and ($3::uuid is null or organization_id = $3) and `+order+` limit $5`,
		append([]any{actor.Unrestricted, actor.Organizations, organization, in.After.Value, limit + 1}, args...)...)
	if err != nil {
		return page, err
	}
	page.Items, err = pgx.CollectRows(rows, scan)
	if err != nil {
		return page, err
	}
	if page.Items = append([]T{}, page.Items...); len(page.Items) > limit {
		page.Items = page.Items[:limit]
		next := id(page.Items[limit-1]).String()
		page.Next = &next
	}
	return page, nil
}
