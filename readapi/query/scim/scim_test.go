package scim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"docket/domain"
	"docket/domain/fault"
	"docket/readapi/query"
	"docket/readapi/query/scim"
)

var groups = query.MustDefine(query.Resource{
	Name: "group", Table: "groups", Unscoped: true,
	Fields: []query.Field{
		{Name: "id", Column: "id", Kind: query.UUID, Ops: query.Equality, Sortable: true,
			Parse: func(text string) (any, error) { return domain.ParseShortID(text) }},
		{Name: "name", Column: "name", Folded: "name_f", Ops: query.TextOps},
		{Name: "status", Ops: query.TextOps, Rewrite: query.Labels("active", map[string]any{"active": true, "disabled": false})},
		{Name: "active", Column: "is_active", Kind: query.Bool, Ops: query.Equality, Hidden: true},
		{Name: "enabled", Column: "is_enabled", Kind: query.Bool, Ops: query.Equality},
		{Name: "members", Column: "members", Kind: query.Int, Ops: query.OrderOps},
		{Name: "createdAt", Column: "created_at", Kind: query.Time, Ops: query.OrderOps, Seconds: true},
		{Name: "assignedRoles.name", Column: "name", Folded: "name_f", Ops: query.TextOps,
			Sub: &query.Sub{Table: "group_roles", Row: "group_id", Column: "role_id", Via: &query.Via{Table: "roles"}}},
	},
})

func compare(field string, op query.Op, value any) query.Expr {
	return query.Compare{Field: field, Op: op, Value: value}
}

func TestParse(t *testing.T) {
	short := "0190a6f37c1e000000000001"
	id, err := domain.ParseShortID(short)
	require.NoError(t, err)
	at := time.Date(2021, 3, 21, 17, 32, 28, 0, time.UTC)
	a, b, c := compare("name", query.Eq, "a"), compare("name", query.Eq, "b"), compare("name", query.Eq, "c")
	for text, want := range map[string]query.Expr{
		``:                                    nil,
		`  `:                                  nil,
		`name eq "a"`:                         a,
		` NAME EQ "a" `:                       a,
		`name co "Dev"`:                       compare("name", query.Contains, "Dev"),
		`name sw "x"`:                         compare("name", query.Starts, "x"),
		`name Ew "x"`:                         compare("name", query.Ends, "x"),
		`name ne "x"`:                         compare("name", query.Ne, "x"),
		`name pr`:                             compare("name", query.Present, nil),
		`name eq null`:                        query.Not{X: compare("name", query.Present, nil)},
		`name ne null`:                        compare("name", query.Present, nil),
		`name eq "a\"b\\\u00fc\u00Fc\n"`:      compare("name", query.Eq, "a\"b\\üü\n"),
		`name eq "日本"`:                        compare("name", query.Eq, "日本"),
		`name eq ""`:                          compare("name", query.Eq, ""),
		`name eq "\""`:                        compare("name", query.Eq, `"`),
		`status eq "deleted"`:                 compare("status", query.Eq, "deleted"),
		`enabled eq TRUE`:                     compare("enabled", query.Eq, true),
		`members ge 10`:                       compare("members", query.Ge, int64(10)),
		`members lt -10`:                      compare("members", query.Lt, int64(-10)),
		`createdAt gt "2021-03-21T17:32:28Z"`: compare("createdAt", query.Gt, at),
		`createdAt le "2021-03-21T18:32:28+01:00"`:     compare("createdAt", query.Le, at),
		`assignedRoles.name eq "a"`:                    compare("assignedRoles.name", query.Eq, "a"),
		`id eq "` + short + `"`:                        compare("id", query.Eq, id),
		`id eq "` + strings.ToUpper(short) + `"`:       compare("id", query.Eq, id),
		`id eq "no such id"`:                           query.Or{},
		`id ne "no such id"`:                           query.And{},
		`name eq "a" and name eq "b" or name eq "c"`:   query.Or{query.And{a, b}, c},
		`name eq "a" or name eq "b" and name eq "c"`:   query.Or{a, query.And{b, c}},
		`(name eq "a" or name eq "b") and name eq "c"`: query.And{query.Or{a, b}, c},
		`name eq "a" and name eq "b" and name eq "c"`:  query.And{a, b, c},
		`not (name eq "a")`:                            query.Not{X: a},
		`NOT(name eq "a") and name eq "b"`:             query.And{query.Not{X: a}, b},
		`name eq "and or (not"`:                        compare("name", query.Eq, "and or (not"),
	} {
		got, err := scim.Parse(groups, text, "query")
		require.NoError(t, err, text)
		if e, ok := want.(query.Compare); ok && e.Field == "createdAt" {
			require.WithinDuration(t, at, got.(query.Compare).Value.(time.Time), 0)
			require.Equal(t, e.Op, got.(query.Compare).Op)
			continue
		}
		require.Equal(t, want, got, text)
	}
}

