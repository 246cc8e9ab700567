package safeq

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"

	"docket/domain"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"

	"github.com/google/uuid"
)

// GroupInfo is a group as this API shows it.
type GroupInfo struct {
	ID         int32  `json:"id"`
	GroupID    string `json:"groupId" doc:"The textual id."`
	GroupName  string `json:"groupName"`
	ProviderID int32  `json:"providerId"`
}

// Group is what has to be known of a group to change who is in it.
type Group struct {
	ID             domain.ID `json:"id" col:"id"`
	Number         int32     `json:"number" col:"number"`
	OrganizationID domain.ID `json:"organizationId" col:"organization_id"`
	Name           string    `json:"name" col:"name"`
	Source         string    `json:"source" col:"source"`
	ExternalID     string    `json:"externalId" col:"external_id"`
}

var groupResource = query.MustDefine(query.Resource{
	Name: "group", Table: "rm_directory.groups", ScopeColumn: "organization_id",
	Fields: []query.Field{
		{Name: "id", Column: "id", Kind: query.UUID, Ops: query.Eq},
		{Name: "number", Column: "number", Kind: query.Int, Ops: query.Eq, Sortable: true},
		{Name: "name", Column: "name", Folded: "name_f", Ops: query.Eq, Sortable: true},
		{Name: "externalId", Column: "external_id", Folded: "external_id_f", Ops: query.Eq},
		{Name: "source", Column: "source", Exact: true, Ops: query.Eq},
		{Name: "user", Kind: query.UUID, Ops: query.Eq, Sub: &query.Sub{Table: "rm_directory.user_groups", Row: "group_id", Column: "user_id"}},
	},
	DefaultSort: query.Sort{Field: "number"},
})

var groupShape = query.MustShape[Group](groupResource)

// textual is the group's textual id: its own, or the one of all things.
func (g Group) textual() string { return cmp.Or(g.ExternalID, g.ID.String()) }

func (r *Reads) fetchGroups(ctx context.Context, filter query.Expr) ([]Group, error) {
	return query.FetchAll(ctx, r.reader, groupShape, query.Request{Scope: scope(ctx), Filter: filter})
}

func (r *Reads) groups(ctx context.Context, filter query.Expr) ([]GroupInfo, error) {
	rows, err := r.fetchGroups(ctx, filter)
	if err != nil {
		return nil, err
	}
	providers, err := r.Providers(ctx)
	out := make([]GroupInfo, len(rows))
	for i, g := range rows {
		out[i] = GroupInfo{ID: g.Number, GroupID: g.textual(), GroupName: g.Name, ProviderID: providers.ID(g.Source)}
	}
	return out, err
}

// FindGroup finds a group that the caller sees by a reference: its number, its
// textual id, or its name, in this order. Nil means that there is none; of several
// the one in the caller's account counts, then the oldest.
func (r *Reads) FindGroup(ctx context.Context, reference string) (*Group, error) {
	reference = strings.TrimSpace(reference)
	if reference == "" || !Storable(reference) {
		return nil, nil
	}
	var ways []query.Expr
	if n, err := strconv.ParseInt(reference, 10, 32); err == nil {
		ways = append(ways, query.Equals("number", n))
	}
	if id, err := uuid.Parse(reference); err == nil {
		ways = append(ways, query.Equals("id", id))
	}
	ways = append(ways, query.Equals("externalId", reference), query.Equals("name", reference))
	for _, way := range ways {
		found, err := r.fetchGroups(ctx, way)
		if err != nil {
			return nil, err
		}
		for _, g := range found {
			if g.OrganizationID == CallerOf(ctx).Account.ID {
				return &g, nil
			}
		}
		if len(found) > 0 {
			return &found[0], nil
		}
	}
	return nil, nil
}

// NoSuchGroup is the fault about a group that is not there for the caller.
func NoSuchGroup(reference string) *fault.Error {
	return fault.New(fault.NotFound, "group.not-found", "group %.100q not found", reference)
}

type listOfGroups struct{ Body []GroupInfo }

func registerGroups(r *Reads) {
	tags := []string{"Groups"}
	needs := Needs{Rights: []string{"ViewUser"}, Advanced: true}
	type list struct {
		ProviderID int32 `query:"providerId" doc:"Not documented by the vendor. 0 or absent: the local groups."`
		MaxRecords int   `query:"maxRecords" minimum:"1" maximum:"10000" doc:"Not documented by the vendor."`
	}
	Register(r.api, httpx.Op{ID: "44", Method: http.MethodGet, Path: Base + "/groups", Summary: "Get local groups", Tags: tags}, needs,
		func(ctx context.Context, in *list) (*listOfGroups, error) {
			source := ""
			if in.ProviderID > LocalProvider {
				providers, err := r.Providers(ctx)
				if err != nil {
					return nil, err
				}
				var known bool
				if source, known = providers.Source(in.ProviderID); !known {
					return &listOfGroups{[]GroupInfo{}}, nil
				}
			}
			all, err := r.groups(ctx, query.Equals("source", source))
			if in.MaxRecords > 0 && len(all) > in.MaxRecords {
				all = all[:in.MaxRecords]
			}
			return &listOfGroups{all}, err
		})
	type byReference struct {
		GroupID string `path:"groupid"`
	}
	type answer struct{ Body GroupInfo }
	Register(r.api, httpx.Op{ID: "47", Method: http.MethodGet, Path: Base + "/groups/{groupid}", Summary: "Get info about a group", Tags: tags}, needs,
		func(ctx context.Context, in *byReference) (*answer, error) {
			g, err := r.FindGroup(ctx, in.GroupID)
			switch {
			case err != nil:
				return nil, err
			case g == nil:
				return nil, NoSuchGroup(in.GroupID)
			}
			providers, err := r.Providers(ctx)
			return &answer{GroupInfo{ID: g.Number, GroupID: g.textual(), GroupName: g.Name, ProviderID: providers.ID(g.Source)}}, err
		})
	Register(r.api, httpx.Op{ID: "48", Method: http.MethodGet, Path: Base + "/groups/{groupid}/members", Summary: "Get the members of a group", Tags: tags}, needs,
		func(ctx context.Context, in *byReference) (*listOfUsers, error) {
			g, err := r.FindGroup(ctx, in.GroupID)
			switch {
			case err != nil:
				return nil, err
			case g == nil:
				return nil, NoSuchGroup(in.GroupID)
			}
			rows, err := query.FetchAll(ctx, r.reader, userShape, query.Request{Scope: scope(ctx), Filter: query.All(onlyUsers, query.Equals("group", g.ID))})
			if err != nil {
				return nil, err
			}
			providers, err := r.Providers(ctx)
			out := make([]UserInfo, len(rows))
			for i, row := range rows {
				out[i] = row.info(providers)
			}
			return &listOfUsers{out}, err
		})
}
