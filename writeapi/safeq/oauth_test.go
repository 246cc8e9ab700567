package safeq_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeviceFlow(t *testing.T) {
	s := start(t)
	key := s.key(flags{})
	register := func(c *client, pairs ...string) url.Values {
		v := form("client_id", "printer-1", "client_secret", c.key, "client_type", "printer", "response_type", "device_code", "state", "xyz")
		for i := 0; i+1 < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	fails := func(t *testing.T, c *client, status int, code, path string, v url.Values, headers ...string) {
		t.Helper()
		answer := c.call("POST", "/oauth/v1/"+path, v, headers...)
		require.Equal(t, status, answer.Status, "%s", answer.Body)
		require.Equal(t, code, answer.Map()["error"], "%s", answer.Body)
		require.NotEmpty(t, answer.Map()["error_description"])
	}

	t.Run("registration", func(t *testing.T) {
		key := key.in(t)
		for code, v := range map[string]url.Values{
			"invalid_client_secret": register(key, "client_secret", "nobody's key"),
			"invalid_response_type": register(key, "response_type", "code"),
			"invalid_client_id":     register(key, "client_id", "api"),
			"invalid_endpoint":      register(key, "client_type", "toaster"),
			"invalid_key_type":      register(key, "key_type", "dsa", "public_key", "AAAA"),
			"invalid_parameters":    register(key, "key_type", "rsa"),
		} {
			fails(t, key, 400, code, "register", v)
		}
		fails(t, key, 400, "invalid_parameters", "register", register(key, "key_type", "ed25519", "public_key", "AAAA"))
		fails(t, key, 400, "invalid_parameters", "register", form("client_id", "x"))
		fails(t, key, 400, "invalid_client_for_signature_verification", "register", register(key), "HCP-Request-Signature", "AAAA")
		fails(t, key.at("no.such.example"), 403, "access_denied", "register", register(key))
		nowhere := s.in(t).key(flags{addresses: []string{"192.0.2.0/24"}})
		fails(t, nowhere, 403, "access_denied", "register", register(nowhere))
	})

	t.Run("approval by an administrator", func(t *testing.T) {
		s, key := s.in(t), key.in(t)
		answer := key.call("POST", "/oauth/v1/register", register(key)).Is(http.StatusOK).Map()
		require.Equal(t, "xyz", answer["state"])
		require.EqualValues(t, 259200, answer["expires_in"])
		poll := form("client_id", "printer-1", "client_secret", key.key, "grant_type", "device_code", "device_code", answer["device_code"].(string))
		fails(t, key, 400, "authorization_pending", "token", poll)
		wrong := form("client_id", "printer-1", "client_secret", key.key, "grant_type", "device_code", "device_code", "dc_other")
		fails(t, key, 400, "invalid_device_code", "token", wrong)
		poll.Set("client_id", "printer-2")
		fails(t, key, 400, "invalid_client_id", "token", poll)
		poll.Set("client_id", "printer-1")
		poll.Set("grant_type", "password")
		fails(t, key, 400, "invalid_grant", "token", poll)
		poll.Set("grant_type", "device_code")
		other := s.key(flags{})
		poll.Set("client_secret", other.key)
		fails(t, key, 400, "invalid_client_secret", "token", poll)
		poll.Set("client_secret", key.key)

		var devices struct {
			Items []struct{ ID, ClientID string }
		}
		s.Get("/admin/v1/devices").Is(http.StatusOK).JSON(&devices)
		require.Len(t, devices.Items, 1)
		s.Post("/admin/v1/devices/"+devices.Items[0].ID+"/approve", nil).Is(http.StatusOK)
		tokens := key.call("POST", "/oauth/v1/token", poll).Is(http.StatusOK).Map()
		fails(t, key, 400, "invalid_device_code", "token", poll)

		device := key.with(tokens["access_token"].(string))
		require.Equal(t, 403, device.get("/version").Status, "a key that wants a user")
		require.Equal(t, 403, other.with(device.token).get("/version").Status)
		refresh := form("client_id", "printer-1", "client_secret", key.key, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
		next := key.call("POST", "/oauth/v1/token", refresh).Is(http.StatusOK).Map()
		again := form("client_id", "printer-1", "client_secret", key.key, "grant_type", "refresh_token", "refresh_token", next["refresh_token"].(string))
		fails(t, key, 400, "token_refresh_error", "token", refresh)
		fails(t, key, 400, "token_refresh_error", "token", again)
	})

	t.Run("a device with a key of its own", func(t *testing.T) {
		key := s.in(t).key(flags{trust: true, untrusted: false})
		public, private, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		sign := func(v url.Values) []string {
			return []string{"HCP-Request-Signature", base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(v.Encode())))}
		}
		v := register(key, "client_id", "signer", "key_type", "ed25519", "public_key", base64.StdEncoding.EncodeToString(public))
		code := key.call("POST", "/oauth/v1/register", v).Is(http.StatusOK).Map()["device_code"].(string)
		poll := form("client_id", "signer", "client_secret", key.key, "grant_type", "device_code", "device_code", code)
		fails(t, key, 400, "missing_signature", "token", poll)
		fails(t, key, 400, "invalid_signature", "token", poll, sign(v)...)
		tokens := key.call("POST", "/oauth/v1/token", poll, sign(poll)...).Is(http.StatusOK).Map()
		require.NotEmpty(t, tokens["access_token"])

		// Who only knows the API key does not take its place; the device itself may
		// come again.
		fails(t, key, 400, "duplicate_client_id", "register", register(key, "client_id", "signer"))
		v = register(key, "client_id", "signer")
		fails(t, key, 400, "invalid_signature", "register", v, sign(poll)...)
		key.call("POST", "/oauth/v1/register", v, sign(v)...).Is(http.StatusOK)
	})
}
