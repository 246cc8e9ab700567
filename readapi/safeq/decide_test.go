package safeq

import (
	"fmt"
	"slices"
	"testing"

	"docket/domain/directory"
	"docket/domain/fault"

	"github.com/stretchr/testify/require"
)

// class is a kind of operation by its needs, with a name.
type class struct {
	name  string
	needs Needs
}

var rights = []string{"ViewJob", "DeleteJob"}

// classes are all kinds of operations that there are (contract, auth_notes).
var classes = []class{
	{"plain (1)", Needs{}},
	{"right (2a, 20, 27)", Needs{Rights: rights}},
	{"advanced (9, 14-19, 21-26, 28-31, 44-48)", Needs{Rights: rights, Advanced: true}},
	{"login (7)", Needs{Class: Login}},
	{"user's documents (8)", Needs{Class: UserOnly, Rights: rights, Trusted: true}},
	{"job (10)", Needs{Class: Job}},
	{"upload (11)", Needs{Rights: rights, Trusted: true}},
	{"delete document (12)", Needs{Rights: rights, Owner: true, Trusted: true}},
	{"release (13)", Needs{Rights: rights, Owner: true, Trusted: true, Secure: true}},
	{"refresh (51)", Needs{Class: KeyOnly}},
}

// tokens are all that the Authorization header can be.
var tokens = []struct {
	name    string
	kind    TokenKind
	trusted bool
}{{"none", NoToken, false}, {"user", UserToken, false}, {"trusted user", UserToken, true}, {"device", DeviceToken, false}, {"bad", BadToken, false}}

// held are how much of the rights that an operation lists somebody holds.
var held = map[string][]string{"all": rights, "some": {"ViewJob"}, "none": nil}

// What the contract says, sentence by sentence, each as a reason to refuse. It is
// written down a second time here, in another form than Decide's.
func refusals(c class, key directory.AccessKeySettings, token TokenKind, trusted bool, userHolds []string) (statuses []fault.Kind) {
	n, insecure := c.needs, key.AllowUnauthenticated && key.AllowUntrusted
	add := func(when bool, kind fault.Kind) {
		if when {
			statuses = append(statuses, kind)
		}
	}
	looksAtToken := n.Class != KeyOnly
	listed401 := n.Class == Login || n.Class == Job
	add(looksAtToken && token == BadToken && listed401, fault.Unauthenticated)
	add(looksAtToken && token == BadToken && !listed401, fault.Denied)
	add(n.Class == Job && token == NoToken, fault.Unauthenticated)

	// "all functions except login require a user token"; the refresh can't, and a
	// job report takes a device's as well.
	general := n.Class == General || n.Class == UserOnly
	add(general && !key.AllowUnauthenticated && token != UserToken, fault.Denied)
	// "Authorization with user token is required."
	add(n.Class == UserOnly && token != UserToken, fault.Denied)
	// "Cannot call with an insecure API key", "configured with an authenticated
	// request or a trusted endpoint".
	add((n.Class == UserOnly || n.Class == Job || n.Secure) && insecure, fault.Denied)
	// "Authorization with a device token or allowing untrusted endpoints is required."
	add(n.Class == Login && !key.AllowUntrusted && token != DeviceToken, fault.Denied)
	// The note of the section on documents.
	add(n.Trusted && !key.AllowUntrusted && token != DeviceToken && !trusted, fault.Denied)

	holdsAll := func(have []string) bool {
		return !slices.ContainsFunc(n.Rights, func(r string) bool { return !slices.Contains(have, r) })
	}
	// "The user token contains the user permissions that must match"; with both
	// flags on they are not checked.
	add(general && token == UserToken && !insecure && !holdsAll(userHolds), fault.Denied)
	// "Whenever the Advanced API permissions option is selected, the permissions are
	// checked within the API call".
	add(key.Advanced && !holdsAll(key.Rights), fault.Denied)
	add(!key.Advanced && n.Advanced, fault.Denied)
	// "Does not require Advanced API permissions for a user who owns the document."
	add(!key.Advanced && n.Owner && token != UserToken, fault.Denied)
	return statuses
}

// Every combination of a key's flags, its advanced rights, the token, the rights
// of its user, and the class of the operation.
func TestDecideOverAllCombinations(t *testing.T) {
	seen, allowed := 0, map[string]int{}
	for _, c := range classes {
		for flags := range 8 {
			for keyHolds, keyRights := range held {
				for userHolds, userRights := range held {
					for _, token := range tokens {
						key := directory.AccessKeySettings{AllowUnauthenticated: flags&1 != 0, AllowUntrusted: flags&2 != 0, Advanced: flags&4 != 0, Rights: keyRights}
						name := fmt.Sprintf("%s: unauthenticated %t, untrusted %t, advanced %t (%s), %s token (user %s)",
							c.name, key.AllowUnauthenticated, key.AllowUntrusted, key.Advanced, keyHolds, token.name, userHolds)
						got := Decide(c.needs, Credentials{Key: &key, Usable: true, Covers: true, Token: token.kind, Trusted: token.trusted,
							Holds: func(r string) bool { return slices.Contains(userRights, r) }})
						want := refusals(c, key, token.kind, token.trusted, userRights)
						seen++
						if len(want) > 0 {
							require.NotNil(t, got.Refused, name)
							require.Contains(t, want, got.Refused.Kind, name)
							if slices.Contains(want, fault.Unauthenticated) {
								require.Equal(t, fault.Unauthenticated, got.Refused.Kind, "who somebody is comes before what they may: %s", name)
							}
							continue
						}
						require.Nil(t, got.Refused, "%s: %v", name, got.Refused)
						allowed[c.name]++
						checksActor(t, name, c, key, token.kind, got)
					}
				}
			}
		}
	}
	require.Equal(t, len(classes)*8*3*3*len(tokens), seen)
	for _, c := range classes {
		require.Positive(t, allowed[c.name], "nothing lets anybody use %s", c.name)
	}
}

// checksActor holds who acts against the rules on who acts.
func checksActor(t *testing.T, name string, c class, key directory.AccessKeySettings, token TokenKind, got Decision) {
	t.Helper()
	insecure := key.AllowUnauthenticated && key.AllowUntrusted
	acting := token == UserToken && !insecure && c.needs.Class != Login && c.needs.Class != KeyOnly
	require.Equal(t, acting, got.ByUser, name)
	require.Equal(t, c.needs.Owner && !key.Advanced, got.OwnerOnly, name)
	if c.needs.Class == Login {
		// Cards, short ids and names need the token of a device, or both flags.
		require.Equal(t, token == DeviceToken || insecure, got.InsecureLogin, name)
	}
}

// The order of 4.2: the key comes first, whatever else is wrong.
func TestDecideLooksAtTheKeyFirst(t *testing.T) {
	key := directory.AccessKeySettings{AllowUnauthenticated: true, AllowUntrusted: true}
	for _, c := range classes {
		for want, with := range map[string]Credentials{
			"key.unknown":  {Token: BadToken},
			"key.unusable": {Key: &key, Covers: false, Token: BadToken},
			"key.foreign":  {Key: &key, Usable: true, Token: BadToken},
		} {
			got := Decide(c.needs, with)
			require.NotNil(t, got.Refused, c.name)
			require.Equal(t, want, got.Refused.Code, c.name)
			require.Equal(t, fault.Denied, got.Refused.Kind, c.name)
		}
	}
}
