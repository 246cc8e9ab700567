package query

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/domain/fault"
)

func TestMistakesInDefinitions(t *testing.T) {
	text := Field{Name: "name", Column: "name", Folded: "name_f", Ops: TextOps}
	for want, r := range map[string]Resource{
		"bad table name":            {Table: "tasks; drop", Unscoped: true},
		"bad column name":           {Table: "t", Unscoped: true, Fields: []Field{{Name: "a", Column: "a b", Exact: true}}},
		"exactly one of Scope":      {Table: "t"},
		"exactly one of ScopeC":     {Table: "t", Unscoped: true, ScopeColumn: "o"},
		"defined twice":             {Table: "t", Unscoped: true, Fields: []Field{text, text}},
		`"name" is defined twice`:   {Table: "t", Unscoped: true, Fields: []Field{text, {Name: "x", Aliases: []string{"NAME"}, Column: "x", Exact: true}}},
		"has no name":               {Table: "t", Unscoped: true, Fields: []Field{{Column: "x", Exact: true}}},
		"folded column or Exact":    {Table: "t", Unscoped: true, Fields: []Field{{Name: "a", Column: "a"}}},
		"only for text":             {Table: "t", Unscoped: true, Fields: []Field{{Name: "a", Column: "a", Kind: Int, Ops: Contains}}},
		"unknown join":              {Table: "t", Unscoped: true, Fields: []Field{{Name: "a", Column: "a", Kind: Int, Join: "j"}}},
		"has no order and no join":  {Table: "t", Unscoped: true, Fields: []Field{{Name: "a", Kind: UUID, Sortable: true, Sub: &Sub{Table: "s", Row: "r", Column: "c"}}}},
		"is sorted by another":      {Table: "t", Unscoped: true, Fields: []Field{{Name: "a", Sortable: true, Rewrite: Labels("b", nil)}}},
		"cannot sort by":            {Table: "t", Unscoped: true, Fields: []Field{{Name: "a", Sortable: true, SortBy: "b", Rewrite: Labels("b", nil)}}},
		"default sort":              {Table: "t", Unscoped: true, Fields: []Field{text}, DefaultSort: Sort{Field: "name"}},
		"must not be nullable":      {Table: "t", Unscoped: true, Joins: []Join{{Name: "j", Table: "j", FK: "f"}}, Fields: []Field{{Name: "a", Column: "a", Kind: Int, Join: "j", Sortable: true, Nullable: true}}},
		`join "j" is defined twice`: {Table: "t", Unscoped: true, Joins: []Join{{Name: "j", Table: "j", FK: "f"}, {Name: "j", Table: "k", FK: "f"}}},
		`bad column name "x y"`:     {Table: "t", Unscoped: true, Indexes: []string{"a,x y"}},
	} {
		_, err := Define(r)
		require.ErrorContains(t, err, want)
		require.Panics(t, func() { MustDefine(r) })
	}
}

func TestFiltersAreRefused(t *testing.T) {
	deep := Expr(Equals("name", "x"))
	for range MaxDepth {
		deep = Not{deep}
	}
	wide := Or{}
	for range MaxComparisons + 1 {
		wide = append(wide, Equals("name", "x"))
	}
	for name, c := range map[string]struct {
		filter Expr
		path   string
	}{
		"unknown field":        {Equals("colour", "red"), "colour"},
		"operator not offered": {Compare{Field: "organizationId", Op: Gt, Value: uuid.Nil}, "organizationId"},
		"no operator":          {Compare{Field: "name", Value: "x"}, "name"},
		"several operators":    {Compare{Field: "code", Op: Eq | Ne | 1<<14, Value: "x"}, "code"},
		"type":                 {Equals("size", "1"), "size"},
		"type of uuid":         {Equals("id", "1"), "id"},
		"type of time":         {Equals("createdAt", "now"), "createdAt"},
		"type in list":         {Compare{Field: "size", Op: In, Value: []any{1, "2"}}, "size"},
		"no list":              {Compare{Field: "size", Op: In, Value: 1}, "size"},
		"type of label":        {Equals("status", true), "status"},
		"deep":                 {deep, "filter"},
		"wide":                 {wide, "filter"},
		"long":                 {OneOf("size", make([]int, MaxValues+1)...), "filter"},
	} {
		_, err := byColumn.bind(c.filter)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
		require.Equal(t, c.path, fault.Of(err).Fields[0].Path, name)
	}
	_, err := byColumn.bind(And{nil})
	require.Error(t, err)
}

