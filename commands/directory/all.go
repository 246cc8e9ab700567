// Package directory holds the commands on organizations, users, groups, roles
// API keys, and the access keys, sessions and devices of the SAFEQ API.
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
	commands.Register[directory.AccessKey](b, "accesskey")
	commands.Register[directory.Session](b, "session")
	commands.Register[directory.Device](b, "device")
	commands.Register[directory.UserDirectory](b, "userdirectory")
	commands.Register[directory.SyncRun](b, "syncrun")
}

// Permissions tells which permission each command needs, by its name.
func Permissions() map[string]string {
	all := make(map[string]string)
	for _, c := range []interface {
		Name() string
		Permission() string
	}{
		CreateOrganization{}, UpdateOrganization{}, DeleteOrganization{}, SetAccount{},
		CreateUser{}, CreateRecipient{}, UpdateUser{}, UpdateRecipient{}, ConvertRecipient{}, DeleteUser{}, JoinGroup{}, LeaveGroup{},
		SetUserDetails{}, AddCard{}, RemoveCard{}, JoinGroups{}, SetGroups{}, LeaveGroups{},
		CreateGroup{}, UpdateGroup{}, SetGroupRoles{}, LinkGroup{}, DeleteGroup{}, ChangeGroupSettings{},
		CreateRole{}, UpdateRole{}, DeleteRole{},
		CreateAPIKey{}, IssueAPIKey{}, UpdateAPIKey{}, RevokeAPIKey{}, RevokeAPIKeyAdmin{}, RevokeOrphanedKey{},
		CreateAccessKey{}, UpdateAccessKey{}, DeleteAccessKey{}, EndOrphanedAccessKey{},
		OpenSession{}, RefreshSession{}, RevokeSession{},
		RegisterDevice{}, ApproveDevice{}, IssueDeviceToken{}, RefreshDevice{}, RemoveDevice{}, EndOrphanedDevice{},
		CreateUserDirectory{}, UpdateUserDirectory{}, DeleteUserDirectory{},
		StartSyncRun{}, StopSyncRun{}, RecordSyncProgress{}, EndSyncRun{}, SyncUser{}, DropUser{}, SyncGroup{}, DropGroup{},
		createRoot{}, createSystemRole{}, refreshSystemRole{}, createAdministrator{}, setBootstrapKey{},
	} {
		all[c.Name()] = c.Permission()
	}
	return all
}
