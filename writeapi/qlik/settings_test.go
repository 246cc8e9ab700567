package qlik_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestSettings(t *testing.T) {
	var postgres string
	root := servertest.Start(t, func(c *config.Config) { postgres = c.PostgresURL })
	s := newTenant(t, root, "Settings")
	everyonePath := "/systemGroups/" + everyoneID + "/assignedRoles"

	db, err := pgx.Connect(t.Context(), postgres)
	require.NoError(t, err)
	defer db.Close(context.Background())
	// An old organization: changes are told from its beginning.
	_, err = db.Exec(t.Context(), "update rm_directory.organizations set created_at = '2020-02-02 20:20:20.2Z' where id = $1", s.id)
	require.NoError(t, err)

	t.Run("before any change", func(t *testing.T) {
		created := "2020-02-02T20:20:20Z"
		require.Equal(t, object{
			"links": object{"self": object{"href": s.URL + settingsAt}}, "tenantId": strings.ReplaceAll(s.id, "-", ""), "syncIdpGroups": false, "autoCreateGroups": false,
			"systemGroups": object{everyoneID: object{"id": everyoneID, "name": "com.qlik.Everyone", "enabled": true, "createdAt": created, "lastUpdatedAt": created, "assignedRoles": list{}}},
		}, s.Get(settingsAt).Is(http.StatusOK).Map())
	})

	type state struct {
		auto, sync bool
		roles      []string
	}
	now := func() state {
		all := s.settings()
		return state{all.AutoCreateGroups, all.SyncIdpGroups, names(all.SystemGroups[everyoneID].AssignedRoles)}
	}

	t.Run("patches", func(t *testing.T) {
		for _, c := range []struct {
			patch list
			want  state
		}{
			{list{}, state{false, false, []string{}}},
			{list{replace("/autoCreateGroups", true)}, state{true, false, []string{}}},
			{list{replace("/syncIdpGroups", true), replace("/autoCreateGroups", false)}, state{false, true, []string{}}},
			{list{replace(everyonePath, named("B", "A", "B"))}, state{false, true, []string{"A", "B"}}},
			{list{replace(everyonePath, s.numbered("C")), replace("/autoCreateGroups", true), replace("/syncIdpGroups", false)}, state{true, false, []string{"C"}}},
			{list{replace("/autoCreateGroups", false), replace("/autoCreateGroups", true), replace(everyonePath, named("A")), replace(everyonePath, named("B"))}, state{true, false, []string{"B"}}},
			{list{object{"op": "replace", "path": "/autoCreateGroups", "value": true, "more": 1}}, state{true, false, []string{"B"}}},
		} {
			require.Empty(t, s.Patch(settingsAt, c.patch).Is(http.StatusNoContent).Body)
			require.Equal(t, c.want, now(), "%v", c.patch)
		}
		s.Patch(settingsAt, list{replace("/syncIdpGroups", true)}, "Content-Type", "application/json-patch+json").Is(http.StatusNoContent)
		require.True(t, s.settings().SyncIdpGroups)
		everyone := s.settings().SystemGroups[everyoneID]
		require.Equal(t, 2020, everyone.CreatedAt.Year())
		require.WithinDuration(t, time.Now(), everyone.LastUpdatedAt, time.Hour)
	})

	t.Run("refused", func(t *testing.T) {
		before := s.settings()
		good, patch := replace("/autoCreateGroups", false), "GROUPS-4"
		nobody := object{"id": strings.Repeat("e", 24)}
		for _, c := range []struct {
			patch  any
			status int
			want   []problem
		}{
			{"", 400, []problem{{"GROUPS-1", ""}}},
			{"[1", 400, []problem{{"GROUPS-1", ""}}},
			{object{"op": "replace"}, 400, []problem{{patch, ""}}},
			{list{good, object{"op": "replace", "path": "/autoCreateGroups"}}, 400, []problem{{patch, "/1/value"}}},
			{list{good, replace("/autoCreateGroups", "true")}, 400, []problem{{patch, "/1/value"}}},
			{list{good, replace("/syncIdpGroups", nil)}, 400, []problem{{patch, "/1/value"}}},
			{list{good, replace("/syncIdpGroups", list{})}, 400, []problem{{patch, "/1/value"}}},
			{list{good, object{"op": "test", "path": "/autoCreateGroups", "value": true}}, 400, []problem{{patch, "/1/op"}}},
			{list{good, replace("autoCreateGroups", true)}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("/tenantId", "x")}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("/systemGroups/"+everyoneID+"/enabled", false)}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace("/systemGroups/"+strings.Repeat("0", 23)+"2/assignedRoles", list{})}, 400, []problem{{patch, "/1/path"}}},
			{list{good, replace(everyonePath, true)}, 400, []problem{{patch, "/1/value"}}},
			{list{good, replace(everyonePath, slices.Repeat(named("A"), 101))}, 400, []problem{{patch, "/1/value"}}},
			{list{good, replace(everyonePath, append(named("A"), s.numbered("A")...))}, 400, []problem{{patch, "/1/value"}}},
			{list{good, replace(everyonePath, named("A", "nobody"))}, 400, []problem{{"GROUPS-5", "/1/value/1/name"}}},
			{list{good, replace(everyonePath, list{nobody})}, 400, []problem{{"GROUPS-5", "/1/value/0/id"}}},
			{list{good, replace(everyonePath, list{nobody}), replace(everyonePath, list{})}, 400, []problem{{"GROUPS-5", "/1/value/0/id"}}},
			{list{good, replace(everyonePath, named("Chief"))}, 403, []problem{{"GROUPS-10", "/1/value/0/name"}}},
			{slices.Repeat(list{good}, 101), 400, []problem{{patch, ""}}},
		} {
			fails(t, s.Patch(settingsAt, c.patch), c.status, c.want...)
		}
		require.Equal(t, before, s.settings(), "all or nothing")
	})

	t.Run("everyone shows them too", func(t *testing.T) {
		var p struct{ Data []group }
		s.Get(base + "?systemGroups=true").Is(http.StatusOK).JSON(&p)
		require.Equal(t, []string{"B"}, p.Data[0].roles())
		blind := root.Member(s.id, "groups.view")
		require.NotContains(t, string(blind.Get(settingsAt).Is(http.StatusOK).Body), "assignedRoles")
		require.NotContains(t, string(blind.Get(base+"?systemGroups=true").Is(http.StatusOK).Body), "assignedRoles")
		s.Patch(settingsAt, list{replace(everyonePath, list{})}).Is(http.StatusNoContent)
		require.Empty(t, s.settings().SystemGroups[everyoneID].AssignedRoles)
	})

	t.Run("of one tenant", func(t *testing.T) {
		other := newTenant(t, root, "Other settings")
		s.Patch(settingsAt, list{replace("/autoCreateGroups", true)}).Is(http.StatusNoContent)
		require.False(t, other.settings().AutoCreateGroups)
		require.Equal(t, strings.ReplaceAll(other.id, "-", ""), other.settings().TenantID)
	})

	t.Run("everyone's roles are everyone's rights", func(t *testing.T) {
		weak := root.Member(s.id)
		weak.Get("/api/v2/tasks").Is(http.StatusForbidden)
		s.Patch(settingsAt, list{replace(everyonePath, named("A"))}).Is(http.StatusNoContent)
		require.Eventually(t, func() bool { return weak.Get("/api/v2/tasks").Status == http.StatusOK }, 10*time.Second, 20*time.Millisecond)
	})
}
