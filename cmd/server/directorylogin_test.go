package server_test

import (
	"net/http"
	"net/url"
	"testing"

	"docket/cmd/server/servertest"
	"docket/internal/userdir/slapdtest"

	"github.com/stretchr/testify/require"
)

// Who came from a user directory logs in with the password that they have there.
func TestLoginByAUserDirectory(t *testing.T) {
	slapd := slapdtest.Start(t, slapdtest.Options{LDIF: slapdtest.Person("ada", "Ada", "Lovelace")})
	s := servertest.Start(t, trusting(slapd))
	directory := s.Post("/api/v2/user-directories", ldapDirectory(slapd, nil)).Is(http.StatusCreated).ID()
	require.Equal(t, "Success", synchronize(t, s, directory)["Status"])
	key := s.Post("/admin/v1/access-keys", object{"name": "client", "allowUntrusted": true}).Is(http.StatusCreated).Map()["key"].(string)
	login := func(password string) servertest.Answer {
		form := url.Values{"authtype": {"0"}, "userid": {"ada"}, "password": {password}}.Encode()
		return s.As("").Post("/safeq/api/v1/login", form, "X-Api-Key", key, "Content-Type", "application/x-www-form-urlencoded")
	}
	require.NotEmpty(t, login("pw-ada").Is(http.StatusOK).Map()["token"])
	login("pw-bob").Is(http.StatusUnauthorized)
	slapd.Kill()
	login("pw-ada").Is(http.StatusServiceUnavailable)
}
