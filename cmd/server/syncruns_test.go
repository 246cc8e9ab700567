package server_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/domain/directory"
	"docket/internal/config"
	"docket/internal/userdir/slapdtest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

const syncRunPath = "/admin/v1/sync-runs"

// withoutWorkers has runs begin that nobody works on.
func withoutWorkers(c *config.Config) { c.Roles = config.Roles{config.API, config.Projections} }

// userDirectory makes one and returns its id.
func userDirectory(s *servertest.Server, name, organization, host string, port int) string {
	return s.Post("/api/v2/user-directories", map[string]any{"type": "ActiveDirectory", "name": name, "hostName": host, "port": port, "sendNotification": false,
		"synchronization": "Manual", "isActive": true, "organizationId": organization}).Is(http.StatusCreated).ID()
}

// startRun begins a run and returns its id.
func startRun(s *servertest.Server, userDirectory string) string {
	return s.Post("/api/v2/user-directories/"+userDirectory+"/synchronize", nil).Is(http.StatusAccepted).ID()
}

// listRuns are the ids of a list of runs.
func listRuns(s *servertest.Server, query string) (ids []string, next any) {
	page := s.Get(syncRunPath + query).Is(http.StatusOK).Map()
	ids = []string{}
	for _, item := range page["items"].([]any) {
		ids = append(ids, item.(map[string]any)["id"].(string))
	}
	return ids, page["next"]
}

// anEndedRun is what the log holds of a run that failed in the end.
func anEndedRun(t *testing.T, s *servertest.Server, userDirectory, organization string) (id string, due time.Time) {
	t.Helper()
	due = time.Date(2020, 1, 31, 2, 30, 0, 0, time.UTC) // so its id comes before those of today
	run := domain.NewID(due, 1)
	counts := directory.SyncCounts{Users: directory.Tally{Added: 3, Failed: 1}, Groups: directory.Tally{Unchanged: 2}}
	appendEvents(t, s, directory.SyncRunStream(run),
		directory.SyncRunStarted{ID: run, DirectoryID: uuid.MustParse(userDirectory), OrganizationID: uuid.MustParse(organization), Due: &due, At: due.Add(time.Second)},
		directory.SyncRunFailed{ID: run, Code: "directory.unreachable", Reason: "the directory does not answer", Counts: counts, At: due.Add(time.Minute),
			Errors: []directory.EntryError{{Kind: "user", ExternalID: "x-1", Code: "user-email.taken", Message: "email is already taken"}}})
	return run.String(), due
}

func TestAdminSyncRuns(t *testing.T) {
	s := servertest.Start(t, withoutWorkers)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	staff, chemists := userDirectory(s, "Staff", sales, "127.0.0.1", 1), userDirectory(s, "Chemists", lab, "127.0.0.1", 1)
	first, second := startRun(s, staff), startRun(s, chemists)
	old, due := anEndedRun(t, s, staff, sales)
	require.Eventually(t, func() bool { ids, _ := listRuns(s, "?status=Error"); return len(ids) == 1 }, 30*time.Second, 10*time.Millisecond)

	t.Run("list", func(t *testing.T) {
		ids, next := listRuns(s, "")
		require.Equal(t, []string{second, first, old}, ids, "the newest first")
		require.Nil(t, next)
		ids, next = listRuns(s, "?limit=2")
		require.Equal(t, []string{second, first}, ids)
		ids, next = listRuns(s, "?limit=2&after="+next.(string))
		require.Equal(t, []string{old}, ids)
		require.Nil(t, next)
		for query, want := range map[string][]string{"?directory=" + staff: {first, old}, "?directory=" + staff + "&status=Running": {first}, "?status=Success": {}, "?organization=" + lab: {second},
			"?directory=" + uuid.NewString(): {}, "?status=Error&directory=" + chemists: {}} {
			ids, _ = listRuns(s, query)
			require.Equal(t, want, ids, query)
		}
	})
	t.Run("bad input", func(t *testing.T) {
		for _, query := range []string{"status=Never", "status=running", "directory=x", "organization=x", "limit=0", "limit=1001", "limit=x", "after=x", "statu=Error"} {
			require.Contains(t, string(s.Get(syncRunPath+"?"+query).Is(http.StatusBadRequest).Body), `"in":"query"`, query)
		}
		for _, path := range []string{syncRunPath + "/" + uuid.NewString(), syncRunPath + "/" + staff} {
			s.Get(path).Is(http.StatusNotFound)
			s.Post(path+"/stop", nil).Is(http.StatusNotFound)
		}
		s.Get(syncRunPath + "/x").Is(http.StatusBadRequest)
		s.Post(syncRunPath+"/x/stop", nil).Is(http.StatusBadRequest)
	})
	t.Run("one", func(t *testing.T) {
		at := func(after time.Duration) string { return due.Add(after).Format(time.RFC3339Nano) }
		tally := func(added, unchanged, failed float64) map[string]any {
			return map[string]any{"added": added, "changed": 0.0, "deactivated": 0.0, "unchanged": unchanged, "failed": failed}
		}
		shown := map[string]any{"id": old, "directoryId": staff, "organizationId": sales, "status": "Error", "stopping": false, "code": "directory.unreachable",
			"reason": "the directory does not answer", "due": at(0), "startedAt": at(time.Second), "endedAt": at(time.Minute),
			"counts": map[string]any{"users": tally(3, 0, 1), "groups": tally(0, 2, 0)}}
		listed := s.Get(syncRunPath + "?status=Error").Is(http.StatusOK).Map()["items"].([]any)
		require.Equal(t, []any{shown}, listed)
		shown["errors"] = []any{map[string]any{"kind": "user", "externalId": "x-1", "code": "user-email.taken", "message": "email is already taken"}}
		require.Equal(t, shown, s.Get(syncRunPath+"/"+old).Is(http.StatusOK).Map())
		running := s.Get(syncRunPath + "/" + first).Is(http.StatusOK).Map()
		require.Equal(t, []any{"Running", nil, nil, []any{}}, []any{running["status"], running["due"], running["endedAt"], running["errors"]})
	})
	t.Run("rights", func(t *testing.T) {
		watcher := s.Member(lab, "userDirectories.view")
		ids, _ := listRuns(watcher, "")
		require.Equal(t, []string{second}, ids)
		ids, _ = listRuns(watcher, "?organization="+sales)
		require.Empty(t, ids)
		watcher.Get(syncRunPath + "/" + second).Is(http.StatusOK)
		watcher.Get(syncRunPath + "/" + first).Is(http.StatusNotFound)
		watcher.Post(syncRunPath+"/"+second+"/stop", nil).Is(http.StatusForbidden)
		s.Member(lab, "userDirectories.edit").Post(syncRunPath+"/"+first+"/stop", nil).Is(http.StatusNotFound)
		nobody := s.Member(sales)
		for _, path := range []string{syncRunPath, syncRunPath + "/" + first} {
			s.As("").Get(path).Is(http.StatusUnauthorized)
			nobody.Get(path).Is(http.StatusForbidden)
		}
		s.As("").Post(syncRunPath+"/"+first+"/stop", nil).Is(http.StatusUnauthorized)
		nobody.Post(syncRunPath+"/"+first+"/stop", nil).Is(http.StatusForbidden)
		require.Len(t, streamEvents(t, s, "syncrun-"+first), 1)
		require.Len(t, streamEvents(t, s, "syncrun-"+second), 1)
	})
	t.Run("stop", func(t *testing.T) {
		stopping := s.Member(sales, "userDirectories.edit").Post(syncRunPath+"/"+first+"/stop", nil).Is(http.StatusAccepted).Map()
		require.Equal(t, []any{first, "Running", true, nil}, []any{stopping["id"], stopping["status"], stopping["stopping"], stopping["endedAt"]})
		require.Equal(t, stopping, s.Get(syncRunPath+"/"+first).Is(http.StatusOK).Map())
		s.Post(syncRunPath+"/"+first+"/stop", nil).Is(http.StatusAccepted)
		require.Len(t, streamEvents(t, s, "syncrun-"+first), 2, "asked once")
		stop := metadata(t, last(t, s, "syncrun-"+first))
		require.Equal(t, []any{"directory.stop-sync-run", "admin"}, []any{stop.Command, stop.Dialect})

		over := s.Post(syncRunPath+"/"+old+"/stop", nil).Is(http.StatusConflict).Map()
		require.Equal(t, "syncrun.ended", over["code"])
		require.Len(t, streamEvents(t, s, "syncrun-"+old), 2)
	})
	requireClean(t, s, "directory")
}

