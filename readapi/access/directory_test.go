package access_test

import (
	"context"
	"encoding/hex"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
	"docket/eventstore"
	"docket/eventstore/memory"
	"docket/internal/postgres/pgtest"
	"docket/internal/vault"
	"docket/projections"
	projected "docket/projections/directory"
	"docket/readapi/access"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func id(n uint32) domain.ID { return domain.WellKnownID(n) }

func ptr[T any](v T) *T { return &v }

var (
	sales, north, lab    = id(0x100), id(0x101), id(0x102) // North lies below Sales
	ann, bob, cid        = id(0x110), id(0x111), id(0x112)
	staff, key, device   = id(0x120), id(0x130), id(0x140)
	reader, session, old = id(0x150), id(0x160), id(0x161)
	root                 = domain.System(directory.GlobalID)
	now                  = time.Now().UTC().Truncate(time.Microsecond)
)

// world is an installation whose read models follow a log in memory.
type world struct {
	*testing.T
	bus    *commands.Bus
	pool   *pgxpool.Pool
	models *projections.Engine
}

func newWorld(t *testing.T) world {
	codec := eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events(), reporting.Events())...)
	store, pool := memory.New(), pgtest.New(t)
	engine, err := projections.NewEngine(projections.Config{Store: store, Codec: codec, Pool: pool, Groups: []*projections.Group{projected.Group()}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	bus := commands.NewBus(commands.Config{Store: store, Codec: codec, Digest: func(a, b string) string { return hex.EncodeToString(vault.HashToken(a + b)) }, Waiter: engine, Wait: time.Minute})
	commanded.Register(bus)
	return world{t, bus, pool, engine}
}

func (w world) ctx() context.Context {
	return domain.WithActor(commands.WithRequest(w.Context(), commands.NewRequest("test", now)), root)
}

func do[S domain.State[S]](w world, cmd commands.Command[S]) {
	w.Helper()
	done, err := commands.Send(w.ctx(), w.bus, cmd)
	require.NoError(w, err)
	require.True(w, done.Current || done.Position == 0, "%+v", w.models.Status(w.Context()))
}

// furnish makes three organizations and people in them who share card numbers.
func (w world) furnish() {
	w.Helper()
	require.NoError(w, commanded.Bootstrap(w.ctx(), w.bus, []byte("key")))
	for _, o := range [][2]domain.ID{{sales, directory.GlobalID}, {north, sales}, {lab, directory.GlobalID}} {
		do(w, commanded.CreateOrganization{ID: o[0], ParentID: o[1], Details: commanded.OrganizationDetails{DisplayName: o[0].String()}})
	}
	do(w, commanded.CreateRole{ID: reader, OrganizationID: sales, Details: commanded.Details{Name: "Reader"}, Rights: commanded.Rights{Permissions: []string{"documents.view"}, AllProjects: true}, Active: true})
	do(w, commanded.CreateGroup{ID: staff, OrganizationID: sales, Details: commanded.Details{Name: "Staff"}, Active: true, Roles: []domain.ID{reader}, Source: "ad", ExternalID: "CN=Staff"})
	in := func(groups []domain.ID, organizations ...domain.ID) commanded.Membership {
		return commanded.Membership{Organizations: organizations, Groups: groups}
	}
	do(w, commanded.CreateUser{ID: ann, Person: commanded.Person{UserName: ptr("Ann"), FirstName: "Ann", LastName: "Lee", Email: "ann@example.com"}, PasswordHash: "h", PINHash: "p", Active: true,
		Membership: in([]domain.ID{staff}, sales), Cards: []string{"04AB", "07"}, Details: commanded.UserDetails{Department: ptr("D"), HomeFolder: ptr("/h"), Alias: ptr("Boss@x"), ShortID: ptr("A1"),
			ExternalID: ptr("Guid"), ExpiresAt: ptr(now.Add(time.Hour))}})
	do(w, commanded.CreateUser{ID: bob, Person: commanded.Person{UserName: ptr("bob")}, Active: true, Membership: in(nil, north), Cards: []string{"04ab"}, Details: commanded.UserDetails{ShortID: ptr("a1")}})
	do(w, commanded.CreateUser{ID: cid, Person: commanded.Person{UserName: ptr("cid")}, Active: true, Membership: in(nil, lab), Cards: []string{"04ab"}})
}

func TestPeople(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	d := access.NewDirectory(w.pool)
	who := func(account domain.ID, by access.PersonKey, value string) (found []domain.ID) {
		t.Helper()
		people, err := d.People(t.Context(), account, by, value)
		require.NoError(t, err)
		for _, p := range people {
			found = append(found, p.ID)
		}
		return found
	}
	one := []domain.ID{ann}
	require.Equal(t, one, who(sales, access.ByUserName, " aNN "))
	require.Equal(t, one, who(directory.GlobalID, access.ByEmail, "ANN@example.com"))
	require.Equal(t, one, who(sales, access.ByAlias, "boss@X"))
	require.Equal(t, one, who(sales, access.ByExternalID, "Guid"))
	require.Empty(t, who(sales, access.ByExternalID, "guid"))
	require.Equal(t, one, who(sales, access.ByUserID, ann.String()))
	require.Empty(t, who(north, access.ByUserName, "ann"), "in the account above, not in this one")
	require.Empty(t, who(lab, access.ByUserID, ann.String()))
	// The same card in several organizations: the nearest first.
	require.Equal(t, []domain.ID{ann, bob}, who(sales, access.ByCard, " 04Ab"))
	require.Equal(t, []domain.ID{bob}, who(north, access.ByCard, "04ab"))
	require.Equal(t, []domain.ID{ann, cid, bob}, who(directory.GlobalID, access.ByCard, "04ab"))
	require.Equal(t, []domain.ID{ann, bob}, who(sales, access.ByShortID, "a1"))
	for by := access.ByUserName; by <= access.ByUserID; by++ {
		require.Empty(t, who(directory.GlobalID, by, ""), "nobody is found by nothing (%d)", by)
		require.Empty(t, who(directory.GlobalID, by, "'; select"), "%d", by)
	}

	people, err := d.People(t.Context(), directory.GlobalID, access.ByCard, "07")
	require.NoError(t, err)
	a := people[0]
	require.Equal(t, []domain.ID{ann}, who(sales, access.ByNumber, strconv.Itoa(int(a.Number))))
	require.Positive(t, a.GroupNumbers[0])
	expires := a.ExpiresAt.UTC()
	a.Number, a.AccountNumber, a.GroupNumbers, a.CreatedAt, a.ExpiresAt = 0, 0, nil, time.Time{}, &expires
	require.Equal(t, access.Person{ID: ann, AccountID: sales, OrganizationID: sales, UserName: "Ann", FullName: "Ann Lee", Email: "ann@example.com", Active: true, HasPassword: true,
		HasPIN: true, Department: "D", HomeFolder: "/h", Alias: "Boss@x", ShortID: "A1", ExternalID: "Guid", ExpiresAt: ptr(now.Add(time.Hour)), Cards: []string{"04AB", "07"}}, a)

	// What changes is followed: cards move home with the person and go with them.
	do(w, commanded.RemoveCard{UserID: ann, Card: "07"})
	require.Empty(t, who(sales, access.ByCard, "07"))
	do(w, commanded.AddCard{UserID: ann, Card: "08"})
	do(w, commanded.SetUserDetails{ID: ann, PasswordHash: ptr(""), PINHash: ptr(""), Details: commanded.UserDetails{Alias: ptr(""), ExpiresAt: &time.Time{}}})
	people, err = d.People(t.Context(), sales, access.ByCard, "08")
	require.NoError(t, err)
	require.False(t, people[0].HasPIN || people[0].HasPassword || people[0].ExpiresAt != nil || people[0].Alias != "")
	do(w, commanded.UpdateUser{ID: ann, Person: commanded.Person{UserName: ptr("ann")}, Membership: commanded.Membership{Organizations: []domain.ID{directory.GlobalID}}})
	var home domain.ID
	require.NoError(t, w.pool.QueryRow(t.Context(), "select distinct organization_id from rm_directory.user_cards where user_id = $1", ann).Scan(&home))
	require.Equal(t, directory.GlobalID, home)
	do(w, commanded.DeleteUser{ID: ann})
	var left int
	require.NoError(t, w.pool.QueryRow(t.Context(), "select count(*) from rm_directory.user_cards where user_id = $1", ann).Scan(&left))
	require.Zero(t, left)
}

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	d := access.NewDirectory(w.pool)
	do(w, commanded.SetAccount{OrganizationID: north, Settings: directory.AccountSettings{Type: directory.Vendor, DomainNames: []string{"n.example", "n2.example"}, KeepHours: 3, NameLogins: true}})
	a, err := d.AccountByDomain(t.Context(), "N.example ")
	require.NoError(t, err)
	s, err := d.AccountByID(t.Context(), sales)
	require.NoError(t, err)
	require.Equal(t, directory.AccountSettings{DomainNames: []string{}}.Defaulted(), s.Settings)
	require.Equal(t, &access.Account{ID: north, Number: a.Number, ParentNumber: s.Number, Path: []domain.ID{directory.GlobalID, sales, north}, Name: north.String(), CreatedAt: a.CreatedAt,
		Settings: directory.AccountSettings{Type: directory.Vendor, DomainNames: []string{"n.example", "n2.example"}, ApplicationName: "Docket", AccessSeconds: 3600, RefreshDays: 90, KeepHours: 3, NameLogins: true}}, a)
	same, err := d.AccountByNumber(t.Context(), a.Number)
	require.NoError(t, err)
	require.Equal(t, a, same)
	below, err := d.Subtree(t.Context(), sales)
	require.NoError(t, err)
	require.Equal(t, []domain.ID{sales, north}, below)

	// A name goes from one account to another.
	do(w, commanded.SetAccount{OrganizationID: north, Settings: directory.AccountSettings{DomainNames: []string{"n2.example"}}})
	do(w, commanded.SetAccount{OrganizationID: lab, Settings: directory.AccountSettings{DomainNames: []string{"n.example"}}})
	for name, want := range map[string]*domain.ID{"n.example": &lab, "n2.example": &north, "example": nil, "": nil} {
		a, err := d.AccountByDomain(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want == nil, a == nil, name)
		if want != nil {
			require.Equal(t, *want, a.ID, name)
		}
	}
}

