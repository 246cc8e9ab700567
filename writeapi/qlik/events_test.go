package qlik_test

import (
	"net/http"
	"strings"
	"testing"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

// Every operation that changes something appends events that say who did it, by
// which command, in which request and through which API.
func TestEveryChangeIsAnEvent(t *testing.T) {
	root := servertest.Start(t)
	s := newTenant(t, root, "Events")
	g := s.create(object{"name": "Changed"})
	stream := "group-" + long(t, g.ID)
	requests := map[string]struct {
		stream string // "" for one that comes into being
		body   any
	}{
		"2": {"", object{"name": "Created", "assignedRoles": named("A")}},
		"4": {stream, list{replace("/assignedRoles", named("B"))}},
		"5": {stream, nil},
		"8": {"groupsettings-" + s.id, list{replace("/autoCreateGroups", true)}},
	}
	actor := s.Get("/api/v2/api-keys").Is(http.StatusOK).Map()["data"].(list)[0].(object)["user"].(object)["id"]
	for _, api := range s.APIs() {
		if api.Dialect().Name != "qlik" {
			continue
		}
		for _, op := range api.Operations() {
			if !op.Writes() {
				continue
			}
			request, ok := requests[op.ID]
			require.True(t, ok, "no request for operation %s: %s", op.ID, op.Summary)
			delete(requests, op.ID)
			from := 0
			if request.stream != "" {
				from = len(events(root, request.stream))
			}
			answer := s.Do(op.Method, strings.ReplaceAll(op.Full, "{groupId}", g.ID), request.body)
			require.Less(t, answer.Status, 300, "%s", answer.Body)
			if request.stream == "" {
				request.stream = "group-" + long(t, answer.Map()["id"].(string))
			}
			appended := events(root, request.stream)[from:]
			require.NotEmpty(t, appended, op.Summary)
			for _, e := range appended {
				e := e.(object)
				require.Equal(t, "qlik", e["dialect"], op.Summary)
				require.Equal(t, actor, e["actor"], op.Summary)
				require.Equal(t, s.id, e["tenant"], op.Summary)
				require.NotEmpty(t, e["apiKey"], op.Summary)
				require.Regexp(t, `^directory\.`, e["command"], op.Summary)
				require.NotEmpty(t, e["commandId"], op.Summary)
				require.NotEmpty(t, e["correlation"], op.Summary)
			}
		}
	}
	require.Empty(t, requests, "operations that are not registered")
}

func events(s *servertest.Server, stream string) list {
	answer := s.Get("/admin/v1/streams/" + stream + "/events")
	if answer.Status == http.StatusNotFound {
		return nil
	}
	return answer.Is(http.StatusOK).Map()["items"].(list)
}
