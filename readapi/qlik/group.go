package qlik

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"
	"docket/readapi/query/scim"

	"github.com/danielgtaylor/huma/v2"
)

// Link is an absolute address.
type Link struct {
	Href string `json:"href"`
}

// Group as this API shows it.
type Group struct {
	ID            domain.ID `json:"id" col:"id,short"`
	Name          string    `json:"name" col:"name"`
	Links         GroupLink `json:"links"`
	Status        string    `json:"status" enum:"active,disabled"`
	TenantID      string    `json:"tenantId"`
	CreatedAt     time.Time `json:"createdAt" col:"created_at,seconds"`
	LastUpdatedAt time.Time `json:"lastUpdatedAt" col:"modified_at,seconds"`
	AssignedRoles []Role    `json:"assignedRoles,omitempty"`
}

// GroupLink leads to the group itself.
type GroupLink struct {
	Self Link `json:"self"`
}

// Role of a group.
type Role struct {
	ID    string `json:"id"` // 24 hexadecimal digits
	Name  string `json:"name"`
	Type  string `json:"type" enum:"default,custom"`
	Level string `json:"level" enum:"admin,user"`
}

// Groups is the answer of a list.
type Groups struct {
	Data         []Group   `json:"data"`
	Links        PageLinks `json:"links"`
	TotalResults *int64    `json:"totalResults,omitempty"`
}

// PageLinks lead to the pages beside this one, where there are any.
type PageLinks struct {
	Self Link  `json:"self"`
	Next *Link `json:"next,omitempty"`
	Prev *Link `json:"prev,omitempty"`
}

// The profile of filters is not published; this one covers every member of a
// group.
var groups = query.MustDefine(query.Resource{
	Name: "group", Table: "rm_directory.groups", ScopeColumn: "organization_id",
	Fields: []query.Field{
		{Name: "id", Column: "id", Kind: query.UUID, Ops: query.Equality, Sortable: true, Parse: parseID},
		{Name: "name", Column: "name", Folded: "name_f", Ops: query.TextOps, Reversed: true},
		{Name: "status", Ops: query.TextOps, Rewrite: status},
		{Name: "createdAt", Column: "created_at", Kind: query.Time, Ops: query.OrderOps, Sortable: true, Seconds: true},
		{Name: "lastUpdatedAt", Column: "modified_at", Kind: query.Time, Ops: query.OrderOps, Sortable: true, Seconds: true},
		{Name: "assignedRoles.id", Column: "role_id", Kind: query.UUID, Ops: query.Equality, Parse: parseID,
			Sub: &query.Sub{Table: "rm_directory.group_roles", Row: "group_id", Column: "role_id"}},
		{Name: "assignedRoles.name", Column: "name", Folded: "name_f", Ops: query.TextOps,
			Sub: &query.Sub{Table: "rm_directory.group_roles", Row: "group_id", Column: "role_id", Via: &query.Via{Table: "rm_directory.roles"}}},
		// Names are compared without case and sorted by code points.
		{Name: "name (sorted)", Column: "name_exact_f", Exact: true, Sortable: true},
		{Name: "status (sorted)", Column: "is_active", Kind: query.Bool, Sortable: true, Inverted: true},
		{Name: "active", Column: "is_active", Kind: query.Bool, Ops: query.Equality, Hidden: true},
	},
	Indexes:  []string{"organization_id,name_exact_f", "organization_id,created_at", "organization_id"},
	Counters: []string{"organization_id"},
})

func parseID(text string) (any, error) { return domain.ParseShortID(text) }

// sorts are the orders a client may ask for.
var sorts = map[string]string{"id": "id", "name": "name (sorted)", "status": "status (sorted)", "createdAt": "createdAt", "lastUpdatedAt": "lastUpdatedAt"}

// status compares the word for a flag. A word that is not one of the two, such
// as the documented example's "deleted", matches nothing.
func status(c query.Compare) (query.Expr, error) {
	var either query.Or
	for word, active := range map[string]bool{"active": true, "disabled": false} {
		if matches(c, word) {
			either = append(either, query.Equals("active", active))
		}
	}
	return either, nil
}

const rolesSQL = `select jsonb_agg(jsonb_build_object('id', r.id, 'name', r.name, 'type', r.type, 'level', r.level) order by r.name, r.id)
	from rm_directory.group_roles g join rm_directory.roles r on r.id = g.role_id where g.group_id = t.id`

// env is what links and tenants of a group are made of.
type env struct{ base, tenant string }

