package directory

import (
	"fmt"
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

// cardClerk is the clerk who may also manage cards and generate short ids.
var cardClerk = with(clerk, func(a *domain.Actor) {
	a.Permissions = permissions("users.create", "users.edit", "groups.edit", "cards.manage", "shortIds.generate", "tasks.view")
})

func cardAdded(card string) directory.UserCardAdded {
	return directory.UserCardAdded{ID: ann, Card: card, At: spec.Now}
}

func cardRemoved(card string) directory.UserCardRemoved {
	return directory.UserCardRemoved{ID: ann, Card: card, At: spec.Now}
}

func TestCreateUserWithEverything(t *testing.T) {
	until := spec.Now.Add(time.Hour + 1)
	cmd := CreateUser{ID: ann, Person: Person{UserName: ptr("ann")}, Source: "ad", Membership: Membership{Organizations: ids(sales)}, PINHash: "p", Cards: []string{" 04AB ", "04ab", "05"},
		Details: UserDetails{Department: ptr(" D "), HomeFolder: ptr("/h"), Alias: ptr("bob@x#PID"), ShortID: ptr("12"), ExternalID: ptr("guid"), ExpiresAt: &until}}
	stored := spec.Now.Add(time.Hour)
	state := given[directory.User](t).As(clerk).When(cmd).Then(
		directory.UserCreated{ID: ann, Number: spec.Number, Kind: directory.KindUser, UserName: "ann", Language: "en", Roles: ids(), Organizations: ids(sales), Groups: ids(), Source: "ad", CreatedAt: spec.Now},
		directory.UserDetailsChanged{ID: ann, Department: "D", HomeFolder: "/h", Alias: "bob@x#PID", ShortID: "12", ExternalID: "guid", ExpiresAt: &stored, At: spec.Now},
		directory.UserPINChanged{ID: ann, PINHash: "p", At: spec.Now}, cardAdded("04AB"), cardAdded("05"))
	require.Equal(t, []string{"04AB", "05"}, state.Cards)
	home := sales.String()
	require.Equal(t, []domain.Key{{Kind: "user-userName", Value: "ann"}, {Kind: "user-shortId", Scope: home, Value: "12"}, {Kind: "user-externalId", Value: "ad\x00guid"},
		{Kind: "user-cards", Scope: home, Value: "04ab"}, {Kind: "user-cards", Scope: home, Value: "05"}}, state.Keys())

	bad := with(cmd, func(c *CreateUser) {
		c.Details = UserDetails{Department: ptr("a\nb"), HomeFolder: ptr(long + "x"), Alias: ptr(strings.Repeat("a", 257)), ShortID: ptr("\x00"), ExternalID: ptr(strings.Repeat("é", 257))}
		c.Cards = []string{"1", " ", "a\nb", strings.Repeat("1", 129)}
	})
	given[directory.User](t).When(bad).ThenFault(fault.Invalid, "department", "homeFolder", "alias", "shortId", "externalId", "cards[1]", "cards[2]", "cards[3]")
	given[directory.User](t).When(with(cmd, func(c *CreateUser) { c.Cards = manyCards(101) })).ThenFault(fault.Invalid, "cards")
	most := with(cmd, func(c *CreateUser) { c.Details, c.PINHash, c.Cards = UserDetails{}, "", manyCards(100) })
	events, err := most.Decide(directory.User{}, commands.Env{Actor: root, Now: spec.Now}.
		WithRef(directory.OrganizationStream(sales), directory.Organization{}.Apply(organization(sales, "Sales"))))
	require.NoError(t, err)
	require.Len(t, events, 101)
}

func manyCards(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("c", i)
	}
	return all
}