func TestAccessKeys(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	d := access.NewDirectory(w.pool)
	settings := directory.AccessKeySettings{Name: "K", Kind: directory.ChromeKey, Active: true, AllowUnauthenticated: true, Advanced: true, Rights: []string{"ViewUser"},
		AllowedAddresses: []string{"10.0.0.0/8"}}
	do(w, commanded.CreateAccessKey{ID: key, OrganizationID: sales, Hash: vault.HashToken("value"), Settings: settings})
	k, err := d.AccessKey(t.Context(), "value")
	require.NoError(t, err)
	require.Equal(t, &access.AccessKey{ID: key, OrganizationID: sales, Settings: settings}, k)
	none, err := d.AccessKey(t.Context(), "other")
	require.NoError(t, err)
	require.Nil(t, none)
	for account, covered := range map[domain.ID]bool{sales: true, north: true, lab: false, directory.GlobalID: false} {
		a, err := d.AccountByID(t.Context(), account)
		require.NoError(t, err)
		require.Equal(t, covered, k.Covers(*a), account)
	}
	actor, err := d.KeyActor(t.Context(), *k, sales)
	require.NoError(t, err)
	require.Equal(t, domain.Actor{UserID: key, KeyID: &key, Tenant: sales, Organizations: []domain.ID{sales, north}, Permissions: map[string]bool{"users.view": true, "groups.view": true}}, actor)

	// Kept for half a second at most; Forget makes a change count at once.
	do(w, commanded.DeleteAccessKey{ID: key})
	d.Forget()
	for _, find := range []func() (*access.AccessKey, error){
		func() (*access.AccessKey, error) { return d.AccessKey(t.Context(), "value") },
		func() (*access.AccessKey, error) { return d.AccessKeyByID(t.Context(), key) },
	} {
		k, err = find()
		require.NoError(t, err)
		require.Nil(t, k)
	}
}