func TestParseText(t *testing.T) {
	id := uuid.New()
	for _, c := range []struct {
		kind Kind
		text string
		want any
	}{
		{Text, "x", "x"}, {UUID, id.String(), id}, {UUID, strings.ToUpper(id.String()), id}, {UUID, "urn:uuid:" + id.String(), nil}, {UUID, "{" + id.String() + "}", nil},
		{UUID, strings.ReplaceAll(id.String(), "-", ""), nil}, {Bool, "TRUE", true}, {Bool, "0", false}, {Bool, "yes", nil},
		{Int, "-12", int64(-12)}, {Int, "1.0", nil}, {Int, "", nil}, {Int, "9223372036854775808", nil},
		{Time, "2024-01-02T03:04:05.5+01:00", time.Date(2024, 1, 2, 2, 4, 5, 5e8, time.UTC)}, {Time, "2024-01-02", nil},
	} {
		f := Field{Name: "f", Kind: c.kind}
		got, err := f.ParseText(c.text)
		if c.want == nil {
			require.Error(t, err, c.text)
			continue
		}
		require.NoError(t, err, c.text)
		if at, ok := got.(time.Time); ok {
			got = at.UTC()
		}
		require.Equal(t, c.want, got)
	}
}

func TestBefore(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	r := MustDefine(Resource{Name: "key", Table: "k", Unscoped: true, Fields: []Field{
		{Name: "expiryDate", Column: "expires_at", Kind: Time, Ops: OrderOps, Nullable: true},
		{Name: "expired", Kind: Bool, Ops: Eq | Ne, Rewrite: Before("expiryDate", func() time.Time { return now })},
	}})
	for _, c := range []struct {
		at   []any
		want bool
	}{{nil, false}, {[]any{now}, true}, {[]any{now.Add(1000)}, false}, {[]any{now.Add(-1000)}, true}} {
		for _, filter := range []Compare{{"expired", Eq, true}, {"expired", Ne, false}, {"expired", Eq, false}, {"expired", Ne, true}} {
			want := c.want == (filter.Value.(bool) == (filter.Op == Eq))
			got, err := r.Match(filter, values(c.at))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	_, err := r.Match(Equals("expired", "x"), values(nil))
	require.True(t, fault.Is(err, fault.Invalid))
}

type values []any

func (v values) Values(*Field) []any    { return v }
func (v values) Key() (none uuid.UUID)  { return none }
func (v values) Joined(*Join) uuid.UUID { return uuid.UUID{} }

func TestRequestsWithoutScopeAreRefused(t *testing.T) {
	reader := NewReader(nil, Options{})
	_, err := reader.plan(context.Background(), Request{Shape: MustShape[item](byColumn)})
	require.ErrorContains(t, err, "without a scope")
	_, err = reader.plan(context.Background(), Request{Scope: Everything()})
	require.ErrorContains(t, err, "without a shape")
}

func TestCacheForgets(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	c := newCache[int](4, time.Minute)
	c.now = func() time.Time { return now }
	c.put("a", 1)
	v, ok := c.get("a")
	require.True(t, ok)
	require.Equal(t, 1, v)
	now = now.Add(61 * time.Second)
	_, ok = c.get("a")
	require.False(t, ok)
	for _, key := range strings.Split("abcdefghij", "") {
		c.put(key, 1)
		require.LessOrEqual(t, len(c.entries), 4)
		_, ok = c.get(key)
		require.True(t, ok)
	}
}
