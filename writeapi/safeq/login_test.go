package safeq_test

import (
	"net/http"
	"net/url"
	"testing"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

// trusted is a device token of a key.
func (c *client) trusted(device string) *client {
	c.s.t.Helper()
	code := c.call("POST", "/oauth/v1/register", form("client_id", device, "client_secret", c.key, "client_type", "printer", "response_type", "device_code")).Is(http.StatusOK).Map()["device_code"].(string)
	answer := c.call("POST", "/oauth/v1/token", form("client_id", device, "client_secret", c.key, "grant_type", "device_code", "device_code", code)).Is(http.StatusOK).Map()
	require.Equal(c.s.t, "Bearer", answer["token_type"])
	other := *c
	other.token, other.refresh = answer["access_token"].(string), answer["refresh_token"].(string)
	return &other
}

func credentials(kind, id string, password ...string) url.Values {
	v := form("authtype", kind, "userid", id)
	if len(password) > 0 {
		v.Set("password", password[0])
	}
	return v
}

// The matrix of contract 4.3, over the running server.
func TestLoginMatrix(t *testing.T) {
	s := start(t)
	admin := s.open()
	admin.user("ada", "detailtype", "4", "detaildata", "CARD-1", "detailtype", "5", "detaildata", "4711", "detailtype", "1", "detaildata", "ada@example.com")
	strict, untrusted, both := s.key(flags{trust: true}), s.key(flags{untrusted: true, trust: true}), s.key(flags{unauthenticated: true, untrusted: true, trust: true})
	unauthenticated := s.key(flags{unauthenticated: true, trust: true})
	logins := map[string]url.Values{"0": credentials("0", "ada", password), "1": credentials("1", "card-1"), "2": credentials("2", "4711"),
		"3": credentials("3", "ada"), "4": credentials("4", "ada@example.com")}
	keys := []struct {
		name               string
		client             *client
		password, insecure int
	}{
		{"no device token, untrusted off", strict, 403, 403},
		{"no device token, untrusted off, unauthenticated on", unauthenticated, 403, 403},
		{"device token", strict.trusted("a"), 200, 200},
		{"device token, unauthenticated on", unauthenticated.trusted("d"), 200, 200},
		{"untrusted on", untrusted, 200, 403},
		{"untrusted on, device token", untrusted.trusted("b"), 200, 200},
		{"both on", both, 200, 200},
		{"both on, device token", both.trusted("c"), 200, 200},
	}
	for _, names := range []bool{false, true} { // whether the account allows logins by name alone
		s.Put("/admin/v1/accounts/"+servertest.GlobalID, object{"type": 2, "domainNames": []string{}, "nameLogins": names}).Is(http.StatusOK)
		for _, k := range keys {
			for kind, body := range logins {
				want := k.insecure
				if kind == "0" {
					want = k.password
				}
				if (kind == "3" || kind == "4") && !names {
					want = 403
				}
				answer := k.client.call("POST", "/login", body)
				require.Equal(t, want, answer.Status, "%s, authtype %s, names %t: %s", k.name, kind, names, answer.Body)
				if want == 200 {
					require.Equal(t, "ada", answer.Map()["userName"])
					require.NotEmpty(t, answer.Map()["token"].(object)["access_token"])
				}
			}
		}
	}
}

func TestLogins(t *testing.T) {
	s := start(t)
	admin := s.open()
	admin.user("ada", "detailtype", "4", "detaildata", "CARD-1")
	admin.user("pin", "detailtype", "4", "detaildata", "CARD-2", "detailtype", "6", "detaildata", "1234")
	untrusted := s.key(flags{untrusted: true})

	t.Run("what is wrong", func(t *testing.T) {
		admin, untrusted := admin.in(t), untrusted.in(t)
		for name, c := range map[string]struct {
			body   url.Values
			status int
		}{
			"the password":        {credentials("0", "ada", "wrong horse"), 401},
			"the user":            {credentials("0", "nobody", password), 401},
			"no password":         {credentials("0", "ada"), 400},
			"an empty password":   {credentials("0", "ada", ""), 400},
			"no user":             {form("authtype", "0", "password", password), 400},
			"no kind":             {form("userid", "ada", "password", password), 400},
			"an unknown kind":     {credentials("5", "ada", password), 400},
			"a kind in letters":   {credentials("password", "ada", password), 400},
			"an unknown card":     {credentials("1", "CARD-9"), 401},
			"a card without PIN":  {credentials("1", "CARD-2"), 401},
			"a wrong PIN":         {credentials("1", "CARD-2", "4321"), 401},
			"a PIN nobody has":    {credentials("1", "CARD-1", "1234"), 401},
			"a user with a NUL":   {credentials("0", "ada\x00", password), 401},
			"a card and a NUL":    {credentials("1", "CARD-1\x00"), 401},
			"an unknown short id": {credentials("2", "4712"), 401},
		} {
			answer := admin.call("POST", "/login", c.body)
			require.Equal(t, c.status, answer.Status, "%s: %s", name, answer.Body)
			require.Empty(t, answer.Header.Get("WWW-Authenticate"))
		}
		admin.call("POST", "/login", credentials("1", "CARD-2", "1234")).Is(200)
		admin.call("POST", "/login", credentials("1", "CARD-1")).Is(200)
		untrusted.call("POST", "/login", credentials("0", "ADA", password)).Is(200)
		untrusted.call("POST", "/login", `{"authtype":0,"userid":"ada","password":"`+password+`"}`, "Content-Type", "application/x-www-form-urlencoded").Is(200)
		untrusted.get("/login?AuthType=0&userid=ada&password=" + url.QueryEscape(password)).Is(200)
		untrusted.call("HEAD", "/login?authtype=0&userid=ada&password="+url.QueryEscape(password), nil).Is(405)
		answer := untrusted.call("POST", "/login", credentials("0", "ada", password))
		require.NotContains(t, string(answer.Body), "1234")
		require.NotContains(t, string(answer.Body), "argon2")
		require.NotContains(t, string(answer.Body), password)
	})

	t.Run("users who may not", func(t *testing.T) {
		admin, untrusted := admin.in(t), untrusted.in(t)
		admin.user("gone")
		gone := untrusted.login("gone")
		gone.get("/version").Is(200)
		admin.ok("POST", "/users/gone", "detailtype", "12", "detaildata", "2020-01-01")
		untrusted.call("POST", "/login", credentials("0", "gone", password)).Is(401)
		require.Eventually(t, func() bool { return gone.get("/version").Status == 403 }, patience, tick, "an expired user's token ends within a second")
		untrusted.call("GET", "/token?refresh_token="+gone.refresh, nil).Is(403)
		admin.ok("POST", "/users/gone", "detailtype", "12")
		gone = untrusted.login("gone")
		admin.ok("DELETE", "/users/gone")
		require.Eventually(t, func() bool { return gone.get("/version").Status == 403 }, patience, tick, "a deleted user's token ends within a second")
		untrusted.call("GET", "/token?refresh_token="+gone.refresh, nil).Is(403)
		untrusted.call("POST", "/login", credentials("0", "gone", password)).Is(401)
	})

	t.Run("tokens", func(t *testing.T) {
		s, untrusted := s.in(t), untrusted.in(t)
		ada := untrusted.login("ada")
		other := s.key(flags{untrusted: true})
		require.Equal(t, 403, other.with(ada.token).get("/version").Status, "a token of another key")
		require.Equal(t, 403, untrusted.with("x"+ada.token).get("/version").Status)
		require.Equal(t, 403, untrusted.with(ada.refresh).get("/version").Status)
		require.Equal(t, 403, untrusted.call("GET", "/version", nil, "Authorization", "Basic YTpi").Status)

		other.call("GET", "/token?refresh_token="+ada.refresh, nil).Is(403)
		untrusted.get("/token").Is(400)
		untrusted.get("/token?refresh_token=").Is(400)
		untrusted.get("/token?refresh_token=sr_nonsense").Is(403)
		untrusted.call("HEAD", "/token?refresh_token="+ada.refresh, nil).Is(405)

		next := untrusted.get("/token?Refresh_Token=" + ada.refresh).Is(200).Map()
		require.NotEqual(t, ada.refresh, next["refresh_token"])
		renewed := untrusted.with(next["access_token"].(string))
		renewed.get("/version").Is(200)
		ada.get("/version").Is(200)

		// The first one again: somebody has a copy, so all of the family end.
		untrusted.get("/token?refresh_token=" + ada.refresh).Is(403)
		untrusted.get("/token?refresh_token=" + next["refresh_token"].(string)).Is(403)
		for _, c := range []*client{ada, renewed} {
			require.Eventually(t, func() bool { return c.get("/version").Status == 403 }, patience, tick)
		}

		// By OAuth, with the same rule.
		ada = untrusted.login("ada")
		refresh := form("client_id", "api", "client_secret", untrusted.key, "grant_type", "refresh_token", "refresh_token", ada.refresh)
		answer := untrusted.call("POST", "/oauth/v1/token", refresh).Is(200).Map()
		untrusted.with(answer["access_token"].(string)).get("/version").Is(200)
		require.Equal(t, "token_refresh_error", untrusted.call("POST", "/oauth/v1/token", refresh).Is(400).Map()["error"])
	})

	t.Run("guessing", func(t *testing.T) {
		admin, untrusted := admin.in(t), untrusted.in(t)
		admin.user("victim")
		for range 10 {
			untrusted.call("POST", "/login", credentials("0", "victim", "wrong horse")).Is(401)
		}
		answer := untrusted.call("POST", "/login", credentials("0", "VICTIM", password)).Is(429)
		require.NotEmpty(t, answer.Header.Get("Retry-After"))
		untrusted.call("POST", "/login", credentials("0", "ada", password)).Is(200)
	})
}
