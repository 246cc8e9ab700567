package directory

import (
	"strings"
	"testing"

	"docket/commands"
	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"github.com/stretchr/testify/require"
)

// annIs is Ann as user() makes her.
func annIs() Person { return Person{FirstName: "Ann", LastName: "Lee", Email: "ann@example.com"} }

func TestCreateUser(t *testing.T) {
	begin := given[directory.User](t).As(clerk)
	cmd := CreateUser{ID: ann, PasswordHash: "h", Active: true, Invite: true, Roles: ids(reader), Membership: Membership{ids(sales), ids(staff, staff)},
		Person: Person{UserName: ptr(" ann "), DomainAccount: ` CORP\ann `, FirstName: " Ann ", LastName: "Lee", Email: "ann@example.com ", Language: "FR"}}
	created := directory.UserCreated{ID: ann, Number: spec.Number, Kind: directory.KindUser, UserName: "ann", DomainAccount: `CORP\ann`, FirstName: "Ann", LastName: "Lee",
		Email: "ann@example.com", PasswordHash: "h", Active: true, Language: "fr", Roles: ids(reader), Organizations: ids(sales), Groups: ids(staff), Invite: true, CreatedAt: spec.Now}
	begin.When(cmd).Then(created)
	begin.When(CreateUser{ID: ann, Person: Person{UserName: ptr("ann")}, Membership: Membership{Organizations: ids(sales)}}).Then(
		directory.UserCreated{ID: ann, Number: spec.Number, Kind: directory.KindUser, UserName: "ann", Language: "en", Roles: ids(), Organizations: ids(sales), Groups: ids(), CreatedAt: spec.Now})

	begin.When(CreateUser{ID: ann, Person: Person{FirstName: " ", Email: "ann", Language: "eng"}, Invite: true, Roles: ids(labRole),
		Membership: Membership{ids(sales, lab, gone), ids(staff, labGroup)}}).
		ThenFault(fault.Invalid, "roles[0].id", "email", "isoLanguage", "firstName", "lastName", "organizations[1].id", "organizations[2].id", "groups[1].id")
	begin.When(with(cmd, func(c *CreateUser) { c.Person.Email = "" })).ThenFault(fault.Invalid, "email")
	begin.When(with(cmd, func(c *CreateUser) { c.Membership = Membership{} })).ThenFault(fault.Invalid, "organizations")
	begin.When(with(cmd, func(c *CreateUser) { c.Membership.Organizations = many(1001) })).ThenFault(fault.Invalid, "organizations", "groups[0].id")
	begin.When(with(cmd, func(c *CreateUser) { c.Membership.Groups = many(1001) })).ThenFault(fault.Invalid, "groups")
	begin.When(with(cmd, func(c *CreateUser) { c.Person.FirstName = strings.Repeat("a", 257) })).ThenFault(fault.Invalid, "firstName")
	begin.When(with(cmd, func(c *CreateUser) { c.Roles = ids(reader, boss) })).ThenFault(fault.Denied, "roles[1].id")
	begin.When(with(cmd, func(c *CreateUser) { c.Membership.Groups = ids(staff, chief) })).ThenFault(fault.Denied, "groups[1].id")
	// Without the clerk's limits: a group must be of one of the user's organizations.
	given[directory.User](t).When(with(cmd, func(c *CreateUser) { c.Membership.Groups = ids(staff, labGroup) })).ThenFault(fault.Invalid, "groups[1].id")
	given[directory.User](t, created).As(clerk).When(cmd).ThenFault(fault.Conflict)
}

func TestCreateRecipient(t *testing.T) {
	cmd := CreateRecipient{ID: bob, Person: annIs(), PasswordHash: "h", Active: true, Membership: Membership{ids(sales), ids(staff)}}
	given[directory.User](t).As(clerk).When(cmd).Then(directory.UserCreated{ID: bob, Number: spec.Number, Kind: directory.KindRecipient, FirstName: "Ann", LastName: "Lee",
		Email: "ann@example.com", PasswordHash: "h", Active: true, Language: "en", Roles: ids(directory.HubUsersID), Organizations: ids(sales), Groups: ids(staff), CreatedAt: spec.Now})
	given[directory.User](t).As(clerk).When(CreateRecipient{ID: bob}).ThenFault(fault.Invalid, "firstName", "lastName", "organizations")
	given[directory.User](t).As(clerk).When(with(cmd, func(c *CreateRecipient) { c.Membership.Groups = ids(chief) })).ThenFault(fault.Denied, "groups[0].id")
	given[directory.User](t, recipient(bob, sales)).When(cmd).ThenFault(fault.Conflict)
}

