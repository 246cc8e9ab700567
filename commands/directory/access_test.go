package directory

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"github.com/stretchr/testify/require"
)

var (
	accessKey, session, device = id(0x160), id(0x161), id(0x162)
	tomorrow                   = spec.Now.Add(24 * time.Hour)
)

// keeper looks after the access to Sales.
var keeper = domain.Actor{UserID: me, Tenant: sales, Organizations: ids(sales), Permissions: permissions("accessKeys.create", "accessKeys.edit", "accessKeys.delete",
	"devices.approve", "devices.delete", "organizations.edit", "documents.view")}

// client is who acts when a request carries the access key.
var client = domain.Actor{UserID: accessKey, KeyID: &accessKey, Tenant: sales, Organizations: ids(sales), Permissions: permissions()}

func keySettings(change func(*directory.AccessKeySettings)) directory.AccessKeySettings {
	return with(directory.AccessKeySettings{Name: "Key", Kind: directory.GeneralKey, Active: true, Rights: []string{}, AllowedAddresses: []string{}}, change)
}

func plainKey() directory.AccessKeySettings {
	return keySettings(func(*directory.AccessKeySettings) {})
}

func keyCreated(organization domain.ID, s directory.AccessKeySettings) directory.AccessKeyCreated {
	return directory.AccessKeyCreated{ID: accessKey, OrganizationID: organization, Hash: []byte("hash"), Settings: s, CreatedAt: before}
}

