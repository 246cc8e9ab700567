package server_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/domain/directory"
	"docket/eventstore"
	"docket/internal/vault"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// refused checks status and the fields that a problem names.
func refused(t *testing.T, a servertest.Answer, status int, fields ...string) {
	t.Helper()
	var p struct{ Errors []struct{ Path string } }
	a.Is(status).JSON(&p)
	var named []string
	for _, e := range p.Errors {
		named = append(named, e.Path)
	}
	require.Equal(t, fields, named, "%s", a.Body)
}

func TestAdminAccounts(t *testing.T) {
	s := servertest.Start(t)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	path := "/admin/v1/accounts/" + sales
	was := s.Get(path).Is(http.StatusOK).Map()
	require.Positive(t, was["number"])
	delete(was, "number")
	require.Equal(t, map[string]any{"organizationId": sales, "name": "Sales", "type": 2.0, "domainNames": []any{}, "applicationName": "Docket", "trustAllClients": false,
		"locationId": 0.0, "accessSeconds": 3600.0, "refreshDays": 90.0, "keepHours": 168.0, "nameLogins": false}, was)
	s.Put(path, was).Is(http.StatusOK)
	require.Len(t, streamEvents(t, s, "organization-"+sales), 1, "the defaults are no change")

	set := s.Put(path, map[string]any{"type": 1, "domainNames": []any{"Print.Example.com"}, "keepHours": 24}).Is(http.StatusOK)
	require.JSONEq(t, string(set.Body), string(s.Get(path).Is(http.StatusOK).Body))
	require.Equal(t, []any{"print.example.com"}, set.Map()["domainNames"])
	refused(t, s.Put("/admin/v1/accounts/"+lab, map[string]any{"domainNames": []any{"print.example.COM"}}), http.StatusConflict, "domainNames")
	refused(t, s.Put(path, map[string]any{"domainNames": []any{"a", "b:80"}, "accessSeconds": 1}), http.StatusBadRequest, "domainNames[1]", "accessSeconds")
	s.Get("/admin/v1/accounts/" + uuid.NewString()).Is(http.StatusNotFound)
	s.Put("/admin/v1/accounts/"+uuid.NewString(), map[string]any{}).Is(http.StatusNotFound)

	member := s.Member(lab, "organizations.view")
	member.Get("/admin/v1/accounts/" + lab).Is(http.StatusOK)
	member.Get(path).Is(http.StatusNotFound)
	member.Put("/admin/v1/accounts/"+lab, map[string]any{}).Is(http.StatusForbidden)
	s.Member(lab, "organizations.edit").Put(path, map[string]any{}).Is(http.StatusNotFound)
	s.Member(lab).Get("/admin/v1/accounts/" + lab).Is(http.StatusForbidden)
	require.Equal(t, "directory.set-account", metadata(t, last(t, s, "organization-"+sales)).Command)
	requireClean(t, s, "directory")
}

func metadata(t *testing.T, r eventstore.Recorded) eventstore.Metadata {
	t.Helper()
	m, err := eventstore.DecodeMetadata(r.Meta)
	require.NoError(t, err)
	return m
}