// Directories send whole users again and again: nothing is recorded of what is so
// already.
func TestUpdateUserDetails(t *testing.T) {
	until := spec.Now.Add(time.Hour)
	details := directory.UserDetailsChanged{ID: ann, Department: "D", ShortID: "12", ExternalID: "x", ExpiresAt: &until, At: before}
	was := []domain.Event{user(ann, sales), details, directory.UserPINChanged{ID: ann, PINHash: "p"}, directory.UserCardAdded{ID: ann, Card: "AA"}, directory.UserCardAdded{ID: ann, Card: "bb"}}
	begin := given[directory.User](t, was...).As(cardClerk)
	same := UpdateUser{ID: ann, Person: annIs(), PINHash: ptr("p"), Cards: []string{"aa", "BB"},
		Details: UserDetails{Department: ptr("D "), HomeFolder: ptr(""), ShortID: ptr("12"), ExternalID: ptr("x"), ExpiresAt: ptr(until.In(time.FixedZone("x", 3600)))}}
	begin.When(same).ThenNothing()
	begin.When(UpdateUser{ID: ann, Person: annIs()}).ThenNothing()

	changed := details
	changed.Department, changed.ShortID, changed.ExpiresAt, changed.At = "E", "", nil, spec.Now
	state := begin.When(with(same, func(c *UpdateUser) {
		c.Details = UserDetails{Department: ptr("E"), ShortID: ptr(""), ExpiresAt: &time.Time{}}
		c.PINHash, c.Cards = ptr(""), []string{"bb", "cc"}
	})).Then(changed, directory.UserPINChanged{ID: ann, At: spec.Now}, cardRemoved("AA"), cardAdded("cc"))
	require.Equal(t, []string{"bb", "cc"}, state.Cards)
	begin.When(with(same, func(c *UpdateUser) { c.Cards = []string{} })).Then(cardRemoved("AA"), cardRemoved("bb"))

	// Cards and short ids of others take permissions of their own.
	weak := given[directory.User](t, was...).As(clerk)
	weak.When(same).ThenNothing()
	weak.When(with(same, func(c *UpdateUser) { c.Cards = []string{"zz"} })).ThenFault(fault.Denied, "cards")
	weak.When(with(same, func(c *UpdateUser) { c.Details.ShortID = ptr("13") })).ThenFault(fault.Denied, "shortId")
	weak.When(with(same, func(c *UpdateUser) { c.Details.Department = ptr("E") })).
		Then(with(details, func(e *directory.UserDetailsChanged) { e.Department, e.At = "E", spec.Now }))
}

func TestSetUserDetails(t *testing.T) {
	begin := given[directory.User](t, user(ann, sales)).As(cardClerk)
	profile := directory.UserProfileChanged{ID: ann, FirstName: "Ludwig", LastName: "van Beethoven", Email: "ann@example.com", Language: "fr", At: spec.Now}
	begin.When(SetUserDetails{ID: ann}).ThenNothing()
	begin.When(SetUserDetails{ID: ann, FullName: ptr("Ann  Lee"), Email: ptr("ann@example.com"), PasswordHash: ptr("h"), PINHash: ptr("")}).ThenNothing()
	begin.When(SetUserDetails{ID: ann, FullName: ptr(" Ludwig van Beethoven")}).Then(profile)
	begin.When(SetUserDetails{ID: ann, Email: ptr("l@example.com"), PasswordHash: ptr(""), PINHash: ptr("p"), Details: UserDetails{Alias: ptr("a")}, Cards: []string{"x"}}).Then(
		directory.UserProfileChanged{ID: ann, FirstName: "Ann", LastName: "Lee", Email: "l@example.com", Language: "fr", At: spec.Now},
		directory.UserPasswordChanged{ID: ann, At: spec.Now},
		directory.UserDetailsChanged{ID: ann, Alias: "a", At: spec.Now},
		directory.UserPINChanged{ID: ann, PINHash: "p", At: spec.Now}, cardAdded("x"))
	begin.When(SetUserDetails{ID: ann, FullName: ptr(""), Email: ptr("bad"), Cards: []string{""}}).ThenFault(fault.Invalid, "email", "firstName", "lastName", "cards[0]")
	given[directory.User](t, recipient(ann, sales)).When(SetUserDetails{ID: ann}).ThenFault(fault.NotFound)
	given[directory.User](t).When(SetUserDetails{ID: ann}).ThenFault(fault.NotFound)
}

