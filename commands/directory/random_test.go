package directory

import (
	"errors"
	"slices"
	"testing"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestAnyCommands sends commands at random. Whatever they meet, they are done
// or refused by a fault, look only at what they named, and leave a directory
// in which users are in groups of their organizations alone, recipients have
// their one role, and the system's own things are as they were.
func TestAnyCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &random{t: t, world: newWorld(t), fresh: 1000,
			organizations: ids(directory.GlobalID), roles: ids(directory.AdministratorsID, directory.HubUsersID, directory.UsersID),
			groups: ids(directory.EveryoneID), users: ids(directory.AdministratorID)}
		for range rapid.IntRange(10, 50).Draw(t, "steps") {
			r.step()
		}
		r.check()
	})
}

// random draws commands on things that were made before, more or less.
type random struct {
	world
	t                                   *rapid.T
	fresh                               uint32
	organizations, roles, groups, users []domain.ID
}

func (r *random) new(pool *[]domain.ID) domain.ID {
	r.fresh++
	*pool = append(*pool, id(r.fresh))
	return id(r.fresh)
}

func (r *random) yes(label string) bool { return rapid.Bool().Draw(r.t, label) }
func (r *random) maybe(label string) *bool {
	return rapid.Ptr(rapid.Bool(), true).Draw(r.t, label)
}
func (r *random) one(pool []domain.ID, label string) domain.ID {
	return rapid.SampledFrom(pool).Draw(r.t, label)
}
func (r *random) some(pool []domain.ID, label string) []domain.ID {
	return rapid.SliceOfN(rapid.SampledFrom(pool), 0, 3).Draw(r.t, label)
}
func (r *random) text(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(r.t, label)
}

func (r *random) details() Details {
	return Details{r.text("name", "a", "b", "c", "A", "d", "e", " "), r.text("description", "", "d")}
}

func (r *random) person() Person {
	return Person{UserName: rapid.Ptr(rapid.SampledFrom([]string{"", "u", "v"}), true).Draw(r.t, "userName"), DomainAccount: r.text("account", "", "D"),
		FirstName: r.text("first", "F", "F", ""), LastName: "L", Email: r.text("email", "", "a@x.org", "b@x.org", "bad")}
}

func (r *random) in() Membership {
	return Membership{r.some(r.organizations, "organizations"), r.some(r.groups, "in groups")}
}

func (r *random) userDetails() UserDetails {
	return UserDetails{ShortID: rapid.Ptr(rapid.SampledFrom([]string{"", "1", "2"}), true).Draw(r.t, "short id"), ExternalID: rapid.Ptr(rapid.SampledFrom([]string{"", "x"}), true).Draw(r.t, "external id")}
}

func (r *random) cards() []string {
	return rapid.SampledFrom([][]string{nil, nil, {}, {"c1"}, {"C1", "c2"}}).Draw(r.t, "cards")
}

func (r *random) rights() Rights {
	return Rights{rapid.SliceOfN(rapid.SampledFrom([]string{"tasks.view", "tasks.run", "users.edit"}), 0, 3).Draw(r.t, "permissions"), r.yes("all projects"), nil}
}

func (r *random) actor() domain.Actor {
	if r.yes("unrestricted") {
		return root
	}
	actor := clerk
	actor.Organizations = slices.SortedFunc(slices.Values(r.some(r.organizations, "seen")), domain.CompareIDs)
	actor.Tenant = r.one(r.organizations, "tenant")
	actor.UserID = r.one(r.users, "actor")
	return actor
}

func (r *random) step() {
	actor := r.actor()
	var err error
	switch r.text("kind", "organization", "group", "role", "settings", "user", "user", "user") {
	case "organization":
		err = send(r.world, actor, r.organizationCommand())
	case "group":
		err = send(r.world, actor, r.groupCommand())
	case "role":
		err = send(r.world, actor, r.roleCommand())
	case "settings":
		err = send(r.world, actor, ChangeGroupSettings{r.one(r.organizations, "of"), r.maybe("auto"), r.maybe("sync"), ptr(r.some(r.roles, "everyone"))})
	case "user":
		err = send(r.world, actor, r.userCommand())
	}
	var f *fault.Error
	require.True(r.t, err == nil || errors.As(err, &f) && f.Kind != fault.Internal, "%v", err)
}

func (r *random) organizationCommand() commands.Command[directory.Organization] {
	details := OrganizationDetails{DisplayName: r.details().Name}
	switch r.text("what", "create", "create", "update", "delete") {
	case "create":
		parent := r.one(r.organizations, "parent")
		return CreateOrganization{r.new(&r.organizations), parent, details}
	case "update":
		return UpdateOrganization{r.one(r.organizations, "id"), details}
	}
	return DeleteOrganization{r.one(r.organizations, "id")}
}