func shape(roles bool) *query.Shape[Group] {
	options := []query.ShapeOption{
		query.Virtual("roles", "null::jsonb"),
		query.Computed("links.self.href", func(dst []byte, row query.RawRow) []byte {
			return query.AppendJSONString(dst, row.Env.(env).base+"/"+domain.ShortID(row.UUID(0)))
		}, "id"),
		query.Computed("status", func(dst []byte, row query.RawRow) []byte { return query.AppendJSONString(dst, statusWord(row.Bool(0))) }, "is_active"),
		query.Computed("tenantId", func(dst []byte, row query.RawRow) []byte { return query.AppendJSONString(dst, row.Env.(env).tenant) }),
		query.Computed("assignedRoles", appendRoles, "roles"),
	}
	if roles {
		options[0] = query.Virtual("roles", rolesSQL)
	}
	return query.MustShape[Group](groups, options...)
}

var withRoles, withoutRoles = shape(true), shape(false)

// shapeFor leaves the roles out for who may not see roles (documented:
// "Visibility dependant on access level").
func shapeFor(ctx context.Context) *query.Shape[Group] {
	if caller(ctx).May("roles.view") {
		return withRoles
	}
	return withoutRoles
}

func statusWord(active bool) string {
	if active {
		return "active"
	}
	return "disabled"
}

// appendRoles gives roles the ids of this API.
func appendRoles(dst []byte, row query.RawRow) []byte {
	var roles []struct {
		ID domain.ID `json:"id"`
		Role
	}
	if !row.Null(0) {
		if err := json.Unmarshal(row.JSON(0), &roles); err != nil {
			panic("roles of a group are no list: " + err.Error())
		}
	}
	out := make([]Role, len(roles))
	for i, r := range roles {
		out[i] = r.Role
		out[i].ID = domain.ShortID(r.ID)
	}
	body, err := json.Marshal(out)
	if err != nil {
		panic(err) // texts always encode
	}
	return append(dst, body...)
}

func (r *Reads) env(ctx context.Context) env {
	return env{base: httpx.From(ctx).URL("/api/v1/groups"), tenant: tenantID(caller(ctx).Tenant)}
}

// Listing is the input of both lists.
type Listing struct {
	Filter       httpx.Optional[string] `query:"filter" doc:"RFC 7644 filter over id, name, status, createdAt, lastUpdatedAt, assignedRoles.id and assignedRoles.name."`
	Limit        int                    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Next         string                 `query:"next" doc:"Cursor of the next page."`
	Prev         string                 `query:"prev" doc:"Cursor of the previous page."`
	Sort         string                 `query:"sort" doc:"id, name, status, createdAt or lastUpdatedAt, with + or - before it."`
	SystemGroups bool                   `query:"systemGroups" doc:"System groups instead of the others; not together with any other parameter."`
	TotalResults bool                   `query:"totalResults" doc:"Whether to count all matches."`
	values       url.Values
}

// Resolve implements huma.Resolver.
func (l *Listing) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	l.values = u.Query()
	return nil
}

// Filtering is the input of the filter action.
type Filtering struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Next   string `query:"next"`
	Prev   string `query:"prev"`
	Sort   string `query:"sort" doc:"name, +name or -name."`
	Body   *FilterBody
	values url.Values
}

// FilterBody holds the filter of the filter action.
type FilterBody struct {
	Filter *string `json:"filter,omitempty"`
}

// Resolve implements huma.Resolver.
func (f *Filtering) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	f.values = u.Query()
	return nil
}

func (r *Reads) registerGroups() {
	tags := []string{"Groups"}
	httpx.Register(r.api, httpx.Op{ID: "1", Method: http.MethodGet, Path: "", Summary: "List groups", Tags: tags,
		Permission: "groups.view", RateTier: Tier1, Returns: Groups{}}, r.list)
	httpx.Register(r.api, httpx.Op{ID: "3", Method: http.MethodGet, Path: "/{groupId}", Summary: "Get group by id", Tags: tags,
		Permission: "groups.view", RateTier: Tier1, Returns: Group{}}, r.get)
	httpx.Register(r.api, httpx.Op{ID: "6", Method: http.MethodPost, Path: "/actions/filter", Summary: "Filter groups", Tags: tags,
		Permission: "groups.view", RateTier: Special, Returns: Groups{}}, r.filter)
}

func (r *Reads) list(ctx context.Context, in *Listing) (*httpx.Raw, error) {
	if in.SystemGroups {
		if len(in.values) > 1 {
			return nil, fault.InvalidQuery("systemGroups", "can't be combined with other parameters")
		}
		return r.systemGroups(ctx)
	}
	var filter query.Expr
	if in.Filter.Set {
		if in.Filter.Value == "" {
			return nil, fault.InvalidQuery("filter", "is empty")
		}
		var err error
		if filter, err = scim.Parse(groups, in.Filter.Value, "query"); err != nil {
			return nil, err
		}
	}
	return r.page(ctx, "/api/v1/groups", in.values, query.Request{Filter: filter, Limit: in.Limit, Next: in.Next, Prev: in.Prev, Total: in.TotalResults}, in.Sort)
}