func TestUpdateUser(t *testing.T) {
	inStaff := with(user(ann, sales), func(u *directory.UserCreated) { u.Groups, u.UserName = ids(staff), "ann" })
	begin := given[directory.User](t, inStaff).As(clerk)
	same := UpdateUser{ID: ann, Person: annIs(), PasswordHash: "h", Active: ptr(true), Roles: ids(reader), Membership: Membership{ids(sales), ids(staff)}}
	begin.When(same).ThenNothing()
	begin.When(UpdateUser{ID: ann, Person: annIs()}).ThenNothing()
	begin.When(UpdateUser{ID: ann, Person: PersonOf(directory.User{}.Apply(inStaff))}).ThenNothing()

	profile := directory.UserProfileChanged{ID: ann, UserName: "ann", FirstName: "Anne", LastName: "Lee", Email: "anne@example.com", Language: "en", At: spec.Now}
	begin.When(UpdateUser{ID: ann, Person: Person{FirstName: "Anne", LastName: "Lee", Email: "anne@example.com", Language: "en"}, PasswordHash: "h2", Active: ptr(false),
		Invite: true, Roles: ids(), Membership: Membership{Groups: ids()}}).Then(
		profile,
		directory.UserPasswordChanged{ID: ann, PasswordHash: "h2", At: spec.Now},
		directory.UserDeactivated{ID: ann, At: spec.Now},
		directory.UserRolesChanged{ID: ann, Roles: ids(), At: spec.Now},
		directory.UserGroupsChanged{ID: ann, Joined: ids(), Left: ids(staff), At: spec.Now},
		directory.UserInvited{ID: ann, At: spec.Now})
	begin.When(with(same, func(c *UpdateUser) { c.Person.UserName = ptr("") })).Then(
		directory.UserProfileChanged{ID: ann, FirstName: "Ann", LastName: "Lee", Email: "ann@example.com", Language: "fr", At: spec.Now})
	given[directory.User](t, user(ann, sales), directory.UserDeactivated{ID: ann}).As(clerk).When(UpdateUser{ID: ann, Person: annIs(), Active: ptr(true)}).
		Then(directory.UserActivated{ID: ann, At: spec.Now})

	begin.When(UpdateUser{ID: ann, Person: Person{UserName: ptr(""), Language: "xx"}, Invite: true, Roles: ids(labRole), Membership: Membership{ids(), ids(id(9))}}).
		ThenFault(fault.Invalid, "isoLanguage", "firstName", "lastName", "roles[0].id", "organizations", "groups[0].id", "email")
	begin.When(with(same, func(c *UpdateUser) { c.Roles = ids(reader, boss) })).ThenFault(fault.Denied, "roles[1].id")
	begin.When(with(same, func(c *UpdateUser) { c.Membership.Groups = ids(chief) })).ThenFault(fault.Denied, "groups[0].id")
	given[directory.User](t).As(clerk).When(same).ThenFault(fault.NotFound)
	given[directory.User](t, recipient(ann, sales)).As(clerk).When(same).ThenFault(fault.NotFound)
}

func TestUpdateUserKeepsWhatIsNotSeen(t *testing.T) {
	both := with(user(ann, lab, sales), func(u *directory.UserCreated) { u.Groups, u.Roles = ids(labGroup, staff), ids(labRole, reader) })
	begin := given[directory.User](t, both).As(clerk)
	begin.When(UpdateUser{ID: ann, Person: annIs(), Roles: ids(reader), Membership: Membership{ids(sales), ids(staff)}}).ThenNothing()
	state := begin.When(UpdateUser{ID: ann, Person: annIs(), Roles: ids(), Membership: Membership{ids(sales), ids()}}).Then(
		directory.UserRolesChanged{ID: ann, Roles: ids(labRole), At: spec.Now},
		directory.UserGroupsChanged{ID: ann, Joined: ids(), Left: ids(staff), At: spec.Now})
	require.Equal(t, ids(lab, sales), state.InOrgs)
	require.Equal(t, ids(labGroup), state.Groups)
	// Home is seen and moves; what is not seen stands behind.
	given[directory.User](t, user(ann, sales, lab)).As(clerk).When(UpdateUser{ID: ann, Person: annIs(), Membership: Membership{Organizations: ids(sales)}}).ThenNothing()
}

