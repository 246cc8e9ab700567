package server_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"
	"docket/internal/userdir/slapdtest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// ldapDirectory is the body of a user directory that is a slapd.
func ldapDirectory(s *slapdtest.Server, changes map[string]any) map[string]any {
	body := map[string]any{"type": "ActiveDirectory", "name": "Staff", "hostName": s.Host, "port": s.Port, "userName": slapdtest.Reader, "password": slapdtest.Password,
		"sendNotification": false, "synchronization": "Manual", "isActive": true, "organizationId": servertest.GlobalID}
	maps.Copy(body, changes)
	return body
}

func trusting(slapd *slapdtest.Server) func(*config.Config) {
	return func(c *config.Config) { c.LDAPCAFile = slapd.CAFile }
}

// synchronize runs a directory to its end and returns the run's state.
func synchronize(t *testing.T, s *servertest.Server, directory string) map[string]any {
	t.Helper()
	run := s.Post("/api/v2/user-directories/"+directory+"/synchronize", nil).Is(http.StatusAccepted).ID()
	var state map[string]any
	require.Eventually(t, func() bool {
		state = s.Get("/admin/v1/streams/syncrun-" + run + "/state").Is(http.StatusOK).Map()["state"].(map[string]any)
		return state["Status"] != "Running"
	}, 60*time.Second, 20*time.Millisecond)
	return state
}

// tally is what became of entries of a kind in a run.
func tally(state map[string]any, kind, what string) any {
	return state["Counts"].(map[string]any)[kind].(map[string]any)[what]
}

// data is the list in an answer of the Qalyptus API.
func data(t *testing.T, a servertest.Answer) []any {
	t.Helper()
	return a.Is(http.StatusOK).Map()["data"].([]any)
}

func TestUserDirectoryIsSynchronised(t *testing.T) {
	slapd := slapdtest.Start(t, slapdtest.Options{LDIF: slapdtest.Person("ada", "Ada", "Lovelace") + slapdtest.Person("bob", "Bob", "Stone") +
		slapdtest.GroupOf("Engineers", slapdtest.DN("ada"))})
	s := servertest.Start(t, trusting(slapd))
	made := s.Post("/api/v2/user-directories", ldapDirectory(slapd, nil)).Is(http.StatusCreated)
	id := made.ID()
	require.Equal(t, "Never", made.Map()["data"].(map[string]any)["syncStatus"])
	events := s.Get("/admin/v1/streams/userdirectory-" + id + "/events").Is(http.StatusOK)
	for _, a := range []servertest.Answer{made, s.Get("/api/v2/user-directories/" + id), s.Get("/api/v2/user-directories"), events} {
		require.NotContains(t, string(a.Body), slapdtest.Password)
	}
	require.Contains(t, string(events.Body), `"password":"(hidden)"`)

	state := synchronize(t, s, id)
	require.Equal(t, "Success", state["Status"], "%v", state)
	require.EqualValues(t, 2, tally(state, "users", "added"))
	require.EqualValues(t, 1, tally(state, "groups", "added"))
	ada := data(t, s.Get("/api/v2/users?full_name=Ada%20Lovelace"))[0].(map[string]any)
	require.Equal(t, "ada@example.com", ada["email"])
	require.Contains(t, string(s.Get("/api/v1/groups").Is(http.StatusOK).Body), `"name":"Engineers"`, "Qlik lists the group")
	shown := data(t, s.Get("/api/v2/user-directories?sort_by=LastStartedSync"))[0].(map[string]any)
	require.Equal(t, "Success", shown["syncStatus"])
	require.NotNil(t, shown["lastStartedSync"])

	stream := "/admin/v1/streams/user-" + ada["id"].(string) + "/events"
	before := string(s.Get(stream).Is(http.StatusOK).Body)
	// A PUT without the password keeps it.
	again := ldapDirectory(slapd, map[string]any{"name": "People"})
	delete(again, "password")
	s.Put("/api/v2/user-directories/"+id, again).Is(http.StatusOK)
	state = synchronize(t, s, id)
	require.Equal(t, "Success", state["Status"], "%v", state)
	require.EqualValues(t, 2, tally(state, "users", "unchanged"))
	require.Equal(t, before, string(s.Get(stream).Is(http.StatusOK).Body), "nothing was appended")

	slapd.Delete(slapdtest.DN("bob"))
	state = synchronize(t, s, id)
	require.EqualValues(t, 1, tally(state, "users", "deactivated"))
	require.Equal(t, false, data(t, s.Get("/api/v2/users?full_name=Bob%20Stone"))[0].(map[string]any)["isActive"])

	s.Put("/api/v2/user-directories/"+id, ldapDirectory(slapd, map[string]any{"password": "wrong"})).Is(http.StatusOK)
	state = synchronize(t, s, id)
	require.Equal(t, "Error", state["Status"])
	require.Equal(t, "directory.credentials", state["Code"])

	s.Put("/api/v2/user-directories/"+id, ldapDirectory(slapd, map[string]any{"isActive": false})).Is(http.StatusOK)
	s.Post("/api/v2/user-directories/"+id+"/synchronize", nil).Is(http.StatusConflict)
	s.Post("/api/v2/user-directories/"+uuid.NewString()+"/synchronize", nil).Is(http.StatusNotFound)
	s.Post("/api/v2/user-directories", ldapDirectory(slapd, map[string]any{"hostName": nil})).Is(http.StatusBadRequest)
	s.Member(servertest.GlobalID, "userDirectories.view").Post("/api/v2/user-directories/"+id+"/synchronize", nil).Is(http.StatusForbidden)
	s.Delete("/api/v2/user-directories/"+id, nil).Is(http.StatusOK)
	s.Get("/api/v2/user-directories/" + id).Is(http.StatusNotFound)
}
