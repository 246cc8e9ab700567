package admin_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/readapi/admin"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type named struct {
	ID   string
	Name *string
}

// change is a change as the API shows it.
type change struct {
	Position   int64
	RecordedAt time.Time
	Action     string
	Actor      struct {
		ID         string
		Kind, Name *string
	}
	APIKey                            *named
	Organization                      named
	Dialect, Command                  string
	CommandID, Causation, Correlation string
	Aggregate                         struct {
		Kind          string
		ID, Name      *string
		Stream        string
		Organizations []string
	}
	Events []struct {
		ID, Type string
		Revision int64
	}
	Changes []struct {
		Field         string
		Before, After any
	}
	Problem string
}

// is what changed: before and after by field.
func (c change) is() map[string]list {
	m := map[string]list{}
	for _, f := range c.Changes {
		m[f.Field] = list{f.Before, f.After}
	}
	return m
}

type changePage struct {
	Items []change
	Next  *string
}

func changes(s *servertest.Server, query string) []change {
	var p changePage
	s.Get("/admin/v1/audit" + query).Is(http.StatusOK).JSON(&p)
	return p.Items
}

func awaitChanges(t *testing.T, s *servertest.Server, query string, n int) []change {
	t.Helper()
	var all []change
	require.Eventually(t, func() bool { all = changes(s, query); return len(all) >= n }, 30*time.Second, 20*time.Millisecond)
	require.Len(t, all, n)
	return all
}

func userOf(s *servertest.Server) string {
	return s.Get("/api/v2/users/profile").Is(http.StatusOK).ID()
}