func TestAdminAccessKeys(t *testing.T) {
	s := servertest.Start(t)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	const path = "/admin/v1/access-keys"
	made := s.Post(path, map[string]any{"name": " Clients ", "organizationId": sales, "allowUntrusted": true, "advanced": true, "rights": []any{"ViewUser", "AddJob"},
		"allowedAddresses": []any{"10.1.1.1/8"}, "expiresAt": "2099-01-01T00:00:00+01:00"}).Is(http.StatusCreated).Map()
	key, id := made["key"].(string), made["id"].(string)
	_, err := uuid.Parse(key)
	require.NoError(t, err, "the value is a UUID")
	delete(made, "key")
	require.Equal(t, made, s.Get(path+"/"+id).Is(http.StatusOK).Map())
	require.Equal(t, []any{"AddJob", "ViewUser"}, made["rights"])
	require.Equal(t, "2098-12-31T23:00:00Z", made["expiresAt"])
	require.Equal(t, true, made["active"])
	for _, shown := range [][]byte{s.Get(path + "/" + id).Body, s.Get(path).Body, s.Get("/admin/v1/streams/accesskey-" + id + "/events").Is(http.StatusOK).Body, s.Get("/admin/v1/streams/accesskey-" + id + "/state").Is(http.StatusOK).Body} {
		require.NotContains(t, string(shown), key)
	}
	data := string(last(t, s, "accesskey-"+id).Data)
	require.NotContains(t, data, key, "only its hash is kept")

	// The same request again shows the same key; another makes another.
	again := func(name, header string) string {
		return s.Post(path, map[string]any{"name": name}, "Idempotency-Key", header).Is(http.StatusCreated).Map()["key"].(string)
	}
	first := again("one", "k1")
	require.Equal(t, first, again("one", "k1"))
	require.NotEqual(t, first, again("two", "k2"))
	own := s.Post(path, map[string]any{"name": "own", "value": "a-value-of-the-operator"}).Is(http.StatusCreated).Map()
	require.Equal(t, "a-value-of-the-operator", own["key"])
	refused(t, s.Post(path, map[string]any{"name": "own2", "organizationId": lab, "value": "a-value-of-the-operator"}), http.StatusConflict, "value")
	refused(t, s.Post(path, map[string]any{"name": "own2", "value": "short"}), http.StatusBadRequest, "value")
	refused(t, s.Post(path, map[string]any{"name": "OWN"}), http.StatusConflict, "name")
	refused(t, s.Post(path, map[string]any{"name": "x", "rights": []any{"Fly"}, "allowedAddresses": []any{"x"}, "expiresAt": "2001-01-01T00:00:00Z"}), http.StatusBadRequest, "rights[0]", "allowedAddresses[0]", "expiresAt")

	changed := s.Put(path+"/"+id, map[string]any{"name": "Clients", "active": false}).Is(http.StatusOK).Map()
	require.Equal(t, changed, s.Get(path+"/"+id).Map())
	require.Equal(t, []any{false, []any{}, nil, "General"}, []any{changed["active"], changed["rights"], changed["expiresAt"], changed["kind"]})
	s.Put(path+"/"+uuid.NewString(), map[string]any{"name": "x"}).Is(http.StatusNotFound)

	// Pages hold every key once, in the order of ids.
	var all []string
	for after := ""; ; {
		var p struct {
			Items []struct{ ID string }
			Next  *string
		}
		s.Get(path + "?limit=2" + after).Is(http.StatusOK).JSON(&p)
		for _, k := range p.Items {
			all = append(all, k.ID)
		}
		if p.Next == nil {
			break
		}
		require.Len(t, p.Items, 2)
		after = "&after=" + *p.Next
	}
	require.Len(t, all, 4)
	require.True(t, slices.IsSorted(all))
	var some struct{ Items []map[string]any }
	s.Get(path + "?organization=" + sales).Is(http.StatusOK).JSON(&some)
	require.Equal(t, []map[string]any{changed}, some.Items)

	// Whoever sees another organization sees none of this, and gives no right that
	// they lack.
	member := s.Member(lab, "accessKeys.view", "accessKeys.create", "accessKeys.edit", "accessKeys.delete", "documents.create")
	require.Equal(t, map[string]any{"items": []any{}, "next": nil}, member.Get(path).Is(http.StatusOK).Map())
	member.Get(path + "/" + id).Is(http.StatusNotFound)
	member.Put(path+"/"+id, map[string]any{"name": "mine"}).Is(http.StatusNotFound)
	member.Delete(path+"/"+id, nil).Is(http.StatusNotFound)
	refused(t, member.Post(path, map[string]any{"name": "x", "organizationId": sales}), http.StatusBadRequest, "organizationId")
	member.Post(path, map[string]any{"name": "x", "allowUnauthenticated": true, "advanced": true, "rights": []any{"AddJob"}}).Is(http.StatusCreated)
	refused(t, member.Post(path, map[string]any{"name": "y", "allowUnauthenticated": true, "advanced": true, "rights": []any{"AddJob", "DeleteUser"}}), http.StatusForbidden, "rights")
	nobody := s.Member(sales)
	nobody.Get(path).Is(http.StatusForbidden)
	nobody.Post(path, map[string]any{"name": "z"}).Is(http.StatusForbidden)
	nobody.Put(path+"/"+id, map[string]any{"name": "z"}).Is(http.StatusForbidden)
	nobody.Delete(path+"/"+id, nil).Is(http.StatusForbidden)

	s.Delete(path+"/"+id, nil).Is(http.StatusNoContent)
	s.Get(path + "/" + id).Is(http.StatusNotFound)
	s.Delete(path+"/"+id, nil).Is(http.StatusNotFound)
	requireClean(t, s, "directory")
}

