package reporting

import (
	"testing"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/reporting"

	"github.com/stretchr/testify/require"
)

// Who sees a project by one right and edits others by another may not edit it.
func TestARightReachesItsOwnProjects(t *testing.T) {
	organization, mine, other := domain.WellKnownID(1), domain.WellKnownID(2), domain.WellKnownID(3)
	actor := domain.Actor{Unrestricted: true, Permissions: map[string]bool{"tasks.view": true, "tasks.edit": true},
		Limited: map[string][]domain.ID{"tasks.edit": {mine}}}
	edit := func(project domain.ID) error {
		task := reporting.Task{ID: domain.WellKnownID(4), ProjectID: project, OrganizationID: organization, Live: true}
		env := commands.Env{Actor: actor}.WithRef(reporting.ProjectStream(project), reporting.Project{ID: project, OrganizationID: organization, Live: true})
		_, err := ActivateTask{ID: task.ID, Active: true}.Decide(task, env)
		return err
	}
	require.NoError(t, edit(mine))
	require.True(t, fault.Is(edit(other), fault.Denied))
}
