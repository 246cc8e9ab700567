package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/eventstore"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Events that cannot be read are told of in the list of changes, and so is what
// comes after them.
func TestAuditOfPoison(t *testing.T) {
	s := servertest.Start(t)
	id := uuid.NewString()
	record := func(stream string, expect eventstore.Revision, kind, data, meta string) {
		_, err := s.EventStore().Append(t.Context(), stream, expect, []eventstore.Proposed{{ID: uuid.New(), Type: kind, Data: []byte(data),
			Meta: []byte(fmt.Sprintf(`{"tenant":%q,"schema":1,"n":1%s}`, servertest.GlobalID, meta))}})
		require.NoError(t, err)
	}
	type change struct {
		Action, Command, CommandID, Problem string
		Actor                               struct{ Name *string }
		Changes                             []struct {
			Field         string
			Before, After any
		}
	}
	await := func(stream string, n int) []change {
		var page struct{ Items []change }
		require.Eventually(t, func() bool {
			s.Get("/admin/v1/audit?aggregate=" + stream).Is(http.StatusOK).JSON(&page)
			return len(page.Items) == n
		}, 30*time.Second, 20*time.Millisecond)
		return page.Items
	}
	stream, nothing := "group-"+id, "nothing-"+id
	record(stream, eventstore.NoStream, "directory.group-created",
		fmt.Sprintf(`{"id":%q,"organizationId":%q,"name":"A","active":true,"createdAt":"2026-01-31T12:00:00Z"}`, id, servertest.GlobalID), "")
	record(stream, 0, "directory.group-details-changed", `{"id":3,"name":"unreadable"}`, `,"commandId":"`+uuid.NewString()+`","command":"x"`)
	record(stream, 1, "directory.group-details-changed", fmt.Sprintf(`{"id":%q,"name":"C"}`, id), "")
	record(nothing, eventstore.NoStream, "directory.group-deleted", fmt.Sprintf(`{"id":%q}`, id), "")

	all := await(stream, 3)
	require.Equal(t, "created", all[0].Action)
	require.Empty(t, all[0].Problem)
	require.Equal(t, uuid.Nil.String(), all[0].CommandID)
	require.Equal(t, "unknown", all[1].Action)
	require.Contains(t, all[1].Problem, "directory.group-details-changed")
	require.Empty(t, all[1].Changes)
	require.Equal(t, "x", all[1].Command)
	require.Equal(t, "changed", all[2].Action)
	require.Contains(t, all[2].Problem, stream+"@1", "what was before is not certain")
	require.Len(t, all[2].Changes, 1)
	require.Equal(t, []any{"Name", "A", "C"}, []any{all[2].Changes[0].Field, all[2].Changes[0].Before, all[2].Changes[0].After})

	strange := await(nothing, 1)[0]
	require.Equal(t, "unknown", strange.Action)
	require.Contains(t, strange.Problem, "no aggregate's stream")
	require.Nil(t, strange.Actor.Name)
	for _, format := range []string{"csv", "jsonl"} {
		body := string(s.Get("/admin/v1/audit?format=" + format).Is(http.StatusOK).Body)
		require.Equal(t, 1, strings.Count(body, "no aggregate's stream"))
		require.NotContains(t, body, "unreadable")
	}
}