// A run that waits for its directory ends when it is asked to.
func TestRunIsStoppedByAnOperator(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			asked <- struct{}{}
			<-answer
			c.Close()
		}
	}()
	s := servertest.Start(t)
	run := startRun(s, userDirectory(s, "Silent", servertest.GlobalID, "127.0.0.1", silent.Addr().(*net.TCPAddr).Port))
	<-asked
	require.Equal(t, "Running", s.Get(syncRunPath + "/" + run).Is(http.StatusOK).Map()["status"])
	require.Equal(t, true, s.Post(syncRunPath+"/"+run+"/stop", nil).Is(http.StatusAccepted).Map()["stopping"])
	close(answer)
	var report map[string]any
	require.Eventually(t, func() bool {
		report = s.Get(syncRunPath + "/" + run).Is(http.StatusOK).Map()
		return report["status"] != "Running"
	}, 60*time.Second, 20*time.Millisecond)
	require.Equal(t, "Stopped", report["status"], "%v", report)
	require.NotNil(t, report["endedAt"])
	s.Post(syncRunPath+"/"+run+"/stop", nil).Is(http.StatusConflict)
	ids, _ := listRuns(s, "?status=Stopped")
	require.Equal(t, []string{run}, ids)
}

// The report of a run names the entries that could not be taken over.
func TestRunReportsItsErrors(t *testing.T) {
	slapd := slapdtest.Start(t, slapdtest.Options{LDIF: slapdtest.Person("ada", "Ada", "Lovelace") + slapdtest.Person("bob", "Bob", "Stone")})
	s := servertest.Start(t, trusting(slapd))
	s.Post("/api/v2/users", map[string]any{"firstName": "Other", "lastName": "Ada", "email": "ada@example.com", "isActive": true,
		"organizations": []any{map[string]any{"id": servertest.GlobalID}}}).Is(http.StatusCreated)
	id := s.Post("/api/v2/user-directories", ldapDirectory(slapd, nil)).Is(http.StatusCreated).ID()
	state := synchronize(t, s, id)
	report := s.Get(syncRunPath + "/" + state["ID"].(string)).Is(http.StatusOK).Map()
	require.Equal(t, "Success", report["status"])
	users := report["counts"].(map[string]any)["users"].(map[string]any)
	require.Equal(t, []any{1.0, 1.0}, []any{users["added"], users["failed"]})
	require.Len(t, report["errors"], 1)
	failed := report["errors"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"user", "user-email.taken"}, []any{failed["kind"], failed["code"]})
	require.NotContains(t, string(s.Get(syncRunPath+"?directory="+id).Is(http.StatusOK).Body), "user-email.taken", "lists have the counts only")
}