func TestAudit(t *testing.T) {
	s := servertest.Start(t)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	salesman := s.Member(sales, "groups.create", "groups.edit", "groups.delete", "groups.view")
	chemist := s.Member(lab, "groups.create")
	id := group(salesman, "Readers")
	stream := "group-" + id
	s.Put("/api/v2/groups/"+id, object{"name": "Writers", "description": "<&>", "isActive": false}).Is(http.StatusOK)
	s.Put("/api/v2/groups/"+id, object{"name": "Writers", "description": "<&>", "isActive": false}).Is(http.StatusOK) // changes nothing
	salesman.Delete("/api/v1/groups/"+domain.ShortID(uuid.MustParse(id)), nil).Is(http.StatusNoContent)
	project := s.Post("/admin/v1/projects", object{"name": "P", "organizationId": sales,
		"reports": list{object{"name": "R", "type": "Excel", "outputFormats": list{"Pdf"}}}}).Is(http.StatusCreated).ID()
	task := s.Post("/api/v2/tasks", object{"name": "T", "projectId": project}).Is(http.StatusCreated).ID()
	foreign := "group-" + group(chemist, "Chemists")
	awaitChanges(t, s, "?aggregate="+foreign, 1)
	all := awaitChanges(t, s, "?aggregate="+stream, 3)

	t.Run("before and after", func(t *testing.T) {
		made, changed, deleted := all[0], all[1], all[2]
		require.Equal(t, []string{"created", "changed", "deleted"}, []string{made.Action, changed.Action, deleted.Action})
		number, at := made.is()["Number"][1], made.is()["CreatedAt"][1]
		require.Equal(t, map[string]list{"ID": {nil, id}, "Number": {nil, number}, "OrganizationID": {nil, sales}, "Name": {nil, "Readers"}, "Active": {nil, true}, "CreatedAt": {nil, at}}, made.is())
		require.Equal(t, map[string]list{"Name": {"Readers", "Writers"}, "Description": {"", "<&>"}, "Active": {true, false}}, changed.is())
		require.Len(t, changed.Events, 2, "of one append")
		require.Equal(t, map[string]list{"ID": {id, nil}, "Number": {number, nil}, "OrganizationID": {sales, nil}, "Name": {"Writers", nil}, "Description": {"<&>", nil},
			"Active": {false, nil}, "CreatedAt": {at, nil}}, deleted.is())
		for _, c := range all {
			require.Equal(t, "group", c.Aggregate.Kind)
			require.Equal(t, id, *c.Aggregate.ID)
			require.Equal(t, []string{sales}, c.Aggregate.Organizations)
			require.Empty(t, c.Problem)
		}
		require.Equal(t, []string{"Readers", "Writers", "Writers"}, []string{*made.Aggregate.Name, *changed.Aggregate.Name, *deleted.Aggregate.Name})
	})
	t.Run("who", func(t *testing.T) {
		var log page
		s.Get("/admin/v1/streams/" + stream + "/events").Is(http.StatusOK).JSON(&log)
		for i, first := range []int{0, 1, 3} {
			c, e := all[i], log.Items[first]
			require.Equal(t, []any{e.Position, e.ID, e.RecordedAt, e.Actor, *e.APIKey, e.Tenant, e.Command, e.CommandID, e.Correlation, e.Dialect},
				[]any{c.Position, c.Events[0].ID, c.RecordedAt, c.Actor.ID, c.APIKey.ID, c.Organization.ID, c.Command, c.CommandID, c.Correlation, c.Dialect})
		}
		require.Equal(t, userOf(salesman), all[0].Actor.ID)
		require.Regexp(t, "^Test .+", *all[0].Actor.Name)
		require.Equal(t, "user", *all[0].Actor.Kind)
		require.Equal(t, "test", *all[0].APIKey.Name)
		require.Equal(t, "Sales", *all[0].Organization.Name)
		require.Equal(t, []string{"qalyptus", "qalyptus", "qlik"}, []string{all[0].Dialect, all[1].Dialect, all[2].Dialect})

		s.Delete("/api/v2/users/"+all[0].Actor.ID, nil).Is(http.StatusOK)
		again := changes(s, "?aggregate="+stream)
		require.Equal(t, all, again, "who was deleted has a name still, as has the key")
		system := changes(s, "?actor="+domain.SystemID.String()+"&limit=1")[0]
		require.Equal(t, "system", *system.Actor.Kind)
		require.Equal(t, "Docket", *system.Actor.Name)
		require.Nil(t, system.APIKey)
	})
	t.Run("filters", func(t *testing.T) {
		of := func(query string) (found []string) {
			for _, c := range changes(s, "?limit=1000&"+query) {
				found = append(found, c.Action+" "+c.Aggregate.Stream)
			}
			return found
		}
		created, changed, deleted := "created "+stream, "changed "+stream, "deleted "+stream
		require.Equal(t, []string{created, deleted}, of("actor="+all[0].Actor.ID))
		require.Empty(t, of("actor="+uuid.NewString()))
		require.Equal(t, []string{created, deleted}, of("apiKey="+all[0].APIKey.ID))
		require.Equal(t, []string{created, changed, deleted}, of("aggregate="+id))
		require.Equal(t, []string{created, changed, deleted, "created " + foreign}, of("kind=group&from="+at(all[0].RecordedAt)))
		require.Equal(t, []string{deleted, changed, created}, of("order=desc&aggregate="+stream))
		require.Equal(t, []string{deleted}, of("dialect=qlik"))
		require.Equal(t, []string{"created project-" + project}, of("dialect=admin&command=reporting.publish-project"))
		require.Equal(t, []string{changed}, of("aggregate="+id+"&command="+all[1].Command))
		require.Equal(t, []string{changed}, of("correlation="+all[1].Correlation))
		require.Equal(t, []string{changed, deleted}, of("aggregate="+id+"&from="+at(all[1].RecordedAt)), "from is included")
		require.Equal(t, []string{created}, of("aggregate="+id+"&to="+at(all[1].RecordedAt)), "to is not")
		require.Equal(t, []string{"created " + foreign}, of("kind=group&organization="+lab))
		require.Equal(t, []string{created, changed, deleted}, of("kind=group&organization="+sales), "whoever did it")
		require.Equal(t, []string{"created task-" + task}, of("kind=task&organization="+sales))
		for _, c := range changes(s, "?limit=1000") {
			require.NotContains(t, []string{"claim", "numbers"}, c.Aggregate.Kind, "the machinery changes nothing")
		}
	})
	t.Run("bad input", func(t *testing.T) {
		for _, query := range []string{"limit=0", "limit=1001", "after=x", "after=-1", "actor=x", "apiKey=x", "organization=x", "from=yesterday", "order=up", "kind=claim",
			"aggregate=group", "format=xml", "format=csv&limit=5", "stream=x"} {
			a := s.Get("/admin/v1/audit?" + query).Is(http.StatusBadRequest)
			require.Contains(t, string(a.Body), `"in":"query"`, query)
		}
	})
	t.Run("pages", func(t *testing.T) {
		for _, order := range []string{"asc", "desc"} {
			whole := changes(s, "?limit=1000&order="+order)
			require.Greater(t, len(whole), 20)
			for _, limit := range []string{"1", "7"} {
				var got []change
				for query := "?limit=" + limit + "&order=" + order; ; {
					var p changePage
					s.Get("/admin/v1/audit" + query).Is(http.StatusOK).JSON(&p)
					if got = append(got, p.Items...); p.Next == nil {
						break
					}
					query = "?limit=" + limit + "&order=" + order + "&after=" + *p.Next
				}
				require.Equal(t, whole, got)
			}
		}
	})
	scope := func(t *testing.T) {
		auditor := s.Member(sales, "audit.view", "users.view")
		seen := changes(auditor, "?limit=1000")
		require.NotEmpty(t, seen)
		for _, c := range seen {
			require.True(t, c.Organization.ID == sales || len(c.Aggregate.Organizations) == 1 && c.Aggregate.Organizations[0] == sales, "%+v", c)
		}
		mine := changes(auditor, "?aggregate="+stream)
		require.Len(t, mine, 3)
		require.Nil(t, mine[1].Organization.Name, "of an organization that the auditor does not see")
		require.Nil(t, mine[1].Actor.Name, "nor its users")
		require.Equal(t, userOf(s), mine[1].Actor.ID)
		require.Equal(t, all[1].Changes, mine[1].Changes)
		require.NotEqual(t, "(hidden)", *mine[0].Actor.Name)
		require.Len(t, changes(auditor, "?kind=task"), 1)
		require.Empty(t, changes(auditor, "?aggregate="+foreign))
		require.Empty(t, changes(auditor, "?organization="+lab))
		require.Empty(t, changes(auditor, "?correlation="+changes(s, "?aggregate="+foreign)[0].Correlation))
		require.NotContains(t, string(auditor.Get("/admin/v1/audit?format=csv").Is(http.StatusOK).Body), "Chemists")
		s.As("").Get("/admin/v1/audit").Is(http.StatusUnauthorized)
		chemist.Get("/admin/v1/audit").Is(http.StatusForbidden)
		chemist.Get("/admin/v1/audit?format=csv").Is(http.StatusForbidden)
	}
	t.Run("scope", scope)
	t.Run("scope of many", func(t *testing.T) {
		defer admin.SetFewStreams(0)()
		scope(t)
	})
	t.Run("exports", func(t *testing.T) {
		for _, order := range []string{"asc", "desc"} {
			exported(t, s, "order="+order)
		}
		require.Equal(t, "application/jsonl", s.Get("/admin/v1/audit", "Accept", "application/x-ndjson").Is(http.StatusOK).Header.Get("Content-Type"))
		require.Contains(t, s.Get("/admin/v1/audit", "Accept", "text/csv").Is(http.StatusOK).Header.Get("Content-Type"), "text/csv")
		require.Contains(t, s.Get("/admin/v1/audit?format=json", "Accept", "text/csv").Is(http.StatusOK).Header.Get("Content-Type"), "json")
		require.Empty(t, s.Get("/admin/v1/audit?format=jsonl&actor="+uuid.NewString()).Is(http.StatusOK).Body)
	})
}

