package qlik_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"docket/cmd/server/servertest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// follow reads the page behind a link.
func follow(s *servertest.Server, l *link) (p page) {
	s.Get(l.Href).Is(http.StatusOK).JSON(&p)
	return p
}

func TestLists(t *testing.T) {
	root := servertest.Start(t)
	s := tenant(root, "Lists")
	const n = 23
	for i := range n {
		// In no order of names; two names differ by case only.
		create(s, object{"name": fmt.Sprintf("%c %d", "bBaäZ"[i%4], i*7%n/2)})
	}
	for _, g := range read(s, url.Values{"limit": {"5"}, "sort": {"-name"}}).Data {
		s.Put("/api/v2/groups/"+longID(t, g.ID), object{"name": g.Name, "isActive": false}).Is(http.StatusOK)
	}
	whole := read(s, url.Values{"limit": {"100"}})
	require.Len(t, whole.Data, n)

	t.Run("orders", func(t *testing.T) {
		by := map[string]func(a, b group) int{
			"id":            func(a, b group) int { return cmp.Compare(a.ID, b.ID) },
			"name":          func(a, b group) int { return cmp.Compare(a.Name, b.Name) },
			"status":        func(a, b group) int { return cmp.Compare(a.Status, b.Status) },
			"createdAt":     func(a, b group) int { return a.CreatedAt.Compare(b.CreatedAt) },
			"lastUpdatedAt": func(a, b group) int { return a.LastUpdatedAt.Compare(b.LastUpdatedAt) },
		}
		require.True(t, slices.IsSortedFunc(whole.Data, by["id"]), "by id unless asked otherwise")
		for field, compare := range by {
			up := read(s, url.Values{"sort": {field}, "limit": {"100"}})
			require.True(t, slices.IsSortedFunc(up.Data, compare), field)
			require.ElementsMatch(t, whole.Data, up.Data)
			require.Equal(t, up.Data, read(s, url.Values{"sort": {"+" + field}, "limit": {"100"}}).Data)
			var raw page // a + that is not encoded is a blank
			s.Get(base + "?limit=100&sort=+" + field).Is(http.StatusOK).JSON(&raw)
			require.Equal(t, up.Data, raw.Data)
			down := read(s, url.Values{"sort": {"-" + field}, "limit": {"100"}})
			slices.Reverse(down.Data)
			require.Equal(t, up.Data, down.Data)
		}
	})

	t.Run("cursors lead forth and back", func(t *testing.T) {
		for _, sort := range []string{"", "id", "-id", "name", "+name", "-name", "status", "-status", "createdAt", "-createdAt", "lastUpdatedAt", "-lastUpdatedAt"} {
			query := url.Values{"limit": {"5"}, "filter": {`name pr and not (name eq "a b=c&d+e%")`}, "totalResults": {"true"}}
			if sort != "" {
				query.Set("sort", sort)
			}
			var forth, back []page
			p := read(s, query)
			require.Nil(t, p.Links.Prev, "before the first page there is none")
			for forth = append(forth, p); p.Links.Next != nil; forth = append(forth, p) {
				p = follow(s, p.Links.Next)
			}
			for back = append(back, p); p.Links.Prev != nil; back = append(back, p) {
				p = follow(s, p.Links.Prev)
			}
			slices.Reverse(back)
			require.Len(t, forth, 5, sort)
			require.Len(t, back, 5, sort)
			query.Set("limit", "100")
			all := read(s, query).Data
			for i := range forth {
				require.Equal(t, all[i*5:min(n, i*5+5)], forth[i].Data, sort)
				require.Equal(t, forth[i].Data, back[i].Data, sort)
				require.EqualValues(t, n, *forth[i].TotalResults)
			}
			require.Equal(t, forth[2].Data, follow(s, back[1].Links.Next).Data, "forth again after going back")
		}
	})

	t.Run("links", func(t *testing.T) {
		asked := base + "?totalResults=true&limit=5&sort=%2Bname&x=a+b&filter=name%20pr"
		var first page
		s.Get(asked).Is(http.StatusOK).JSON(&first)
		require.Equal(t, s.URL+asked, first.Links.Self.Href)
		next, err := url.Parse(first.Links.Next.Href)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(first.Links.Next.Href, s.URL+base+"?"))
		require.NotContains(t, next.RawQuery, "+", "some clients do not read + as a blank")
		values := next.Query()
		require.NotEmpty(t, values.Get("next"))
		values.Del("next")
		require.Equal(t, url.Values{"totalResults": {"true"}, "limit": {"5"}, "sort": {"+name"}, "x": {"a b"}, "filter": {"name pr"}}, values)
		second := follow(s, first.Links.Next)
		require.Equal(t, first.Links.Next.Href, second.Links.Self.Href)
		for _, l := range []*link{second.Links.Next, second.Links.Prev} {
			u, err := url.Parse(l.Href)
			require.NoError(t, err)
			require.Len(t, u.Query(), 6, "one cursor beside the others")
		}
		g := whole.Data[0]
		require.Equal(t, s.URL+base+"/"+g.ID, g.Links.Self.Href)
		require.Equal(t, s.URL+base, read(s, nil).Links.Self.Href[:len(s.URL+base)])

		var bare, prefixed page
		s.Get(base).Is(http.StatusOK).JSON(&bare)
		require.Equal(t, s.URL+base, bare.Links.Self.Href)
		require.Len(t, bare.Data, 20, "the default limit")
		s.Get("/qlik" + base + "?limit=1").Is(http.StatusOK).JSON(&prefixed)
		for _, href := range []string{prefixed.Links.Self.Href, prefixed.Links.Next.Href, prefixed.Data[0].Links.Self.Href} {
			require.True(t, strings.HasPrefix(href, s.URL+"/qlik"+base), href)
		}
		require.Len(t, follow(s, prefixed.Links.Next).Data, 1)
	})

	t.Run("the filter action", func(t *testing.T) {
		const action = base + "/actions/filter"
		body := object{"filter": `status eq "active"`}
		for _, sort := range []string{"", "?sort=name", "?sort=%2Bname", "?sort=-name"} {
			var all, p page
			s.Post(action+sort, body).Is(http.StatusOK).JSON(&p)
			want := read(s, url.Values{"limit": {"100"}, "sort": {cmp.Or(strings.TrimPrefix(strings.ReplaceAll(sort, "%2B", "+"), "?sort="), "name")}, "filter": {`status eq "active"`}})
			require.Equal(t, want.Data, p.Data)
			require.Equal(t, s.URL+action+sort, p.Links.Self.Href)
			s.Post(action+"?limit=4&"+strings.TrimPrefix(sort, "?"), body).Is(http.StatusOK).JSON(&p)
			all.Data = append(all.Data, p.Data...)
			for p.Links.Next != nil {
				require.True(t, strings.HasPrefix(p.Links.Next.Href, s.URL+action+"?"))
				href := p.Links.Next.Href
				p = page{}
				s.Post(href, body).Is(http.StatusOK).JSON(&p)
				require.NotNil(t, p.Links.Prev)
				all.Data = append(all.Data, p.Data...)
			}
			require.Equal(t, want.Data, all.Data)
			href := p.Links.Prev.Href
			p = page{}
			s.Post(href, body).Is(http.StatusOK).JSON(&p)
			require.Equal(t, all.Data[12:16], p.Data)
			fails(t, s.Post(href, object{"filter": `status eq "disabled"`}), http.StatusBadRequest, "GROUPS-6", "?prev")
		}
		fails(t, s.Post(action+"?sort=createdAt", body), http.StatusBadRequest, "GROUPS-6", "?sort")
	})

	t.Run("a deleted row at the cursor", func(t *testing.T) {
		gone := create(s, object{"name": "0"})
		query := url.Values{"sort": {"name"}, "limit": {"1"}}
		first := read(s, query)
		require.Equal(t, gone.ID, first.Data[0].ID)
		second := follow(s, first.Links.Next)
		s.Delete(base+"/"+gone.ID, nil).Is(http.StatusNoContent)
		require.Equal(t, second.Data, follow(s, first.Links.Next).Data)
		require.Empty(t, follow(s, second.Links.Prev).Data)
	})

	t.Run("refused", func(t *testing.T) {
		sorted := read(s, url.Values{"sort": {"name"}, "limit": {"2"}, "filter": {"name pr"}})
		u, err := url.Parse(sorted.Links.Next.Href)
		require.NoError(t, err)
		cursor := u.Query().Get("next")
		s.Get(base + "?limit=7&sort=name&filter=name+pr&next=" + cursor).Is(http.StatusOK)
		for query, place := range map[string]string{
			"sort=-name&filter=name+pr&next=" + cursor:                         "?next",
			"sort=id&filter=name+pr&prev=" + cursor:                            "?prev",
			"sort=name&next=" + cursor:                                         "?next",
			"sort=name&filter=id+pr&next=" + cursor:                            "?next",
			"next=" + cursor:                                                   "?next",
			"next=FgAAAAdfaWQAYF33ydumcVj1cawoAA":                              "?next",
			"prev=%00":                                                         "?prev",
			"next=" + cursor + "&prev=" + cursor + "&sort=name&filter=name+pr": "?next",
			"limit=0":                             "?limit",
			"limit=101":                           "?limit",
			"limit=-1":                            "?limit",
			"limit=many":                          "?limit",
			"limit=1.5":                           "?limit",
			"sort=colour":                         "?sort",
			"sort=%2B":                            "?sort",
			"sort=--name":                         "?sort",
			"sort=name,id":                        "?sort",
			"sort=name+(sorted)":                  "?sort",
			"limit=5%":                            "?limit",
			"totalResults=maybe":                  "?totalResults",
			"systemGroups=maybe":                  "?systemGroups",
			"systemGroups=true&limit=5":           "?systemGroups",
			"systemGroups=true&totalResults=true": "?systemGroups",
		} {
			fails(t, s.Get(base+"?"+query), http.StatusBadRequest, "GROUPS-6", place)
		}
		s.Get(base + "?limit=100").Is(http.StatusOK)
		s.Get(base + "?limit=1").Is(http.StatusOK)
	})

	t.Run("totals", func(t *testing.T) {
		require.Nil(t, read(s, nil).TotalResults)
		require.Nil(t, read(s, url.Values{"totalResults": {"false"}}).TotalResults)
		for filter, want := range map[string]int64{"": n, "name pr": n, `status eq "disabled"`: 5, `status eq "deleted"`: 0} {
			p := read(s, url.Values{"totalResults": {"true"}, "limit": {"1"}, "filter": {filter}})
			require.Equal(t, want, *p.TotalResults, filter)
		}
	})

	t.Run("system groups", func(t *testing.T) {
		var p page
		s.Get(base + "?systemGroups=true").Is(http.StatusOK).JSON(&p)
		require.Len(t, p.Data, 1)
		everyone := p.Data[0]
		require.Equal(t, "000000000000000000000001", everyone.ID)
		require.Equal(t, "com.qlik.Everyone", everyone.Name)
		require.Equal(t, "active", everyone.Status)
		require.Equal(t, whole.Data[0].TenantID, everyone.TenantID)
		require.Equal(t, &[]role{}, everyone.AssignedRoles)
		require.False(t, everyone.CreatedAt.IsZero())
		require.Equal(t, s.URL+base+"?systemGroups=true", p.Links.Self.Href)
		require.Nil(t, p.Links.Next)
		s.Get(base + "?systemGroups=false&limit=1").Is(http.StatusOK).JSON(&p)
		require.NotEqual(t, everyone.ID, p.Data[0].ID)
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			fails(t, s.Do(method, base+"/"+everyone.ID, nil), http.StatusNotFound, "GROUPS-7", "")
		}
		fails(t, s.Patch(base+"/"+everyone.ID, list{}), http.StatusNotFound, "GROUPS-7", "")
	})

	t.Run("a tenant is one organization", func(t *testing.T) {
		child := s.As(s.Key)
		parent := uuid.MustParse(whole.Data[0].TenantID).String()
		above := root.Member(parent, "organizations.create", "organizations.view", "groups.view", "groups.create", "groups.edit", "groups.delete", "roles.create", "users.create", "apiKeys.manageAll", "roles.view")
		below := above.Organization("Below")
		g := above.Post("/api/v2/groups", object{"name": "below", "organizationId": below}).Is(http.StatusCreated)
		short := shortID(t, g.ID())
		for _, who := range []*servertest.Server{child, above, root} {
			fails(t, who.Get(base+"/"+short), http.StatusNotFound, "GROUPS-7", "")
			fails(t, who.Patch(base+"/"+short, list{}), http.StatusNotFound, "GROUPS-7", "")
			fails(t, who.Delete(base+"/"+short, nil), http.StatusNotFound, "GROUPS-7", "")
			require.Empty(t, read(who, url.Values{"filter": {`name eq "below"`}}).Data)
		}
		inside := root.Member(below, "groups.view")
		require.Equal(t, []string{"below"}, read(inside, nil).names())
		inside.Get(base + "/" + short).Is(http.StatusOK)
	})
}
