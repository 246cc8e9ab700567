package server_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"docket/cmd/server"
	"docket/cmd/server/servertest"
	"docket/eventstore/embedded"
	"docket/eventstore/transfer"
	"docket/internal/config"
	"docket/internal/postgres/pgtest"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// eventServer is a server of its own, whose log begins with events that are none of Docket's.
func eventServer(t *testing.T) (*esdb.Client, string) {
	s, err := embedded.Open(t.TempDir(), embedded.Options{Addr: "127.0.0.1:0", NoSync: true, SocketDir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	c, err := esdb.NewClient(s.ClientConfig())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	for range 100 {
		appendOne(t, c, "$statistics", "$collected")
	}
	return c, "esdb://" + s.Addr().String() + "?tls=false"
}

func appendOne(t *testing.T, c *esdb.Client, stream, kind string) {
	_, err := c.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{},
		esdb.EventData{EventID: uuid.New(), EventType: kind, ContentType: esdb.ContentTypeJson, Data: []byte(`{}`)})
	require.NoError(t, err)
}

// A log that was copied to another server has other positions: read models are built again from it, reactors begin again,
// and all goes on. Another log is refused.
func TestMovedLog(t *testing.T) {
	var c config.Config
	dir, url := t.TempDir(), pgtest.URL(t)
	tasks := func(s *servertest.Server) float64 {
		return s.Get("/api/v2/tasks?page_size=1").Is(http.StatusOK).Map()["pagination"].(map[string]any)["totalItems"].(float64)
	}
	var project string
	t.Run("embedded", func(t *testing.T) {
		s := servertest.Start(t, func(set *config.Config) { set.DataDir, set.PostgresURL = dir, url; c = *set })
		project = publishProject(s)
		for range 3 {
			s.Post("/api/v2/tasks", map[string]any{"name": "Before", "projectId": project}).Is(http.StatusCreated)
		}
		require.EqualValues(t, 3, tasks(s))
	})
	there, address := eventServer(t)
	t.Run("copy", func(t *testing.T) {
		store, err := embedded.Open(filepath.Join(dir, "events"), embedded.Options{SocketDir: t.TempDir()})
		require.NoError(t, err)
		defer func() { require.NoError(t, store.Close()) }()
		here, err := esdb.NewClient(store.ClientConfig())
		require.NoError(t, err)
		defer func() { require.NoError(t, here.Close()) }()
		_, err = transfer.Copy(t.Context(), here, there, nil)
		require.NoError(t, err)
		_, err = transfer.Compare(t.Context(), here, there, nil)
		require.NoError(t, err)
	})
	c.EventstoreURL = address
	t.Run("moved", func(t *testing.T) {
		s := servertest.Run(t, &c)
		require.EqualValues(t, 3, tasks(s))
		s.Post("/api/v2/tasks", map[string]any{"name": "After", "projectId": project}).Is(http.StatusCreated)
		require.EqualValues(t, 4, tasks(s))
		verifyAll(t, s)
	})
	t.Run("again", func(t *testing.T) {
		s := servertest.Run(t, &c)
		require.EqualValues(t, 4, tasks(s))
	})
	t.Run("another log", func(t *testing.T) {
		other, address := eventServer(t)
		appendOne(t, other, "task-1", "t")
		c.EventstoreURL = address
		_, err := server.Open(t.Context(), &c, t.Output())
		require.ErrorContains(t, err, "another log")
	})
}
