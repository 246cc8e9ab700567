package safeq_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

func (c *client) person(name string) object {
	c.s.t.Helper()
	return c.get("/users?username=" + url.QueryEscape(name)).Is(http.StatusOK).Map()
}

func TestUsersAndGroups(t *testing.T) {
	s := start(t)
	s.account(servertest.GlobalID, "global.example", 2)
	acme := s.Organization("acme")
	s.account(acme, "acme.example", 2)
	admin := s.open()

	t.Run("life of a user", func(t *testing.T) {
		admin := admin.in(t)
		admin.ok("PUT", "/users", "username", "ada", "detailtype", "0", "detaildata", "Ada King, Countess", "detailtype", "1", "detaildata", "ada@example.com",
			"detailtype", "3", "detaildata", password, "detailtype", "4", "detaildata", "C-1", "detailtype", "4", "detaildata", "C-2", "detailtype", "5", "detaildata", "4711",
			"detailtype", "6", "detaildata", "1234", "detailtype", "7", "detaildata", "x@y#1", "detailtype", "11", "detaildata", "Engines", "detailtype", "14", "detaildata", "E-1")
		got := admin.person("ADA")
		require.Equal(t, []any{"ada", "ada@example.com", "Engines", "4711", []any{"C-1", "C-2"}, 1.0, nil, nil, []any{}},
			[]any{got["userName"], got["email"], got["department"], got["shortId"], got["cards"], got["providerId"], got["token"], got["isExpired"], got["groupIds"]})
		require.Contains(t, got["fullName"], "Ada King")
		for _, secret := range []string{"1234", password, "argon2", "otp"} {
			require.NotContains(t, fmt.Sprint(got), secret)
		}
		require.Equal(t, got, admin.person("ada@example.com"))
		admin.get("/users?username=nobody").Is(404)
		admin.get("/users?username=ada&providerid=7").Is(404)
		admin.get("/users?username=%00").Is(404)
		admin.get("/users").Is(400)
		admin.at("acme.example").get("/users?username=ada").Is(404)

		admin.coded(1003, "PUT", "/users", "username", "Ada")
		admin.coded(1003, "PUT", "/users", "username", "eve", "providerid", "99")
		admin.coded(1003, "PUT", "/users", "username", "eve", "detailtype", "4", "detaildata", "C-1")
		require.Contains(t, admin.coded(1003, "PUT", "/users", "username", "eve", "detailtype", "10", "detaildata", "x"), "not supported")
		for says, pairs := range map[string][]string{
			"username is required":             {},
			"as often as detailtype":           {"username", "eve", "detailtype", "0"},
			"detailtype[0] must be one of":     {"username", "eve", "detailtype", "8", "detaildata", "x"},
			"detailtype[1] must be a whole":    {"username", "eve", "detailtype", "0,x", "detaildata", "x"},
			"detaildata is no password":        {"username", "eve", "detailtype", "3", "detaildata", "short"},
			"detaildata is no PIN":             {"username", "eve", "detailtype", "6", "detaildata", "1"},
			"detaildata is no date":            {"username", "eve", "detailtype", "12", "detaildata", "tomorrow"},
			"is not a mail address":            {"username", "eve", "detailtype", "1", "detaildata", "no mail"},
			"username must not hold":           {"username", "e\x07ve"},
			"username is written in two ways:": {"username", "eve", "UserName", "eve"},
		} {
			admin.refused(400, says, "PUT", "/users", pairs...)
		}
		admin.get("/users?username=eve").Is(404)

		// Details one by one: only the first pair counts, and none takes it away.
		admin.ok("POST", "/users/ada", "detailtype", "0", "detaildata", "Ada Lovelace", "detailtype", "11", "detaildata", "ignored")
		admin.ok("POST", "/users/ada", "detailtype", "5")
		admin.ok("POST", "/users/ada", "detailtype", "4", "detaildata", "C-3")
		got = admin.person("ada")
		require.Equal(t, []any{"Ada Lovelace", "Engines", "", []any{"C-3"}}, []any{got["fullName"], got["department"], got["shortId"], got["cards"]})
		admin.ok("POST", "/users/ada", "detailtype", "4")
		require.Empty(t, admin.person("ada")["cards"])
		admin.ok("POST", "/users/ada", "detailtype", "12", "detaildata", "1900000000000")
		admin.ok("POST", "/users/ada", "detailtype", "12", "detaildata", time.Now().Add(time.Hour).Format(time.RFC3339))
		admin.coded(1013, "POST", "/users/nobody", "detailtype", "0", "detaildata", "x")
		admin.coded(1013, "POST", "/users/ada", "providerid", "7", "detailtype", "0", "detaildata", "x")
		admin.refused(400, "detailtype is required", "POST", "/users/ada", "detaildata", "x")

		s := s.in(t)
		plainRights := s.key(flags{unauthenticated: true, untrusted: true, rights: []string{"ViewUser", "ModifyUser"}})
		plainRights.ok("POST", "/users/ada", "detailtype", "11", "detaildata", "Looms")
		plainRights.refused(403, "GenerateShortID", "POST", "/users/ada", "detailtype", "5", "detaildata", "12")
		plainRights.refused(403, "CardManagement", "POST", "/users/ada", "detailtype", "4", "detaildata", "12")
		plainRights.refused(403, "GenerateOTP", "POST", "/users/ada", "detailtype", "10", "detaildata", "12")
		plainRights.refused(403, "CreateUser", "PUT", "/users", "username", "eve")

		admin.coded(1004, "DELETE", "/users/nobody")
		admin.coded(1004, "DELETE", "/users/ada?providerid=7")
		admin.ok("DELETE", "/users/ada")
		admin.coded(1004, "DELETE", "/users/ada")
		admin.get("/users?username=ada").Is(404)
	})

	t.Run("nobody becomes more than ordinary", func(t *testing.T) {
		s, admin := s.in(t), admin.in(t)
		// The first administrator can't be taken over by a key that manages users.
		var users struct{ Data []object }
		s.Get("/api/v2/users?get_all=true").Is(200).JSON(&users)
		for _, u := range users.Data {
			if roles := fmt.Sprint(u["roles"]); strings.Contains(roles, "Administrators") {
				name := u["userName"].(string)
				if name == "" {
					name = u["email"].(string)
				}
				answer := admin.call("POST", "/users/"+url.PathEscape(name), form("detailtype", "3", "detaildata", password))
				require.NotEqual(t, 200, answer.Status, "%s", answer.Body)
				answer = admin.call("POST", "/users/"+url.PathEscape(name)+"/cards", form("cardid", "stolen"))
				require.NotEqual(t, 200, answer.Status, "%s", answer.Body)
			}
		}
	})

	t.Run("groups", func(t *testing.T) {
		admin := admin.in(t)
		admin.user("bob")
		dn := "cn=staff,dc=example,dc=com"
		staff := admin.ok("PUT", "/groups", "groupname", "Staff", "groupdn", dn)["id"].(float64)
		crew := admin.ok("PUT", "/groups", "groupname", "Crew")["id"].(float64)
		admin.coded(1043, "PUT", "/groups", "groupname", "Staff")
		admin.coded(1043, "PUT", "/groups", "groupname", "Other", "groupdn", strings.ToUpper(dn))
		admin.refused(400, "groupname is required", "PUT", "/groups", "groupdn", "x")
		require.Equal(t, []object{{"id": staff, "groupId": dn, "groupName": "Staff", "providerId": 1.0}}, admin.list("/groups?maxrecords=1"))
		require.Len(t, admin.list("/groups?providerId=1"), 2)
		require.Empty(t, admin.list("/groups?providerId=77"))
		generated := admin.get(fmt.Sprintf("/groups/%v", crew)).Is(200).Map()["groupId"].(string)
		require.NotEmpty(t, generated)
		for _, reference := range []string{fmt.Sprint(staff), dn, strings.ToUpper(dn), "staff"} {
			require.Equal(t, "Staff", admin.get("/groups/" + url.PathEscape(reference)).Is(200).Map()["groupName"])
		}
		admin.get("/groups/nobody").Is(404)
		admin.get("/groups/nobody/members").Is(404)
		admin.at("acme.example").get(fmt.Sprintf("/groups/%v", staff)).Is(404)

		groups := func() (names []any) {
			for _, g := range admin.list("/users/BOB/groups") {
				names = append(names, g["groupName"])
			}
			return names
		}
		admin.ok("PUT", "/users/bob/groups", "groupid", dn)
		require.Equal(t, []any{"Staff"}, groups())
		admin.ok("PUT", "/users/bob/groups", "GroupID", generated, "GroupID", "Staff")
		require.Equal(t, []any{"Staff", "Crew"}, groups())
		require.Equal(t, []any{staff, crew}, admin.person("bob")["groupIds"])
		members := admin.list("/groups/Crew/members")
		require.Equal(t, []object{admin.person("bob")}, members)
		admin.ok("DELETE", "/users/bob/groups", "groupid", "Crew")
		require.Equal(t, []any{"Staff"}, groups())
		admin.call("DELETE", "/users/bob/groups?groupid="+url.QueryEscape(dn), nil).Is(200)
		require.Empty(t, groups())
		admin.ok("POST", "/users/bob/groups", "groupid", "Staff", "groupid", "Crew")
		require.Len(t, groups(), 2)
		admin.call("POST", "/users/bob/groups", nil).Is(200)
		require.Empty(t, groups())
		admin.coded(1013, "PUT", "/users/bob/groups", "groupid", "nowhere")
		admin.refused(400, "groupid", "PUT", "/users/bob/groups")
		admin.refused(400, "groupid", "DELETE", "/users/bob/groups")
		admin.refused(400, "no local user", "PUT", "/users/nobody/groups", "groupid", dn)
		admin.get("/users/nobody/groups").Is(400)

		admin.ok("DELETE", "/groups/Crew")
		admin.coded(1044, "DELETE", "/groups/Crew")
	})

	t.Run("all users", func(t *testing.T) {
		admin := admin.in(t).at("acme.example")
		for i := range 5 {
			admin.ok("PUT", "/users", "username", fmt.Sprintf("worker%d", i))
		}
		var names []any
		for token := ""; ; {
			page := admin.get("/users/all?providerid=1&maxrecords=2&pagetoken=" + token).Is(200).Map()
			for _, u := range page["items"].([]any) {
				names = append(names, u.(object)["userName"])
			}
			if token = page["nextPageToken"].(string); token == "" {
				break
			}
		}
		require.Equal(t, []any{"worker0", "worker1", "worker2", "worker3", "worker4"}, names)
		admin.get("/users/all?pagetoken=x").Is(400)
		admin.get("/users/all?providerid=9").Is(400)
	})

	t.Run("imports", func(t *testing.T) { imports(t, admin.in(t), acme) })
}

