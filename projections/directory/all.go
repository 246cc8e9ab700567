// Package directory holds the read models of organizations, people, groups,
// roles and keys.
package directory

import (
	"slices"
	"sync"

	"docket/domain/directory"
	"docket/eventstore"
	"docket/projections"
)

// revision is raised when a handler changes what it writes.
const revision = 3

// Group is the directory's read models, in schema rm_directory.
var Group = sync.OnceValue(func() *projections.Group {
	tables := []projections.Part{Organizations, Users, UserOrganizations, UserRoles, UserGroups, Groups, GroupRoles, GroupSettings, Roles, APIKeys, OrphanedKeys, Principals, PrincipalOrganizations,
		UserCards, AccountDomains, AccessKeys, Devices, RevokedSessions, OrphanedAccess, UserDirectories, SyncRuns}
	return projections.NewGroup("directory", eventstore.Filter{TypePrefixes: []string{"directory."}},
		slices.Concat([]projections.Part{projections.Revision(revision)}, tables,
			orphanHandlers(), accessOrphanHandlers(), organizationHandlers(), userHandlers(), userDetailHandlers(), groupHandlers(), roleHandlers(), apiKeyHandlers(),
			accessKeyHandlers(), deviceHandlers(), sessionHandlers(), userDirectoryHandlers(), principalHandlers(), []projections.Part{
				projections.Ignore(directory.UserInvited{}), // a reactor sends the mail
			})...)
})