func TestLeavingAnOrganizationLeavesItsGroups(t *testing.T) {
	both := with(user(ann, sales, lab), func(u *directory.UserCreated) { u.Groups = ids(labGroup, id(9), staff) })
	given[directory.User](t, both).When(UpdateUser{ID: ann, Person: annIs(), Membership: Membership{Organizations: ids(sales)}}).Then(
		directory.UserOrganizationsChanged{ID: ann, Organizations: ids(sales), At: spec.Now},
		directory.UserGroupsChanged{ID: ann, Joined: ids(), Left: ids(labGroup), At: spec.Now})
	given[directory.User](t, both).When(UpdateUser{ID: ann, Person: annIs(), Membership: Membership{ids(sales), ids(staff, labGroup)}}).ThenFault(fault.Invalid, "groups[1].id")
	given[directory.User](t, both).When(UpdateUser{ID: ann, Person: annIs(), Membership: Membership{Organizations: ids(lab, sales)}}).Then(
		directory.UserOrganizationsChanged{ID: ann, Organizations: ids(lab, sales), At: spec.Now})
}

func TestNobodyTakesOverWhoMayDoMore(t *testing.T) {
	stronger := with(user(ann, sales), func(u *directory.UserCreated) { u.Roles, u.Groups = ids(), ids(chief) })
	begin := given[directory.User](t, stronger).As(clerk)
	begin.When(UpdateUser{ID: ann, Person: annIs(), PasswordHash: "mine"}).ThenFault(fault.Denied, "password")
	begin.When(UpdateUser{ID: ann, Person: with(annIs(), func(p *Person) { p.DomainAccount, p.UserName = "me", ptr("me") })}).ThenFault(fault.Denied, "domainAccount", "userName")
	begin.When(UpdateUser{ID: ann, Person: annIs(), PasswordHash: "h"}).ThenNothing()
	// The mail that lets one choose a password would come to the clerk.
	begin.When(UpdateUser{ID: ann, Person: with(annIs(), func(p *Person) { p.Email = "clerk@example.com" }), Invite: true}).ThenFault(fault.Denied, "email")
	given[directory.User](t, stronger).When(UpdateUser{ID: ann, Person: annIs(), PasswordHash: "new"}).Then(directory.UserPasswordChanged{ID: ann, PasswordHash: "new", At: spec.Now})
	self := with(stronger, func(u *directory.UserCreated) { u.ID = me })
	given[directory.User](t, self).As(clerk).When(UpdateUser{ID: me, Person: annIs(), PasswordHash: "new"}).Then(directory.UserPasswordChanged{ID: me, PasswordHash: "new", At: spec.Now})
}

func TestOneselfAndTheFirstAdministratorStay(t *testing.T) {
	given[directory.User](t, user(me, sales)).As(clerk).When(UpdateUser{ID: me, Person: annIs(), Active: ptr(false)}).ThenFault(fault.Conflict, "isActive")
	given[directory.User](t, user(me, sales)).As(clerk).When(DeleteUser{me}).ThenFault(fault.Conflict)
	root := with(user(directory.AdministratorID, directory.GlobalID), func(u *directory.UserCreated) { u.Roles = ids(directory.AdministratorsID) })
	begin := given[directory.User](t, root).Ref(directory.RoleStream(directory.AdministratorsID), directory.Role{}.Apply(role(directory.AdministratorsID, directory.GlobalID)))
	begin.When(DeleteUser{directory.AdministratorID}).ThenFault(fault.Conflict)
	begin.When(UpdateUser{ID: directory.AdministratorID, Person: annIs(), Active: ptr(false)}).ThenFault(fault.Conflict)
	begin.When(UpdateUser{ID: directory.AdministratorID, Person: annIs(), Roles: ids(reader)}).ThenFault(fault.Conflict)
	begin.When(UpdateUser{ID: directory.AdministratorID, Person: annIs(), PasswordHash: "x", Roles: ids(directory.AdministratorsID)}).
		Then(directory.UserPasswordChanged{ID: directory.AdministratorID, PasswordHash: "x", At: spec.Now})
}

