package server_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/eventstore"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// A poison event stops its group only, can be looked at, and is skipped by an
// operator's decision, after which the group goes on.
func TestSkip(t *testing.T) {
	s := servertest.Start(t)
	stream := "project-" + uuid.NewString()
	poison := eventstore.Proposed{ID: uuid.New(), Type: "reporting.project-published", Data: []byte(`{"id":3,"name":"x"}`),
		Meta: []byte(fmt.Sprintf(`{"tenant":%q,"schema":1,"n":1}`, servertest.GlobalID))}
	_, err := s.EventStore().Append(t.Context(), stream, eventstore.NoStream, []eventstore.Proposed{poison})
	require.NoError(t, err)

	type projection struct {
		Group, State string
		Failure      *struct{ EventID, EventType, Stream, Error string }
	}
	get := func(group string) projection {
		var all struct{ Items []projection }
		s.Get("/admin/v1/projections").Is(http.StatusOK).JSON(&all)
		for _, p := range all.Items {
			if p.Group == group {
				return p
			}
		}
		t.Fatal("no group " + group)
		return projection{}
	}
	require.Eventually(t, func() bool { return get("reporting").State == "stopped" }, 30*time.Second, 20*time.Millisecond)
	failure := get("reporting").Failure
	require.Equal(t, poison.ID.String(), failure.EventID)
	require.Equal(t, poison.Type, failure.EventType)
	require.Equal(t, stream, failure.Stream)
	require.NotEmpty(t, failure.Error)
	require.Equal(t, "live", get("directory").State)

	var page struct {
		Items []struct {
			Data    any
			Problem string
		}
	}
	s.Get("/admin/v1/streams/" + stream + "/events").Is(http.StatusOK).JSON(&page)
	require.Equal(t, map[string]any{"id": 3.0, "name": "x"}, page.Items[0].Data)
	require.Contains(t, page.Items[0].Problem, "reporting.project-published")
	s.Member(servertest.GlobalID, "audit.view").Get("/admin/v1/streams/" + stream + "/events").Is(http.StatusOK).JSON(&page)
	require.Nil(t, page.Items[0].Data, "nobody knows what is personal in it")

	skip := "/admin/v1/projections/reporting/skip"
	s.Post(skip, map[string]any{"eventId": uuid.New(), "reason": "another event"}).Is(http.StatusConflict)
	s.Post(skip, map[string]any{"eventId": poison.ID, "reason": "written by hand"}).Is(http.StatusNoContent)
	require.Eventually(t, func() bool { return get("reporting").State == "live" }, 30*time.Second, 20*time.Millisecond)
	require.Nil(t, get("reporting").Failure)
	s.Post(skip, map[string]any{"eventId": poison.ID, "reason": "again"}).Is(http.StatusConflict)
	s.Post("/admin/v1/projects", map[string]any{"name": "P"}).Is(http.StatusCreated)
	require.Equal(t, float64(0), s.Post("/admin/v1/projections/reporting/verify", nil).Is(http.StatusOK).Map()["differences"])
}