func TestCreateAccessKey(t *testing.T) {
	begin := given[directory.AccessKey](t).As(keeper)
	expires := spec.Now.Add(time.Minute + 1)
	cmd := CreateAccessKey{ID: accessKey, Hash: []byte("hash"), Settings: directory.AccessKeySettings{Name: " Key ", Active: true, AllowUnauthenticated: true, Advanced: true,
		Rights: []string{"ViewJob", "ViewJob"}, AllowedAddresses: []string{" 10.1.2.3/8 ", "192.0.2.1", "192.0.2.1/32", "2001:db8::/32", "::ffff:192.0.2.7"}, ExpiresAt: &expires}}
	stored := spec.Now.Add(time.Minute)
	settings := keySettings(func(s *directory.AccessKeySettings) {
		s.AllowUnauthenticated, s.Advanced, s.Rights, s.ExpiresAt = true, true, []string{"ViewJob"}, &stored
		s.AllowedAddresses = []string{"10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "192.0.2.7"}
	})
	state := begin.When(cmd).Then(directory.AccessKeyCreated{ID: accessKey, OrganizationID: sales, Hash: []byte("hash"), Settings: settings, CreatedAt: spec.Now})
	require.Equal(t, []domain.Key{{Kind: "accesskey-name", Scope: sales.String(), Value: "key"}, {Kind: "accesskey-value", Value: "hash"}}, state.Keys())

	begin.When(CreateAccessKey{ID: accessKey, OrganizationID: lab, Settings: directory.AccessKeySettings{Kind: "X", Rights: []string{"ViewJob", "Fly"},
		AllowedAddresses: []string{"10.0.0.0/33", "1.2.3.4", "host"}, ExpiresAt: ptr(spec.Now)}}).
		ThenFault(fault.Invalid, "organizationId", "name", "kind", "rights[1]", "allowedAddresses[0]", "allowedAddresses[2]", "expiresAt")
	begin.When(CreateAccessKey{ID: accessKey, Settings: keySettings(func(s *directory.AccessKeySettings) { s.AllowedAddresses = slices.Repeat([]string{"10.0.0.1"}, 101) })}).
		ThenFault(fault.Invalid, "allowedAddresses")
	// Nobody makes a key that may do more without a user than they may.
	begin.When(with(cmd, func(c *CreateAccessKey) { c.Settings.Rights = []string{"ViewJob", "DeleteJob"} })).ThenFault(fault.Denied, "rights")
	begin.When(with(cmd, func(c *CreateAccessKey) { c.Settings.Advanced = false })).ThenFault(fault.Denied, "rights")
	for _, harmless := range []func(*CreateAccessKey){
		func(c *CreateAccessKey) {
			c.Settings.Rights, c.Settings.AllowUnauthenticated = []string{"DeleteJob"}, false
		},
		func(c *CreateAccessKey) { c.Settings.AllowUntrusted, c.Settings.AutomaticTrust = true, true },
	} {
		require.NoError(t, begin.When(with(cmd, harmless)).Err())
	}
	given[directory.AccessKey](t, keyCreated(sales, plainKey())).When(cmd).ThenFault(fault.Conflict)
	given[directory.AccessKey](t, keyCreated(sales, plainKey()), directory.AccessKeyDeleted{ID: accessKey}).When(cmd).ThenFault(fault.Conflict)
}

func TestChangeAccessKey(t *testing.T) {
	was := keySettings(func(s *directory.AccessKeySettings) {
		s.AllowUnauthenticated, s.Advanced, s.Rights, s.ExpiresAt = true, true, []string{"DeleteJob"}, ptr(tomorrow)
	})
	begin := given[directory.AccessKey](t, keyCreated(sales, was)).As(keeper)
	changed := func(change func(*directory.AccessKeySettings)) directory.AccessKeySettings { return with(was, change) }
	begin.When(UpdateAccessKey{accessKey, was}).ThenNothing()
	// Rights that somebody else gave stay; others are not the keeper's to give.
	renamed := changed(func(s *directory.AccessKeySettings) { s.Name, s.AllowedAddresses = "Other", []string{"10.0.0.1"} })
	begin.When(UpdateAccessKey{accessKey, renamed}).Then(directory.AccessKeyChanged{ID: accessKey, Settings: renamed, At: spec.Now})
	begin.When(UpdateAccessKey{accessKey, changed(func(s *directory.AccessKeySettings) { s.Rights = []string{"AddJob", "DeleteJob"} })}).ThenFault(fault.Denied, "rights")
	begin.When(UpdateAccessKey{accessKey, changed(func(s *directory.AccessKeySettings) { s.Name = "" })}).ThenFault(fault.Invalid, "name")
	given[directory.AccessKey](t, keyCreated(sales, changed(func(s *directory.AccessKeySettings) { s.Active = false }))).As(keeper).
		When(UpdateAccessKey{accessKey, was}).ThenFault(fault.Denied, "rights")
	// An expired key may be changed without being revived.
	past := changed(func(s *directory.AccessKeySettings) { s.ExpiresAt, s.Rights = ptr(before), []string{} })
	given[directory.AccessKey](t, keyCreated(sales, past)).As(keeper).When(UpdateAccessKey{accessKey, with(past, func(s *directory.AccessKeySettings) { s.Name = "Other" })}).
		Then(directory.AccessKeyChanged{ID: accessKey, Settings: with(past, func(s *directory.AccessKeySettings) { s.Name = "Other" }), At: spec.Now})

	state := begin.When(DeleteAccessKey{accessKey}).Then(directory.AccessKeyDeleted{ID: accessKey, At: spec.Now})
	require.Empty(t, state.Keys())
	for _, cmd := range []commands.Command[directory.AccessKey]{UpdateAccessKey{accessKey, was}, DeleteAccessKey{accessKey}} {
		given[directory.AccessKey](t).As(keeper).When(cmd).ThenFault(fault.NotFound)
	}
}

func TestAccessKeyUsable(t *testing.T) {
	s := keySettings(func(s *directory.AccessKeySettings) {
		s.AllowedAddresses, s.ExpiresAt = []string{"10.0.0.0/8", "2001:db8::1"}, ptr(tomorrow)
	})
	for from, ok := range map[string]bool{"10.9.9.9": true, "::ffff:10.1.1.1": true, "2001:db8::1": true, "2001:db8::2": false, "11.0.0.1": false} {
		require.Equal(t, ok, s.Usable(spec.Now, netip.MustParseAddr(from)), from)
	}
	from := netip.MustParseAddr("10.0.0.1")
	require.False(t, s.Usable(spec.Now, netip.Addr{}), "an unknown address is none of a list")
	require.False(t, s.Usable(tomorrow, from))
	require.False(t, with(s, func(s *directory.AccessKeySettings) { s.Active = false }).Usable(spec.Now, from))
	require.True(t, plainKey().Usable(spec.Now, netip.Addr{}))
}

func TestCheckAccessKey(t *testing.T) {
	for value, ok := range map[string]bool{strings.Repeat("a", 15): false, strings.Repeat("a", 16): true, strings.Repeat("~", 256): true, strings.Repeat("a", 257): false,
		"0123456789 abcdef": false, "0123456789éabcdef": false} {
		require.Equal(t, ok, CheckAccessKey(value) == "", value)
	}
}

// Every name of the SAFEQ API stands for keys of the catalogue.
func TestSAFEQRights(t *testing.T) {
	require.Len(t, directory.SAFEQRights, 40)
	for name, keys := range directory.SAFEQRights {
		require.NotEmpty(t, keys, name)
		for _, k := range keys {
			require.True(t, directory.KnownPermission(k), "%s: %s", name, k)
		}
	}
	require.Equal(t, []string{"groups.view", "users.view"}, directory.SAFEQPermissions("ViewUser", "ViewUser", "Fly"))
	for _, r := range directory.SystemRoles() {
		for _, k := range r.Permissions {
			require.True(t, directory.KnownPermission(k), "%s: %s", r.Name, k)
		}
		require.True(t, slices.IsSorted(r.Permissions), r.Name)
	}
}

func TestSetAccount(t *testing.T) {
	begin := given[directory.Organization](t, organization(sales, "Sales")).As(keeper)
	set := func(s directory.AccountSettings) SetAccount { return SetAccount{sales, s} }
	settings := directory.AccountSettings{Type: directory.Vendor, DomainNames: []string{" Print.Example.com ", "print.example.com", "192.0.2.1"}, ApplicationName: " P ", TrustAllClients: true,
		LocationID: 3, AccessSeconds: 60, RefreshDays: 1, KeepHours: 2, NameLogins: true}
	stored := with(settings, func(s *directory.AccountSettings) {
		s.DomainNames, s.ApplicationName = []string{"print.example.com", "192.0.2.1"}, "P"
	})
	state := begin.When(set(settings)).Then(directory.AccountChanged{ID: sales, Settings: stored, At: spec.Now})
	require.Contains(t, state.Keys(), domain.Key{Kind: "account-domainNames", Value: "print.example.com"})
	require.Empty(t, state.Apply(directory.OrganizationDeleted{ID: sales}).Keys())
	given[directory.Organization](t, organization(sales, "Sales"), directory.AccountChanged{ID: sales, Settings: stored}).As(keeper).When(set(settings)).ThenNothing()
	begin.When(set(directory.AccountSettings{})).ThenNothing()
	begin.When(set(directory.AccountSettings{}.Defaulted())).ThenNothing()
	begin.When(set(directory.AccountSettings{Type: 4, DomainNames: []string{"a", "-a.example", "a:80", "a b", ""}, ApplicationName: "a\nb", LocationID: -1, AccessSeconds: 59, RefreshDays: -1, KeepHours: 87_601})).
		ThenFault(fault.Invalid, "type", "applicationName", "domainNames[1]", "domainNames[2]", "domainNames[3]", "domainNames[4]", "locationId", "accessSeconds", "refreshDays", "keepHours")
	begin.When(set(directory.AccountSettings{DomainNames: slices.Repeat([]string{"a"}, 101)})).ThenFault(fault.Invalid, "domainNames")
	// The root has an account, too.
	given[directory.Organization](t, global()).When(SetAccount{directory.GlobalID, directory.AccountSettings{KeepHours: 1}}).
		Then(directory.AccountChanged{ID: directory.GlobalID, Settings: directory.AccountSettings{DomainNames: []string{}, KeepHours: 1}, At: spec.Now})
	given[directory.Organization](t).When(set(settings)).ThenFault(fault.NotFound)
}

func TestLinkedGroups(t *testing.T) {
	linked := directory.GroupLinked{ID: staff, Source: "ad", ExternalID: "CN=Staff", At: spec.Now}
	cmd := CreateGroup{ID: staff, OrganizationID: sales, Details: Details{Name: "Staff"}, Source: " ad", ExternalID: "CN=Staff "}
	state := given[directory.Group](t).As(clerk).When(cmd).Then(
		directory.GroupCreated{ID: staff, Number: spec.Number, OrganizationID: sales, Name: "Staff", Roles: ids(), CreatedAt: spec.Now}, linked)
	require.Contains(t, state.Keys(), domain.Key{Kind: "group-externalId", Scope: sales.String(), Value: "cn=staff"})
	given[directory.Group](t).When(with(cmd, func(c *CreateGroup) { c.Source, c.ExternalID = "a\nb", strings.Repeat("x", 601) })).ThenFault(fault.Invalid, "source", "externalId")

	begin := given[directory.Group](t, group(staff, sales)).As(clerk)
	begin.When(LinkGroup{staff, "ad", "CN=Staff"}).Then(linked)
	begin.When(LinkGroup{ID: staff}).ThenNothing()
	begin.When(LinkGroup{staff, "\x00", ""}).ThenFault(fault.Invalid, "source")
	given[directory.Group](t, group(staff, sales), linked).As(clerk).When(LinkGroup{ID: staff}).Then(directory.GroupLinked{ID: staff, At: spec.Now})
	given[directory.Group](t).As(clerk).When(LinkGroup{ID: staff}).ThenFault(fault.NotFound)
	begin.When(LinkGroup{ID: directory.EveryoneID}).ThenFault(fault.Conflict)
}

// access adds what sessions and devices of Sales hang on.
func access[S domain.State[S]](s spec.Scenario[S], settings directory.AccessKeySettings, organization domain.ID, user ...domain.Event) spec.Scenario[S] {
	return s.Ref(directory.AccessKeyStream(accessKey), directory.AccessKey{}.Apply(keyCreated(organization, settings))).
		Ref(directory.UserStream(ann), domain.Fold(directory.User{}, user...))
}

func denied(t *testing.T, code string, err error) {
	t.Helper()
	require.True(t, fault.Is(err, fault.Denied), "%v", err)
	require.Equal(t, code, fault.Of(err).Code)
}

func TestOpenSession(t *testing.T) {
	cmd := OpenSession{ID: session, UserID: ann, OrganizationID: sales, AccessKeyID: accessKey, RefreshHash: []byte("r1"), RefreshUntil: tomorrow.Add(1)}
	opened := directory.SessionOpened{ID: session, UserID: ann, OrganizationID: sales, AccessKeyID: accessKey, RefreshHash: []byte("r1"), RefreshUntil: tomorrow, At: spec.Now}
	is := user(ann, sales)
	access(given[directory.Session](t).As(client), plainKey(), sales, is).When(cmd).Then(opened)
	access(given[directory.Session](t).As(client), plainKey(), directory.GlobalID, is).When(cmd).Then(opened) // a key of an account above
	access(given[directory.Session](t).As(client), plainKey(), sales, user(ann, directory.GlobalID)).When(cmd).Then(opened)
	access(given[directory.Session](t, opened), plainKey(), sales, is).When(cmd).ThenFault(fault.Conflict)
	access(given[directory.Session](t), plainKey(), sales, is).When(with(cmd, func(c *OpenSession) { c.RefreshUntil = spec.Now })).ThenFault(fault.Invalid, "refreshUntil")

	refuse := func(code string, settings directory.AccessKeySettings, organization domain.ID, actor domain.Actor, cmd OpenSession, user ...domain.Event) {
		t.Helper()
		denied(t, code, access(given[directory.Session](t).As(actor), settings, organization, user...).When(cmd).Err())
	}
	refuse("accesskey.other", plainKey(), sales, clerk, cmd, is)
	refuse("accesskey.foreign", plainKey(), lab, client, cmd, is)
	refuse("accesskey.ended", keySettings(func(s *directory.AccessKeySettings) { s.Active = false }), sales, client, cmd, is)
	refuse("accesskey.ended", keySettings(func(s *directory.AccessKeySettings) { s.ExpiresAt = ptr(spec.Now) }), sales, client, cmd, is)
	refuse("organization.ended", plainKey(), gone, client, with(cmd, func(c *OpenSession) { c.OrganizationID = gone }), user(ann, gone))
	for _, bad := range [][]domain.Event{nil, {user(ann, lab)}, {recipient(ann, sales)}, {is, directory.UserDeactivated{ID: ann}}, {is, directory.UserDeleted{ID: ann}},
		{is, directory.UserDetailsChanged{ID: ann, ExpiresAt: ptr(spec.Now)}}} {
		refuse("session.user", plainKey(), sales, client, cmd, bad...)
	}
	byDevice := with(cmd, func(c *OpenSession) { c.DeviceID = &device })
	refuse("device.ended", plainKey(), sales, client, byDevice, is)
	trusted := domain.Fold(directory.Device{}, registered(), directory.DeviceApproved{ID: device})
	access(given[directory.Session](t).As(client), plainKey(), sales, is).Ref(directory.DeviceStream(device), trusted).When(byDevice).
		Then(with(opened, func(e *directory.SessionOpened) { e.DeviceID = &device }))
}

func TestRefreshSession(t *testing.T) {
	opened := directory.SessionOpened{ID: session, UserID: ann, OrganizationID: sales, AccessKeyID: accessKey, RefreshHash: []byte("r1"), RefreshUntil: tomorrow, At: before}
	is := user(ann, sales)
	begin := access(given[directory.Session](t, opened).As(client), plainKey(), sales, is)
	cmd := RefreshSession{ID: session, AccessKeyID: accessKey, Spent: []byte("r1"), RefreshHash: []byte("r2"), RefreshUntil: tomorrow.Add(time.Hour)}
	refreshed := directory.SessionRefreshed{ID: session, RefreshHash: []byte("r2"), RefreshUntil: tomorrow.Add(time.Hour), At: spec.Now}
	require.True(t, begin.When(cmd).Then(refreshed).Live)
	// A token that was spent ends the session, and so the one that follows it.
	spent := access(given[directory.Session](t, opened, refreshed).As(client), plainKey(), sales, is)
	revoked := directory.SessionRevoked{ID: session, Reason: "a spent refresh token was used again", At: spec.Now}
	require.False(t, spent.When(cmd).Then(revoked).Live)
	again := with(cmd, func(c *RefreshSession) { c.Spent, c.RefreshHash = []byte("r2"), []byte("r3") })
	require.NoError(t, spent.When(again).Err())

	refuse := func(code string, s spec.Scenario[directory.Session], cmd RefreshSession) {
		t.Helper()
		denied(t, code, s.When(cmd).Err())
	}
	refuse("session.ended", access(given[directory.Session](t, opened, refreshed, revoked).As(client), plainKey(), sales, is), again)
	refuse("session.ended", given[directory.Session](t).As(client), cmd)
	refuse("session.expired", begin.At(tomorrow), cmd)
	refuse("accesskey.other", begin, with(cmd, func(c *RefreshSession) { c.AccessKeyID = key }))
	refuse("accesskey.other", begin.As(clerk), cmd)
	// The check at use: what a session hangs on has ended meanwhile.
	refuse("session.user", access(begin, plainKey(), sales, is, directory.UserDeactivated{ID: ann}), cmd)
	refuse("accesskey.ended", begin.Ref(directory.AccessKeyStream(accessKey), domain.Fold(directory.AccessKey{}, keyCreated(sales, plainKey()), directory.AccessKeyDeleted{ID: accessKey})), cmd)
	fromDevice := with(opened, func(e *directory.SessionOpened) { e.DeviceID = &device })
	refuse("device.ended", access(given[directory.Session](t, fromDevice).As(client), plainKey(), sales, is).
		Ref(directory.DeviceStream(device), domain.Fold(directory.Device{}, registered(), directory.DeviceApproved{ID: device}, directory.DeviceRemoved{ID: device})), cmd)
}

func TestRevokeSession(t *testing.T) {
	opened := directory.SessionOpened{ID: session, UserID: ann, OrganizationID: sales, AccessKeyID: accessKey, RefreshHash: []byte("r1"), RefreshUntil: tomorrow, At: before}
	revoked := directory.SessionRevoked{ID: session, Reason: "left", At: spec.Now}
	cmd := RevokeSession{session, "left"}
	herself := with(clerk, func(a *domain.Actor) { a.UserID = ann })
	for _, actor := range []domain.Actor{client, herself, root} {
		given[directory.Session](t, opened).As(actor).When(cmd).Then(revoked)
	}
	given[directory.Session](t, opened).As(clerk).When(cmd).ThenFault(fault.Denied)
	given[directory.Session](t, opened, revoked).As(clerk).When(cmd).ThenNothing()
}

func registered() directory.DeviceRegistered {
	return directory.DeviceRegistered{ID: device, OrganizationID: sales, AccessKeyID: accessKey, ClientID: "c1", ClientType: "printer", Description: "Hall", CodeHash: []byte("code"), CodeUntil: tomorrow, At: spec.Now}
}

func TestRegisterDevice(t *testing.T) {
	cmd := RegisterDevice{ID: device, OrganizationID: sales, AccessKeyID: accessKey, ClientID: " c1 ", ClientType: "printer", Description: "Hall", CodeHash: []byte("code"), CodeUntil: tomorrow.Add(1)}
	on := func(settings directory.AccessKeySettings, events ...domain.Event) spec.Scenario[directory.Device] {
		return access(given[directory.Device](t, events...).As(client), settings, sales)
	}
	approved := directory.DeviceApproved{ID: device, At: spec.Now}
	trusting := keySettings(func(s *directory.AccessKeySettings) { s.AutomaticTrust = true })
	on(plainKey()).When(cmd).Then(registered())
	on(trusting).When(cmd).Then(registered(), approved)
	signing := with(registered(), func(e *directory.DeviceRegistered) { e.KeyType, e.PublicKey = "ed25519", "AAAA" })
	on(plainKey()).When(with(cmd, func(c *RegisterDevice) { c.KeyType, c.PublicKey = "ed25519", "AAAA" })).Then(signing)
	on(plainKey()).When(RegisterDevice{ID: device, OrganizationID: sales, AccessKeyID: accessKey, ClientType: "toaster", Description: "\x00", KeyType: "dsa", PublicKey: "?", CodeUntil: spec.Now}).
		ThenFault(fault.Invalid, "clientId", "clientType", "description", "keyType", "publicKey", "codeUntil")
	on(plainKey()).When(with(cmd, func(c *RegisterDevice) { c.PublicKey = "AAAA" })).ThenFault(fault.Invalid, "keyType")
	denied(t, "accesskey.other", on(plainKey()).As(clerk).When(cmd).Err())
	denied(t, "accesskey.foreign", access(given[directory.Device](t).As(client), plainKey(), lab).When(cmd).Err())

	// One that waits may ask again. One that is trusted keeps its place, unless the
	// request proves to be its own.
	again := with(cmd, func(c *RegisterDevice) { c.CodeHash, c.Description = []byte("code2"), "Other" })
	anew := with(registered(), func(e *directory.DeviceRegistered) { e.CodeHash, e.Description = []byte("code2"), "Other" })
	issued := directory.DeviceTokenIssued{ID: device, RefreshHash: []byte("r"), RefreshUntil: tomorrow}
	code := directory.DeviceCodeIssued{ID: device, CodeHash: []byte("code2"), CodeUntil: tomorrow, At: spec.Now}
	on(plainKey(), registered()).When(again).Then(anew)
	on(plainKey(), registered(), approved).When(again).ThenFault(fault.Conflict, "clientId")
	on(plainKey(), registered(), approved, issued).When(again).ThenFault(fault.Conflict, "clientId")
	on(plainKey(), registered(), approved, issued).When(with(again, func(c *RegisterDevice) { c.Signed = true })).ThenFault(fault.Conflict, "clientId")
	signed := with(again, func(c *RegisterDevice) { c.Signed = true })
	state := on(plainKey(), signing, approved, issued).When(signed).Then(code)
	require.True(t, state.Approved)
	on(trusting, signing).When(signed).Then(code, approved)
	state = on(plainKey(), registered(), approved, issued).At(tomorrow).When(with(again, func(c *RegisterDevice) { c.CodeUntil = tomorrow.Add(time.Hour) })).
		Then(with(anew, func(e *directory.DeviceRegistered) { e.CodeUntil, e.At = tomorrow.Add(time.Hour), tomorrow }))
	require.False(t, state.Approved, "its tokens had expired: it begins anew")
	on(plainKey(), registered(), approved, directory.DeviceTokensRevoked{ID: device}).When(again).Then(anew)
	on(plainKey(), registered(), directory.DeviceRemoved{ID: device}).When(again).ThenFault(fault.Conflict)
	on(plainKey(), with(registered(), func(e *directory.DeviceRegistered) { e.ClientID = "c2" })).When(again).ThenFault(fault.Conflict)
	// The API key it came with has ended; another is known.
	withOld := func(events ...domain.Event) []domain.Event {
		return append([]domain.Event{with(signing, func(e *directory.DeviceRegistered) { e.AccessKeyID = key })}, events...)
	}
	on(plainKey(), withOld(approved, issued)...).When(again).Then(anew)
	on(plainKey(), withOld(approved, issued)...).When(signed).Then(with(anew, func(e *directory.DeviceRegistered) { e.KeyType, e.PublicKey = "ed25519", "AAAA" }), approved)
}

func TestDeviceTokens(t *testing.T) {
	approved := directory.DeviceApproved{ID: device, At: spec.Now}
	on := func(events ...domain.Event) spec.Scenario[directory.Device] {
		return access(given[directory.Device](t, events...).As(client), plainKey(), sales)
	}
	refuse := func(code string, s spec.Scenario[directory.Device], cmd commands.Command[directory.Device]) {
		t.Helper()
		denied(t, code, s.When(cmd).Err())
	}
	given[directory.Device](t, registered()).As(keeper).When(ApproveDevice{device}).Then(approved)
	given[directory.Device](t, registered(), approved).As(keeper).When(ApproveDevice{device}).ThenNothing()
	given[directory.Device](t, registered()).As(keeper).When(RemoveDevice{device}).Then(directory.DeviceRemoved{ID: device, At: spec.Now})
	for _, cmd := range []commands.Command[directory.Device]{ApproveDevice{device}, RemoveDevice{device}} {
		given[directory.Device](t).As(keeper).When(cmd).ThenFault(fault.NotFound)
	}

	fetch := IssueDeviceToken{ID: device, AccessKeyID: accessKey, ClientID: "c1", Code: []byte("code"), RefreshHash: []byte("r1"), RefreshUntil: tomorrow}
	issued := directory.DeviceTokenIssued{ID: device, RefreshHash: []byte("r1"), RefreshUntil: tomorrow, At: spec.Now}
	require.Nil(t, on(registered(), approved).When(fetch).Then(issued).CodeHash, "a code is good once")
	refuse("device.pending", on(registered()), fetch)
	refuse("device.code", on(registered(), approved), with(fetch, func(c *IssueDeviceToken) { c.Code = []byte("other") }))
	refuse("device.code", on(registered(), approved, issued), fetch)
	refuse("device.code-expired", on(registered(), approved).At(tomorrow), fetch)
	refuse("device.ended", on(registered(), approved), with(fetch, func(c *IssueDeviceToken) { c.ClientID = "c2" }))
	refuse("device.ended", on(), fetch)
	refuse("accesskey.other", on(registered(), approved), with(fetch, func(c *IssueDeviceToken) { c.AccessKeyID = key }))
	refuse("accesskey.other", on(registered(), approved).As(clerk), fetch)
	gone := domain.Fold(directory.AccessKey{}, keyCreated(sales, plainKey()), directory.AccessKeyDeleted{ID: accessKey})
	refuse("accesskey.ended", on(registered(), approved).Ref(directory.AccessKeyStream(accessKey), gone), fetch)

	refresh := RefreshDevice{ID: device, AccessKeyID: accessKey, ClientID: "c1", Spent: []byte("r1"), RefreshHash: []byte("r2"), RefreshUntil: tomorrow}
	next := with(issued, func(e *directory.DeviceTokenIssued) { e.RefreshHash = []byte("r2") })
	on(registered(), approved, issued).When(refresh).Then(next)
	state := on(registered(), approved, issued, next).When(refresh).Then(directory.DeviceTokensRevoked{ID: device, Reason: "a spent refresh token was used again", At: spec.Now})
	require.False(t, state.Approved || state.RefreshHash != nil)
	refuse("device.ended", on(registered(), approved, issued, directory.DeviceTokensRevoked{ID: device}), refresh)
	refuse("device.ended", on(registered(), approved), refresh)
	refuse("device.ended", on(registered(), approved, issued, directory.DeviceRemoved{ID: device}), refresh)
	refuse("device.expired", on(registered(), approved, issued).At(tomorrow), refresh)
	refuse("accesskey.ended", on(registered(), approved, issued).Ref(directory.AccessKeyStream(accessKey), gone), refresh)
	on(registered(), approved, issued).When(with(refresh, func(c *RefreshDevice) { c.RefreshUntil = spec.Now })).ThenFault(fault.Invalid, "refreshUntil")
}

func TestOrphanedAccess(t *testing.T) {
	orphanKey, orphanDevice := keyCreated(gone, plainKey()), with(registered(), func(e *directory.DeviceRegistered) { e.OrganizationID = gone })
	given[directory.AccessKey](t, orphanKey).When(EndOrphanedAccessKey{accessKey}).Then(directory.AccessKeyDeleted{ID: accessKey, At: spec.Now})
	given[directory.Device](t, orphanDevice).When(EndOrphanedDevice{device}).Then(directory.DeviceRemoved{ID: device, At: spec.Now})
	given[directory.AccessKey](t, keyCreated(sales, plainKey())).When(EndOrphanedAccessKey{accessKey}).ThenNothing()
	given[directory.Device](t, registered()).When(EndOrphanedDevice{device}).ThenNothing()
	given[directory.AccessKey](t, orphanKey, directory.AccessKeyDeleted{ID: accessKey}).When(EndOrphanedAccessKey{accessKey}).ThenNothing()
	operator := domain.Actor{UserID: me, Permissions: permissions("operations.edit"), Unrestricted: true}
	given[directory.AccessKey](t, orphanKey).As(operator).When(EndOrphanedAccessKey{accessKey}).ThenFault(fault.Denied)
	given[directory.Device](t, orphanDevice).As(operator).When(EndOrphanedDevice{device}).ThenFault(fault.Denied)
}

// Values that lead to one thing are claimed in the log.
func TestAccessThroughTheBus(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, send(w, root, CreateOrganization{ID: sales, Details: OrganizationDetails{DisplayName: "Sales"}}))
	require.NoError(t, send(w, root, CreateOrganization{ID: lab, Details: OrganizationDetails{DisplayName: "Lab"}}))
	taken := func(field string, err error) {
		t.Helper()
		require.True(t, fault.Is(err, fault.Unique), "%v", err)
		require.Equal(t, field, fault.Of(err).Fields[0].Path)
	}
	name := func(names ...string) directory.AccountSettings { return directory.AccountSettings{DomainNames: names} }
	require.NoError(t, send(w, root, SetAccount{sales, name("a.example", "b.example")}))
	taken("domainNames", send(w, root, SetAccount{lab, name("B.example")}))
	require.NoError(t, send(w, root, SetAccount{sales, name("a.example")}))
	require.NoError(t, send(w, root, SetAccount{lab, name("b.example")}))

	person := func(id, organization domain.ID, name string, cards ...string) CreateUser {
		return CreateUser{ID: id, Person: Person{UserName: &name}, Membership: Membership{Organizations: ids(organization)}, Cards: cards}
	}
	require.NoError(t, send(w, root, person(ann, sales, "ann", "04AB")))
	taken("cards", send(w, root, person(bob, sales, "bob", "04ab")))
	require.NoError(t, send(w, root, person(bob, lab, "bob", "04ab")), "another organization, another card system")
	taken("cards", send(w, root, UpdateUser{ID: bob, Person: Person{UserName: ptr("bob")}, Membership: Membership{Organizations: ids(sales)}}))
	require.NoError(t, send(w, root, DeleteUser{ann}))
	require.NoError(t, send(w, root, UpdateUser{ID: bob, Person: Person{UserName: ptr("bob")}, Membership: Membership{Organizations: ids(sales)}}), "a card goes with its person")

	require.NoError(t, send(w, root, CreateAccessKey{ID: accessKey, OrganizationID: sales, Hash: []byte("h"), Settings: plainKey()}))
	taken("value", send(w, root, CreateAccessKey{ID: key, OrganizationID: lab, Hash: []byte("h"), Settings: plainKey()}))
	taken("name", send(w, root, CreateAccessKey{ID: key, OrganizationID: sales, Hash: []byte("h2"), Settings: plainKey()}))
	register := func(id domain.ID) RegisterDevice {
		return RegisterDevice{ID: id, OrganizationID: sales, AccessKeyID: accessKey, ClientID: "c1", ClientType: "printer", CodeHash: []byte("c"), CodeUntil: tomorrow}
	}
	require.NoError(t, send(w, client, register(device)))
	taken("clientId", send(w, client, register(id(0x163))))
}