func TestRefusals(t *testing.T) {
	repeat := func(n int, part string) string { return strings.Repeat(part+" or ", n-1) + part }
	for name, text := range map[string]string{
		"unknown attribute":      `colour eq "red"`,
		"hidden attribute":       `active eq true`,
		"unknown sub-attribute":  `assignedRoles.colour eq "red"`,
		"schema uri":             `urn:ietf:params:scim:schemas:core:2.0:Group:name eq "x"`,
		"unknown operator":       `name like "x"`,
		"operator not offered":   `name gt "x"`,
		"order of ids":           `id gt "0190a6f37c1e000000000001"`,
		"value path":             `assignedRoles[name eq "x"]`,
		"single quotes":          `name eq 'abc'`,
		"no quotes":              `name eq abc`,
		"no value":               `name eq`,
		"open parenthesis":       `(name eq "a"`,
		"closing parenthesis":    `name eq "a")`,
		"not without brackets":   `not name eq "a"`,
		"trailing and":           `name eq "a" and`,
		"bad escape":             `name eq "\x"`,
		"open text":              `name eq "abc`,
		"control character":      "name eq \"a\tb\"",
		"text for a number":      `members eq "1"`,
		"fraction for a number":  `members eq 1.5`,
		"number for a text":      `name eq 1`,
		"boolean for a text":     `name eq true`,
		"text for a boolean":     `enabled eq "true"`,
		"no time":                `createdAt gt "yesterday"`,
		"null in order":          `createdAt gt null`,
		"too long":               `name eq "` + strings.Repeat("x", scim.MaxLength) + `"`,
		"too deep":               strings.Repeat("(", 33) + `name eq "a"` + strings.Repeat(")", 33),
		"too deep with not":      strings.Repeat("not (", 33) + `name eq "a"` + strings.Repeat(")", 33),
		"too many ids":           repeat(101, `id eq "0190a6f37c1e000000000001"`),
		"too many ids, unequal":  repeat(101, `id ne "0190a6f37c1e000000000001"`),
		"too many comparisons":   repeat(201, `name eq "a"`),
		"only a closing bracket": `)`,
		"NUL":                    "\x00",
	} {
		for _, in := range []string{"query", "body"} {
			_, err := scim.Parse(groups, text, in)
			require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
			f := fault.Of(err)
			require.Equal(t, "filter", f.Fields[0].Path, name)
			require.Equal(t, in, f.Fields[0].In, name)
		}
	}
}

func TestLimitsAreReached(t *testing.T) {
	nested := strings.Repeat("(", 32) + `name eq "a"` + strings.Repeat(")", 32)
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = fmt.Sprintf(`id eq "%024x"`, i)
	}
	many := strings.Repeat(`name eq "a" or `, 199) + `name eq "a"`
	for _, text := range []string{nested, strings.Join(ids, " or "), many, "(" + strings.Join(ids, " or ") + `) and name pr`} {
		_, err := scim.Parse(groups, text, "query")
		require.NoError(t, err)
	}
}

// Whatever the text, parsing gives a filter or a fault; never a panic.
func TestAnyText(t *testing.T) {
	words := []string{"name", "id", " ", "eq", "co", `"a"`, `"`, `\`, "(", ")", "not", "and", "or", "pr", "[", "]", "1", "-", "true", "null", ".", ":", "\x00", "\xff", "ü"}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 30).Draw(t, "words"), "")
		if rapid.Bool().Draw(t, "spaced") {
			text = strings.ReplaceAll(text, `"a"`, ` "a" `)
		}
		if _, err := scim.Parse(groups, text, "query"); err != nil {
			require.True(t, fault.Is(err, fault.Invalid), "%v", err)
		}
	})
}

// Every text survives quoting as JSON.
func TestTextsComeThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "text")
		quoted, err := json.Marshal(want)
		require.NoError(t, err)
		got, err := scim.Parse(groups, "name eq "+string(quoted), "query")
		require.NoError(t, err)
		require.Equal(t, compare("name", query.Eq, want), got)
	})
}

func TestUnknownUUIDFormMatchesNothing(t *testing.T) {
	got, err := scim.Parse(groups, `id eq "`+uuid.NewString()+`"`, "query")
	require.NoError(t, err)
	require.Equal(t, query.Or{}, got)
}