// What lets one in as somebody is nobody's to change who may do less.
func TestNobodyTakesOverByCard(t *testing.T) {
	stronger := with(user(ann, sales), func(u *directory.UserCreated) { u.Roles, u.Groups = ids(), ids(chief) })
	begin := given[directory.User](t, stronger, directory.UserCardAdded{ID: ann, Card: "old"}).As(cardClerk)
	begin.When(SetUserDetails{ID: ann, PasswordHash: ptr("x"), PINHash: ptr("p"), Details: UserDetails{Alias: ptr("a"), ShortID: ptr("1")}, Cards: []string{"mine"}}).
		ThenFault(fault.Denied, "password", "shortId", "alias", "pin", "cards")
	begin.When(AddCard{ann, "mine"}).ThenFault(fault.Denied, "cards")
	begin.When(AddCard{ann, "OLD"}).ThenNothing()
	begin.When(SetUserDetails{ID: ann, Details: UserDetails{Department: ptr("D")}}).Then(directory.UserDetailsChanged{ID: ann, Department: "D", At: spec.Now})
}

func TestExpiryShutsNobodyOutWhoMustStay(t *testing.T) {
	now, later := spec.Now, spec.Now.Add(time.Hour)
	self := given[directory.User](t, user(me, sales)).As(clerk)
	self.When(SetUserDetails{ID: me, Details: UserDetails{ExpiresAt: &now}}).ThenFault(fault.Conflict, "expiresAt")
	self.When(SetUserDetails{ID: me, Details: UserDetails{ExpiresAt: &later}}).Then(directory.UserDetailsChanged{ID: me, ExpiresAt: &later, At: spec.Now})
	root := user(directory.AdministratorID, directory.GlobalID)
	given[directory.User](t, root).When(SetUserDetails{ID: root.ID, Details: UserDetails{ExpiresAt: &later}}).ThenFault(fault.Conflict)
	gone := given[directory.User](t, user(ann, sales)).When(SetUserDetails{ID: ann, Details: UserDetails{ExpiresAt: &now}}).Then(directory.UserDetailsChanged{ID: ann, ExpiresAt: &now, At: spec.Now})
	require.True(t, gone.Details.Expired(now))
	require.False(t, gone.Details.Expired(now.Add(-1)))
}

func TestCards(t *testing.T) {
	begin := given[directory.User](t, user(ann, sales), directory.UserCardAdded{ID: ann, Card: "04AB"}).As(cardClerk)
	begin.When(AddCard{ann, " 05 "}).Then(cardAdded("05"))
	begin.When(AddCard{ann, "04ab"}).ThenNothing()
	begin.When(AddCard{ann, " "}).ThenFault(fault.Invalid, "cards[0]")
	begin.When(RemoveCard{ann, "04ab "}).Then(cardRemoved("04AB"))
	begin.When(RemoveCard{ann, "06"}).ThenNothing()
	full := []domain.Event{user(ann, sales)}
	for _, c := range manyCards(MaxCards) {
		full = append(full, directory.UserCardAdded{ID: ann, Card: c})
	}
	given[directory.User](t, full...).When(AddCard{ann, "more"}).ThenFault(fault.Invalid, "cards")
	given[directory.User](t, full...).When(AddCard{ann, "C0"}).ThenNothing()
	for _, cmd := range []commands.Command[directory.User]{AddCard{ann, "1"}, RemoveCard{ann, "1"}} {
		given[directory.User](t).When(cmd).ThenFault(fault.NotFound)
	}
	given[directory.User](t, recipient(ann, sales)).When(AddCard{ann, "1"}).ThenFault(fault.NotFound)
}

