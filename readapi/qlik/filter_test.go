package qlik_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// both sends a filter by GET and by the filter action and returns what they find.
func both(t *testing.T, s *servertest.Server, filter string) []string {
	t.Helper()
	found := read(s, url.Values{"filter": {filter}, "limit": {"100"}, "sort": {"name"}}).names()
	var p page
	s.Post(base+"/actions/filter?limit=100", object{"filter": filter}).Is(http.StatusOK).JSON(&p)
	require.Equal(t, found, p.names())
	return found
}

func refused(t *testing.T, s *servertest.Server, filter string) {
	t.Helper()
	fails(t, s.Get(base+"?"+url.Values{"filter": {filter}}.Encode()), http.StatusBadRequest, "GROUPS-3", "?filter")
	fails(t, s.Post(base+"/actions/filter", object{"filter": filter}), http.StatusBadRequest, "GROUPS-3", "/filter")
}

func TestFilters(t *testing.T) {
	root := servertest.Start(t)
	s := tenant(root, "Filters")
	reader := s.Post("/api/v2/security/roles", object{"name": "Task Reader", "permissions": object{"tasks": object{"view": true}}, "isActive": true, "allProjects": true}).Is(http.StatusCreated)
	require.NotEmpty(t, reader.ID())
	made := map[string]string{}
	for _, name := range []string{"Alpha", "alpha", "Beta Sales", "beta", "100%_sure", "Ünïcode \"q\" \\ 日本"} {
		body := object{"name": name}
		if strings.EqualFold(name, "alpha") {
			body["assignedRoles"] = list{object{"name": "Task Reader"}}
		}
		made[name] = create(s, body).ID
	}
	s.Put("/api/v2/groups/"+longID(t, made["beta"]), object{"name": "beta", "isActive": false}).Is(http.StatusOK)
	all := read(s, url.Values{"sort": {"name"}}).Data
	require.Len(t, all, 6)
	one := all[slices.IndexFunc(all, func(g group) bool { return g.Name == "alpha" })]
	first, last := all[0].CreatedAt, all[0].CreatedAt
	for _, g := range all {
		if g.CreatedAt.Before(first) {
			first = g.CreatedAt
		}
		if g.LastUpdatedAt.After(last) {
			last = g.LastUpdatedAt
		}
	}
	roleID := (*one.AssignedRoles)[0].ID
	stamp := func(at time.Time) string { return at.Format(time.RFC3339) }
	lower := func(g group) string { return strings.ToLower(g.Name) }
	alphas := func(g group) bool { return lower(g) == "alpha" }
	none := func(group) bool { return false }
	every := func(group) bool { return true }
	not := func(f func(group) bool) func(group) bool { return func(g group) bool { return !f(g) } }
	disabled := func(g group) bool { return g.Status == "disabled" }

	for filter, want := range map[string]func(group) bool{
		``:                       every,
		`  `:                     every,
		`id eq "` + one.ID + `"`: func(g group) bool { return g.ID == one.ID },
		`ID EQ "` + strings.ToUpper(one.ID) + `"`: func(g group) bool { return g.ID == one.ID },
		`id ne "` + one.ID + `"`:                  func(g group) bool { return g.ID != one.ID },
		`id eq "nobody"`:                          none,
		`id ne "nobody"`:                          every,
		`id pr`:                                   every,
		`name eq "ALPHA"`:                         alphas,
		`Name Eq "alphA"`:                         alphas,
		`name ne "alpha"`:                         not(alphas),
		`name co "SALES"`:                         func(g group) bool { return strings.Contains(lower(g), "sales") },
		`name co "%_"`:                            func(g group) bool { return g.Name == "100%_sure" },
		`name sw "bEtA"`:                          func(g group) bool { return strings.HasPrefix(lower(g), "beta") },
		`name ew "A"`:                             func(g group) bool { return strings.HasSuffix(lower(g), "a") },
		`name eq "üNÏCODE \"Q\" \\ \u65e5本"`:      func(g group) bool { return strings.HasPrefix(g.Name, "Ü") },
		`name pr`:                                 every,
		`name eq ""`:                              none,
		`name eq null`:                            none,
		`name ne null`:                            every,
		`status eq "disabled"`:                    disabled,
		`status eq "ACTIVE"`:                      not(disabled),
		`status ne "active"`:                      disabled,
		`status co "tiv"`:                         not(disabled),
		`status sw "dis"`:                         disabled,
		`status ew "ed"`:                          disabled,
		`status eq "deleted"`:                     none,
		`status ne "deleted"`:                     every,
		`status pr`:                               every,
		`createdAt eq "` + stamp(first) + `"`:     func(g group) bool { return g.CreatedAt.Equal(first) },
		`createdAt ne "` + stamp(first) + `"`:     func(g group) bool { return !g.CreatedAt.Equal(first) },
		`createdAt gt "` + stamp(first) + `"`:     func(g group) bool { return g.CreatedAt.After(first) },
		`createdAt ge "` + stamp(first) + `"`:     every,
		`createdAt lt "` + stamp(first) + `"`:     none,
		`createdAt le "` + stamp(first) + `"`:     func(g group) bool { return g.CreatedAt.Equal(first) },
		`createdAt lt "` + stamp(first.AddDate(0, 0, 1)) + `" and lastUpdatedAt gt "` + stamp(first.AddDate(0, 0, -1)) + `"`: every,
		`createdAt ge "` + stamp(first.AddDate(0, 0, 1)) + `" or lastUpdatedAt le "` + stamp(first.AddDate(0, 0, -1)) + `"`:  none,
		`createdAt pr`:                                                        every,
		`lastUpdatedAt eq "` + stamp(last) + `"`:                              func(g group) bool { return g.LastUpdatedAt.Equal(last) },
		`lastUpdatedAt ne "` + stamp(last) + `"`:                              func(g group) bool { return !g.LastUpdatedAt.Equal(last) },
		`lastUpdatedAt gt "` + stamp(last) + `"`:                              none,
		`lastUpdatedAt ge "` + stamp(last) + `"`:                              func(g group) bool { return g.LastUpdatedAt.Equal(last) },
		`lastUpdatedAt lt "` + stamp(last) + `"`:                              func(g group) bool { return g.LastUpdatedAt.Before(last) },
		`lastUpdatedAt le "` + stamp(last.In(time.FixedZone("", 3600))) + `"`: every,
		`lastUpdatedAt pr`:                                                    every,
		`assignedRoles.id eq "` + roleID + `"`:                                alphas,
		`assignedRoles.id ne "` + roleID + `"`:                                not(alphas),
		`assignedRoles.id pr`:                                                 alphas,
		`assignedRoles.name eq "task READER"`:                                 alphas,
		`assignedRoles.name ne "task reader"`:                                 not(alphas),
		`assignedRoles.name co "sk r"`:                                        alphas,
		`assignedRoles.name sw "TASK"`:                                        alphas,
		`assignedroles.NAME ew "reader"`:                                      alphas,
		`assignedRoles.name pr`:                                               alphas,
		`not (assignedRoles.name pr)`:                                         not(alphas),

		`name eq "alpha" and status eq "active" or status eq "disabled"`:     func(g group) bool { return alphas(g) || disabled(g) },
		`name eq "alpha" and (status eq "disabled" or name co "sales")`:      none,
		`status eq "disabled" OR name eq "alpha" AND id eq "` + one.ID + `"`: func(g group) bool { return disabled(g) || g.ID == one.ID },
		`not (name eq "alpha" or status eq "disabled")`:                      func(g group) bool { return !alphas(g) && !disabled(g) },
		`NOT(name eq "alpha") and not (not (status eq "disabled"))`:          disabled,
		`((name eq "alpha"))`: alphas,
	} {
		names := []string{}
		for _, g := range all {
			if want(g) {
				names = append(names, g.Name)
			}
		}
		require.Equal(t, names, both(t, s, filter), filter)
	}

	t.Run("operators of each attribute", func(t *testing.T) {
		text, equal, order := "eq ne co sw ew pr", "eq ne pr", "eq ne gt ge lt le pr"
		for attribute, offered := range map[string]string{"id": equal, "name": text, "status": text, "createdAt": order, "lastUpdatedAt": order,
			"assignedRoles.id": equal, "assignedRoles.name": text} {
			for _, op := range strings.Fields("eq ne co sw ew pr gt ge lt le") {
				filter := fmt.Sprintf(`%s %s "2024-01-01T00:00:00Z"`, attribute, op)
				if op == "pr" {
					filter = attribute + " pr"
				}
				if slices.Contains(strings.Fields(offered), op) {
					both(t, s, filter)
				} else {
					refused(t, s, filter)
				}
			}
		}
	})
	t.Run("links keep a semicolon", func(t *testing.T) {
		var p page
		s.Get(base + `?limit=1&filter=name+ne+"a;b"`).Is(http.StatusOK).JSON(&p)
		require.NotEmpty(t, follow(s, p.Links.Next).Data)
	})
	t.Run("refused", func(t *testing.T) {
		for _, filter := range []string{`colour eq "red"`, `tenantId eq "x"`, `links.self eq "x"`, `assignedRoles eq "x"`, `assignedRoles[name eq "x"]`, `active eq true`,
			`name (sorted) eq "a"`, `name like "a"`, `name eq 'a'`, `name eq a`, `name eq 5`, `name eq`, `name`, `(name eq "a"`, `name eq "a")`, `not name eq "a"`, `and`,
			`name eq "a" and`, `name eq "\x"`, `createdAt gt "yesterday"`, `createdAt eq 5`, `name eq "a" name eq "b"`, `urn:x:name eq "a"`,
			strings.Repeat("(", 33) + `name eq "a"` + strings.Repeat(")", 33), `name eq "` + strings.Repeat("x", 8<<10) + `"`, "name eq \"\x00\""} {
			refused(t, s, filter)
		}
		fails(t, s.Get(base+`?filter=name+eq+"50%"`), http.StatusBadRequest, "GROUPS-3", "?filter")
		fails(t, s.Post(base+"/actions/filter", `{"filter":5}`), http.StatusBadRequest, "GROUPS-3", "/filter")
		fails(t, s.Post(base+"/actions/filter", `[]`), http.StatusBadRequest, "GROUPS-1", "")
		fails(t, s.Post(base+"/actions/filter", `{"filter":`), http.StatusBadRequest, "GROUPS-1", "")
	})
	t.Run("a hundred ids", func(t *testing.T) {
		ids := make([]string, 101)
		for i := range ids {
			ids[i] = fmt.Sprintf(`id eq "%024x"`, i+1000)
		}
		ids[7] = `id eq "` + one.ID + `"`
		require.Equal(t, []string{"alpha"}, both(t, s, strings.Join(ids[:100], " or ")))
		refused(t, s, strings.Join(ids, " or "))
		many := strings.Repeat(`name eq "a" or `, 200)
		refused(t, s, many+`name eq "a"`)
		require.Empty(t, both(t, s, strings.TrimSuffix(many, " or ")))
	})
	t.Run("without a body the action finds all", func(t *testing.T) {
		for _, body := range []any{nil, "{}", `{"filter":null}`, `{"filter":"","unknown":1}`} {
			var p page
			s.Do(http.MethodPost, base+"/actions/filter", body).Is(http.StatusOK).JSON(&p)
			require.Len(t, p.Data, 6)
			require.Nil(t, p.TotalResults)
		}
	})
	t.Run("roles are for those who may see them", func(t *testing.T) {
		blind := root.Member(uuid.MustParse(one.TenantID).String(), "groups.view")
		var g group
		blind.Get(base + "/" + one.ID).Is(http.StatusOK).JSON(&g)
		require.Nil(t, g.AssignedRoles)
		for _, g := range read(blind, nil).Data {
			require.Nil(t, g.AssignedRoles)
		}
		refused(t, blind, `assignedRoles.name eq "Task Reader"`)
		refused(t, blind, `assignedRoles.id pr`)
		require.Equal(t, []string{"Alpha", "alpha"}, both(t, blind, `name eq "alpha"`))
		s.Get(base + "/" + one.ID).Is(http.StatusOK).JSON(&g)
		require.Equal(t, &[]role{{ID: roleID, Name: "Task Reader", Type: "custom", Level: "user"}}, g.AssignedRoles)
		for _, g := range all {
			require.NotNil(t, g.AssignedRoles, "a group without roles shows an empty list")
		}
	})
}
