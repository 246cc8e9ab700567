package access

import (
	"testing"

	"docket/domain"

	"github.com/stretchr/testify/require"
)

// A right reaches the projects of the roles that give it, not those of roles
// that give another.
func TestLimit(t *testing.T) {
	p, q, r := domain.WellKnownID(1), domain.WellKnownID(2), domain.WellKnownID(3)
	var a domain.Actor
	limit(&a, []grant{
		{Permissions: []string{"tasks.view", "projects.view", "apiKeys.use"}, All: true},
		{Permissions: []string{"tasks.view", "tasks.edit"}, Projects: []domain.ID{q, p}},
		{Permissions: []string{"tasks.edit"}, Projects: []domain.ID{p}},
	})
	require.Nil(t, a.Projects)
	require.True(t, a.Covers("tasks.view", r) && a.Covers("projects.view", r))
	require.True(t, a.Covers("tasks.edit", p) && a.Covers("tasks.edit", q))
	require.False(t, a.Covers("tasks.edit", r))
	require.True(t, a.SeesProject(r))

	a = domain.Actor{}
	limit(&a, []grant{{Permissions: []string{"users.view"}, All: true}, {Permissions: []string{"tasks.view"}, Projects: []domain.ID{p}}})
	require.Equal(t, []domain.ID{p}, a.Projects, "a role without rights on projects opens none")
	require.True(t, a.SeesProject(p) && !a.SeesProject(q) && !a.Covers("tasks.view", q))

	a = domain.Actor{}
	limit(&a, nil)
	require.False(t, a.SeesProject(p), "without roles nothing is reached")
}