func TestGroupLists(t *testing.T) {
	changed := func(joined, left []domain.ID) directory.UserGroupsChanged {
		return directory.UserGroupsChanged{ID: ann, Joined: joined, Left: left, At: spec.Now}
	}
	second := id(0x123)
	both := with(user(ann, sales, lab), func(u *directory.UserCreated) { u.Groups = ids(staff, labGroup) })
	begin := given[directory.User](t, both).Ref(directory.GroupStream(second), directory.Group{}.Apply(group(second, sales))).As(clerk)
	begin.When(JoinGroups{ann, ids(second, staff, second)}).Then(changed(ids(second), ids()))
	begin.When(JoinGroups{ann, ids(staff)}).ThenNothing()
	begin.When(JoinGroups{ann, nil}).ThenNothing()
	// The group of the laboratory is not the clerk's to see or take away.
	state := begin.When(SetGroups{ann, ids(second)}).Then(changed(ids(second), ids(staff)))
	require.Equal(t, ids(labGroup, second), state.Groups)
	begin.When(SetGroups{ann, nil}).Then(changed(ids(), ids(staff)))
	begin.When(SetGroups{ann, ids(staff)}).ThenNothing()
	begin.When(LeaveGroups{ann, ids(staff, second)}).Then(changed(ids(), ids(staff)))
	begin.When(LeaveGroups{ann, ids(second)}).ThenNothing()
	begin.When(LeaveGroups{ann, ids(second, labGroup, id(9))}).ThenFault(fault.Invalid, "groups[1].id", "groups[2].id")
	begin.When(JoinGroups{ann, ids(staff, labGroup)}).ThenFault(fault.Invalid, "groups[1].id")
	begin.When(JoinGroups{ann, ids(second, chief)}).ThenFault(fault.Denied, "groups[1].id")
	begin.When(SetGroups{ann, ids(chief)}).ThenFault(fault.Denied, "groups[0].id")
	begin.When(SetGroups{ann, many(1001)}).ThenFault(fault.Invalid, "groups")
	for _, cmd := range []commands.Command[directory.User]{JoinGroups{ann, ids(staff)}, SetGroups{ann, ids(staff)}, LeaveGroups{ann, ids(id(9))}} {
		given[directory.User](t).When(cmd).ThenFault(fault.NotFound)
	}
}

func TestSplitName(t *testing.T) {
	for full, want := range map[string][2]string{
		"": {"", ""}, " ": {"", ""}, "Ada": {"Ada", ""}, "Ada Lovelace": {"Ada", "Lovelace"}, " Ada  King  Lovelace ": {"Ada King", "Lovelace"},
		"Ludwig van Beethoven": {"Ludwig", "van Beethoven"}, "Charles de la Vallée": {"Charles", "de la Vallée"}, "Lovelace, Ada King": {"Ada King", "Lovelace"},
		"Lovelace,": {"Lovelace,", ""}, ", Ada": {",", "Ada"}, "ada lovelace": {"ada", "lovelace"}, "李 小龙": {"李", "小龙"},
	} {
		first, last := directory.SplitName(full)
		require.Equal(t, want, [2]string{first, last}, "%q", full)
		if !strings.Contains(full, ",") {
			require.Equal(t, strings.Join(strings.Fields(full), " "), directory.FullName(first, last))
		}
	}
}

func TestCheckPIN(t *testing.T) {
	for plain, ok := range map[string]bool{"123": false, "1234": true, "päss": true, strings.Repeat("1", 32): true, strings.Repeat("1", 33): false, "12\x003": false, "123\xff": false} {
		require.Equal(t, ok, CheckPIN(plain) == "", "%q", plain)
	}
}

func TestUserKeys(t *testing.T) {
	u := directory.User{}.Apply(user(ann, sales, lab)).Apply(directory.UserDetailsChanged{ID: ann, ExternalID: "Case", ShortID: " A "}).Apply(cardAdded("C"))
	scoped := func(kind, value string) domain.Key {
		return domain.Key{Kind: kind, Scope: sales.String(), Value: value}
	}
	require.Subset(t, u.Keys(), []domain.Key{scoped("user-externalId", "Case"), scoped("user-shortId", "a"), scoped("user-cards", "c")})
	moved := u.Apply(directory.UserOrganizationsChanged{ID: ann, Organizations: ids(lab)})
	require.Contains(t, moved.Keys(), domain.Key{Kind: "user-cards", Scope: lab.String(), Value: "c"}, "the keys move home with the person")
	erased := directory.User{}.Apply(user(ann, sales)).Apply(directory.UserDetailsChanged{ID: ann, ExternalID: domain.Erased, ShortID: domain.Erased}).Apply(cardAdded(domain.Erased))
	require.Len(t, erased.Keys(), 1, "only the mail address")
	require.Empty(t, u.Apply(directory.UserDeleted{ID: ann}).Keys(), "cards go with the person")
}
