package server_test

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
	"docket/eventstore"
	"docket/internal/config"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Random requests of several clients at once, through all APIs. Whatever they
// did, read models, streams, unique keys and the audit trail must agree in the
// end, and every write that was acknowledged must have left its events.
func TestRandomRequests(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("DOCKET_TEST_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("DOCKET_TEST_SEED=%d", seed)
	during := 10 * time.Second
	if long(t) {
		during = 3 * time.Minute
	}

	people := entra(t)
	s := servertest.Start(t, func(c *config.Config) {
		c.GraphURL, c.EntraLoginURL = people, people
		c.PrintAttempts, c.PrintRetryWait = 2, 100*time.Millisecond // some printers are not there
	})
	w := &world{ids: map[string][]string{}}
	below := s.Organization("Below " + uuid.NewString())
	all := []string{}
	for _, area := range []string{"users", "groups", "userDirectories", "roles", "projects", "tasks", "organizations"} {
		all = append(all, area+".view", area+".create", area+".edit", area+".delete")
	}
	member := s.Member(below, all...)
	for n := range uint32(400) { // who registers one is not told its id
		d := aDevice(0x10000+n, servertest.GlobalID)
		appendEvents(t, s, directory.DeviceStream(d.ID), d)
		w.add("device", d.ID.String())
	}
	// Two administrators, two who see one organization only.
	keys := []string{s.Key, s.Key, member.Key, member.Key}
	access := map[string][]accessKey{s.Key: accessKeys(t, s, servertest.GlobalID, "global.example"), member.Key: accessKeys(t, s, below, "below.example")}

	// First each operation until it has changed something, then whatever comes.
	first := newSender(t, s, w, s.Key, access[s.Key], rand.New(rand.NewPCG(seed, 0)))
	each := func(which func(action) bool) {
		for _, a := range actions() {
			done := !which(a)
			for try := 0; try < 60 && !done; try++ {
				if a.before != nil {
					first.send(*a.before, false)
				}
				if a.ready {
					atRest(t, s)
				}
				done = first.send(a, false) && (!a.idle || changedSomething(t, s, first.sent[len(first.sent)-1]))
			}
			require.True(t, done, "%s does not succeed; last: %s", a.op, first.last)
		}
	}
	each(func(action) bool { return true })
	senders := []*sender{first}
	deadline, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	var running sync.WaitGroup
	for i, key := range keys {
		one := newSender(t, s, w, key, access[key], rand.New(rand.NewPCG(seed, uint64(i+1))))
		senders = append(senders, one)
		running.Go(func() {
			for deadline.Err() == nil {
				one.any()
			}
		})
	}
	running.Wait()
	// Chance may have deleted all there was of a kind; then nothing would be compared.
	each(func(a action) bool { return a.weight > 0 && a.makes("") })

	var sent []sentRequest
	for _, one := range senders {
		require.Empty(t, one.problems)
		sent = append(sent, one.sent...)
	}
	counts := map[string]int{}
	for _, r := range sent {
		counts[r.outcome()]++
	}
	t.Logf("%d writes, by status %v", len(sent), counts)

	caughtUp(t, s)
	atRest(t, s)
	caughtUp(t, s)
	log := readLog(t, s)
	t.Run("every write left its events", func(t *testing.T) { checkEvents(t, s, log, sent) })
	t.Run("audit", func(t *testing.T) { checkAudit(t, s, log) })
	t.Run("unique keys", func(t *testing.T) { checkKeys(t, log) })
	t.Run("counters", func(t *testing.T) { checkCounters(t, s) })
	t.Run("rows are what streams fold to", func(t *testing.T) { checkRows(t, s, log) })
	t.Run("rows are what a rebuild gives", func(t *testing.T) { verifyAll(t, s) })
}

// changedSomething tells whether a request left events.
func changedSomething(t *testing.T, s *servertest.Server, r sentRequest) (did bool) {
	t.Helper()
	caughtUp(t, s) // with the audit trail, for which writes do not wait
	require.NoError(t, s.Pools().Main.QueryRow(t.Context(), `select exists (select from rm_audit.entries e
		join idempotency.request r on r.request_id = e.correlation_id where r.key = $1)`, r.key).Scan(&did))
	return did
}

// unfinished counts what reactors and jobs have yet to do: end what ends with
// something else, prepare and deliver documents, read user directories.
const unfinished = `select what, n from (values
	('orphaned keys', (select count(*) from rm_directory.orphaned_keys)), ('orphaned access', (select count(*) from rm_directory.orphaned_access)),
	('orphaned tasks', (select count(*) from rm_reporting.orphaned_tasks)), ('orphaned recipients', (select count(*) from rm_reporting.orphaned_recipients)),
	('recipients who were gone before', (select count(*) from rm_reporting.task_recipients r
		where not exists (select from rm_directory.principals p where p.id = r.recipient_id))),
	('documents to prepare', (select count(*) from rm_printing.documents where status in (5, 6, 7))),
	('documents to deliver', (select count(*) from rm_printing.documents where release is not null)),
	('runs of user directories', (select count(*) from rm_directory.sync_runs where status = 'Running')),
	('jobs', (select count(*) from effects.river_job where finalized_at is null))) as all_of_them(what, n) where n > 0`

// atRest waits until nothing more follows from the requests so far. The rows know
// of all of them: every write waits until they show it, and so does every job.
func atRest(t *testing.T, s *servertest.Server) {
	t.Helper()
	var left any
	if !assert.Eventually(t, func() bool {
		waiting, what, n := map[string]int{}, "", 0
		rows, err := s.Pools().Main.Query(t.Context(), unfinished)
		if err == nil {
			_, err = pgx.ForEachRow(rows, []any{&what, &n}, func() error { waiting[what] = n; return nil })
		}
		left = []any{waiting, err}
		return err == nil && len(waiting) == 0
	}, patience, 20*time.Millisecond) {
		t.Fatalf("reactors and jobs do not come to rest: %v", left)
	}
}

// world is what the clients know to be there.
type world struct {
	mu  sync.Mutex
	ids map[string][]string // by kind
}

func (w *world) add(kind, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids[kind] = append(w.ids[kind], id)
}

func (w *world) drop(kind string, gone []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids[kind] = slices.DeleteFunc(w.ids[kind], func(id string) bool { return slices.Contains(gone, id) })
}

// gen makes requests up.
type gen struct {
	*rand.Rand
	w      *world
	access []accessKey // for the SAFEQ API
}

// blank makes the same requests each time, about nothing that is there.
func blank() gen {
	return gen{rand.New(rand.NewPCG(1, 1)), &world{ids: map[string][]string{}}, make([]accessKey, 2)}
}

func (g gen) one(kind string) string {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	if ids := g.w.ids[kind]; len(ids) > 0 && g.IntN(50) > 0 {
		return ids[g.IntN(len(ids))]
	}
	return uuid.NewString() // nobody's
}

func (g gen) some(kind string, most int) []string {
	list := []string{}
	for range g.IntN(most + 1) {
		if id := g.one(kind); !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

func entities(ids []string) []any {
	list := make([]any, len(ids))
	for i, id := range ids {
		list[i] = map[string]any{"id": id}
	}
	return list
}

func (g gen) entities(kind string, most int) []any { return entities(g.some(kind, most)) }

// name is often one that others want too.
func (g gen) name() string {
	if g.IntN(3) == 0 {
		return fmt.Sprintf("Ünïque %d", g.IntN(30))
	}
	return "Name " + strconv.FormatUint(g.Uint64(), 36)
}

func (g gen) text() string { return strconv.FormatUint(g.Uint64(), 36) }
func (g gen) yes() bool    { return g.IntN(2) == 0 }

type object = map[string]any

// request is one to be sent. When it succeeds its id in the answer is added to
// made, and gone are dropped from kind. When it does not, wrong are.
type request struct {
	path  string
	body  any
	made  string
	kind  string
	gone  []string
	wrong []string
	also  map[string][]string // are added when it succeeds, by kind

	// Of the SAFEQ API.
	headers []string // who asks, in place of the client's key
	actor   string   // in place of the client
	id      string   // what the answer calls the id, unless "id"
	name    string   // is added as "id/name"
}

// action is a way to use an operation.
type action struct {
	op     string // "qalyptus.171"
	method string
	weight int
	// idle operations may succeed without an event: the documents let them repeat
	// what is so already.
	idle bool
	// many commands make up the operation; they are not atomic, so that one that
	// others overtake may be refused after some took effect.
	many bool
	// owner operations are done by the owner of the document they change.
	owner bool
	// ready operations need what jobs make of earlier requests.
	ready bool
	// before is sent first where an operation has to succeed.
	before *action
	make   func(g gen) request
}

// makes tells whether an operation makes things of a kind; "": things that rows show.
func (a action) makes(kind string) bool {
	r := a.make(blank())
	if kind == "" {
		return len(r.also) > 0 || r.made != "" && !strings.Contains(r.made, tokensOf)
	}
	return r.made == kind || len(r.also[kind]) > 0
}

func remove(op, path, kind string) action {
	return action{op: op, method: http.MethodDelete, weight: 1, make: func(g gen) request {
		id := g.one(kind)
		return request{path: path + id, kind: kind, gone: []string{id}}
	}}
}

func removeMany(op, path, kind string) action {
	return action{op: op, method: http.MethodDelete, weight: 1, many: true, make: func(g gen) request {
		ids := append(g.some(kind, 1), g.one(kind))
		return request{path: path, body: slices.Compact(ids), kind: kind, gone: ids}
	}}
}

func person(g gen) object {
	return object{"firstName": "F" + g.text(), "lastName": g.name(), "isActive": g.yes(), "email": strings.ReplaceAll(g.name(), " ", ".") + "@example.com",
		"organizations": append([]any{object{"id": servertest.GlobalID}}, g.entities("organization", 1)...), "groups": []any{}}
}

func with(o object, more ...any) object {
	for i := 0; i+1 < len(more); i += 2 {
		o[more[i].(string)] = more[i+1]
	}
	return o
}

func actions() []action {
	short := func(id string) string { return domain.ShortID(uuid.MustParse(id)) }
	organization := func(g gen) object {
		return object{"name": g.name(), "displayName": g.name(), "description": g.text(), "themeId": uuid.NewString()}
	}
	role := func(g gen) object {
		return object{"name": g.name(), "description": g.text(), "isActive": g.yes(), "allProjects": true,
			"permissions": object{"tasks": object{"view": true, "edit": g.yes()}, "users": object{"edit": g.yes()}}}
	}
	project := func(g gen) object {
		return object{"name": g.name(), "description": g.text(), "reports": []any{object{"name": "One", "type": "Excel"}, object{"name": "Two", "type": "Html", "outputFormats": []string{"Pdf"}}}}
	}
	recipient := func(g gen) object {
		kind := []string{"user", "group"}[g.IntN(2)]
		return object{"id": g.one(kind), "type": kind, "sendEmail": g.yes(), "seeInHub": g.yes()}
	}
	addressed := func(g gen) (task string, one object) {
		parts := strings.Split(g.one("addressed"), "/")
		if len(parts) < 3 {
			return g.one("task"), recipient(g)
		}
		return parts[0], object{"id": parts[2], "type": parts[1], "sendEmail": g.yes(), "seeInHub": g.yes()}
	}
	post, put, patch, q := http.MethodPost, http.MethodPut, http.MethodPatch, "/api/v2"
	expiry := func() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }
	list := []action{
		{op: "qalyptus.55", method: post, weight: 4, make: func(g gen) request {
			return request{path: q + "/organizations", body: organization(g), made: "organization"}
		}},
		{op: "qalyptus.57", method: put, weight: 3, make: func(g gen) request {
			return request{path: q + "/organizations/" + g.one("organization"), body: organization(g)}
		}},
		{op: "qalyptus.99", method: post, weight: 4, make: func(g gen) request { return request{path: q + "/security/roles", body: role(g), made: "role"} }},
		{op: "qalyptus.103", method: put, weight: 4, make: func(g gen) request { return request{path: q + "/security/roles/" + g.one("role"), body: role(g)} }},
		{op: "qalyptus.22", method: post, weight: 6, make: func(g gen) request {
			return request{path: q + "/groups", body: object{"name": g.name(), "description": g.text(), "isActive": g.yes()}, made: "group"}
		}},
		{op: "qalyptus.25", method: put, weight: 5, make: func(g gen) request {
			return request{path: q + "/groups/" + g.one("group"), body: object{"name": g.name(), "description": g.text(), "isActive": g.yes()}}
		}},
		{op: "qlik.2", method: post, weight: 6, make: func(g gen) request {
			roles := []any{object{"id": short(g.one("role"))}}
			for _, id := range g.some("role", 1) {
				roles = append(roles, object{"id": short(id)})
			}
			return request{path: "/api/v1/groups", body: object{"name": g.name(), "status": "active", "assignedRoles": roles}, made: "group"}
		}},
		{op: "qlik.4", method: patch, weight: 6, idle: true, make: func(g gen) request {
			roles := []any{}
			for _, id := range g.some("role", 3) {
				roles = append(roles, object{"id": short(id)})
			}
			return request{path: "/api/v1/groups/" + short(g.one("group")), body: []any{object{"op": "replace", "path": "/assignedRoles", "value": roles}}}
		}},
		{op: "qlik.8", method: patch, weight: 2, idle: true, make: func(g gen) request {
			return request{path: "/api/v1/groups/settings", body: []any{object{"op": "replace", "path": "/autoCreateGroups", "value": g.yes()},
				object{"op": "replace", "path": "/syncIdpGroups", "value": g.yes()}}}
		}},
		{op: "qalyptus.171", method: post, weight: 6, make: func(g gen) request {
			body := with(person(g), "roles", append([]any{object{"id": g.one("role")}}, g.entities("role", 1)...), "groups", g.entities("group", 2))
			return request{path: q + "/users", body: body, made: "user"}
		}},
		{op: "qalyptus.174", method: put, weight: 6, make: func(g gen) request {
			body := with(person(g), "groups", g.entities("group", 2))
			if g.yes() {
				body["roles"] = append([]any{object{"id": g.one("role")}}, g.entities("role", 1)...)
			}
			return request{path: q + "/users/" + g.one("user"), body: body}
		}},
		{op: "qalyptus.173", method: post, weight: 5, make: func(g gen) request { return request{path: q + "/users/recipients", body: person(g), made: "recipient"} }},
		{op: "qalyptus.181", method: put, weight: 4, make: func(g gen) request {
			return request{path: q + "/users/recipients/" + g.one("recipient"), body: with(person(g), "groups", g.entities("group", 2))}
		}},
		{op: "qalyptus.183", method: post, weight: 3, make: func(g gen) request {
			id := g.one("recipient")
			return request{path: q + "/users/recipients/" + id + "/convert", body: object{"roles": []any{object{"id": g.one("role")}}, "isActive": true, "language": "en"},
				made: "user", kind: "recipient", gone: []string{id}}
		}},
		{op: "qalyptus.29", method: put, weight: 5, idle: true, many: true, make: func(g gen) request {
			return request{path: q + "/groups/members", body: object{"groupId": g.one("group"), "name": g.name(), "description": g.text(),
				"userIds": append(g.some("recipient", 1), g.some("user", 3)...)}}
		}},
		{op: "admin.publish-project", method: post, weight: 3, make: func(g gen) request { return request{path: "/admin/v1/projects", body: project(g), made: "project"} }},
		{op: "admin.import-project", method: post, weight: 1, make: func(g gen) request {
			return request{path: "/admin/v1/projects/import", body: project(g), made: "project"}
		}},
		{op: "admin.import-project", method: post, weight: 2, make: func(g gen) request {
			reports := []any{object{"name": "One", "type": "Excel", "template": "one.xlsx"}}
			return request{path: "/admin/v1/projects/import", body: zipped(with(project(g), "reports", reports), g.text()), made: "project", headers: []string{"Content-Type", "application/zip"}}
		}},
		{op: "qalyptus.136", method: post, weight: 10, make: func(g gen) request {
			return request{path: q + "/tasks", body: object{"name": g.name(), "projectId": g.one("project"), "description": g.text()}, made: "task"}
		}},
		{op: "qalyptus.139", method: put, weight: 8, make: func(g gen) request {
			return request{path: q + "/tasks/" + g.one("task"), body: object{"name": g.name(), "description": g.text(), "isActive": g.yes(), "sendNotifications": g.yes(),
				"notifyIfError": g.yes(), "notificationRecipients": "a@example.com", "testMode": g.yes(), "testModeRecipients": "b@example.com"}}
		}},
		{op: "qalyptus.143", method: put, weight: 4, idle: true, many: true, make: func(g gen) request {
			list := []any{}
			for _, id := range append(g.some("task", 2), g.one("task")) {
				list = append(list, object{"id": id, "isActive": g.yes()})
			}
			return request{path: q + "/tasks/activation", body: list}
		}},
		{op: "qalyptus.151", method: post, weight: 10, make: func(g gen) request {
			task, list, also := g.one("task"), []any{}, []string{}
			for range 1 + g.IntN(3) {
				one := recipient(g)
				list = append(list, one)
				also = append(also, fmt.Sprintf("%s/%s/%s", task, one["type"], one["id"]))
			}
			return request{path: q + "/tasks/" + task + "/recipients", body: list, also: map[string][]string{"addressed": also}}
		}},
		{op: "qalyptus.153", method: put, weight: 6, idle: true, make: func(g gen) request {
			task, one := addressed(g)
			return request{path: q + "/tasks/" + task + "/recipients", body: one}
		}},
		{op: "qalyptus.152", method: http.MethodDelete, weight: 3, make: func(g gen) request {
			task, one := addressed(g)
			return request{path: q + "/tasks/" + task + "/recipients", body: []any{one}}
		}},
		{op: "qalyptus.141", method: post, weight: 4, make: func(g gen) request {
			return request{path: q + "/tasks/" + g.one("task") + "/duplicate", body: object{"newName": g.name()}, made: "task"}
		}},
		{op: "qalyptus.1", method: post, weight: 3, make: func(g gen) request {
			return request{path: q + "/api-keys", body: object{"name": g.name(), "description": g.text(), "expiryDate": expiry()}, made: "key"}
		}},
		{op: "admin.issue-api-key", method: post, weight: 4, make: func(g gen) request {
			return request{path: "/admin/v1/api-keys", body: object{"userId": g.one("user"), "name": g.name(), "expiryDate": expiry()}, made: "otherkey"}
		}},
		{op: "qalyptus.3", method: put, weight: 2, make: func(g gen) request {
			return request{path: q + "/api-keys/" + g.one("key"), body: object{"name": g.name(), "description": g.text()}}
		}},
		{op: "admin.set-account", method: put, weight: 3, idle: true, make: func(g gen) request {
			return request{path: "/admin/v1/accounts/" + g.one("organization"), body: object{"domainNames": []any{fmt.Sprintf("host-%d.example", g.IntN(30)), g.text() + ".example"}, "keepHours": 1 + g.IntN(9)}}
		}},
		{op: "admin.create-access-key", method: post, weight: 4, make: func(g gen) request {
			return request{path: "/admin/v1/access-keys", body: object{"name": g.name(), "organizationId": g.one("organization"), "advanced": g.yes(), "allowUnauthenticated": g.yes(),
				"rights": []any{"ViewUser", "ViewJob"}, "allowedAddresses": []any{"10.0.0.0/8"}}, made: "accesskey"}
		}},
		{op: "admin.update-access-key", method: put, weight: 3, idle: true, make: func(g gen) request {
			return request{path: "/admin/v1/access-keys/" + g.one("accesskey"), body: object{"name": g.name(), "active": g.yes(), "expiresAt": expiry()}}
		}},
		{op: "admin.approve-device", method: post, weight: 2, idle: true, make: func(g gen) request {
			return request{path: "/admin/v1/devices/" + g.one("device") + "/approve"}
		}},
		remove("admin.delete-access-key", "/admin/v1/access-keys/", "accesskey"), remove("admin.delete-device", "/admin/v1/devices/", "device"),
		remove("qalyptus.5", q+"/api-keys/", "key"), removeMany("qalyptus.6", q+"/api-keys", "key"),
		remove("qalyptus.7", q+"/api-keys/admin/", "otherkey"), removeMany("qalyptus.8", q+"/api-keys/admin", "otherkey"),
		remove("qalyptus.142", q+"/tasks/", "task"), removeMany("qalyptus.138", q+"/tasks", "task"),
		remove("qalyptus.73", q+"/projects/", "project"),
		{op: "qalyptus.72", method: http.MethodDelete, weight: 1, many: true, make: func(g gen) request {
			id := g.one("project")
			return request{path: q + "/projects", body: entities([]string{id}), kind: "project", gone: []string{id}}
		}},
		remove("qalyptus.176", q+"/users/", "user"), removeMany("qalyptus.179", q+"/users", "recipient"),
		remove("qalyptus.27", q+"/groups/", "group"), removeMany("qalyptus.24", q+"/groups", "group"),
		{op: "qlik.5", method: http.MethodDelete, weight: 1, make: func(g gen) request {
			id := g.one("group")
			return request{path: "/api/v1/groups/" + short(id), kind: "group", gone: []string{id}}
		}},
		remove("qalyptus.102", q+"/security/roles/", "role"), removeMany("qalyptus.104", q+"/security/roles", "role"),
		remove("qalyptus.59", q+"/organizations/", "organization"), removeMany("qalyptus.69", q+"/organizations", "organization"),
	}
	list = slices.Concat(list, directoryActions(), safeqActions())
	// What deletes comes after what makes, and what it deletes is made anew.
	ordered := []action{}
	for i, a := range list {
		if a.method == http.MethodDelete {
			r := a.make(blank())
			for _, b := range list[:i] {
				if r.kind != "" && b.makes(r.kind) && b.op != "qalyptus.183" {
					b.weight = 0
					ordered = append(ordered, b)
				}
			}
		}
		ordered = append(ordered, a)
	}
	return ordered
}

// zipped is a project with the template that its report names.
func zipped(project object, template string) string {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	document, err := json.Marshal(project)
	for name, content := range map[string]string{"project.json": string(document), "one.xlsx": template} {
		file, failed := z.Create(name)
		if failed == nil {
			_, failed = io.WriteString(file, content)
		}
		err = errors.Join(err, failed)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // memory takes all that is written
	}
	return out.String()
}

// sentRequest is a write that was answered.
type sentRequest struct {
	action
	key    string // Idempotency-Key
	actor  string
	status int
	done   bool
}

// outcome is the status, and whether the request was refused all the same.
func (r sentRequest) outcome() string {
	if r.status < 300 && !r.done {
		return strconv.Itoa(r.status) + " refused"
	}
	return strconv.Itoa(r.status)
}

// sender is one client.
type sender struct {
	gen
	client   *client
	actor    string
	weighted []action
	sent     []sentRequest
	last     string
	problems []string
}

func newSender(t *testing.T, s *servertest.Server, w *world, key string, access []accessKey, r *rand.Rand) *sender {
	one := &sender{gen: gen{r, w, access}, client: newClient(t, s.URL, key), actor: s.As(key).Get("/api/v2/users/profile").Is(http.StatusOK).ID()}
	for _, a := range actions() {
		for range a.weight {
			one.weighted = append(one.weighted, a)
		}
	}
	return one
}

func (s *sender) any() { s.send(s.weighted[s.IntN(len(s.weighted))], s.IntN(12) == 0) }

// send uses an operation, or misuses it, and tells whether it succeeded.
func (s *sender) send(a action, bad bool) bool {
	r := a.make(s.gen)
	if bad = bad && r.body != nil; bad {
		r.body = s.badBody(r)
	}
	r.headers = append(r.headers, "Idempotency-Key", uuid.NewString())
	answer, err := s.client.do(context.Background(), a.method, r.path, r.body, r.headers...)
	if err != nil {
		s.problem("%s: %v", a.op, err)
		return false
	}
	dialect, _, _ := strings.Cut(a.op, ".")
	body := fmt.Sprint(r.body)
	s.last = fmt.Sprintf("%s %s %s: %d %s", a.method, r.path, body[:min(len(body), 1000)], answer.status, answer.body)
	s.sent = append(s.sent, sentRequest{action: a, key: r.headers[len(r.headers)-1], actor: cmp.Or(r.actor, s.actor), status: answer.status, done: answer.done()})
	switch {
	case answer.status >= 500 || bad && answer.ok():
		s.problem("%s", s.last)
	case !answer.done():
		if wrong := wrongError(dialect, answer); wrong != "" {
			s.problem("%s: %s", a.op, wrong)
		}
	}
	if !answer.done() {
		s.w.drop(r.kind, r.wrong)
		return false
	}
	if s.IntN(20) == 0 {
		s.again(a, r, answer)
	}
	if r.made != "" {
		id := member(answer.body, cmp.Or(r.id, "id"))
		if short, err := domain.ParseShortID(id); err == nil && r.id == "" {
			id = short.String()
		}
		if id == "" || r.actor == "" && uuid.Validate(id) != nil {
			s.problem("no id in the answer: %s", s.last)
			return false
		}
		if r.name != "" {
			id += "/" + r.name
		}
		s.w.add(r.made, id)
	}
	s.w.drop(r.kind, r.gone)
	for kind, ids := range r.also {
		for _, id := range ids {
			s.w.add(kind, id)
		}
	}
	return true
}

// badBody is none that an operation can read.
func (s *sender) badBody(r request) string {
	if r.headers != nil {
		return []string{`{"name":`, "name=%zz", "\xff=\xff"}[s.IntN(3)]
	}
	return []string{`{"name":`, `"text"`, "\xff"}[s.IntN(3)]
}

// again sends the same once more, which must be answered as before.
func (s *sender) again(a action, r request, before reply) {
	after, err := s.client.do(context.Background(), a.method, r.path, r.body, r.headers...)
	if err != nil || after.status != before.status || string(after.body) != string(before.body) || after.header.Get("Idempotent-Replayed") != "true" {
		s.problem("%s: the same again is answered otherwise: %d %s, then %d %s %v", a.op, before.status, before.body, after.status, after.body, err)
	}
}

func (s *sender) problem(format string, args ...any) {
	if len(s.problems) < 5 {
		s.problems = append(s.problems, fmt.Sprintf(format, args...))
	}
}

// recorded is an event of the log, decoded.
type recorded struct {
	eventstore.Recorded
	event domain.Event
	meta  eventstore.Metadata
}

func (r recorded) kernel() bool { return strings.HasPrefix(r.Type, "kernel.") }

func readLog(t *testing.T, s *servertest.Server) []recorded {
	t.Helper()
	var all []recorded
	for r, err := range s.EventStore().ReadAll(t.Context(), 0, eventstore.Filter{}) {
		require.NoError(t, err)
		e, m, err := s.Codec().DecodeRecorded(r)
		require.NoError(t, err)
		all = append(all, recorded{r, e, m})
	}
	return all
}

// quiet are writes in the sense of HTTP that leave the log alone.
var quiet = []string{"qlik.6", "admin.rebuild-projection", "admin.verify-projection", "admin.skip-event", "admin.skip-reaction", "admin.retry-job", "admin.cancel-job"}

// checkEvents finds the events of each request by its idempotency key.
func checkEvents(t *testing.T, s *servertest.Server, log []recorded, sent []sentRequest) {
	events, followed := map[uuid.UUID][]recorded{}, 0
	owners := map[string]string{} // of documents, by stream
	for _, r := range log {
		if e, ok := r.event.(printing.DocumentReceived); ok {
			owners[r.Stream] = e.UserID.String()
		}
		switch {
		case r.kernel():
		case r.meta.Actor == domain.SystemID && r.meta.Causation != r.meta.Correlation:
			followed++ // a reactor's doing, as the metadata say
		default:
			events[r.meta.Correlation] = append(events[r.meta.Correlation], r)
		}
	}
	require.NotZero(t, followed)
	type run struct {
		id    uuid.UUID
		route string
	}
	runs := map[string]run{}
	rows, err := s.Pools().Main.Query(t.Context(), "select key, route, request_id from idempotency.request")
	require.NoError(t, err)
	var key string
	var one run
	_, err = pgx.ForEachRow(rows, []any{&key, &one.route, &one.id}, func() error { runs[key] = one; return nil })
	require.NoError(t, err)

	routes := map[string]string{}
	for _, api := range s.APIs() {
		for _, op := range api.Operations() {
			if op.Writes() && !slices.Contains(quiet, op.OperationID()) {
				routes[op.OperationID()] = op.Dialect + " " + op.Method + " " + op.Full
			}
		}
	}
	seen := map[string]bool{}
	for _, r := range sent {
		about := fmt.Sprintf("%s answered with %s", r.op, r.outcome())
		happened := events[runs[r.key].id]
		if !r.done {
			require.True(t, len(happened) == 0 || r.many, "%s, but left %d events", about, len(happened))
			continue
		}
		require.Contains(t, runs, r.key, about)
		require.Equal(t, routes[r.op], runs[r.key].route)
		if len(happened) == 0 {
			require.True(t, r.idle, "%s, but left no event", about)
			continue
		}
		seen[r.op] = true
		dialect, _, _ := strings.Cut(r.op, ".")
		for _, e := range happened {
			m, actor := e.meta, r.actor
			if r.owner {
				actor = owners[e.Stream]
			}
			require.Equal(t, actor, m.Actor.String(), about)
			require.Equal(t, dialect, m.Dialect, about)
			require.NotEmpty(t, m.Command, about)
			require.NotZero(t, m.CommandID, about)
			require.NotZero(t, m.Causation, about)
			require.NotZero(t, m.Tenant, about)
			require.NotNil(t, m.APIKey, about)
		}
	}
	for op := range routes {
		require.True(t, seen[op], "no request of this test wrote through %s; teach it that operation", op)
	}
}

// checkAudit compares the audit trail with the log.
func checkAudit(t *testing.T, s *servertest.Server, log []recorded) {
	rows, err := s.Pools().Main.Query(t.Context(), `select row_to_json(e) from rm_audit.entries e order by position`)
	require.NoError(t, err)
	entries, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	require.NoError(t, err)
	require.Len(t, entries, len(log))
	for i, r := range log {
		var e struct {
			Position    int64     `json:"position"`
			EventID     uuid.UUID `json:"event_id"`
			Type        string    `json:"type"`
			Stream      string    `json:"stream"`
			Revision    int64     `json:"revision"`
			Actor       uuid.UUID `json:"actor_id"`
			Command     string    `json:"command"`
			Correlation uuid.UUID `json:"correlation_id"`
			Dialect     string    `json:"dialect"`
		}
		require.NoError(t, json.Unmarshal(entries[i], &e))
		require.Equal(t, []any{int64(r.Position), r.ID, r.Type, r.Stream, int64(r.Revision), r.meta.Actor, r.meta.Command, r.meta.Correlation, r.meta.Dialect},
			[]any{e.Position, e.EventID, e.Type, e.Stream, e.Revision, e.Actor, e.Command, e.Correlation, e.Dialect})
	}
}
