package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestJobs(t *testing.T) {
	var address string
	s := servertest.Start(t, func(c *config.Config) { address = c.PostgresURL })
	db, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close(context.Background())) }()
	event, id := uuid.New(), int64(0)
	args := fmt.Sprintf(`{"event":%q,"tenant":%q,"args":{}}`, event, servertest.GlobalID)
	require.NoError(t, db.QueryRow(t.Context(), `insert into effects.river_job (kind, queue, state, args, attempt, max_attempts, finalized_at, errors)
		values ('test.gone', 'test-gone', 'discarded', $1, 3, 3, now(), array['{"at":"2026-01-01T00:00:00Z","attempt":3,"error":"no paper"}'::jsonb]) returning id`, args).Scan(&id))
	number := fmt.Sprint(id)
	text := docket(t, s, "jobs", "list", "--state", "dead")
	require.Regexp(t, number+` +test.gone +dead +3/0 +1 .*`+event.String()+` +no paper`, text)
	require.NotContains(t, docket(t, s, "jobs", "list", "--kind", "test.other"), "test.gone")
	var jobs []job
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "jobs", "list", "--event", event.String(), "--json")), &jobs))
	require.Len(t, jobs, 1)
	docket(t, s, "jobs", "retry", number)
	require.Regexp(t, number+` +test.gone +waiting +0/0 +2 `, docket(t, s, "jobs", "list"))
	docket(t, s, "jobs", "cancel", number)
	require.Contains(t, docket(t, s, "jobs", "list"), "waiting, cancelling")
	require.Contains(t, fails(t, s, exitRefused, "jobs", "retry", "999999"), "does not exist")
	fails(t, s, exitUsage, "jobs", "cancel", "x")
	fails(t, s, exitUsage, "jobs", "retry")
	fails(t, s, exitRefused, "jobs", "list", "--state", "x")
}

func TestReactors(t *testing.T) {
	s := servertest.Start(t)
	require.Contains(t, docket(t, s, "reactors", "list"), "reporting.end-orphaned-tasks")
	var all []reactor
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "reactors", "list", "--json")), &all))
	require.NotEmpty(t, all)
	id := uuid.NewString()
	fails(t, s, exitUsage, "reactors", "skip", all[0].Name, id)
	require.Contains(t, fails(t, s, exitRefused, "reactors", "skip", all[0].Name, id, "--reason", "x"), "not stopped")
	require.Contains(t, fails(t, s, exitRefused, "reactors", "skip", "nonsense", id, "--reason", "x"), "does not exist")
	one := reactor{Retry: "waits"}
	require.Equal(t, "waits", one.note())
	require.NoError(t, json.Unmarshal([]byte(`{"failure":{"eventId":"e","eventType":"t","stream":"s","revision":1,"error":"why"}}`), &one))
	require.Equal(t, "stopped at event e, t s@1: why", one.note())
}
