package qlik

import (
	"context"
	"net/http"
	"time"

	"docket/domain"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Everyone is the one system group.
const (
	EveryoneID   = "000000000000000000000001"
	everyoneName = "com.qlik.Everyone"
)

// Settings of groups, as this API shows them.
type Settings struct {
	Links            GroupLink              `json:"links"`
	TenantID         string                 `json:"tenantId"`
	SystemGroups     map[string]SystemGroup `json:"systemGroups"`
	SyncIdpGroups    bool                   `json:"syncIdpGroups"`
	AutoCreateGroups bool                   `json:"autoCreateGroups"`
}

// SystemGroup is a group that everybody is in.
type SystemGroup struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Enabled       bool      `json:"enabled"`
	CreatedAt     time.Time `json:"createdAt"`
	AssignedRoles []Role    `json:"assignedRoles,omitzero"`
	LastUpdatedAt time.Time `json:"lastUpdatedAt"`
}

// settingsRow is an organization with its settings, if it changed them.
type settingsRow struct {
	CreatedAt        time.Time   `json:"createdAt" col:"created_at"`
	AutoCreateGroups *bool       `json:"autoCreateGroups" col:"settings.auto_create_groups"`
	SyncIdpGroups    *bool       `json:"syncIdpGroups" col:"settings.sync_idp_groups"`
	EveryoneRoles    []domain.ID `json:"everyoneRoles" col:"settings.everyone_roles"`
	ModifiedAt       *time.Time  `json:"modifiedAt" col:"settings.modified_at"`
}

var settingsShape = query.MustShape[settingsRow](query.MustDefine(query.Resource{
	Name: "tenant", Table: "rm_directory.organizations", ScopeColumn: "id",
	Joins: []query.Join{{Name: "settings", Table: "rm_directory.group_settings", FK: "id", Key: "organization_id"}},
}))

// roleRow is a role to be named.
type roleRow struct {
	ID    domain.ID `json:"id" col:"id"`
	Name  string    `json:"name" col:"name"`
	Type  string    `json:"type" col:"type"`
	Level string    `json:"level" col:"level"`

	OrganizationID domain.ID `json:"organizationId" col:"organization_id"`
}

var roles = query.MustDefine(query.Resource{
	Name: "role", Table: "rm_directory.roles", Unscoped: true, // see RolesByName
	Fields: []query.Field{
		{Name: "id", Column: "id", Kind: query.UUID, Ops: query.In},
		{Name: "name", Column: "name", Folded: "name_f", Ops: query.Eq | query.In, Sortable: true},
		{Name: "isSystem", Column: "is_system", Kind: query.Bool, Ops: query.Eq, Hidden: true},
		{Name: "organization", Column: "organization_id", Kind: query.UUID, Ops: query.Eq | query.In, Hidden: true},
	},
	DefaultSort: query.Sort{Field: "name"},
})

var roleShape = query.MustShape[roleRow](roles)

func (r *Reads) registerSettings() {
	type answer struct{ Body Settings }
	httpx.Register(r.api, httpx.Op{ID: "7", Method: http.MethodGet, Path: "/settings", Summary: "Get group settings", Tags: []string{"Groups"},
		Permission: "groups.view", RateTier: Tier1}, func(ctx context.Context, _ *struct{}) (*answer, error) {
		row, err := r.settings(ctx)
		if err != nil {
			return nil, err
		}
		everyone, err := r.everyone(ctx, row)
		if err != nil {
			return nil, err
		}
		s := Settings{Links: GroupLink{Link{httpx.From(ctx).URL("/api/v1/groups/settings")}}, TenantID: tenantID(caller(ctx).Tenant),
			SystemGroups: map[string]SystemGroup{EveryoneID: everyone}}
		s.AutoCreateGroups = row.AutoCreateGroups != nil && *row.AutoCreateGroups
		s.SyncIdpGroups = row.SyncIdpGroups != nil && *row.SyncIdpGroups
		return &answer{s}, nil
	})
}

func (r *Reads) settings(ctx context.Context) (settingsRow, error) {
	return query.FetchOne(ctx, r.reader, settingsShape, query.Request{Scope: scope(ctx)}, caller(ctx).Tenant)
}

func (r *Reads) everyone(ctx context.Context, row settingsRow) (SystemGroup, error) {
	g := SystemGroup{ID: EveryoneID, Name: everyoneName, Enabled: true, CreatedAt: seconds(row.CreatedAt), LastUpdatedAt: seconds(row.CreatedAt)}
	if row.ModifiedAt != nil {
		g.LastUpdatedAt = seconds(*row.ModifiedAt)
	}
	if !maySeeRoles(ctx) {
		return g, nil
	}
	g.AssignedRoles = []Role{}
	if len(row.EveryoneRoles) == 0 {
		return g, nil
	}
	found, err := query.FetchAll(ctx, r.reader, roleShape, query.Request{Scope: query.Everything(), Filter: query.OneOf("id", row.EveryoneRoles...)})
	for _, role := range found {
		g.AssignedRoles = append(g.AssignedRoles, Role{ID: domain.ShortID(role.ID), Name: role.Name, Type: role.Type, Level: role.Level})
	}
	return g, err
}

// systemGroups is the list of system groups: one.
func (r *Reads) systemGroups(ctx context.Context, self Address) (*httpx.Raw, error) {
	row, err := r.settings(ctx)
	if err != nil {
		return nil, err
	}
	everyone, err := r.everyone(ctx, row)
	if err != nil {
		return nil, err
	}
	e := newEnv(ctx)
	return httpx.JSON(http.StatusOK, Groups{
		Data: []Group{{AssignedRoles: everyone.AssignedRoles, Summary: Summary{ID: EveryoneID, Name: everyone.Name, Links: GroupLink{Link{e.link(EveryoneID)}},
			Status: statusWord(true), TenantID: e.tenant, CreatedAt: everyone.CreatedAt, LastUpdatedAt: everyone.LastUpdatedAt}}},
		Links: PageLinks{Self: Link{self.self(e.base)}},
	})
}

// RolesByName finds the roles behind names, in their order: the tenant's own and
// those that came with the installation, the former first. A name without a role
// is a fault that points at it; path makes that pointer.
func (r *Reads) RolesByName(ctx context.Context, names []string, path func(i int) string) ([]domain.ID, error) {
	tenant := caller(ctx).Tenant
	found, err := query.FetchAll(ctx, r.reader, roleShape, query.Request{Scope: query.Everything(), Filter: query.All(query.OneOf("name", names...),
		query.Or{query.Equals("isSystem", true), query.Equals("organization", tenant)})})
	if err != nil {
		return nil, err
	}
	byName := make(map[string]roleRow, len(found))
	for _, role := range found {
		if _, taken := byName[domain.Normal(role.Name)]; !taken || role.OrganizationID == tenant {
			byName[domain.Normal(role.Name)] = role
		}
	}
	var problems fault.Problems
	ids := make([]domain.ID, len(names))
	for i, name := range names {
		role, ok := byName[domain.Normal(name)]
		problems.Check(ok, path(i), NoSuchRole)
		ids[i] = role.ID
	}
	return ids, problems.Err()
}