func TestDeleteUser(t *testing.T) {
	deleted := directory.UserDeleted{ID: ann, DeletedAt: spec.Now}
	given[directory.User](t, user(ann, sales)).As(clerk).When(DeleteUser{ann}).Then(deleted)
	given[directory.User](t, recipient(ann, sales)).As(clerk).When(DeleteUser{ann}).Then(deleted)
	given[directory.User](t, user(ann, sales), deleted).As(clerk).When(DeleteUser{ann}).ThenFault(fault.NotFound)
	given[directory.User](t).As(clerk).When(DeleteUser{ann}).ThenFault(fault.NotFound)
	given[directory.User](t, user(ann, sales, lab)).As(clerk).When(DeleteUser{ann}).ThenFault(fault.Denied)
}

func TestUpdateRecipient(t *testing.T) {
	begin := given[directory.User](t, recipient(bob, sales)).As(clerk)
	begin.When(UpdateRecipient{ID: bob, Person: annIs(), PasswordHash: "h", Active: ptr(true), Membership: Membership{ids(sales), ids()}}).ThenNothing()
	begin.When(UpdateRecipient{ID: bob, Person: Person{FirstName: "B", LastName: "C"}, PasswordHash: "h2", Active: ptr(false), Membership: Membership{ids(sales), ids(staff)}}).Then(
		directory.UserProfileChanged{ID: bob, FirstName: "B", LastName: "C", Language: "fr", At: spec.Now},
		directory.UserPasswordChanged{ID: bob, PasswordHash: "h2", At: spec.Now},
		directory.UserDeactivated{ID: bob, At: spec.Now},
		directory.UserGroupsChanged{ID: bob, Joined: ids(staff), Left: ids(), At: spec.Now})
	begin.When(UpdateRecipient{ID: bob, Membership: Membership{Groups: ids(labGroup)}}).ThenFault(fault.Invalid, "firstName", "lastName", "groups[0].id")
	given[directory.User](t, user(bob, sales)).When(UpdateRecipient{ID: bob, Person: annIs()}).ThenFault(fault.NotFound)
	given[directory.User](t).When(UpdateRecipient{ID: bob, Person: annIs()}).ThenFault(fault.NotFound)
}

func TestConvertRecipient(t *testing.T) {
	begin := given[directory.User](t, recipient(bob, sales)).As(clerk)
	converted := directory.RecipientConverted{ID: bob, Invite: true, At: spec.Now}
	roles := directory.UserRolesChanged{ID: bob, Roles: ids(reader), At: spec.Now}
	state := begin.When(ConvertRecipient{ID: bob, Roles: ids(reader), Active: true, Invite: true, Language: "fr"}).Then(converted, roles)
	require.Equal(t, directory.KindUser, state.Kind)
	begin.When(ConvertRecipient{ID: bob, Roles: ids(reader), Invite: true, Language: "de", DomainAccount: `X\bob`}).Then(converted,
		directory.UserProfileChanged{ID: bob, FirstName: "Ann", LastName: "Lee", Email: "ann@example.com", DomainAccount: `X\bob`, Language: "de", At: spec.Now},
		directory.UserDeactivated{ID: bob, At: spec.Now}, roles)
	begin.When(ConvertRecipient{ID: bob, Language: "xx", DomainAccount: "a\nb"}).ThenFault(fault.Invalid, "language", "domain", "roles")
	begin.When(ConvertRecipient{ID: bob, Roles: ids(boss)}).ThenFault(fault.Denied, "roles[0].id")
	mute := with(recipient(bob, sales), func(u *directory.UserCreated) { u.Email = "" })
	given[directory.User](t, mute).When(ConvertRecipient{ID: bob, Roles: ids(reader), Invite: true}).ThenFault(fault.Invalid, "sendNotification")
	// What the recipient's groups give begins to count with the conversion.
	in := func(groups ...domain.ID) directory.UserCreated {
		return with(recipient(bob, sales), func(u *directory.UserCreated) { u.Groups = groups })
	}
	given[directory.User](t, in(chief)).As(clerk).When(ConvertRecipient{ID: bob, Roles: ids(reader)}).ThenFault(fault.Denied, "groups")
	given[directory.User](t, in(staff)).As(clerk).When(ConvertRecipient{ID: bob, Roles: ids(reader), Active: true}).
		Then(directory.RecipientConverted{ID: bob, At: spec.Now}, roles)
	given[directory.User](t, in(chief)).When(ConvertRecipient{ID: bob, Roles: ids(reader), Active: true}).Then(directory.RecipientConverted{ID: bob, At: spec.Now}, roles)
	given[directory.User](t, user(bob, sales)).When(ConvertRecipient{ID: bob, Roles: ids(reader)}).ThenFault(fault.Conflict)
	given[directory.User](t).When(ConvertRecipient{ID: bob, Roles: ids(reader)}).ThenFault(fault.NotFound)
}

