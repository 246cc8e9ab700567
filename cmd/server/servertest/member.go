package servertest

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// GlobalID is the root organization.
const GlobalID = "00000000-0000-7000-8000-00008391746e"

// ID is the id in an answer: of Qalyptus' data, or at its top.
func (a Answer) ID() string {
	a.t.Helper()
	m := a.Map()
	if data, ok := m["data"].(map[string]any); ok {
		m = data
	}
	id, ok := m["id"].(string)
	require.True(a.t, ok, "%s", a.Body)
	return id
}

// Organization makes an organization below the caller's and returns its id.
func (s *Server) Organization(name string) string {
	s.t.Helper()
	return s.Post("/api/v2/organizations", map[string]any{"name": name, "displayName": name, "themeId": uuid.New()}).Is(http.StatusCreated).ID()
}

// Member is the server for a new user of an organization who holds these
// permissions (and that to use API keys).
func (s *Server) Member(organization string, permissions ...string) *Server {
	s.t.Helper()
	rights := map[string]map[string]bool{}
	for _, p := range append(permissions, "apiKeys.use") {
		area, action, _ := strings.Cut(p, ".")
		if rights[area] == nil {
			rights[area] = map[string]bool{}
		}
		rights[area][action] = true
	}
	name := uuid.NewString()
	role := s.Post("/api/v2/security/roles", map[string]any{"name": name, "allProjects": true, "permissions": rights, "isActive": true}).Is(http.StatusCreated).ID()
	user := s.Post("/api/v2/users", map[string]any{"firstName": "Test", "lastName": name, "email": name + "@example.com", "isActive": true,
		"roles": []any{map[string]any{"id": role}}, "organizations": []any{map[string]any{"id": organization}}}).Is(http.StatusCreated).ID()
	key := s.Post("/admin/v1/api-keys", map[string]any{"userId": user, "organizationId": organization, "name": "test", "expiryDate": time.Now().Add(time.Hour)}).Is(http.StatusCreated)
	return s.As(key.Map()["key"].(string))
}
