package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/userdir/slapdtest"

	"github.com/stretchr/testify/require"
)

// One person in all APIs: comes from LDAP, is a user of Qalyptus, is in a group
// that Qlik lists, and prints through SAFEQ with the directory's password.
func TestSharedUser(t *testing.T) {
	slapd := slapdtest.Start(t, slapdtest.Options{LDIF: slapdtest.Person("ada", "Ada", "Lovelace") + slapdtest.Person("bob", "Bob", "Stone") +
		slapdtest.GroupOf("Engineers", slapdtest.DN("ada"), slapdtest.DN("bob"))})
	s := servertest.Start(t, trusting(slapd))
	users := data(t, s.Get("/api/v2/security/roles?name=Users"))[0].(map[string]any)["id"]
	staff := s.Post("/api/v2/user-directories", ldapDirectory(slapd, map[string]any{"defaultUserRole": users})).Is(http.StatusCreated).ID()
	require.Equal(t, "Success", synchronize(t, s, staff)["Status"])

	// Qalyptus and Qlik.
	ada := data(t, s.Get("/api/v2/users?full_name=Ada%20Lovelace"))[0].(map[string]any)
	user := s.Get("/api/v2/users/" + ada["id"].(string)).Is(http.StatusOK).Map()["data"].(map[string]any)
	require.Equal(t, "Engineers", user["groups"].([]any)[0].(map[string]any)["name"])
	listed := data(t, s.Get("/api/v1/groups?filter="+url.QueryEscape(`name eq "Engineers"`)))
	require.Len(t, listed, 1, "Qlik lists the group")

	// SAFEQ.
	key := s.Post("/admin/v1/access-keys", map[string]any{"name": "print client", "allowUntrusted": true}).Is(http.StatusCreated).Map()["key"].(string)
	safeq := func(method, path, token string, form url.Values) servertest.Answer {
		return s.As(token).Do(method, "/safeq/api/v1"+path, form.Encode(), "X-Api-Key", key, "Content-Type", "application/x-www-form-urlencoded")
	}
	login := func(password string) servertest.Answer {
		return safeq("POST", "/login", "", url.Values{"authtype": {"0"}, "userid": {"ada"}, "password": {password}})
	}
	login("pw-bob").Is(http.StatusUnauthorized)
	login("").Is(http.StatusBadRequest)
	in := login("pw-ada").Is(http.StatusOK).Map()
	require.Equal(t, "ada", in["userName"])
	require.Equal(t, "Ada Lovelace", in["fullName"])
	require.Equal(t, "ada@example.com", in["email"])
	require.Len(t, in["groupIds"], 1)
	require.NotEqualValues(t, 1, in["providerId"], "she is of the directory's provider, not a local user")
	token := in["token"].(map[string]any)["access_token"].(string)
	require.JSONEq(t, `[]`, string(safeq("GET", "/documents", token, nil).Is(http.StatusOK).Body))

	// The directory goes on deciding.
	slapd.Replace(slapdtest.DN("ada"), "userPassword", "another")
	login("pw-ada").Is(http.StatusUnauthorized)
	login("another").Is(http.StatusOK)
	slapd.Delete(slapdtest.DN("ada"))
	login("another").Is(http.StatusUnauthorized)
	require.Equal(t, "Success", synchronize(t, s, staff)["Status"])
	require.Equal(t, false, data(t, s.Get("/api/v2/users?full_name=Ada%20Lovelace"))[0].(map[string]any)["isActive"])
	require.Eventually(t, func() bool { return safeq("GET", "/documents", token, nil).Status == http.StatusForbidden }, patience, 20*time.Millisecond, "her token ends with her")

	// Who did it all stands in the audit trail.
	trail := s.Get("/admin/v1/audit?aggregate=user-" + ada["id"].(string)).Is(http.StatusOK).Map()["items"].([]any)
	require.NotEmpty(t, trail)
	for _, change := range trail {
		require.Equal(t, "system", change.(map[string]any)["dialect"])
	}
}
