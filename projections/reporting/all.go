// Package reporting holds the read models of projects, reports and tasks.
package reporting

import (
	"slices"
	"sync"

	"docket/eventstore"
	"docket/projections"
)

// revision is raised when a handler changes what it writes.
const revision = 2

// Group is reporting's read models, in schema rm_reporting. It also hears of
// people and groups that are gone.
var Group = sync.OnceValue(func() *projections.Group {
	tables := []projections.Part{Projects, Reports, Tasks, Recipients, OrphanedTasks, OrphanedRecipients}
	return projections.NewGroup("reporting", eventstore.Filter{TypePrefixes: []string{"reporting.", "directory.user-deleted", "directory.group-deleted"}},
		slices.Concat([]projections.Part{projections.Revision(revision)}, tables, orphanHandlers(), projectHandlers(), taskHandlers())...)
})
