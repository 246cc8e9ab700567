// Package printing holds the read models of documents, queues and printers.
package printing

import (
	"slices"
	"sync"

	"docket/domain/directory"
	"docket/eventstore"
	"docket/projections"
)

// revision is raised when a handler changes what it writes.
const revision = 1

// Group is printing's read models, in schema rm_printing. It also hears of people,
// whose names its lists show, of how long accounts keep documents, and of what else
// lies in the blob store.
var Group = sync.OnceValue(func() *projections.Group {
	tables := []projections.Part{OutputPorts, InputPorts, Documents, Users, Accounts, ProjectContents}
	return projections.NewGroup("printing", eventstore.Filter{TypePrefixes: []string{"printing.",
		"directory.user-created", "directory.user-profile-changed", "directory.organization-created", "directory.account-changed",
		// What may come after these in one append: who waits for that waits for its end.
		"directory.user-details-changed", "directory.user-pin-changed", "directory.user-card-", "directory.user-password-changed", "directory.user-activated",
		"directory.user-deactivated", "directory.user-roles-changed", "directory.user-organizations-changed", "directory.user-groups-changed", "directory.user-invited",
		"reporting.project-published", "reporting.project-deleted"}},
		slices.Concat([]projections.Part{projections.Revision(revision)}, tables, outputPortHandlers(), inputPortHandlers(), documentHandlers(), othersHandlers(), []projections.Part{
			projections.Ignore(directory.UserDetailsChanged{}, directory.UserPINChanged{}, directory.UserCardAdded{}, directory.UserCardRemoved{}, directory.UserPasswordChanged{},
				directory.UserActivated{}, directory.UserDeactivated{}, directory.UserRolesChanged{}, directory.UserOrganizationsChanged{}, directory.UserGroupsChanged{}, directory.UserInvited{}),
		})...)
})
