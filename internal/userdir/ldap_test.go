package userdir

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"docket/internal/userdir/slapdtest"

	"github.com/stretchr/testify/require"
)

// collected is a Visitor that keeps everything.
type collected struct {
	groups []Group
	users  []User
	fail   error // of the next user
}

func (c *collected) Group(g Group) error { c.groups = append(c.groups, g); return nil }
func (c *collected) User(u User) error   { c.users = append(c.users, u); return c.fail }

// user is who has a name in the directory.
func (c *collected) user(t *testing.T, name string) User {
	t.Helper()
	for _, u := range c.users {
		if u.UserName == name {
			return u
		}
	}
	require.Fail(t, "no user "+name, "%v", c.users)
	return User{}
}

// groupNames are the names of the groups that somebody is in.
func (c *collected) groupNames(u User) []string {
	var names []string
	for _, g := range c.groups {
		for _, id := range u.Groups {
			if id == g.ExternalID {
				names = append(names, g.Name)
			}
		}
	}
	return names
}

func settings(s *slapdtest.Server) Settings {
	return Settings{Kind: LDAP, Host: s.Host, Port: s.Port, BindName: slapdtest.Reader, Password: slapdtest.Password}
}

func read(t *testing.T, s Settings, o Options) *collected {
	t.Helper()
	all := &collected{}
	require.NoError(t, Open(s, o).Read(t.Context(), all))
	return all
}

// failsWith wants a reading to end with a code.
func failsWith(t *testing.T, code string, s Settings, o Options) *Error {
	t.Helper()
	err := Open(s, o).Read(t.Context(), &collected{})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, "%v", err)
	require.NotContains(t, err.Error(), slapdtest.Password)
	require.NotEmpty(t, e.Reason)
	return e
}

func people() string {
	return slapdtest.Person("ada", "Ada", "Lovelace", "departmentNumber: Engines") +
		slapdtest.Person("bob", "Bob", "Stone", "pwdAccountLockedTime: 000001010000Z") +
		"dn: uid=cy,ou=people,dc=example,dc=com\nobjectClass: account\nobjectClass: posixAccount\nuid: cy\ncn: Cy Young\nuidNumber: 1\ngidNumber: 1\nhomeDirectory: /\n\n" +
		slapdtest.GroupOf("Staff", slapdtest.DN("ada"), "UID=Bob, OU=people,DC=example,DC=com") +
		slapdtest.GroupOf("Board", slapdtest.DN("ada"), slapdtest.GroupDN("Staff")) +
		"dn: cn=Wheel,ou=groups,dc=example,dc=com\nobjectClass: posixGroup\ncn: Wheel\ngidNumber: 5\nmemberUid: cy\nmemberUid: nobody\n\n"
}

func TestOpenLDAP(t *testing.T) {
	s := slapdtest.Start(t, slapdtest.Options{LDIF: people()})
	o := Options{RootCAs: s.Authority}
	set := settings(s)
	set.Prefix, set.Domain = "x-", "CORP"
	all := read(t, set, o)
	require.Len(t, all.users, 3)
	require.Len(t, all.groups, 3)

	ada := all.user(t, "x-ada")
	require.Regexp(t, `^[0-9a-f-]{36}$`, ada.ExternalID)
	require.Equal(t, User{ExternalID: ada.ExternalID, UserName: "x-ada", DomainAccount: `CORP\ada`, FirstName: "Ada", LastName: "Lovelace", Email: "ada@example.com",
		Department: "Engines", Active: true, Groups: ada.Groups}, ada)
	require.ElementsMatch(t, []string{"Staff", "Board"}, all.groupNames(ada))
	bob := all.user(t, "x-bob")
	require.False(t, bob.Active, "locked by an administrator")
	require.Equal(t, []string{"Staff"}, all.groupNames(bob), "not in Board, although Staff is")
	cy := all.user(t, "x-cy")
	require.Equal(t, "Cy Young", cy.FirstName, "who has no given name goes by the common one")
	require.Equal(t, []string{"Wheel"}, all.groupNames(cy))
	require.Equal(t, all, read(t, set, o), "the same again")

	t.Run("filter", func(t *testing.T) {
		only := set
		s.Replace(slapdtest.GroupDN("Board"), "member", slapdtest.DN("ada")) // the overlay sees changes only
		only.Filter = "(memberOf=" + slapdtest.GroupDN("Board") + ")"
		all := read(t, only, o)
		require.Len(t, all.users, 1)
		require.Equal(t, "x-ada", all.users[0].UserName)
		only.Filter = "(uid=nobody)"
		require.Empty(t, read(t, only, o).users)
		only.Filter = "(uid="
		failsWith(t, Refused, only, o)
	})
	t.Run("base", func(t *testing.T) {
		below := set
		below.Host, below.Port = fmt.Sprintf("ldap://127.0.0.1:%d/ou=groups,dc=example,dc=com", s.Port), 0
		all := read(t, below, o)
		require.Empty(t, all.users)
		require.Len(t, all.groups, 3)
		below.Host = fmt.Sprintf("ldap://127.0.0.1:%d/ou=none,dc=example,dc=com", s.Port)
		failsWith(t, Refused, below, o)
	})
	t.Run("a visitor's error ends it", func(t *testing.T) {
		full := errors.New("full")
		all := &collected{fail: full}
		require.ErrorIs(t, Open(set, o).Read(t.Context(), all), full)
		require.Len(t, all.users, 1)
	})
	t.Run("an ended context ends it", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, Open(set, o).Read(ctx, &collected{}))
	})
}