// append puts events into a new stream, as the SAFEQ API's commands would.
func appendEvents(t *testing.T, s *servertest.Server, stream string, events ...domain.Event) {
	t.Helper()
	var proposed []eventstore.Proposed
	for _, e := range events {
		data, err := json.Marshal(e)
		require.NoError(t, err)
		meta, err := json.Marshal(eventstore.Metadata{Tenant: uuid.MustParse(servertest.GlobalID), Correlation: uuid.New(), Schema: 1, Count: 1})
		require.NoError(t, err)
		proposed = append(proposed, eventstore.Proposed{ID: uuid.New(), Type: e.EventType(), Data: data, Meta: meta})
	}
	_, err := s.EventStore().Append(t.Context(), stream, eventstore.NoStream, proposed)
	require.NoError(t, err)
}

func aDevice(n uint32, organization string) directory.DeviceRegistered {
	return directory.DeviceRegistered{ID: domain.WellKnownID(n), OrganizationID: uuid.MustParse(organization), AccessKeyID: domain.WellKnownID(1), ClientID: "c" + domain.WellKnownID(n).String(),
		ClientType: "printer", Description: "Hall", CodeHash: vault.HashToken("code"), CodeUntil: time.Now().UTC().Add(time.Hour).Truncate(time.Microsecond), At: time.Now().UTC().Truncate(time.Microsecond)}
}

// awaitDevices waits until a list has so many devices.
func awaitDevices(t *testing.T, s *servertest.Server, query string, n int) []map[string]any {
	t.Helper()
	var p struct{ Items []map[string]any }
	require.Eventually(t, func() bool {
		s.Get("/admin/v1/devices" + query).Is(http.StatusOK).JSON(&p)
		return len(p.Items) == n
	}, 30*time.Second, 10*time.Millisecond, "%s", query)
	return p.Items
}

func TestAdminDevices(t *testing.T) {
	s := servertest.Start(t)
	sales, lab := s.Organization("Sales"), s.Organization("Lab")
	one, two := aDevice(0x401, sales), aDevice(0x402, lab)
	for _, d := range []directory.DeviceRegistered{one, two} {
		appendEvents(t, s, directory.DeviceStream(d.ID), d)
	}
	shown := awaitDevices(t, s, "", 2)[0]
	require.Equal(t, []any{one.ID.String(), sales, one.ClientID, "printer", "Hall", false, nil}, []any{shown["id"], shown["organizationId"], shown["clientId"], shown["clientType"], shown["description"], shown["approved"], shown["refreshUntil"]})
	path := "/admin/v1/devices/" + one.ID.String()

	member := s.Member(lab, "devices.view", "devices.approve", "devices.delete")
	awaitDevices(t, member, "", 1)
	member.Post(path+"/approve", nil).Is(http.StatusNotFound)
	member.Delete(path, nil).Is(http.StatusNotFound)
	nobody := s.Member(sales)
	nobody.Get("/admin/v1/devices").Is(http.StatusForbidden)
	nobody.Post(path+"/approve", nil).Is(http.StatusForbidden)
	nobody.Delete(path, nil).Is(http.StatusForbidden)

	require.Equal(t, true, s.Post(path+"/approve", nil).Is(http.StatusOK).Map()["approved"])
	s.Post(path+"/approve", nil).Is(http.StatusOK)
	require.Len(t, streamEvents(t, s, directory.DeviceStream(one.ID)), 2, "approved once")
	awaitDevices(t, s, "?approved=true&organization="+sales, 1)
	require.Equal(t, two.ID.String(), awaitDevices(t, s, "?approved=false", 1)[0]["id"])
	events := string(s.Get("/admin/v1/streams/" + directory.DeviceStream(one.ID) + "/events").Is(http.StatusOK).Body)
	require.Contains(t, events, `"codeHash":"(hidden)"`)

	s.Delete(path, nil).Is(http.StatusNoContent)
	s.Delete(path, nil).Is(http.StatusNotFound)
	awaitDevices(t, s, "?organization="+sales, 0)
	requireClean(t, s, "directory")
}

