package userdir

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeGraph behaves as Microsoft Graph and the giver of its tokens are documented
// to: pages with links that are valid for a while, throttling, errors by code.
type fakeGraph struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	users  []map[string]any
	groups []map[string]any
	in     map[string][]string // ids by group
	tokens map[string]bool
	asked  []string // paths
	life   int      // of tokens, in seconds

	// meddle may answer in the server's place.
	meddle func(w http.ResponseWriter, r *http.Request, n int) bool
}

const (
	tenant, client, secret = "contoso.onmicrosoft.com", "11111111-2222-3333-4444-555555555555", "s3cr3t"
)

func newGraph(t *testing.T) *fakeGraph {
	g := &fakeGraph{t: t, in: map[string][]string{}, tokens: map[string]bool{}, life: 3600}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	return g
}

func (g *fakeGraph) settings() Settings {
	return Settings{Kind: Entra, TenantID: tenant, ClientID: client, ClientSecret: secret}
}

func (g *fakeGraph) options() Options {
	return Options{GraphURL: g.URL, LoginURL: g.URL + "/login", PageSize: 2, Backoff: time.Millisecond}
}

func (g *fakeGraph) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, r.URL.Path)
	n := 0
	for _, p := range g.asked {
		if p == r.URL.Path {
			n++
		}
	}
	if g.meddle != nil && g.meddle(w, r, n) {
		return
	}
	if r.URL.Path == "/login/"+tenant+"/oauth2/v2.0/token" {
		g.giveToken(w, r)
		return
	}
	if !g.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		graphError(w, http.StatusUnauthorized, "InvalidAuthenticationToken")
		return
	}
	switch path := strings.TrimPrefix(r.URL.Path, "/v1.0"); {
	case path == "/users":
		g.page(w, r, g.users)
	case path == "/groups":
		g.page(w, r, g.groups)
	case strings.HasSuffix(path, "/members"):
		var refs []map[string]any
		for _, id := range g.in[strings.Split(path, "/")[2]] {
			refs = append(refs, map[string]any{"@odata.type": "#microsoft.graph.user", "id": id})
		}
		g.page(w, r, refs)
	default:
		graphError(w, http.StatusNotFound, "Request_ResourceNotFound")
	}
}

func (g *fakeGraph) giveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != g.URL+"/.default" ||
		r.FormValue("client_id") != client || r.FormValue("client_secret") != secret {
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."})
		return
	}
	token := "t" + strconv.Itoa(len(g.tokens))
	g.tokens[token] = true
	json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": g.life, "access_token": token})
}

func (g *fakeGraph) page(w http.ResponseWriter, r *http.Request, all []map[string]any) {
	q := r.URL.Query()
	top, _ := strconv.Atoi(q.Get("$top"))
	from, _ := strconv.Atoi(q.Get("$skiptoken"))
	end := min(from+top, len(all))
	answer := map[string]any{"value": append([]map[string]any{}, all[from:end]...)}
	if end < len(all) {
		q.Set("$skiptoken", strconv.Itoa(end))
		answer["@odata.nextLink"] = g.URL + r.URL.Path + "?" + q.Encode()
	}
	json.NewEncoder(w).Encode(answer)
}

func graphError(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": "text"}})
}

func (g *fakeGraph) fill(users int) {
	for i := range users {
		id := fmt.Sprintf("u%d", i)
		g.users = append(g.users, map[string]any{"id": id, "userPrincipalName": id + "@contoso.com", "displayName": "User " + id, "givenName": "Given", "surname": id,
			"mail": id + "@contoso.com", "department": "Sales", "accountEnabled": i != 1})
	}
	for i := range 3 {
		id := fmt.Sprintf("g%d", i)
		g.groups = append(g.groups, map[string]any{"id": id, "displayName": "Group " + id})
		for u := range users {
			if u%3 >= i {
				g.in[id] = append(g.in[id], fmt.Sprintf("u%d", u))
			}
		}
	}
	g.in["g0"] = append(g.in["g0"], "g1") // a group within a group
}

func TestGraph(t *testing.T) {
	g := newGraph(t)
	g.fill(7)
	g.users[2]["givenName"], g.users[2]["surname"], g.users[2]["mail"], g.users[2]["onPremisesSamAccountName"] = nil, nil, nil, "SAM2"
	set := g.settings()
	set.Domain = "CONTOSO"
	all := read(t, set, g.options())
	require.Len(t, all.groups, 3)
	require.Len(t, all.users, 7)
	require.Equal(t, User{ExternalID: "u0", UserName: "u0@contoso.com", DomainAccount: `CONTOSO\u0`, FirstName: "Given", LastName: "u0", Email: "u0@contoso.com",
		Department: "Sales", Active: true, Groups: []string{"g0"}}, all.users[0])
	require.False(t, all.users[1].Active)
	require.Equal(t, []string{"g0", "g1"}, all.users[1].Groups)
	require.Equal(t, User{ExternalID: "u2", UserName: "u2@contoso.com", DomainAccount: `CONTOSO\SAM2`, FirstName: "User u2", Department: "Sales", Active: true,
		Groups: []string{"g0", "g1", "g2"}}, all.users[2])
	require.Len(t, g.tokens, 1, "one token for all")
	require.Equal(t, all, read(t, set, g.options()))

	_, err := Open(set, g.options()).Authenticate(t.Context(), "u0", "x")
	require.ErrorIs(t, err, ErrNoPasswords)
}

