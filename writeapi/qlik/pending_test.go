package qlik_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// A write that does not wait for the read models answers the same.
func TestAnswersBeforeTheReadModels(t *testing.T) {
	var settings config.Config
	s := tenant{Server: servertest.Start(t, func(c *config.Config) { c.WriteWait = 0; settings = *c })}
	db, err := pgx.Connect(t.Context(), settings.PostgresURL)
	require.NoError(t, err)
	defer db.Close(context.Background())
	// While this table is locked no projection gets on; readers do.
	lock, err := db.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), "lock table rm_directory.groups in exclusive mode")
	require.NoError(t, err)

	early := s.Post(base, object{"name": "Early", "assignedRoles": named("Users", "Administrators")}).Is(http.StatusCreated)
	var g group
	early.JSON(&g)
	require.Equal(t, []string{"Administrators", "Users"}, g.roles())
	s.Get(base + "/" + g.ID).Is(http.StatusNotFound)
	fails(t, s.Post(base, object{"name": "Early"}), http.StatusConflict, problem{"GROUPS-8", "/name"})
	s.Patch(base+"/"+g.ID, list{replace("/assignedRoles", named("Users"))}).Is(http.StatusNoContent)
	s.Patch(base+"/"+g.ID, list{replace("/assignedRoles", named("Users", "Administrators"))}).Is(http.StatusNoContent)

	require.NoError(t, lock.Rollback(t.Context()))
	var late servertest.Answer
	require.Eventually(t, func() bool {
		late = s.Get(base + "/" + g.ID)
		return late.Status == http.StatusOK && len(late.Map()["assignedRoles"].(list)) == 2
	}, 20*time.Second, 20*time.Millisecond)
	want, got := early.Map(), late.Map()
	delete(want, "lastUpdatedAt")
	delete(got, "lastUpdatedAt")
	require.Equal(t, want, got)
}