// What an access key did without a user is told under its name.
func TestAuditNamesAccessKeys(t *testing.T) {
	s := servertest.Start(t)
	key := uuid.MustParse(s.Post("/admin/v1/access-keys", map[string]any{"name": "Print clients"}).Is(http.StatusCreated).ID())
	d := aDevice(0x406, servertest.GlobalID)
	data, err := json.Marshal(d)
	require.NoError(t, err)
	meta, err := json.Marshal(eventstore.Metadata{Tenant: uuid.MustParse(servertest.GlobalID), Actor: key, APIKey: &key, Command: "directory.register-device", Correlation: uuid.New(), Schema: 1, Count: 1})
	require.NoError(t, err)
	_, err = s.EventStore().Append(t.Context(), directory.DeviceStream(d.ID), eventstore.NoStream, []eventstore.Proposed{{ID: uuid.New(), Type: d.EventType(), Data: data, Meta: meta}})
	require.NoError(t, err)
	type named struct{ Kind, Name string }
	var list struct {
		Items []struct{ Actor, APIKey named }
	}
	require.Eventually(t, func() bool {
		s.Get("/admin/v1/audit?aggregate=" + directory.DeviceStream(d.ID)).Is(http.StatusOK).JSON(&list)
		return len(list.Items) == 1
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, named{"accessKey", "Print clients"}, list.Items[0].Actor)
	require.Equal(t, "Print clients", list.Items[0].APIKey.Name)
}

// What lets clients in ends with its organization, also what came a moment late.
func TestDeletedOrganizationsEndAccess(t *testing.T) {
	s := servertest.Start(t)
	organization, stays := s.Organization("Doomed"), s.Organization("Stays")
	accessKey := func(organization string) string {
		return s.Post("/admin/v1/access-keys", map[string]any{"name": "K", "organizationId": organization}).Is(http.StatusCreated).ID()
	}
	key, kept := accessKey(organization), accessKey(stays)
	s.Put("/admin/v1/accounts/"+organization, map[string]any{"domainNames": []any{"d.example"}}).Is(http.StatusOK)
	device := aDevice(0x403, organization)
	appendEvents(t, s, directory.DeviceStream(device.ID), device)
	awaitDevices(t, s, "", 1)

	s.Delete("/api/v2/organizations/"+organization, nil).Is(http.StatusOK)
	requireEnd(t, s, "accesskey-"+key, "directory.accesskey-deleted", "organization-"+organization)
	requireEnd(t, s, directory.DeviceStream(device.ID), "directory.device-removed", "organization-"+organization)
	s.Get("/admin/v1/access-keys/" + key).Is(http.StatusNotFound)
	s.Get("/admin/v1/access-keys/" + kept).Is(http.StatusOK)
	s.Put("/admin/v1/accounts/"+stays, map[string]any{"domainNames": []any{"d.example"}}).Is(http.StatusOK)

	late := aDevice(0x404, organization)
	appendEvents(t, s, directory.DeviceStream(late.ID), late)
	lateKey := directory.AccessKeyCreated{ID: domain.WellKnownID(0x405), OrganizationID: late.OrganizationID, Hash: []byte("late"), CreatedAt: late.At,
		Settings: directory.AccessKeySettings{Name: "L", Rights: []string{}, AllowedAddresses: []string{}}}
	appendEvents(t, s, directory.AccessKeyStream(lateKey.ID), lateKey)
	for _, stream := range []string{directory.DeviceStream(late.ID), directory.AccessKeyStream(lateKey.ID)} {
		require.Eventually(t, func() bool { return len(streamEvents(t, s, stream)) == 2 }, 30*time.Second, 10*time.Millisecond, stream)
		requireCause(t, last(t, s, stream), streamEvents(t, s, stream)[0])
	}
	require.True(t, strings.HasSuffix(last(t, s, directory.AccessKeyStream(lateKey.ID)).Type, "-deleted"))
	requireNoWork(t, s)
	requireClean(t, s, "directory")
}
