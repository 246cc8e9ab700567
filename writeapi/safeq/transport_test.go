package safeq_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/stretchr/testify/require"
)

func TestKeysAndAccounts(t *testing.T) {
	s := start(t)
	s.account(servertest.GlobalID, "global.example", 2)
	acme, rival := s.Organization("acme"), s.Organization("rival")
	s.account(acme, "acme.example", 2)
	s.account(rival, "rival.example", 2)
	global, ofAcme := s.open(), s.key(flags{unauthenticated: true, untrusted: true, organization: acme, rights: everyRight})

	t.Run("keys", func(t *testing.T) {
		s, global := s.in(t), global.in(t)
		nobody := &client{s: s}
		for _, path := range []string{"/version", "/account", "/documents", "/users?username=x", "/groups", "/nothing-here"} {
			want := 403
			if path == "/nothing-here" {
				want = 404
			}
			nobody.get(path).Is(want)
			(&client{s: s, key: "some other key"}).get(path).Is(want)
		}
		nobody.call("POST", "/login", form("authtype", "0")).Is(403)
		require.NotEmpty(t, global.get("/version").Is(200).Map()["version"])
		s.key(flags{unauthenticated: true, addresses: []string{"127.0.0.0/8", "::1"}}).get("/version").Is(200)
		s.key(flags{unauthenticated: true, addresses: []string{"192.0.2.1"}}).get("/version").Is(403)

		key := s.key(flags{unauthenticated: true})
		key.get("/version").Is(200)
		s.Put("/admin/v1/access-keys/"+key.keyID, object{"name": "off", "active": false, "allowUnauthenticated": true}).Is(200)
		require.Eventually(t, func() bool { return key.get("/version").Status == 403 }, patience, tick)
		s.Put("/admin/v1/access-keys/"+key.keyID, object{"name": "short", "allowUnauthenticated": true, "expiresAt": time.Now().Add(2 * time.Second)}).Is(200)
		require.Eventually(t, func() bool { return key.get("/version").Status == 403 }, patience, tick, "it expires")
		s.Delete("/admin/v1/access-keys/"+key.keyID, nil).Is(204)
	})

	t.Run("accounts", func(t *testing.T) {
		global, ofAcme := global.in(t), ofAcme.in(t)
		name := func(a servertest.Answer) string { return a.Is(200).Map()["name"].(string) }
		require.Equal(t, "Global", name(global.get("/account")))
		require.Equal(t, "acme", name(global.at("ACME.example").get("/account")))
		require.Equal(t, "acme", name(global.get("/account?DomainName=acme.example")))
		require.Equal(t, "rival", name(global.call("GET", "/account", nil, "X-Account-Domain", "rival.example")))
		require.Equal(t, "acme", name(ofAcme.at("acme.example").get("/account")))
		info := global.at("acme.example").get("/account").Map()
		require.EqualValues(t, 2, info["accountType"])
		require.Equal(t, []any{"acme.example"}, info["domainNames"])
		require.NotZero(t, info["id"])
		require.NotZero(t, info["parentId"])

		ofAcme.get("/account").Is(403) // the request is about Global, and so not the key's
		ofAcme.at("rival.example").get("/account").Is(403)
		ofAcme.at("acme.example").get("/account?domainname=rival.example").Is(404)
		for _, domain := range []string{"no.such.example", strings.Repeat("a", 300)} {
			global.at(domain).get("/account").Is(404)
			global.at(domain).get("/version").Is(403)
		}
		global.get("/account?domainname=no.such.example").Is(404)
		global.get("/account?domainname=%00").Is(404)
		global.get("/account?domainname=a&DOMAINNAME=b").Is(400)

		nobody := &client{s: s.in(t)}
		nobody.call("HEAD", "/account", nil).Is(200)
		nobody.call("HEAD", "/account?domainname=acme.example", nil).Is(200)
		nobody.call("HEAD", "/account?domainname=no.such.example", nil).Is(404)
		nobody.at("no.such.example").call("HEAD", "/account", nil).Is(404)
		nobody.get("/account").Is(403)
	})

	t.Run("XML", func(t *testing.T) {
		global := global.in(t)
		answer := global.call("GET", "/account", nil, "Accept", "application/xml").Is(200)
		require.Equal(t, "application/xml; charset=utf-8", answer.Header.Get("Content-Type"))
		require.Contains(t, string(answer.Body), "<response><id>")
		require.Contains(t, string(answer.Body), "<domainNames><item>global.example</item></domainNames>")
		answer = global.call("GET", "/users?username=nobody", nil, "Accept", "application/xml").Is(404)
		require.Contains(t, string(answer.Body), "<response><errorCode>10000</errorCode><errorMessage>user")
		require.Contains(t, string(global.call("GET", "/groups", nil, "Accept", "application/xml").Is(200).Body), "<response></response>")
		require.Equal(t, "Accept", global.get("/groups").Header.Get("Vary"))
	})
}

// The dialect answers on a listener of its own, by HTTPS when it has a certificate.
func TestOwnListener(t *testing.T) {
	cert, key, pool := certificate(t)
	s := &site{servertest.Start(t, func(c *config.Config) { c.SafeqAddr, c.SafeqCert, c.SafeqKey = "127.0.0.1:0", cert, key }), t}
	s.account(servertest.GlobalID, "global.example", 2)
	acme := s.Organization("acme")
	s.account(acme, "acme.example", 2)
	global := s.open()
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	ask := func(path, host string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.SafeqAddr()+path, nil)
		require.NoError(t, err)
		r.Header.Set("x-api-key", global.key)
		r.Host = host
		answer, err := web.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/docs": 200, "/openapi.json": 200, "/api/v1/version": 200, "/api/v2/users": 404, "/safeq/api/v1/version": 404} {
		status, body := ask(path, "")
		require.Equal(t, want, status, "%s: %s", path, body)
	}
	_, body := ask("/api/v1/account", "acme.example:7300")
	require.Contains(t, body, `"name":"acme"`)
	_, body = ask("/api/v1/account", "unknown.example")
	require.Contains(t, body, `"name":"Global"`)
	// On the main listener the paths are other APIs'.
	require.Equal(t, 401, s.As("").Get("/api/v1/groups", "X-Api-Key", global.key).Status)
}

// certificate writes one for 127.0.0.1.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	ofKey, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600))
		return path
	}
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", ofKey), pool
}