func TestTLS(t *testing.T) {
	s := slapdtest.Start(t, slapdtest.Options{LDIF: people()})
	set := settings(s)
	for name, change := range map[string]func(*Settings){
		"StartTLS":     func(*Settings) {},
		"ldaps":        func(set *Settings) { set.Host, set.Port = fmt.Sprintf("ldaps://127.0.0.1:%d", s.TLSPort), 0 },
		"host:port":    func(set *Settings) { set.Host, set.Port = fmt.Sprintf("127.0.0.1:%d", s.Port), 0 },
		"ldap address": func(set *Settings) { set.Host = "ldap://127.0.0.1" },
	} {
		t.Run(name, func(t *testing.T) {
			set := set
			change(&set)
			require.Len(t, read(t, set, Options{RootCAs: s.Authority}).users, 3)
			// Nobody falls back to a connection without TLS.
			e := failsWith(t, Certificate, set, Options{})
			require.Contains(t, e.Reason, "signed by nobody we know")
			set.Host = strings.Replace(set.Host, "127.0.0.1", "localhost", 1)
			e = failsWith(t, Certificate, set, Options{RootCAs: s.Authority})
			require.Contains(t, e.Reason, "for another host")
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		host string
		port int
		want ldapAddress
	}{
		{"dc1.corp", 0, ldapAddress{host: "dc1.corp", port: "389"}},
		{"dc1.corp", 636, ldapAddress{host: "dc1.corp", port: "636", tls: true}},
		{"dc1.corp", 3269, ldapAddress{host: "dc1.corp", port: "3269", tls: true}},
		{"dc1.corp:1389", 0, ldapAddress{host: "dc1.corp", port: "1389"}},
		{"ldap://dc1.corp", 0, ldapAddress{host: "dc1.corp", port: "389", plain: true}},
		{"ldap://dc1.corp", 636, ldapAddress{host: "dc1.corp", port: "636", tls: true, plain: true}},
		{"ldaps://dc1.corp/OU=People,DC=corp", 0, ldapAddress{host: "dc1.corp", port: "636", base: "OU=People,DC=corp", tls: true}},
		{"ldap://dc1.corp/ou=a%20b", 1389, ldapAddress{host: "dc1.corp", port: "1389", base: "ou=a b", plain: true}},
		{"::1", 0, ldapAddress{host: "::1", port: "389", plain: true}},
		{"[::1]:1389", 0, ldapAddress{host: "::1", port: "1389", plain: true}},
		{"localhost", 0, ldapAddress{host: "localhost", port: "389", plain: true}},
	} {
		got, err := Settings{Host: c.host, Port: c.port}.address()
		require.NoError(t, err, c.host)
		require.Equal(t, c.want, got, "%s %d", c.host, c.port)
	}
	for _, bad := range []string{"http://dc1", "ldap://", "ldap://[::1"} {
		_, err := Settings{Host: bad}.address()
		require.Error(t, err, bad)
	}
}

// Passwords go to no strangers: a server elsewhere must offer TLS, unless the
// address says ldap://.
func TestNoTLSOnOffer(t *testing.T) {
	s := slapdtest.Start(t, slapdtest.Options{NoTLS: true, LDIF: people()})
	require.Len(t, read(t, settings(s), Options{}).users, 3, "on this machine")
	source := &ldapSource{settings: settings(s), options: Options{}.filled()}
	a := ldapAddress{host: s.Host, port: strconv.Itoa(s.Port)}
	_, err := source.secure(t.Context(), a)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, Certificate, e.Code)
	require.Contains(t, e.Reason, "offers no TLS")
	a.plain = true
	c, err := source.secure(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, c.prepare())
	require.NoError(t, c.Close())
}

func microsoftUser(name string, guid []byte, more string) string {
	return fmt.Sprintf("dn: cn=%s,ou=people,dc=example,dc=com\nobjectClass: user\ncn: %s\nsn: %s\ngivenName: Given\nsAMAccountName: %s\nobjectGUID:: %s\nobjectCategory: person\nuserPassword: pw-%s\n%s\n",
		name, name, name, name, base64.StdEncoding.EncodeToString(guid), name, more)
}

func TestActiveDirectory(t *testing.T) {
	guids := [][]byte{{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 8, 9, 10, 11, 12, 13, 14, 15}, []byte("0123456789abcdeX"), []byte("0123456789abcdeG")}
	s := slapdtest.Start(t, slapdtest.Options{Microsoft: true, LDIF: microsoftUser("ann", guids[0], "userAccountControl: 512\nmail: ann@example.com\ndepartment: Sales\n") +
		microsoftUser("ben", guids[1], "userAccountControl: 514\n") +
		"dn: cn=Sales,ou=groups,dc=example,dc=com\nobjectClass: group\ncn: Sales\nobjectGUID:: " + base64.StdEncoding.EncodeToString(guids[2]) + "\n\n"})
	// By a change, so that the overlay tells the members, as Active Directory does.
	s.Replace("cn=Sales,ou=groups,"+slapdtest.Base, "member", "cn=ann,ou=people,"+slapdtest.Base)
	o := Options{RootCAs: s.Authority}
	set := settings(s)
	set.Prefix = `CORP\`
	all := read(t, set, o)
	require.Equal(t, []Group{{ExternalID: guid(guids[2]), Name: "Sales"}}, all.groups)
	require.Equal(t, User{ExternalID: "00112233-4455-6677-0809-0a0b0c0d0e0f", UserName: `CORP\ann`, DomainAccount: `CORP\ann`, FirstName: "Given", LastName: "ann",
		Email: "ann@example.com", Department: "Sales", Active: true, Groups: []string{guid(guids[2])}}, all.user(t, `CORP\ann`))
	require.False(t, all.user(t, `CORP\ben`).Active)

	source := Open(set, o)
	for password, want := range map[string]bool{"pw-ann": true, "pw-ben": false, "": false} {
		ok, err := source.Authenticate(t.Context(), "00112233-4455-6677-0809-0a0b0c0d0e0f", password)
		require.NoError(t, err)
		require.Equal(t, want, ok, password)
	}
	ok, err := source.Authenticate(t.Context(), "no guid*", "pw-ann")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestAuthenticate(t *testing.T) {
	s := slapdtest.Start(t, slapdtest.Options{LDIF: people()})
	o := Options{RootCAs: s.Authority}
	set := settings(s)
	ada := read(t, set, o).user(t, "ada").ExternalID
	try := func(set Settings, id, password string) bool {
		t.Helper()
		ok, err := Open(set, o).Authenticate(t.Context(), id, password)
		require.NoError(t, err)
		return ok
	}
	require.True(t, try(set, ada, "pw-ada"))
	require.False(t, try(set, ada, "pw-bob"))
	require.False(t, try(set, ada, ""), "a bind without a password would go well")
	require.False(t, try(set, "", "pw-ada"))
	require.False(t, try(set, "*", "pw-ada"), "ids are no patterns")
	require.False(t, try(set, "11111111-1111-1111-1111-111111111111", "pw-ada"))
	left := set
	left.Filter = "(uid=bob)"
	require.False(t, try(left, ada, "pw-ada"), "whom the filter leaves out")

	wrong := set
	wrong.Password = "not this"
	_, err := Open(wrong, o).Authenticate(t.Context(), ada, "pw-ada")
	require.Error(t, err)
	s.Kill()
	_, err = Open(set, o).Authenticate(t.Context(), ada, "pw-ada")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, Unreachable, e.Code)
}

func TestPagesAndTheirLimits(t *testing.T) {
	var many strings.Builder
	for i := range 25 {
		many.WriteString(slapdtest.Person(fmt.Sprintf("u%02d", i), "U", "N"))
	}
	s := slapdtest.Start(t, slapdtest.Options{LDIF: many.String()})
	o := Options{RootCAs: s.Authority, PageSize: 10}
	require.Len(t, read(t, settings(s), o).users, 25)

	small := settings(s)
	small.BindName = slapdtest.Small
	require.Contains(t, failsWith(t, SizeLimit, small, o).Reason, "only a part")
	failsWith(t, SizeLimit, small, Options{RootCAs: s.Authority})
}

func TestLDAPFailures(t *testing.T) {
	s := slapdtest.Start(t, slapdtest.Options{LDIF: people()})
	o := Options{RootCAs: s.Authority}
	wrong := settings(s)
	wrong.Password = "not this"
	require.False(t, failsWith(t, Credentials, wrong, o).Passing, "trying again would lock the account")
	wrong = settings(s)
	wrong.BindName = "cn=nobody," + slapdtest.Base
	failsWith(t, Credentials, wrong, o)
	wrong.BindName = "no name"
	failsWith(t, Credentials, wrong, o)
	wrong = settings(s)
	wrong.Password = ""
	failsWith(t, Credentials, wrong, o)

	// The connection breaks in the middle.
	plain := slapdtest.Start(t, slapdtest.Options{LDIF: people(), NoTLS: true})
	broken := settings(plain)
	broken.Port = cutter(t, fmt.Sprintf("127.0.0.1:%d", plain.Port), 600)
	require.True(t, failsWith(t, Lost, broken, o).Passing)

	s.Kill()
	require.True(t, failsWith(t, Unreachable, settings(s), o).Passing)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	mute := settings(s)
	mute.Port = silent.Addr().(*net.TCPAddr).Port
	failsWith(t, Lost, mute, Options{Timeout: 50 * time.Millisecond})
}

// cutter passes connections on, each until so many bytes have come back.
func cutter(t *testing.T, to string, bytes int64) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.CopyN(in, out, bytes); in.Close(); out.Close() }()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}