func (r *random) groupCommand() commands.Command[directory.Group] {
	switch r.text("what", "create", "create", "update", "roles", "link", "delete") {
	case "create":
		return CreateGroup{r.new(&r.groups), r.one(r.organizations, "of"), r.details(), r.yes("active"), r.some(r.roles, "roles"), r.text("source", "", "ad"), r.text("external id", "", "g1", "G1")}
	case "update":
		return UpdateGroup{r.one(r.groups, "id"), domain.ID{}, r.details(), r.maybe("active")}
	case "link":
		return LinkGroup{r.one(r.groups, "id"), r.text("source", "", "ad"), r.text("external id", "", "g1", "G1")}
	case "roles":
		return SetGroupRoles{r.one(r.groups, "id"), r.some(r.roles, "roles")}
	}
	return DeleteGroup{r.one(r.groups, "id")}
}

func (r *random) roleCommand() commands.Command[directory.Role] {
	switch r.text("what", "create", "create", "update", "delete") {
	case "create":
		return CreateRole{r.new(&r.roles), r.one(r.organizations, "of"), r.details(), r.rights(), r.yes("active")}
	case "update":
		return UpdateRole{r.one(r.roles, "id"), r.details(), r.rights(), r.yes("active")}
	}
	return DeleteRole{r.one(r.roles, "id")}
}

func (r *random) userCommand() commands.Command[directory.User] {
	hash := r.text("hash", "", "h1", "h2")
	switch r.text("what", "create", "recipient", "update", "update", "update recipient", "convert", "join", "join", "leave", "delete", "details", "card", "no card", "groups") {
	case "create":
		return CreateUser{ID: r.new(&r.users), Person: r.person(), PasswordHash: hash, Active: r.yes("active"), Invite: r.yes("invite"), Roles: r.some(r.roles, "roles"),
			Membership: r.in(), Details: r.userDetails(), Cards: r.cards()}
	case "recipient":
		return CreateRecipient{r.new(&r.users), r.person(), hash, r.yes("active"), "", r.in()}
	case "update":
		return UpdateUser{ID: r.one(r.users, "id"), Person: r.person(), PasswordHash: hash, Active: r.maybe("active"), Invite: r.yes("invite"), Roles: r.some(r.roles, "roles"),
			Membership: r.in(), Details: r.userDetails(), Cards: r.cards()}
	case "update recipient":
		return UpdateRecipient{r.one(r.users, "id"), r.person(), hash, r.maybe("active"), r.in()}
	case "convert":
		return ConvertRecipient{r.one(r.users, "id"), r.some(r.roles, "roles"), r.yes("active"), r.yes("invite"), "", ""}
	case "details":
		return SetUserDetails{ID: r.one(r.users, "id"), FullName: rapid.Ptr(rapid.SampledFrom([]string{"", "A B", "A"}), true).Draw(r.t, "full name"), Details: r.userDetails(), Cards: r.cards()}
	case "card":
		return AddCard{r.one(r.users, "id"), r.text("card", "", "c1", "C1", "c2")}
	case "no card":
		return RemoveCard{r.one(r.users, "id"), r.text("card", "", "c1", "C1", "c2")}
	case "groups":
		return rapid.SampledFrom([]commands.Command[directory.User]{JoinGroups{r.one(r.users, "id"), r.some(r.groups, "join")},
			SetGroups{r.one(r.users, "id"), r.some(r.groups, "set")}, LeaveGroups{r.one(r.users, "id"), r.some(r.groups, "leave")}}).Draw(r.t, "change")
	case "join":
		return JoinGroup{r.one(r.users, "id"), r.one(r.groups, "group")}
	case "leave":
		return LeaveGroup{r.one(r.users, "id"), r.one(r.groups, "group")}
	}
	return DeleteUser{r.one(r.users, "id")}
}

func load[S domain.State[S]](r *random, stream string) S {
	s, _, err := commands.Load[S](r.ctx(root), r.bus, stream)
	require.NoError(r.t, err)
	return s
}

func (r *random) check() {
	held := map[domain.Key]domain.ID{} // by whom
	for _, id := range r.users {
		u := load[directory.User](r, directory.UserStream(id))
		if !u.Exists() {
			continue
		}
		for _, k := range u.Keys() {
			require.NotContains(r.t, held, k, "two people hold it")
			held[k] = id
		}
		require.NotEmpty(r.t, u.InOrgs)
		for _, list := range [][]domain.ID{u.InOrgs, u.Groups, u.Roles} {
			require.Len(r.t, slices.Compact(slices.SortedFunc(slices.Values(list), domain.CompareIDs)), len(list), "something twice")
		}
		for _, groupID := range u.Groups {
			g := load[directory.Group](r, directory.GroupStream(groupID))
			require.True(r.t, !g.Exists() || slices.Contains(u.InOrgs, g.OrganizationID), "a user is in a group of an organization they are not in")
		}
		if u.Kind == directory.KindRecipient {
			require.Equal(r.t, ids(directory.HubUsersID), u.Roles)
		}
	}
	require.Equal(r.t, "Global", load[directory.Organization](r, directory.OrganizationStream(directory.GlobalID)).Name)
	admin := load[directory.User](r, directory.UserStream(directory.AdministratorID))
	require.True(r.t, admin.Exists() && admin.Active && slices.Contains(admin.Roles, directory.AdministratorsID))
	require.Equal(r.t, directory.Permissions(), load[directory.Role](r, directory.RoleStream(directory.AdministratorsID)).Permissions)
}
