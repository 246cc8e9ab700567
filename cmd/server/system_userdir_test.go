package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// directoryActions are about user directories: those that are read, and others.
func directoryActions() []action {
	q := "/api/v2/user-directories"
	body := func(g gen, kind string) object {
		// No organization: the caller's own, and later the one that it is.
		o := object{"name": g.name(), "prefix": g.text(), "sendNotification": g.yes(), "synchronization": "Manual", "organizationId": uuid.Nil}
		if g.IntN(3) == 0 { // and not due as long as the test runs
			with(o, "synchronization", "Scheduled", "frequency", "Daily", "frequencyTime", time.Now().UTC().Add(12*time.Hour).Format("15:04"))
		}
		if kind == "ldap" {
			return with(o, "type", "ActiveDirectory", "hostName", "ldap.example", "port", 1+g.IntN(1000), "filter", "(cn="+g.text()+")", "defaultUserRole", []any{nil, g.one("role")}[g.IntN(2)])
		}
		tenant := kind
		if kind == "entra" {
			tenant = []string{"north", "south", "east", "west", "closed"}[g.IntN(5)]
		}
		return with(o, "type", "AzureAD", "azureClientId", g.text(), "azureTenantId", tenant)
	}
	create := func(kind string) action {
		return action{op: "qalyptus.185", method: http.MethodPost, weight: 2, make: func(g gen) request {
			return request{path: q, body: with(body(g, kind), "azureClientSecret", g.text()), made: kind}
		}}
	}
	update := func(kind string) action {
		return action{op: "qalyptus.188", method: http.MethodPut, weight: 2, make: func(g gen) request {
			o := with(body(g, kind), "isActive", g.IntN(4) > 0)
			if g.yes() {
				o["azureClientSecret"] = g.text()
			}
			return request{path: q + "/" + g.one(kind), body: o}
		}}
	}
	synchronize := func(kind string) action {
		return action{op: "qalyptus.190", method: http.MethodPost, weight: 3, make: func(g gen) request {
			return request{path: q + "/" + g.one(kind) + "/synchronize", made: "run"}
		}}
	}
	slow, run := create("slow"), synchronize("slow")
	slow.weight = 0
	return []action{
		create("entra"), create("ldap"), slow, synchronize("entra"),
		{op: "admin.stop-sync-run", method: http.MethodPost, weight: 2, idle: true, before: &run, make: func(g gen) request {
			id := g.one("run")
			return request{path: "/admin/v1/sync-runs/" + id + "/stop", kind: "run", wrong: []string{id}} // it has ended
		}},
		update("entra"), update("ldap"),
		remove("qalyptus.189", q+"/", "entra"), removeMany("qalyptus.186", q, "ldap"),
	}
}

// entra is where tenants keep their user directories. Each has a few people: others
// each time that it is asked. "slow" takes its time and "closed" refuses everybody.
func entra(t *testing.T) string {
	var asked atomic.Int64
	answer := func(w http.ResponseWriter, body object) { _ = json.NewEncoder(w).Encode(body) } // who is gone needs none
	entries := func(w http.ResponseWriter, all int, one func(i int) object) {
		list, now := []object{}, int(asked.Add(1))
		for i := range all {
			if (i+now)%5 > 0 {
				list = append(list, one(i))
			}
		}
		answer(w, object{"value": list})
	}
	id := func(i int) object { return object{"id": strconv.Itoa(i)} }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		tenant := r.PathValue("tenant")
		switch tenant {
		case "closed":
			http.Error(w, `{"error":"invalid_client"}`, http.StatusBadRequest)
			return
		case "slow": // longer than it takes to ask for the end of a run
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
		answer(w, object{"access_token": tenant, "expires_in": 3600})
	})
	mux.HandleFunc("GET /v1.0/groups", func(w http.ResponseWriter, r *http.Request) {
		entries(w, 4, func(i int) object {
			return with(id(i), "displayName", fmt.Sprintf("Team %d %s", i, r.Header.Get("Authorization")))
		})
	})
	mux.HandleFunc("GET /v1.0/groups/{id}/members", func(w http.ResponseWriter, _ *http.Request) { entries(w, 12, id) })
	mux.HandleFunc("GET /v1.0/users", func(w http.ResponseWriter, r *http.Request) {
		entries(w, 12, func(i int) object {
			name := fmt.Sprintf("p%d@%s.example", i, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			return with(id(i), "userPrincipalName", name, "mail", name, "givenName", "P", "surname", strconv.FormatInt(asked.Load(), 10))
		})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