func (c *client) importCSV(csv string, fields ...string) servertest.Answer {
	c.s.t.Helper()
	body, contentType := multipartBody(c.s.t, append([]string{"@data", csv}, fields...)...)
	return c.call("POST", "/users/import", body, "Content-Type", contentType)
}

func imports(t *testing.T, admin *client, acme string) {
	const mapping = "userName:0,firstName:1,lastName:2,email:3,group:4"
	admin.ok("PUT", "/groups", "groupname", "Imported")
	admin.ok("PUT", "/groups", "groupname", "Night shift")
	admin.user("kept", "detailtype", "1", "detaildata", "kept@example.com")
	admin.user("old")
	admin.ok("PUT", "/users/old/groups", "groupid", "Imported")
	admin.user("taken", "detailtype", "1", "detaildata", "taken@example.com")
	admin.at("acme.example").user("elsewhere")
	import1 := func(csv string, fields ...string) servertest.Answer {
		t.Helper()
		return admin.importCSV(csv, append([]string{"group", "Imported", "mapping", mapping}, fields...)...)
	}

	for name, c := range map[string]struct {
		csv    string
		fields []string
		says   string
	}{
		"a broken quote":       {csv: "a,A,B,,\nb,\"B,C,,\n", says: "row 2: a quote is not closed"},
		"text after a quote":   {csv: "a,A,B,,\nb,\"B\"x,C,,\n", says: "row 2: a quote is not closed, or text follows it"},
		"a quote within":       {csv: "a,A,B,,\nb,B\"x,C,,\n", says: "row 2: a quote stands in a field"},
		"too few columns":      {csv: "a,A,B,,\nb,B,C\nc\n", says: "row 2: has 3 columns, and column 3 is mapped; data row 3: has 1 columns"},
		"another separator":    {csv: "a;A;B;;\n", says: "row 1: has 1 columns"},
		"the separator said":   {csv: "a,A,B,,\n", fields: []string{"separator", ";"}, says: "row 1: has 1 columns"},
		"a long separator":     {csv: "a,A,B,,\n", fields: []string{"separator", "::"}, says: "separator must be one character"},
		"no name":              {csv: "a,A,B,,\n ,B,C,,\n", says: "row 2: has no user name"},
		"twice":                {csv: "a,A,B,,\nA,B,C,,\n", says: "row 2: has the user name of row 1"},
		"a mail address twice": {csv: "a,A,B,a@x.example,\nb,B,C,A@x.example,\n", says: "row 2: has the mail address of row 1"},
		"no mail address":      {csv: "a,A,B,,\nb,B,C,no mail,\n", says: "row 2: detaildata"},
		"a mail address taken": {csv: "a,A,B,,\nb,B,C,taken@example.com,\n", says: "row 2: the mail address is taken"},
		"no such group":        {csv: "a,A,B,,Day shift\n", says: "row 1: there is no group"},
		"not UTF-8":            {csv: "a,A,B,,\nb,\xff,C,,\n", says: "row 2: is not UTF-8"},
		"empty":                {csv: " \n", says: "data must not be empty"},
		"a header only":        {csv: "u,f,l,m,g\n", fields: []string{"hasheader", "true"}, says: "data holds no user"},
		"the header counts":    {csv: "u,f,l,m,g\n,B,C,,\n", fields: []string{"hasheader", "true"}, says: "row 2: has no user name"},
		"a bad header flag":    {csv: "a,A,B,,\n", fields: []string{"hasheader", "perhaps"}, says: "hasheader must be true or false"},
	} {
		answer := import1(c.csv, c.fields...)
		require.Equal(t, 400, answer.Status, "%s: %s", name, answer.Body)
		require.Contains(t, answer.Map()["errorMessage"], strings.Replace(c.says, "detaildata", "", 1), name)
	}
	for bad, says := range map[string]string{"": "mapping must have at least 1", "firstName:0": "where userName is", "userName": "no name and number", "userName:x": "no name and number",
		"userName:-1": "no name and number", "userName:0,colour:1": "is none of", "userName:0,USERNAME:1": "mapped twice", "userName:0,email:0": "mapped to both"} {
		answer := admin.importCSV("a,A,B,,\n", "group", "Imported", "mapping", bad)
		require.Equal(t, 400, answer.Status, "%s: %s", bad, answer.Body)
		require.Contains(t, answer.Map()["errorMessage"], says)
	}
	require.Contains(t, admin.importCSV("", "group", "x", "mapping", "userName:0").Is(400).Map()["errorMessage"], "empty")
	body, contentType := multipartBody(t, "group", "Imported", "mapping", mapping)
	require.Contains(t, admin.call("POST", "/users/import", body, "Content-Type", contentType).Is(400).Map()["errorMessage"], "data is required")
	require.EqualValues(t, 1060, admin.importCSV("a,A,B,,\n", "group", "Nobody", "mapping", mapping).Is(200).Map()["errorCode"])
	admin.get("/users?username=a").Is(404)
	require.Len(t, admin.list("/groups/Imported/members"), 1, "nothing is half imported")

	// New, changed, put into a second group; who is not in the file is deactivated.
	csv := "\xef\xbb\xbfuser;first;last;mail;group\nnew;\"Ne;w\";One;new@example.com;Night shift\nKEPT;Kept;\"O\"\"Two\";kept2@example.com;\n"
	require.EqualValues(t, 0, import1(csv, "separator", ";", "hasheader", "true").Is(200).Map()["errorCode"])
	got := admin.person("new")
	require.Equal(t, []any{"Ne;w One", "new@example.com"}, []any{got["fullName"], got["email"]})
	require.Len(t, got["groupIds"], 2)
	got = admin.person("kept")
	require.Equal(t, []any{`Kept O"Two`, "kept2@example.com"}, []any{got["fullName"], got["email"]})
	require.Len(t, got["groupIds"], 1)
	key := admin.s.key(flags{untrusted: true})
	key.call("POST", "/login", credentials("0", "old", password)).Is(401)
	key.login("kept")

	// The same again changes nothing.
	require.EqualValues(t, 0, import1(csv, "separator", ";", "hasheader", "true").Is(200).Map()["errorCode"])

	// Asynchronously, and who comes back is active again.
	require.EqualValues(t, 0, import1("old,Old,Hand,,\nnew,,,,\n", "async", "true").Is(200).Map()["errorCode"])
	require.Eventually(t, func() bool { return key.call("POST", "/login", credentials("0", "kept", password)).Status == 401 }, patience, 10*tick, "the last thing that an import does")
	key.login("old")

	// Who is seen by others only is not touched.
	answer := admin.s.key(flags{unauthenticated: true, untrusted: true, organization: acme, rights: everyRight}).at("acme.example")
	answer.ok("PUT", "/groups", "groupname", "Ours")
	refused := answer.importCSV("kept,A,B\n", "group", "Ours", "mapping", "userName:0,firstName:1,lastName:2").Is(400).Map()
	require.Contains(t, refused["errorMessage"], "row 1: the user name is taken")
}
