package admin_test

import (
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type projection struct {
	Group, State string
	LastRebuild  *struct {
		Actor      string
		FinishedAt *time.Time
		Failed     bool
	}
}

func projections(s *servertest.Server) map[string]projection {
	var all struct{ Items []projection }
	s.Get("/admin/v1/projections").Is(http.StatusOK).JSON(&all)
	named := map[string]projection{}
	for _, p := range all.Items {
		named[p.Group] = p
	}
	return named
}

func TestRebuildAndVerify(t *testing.T) {
	s := servertest.Start(t)
	s.Post("/admin/v1/projects", object{"name": "P", "reports": list{object{"name": "r", "type": "Word"}}}).Is(http.StatusCreated)
	before := s.Get("/api/v2/projects").Is(http.StatusOK).Body
	require.Nil(t, projections(s)["reporting"].LastRebuild)

	require.Equal(t, "reporting", s.Post("/admin/v1/projections/reporting/rebuild", nil).Is(http.StatusAccepted).Map()["group"])
	require.Eventually(t, func() bool {
		last := projections(s)["reporting"].LastRebuild
		return last != nil && last.FinishedAt != nil
	}, 30*time.Second, 20*time.Millisecond)
	last := projections(s)["reporting"].LastRebuild
	require.False(t, last.Failed)
	require.Equal(t, s.Get("/api/v2/users/profile").ID(), last.Actor)
	require.Equal(t, before, s.Get("/api/v2/projects").Is(http.StatusOK).Body)

	report := s.Post("/admin/v1/projections/reporting/verify", nil).Is(http.StatusOK).Map()
	require.Equal(t, float64(0), report["differences"], "%v", report)
	require.Positive(t, report["rows"])
	require.Empty(t, report["examples"])
}

func TestOperationsAreRefused(t *testing.T) {
	s := servertest.Start(t)
	watcher := s.Member(servertest.GlobalID, "operations.view")
	body := object{"eventId": uuid.New(), "reason": "because"}
	for _, operation := range []string{"rebuild", "verify", "skip"} {
		refused(t, s.As("").Post("/admin/v1/projections/reporting/"+operation, body), http.StatusUnauthorized)
		refused(t, watcher.Post("/admin/v1/projections/reporting/"+operation, body), http.StatusForbidden)
		refused(t, s.Post("/admin/v1/projections/nonsense/"+operation, body), http.StatusNotFound)
	}
	refused(t, s.Post("/admin/v1/projections/reporting/skip", body), http.StatusConflict)
	refused(t, s.Post("/admin/v1/projections/reporting/skip", object{}), http.StatusBadRequest, "eventId", "reason")
	refused(t, s.Post("/admin/v1/projections/reporting/skip", object{"eventId": "x", "reason": ""}), http.StatusBadRequest, "eventId", "reason")
}

func TestIssueAPIKey(t *testing.T) {
	s := servertest.Start(t)
	sales := s.Organization("Sales")
	user := s.Post("/api/v2/users", object{"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com", "isActive": true, "organizations": list{object{"id": sales}},
		"roles": list{object{"id": roleNamed(t, s, "Developers")}}}).Is(http.StatusCreated).ID()
	body := func() object {
		return object{"userId": user, "organizationId": sales, "name": "ci", "expiryDate": time.Now().Add(time.Hour)}
	}
	key := s.Post("/admin/v1/api-keys", body()).Is(http.StatusCreated).Map()
	require.Equal(t, user, key["userId"])
	require.Equal(t, sales, key["organizationId"])
	ada := s.As(key["key"].(string))
	require.Equal(t, user, ada.Get("/api/v2/users/profile").Is(http.StatusOK).ID())
	s.Delete("/api/v2/api-keys/admin/"+key["id"].(string), nil).Is(http.StatusOK)
	require.Eventually(t, func() bool { return ada.Get("/api/v2/users/profile").Status == http.StatusUnauthorized }, 5*time.Second, 20*time.Millisecond)

	wrong := func(name string, value any) object {
		b := body()
		b[name] = value
		return b
	}
	path := "/admin/v1/api-keys"
	refused(t, s.Post(path, wrong("userId", uuid.New())), http.StatusBadRequest, "userId")
	refused(t, s.Post(path, wrong("organizationId", uuid.New())), http.StatusBadRequest, "organizationId")
	refused(t, s.Post(path, wrong("organizationId", s.Organization("Lab"))), http.StatusBadRequest, "organizationId")
	refused(t, s.Post(path, wrong("expiryDate", time.Now().Add(-time.Hour))), http.StatusBadRequest, "expiryDate")
	refused(t, s.Post(path, wrong("expiryDate", time.Now().AddDate(2, 0, 0))), http.StatusBadRequest, "expiryDate")
	refused(t, s.Post(path, object{}), http.StatusBadRequest, "expiryDate", "name", "userId")
	refused(t, s.As("").Post(path, body()), http.StatusUnauthorized)
	refused(t, s.Member(sales, "users.view").Post(path, body()), http.StatusForbidden)
	// Whose rights exceed one's own cannot be acted for.
	refused(t, s.Member(sales, "apiKeys.manageAll", "projects.view").Post(path, body()), http.StatusForbidden, "userId")
}

// roleNamed is the id of a role.
func roleNamed(t *testing.T, s *servertest.Server, name string) string {
	for _, r := range s.Get("/api/v2/security/roles?get_all=true").Is(http.StatusOK).Map()["data"].(list) {
		if r.(object)["name"] == name {
			return r.(object)["id"].(string)
		}
	}
	t.Fatalf("no role %s", name)
	return ""
}
