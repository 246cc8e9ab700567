package qalyptus

import (
	"context"
	"time"

	"docket/domain"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Project as this API shows it.
type Project struct {
	ID           domain.ID       `json:"id" col:"id"`
	Name         string          `json:"name" col:"name"`
	Description  string          `json:"description" col:"description"`
	Organization organizationRef `json:"organization"`
	Owner        domain.ID       `json:"owner" col:"owner_id"`
	OwnerName    string          `json:"ownerName" col:"owner.name"`
	IsMine       bool            `json:"isMine"`
	IsActive     bool            `json:"isActive" col:"is_active"`
	Reports      int32           `json:"reports" col:"reports_count"`
	Tasks        int32           `json:"tasks" col:"tasks_count"`
	ModifiedBy   domain.ID       `json:"modifiedBy" col:"modified_by"`
	CreatedDate  time.Time       `json:"createdDate" col:"created_at"`
	ModifiedDate time.Time       `json:"modifiedDate" col:"modified_at"`
}

var organizationJoin = query.Join{Name: "organization", Table: "rm_directory.organizations", FK: "organization_id", Required: true}

// ownerJoin finds the owner's name; owners can be gone.
var ownerJoin = query.Join{Name: "owner", Table: "rm_directory.principals", FK: "owner_id"}

var projects = query.MustDefine(query.Resource{
	Name: "project", Table: "rm_reporting.projects", ScopeColumn: "organization_id",
	Joins: []query.Join{organizationJoin, ownerJoin},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: textOps, Sortable: true, Reversed: true},
		{Name: "description", Column: "description", Folded: "description_f", Ops: textOps, Sortable: true},
		{Name: "organization_id", Column: "organization_id", Kind: query.UUID, Ops: query.Eq},
		{Name: "modified_by", Column: "modified_by", Kind: query.UUID, Ops: query.Eq},
		{Name: "is_active", Aliases: []string{"isActive"}, Column: "is_active", Kind: query.Bool, Ops: query.Eq, Sortable: true},
		{Name: "organization.name", Column: "name", Folded: "name_f", Join: "organization", Sortable: true},
		{Name: "tasks", Column: "tasks_count", Kind: query.Int, Sortable: true},
		{Name: "createdDate", Column: "created_at", Kind: query.Time, Sortable: true},
		{Name: "modifiedDate", Column: "modified_at", Kind: query.Time, Sortable: true},
		{Name: "id", Column: "id", Kind: query.UUID, Ops: query.In, Hidden: true},
	},
	DefaultSort: query.Sort{Field: "name"},
	Indexes:     []string{"organization_id,name_f"},
	Counters:    []string{"", "organization_id"},
})

// ProjectShape reads projects.
var ProjectShape = query.MustShape[Project](projects, query.Computed("isMine", appendIsMine, "owner_id"))

var projectRefShape = query.MustShape[Ref](projects)

// appendIsMine compares the owner with the caller, who is the request's Env.
func appendIsMine(dst []byte, row query.RawRow) []byte {
	if caller, ok := row.Env.(domain.Actor); ok && row.UUID(0) == caller.UserID {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

// withinProjects limits a list to the projects that a permission of the caller
// reaches.
func withinProjects(ctx context.Context, permission, field string) query.Expr {
	actor, _ := domain.ActorOf(ctx)
	projects, limited := actor.ProjectsFor(permission)
	if !limited {
		return nil
	}
	return query.OneOf(field, projects...)
}

func registerProjects(r *Reads) {
	tags := []string{"Project"}
	list(r, httpx.Op{ID: "71", Path: "/projects", Summary: "Get projects", Tags: tags, Permission: "projects.view"}, ProjectShape,
		func(ctx context.Context, _ *Listing) (query.Expr, error) {
			return withinProjects(ctx, "projects.view", "id"), nil
		})
	get(r, httpx.Op{ID: "70", Path: "/projects/{id}", Summary: "Get project by id", Tags: tags, Permission: "projects.view"}, ProjectShape,
		func(ctx context.Context) query.Expr { return withinProjects(ctx, "projects.view", "id") })
}
