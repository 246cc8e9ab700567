// Package directory holds the commands on organizations, users, groups, roles
// and API keys.
//
// Rules they share: a reference must name something that exists for the actor;
// nobody gives rights that they don't hold; what the actor doesn't see is not
// theirs to take away. All problems of a command are named at once, under the
// field names of Qalyptus' documents; other APIs translate them.
package directory

import (
	"docket/commands"
	"docket/domain/directory"
)

// Register makes the aggregates of the directory known to a bus.
func Register(b *commands.Bus) {
	commands.Register[directory.Organization](b, "organization")
	commands.Register[directory.User](b, "user")
	commands.Register[directory.Group](b, "group")
	commands.Register[directory.GroupSettings](b, "groupsettings")
	commands.Register[directory.Role](b, "role")
	commands.Register[directory.APIKey](b, "apikey")
}

// Permissions tells which permission each command needs, by its name.
func Permissions() map[string]string {
	all := make(map[string]string)
	for _, c := range []interface {
		Name() string
		Permission() string
	}{
		CreateOrganization{}, UpdateOrganization{}, DeleteOrganization{},
		CreateUser{}, CreateRecipient{}, UpdateUser{}, UpdateRecipient{}, ConvertRecipient{}, DeleteUser{}, JoinGroup{}, LeaveGroup{},
		CreateGroup{}, UpdateGroup{}, SetGroupRoles{}, DeleteGroup{}, ChangeGroupSettings{},
		CreateRole{}, UpdateRole{}, DeleteRole{},
		CreateAPIKey{}, IssueAPIKey{}, UpdateAPIKey{}, RevokeAPIKey{}, RevokeAPIKeyAdmin{}, RevokeOrphanedKey{},
		createRoot{}, createSystemRole{}, refreshSystemRole{}, createAdministrator{}, setBootstrapKey{},
	} {
		all[c.Name()] = c.Permission()
	}
	return all
}
