package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"docket/cmd/docket/client"
	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

func TestAccessKeys(t *testing.T) {
	s := servertest.Start(t)
	sales := s.Organization("Sales")
	var made accessKey
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "access-key", "create", "print client", "--organization", sales, "--allow-untrusted", "--advanced", "--right", "ViewJob,AddJob", "--right", "ReleaseJob",
		"--address", "10.0.0.0/8", "--expires", "2099-01-01T00:00:00Z", "--json")), &made))
	require.Len(t, made.Key, 36)
	require.Equal(t, []string{"AddJob", "ReleaseJob", "ViewJob"}, made.Rights)
	require.True(t, made.Active && made.AllowUntrusted && !made.AllowUnauthenticated)
	require.Equal(t, "the-key-clients-have\n", docket(t, s, "access-key", "create", "other", "--value", "the-key-clients-have"))

	text := docket(t, s, "access-key", "list", "--organization", sales)
	require.Contains(t, text, "print client")
	require.Contains(t, text, "untrusted,advanced")
	require.NotContains(t, text, "other")
	require.NotContains(t, docket(t, s, "access-key", "list", "--json"), made.Key)

	// Only what is said changes.
	var changed accessKey
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "access-key", "change", made.ID, "--active=false", "--expires", "never")), &changed))
	want := made
	want.Key, want.Active, want.ExpiresAt = "", false, nil
	require.Equal(t, want, changed)
	require.Contains(t, fails(t, s, exitRefused, "access-key", "change", made.ID, "--right", "Fly"), "rights[0]")
	fails(t, s, exitUsage, "access-key", "change", made.ID, "--expires", "soon")
	fails(t, s, exitUsage, "access-key", "create", "x", "--expires", "soon")
	fails(t, s, exitRefused, "access-key", "create", "OTHER")
	fails(t, s, exitUsage, "access-key", "delete")
	require.Equal(t, "deleted "+made.ID+"\n", docket(t, s, "access-key", "delete", made.ID))
	require.Contains(t, fails(t, s, exitRefused, "access-key", "delete", made.ID), made.ID)
}

func TestAccounts(t *testing.T) {
	s := servertest.Start(t)
	sales := s.Organization("Sales")
	show := func(args ...string) (a account) {
		t.Helper()
		require.NoError(t, json.Unmarshal([]byte(docket(t, s, append([]string{"account"}, args...)...)), &a))
		return a
	}
	was := show("show", sales)
	require.Equal(t, account{OrganizationID: sales, Number: was.Number, Name: "Sales", Type: 2, DomainNames: []string{}, ApplicationName: "Docket", AccessSeconds: 3600, RefreshDays: 90, KeepHours: 168}, was)
	set := show("set", sales, "--domain", "a.example,b.example", "--keep-hours", "24")
	was.DomainNames, was.KeepHours = []string{"a.example", "b.example"}, 24
	require.Equal(t, was, set)
	was.NameLogins = true
	require.Equal(t, was, show("set", sales, "--name-logins"))
	require.Equal(t, was, show("show", sales))
	require.Contains(t, fails(t, s, exitRefused, "account", "set", sales, "--domain", "a:1"), "domainNames[0]")
	fails(t, s, exitUsage, "account", "show")
}

func TestDevices(t *testing.T) {
	s := servertest.Start(t)
	require.Equal(t, "[]\n", docket(t, s, "device", "list", "--waiting", "--json"))
	require.Contains(t, docket(t, s, "device", "list"), "CLIENT")
	const none = "01a20541-6b95-7331-b3bd-50283b9a4862"
	require.Contains(t, fails(t, s, exitRefused, "device", "approve", none), none)
	require.Contains(t, fails(t, s, exitRefused, "device", "remove", none), none)
	fails(t, s, exitUsage, "device", "approve")
}

// Lists longer than a page are read to their end.
func TestEveryPage(t *testing.T) {
	pages := map[string]string{"": `{"items":[1,2],"next":"b"}`, "b": `{"items":[3],"next":null}`}
	asked := 0
	r := &remote{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Query().Has("organization") {
			t.Error("empty parameters are to be left out")
		}
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("after")])
	}))
	defer server.Close()
	api := client.New(server.URL, "k", 1)
	all, err := everyPage[int](t.Context(), r, api, "/x", url.Values{"organization": {""}})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, all)
	require.Equal(t, 2, asked)
}
