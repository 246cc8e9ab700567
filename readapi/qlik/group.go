package qlik

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

// Group as this API shows it to who may see roles.
type Group struct {
	Summary
	AssignedRoles []Role `json:"assignedRoles,omitzero"`
}

// Summary is a group without its roles.
type Summary struct {
	ID            string    `json:"id" doc:"24 hexadecimal digits."`
	Name          string    `json:"name" col:"name"`
	Links         GroupLink `json:"links"`
	Status        string    `json:"status" enum:"active,disabled"`
	TenantID      string    `json:"tenantId"`
	CreatedAt     time.Time `json:"createdAt" col:"created_at,seconds"`
	LastUpdatedAt time.Time `json:"lastUpdatedAt" col:"modified_at,seconds"`
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
var fields = []query.Field{
	{Name: "id", Column: "id", Kind: query.UUID, Ops: query.Equality, Sortable: true, Parse: parseID},
	{Name: "name", Column: "name", Folded: "name_f", Ops: query.TextOps, Reversed: true},
	{Name: "status", Ops: query.TextOps, Rewrite: query.Labels("active", map[string]any{"active": true, "disabled": false})},
	{Name: "createdAt", Column: "created_at", Kind: query.Time, Ops: query.OrderOps, Sortable: true, Seconds: true},
	{Name: "lastUpdatedAt", Column: "modified_at", Kind: query.Time, Ops: query.OrderOps, Sortable: true, Seconds: true},
	// Names are compared without case and sorted by code points.
	{Name: "name (sorted)", Column: "name_exact_f", Exact: true, Sortable: true},
	{Name: "status (sorted)", Column: "is_active", Kind: query.Bool, Sortable: true, Inverted: true},
	{Name: "active", Column: "is_active", Kind: query.Bool, Ops: query.Equality, Hidden: true},
}

// Who may not see roles can't ask for them in a filter either.
var roleFields = []query.Field{
	{Name: "assignedRoles.id", Column: "role_id", Kind: query.UUID, Ops: query.Equality, Parse: parseID,
		Sub: &query.Sub{Table: "rm_directory.group_roles", Row: "group_id", Column: "role_id"}},
	{Name: "assignedRoles.name", Column: "name", Folded: "name_f", Ops: query.TextOps,
		Sub: &query.Sub{Table: "rm_directory.group_roles", Row: "group_id", Column: "role_id", Via: &query.Via{Table: "rm_directory.roles"}}},
}

func define(fields ...query.Field) *query.Resource {
	return query.MustDefine(query.Resource{Name: "group", Table: "rm_directory.groups", ScopeColumn: "organization_id", Fields: fields,
		Indexes:  []string{"organization_id,name_exact_f", "organization_id,created_at", "organization_id"},
		Counters: []string{"organization_id"}})
}

func parseID(text string) (any, error) { return domain.ParseShortID(text) }

// sorts are the orders a client may ask for.
var sorts = map[string]string{"id": "id", "name": "name (sorted)", "status": "status (sorted)", "createdAt": "createdAt", "lastUpdatedAt": "lastUpdatedAt"}

const rolesSQL = `select jsonb_agg(jsonb_build_object('id', r.id, 'name', r.name, 'type', r.type, 'level', r.level) order by r.name, r.id)
	from rm_directory.group_roles g join rm_directory.roles r on r.id = g.role_id where g.group_id = t.id`

// env is what links and tenants of a group are made of.
type env struct{ base, tenant string }

func (e env) link(id string) string { return e.base + "/" + id }

var members = []query.ShapeOption{
	query.Computed("id", func(dst []byte, row query.RawRow) []byte {
		return query.AppendJSONString(dst, domain.ShortID(row.UUID(0)))
	}, "id"),
	query.Computed("links.self.href", func(dst []byte, row query.RawRow) []byte {
		return query.AppendJSONString(dst, row.Env.(env).link(domain.ShortID(row.UUID(0))))
	}, "id"),
	query.Computed("status", func(dst []byte, row query.RawRow) []byte { return query.AppendJSONString(dst, statusWord(row.Bool(0))) }, "is_active"),
	query.Computed("tenantId", func(dst []byte, row query.RawRow) []byte { return query.AppendJSONString(dst, row.Env.(env).tenant) }),
}

var (
	withRoles = query.MustShape[Group](define(slices.Concat(fields, roleFields)...),
		append(slices.Clip(members), query.Virtual("roles", rolesSQL), query.Computed("assignedRoles", appendRoles, "roles"))...)
	withoutRoles = query.MustShape[Summary](define(slices.Clone(fields)...), members...)
)

func maySeeRoles(ctx context.Context) bool { return caller(ctx).May("roles.view") }

// layout is how the caller sees groups: without their roles for who may not see
// roles (documented: "Visibility dependant on access level").
func layout(ctx context.Context) (query.Layout, *query.Resource) {
	if maySeeRoles(ctx) {
		return withRoles, withRoles.Resource()
	}
	return withoutRoles, withoutRoles.Resource()
}

func roleType(system bool) string {
	if system {
		return "default"
	}
	return "custom"
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

func newEnv(ctx context.Context) env {
	return env{base: httpx.From(ctx).URL("/api/v1/groups"), tenant: tenantID(caller(ctx).Tenant)}
}

// Listing is the input of both lists.
type Listing struct {
	Filter       string `query:"filter" doc:"RFC 7644 filter over id, name, status, createdAt, lastUpdatedAt, assignedRoles.id and assignedRoles.name."`
	Limit        int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Next         string `query:"next" doc:"Cursor of the next page."`
	Prev         string `query:"prev" doc:"Cursor of the previous page."`
	Sort         string `query:"sort" doc:"id, name, status, createdAt or lastUpdatedAt, with + or - before it."`
	SystemGroups bool   `query:"systemGroups" doc:"System groups instead of the others; not together with any other parameter."`
	TotalResults bool   `query:"totalResults" doc:"Whether to count all matches."`
	Address
}

// Filtering is the input of the filter action.
type Filtering struct {
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Next  string `query:"next"`
	Prev  string `query:"prev"`
	Sort  string `query:"sort" doc:"name, +name or -name."`
	Body  *FilterBody
	Address
}

// FilterBody holds the filter of the filter action.
type FilterBody struct {
	Filter *string `json:"filter,omitempty"`
}

func (r *Reads) registerGroups() {
	tags := []string{"Groups"}
	httpx.Register(r.api, httpx.Op{ID: "1", Method: http.MethodGet, Path: "", Summary: "List groups", Tags: tags,
		Permission: "groups.view", RateTier: Tier1, Returns: Groups{}}, r.list)
	httpx.Register(r.api, httpx.Op{ID: "3", Method: http.MethodGet, Path: "/{groupId}", Summary: "Get group by id", Tags: tags,
		Permission: "groups.view", RateTier: Tier1, Returns: Group{}}, r.get)
	httpx.Register(r.api, httpx.Op{ID: "6", Method: http.MethodPost, Path: "/actions/filter", Summary: "Filter groups", Tags: tags,
		Permission: "groups.view", RateTier: Special, ReadOnly: true, Returns: Groups{}}, r.filter)
}

func (r *Reads) list(ctx context.Context, in *Listing) (*httpx.Raw, error) {
	if in.SystemGroups {
		if len(in.values()) > 1 {
			return nil, fault.InvalidQuery("systemGroups", "can't be combined with other parameters")
		}
		return r.systemGroups(ctx, in.Address)
	}
	return r.page(ctx, page{path: "/api/v1/groups", filter: in.Filter, filterIn: "query", sort: in.Sort, Address: in.Address,
		Request: query.Request{Limit: in.Limit, Next: in.Next, Prev: in.Prev, Total: in.TotalResults}})
}

func (r *Reads) filter(ctx context.Context, in *Filtering) (*httpx.Raw, error) {
	filter, sort := "", in.Sort
	if in.Body != nil && in.Body.Filter != nil {
		filter = *in.Body.Filter
	}
	if sort == "" {
		sort = "+name"
	}
	if field, _ := direction(sort); field != "name" {
		return nil, fault.InvalidQuery("sort", "must be name, +name or -name")
	}
	// The client follows the links by a POST of the same body.
	return r.page(ctx, page{path: "/api/v1/groups/actions/filter", filter: filter, filterIn: "body", sort: sort, Address: in.Address,
		Request: query.Request{Limit: in.Limit, Next: in.Next, Prev: in.Prev}})
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

// page is a page to be read.
type page struct {
	path             string // of the list
	filter, filterIn string // and where it stands: "query" or "body"
	sort             string
	Address
	query.Request
}

// page reads a page by cursor and links to its neighbours.
func (r *Reads) page(ctx context.Context, p page) (*httpx.Raw, error) {
	layout, resource := layout(ctx)
	p.Shape, p.Scope, p.Env = layout, scope(ctx), newEnv(ctx)
	var err error
	if p.Filter, err = scim.Parse(resource, p.filter, p.filterIn); err != nil {
		return nil, err
	}
	if p.sort != "" {
		field, descending := direction(p.sort)
		known, ok := sorts[field]
		if !ok {
			return nil, fault.InvalidQuery("sort", "must be one of id, name, status, createdAt, lastUpdatedAt, with + or - before it")
		}
		p.Sort = query.Sort{Field: known, Desc: descending}
	}
	found, err := r.reader.Keyset(ctx, p.Request)
	if err != nil {
		return nil, err
	}
	base := httpx.From(ctx).URL(p.path)
	body := append(append([]byte(`{"data":`), found.Items...), `,"links":{"self":`...)
	body = appendLink(body, p.self(base))
	if found.HasNext {
		body = appendLink(append(body, `,"next":`...), p.page(base, "next", found.Next))
	}
	if found.HasPrev {
		body = appendLink(append(body, `,"prev":`...), p.page(base, "prev", found.Prev))
	}
	body = append(body, '}')
	if p.Total {
		body = strconv.AppendInt(append(body, `,"totalResults":`...), found.Total, 10)
	}
	return &httpx.Raw{ContentType: "application/json", Body: append(body, '}')}, nil
}

func appendLink(dst []byte, href string) []byte {
	return append(query.AppendJSONString(append(dst, `{"href":`...), href), '}')
}

// Address is the query of a request as it came.
type Address struct{ raw string }

// Resolve implements huma.Resolver.
func (a *Address) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	a.raw = u.RawQuery
	return nil
}

func (a Address) values() url.Values {
	values, _ := url.ParseQuery(a.raw) // what is malformed is left out, as net/http does
	return values
}

// self is the request's own address.
func (a Address) self(base string) string {
	if a.raw == "" {
		return base
	}
	return base + "?" + a.raw
}

// page is the address of another page: all other parameters stay.
func (a Address) page(base, direction, cursor string) string {
	values := a.values()
	values.Del("next")
	values.Del("prev")
	values.Set(direction, cursor)
	// Blanks as %20: clients that take query values apart by decodeURIComponent
	// would keep a plus sign.
	return base + "?" + strings.ReplaceAll(values.Encode(), "+", "%20")
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
	layout, _ := layout(ctx)
	data, err := r.reader.Get(ctx, query.Request{Shape: layout, Scope: scope(ctx), Env: newEnv(ctx)}, id)
	if fault.Is(err, fault.NotFound) {
		return nil, NoSuchGroup(domain.ShortID(id))
	}
	if err != nil {
		return nil, err
	}
	return &httpx.Raw{Status: status, ContentType: "application/json", Body: data}, nil
}

// GroupOf answers with a group and its roles as the command side knows them.
func GroupOf(ctx context.Context, status int, g directory.Group, roles []directory.Role) (*httpx.Raw, error) {
	e, id := newEnv(ctx), domain.ShortID(g.ID)
	out := Group{Summary: Summary{ID: id, Name: g.Name, Links: GroupLink{Link{e.link(id)}}, Status: statusWord(g.Active), TenantID: e.tenant,
		CreatedAt: seconds(g.CreatedAt), LastUpdatedAt: seconds(g.ModifiedAt)}}
	if maySeeRoles(ctx) {
		out.AssignedRoles = []Role{}
		for _, r := range roles {
			out.AssignedRoles = append(out.AssignedRoles, Role{ID: domain.ShortID(r.ID), Name: r.Name, Type: roleType(r.System), Level: directory.Level(r.Permissions)})
		}
		slices.SortFunc(out.AssignedRoles, func(a, b Role) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	}
	return httpx.JSON(status, out)
}

// seconds is a time as this API writes it.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Count is the number of groups in the caller's tenant.
func (r *Reads) Count(ctx context.Context) (int64, error) {
	return r.reader.Count(ctx, query.Request{Shape: withoutRoles, Scope: scope(ctx)})
}