func TestMembership(t *testing.T) {
	joined := directory.UserGroupsChanged{ID: ann, Joined: ids(staff), Left: ids(), At: spec.Now}
	out := given[directory.User](t, user(ann, sales)).As(clerk)
	in := given[directory.User](t, user(ann, sales), joined).As(clerk)
	out.When(JoinGroup{ann, staff}).Then(joined)
	in.When(JoinGroup{ann, staff}).ThenNothing()
	in.When(LeaveGroup{ann, staff}).Then(directory.UserGroupsChanged{ID: ann, Joined: ids(), Left: ids(staff), At: spec.Now})
	out.When(LeaveGroup{ann, staff}).ThenNothing()
	out.When(JoinGroup{ann, chief}).ThenFault(fault.Denied, "groupId")
	out.When(JoinGroup{ann, labGroup}).ThenFault(fault.NotFound)
	given[directory.User](t, user(ann, sales)).When(JoinGroup{ann, labGroup}).ThenFault(fault.Invalid, "userId")
	given[directory.User](t, with(user(ann, sales), func(u *directory.UserCreated) { u.Groups = many(1000) })).When(JoinGroup{ann, staff}).ThenFault(fault.Invalid, "userId")
	for _, cmd := range []commands.Command[directory.User]{JoinGroup{ann, staff}, LeaveGroup{ann, staff}} {
		given[directory.User](t).When(cmd).ThenFault(fault.NotFound)
	}
	for _, cmd := range []commands.Command[directory.User]{JoinGroup{ann, id(9)}, LeaveGroup{ann, id(9)}} {
		out.When(cmd).ThenFault(fault.NotFound)
	}
	for _, cmd := range []commands.Command[directory.User]{JoinGroup{ann, directory.EveryoneID}, LeaveGroup{ann, directory.EveryoneID}} {
		out.When(cmd).ThenFault(fault.Conflict)
	}
}

func TestCheckPassword(t *testing.T) {
	for plain, ok := range map[string]bool{
		"1234567": false, "12345678": true, "ééééééé": false, "éééééééé": true, strings.Repeat("é", 256): true, strings.Repeat("x", 257): false, "1234567\xff": false,
	} {
		require.Equal(t, ok, CheckPassword(plain) == "", "%q: %s", plain, CheckPassword(plain))
	}
}

// TestMostMemberships: a thousand are fine, also together with those not seen.
func TestMostMemberships(t *testing.T) {
	groups := make(map[string]any)
	for _, g := range many(MaxGroups + 1) {
		groups[directory.GroupStream(g)] = directory.Group{}.Apply(group(g, sales))
	}
	begin := given[directory.User](t, user(ann, sales), directory.UserOrganizationsChanged{ID: ann, Organizations: ids(sales, lab)},
		directory.UserGroupsChanged{ID: ann, Joined: ids(labGroup), Left: ids()}).Refs(groups).As(clerk)
	join := func(n int) UpdateUser {
		return UpdateUser{ID: ann, Person: annIs(), Membership: Membership{Groups: many(n)}}
	}
	begin.When(join(MaxGroups - 1)).Then(directory.UserGroupsChanged{ID: ann, Joined: many(MaxGroups - 1), Left: ids(), At: spec.Now})
	begin.When(join(MaxGroups)).ThenFault(fault.Invalid, "groups")
	begin.When(join(MaxGroups+1)).ThenFault(fault.Invalid, "groups")
	full := with(user(ann, sales), func(u *directory.UserCreated) { u.Groups = many(MaxGroups - 1) })
	given[directory.User](t, full).As(clerk).When(JoinGroup{ann, staff}).Then(directory.UserGroupsChanged{ID: ann, Joined: ids(staff), Left: ids(), At: spec.Now})
}
