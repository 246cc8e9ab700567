package qlik_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"
	"docket/internal/idempotency"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestGroups(t *testing.T) {
	var postgres string
	root := servertest.Start(t, func(c *config.Config) { postgres = c.PostgresURL })
	s := newTenant(t, root, "Groups")

	t.Run("create", func(t *testing.T) {
		answer := s.Post(base, object{"name": "Development", "status": "active", "assignedRoles": named("A"), "description": "later edition", "providerType": "custom"}).Is(http.StatusCreated)
		var g group
		answer.JSON(&g)
		require.Regexp(t, "^[0-9a-f]{24}$", g.ID)
		require.Equal(t, object{
			"id": g.ID, "name": "Development", "status": "active", "tenantId": strings.ReplaceAll(s.id, "-", ""),
			"createdAt": g.CreatedAt.Format(time.RFC3339), "lastUpdatedAt": g.CreatedAt.Format(time.RFC3339),
			"links":         object{"self": object{"href": s.URL + base + "/" + g.ID}},
			"assignedRoles": list{object{"id": s.roles["A"], "name": "A", "type": "custom", "level": "user"}},
		}, answer.Map(), "no more and no less")
		require.WithinDuration(t, time.Now(), g.CreatedAt, time.Hour)
		require.JSONEq(t, string(answer.Body), string(s.Get(base+"/"+g.ID).Is(http.StatusOK).Body))
		var prefixed group
		s.Post("/qlik"+base, object{"name": "Prefixed", "status": ""}, "Accept", "text/html").Is(http.StatusCreated).JSON(&prefixed)
		require.Equal(t, "active", prefixed.Status)
	})

	t.Run("roles", func(t *testing.T) {
		for i, refs := range []list{named("C", "A", "B"), s.numbered("B", "C", "A"), named("A", "C", "A", "b", "C", " a "), s.numbered("A", "A", "B", "C", "B")} {
			g := s.create(object{"name": fmt.Sprintf("Roles %d", i), "assignedRoles": refs})
			require.Equal(t, []string{"A", "B", "C"}, g.roles())
		}
		require.Empty(t, s.create(object{"name": "No roles", "assignedRoles": list{}}).AssignedRoles)
		var g group
		root.Post(base, object{"name": "With a system role", "assignedRoles": named("administrators")}).Is(http.StatusCreated).JSON(&g)
		require.Equal(t, []role{{ID: "000000000000000000000031", Name: "Administrators", Type: "default", Level: "admin"}}, g.AssignedRoles)
	})

	t.Run("roles of the same name", func(t *testing.T) {
		own := s.Post("/api/v2/security/roles", object{"name": "Users", "allProjects": true, "isActive": true, "permissions": object{"tasks": object{"view": true}}}).Is(http.StatusCreated).ID()
		g := s.create(object{"name": "Own before default", "assignedRoles": named("Users")})
		require.Equal(t, short(t, own), g.AssignedRoles[0].ID)
		fails(t, s.Post(base, object{"name": "x", "assignedRoles": named("Foreign")}), http.StatusBadRequest, problem{"GROUPS-5", "/assignedRoles/0/name"})
		other := newTenant(t, root, "Other roles")
		fails(t, s.Post(base, object{"name": "x", "assignedRoles": other.numbered("A")}), http.StatusBadRequest, problem{"GROUPS-5", "/assignedRoles/0/id"})
	})

	t.Run("refused", func(t *testing.T) {
		before := s.count()
		many := slices.Repeat(s.numbered("A"), 101)
		value, unknown, body := "GROUPS-2", "GROUPS-5", "GROUPS-1"
		nobody := strings.Repeat("f", 24)
		for _, c := range []struct {
			body   any
			status int
			want   []problem
		}{
			{nil, 400, []problem{{body, ""}}},
			{"", 400, []problem{{body, ""}}},
			{"{", 400, []problem{{body, ""}}},
			{"{} {}", 400, []problem{{body, ""}}},
			{"[]", 400, []problem{{body, ""}}},
			{"null", 400, []problem{{body, ""}}},
			{object{}, 400, []problem{{value, "/name"}}},
			{object{"name": ""}, 400, []problem{{value, "/name"}}},
			{object{"name": "  "}, 400, []problem{{value, "/name"}}},
			{object{"name": nil}, 400, []problem{{value, "/name"}}},
			{object{"name": 5}, 400, []problem{{value, "/name"}}},
			{object{"name": "a\x00b"}, 400, []problem{{value, "/name"}}},
			{`{"name":"a","name":"b"}`, 400, []problem{{value, "/name"}}},
			{object{"name": strings.Repeat("日", 257)}, 400, []problem{{value, "/name"}}},
			{object{"name": "x", "status": "disabled"}, 400, []problem{{value, "/status"}}},
			{object{"name": "x", "status": "ACTIVE"}, 400, []problem{{value, "/status"}}},
			{object{"name": "x", "assignedRoles": "A"}, 400, []problem{{value, "/assignedRoles"}}},
			{object{"name": "x", "assignedRoles": list{"A"}}, 400, []problem{{value, "/assignedRoles/0"}}},
			{object{"name": "x", "assignedRoles": list{object{"id": 5}}}, 400, []problem{{value, "/assignedRoles/0/id"}}},
			{object{"name": "x", "assignedRoles": list{object{}}}, 400, []problem{{value, "/assignedRoles/0"}}},
			{object{"name": "x", "assignedRoles": list{object{"id": s.roles["A"], "name": "A"}}}, 400, []problem{{value, "/assignedRoles/0"}}},
			{object{"name": "x", "assignedRoles": append(named("A"), s.numbered("A")...)}, 400, []problem{{value, "/assignedRoles"}}},
			{object{"name": "x", "assignedRoles": many}, 400, []problem{{value, "/assignedRoles"}}},
			{object{"name": "x", "assignedRoles": named("A", "nobody", "a\x00b")}, 400, []problem{{unknown, "/assignedRoles/1/name"}, {unknown, "/assignedRoles/2/name"}}},
			{object{"name": "x", "assignedRoles": list{object{"id": "A"}}}, 400, []problem{{unknown, "/assignedRoles/0/id"}}},
			{object{"name": "x", "assignedRoles": list{object{"id": s.roles["A"]}, object{"id": s.roles["A"]}, object{"id": nobody}}}, 400, []problem{{unknown, "/assignedRoles/2/id"}}},
			{object{"name": "a\tb", "assignedRoles": list{object{"id": nobody}}}, 400, []problem{{value, "/name"}, {unknown, "/assignedRoles/0/id"}}},
			{object{"name": "x", "assignedRoles": s.numbered("A", "Chief")}, 403, []problem{{"GROUPS-10", "/assignedRoles/1/id"}}},
			{object{"name": "x", "assignedRoles": named("chief")}, 403, []problem{{"GROUPS-10", "/assignedRoles/0/name"}}},
			{`{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 413, []problem{{"HTTP-413", ""}}},
			{object{"name": "Development"}, 409, []problem{{"GROUPS-8", "/name"}}},
		} {
			fails(t, s.Post(base, c.body), c.status, c.want...)
		}
		fails(t, s.Post(base, "name=x", "Content-Type", "application/x-www-form-urlencoded"), 415, problem{"HTTP-415", ""})
		require.Equal(t, before, s.count())
		s.create(object{"name": strings.Repeat("日", 256), "assignedRoles": many[:100]})
	})

	t.Run("names", func(t *testing.T) {
		first := s.create(object{"name": "Dev"})
		s.create(object{"name": "dev"})
		taken := problem{"GROUPS-8", "/name"}
		for _, name := range []string{"Dev", " Dev ", "dev"} {
			fails(t, s.Post(base, object{"name": name}), http.StatusConflict, taken)
		}
		elsewhere := newTenant(t, root, "Elsewhere")
		elsewhere.create(object{"name": "Dev"})
		s.Delete(base+"/"+first.ID, nil).Is(http.StatusNoContent)
		again := s.create(object{"name": "Dev"})
		require.NotEqual(t, first.ID, again.ID)
		for range 2 {
			fails(t, s.Get(base+"/"+first.ID), http.StatusNotFound, problem{Code: "GROUPS-7"})
			fails(t, s.Delete(base+"/"+first.ID, nil), http.StatusNotFound, problem{Code: "GROUPS-7"})
			fails(t, s.Patch(base+"/"+first.ID, list{replace("/assignedRoles", list{})}), http.StatusNotFound, problem{Code: "GROUPS-7"})
		}
		require.Equal(t, "Dev", s.group(again.ID).Name)
	})

	t.Run("the same group in the other API", func(t *testing.T) {
		g := s.create(object{"name": "Shared"})
		at := "/api/v2/groups/" + long(t, g.ID)
		require.Equal(t, "Shared", s.Get(at).Is(http.StatusOK).Map()["data"].(object)["name"])
		s.Put(at, object{"name": "Shared more", "isActive": false}).Is(http.StatusOK)
		require.Equal(t, "disabled", s.group(g.ID).Status)
		require.Equal(t, "Shared more", s.group(g.ID).Name)
		fails(t, s.Post(base, object{"name": "Shared more"}), http.StatusConflict, problem{"GROUPS-8", "/name"})
		s.Put(at, object{"name": "Shared more", "isActive": true}).Is(http.StatusOK)
		require.Equal(t, "active", s.group(g.ID).Status)
		other := s.Post("/api/v2/groups", object{"name": "From there", "isActive": false}).Is(http.StatusCreated).ID()
		require.Equal(t, "disabled", s.group(short(t, other)).Status)
	})

	t.Run("patch", func(t *testing.T) {
		g := s.create(object{"name": "Patched", "assignedRoles": named("A")})
		at := base + "/" + g.ID
		for _, c := range []struct {
			patch any
			want  []string
		}{
			{list{replace("/assignedRoles", named("B"))}, []string{"B"}},
			{list{replace("assignedRoles", s.numbered("C", "A", "C"))}, []string{"A", "C"}},
			{list{}, []string{"A", "C"}},
			{list{replace("/assignedRoles", s.numbered("A")), replace("assignedRoles", named("B"))}, []string{"B"}},
			{list{object{"op": "replace", "path": "/assignedRoles", "value": list{object{"name": "A", "level": "admin"}}, "from": "/x", "comment": 5}}, []string{"A"}},
			{list{replace("/assignedRoles", list{})}, []string{}},
			{list{replace("/assignedRoles", slices.Repeat(s.numbered("B"), 100))}, []string{"B"}},
		} {
			answer := s.Patch(at, c.patch).Is(http.StatusNoContent)
			require.Empty(t, answer.Body)
			require.Equal(t, c.want, s.group(g.ID).roles())
		}
		for _, contentType := range []string{"application/json-patch+json", "application/json; charset=utf-8", "text/plain"} {
			s.Patch(at, list{replace("/assignedRoles", named("C"))}, "Content-Type", contentType).Is(http.StatusNoContent)
		}
		before := s.group(g.ID)
		require.Equal(t, []string{"C"}, before.roles())
		good := replace("/assignedRoles", named("A"))
		patch := "GROUPS-4"
		for _, c := range []struct {
			patch  any
			status int
			want   []problem
		}{
			{"", 400, []problem{{"GROUPS-1", ""}}},
			{"[", 400, []problem{{"GROUPS-1", ""}}},
			{"{}", 400, []problem{{patch, ""}}},
			{"null", 400, []problem{{patch, ""}}},
			{list{5}, 400, []problem{{patch, "/0"}}},
			{list{good, object{}}, 400, []problem{{patch, "/1/op"}, {patch, "/1/path"}}},
			{list{object{"op": "replace", "path": "/assignedRoles"}}, 400, []problem{{patch, "/0/value"}}},
			{list{replace("/assignedRoles", nil)}, 400, []problem{{patch, "/0/value"}}},
			{list{replace("/assignedRoles", "A")}, 400, []problem{{patch, "/0/value"}}},
			{list{replace("/assignedRoles", object{"name": "A"})}, 400, []problem{{patch, "/0/value"}}},
			{list{replace("/assignedRoles", list{"A"})}, 400, []problem{{patch, "/0/value"}}},
			{list{replace("/assignedRoles", list{nil})}, 400, []problem{{patch, "/0/value/0"}}},
			{list{replace("/assignedRoles", append(named("A"), s.numbered("A")...))}, 400, []problem{{patch, "/0/value"}}},
			{list{replace("/assignedRoles", slices.Repeat(named("A"), 101))}, 400, []problem{{patch, "/0/value"}}},
			{list{replace("/assignedRoles", list{object{"name": "A", "id": s.roles["A"]}})}, 400, []problem{{patch, "/0/value/0"}}},
			{list{object{"op": "add", "path": "/assignedRoles", "value": named("A")}}, 400, []problem{{patch, "/0/op"}}},
			{list{object{"op": "Replace", "path": "/assignedRoles", "value": named("A")}}, 400, []problem{{patch, "/0/op"}}},
			{list{object{"op": "remove", "path": "/assignedRoles"}}, 400, []problem{{patch, "/0/op"}}},
			{list{good, replace("/name", "x")}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("/assignedRoles/0", named("A"))}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("//assignedRoles", named("A"))}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("", named("A"))}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("/AssignedRoles", named("A"))}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("/assignedRoles", named("nobody"))}, 400, []problem{{"GROUPS-5", "/1/value/0/name"}}},
			{list{replace("/assignedRoles", named("nobody")), good}, 400, []problem{{"GROUPS-5", "/0/value/0/name"}}},
			{list{replace("/assignedRoles", list{object{"id": strings.Repeat("e", 24)}}), good}, 400, []problem{{"GROUPS-5", "/0/value/0/id"}}},
			{list{good, replace("/assignedRoles", list{object{"id": s.roles["B"]}, object{"id": strings.Repeat("e", 24)}})}, 400, []problem{{"GROUPS-5", "/1/value/1/id"}}},
			{list{good, replace("/assignedRoles", s.numbered("A", "A", "Chief"))}, 403, []problem{{"GROUPS-10", "/1/value/2/id"}}},
			{slices.Repeat(list{good}, 101), 400, []problem{{patch, ""}}},
		} {
			fails(t, s.Patch(at, c.patch), c.status, c.want...)
		}
		require.Equal(t, before, s.group(g.ID), "all or nothing")
	})

	t.Run("an empty patch is no change", func(t *testing.T) {
		g := s.create(object{"name": "Unpatched", "assignedRoles": named("A")})
		events := "/admin/v1/streams/group-" + long(t, g.ID) + "/events"
		for _, patch := range []any{list{}, list{replace("/assignedRoles", named("A"))}} {
			s.Patch(base+"/"+g.ID, patch).Is(http.StatusNoContent)
		}
		require.Len(t, root.Get(events).Is(http.StatusOK).Map()["items"], 1)
		require.Equal(t, g, s.group(g.ID))
	})

	t.Run("a role that is deleted", func(t *testing.T) {
		doomed := s.Post("/api/v2/security/roles", object{"name": "Doomed", "allProjects": true, "isActive": true, "permissions": object{}}).Is(http.StatusCreated).ID()
		g := s.create(object{"name": "Of the doomed", "assignedRoles": named("Doomed", "A")})
		s.Delete("/api/v2/security/roles/"+doomed, nil).Is(http.StatusOK)
		require.Equal(t, []string{"A"}, s.group(g.ID).roles())
		fails(t, s.Patch(base+"/"+g.ID, list{replace("/assignedRoles", named("Doomed"))}), 400, problem{"GROUPS-5", "/0/value/0/name"})
		fails(t, s.Patch(base+"/"+g.ID, list{replace("/assignedRoles", list{object{"id": short(t, doomed)}})}), 400, problem{"GROUPS-5", "/0/value/0/id"})
	})

	t.Run("idempotency key", func(t *testing.T) {
		key := []string{"Idempotency-Key", uuid.NewString()}
		first := s.Post(base, object{"name": "Once"}, key...).Is(http.StatusCreated)
		second := s.Post(base, object{"name": "Once"}, key...).Is(http.StatusCreated)
		require.Equal(t, first.Body, second.Body)
		require.Equal(t, "true", second.Header.Get(idempotency.ReplayedHeader))
		fails(t, s.Post(base, object{"name": "Twice"}, key...), http.StatusUnprocessableEntity, problem{Code: "HTTP-422"})
		fails(t, s.Post(base, object{"name": "Twice"}, "Idempotency-Key", "a b"), http.StatusBadRequest, problem{Code: "GROUPS-2"})
		key[1] = uuid.NewString()
		id := first.Map()["id"].(string)
		s.Delete(base+"/"+id, nil, key...).Is(http.StatusNoContent)
		s.Delete(base+"/"+id, nil, key...).Is(http.StatusNoContent)
	})

	t.Run("ten thousand groups", func(t *testing.T) {
		full := newTenant(t, root, "Full")
		db, err := pgx.Connect(t.Context(), postgres)
		require.NoError(t, err)
		defer db.Close(context.Background())
		// As if 9,999 groups were there: the limit is held against this count.
		_, err = db.Exec(t.Context(), `insert into rm_directory.counters values ('groups', $1, 9999)`, "organization_id="+full.id)
		require.NoError(t, err)
		last := full.create(object{"name": "The last"})
		fails(t, full.Post(base, object{"name": "One too many"}), http.StatusForbidden, problem{Code: "GROUPS-9"})
		full.Delete(base+"/"+last.ID, nil).Is(http.StatusNoContent)
		full.create(object{"name": "One too many"})
		s.create(object{"name": "Elsewhere there is room"})
	})
}
