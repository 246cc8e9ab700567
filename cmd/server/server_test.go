package server_test

import (
	"net/http"
	"testing"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

func TestFirstSteps(t *testing.T) {
	s := servertest.Start(t)
	s.As("").Get("/api/v2/groups").Is(http.StatusUnauthorized)
	created := s.Post("/api/v2/groups", map[string]any{"name": "Sales"}).Is(http.StatusCreated).Map()
	id := created["data"].(map[string]any)["id"].(string)
	read := s.Get("/api/v2/groups/" + id).Is(http.StatusOK).Map()
	require.Equal(t, created, read)
}
