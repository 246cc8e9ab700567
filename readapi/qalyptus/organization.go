package qalyptus

import (
	"context"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Organization as this API shows it.
type Organization struct {
	ID           domain.ID  `json:"id" col:"id"`
	Name         string     `json:"name" col:"name"`
	DisplayName  string     `json:"displayName" col:"display_name"`
	Description  string     `json:"description" col:"description"`
	ThemeID      *domain.ID `json:"themeId" col:"theme_id"`
	ParentID     *domain.ID `json:"parentId" col:"parent_id"`
	IsDefault    bool       `json:"isDefault" col:"is_system"`
	CreatedDate  time.Time  `json:"createdDate" col:"created_at"`
	ModifiedDate time.Time  `json:"modifiedDate" col:"modified_at"`
}

var organizations = query.MustDefine(query.Resource{
	Name: "organization", Table: "rm_directory.organizations", ScopeColumn: "id",
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: textOps, Sortable: true},
		{Name: "displayName", Column: "display_name", Folded: "display_name_f", Sortable: true},
		{Name: "description", Column: "description", Folded: "description_f", Ops: textOps, Sortable: true},
	},
	DefaultSort: query.Sort{Field: "name"},
	Counters:    []string{""},
})

// OrganizationShape reads organizations.
var OrganizationShape = query.MustShape[Organization](organizations)

// OrganizationOf is an organization as the command side knows it.
func OrganizationOf(o directory.Organization) Organization {
	return Organization{ID: o.ID, Name: o.Name, DisplayName: o.DisplayName, Description: o.Description, ThemeID: o.ThemeID, ParentID: o.ParentID,
		IsDefault: o.System(), CreatedDate: o.CreatedAt, ModifiedDate: o.ModifiedAt}
}

// Member is a user or group of an organization.
type Member struct {
	ID       domain.ID `json:"id" col:"id"`
	Type     string    `json:"type" col:"type"`
	Name     string    `json:"name" col:"name"`
	Email    string    `json:"email" col:"email"`
	IsActive bool      `json:"isActive" col:"is_active"`
}

var members = query.MustDefine(query.Resource{
	Name: "member", Table: "rm_directory.principals",
	ScopeVia: &query.Membership{Table: "rm_directory.principal_organizations", Row: "principal_id", Organization: "organization_id"},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: textOps, Sortable: true},
		{Name: "type", Column: "type", Exact: true, Ops: query.Eq, Sortable: true, Parse: userOrGroup},
		{Name: "email", Column: "email", Folded: "email_f", Sortable: true},
		{Name: "organization", Kind: query.UUID, Ops: query.Eq, Hidden: true,
			Sub: &query.Sub{Table: "rm_directory.principal_organizations", Row: "principal_id", Column: "organization_id"}},
	},
	DefaultSort: query.Sort{Field: "name"},
})

var memberShape = query.MustShape[Member](members)

func registerOrganizations(r *Reads) {
	tags := []string{"Organization"}
	list[Organization, Listing](r, httpx.Op{ID: "56", Path: "/organizations", Summary: "Get all organizations", Tags: tags, Permission: "organizations.view"}, OrganizationShape, nil)
	get(r, httpx.Op{ID: "58", Path: "/organizations/{id}", Summary: "Get organization by id", Tags: tags, Permission: "organizations.view"}, OrganizationShape, nil)
	everything[Organization, struct{}](r, httpx.Op{ID: "60", Path: "/organizations/all", Summary: "Get all organizations, unpaged", Tags: tags, Permission: "organizations.view"}, OrganizationShape, nil)
	list(r, httpx.Op{ID: "62", Path: "/organizations/{id}/members", Summary: "Get organization members", Tags: tags, Permission: "organizations.view"}, memberShape,
		func(ctx context.Context, in *Below) (query.Expr, error) {
			return query.Equals("organization", in.ID), r.exists(ctx, OrganizationShape, in.ID)
		})
}

// exists is a NotFound fault unless the caller sees the thing.
func (r *Reads) exists(ctx context.Context, shape query.Layout, id domain.ID) error {
	_, err := r.reader.Get(ctx, query.Request{Shape: shape, Scope: scopeOf(ctx)}, id)
	return err
}