func TestDevicesAndSessions(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	d := access.NewDirectory(w.pool)
	do(w, commanded.CreateAccessKey{ID: key, OrganizationID: sales, Hash: []byte("k"), Settings: directory.AccessKeySettings{Name: "K", Active: true}})
	do(w, commanded.RegisterDevice{ID: device, OrganizationID: north, AccessKeyID: key, ClientID: "C1", ClientType: "printer", KeyType: "ed25519", PublicKey: "AAAA", CodeHash: []byte("c"), CodeUntil: now.Add(time.Hour)})
	want := &access.Device{ID: device, OrganizationID: north, AccessKeyID: key, ClientID: "C1", ClientType: "printer", KeyType: "ed25519", PublicKey: "AAAA"}
	find := func() *access.Device {
		t.Helper()
		found, err := d.DeviceByClient(t.Context(), north, "C1")
		require.NoError(t, err)
		same, err := d.DeviceByID(t.Context(), device)
		require.NoError(t, err)
		require.Equal(t, found, same)
		return found
	}
	require.Equal(t, want, find())
	do(w, commanded.ApproveDevice{ID: device})
	do(w, commanded.IssueDeviceToken{ID: device, AccessKeyID: key, ClientID: "C1", Code: []byte("c"), RefreshHash: []byte("r"), RefreshUntil: now.Add(time.Hour)})
	want.Approved = true
	require.Equal(t, want, find())
	elsewhere, err := d.DeviceByClient(t.Context(), sales, "C1")
	require.NoError(t, err)
	require.Nil(t, elsewhere)
	do(w, commanded.RefreshDevice{ID: device, AccessKeyID: key, ClientID: "C1", Spent: []byte("stolen"), RefreshHash: []byte("r2"), RefreshUntil: now.Add(time.Hour)})
	require.False(t, find().Approved, "a spent token takes the trust away")
	do(w, commanded.RemoveDevice{ID: device})
	require.Nil(t, find())

	for _, s := range []domain.ID{session, old} {
		do(w, commanded.OpenSession{ID: s, UserID: bob, OrganizationID: north, AccessKeyID: key, RefreshHash: []byte("r"), RefreshUntil: now.Add(time.Hour)})
	}
	do(w, commanded.RevokeSession{ID: old, Reason: "left"})
	for s, want := range map[domain.ID]bool{session: false, old: true} {
		revoked, err := d.SessionRevoked(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, want, revoked)
	}
}