func (r *Reads) filter(ctx context.Context, in *Filtering) (*httpx.Raw, error) {
	var filter query.Expr
	if in.Body != nil && in.Body.Filter != nil {
		var err error
		if filter, err = scim.Parse(groups, *in.Body.Filter, "body"); err != nil {
			return nil, err
		}
	}
	sort := in.Sort
	if sort == "" {
		sort = "+name"
	}
	if field, _ := direction(sort); field != "name" {
		return nil, fault.InvalidQuery("sort", "must be name, +name or -name")
	}
	// The client follows these links by a POST of the same body.
	return r.page(ctx, "/api/v1/groups/actions/filter", in.values, query.Request{Filter: filter, Limit: in.Limit, Next: in.Next, Prev: in.Prev}, sort)
}

// direction splits the sign from a sort field. A + that was not encoded arrives
// as a blank.
func direction(sort string) (field string, descending bool) {
	switch {
	case sort == "":
		return "", false
	case sort[0] == '-':
		return sort[1:], true
	case sort[0] == '+' || sort[0] == ' ':
		return sort[1:], false
	}
	return sort, false
}

// page reads a page by cursor and links to its neighbours.
func (r *Reads) page(ctx context.Context, path string, values url.Values, req query.Request, sort string) (*httpx.Raw, error) {
	req.Shape, req.Scope, req.Env = shapeFor(ctx), scope(ctx), r.env(ctx)
	if sort != "" {
		field, descending := direction(sort)
		known, ok := sorts[field]
		if !ok {
			return nil, fault.InvalidQuery("sort", "must be one of id, name, status, createdAt, lastUpdatedAt, with + or - before it")
		}
		req.Sort = query.Sort{Field: known, Desc: descending}
	}
	page, err := r.reader.Keyset(ctx, req)
	if err != nil {
		return nil, err
	}
	self := httpx.From(ctx).URL(path)
	links := PageLinks{Self: Link{address(self, values, "", "")}}
	if page.HasNext {
		links.Next = &Link{address(self, values, "next", page.Next)}
	}
	if page.HasPrev {
		links.Prev = &Link{address(self, values, "prev", page.Prev)}
	}
	body := append(append([]byte(`{"data":`), page.Items...), `,"links":{"self":`...)
	body = appendLink(body, links.Self)
	if links.Next != nil {
		body = appendLink(append(body, `,"next":`...), *links.Next)
	}
	if links.Prev != nil {
		body = appendLink(append(body, `,"prev":`...), *links.Prev)
	}
	body = append(body, '}')
	if req.Total {
		body = strconv.AppendInt(append(body, `,"totalResults":`...), page.Total, 10)
	}
	return &httpx.Raw{ContentType: "application/json", Body: append(body, '}')}, nil
}

func appendLink(dst []byte, l Link) []byte {
	return append(query.AppendJSONString(append(dst, `{"href":`...), l.Href), '}')
}

// address is a page's address: the request's own parameters with another cursor.
func address(base string, values url.Values, direction, cursor string) string {
	q := url.Values{}
	for name, v := range values {
		if direction == "" || name != "next" && name != "prev" {
			q[name] = v
		}
	}
	if direction != "" {
		q.Set(direction, cursor)
	}
	if len(q) == 0 {
		return base
	}
	return base + "?" + q.Encode()
}

// ByID is the input of operations on one group.
type ByID struct {
	GroupID string `path:"groupId"`
}

func (r *Reads) get(ctx context.Context, in *ByID) (*httpx.Raw, error) {
	id, err := GroupID(in.GroupID)
	if err != nil {
		return nil, err
	}
	return r.Group(ctx, http.StatusOK, id)
}

// Group answers with a group as it reads now.
func (r *Reads) Group(ctx context.Context, status int, id domain.ID) (*httpx.Raw, error) {
	data, err := r.reader.Get(ctx, query.Request{Shape: shapeFor(ctx), Scope: scope(ctx), Env: r.env(ctx)}, id)
	if err != nil {
		return nil, err
	}
	return &httpx.Raw{Status: status, ContentType: "application/json", Body: data}, nil
}

// GroupOf answers with a group as the command side knows it: without the names
// of its roles.
func (r *Reads) GroupOf(ctx context.Context, status int, g directory.Group) (*httpx.Raw, error) {
	e := r.env(ctx)
	type early struct {
		Group
		ID string `json:"id"`
	}
	return httpx.JSON(status, early{ID: domain.ShortID(g.ID), Group: Group{Name: g.Name, Links: GroupLink{Link{e.base + "/" + domain.ShortID(g.ID)}},
		Status: statusWord(g.Active), TenantID: e.tenant, CreatedAt: seconds(g.CreatedAt), LastUpdatedAt: seconds(g.ModifiedAt)}})
}

// seconds is a time as this API writes it.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Count is the number of groups in the caller's tenant.
func (r *Reads) Count(ctx context.Context) (int64, error) {
	return r.reader.Count(ctx, query.Request{Shape: withoutRoles, Scope: scope(ctx)})
}
