// Package directory holds organizations, the people, groups and roles in them,
// and the keys by which programs act for people. Five APIs share it.
package directory

import "docket/domain"

// Things every installation has.
var (
	// GlobalID is the root of the organization tree.
	GlobalID = domain.WellKnownID(0x20)
	// EveryoneID is the group of everybody, "000000000000000000000001" in Qlik's API.
	EveryoneID = domain.WellKnownID(1)
	// AdministratorID is the user the bootstrap key acts for.
	AdministratorID = domain.WellKnownID(0x11)
	// BootstrapKeyID is the key an operator gets at the first start.
	BootstrapKeyID = domain.WellKnownID(0x12)
)

// OrganizationStream and its like name streams. The part before the dash is the
// category the command bus knows.
func OrganizationStream(id domain.ID) string { return "organization-" + id.String() }
func UserStream(id domain.ID) string         { return "user-" + id.String() }
func GroupStream(id domain.ID) string        { return "group-" + id.String() }
func RoleStream(id domain.ID) string         { return "role-" + id.String() }
func APIKeyStream(id domain.ID) string       { return "apikey-" + id.String() }
func AccessKeyStream(id domain.ID) string    { return "accesskey-" + id.String() }
func SessionStream(id domain.ID) string      { return "session-" + id.String() }
func DeviceStream(id domain.ID) string       { return "device-" + id.String() }

// GroupSettingsStream holds an organization's settings for groups.
func GroupSettingsStream(organization domain.ID) string {
	return "groupsettings-" + organization.String()
}

// Events are all event types of the directory.
func Events() []domain.Event {
	return []domain.Event{
		OrganizationCreated{}, OrganizationChanged{}, OrganizationDeleted{}, AccountChanged{},
		UserCreated{}, UserProfileChanged{}, UserPasswordChanged{}, UserActivated{}, UserDeactivated{},
		UserRolesChanged{}, UserOrganizationsChanged{}, UserGroupsChanged{}, RecipientConverted{}, UserInvited{}, UserDeleted{},
		UserDetailsChanged{}, UserPINChanged{}, UserCardAdded{}, UserCardRemoved{},
		GroupCreated{}, GroupDetailsChanged{}, GroupActivated{}, GroupDeactivated{}, GroupRolesChanged{}, GroupDeleted{}, GroupLinked{},
		GroupSettingsChanged{}, EveryoneRolesChanged{},
		RoleCreated{}, RoleDetailsChanged{}, RolePermissionsChanged{}, RoleProjectsChanged{}, RoleActivated{}, RoleDeactivated{}, RoleDeleted{},
		APIKeyCreated{}, APIKeyDetailsChanged{}, APIKeyRevoked{},
		UserDirectoryCreated{}, UserDirectoryChanged{}, UserDirectorySecretsChanged{}, UserDirectoryDeleted{},
		SyncRunStarted{}, SyncRunProgressed{}, SyncRunStopRequested{}, SyncRunFinished{}, SyncRunFailed{}, SyncRunStopped{},
		AccessKeyCreated{}, AccessKeyChanged{}, AccessKeyDeleted{},
		SessionOpened{}, SessionRefreshed{}, SessionRevoked{},
		DeviceRegistered{}, DeviceCodeIssued{}, DeviceApproved{}, DeviceTokenIssued{}, DeviceTokensRevoked{}, DeviceRemoved{},
	}
}