// A user acts with what a key of theirs would give them.
func TestUserActor(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	r := access.NewResolver(w.pool)
	actor, err := r.User(t.Context(), ann, sales)
	require.NoError(t, err)
	require.Equal(t, ann, actor.UserID)
	require.Nil(t, actor.KeyID)
	require.Equal(t, sales, actor.Tenant)
	require.Equal(t, []domain.ID{sales, north}, actor.Organizations)
	require.Equal(t, map[string]bool{"documents.view": true}, actor.Permissions, "by the group, and without the right to use API keys")
	below, err := r.User(t.Context(), ann, north)
	require.NoError(t, err)
	require.Equal(t, []domain.ID{north}, below.Organizations)
	admin, err := r.User(t.Context(), directory.AdministratorID, directory.GlobalID)
	require.NoError(t, err)
	require.True(t, admin.Everything && admin.Unrestricted)

	refused := func(user, organization domain.ID) {
		t.Helper()
		r.Forget()
		_, err := r.User(t.Context(), user, organization)
		require.True(t, fault.Is(err, fault.Unauthenticated), "%v", err)
	}
	refused(ann, lab)
	refused(bob, sales)
	refused(id(9), sales)
	refused(ann, id(9))
	do(w, commanded.SetUserDetails{ID: ann, Details: commanded.UserDetails{ExpiresAt: ptr(now.Add(-time.Second))}})
	refused(ann, sales)
	do(w, commanded.SetUserDetails{ID: ann, Details: commanded.UserDetails{ExpiresAt: &time.Time{}}})
	r.Forget()
	_, err = r.User(t.Context(), ann, sales)
	require.NoError(t, err)
	do(w, commanded.UpdateUser{ID: ann, Person: commanded.Person{UserName: ptr("ann")}, Active: ptr(false)})
	refused(ann, sales)
}
