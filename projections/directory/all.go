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
const revision = 2

// Group is the directory's read models, in schema rm_directory.
var Group = sync.OnceValue(func() *projections.Group {
	tables := []projections.Part{Organizations, Users, UserOrganizations, UserRoles, UserGroups, Groups, GroupRoles, GroupSettings, Roles, APIKeys, OrphanedKeys, Principals, PrincipalOrganizations}
	return projections.NewGroup("directory", eventstore.Filter{TypePrefixes: []string{"directory."}},
		slices.Concat([]projections.Part{projections.Revision(revision)}, tables,
			orphanHandlers(), organizationHandlers(), userHandlers(), groupHandlers(), roleHandlers(), apiKeyHandlers(), principalHandlers(), []projections.Part{
				projections.Ignore(directory.UserInvited{}), // a reactor sends the mail
			})...)
})
