package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestSyncRuns(t *testing.T) {
	s := servertest.Start(t, func(c *config.Config) { c.Roles = config.Roles{config.API, config.Projections} }) // nobody works on the run
	directory := s.Post("/api/v2/user-directories", map[string]any{"type": "ActiveDirectory", "name": "Staff", "hostName": "127.0.0.1", "port": 1, "sendNotification": false,
		"synchronization": "Manual", "isActive": true, "organizationId": servertest.GlobalID}).Is(http.StatusCreated).ID()
	run := s.Post("/api/v2/user-directories/"+directory+"/synchronize", nil).Is(http.StatusAccepted).ID()

	require.Regexp(t, run+` +`+directory+` +Running `, docket(t, s, "sync-runs", "list"))
	require.NotContains(t, docket(t, s, "sync-runs", "list", "--directory", uuid.NewString()), run)
	var all []syncRun
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "sync-runs", "list", "--status", "Running", "--organization", servertest.GlobalID, "--json")), &all))
	require.Len(t, all, 1)
	require.Equal(t, "[]\n", docket(t, s, "sync-runs", "list", "--status", "Success", "--limit", "1", "--json"))

	require.Equal(t, "stopping "+run+"\n", docket(t, s, "sync-runs", "stop", run))
	require.Regexp(t, `STATUS +Running, stopping\n`, docket(t, s, "sync-runs", "show", run))
	require.Contains(t, docket(t, s, "sync-runs", "show", run, "--json"), `"errors": []`)
	none := uuid.NewString()
	require.Contains(t, fails(t, s, exitRefused, "sync-runs", "stop", none), none)
	require.Contains(t, fails(t, s, exitRefused, "sync-runs", "show", none), none)
	fails(t, s, exitRefused, "sync-runs", "list", "--status", "Never")
	fails(t, s, exitUsage, "sync-runs", "stop")
	fails(t, s, exitUsage, "sync-runs", "show")
}

func TestSyncRunIsPrinted(t *testing.T) {
	var s syncRun
	require.NoError(t, json.Unmarshal([]byte(`{"id":"r","status":"Error","code":"directory.unreachable","reason":"it is away","due":"2026-01-31T02:30:00Z","endedAt":"2026-01-31T02:31:00Z",
		"counts":{"users":{"added":3,"failed":1}},"errors":[{"kind":"user","externalId":"x-1","code":"user-email.taken","message":"email is already taken"}]}`), &s))
	var out bytes.Buffer
	require.NoError(t, s.print(&out))
	for _, line := range []string{`RUN +r\n`, `STATUS +Error\n`, `REASON +directory.unreachable: it is away\n`, `USERS +3 added, 1 failed\n`, `GROUPS +\n`,
		`ENDED +` + moment(time.Date(2026, 1, 31, 2, 31, 0, 0, time.UTC)), `user +x-1 +user-email.taken +email is already taken\n`} {
		require.Regexp(t, line, out.String())
	}
}
