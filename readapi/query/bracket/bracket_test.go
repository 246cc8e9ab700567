package bracket_test

import (
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/domain/fault"
	"docket/readapi/query"
	"docket/readapi/query/bracket"
)

var things = query.MustDefine(query.Resource{
	Name: "thing", Table: "things", Unscoped: true,
	Joins: []query.Join{{Name: "organization", Table: "organizations", FK: "organization_id"}},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: query.Eq | query.Substring, Sortable: true},
		{Name: "code", Column: "code", Exact: true, Ops: query.Eq | query.Contains},
		{Name: "isActive", Column: "is_active", Kind: query.Bool, Ops: query.Eq},
		{Name: "projectId", Column: "project_id", Kind: query.UUID, Ops: query.Eq},
		{Name: "size", Column: "size", Kind: query.Int, Ops: query.Eq, Sortable: true},
		{Name: "organization.name", Column: "name", Folded: "name_f", Sortable: true, Join: "organization"},
		{Name: "expires", Column: "expires_at", Kind: query.Time, Ops: query.Range, Sortable: true}, // for the server's own filters
		{Name: "owner", Column: "owner_id", Kind: query.UUID, Ops: query.Eq, Hidden: true, Sortable: true},
	},
})

func parse(t *testing.T, raw string) (bracket.Query, error) {
	t.Helper()
	values, err := url.ParseQuery(raw)
	require.NoError(t, err)
	return bracket.Parse(things, values)
}

func compare(field string, op query.Op, value any) query.Expr {
	return query.Compare{Field: field, Op: op, Value: value}
}

func TestParse(t *testing.T) {
	id := uuid.MustParse("0190a6f3-7c1e-7a30-8000-000000000001")
	for raw, want := range map[string]bracket.Query{
		"":                          {},
		"name=Site":                 {Filter: compare("name", query.Eq, "Site")},
		"name[contains]=Site":       {Filter: compare("name", query.Contains, "Site")},
		"NAME[ENDSWITH]=x":          {Filter: compare("name", query.Ends, "x")},
		"name[StartsWith]=x":        {Filter: compare("name", query.Starts, "x")},
		"name[equals]=x":            {Filter: compare("name", query.Eq, "x")},
		"name[Equal]=x":             {Filter: compare("name", query.Eq, "x")},
		"name%5Bcontains%5D=a%25":   {Filter: compare("name", query.Contains, "a%")},
		"is_active=true":            {Filter: compare("isActive", query.Eq, true)},
		"isActive=False":            {Filter: compare("isActive", query.Eq, false)},
		"size=-3":                   {Filter: compare("size", query.Eq, int64(-3))},
		"project_id=" + id.String(): {Filter: compare("projectId", query.Eq, id)},
		"name=x&name[contains]=y&code=z": {Filter: query.And{
			compare("code", query.Eq, "z"), compare("name", query.Eq, "x"), compare("name", query.Contains, "y")}},
		"page=3&page_size=100":                           {Page: 3, Size: 100},
		"get_all=true":                                   {All: true},
		"get_all=true&page=0&page_size=1000":             {All: true}, // ignored, as documented
		"Page=x&get_all=true&page_size=5":                {All: true},
		"get_all=False&page=2":                           {Page: 2},
		"expires=2030-01-01T00:00:00Z":                   {}, // no filter of this grammar
		"sort_by=Organization.Name&sort_direction=DESC":  {Sort: query.Sort{Field: "Organization.Name", Desc: true}},
		"sort_by=NAME&sort_direction=asc":                {Sort: query.Sort{Field: "NAME"}},
		"sort_direction=desc":                            {Sort: query.Sort{Desc: true}},
		"sortish=1&fieldset=a&fieldset=b&organization=x": {}, // unknown plain parameters
		"name=&page=&sort_by=&page_size=":                {}, // empty means not given
	} {
		if want.Page == 0 {
			want.Page = 1
		}
		if want.Size == 0 {
			want.Size = bracket.DefaultSize
		}
		got, err := parse(t, raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
	}
}

func TestMistakesNameTheParameter(t *testing.T) {
	for raw, parameter := range map[string]string{
		"page=0":                            "page",
		"page=-1":                           "page",
		"page=1.5":                          "page",
		"page=x":                            "page",
		"page=99999999999999999999":         "page",
		"page=0&page_size=0&get_all=false":  "page",
		"get_all=true&page=1&page=2":        "page",
		"expires[equal]=x":                  "expires[equal]",
		"page_size=0":                       "page_size",
		"page_size=101":                     "page_size",
		"page_size=ten":                     "page_size",
		"get_all=maybe":                     "get_all",
		"sort_by=colour":                    "sort_by",
		"sort_by=code":                      "sort_by", // filterable, not sortable
		"sort_by=owner":                     "sort_by", // hidden
		"sort_direction=up":                 "sort_direction",
		"name[like]=x":                      "name[like]",
		"name[]=x":                          "name[]",
		"name[contains=x":                   "name[contains",
		"code[startswith]=x":                "code[startswith]", // not offered by this field
		"size[contains]=1":                  "size[contains]",
		"colour[contains]=red":              "colour[contains]",
		"owner[equal]=x":                    "owner[equal]",
		"[contains]=x":                      "[contains]",
		"is_active=yes":                     "is_active",
		"project_id=x":                      "project_id",
		"project_id={" + uuid.NewString():   "project_id",
		"size=1e3":                          "size",
		"name=a&name=b":                     "name",
		"name[contains]=a&Name[Contains]=b": "name[contains]",
		"project_id[equal]=x&projectId=x":   "projectId",
		"page=1&page=2":                     "page",
		"page=1&Page=2":                     "page",
		"organization.name[contains]=x":     "organization.name[contains]", // sortable only
		"sort_by=name&sort_by=size":         "sort_by",
	} {
		_, err := parse(t, raw)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", raw, err)
		field := fault.Of(err).Fields[0]
		require.Equal(t, parameter, field.Path, raw)
		require.Equal(t, "query", field.In, raw)
	}
}

func TestRequest(t *testing.T) {
	q, err := parse(t, "name=x&page=2&page_size=5&sort_by=size")
	require.NoError(t, err)
	require.Equal(t, query.Request{Filter: q.Filter, Sort: query.Sort{Field: "size"}, Page: 2, Size: 5}, q.Request())
}

func TestEqual(t *testing.T) {
	id := uuid.MustParse("0190a6f3-7c1e-7a30-8000-000000000001")
	for raw, want := range map[string]any{
		"": nil, "name=x": nil, "project_id=" + id.String(): id, "name[contains]=x&projectId[equal]=" + id.String(): id,
	} {
		q, err := parse(t, raw)
		require.NoError(t, err)
		require.Equal(t, want, q.Equal("projectId"), raw)
	}
	q, err := parse(t, "name[contains]=x")
	require.NoError(t, err)
	require.Nil(t, q.Equal("name"))
}