func orNone(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func at(moment time.Time) string { return url.QueryEscape(moment.Format(time.RFC3339Nano)) }

// exported compares exports with the pages of the same query.
func exported(t *testing.T, s *servertest.Server, query string) {
	t.Helper()
	var raw struct{ Items []json.RawMessage }
	s.Get("/admin/v1/audit?limit=1000&" + query).Is(http.StatusOK).JSON(&raw)
	require.NotEmpty(t, raw.Items)
	lines := s.Get("/admin/v1/audit?format=jsonl&" + query).Is(http.StatusOK).Body
	var want bytes.Buffer
	for _, item := range raw.Items {
		want.Write(append(item, '\n'))
	}
	require.Equal(t, want.String(), string(lines))

	answer := s.Get("/admin/v1/audit?format=csv&" + query).Is(http.StatusOK)
	require.Contains(t, answer.Header.Get("Content-Disposition"), "audit.csv")
	require.NotContains(t, strings.ReplaceAll(string(answer.Body), "\r\n", ""), "\n")
	rows, err := csv.NewReader(bytes.NewReader(answer.Body)).ReadAll()
	require.NoError(t, err)
	cell := func(row []string, column string) string {
		for i, name := range rows[0] {
			if name == column {
				return row[i]
			}
		}
		t.Fatal("no column " + column)
		return ""
	}
	next := rows[1:]
	for _, c := range changes(s, "?limit=1000&"+query) {
		for i := range max(len(c.Changes), 1) {
			row := next[0]
			next = next[1:]
			require.Equal(t, []string{strconv.FormatInt(c.Position, 10), c.Actor.ID, orNone(c.Actor.Name), c.Command, c.Aggregate.Stream, c.Action},
				[]string{cell(row, "position"), cell(row, "actorId"), cell(row, "actorName"), cell(row, "command"), cell(row, "stream"), cell(row, "action")})
			if len(c.Changes) > 0 {
				require.Equal(t, c.Changes[i].Field, cell(row, "field"))
				if text, ok := c.Changes[i].After.(string); ok {
					require.Equal(t, text, strings.TrimPrefix(cell(row, "after"), "'"))
				}
			}
		}
	}
	require.Empty(t, next)
}

// An export of more than it holds in memory has everything once, and each
// stream's states are those of its own moments.
func TestLongExport(t *testing.T) {
	s := servertest.Start(t)
	ids := []string{group(s, "=1+1"), group(s, "G")}
	const renames = 230
	for i := range renames {
		s.Put("/api/v2/groups/"+ids[i%2], object{"name": fmt.Sprintf("=%d", i), "isActive": true}).Is(http.StatusOK)
	}
	awaitChanges(t, s, "?kind=group&limit=1000&command=directory.update-group", renames)
	exported(t, s, "kind=group")
	exported(t, s, "kind=group&order=desc")
	last := map[string]any{ids[0]: "=1+1", ids[1]: "G"}
	for i, c := range changes(s, "?kind=group&limit=1000&command=directory.update-group") {
		name := fmt.Sprintf("=%d", i)
		require.Equal(t, map[string]list{"Name": {last[*c.Aggregate.ID], name}}, c.is())
		last[*c.Aggregate.ID] = name
	}
	body := string(s.Get("/admin/v1/audit?format=csv&aggregate=" + ids[0]).Is(http.StatusOK).Body)
	require.Contains(t, body, ",Name,,'=1+1,")
	require.NotContains(t, body, ",=")
}

func TestAuditHidesPersonalData(t *testing.T) {
	s := servertest.Start(t)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	body := func(mail string, organization string) object {
		return object{"firstName": "Ada", "lastName": "Lovelace", "email": mail, "password": "correct horse battery", "isActive": true, "organizations": list{object{"id": organization}}}
	}
	user := s.Post("/api/v2/users", body("ada@example.com", sales)).Is(http.StatusCreated).ID()
	s.Put("/api/v2/users/"+user, body("countess@example.com", sales)).Is(http.StatusOK)
	auditor, clerk := s.Member(sales, "audit.view"), s.Member(sales, "audit.view", "users.view")
	query := "?aggregate=user-" + user
	awaitChanges(t, s, query, 2)

	shown := changes(clerk, query)
	require.Equal(t, list{"ada@example.com", "countess@example.com"}, shown[1].is()["Email"])
	require.Equal(t, list{nil, "Lovelace"}, shown[0].is()["LastName"])
	require.Equal(t, "Ada Lovelace", *shown[1].Aggregate.Name)

	less := changes(auditor, query)
	require.Equal(t, list{"(hidden)", "(hidden)"}, less[1].is()["Email"], "that it changed is no secret")
	require.NotContains(t, less[1].is(), "LastName")
	require.Equal(t, list{nil, "(hidden)"}, less[0].is()["LastName"])
	require.NotContains(t, less[0].is(), "UserName", "there is none")
	require.Equal(t, list{nil, user}, less[0].is()["ID"])
	require.Equal(t, "(hidden)", *less[1].Aggregate.Name)
	mine := awaitChanges(t, s, "?aggregate="+group(s.Member(sales, "groups.create"), "G"), 1)[0].Aggregate.Stream
	require.Equal(t, "(hidden)", *changes(auditor, "?aggregate="+mine)[0].Actor.Name)
	require.Regexp(t, "^Test ", *changes(clerk, "?aggregate="+mine)[0].Actor.Name)
	for _, format := range []string{"json", "jsonl", "csv"} {
		hidden := string(auditor.Get("/admin/v1/audit" + query + "&format=" + format).Is(http.StatusOK).Body)
		for _, text := range []string{"Ada", "Lovelace", "example.com", "argon2id", "asswordHash"} {
			require.NotContains(t, hidden, text)
		}
		all := string(s.Get("/admin/v1/audit?format=" + format).Is(http.StatusOK).Body)
		for _, text := range []string{"argon2id", "asswordHash", `"Hash"`, ",Hash,"} {
			require.NotContains(t, all, text)
		}
	}

	// Who leaves an organization is seen leaving it, and no further.
	s.Put("/api/v2/users/"+user, body("countess@example.com", lab)).Is(http.StatusOK)
	s.Put("/api/v2/users/"+user, body("lab@example.com", lab)).Is(http.StatusOK)
	awaitChanges(t, s, query, 4)
	chemist := s.Member(lab, "audit.view")
	for _, few := range []int{5000, 0} {
		back := admin.SetFewStreams(few)
		moved := changes(clerk, query)
		require.Len(t, moved, 3)
		require.Equal(t, list{list{sales}, list{lab}}, moved[2].is()["InOrgs"])
		require.Len(t, changes(chemist, query), 2, "the move and what came after it")
		require.Len(t, changes(s, query+"&organization="+sales), 3)
		require.Len(t, changes(s, query+"&organization="+lab), 2)
		back()
	}
}