func TestGraphFilter(t *testing.T) {
	g := newGraph(t)
	var seen url.Values
	g.meddle = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		if r.URL.Path == "/v1.0/users" {
			seen = r.URL.Query()
			require.Equal(t, "eventual", r.Header.Get("ConsistencyLevel"))
		}
		return false
	}
	set := g.settings()
	set.Filter = "department eq 'R&D'"
	read(t, set, g.options())
	require.Equal(t, set.Filter, seen.Get("$filter"))
	require.Equal(t, "true", seen.Get("$count"))
}

func TestGraphThrottlesAndRecovers(t *testing.T) {
	g := newGraph(t)
	g.fill(7)
	want := read(t, g.settings(), g.options())
	for name, meddle := range map[string]func(w http.ResponseWriter, r *http.Request, n int) bool{
		"429 with seconds": func(w http.ResponseWriter, r *http.Request, n int) bool {
			if r.URL.Path == "/v1.0/users" && n == 2 {
				w.Header().Set("Retry-After", "1")
				graphError(w, http.StatusTooManyRequests, "TooManyRequests")
				return true
			}
			return false
		},
		"503 with a date": func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 && r.URL.Path != "/v1.0/users" {
				w.Header().Set("Retry-After", time.Now().UTC().Format(http.TimeFormat))
				graphError(w, http.StatusServiceUnavailable, "serviceNotAvailable")
				return true
			}
			return false
		},
		"502 without a body, and a cut connection": func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
			if n == 2 && strings.HasSuffix(r.URL.Path, "members") {
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"a token that is taken no more": func(_ http.ResponseWriter, r *http.Request, n int) bool {
			if r.URL.Path == "/v1.0/users" && n == 2 {
				clear(g.tokens)
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			g.asked, g.meddle = nil, meddle
			began := time.Now()
			require.Equal(t, want, read(t, g.settings(), g.options()))
			if strings.HasPrefix(name, "429") {
				require.GreaterOrEqual(t, time.Since(began), time.Second, "as long as it was told to")
			}
		})
	}
}

func TestGraphTokensRunOut(t *testing.T) {
	g := newGraph(t)
	g.fill(7)
	g.life = 59 // less than the headroom: each request needs another
	require.Len(t, read(t, g.settings(), g.options()).users, 7)
	require.Greater(t, len(g.tokens), 4)
}

func TestGraphFailures(t *testing.T) {
	type answer = func(w http.ResponseWriter, r *http.Request, n int) bool
	at := func(path string, n int, status int, code string) answer {
		return func(w http.ResponseWriter, r *http.Request, times int) bool {
			if r.URL.Path != path || times < n {
				return false
			}
			graphError(w, status, code)
			return true
		}
	}
	for name, c := range map[string]struct {
		meddle answer
		code   string
		says   string
		pass   bool
	}{
		"a link to a page that is no longer there": {at("/v1.0/users", 2, http.StatusGone, "pageExpired"), Lost, "pageExpired", true},
		"the same as Graph puts it otherwise":      {at("/v1.0/users", 2, http.StatusNotFound, "Request_ResourceNotFound"), Lost, "", true},
		"down for good":                            {at("/v1.0/groups", 1, http.StatusInternalServerError, "generalException"), Lost, "generalException", true},
		"no right":                                 {at("/v1.0/groups/g1/members", 1, http.StatusForbidden, "Authorization_RequestDenied"), Refused, "User.Read.All", false},
		"a bad filter":                             {at("/v1.0/users", 1, http.StatusBadRequest, "Request_UnsupportedQuery"), Refused, "Request_UnsupportedQuery", false},
		"tokens that it never takes":               {at("/v1.0/users", 1, http.StatusUnauthorized, "InvalidAuthenticationToken"), Credentials, "InvalidAuthenticationToken", false},
		"no JSON": {func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Path != "/v1.0/users" {
				return false
			}
			fmt.Fprint(w, "<html>")
			return true
		}, Lost, "can't be read", true},
		"a link to another server": {func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Path != "/v1.0/users" {
				return false
			}
			fmt.Fprint(w, `{"value": [], "@odata.nextLink": "http://192.0.2.1/steal"}`)
			return true
		}, Refused, "another server", false},
		"a redirect": {func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Path != "/v1.0/users" {
				return false
			}
			http.Redirect(w, r, "http://192.0.2.1/steal", http.StatusFound)
			return true
		}, Refused, "302", false},
		"no token now": {at("/login/"+tenant+"/oauth2/v2.0/token", 1, http.StatusServiceUnavailable, "temporarily_unavailable"), Unreachable, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			g.fill(7)
			g.meddle = c.meddle
			e := failsWith(t, c.code, g.settings(), g.options())
			require.Contains(t, e.Reason, c.says)
			require.Equal(t, c.pass, e.Passing)
			require.NotContains(t, e.Error(), secret)
		})
	}
	t.Run("a wrong secret", func(t *testing.T) {
		g := newGraph(t)
		set := g.settings()
		set.ClientSecret = "wrong"
		require.Contains(t, failsWith(t, Credentials, set, g.options()).Reason, "invalid_client")
		require.Len(t, g.asked, 1, "it is not tried again")
	})
	t.Run("nobody there", func(t *testing.T) {
		g := newGraph(t)
		g.Close()
		failsWith(t, Unreachable, g.settings(), g.options())
	})
	t.Run("an ended context ends a wait", func(t *testing.T) {
		g := newGraph(t)
		ctx, cancel := context.WithCancel(t.Context())
		g.meddle = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
			cancel()
			return true
		}
		require.ErrorIs(t, Open(g.settings(), g.options()).Read(ctx, &collected{}), context.Canceled)
	})
}
