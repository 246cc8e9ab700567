package main

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

func TestAudit(t *testing.T) {
	s := servertest.Start(t)
	id := s.Post("/api/v2/groups", map[string]any{"name": "Readers"}).Is(http.StatusCreated).ID()
	s.Put("/api/v2/groups/"+id, map[string]any{"name": "Writers", "isActive": true}).Is(http.StatusOK)
	lines := func(args ...string) int {
		return strings.Count(docket(t, s, append([]string{"audit", "--format", "jsonl"}, args...)...), "\n")
	}
	require.Eventually(t, func() bool { return lines("--aggregate", id) == 2 }, 30*time.Second, 20*time.Millisecond)

	text := docket(t, s, "audit", "--aggregate", "group-"+id)
	require.Regexp(t, `directory.update-group +Writers \(group-`+id+`\) +Name +Readers +Writers\n`, text)
	require.Regexp(t, `directory.create-group +Readers .+ Name +- +Readers\n`, text)
	newest := docket(t, s, "audit", "--aggregate", id, "--newest", "--limit", "1")
	require.Contains(t, newest, "update-group")
	require.NotContains(t, newest, "create-group")

	var change struct {
		RecordedAt, Correlation string
		Actor, APIKey           struct{ ID string }
	}
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "audit", "--aggregate", id, "--command", "directory.update-group", "--json")), &change))
	for _, filter := range [][]string{{"--actor", change.Actor.ID}, {"--api-key", change.APIKey.ID}, {"--org", servertest.GlobalID}, {"--dialect", "qalyptus"}, {"--kind", "group"}} {
		require.Equal(t, 2, lines(append(filter, "--aggregate", id)...), filter)
	}
	require.Equal(t, 1, lines("--aggregate", id, "--from", change.RecordedAt))
	require.Equal(t, 1, lines("--aggregate", id, "--to", change.RecordedAt))
	require.Equal(t, 1, lines("--correlation", change.Correlation))
	require.Zero(t, lines("--aggregate", id, "--dialect", "qlik"))

	rows, err := csv.NewReader(strings.NewReader(docket(t, s, "audit", "--aggregate", id, "--format", "csv"))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, "position", rows[0][0])
	require.Contains(t, rows[len(rows)-1], "Writers")
	require.NotEmpty(t, docket(t, s, "audit", "--limit", "0"))

	fails(t, s, exitUsage, "audit", "--format", "xml")
	fails(t, s, exitUsage, "audit", "--format", "csv", "--limit", "3")
	fails(t, s, exitUsage, "audit", "group-1")
	require.Contains(t, fails(t, s, exitRefused, "audit", "--kind", "claim"), "kind: must be one of")
	require.Contains(t, fails(t, s, exitRefused, "audit", "--kind", "claim", "--format", "csv"), "kind: must be one of")
	require.Equal(t, ""+strings.Repeat("x", widest-3)+"...", short([]byte(`"`+strings.Repeat("x", widest+1)+`"`)))
	require.Equal(t, "[1]", short([]byte(`[1]`)))
}
