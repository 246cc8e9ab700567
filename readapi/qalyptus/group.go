package qalyptus

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Group as this API shows it.
type Group struct {
	ID           domain.ID       `json:"id" col:"id"`
	Name         string          `json:"name" col:"name"`
	Description  string          `json:"description" col:"description"`
	Type         string          `json:"type" col:"type"`
	IsActive     bool            `json:"isActive" col:"is_active"`
	Organization organizationRef `json:"organization"`
	Users        int32           `json:"users" col:"users_count"` // how many are in it
	CreatedDate  time.Time       `json:"createdDate" col:"created_at"`
	ModifiedDate time.Time       `json:"modifiedDate" col:"modified_at"`
}

var groups = query.MustDefine(query.Resource{
	Name: "group", Table: "rm_directory.groups", ScopeColumn: "organization_id",
	Joins: []query.Join{organizationJoin},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: textOps, Sortable: true, Reversed: true},
		{Name: "type", Column: "type", Folded: "type_f", Sortable: true},
		{Name: "organization.name", Column: "name", Folded: "name_f", Join: "organization", Sortable: true},
		{Name: "users", Column: "users_count", Kind: query.Int, Sortable: true},
		{Name: "createdDate", Column: "created_at", Kind: query.Time, Sortable: true},
		{Name: "modifiedDate", Column: "modified_at", Kind: query.Time, Sortable: true},
	},
	DefaultSort: query.Sort{Field: "name"},
	Indexes:     []string{"organization_id,name_f"},
	Counters:    []string{"", "organization_id"},
})

// GroupShape reads groups.
var GroupShape = query.MustShape[Group](groups)

// GroupOf is a group as the command side knows it, with the number of its
// members.
func GroupOf(g directory.Group, users int, n Names) Group {
	return Group{ID: g.ID, Name: g.Name, Description: g.Description, Type: "Custom", IsActive: g.Active, Organization: organizationRef(n.ref(g.OrganizationID)),
		Users: int32(users), CreatedDate: g.CreatedAt, ModifiedDate: g.ModifiedAt}
}

func registerGroups(r *Reads) {
	tags := []string{"Group"}
	list[Group, Listing](r, httpx.Op{ID: "23", Path: "/groups", Summary: "Get groups", Tags: tags, Permission: "groups.view"}, GroupShape, nil)
	get(r, httpx.Op{ID: "26", Path: "/groups/{id}", Summary: "Get group by id", Tags: tags, Permission: "groups.view"}, GroupShape, nil)
}
