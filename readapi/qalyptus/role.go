package qalyptus

import (
	"context"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Permissions are a role's rights: by area, which actions it allows. Every
// action of the catalogue is named.
type Permissions map[string]map[string]bool

// PermissionsOf spells the permission keys out.
func PermissionsOf(keys []string) Permissions {
	p := Permissions{}
	for _, area := range directory.Areas() {
		p[area] = map[string]bool{}
		for _, action := range directory.Actions(area) {
			p[area][action] = false
		}
	}
	for _, k := range keys {
		if area, action, ok := strings.Cut(k, "."); ok && p[area] != nil {
			p[area][action] = true
		}
	}
	return p
}

// Role as this API shows it.
type Role struct {
	ID           domain.ID   `json:"id" col:"id"`
	Name         string      `json:"name" col:"name"`
	Description  string      `json:"description" col:"description"`
	Type         string      `json:"type" col:"type"`
	IsActive     bool        `json:"isActive" col:"is_active"`
	AllProjects  bool        `json:"allProjects" col:"all_projects"`
	Projects     []Ref       `json:"projects"`
	Permissions  Permissions `json:"permissions"`
	CreatedDate  time.Time   `json:"createdDate" col:"created_at"`
	ModifiedDate time.Time   `json:"modifiedDate" col:"modified_at"`
}

var roles = query.MustDefine(query.Resource{
	Name: "role", Table: "rm_directory.roles", Unscoped: true, // see visibleRoles
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: textOps, Sortable: true, Reversed: true},
		{Name: "type", Column: "type", Folded: "type_f", Sortable: true},
		{Name: "is_active", Column: "is_active", Kind: query.Bool, Ops: query.Eq},
		{Name: "createdDate", Column: "created_at", Kind: query.Time, Sortable: true},
		{Name: "modifiedDate", Column: "modified_at", Kind: query.Time, Sortable: true},
		{Name: "isSystem", Column: "is_system", Kind: query.Bool, Ops: query.Eq, Hidden: true},
		{Name: "organization", Column: "organization_id", Kind: query.UUID, Ops: query.Eq | query.In, Hidden: true},
		{Name: "holder", Kind: query.UUID, Ops: query.Eq, Hidden: true, Sub: &query.Sub{Table: "rm_directory.user_roles", Row: "role_id", Column: "user_id"}},
	},
	DefaultSort: query.Sort{Field: "name"},
	Counters:    []string{""},
})

// RoleShape reads roles.
var RoleShape = query.MustShape[Role](roles,
	query.Computed("projects", appendProjectRefs, "project_refs"),
	query.Virtual("project_refs", refsSQL("rm_reporting.projects x", "x.id = any(t.projects) and "+query.Visible("x.organization_id"))),
	query.Computed("permissions", appendPermissions, "permissions_json"),
	query.Virtual("permissions_json", "to_jsonb(t.permissions)"))

var roleInfoShape = query.MustShape[Ref](roles)

// RoleOf is a role as the command side knows it.
func RoleOf(r directory.Role, n Names) Role {
	kind := "custom"
	if r.System {
		kind = "default"
	}
	return Role{ID: r.ID, Name: r.Name, Description: r.Description, Type: kind, IsActive: r.Active, AllProjects: r.AllProjects,
		Projects: n.refs(r.Projects), Permissions: PermissionsOf(r.Permissions), CreatedDate: r.CreatedAt, ModifiedDate: r.ModifiedAt}
}

// VisibleRoles are those of the installation and those of organizations the
// caller sees.
func VisibleRoles(ctx context.Context) query.Expr {
	a, _ := domain.ActorOf(ctx)
	if a.Unrestricted {
		return nil
	}
	return query.Or{query.Equals("isSystem", true), query.OneOf("organization", a.Organizations...)}
}

func registerRoles(r *Reads) {
	tags := []string{"Security"}
	visible := func(ctx context.Context, _ *Listing) (query.Expr, error) { return VisibleRoles(ctx), nil }
	list(r, httpx.Op{ID: "98", Path: "/security/roles", Summary: "Get roles", Tags: tags, Permission: "roles.view"}, RoleShape, visible)
	list(r, httpx.Op{ID: "100", Path: "/security/roles/info", Summary: "Get roles info", Tags: tags}, roleInfoShape, visible)
	get(r, httpx.Op{ID: "101", Path: "/security/roles/{id}", Summary: "Get role by id", Tags: tags, Permission: "roles.view"}, RoleShape, VisibleRoles)
	registerPermissions(r)
}
