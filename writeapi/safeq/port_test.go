package safeq_test

import (
	"fmt"
	"testing"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

// byID finds an entry of a list by its number.
func byID(list []object, id int) object {
	for _, o := range list {
		if o["id"] == float64(id) {
			return o
		}
	}
	return nil
}

func (c *client) list(path string) []object {
	c.s.t.Helper()
	var list []object
	c.get(path).Is(200).JSON(&list)
	return list
}

func TestPorts(t *testing.T) {
	s := start(t)
	s.account(servertest.GlobalID, "global.example", 1)
	acme := s.Organization("acme")
	s.account(acme, "acme.example", 3)
	admin := s.open()
	admin.user("ada")
	admin.at("acme.example").user("bob")

	t.Run("output ports", func(t *testing.T) {
		admin := admin.in(t)
		id := int(admin.ok("PUT", "/outputports", "domainname", "global.example", "portname", "Hall", "address", "10.0.0.1:9101", "porttype", "1", "serviceid", "3", "serviceid", "4",
			"vendor", "Ricoh", "modelfamily", "1", "printprotocol", "1", "outputtype", "4", "printerippurl", "ipp://10.0.0.1/ipp/print", "monochromeprinter", "true",
			"ipreaderaddress", "aa:bb:cc", "embeddedconfiguration", "7", "deviceserial", "S1", "description", "By the door", "embedded", "1", "reversefinisher", "TRUE")["id"].(float64))
		require.NotZero(t, id)
		got := byID(admin.list("/outputports"), id)
		want := object{"id": float64(id), "name": "Hall", "address": "10.0.0.1:9101", "portType": 1.0, "vendor": "ricoh", "logoutTimeout": 0.0, "autoRelease": false, "embedded": true,
			"monochrome": true, "trimCardId": false, "description": "By the door", "embeddedConfigurationId": 7.0, "printProtocol": 1.0, "modelFamily": 1.0, "outputType": 4.0,
			"deviceSerial": "S1", "reverseFinisher": true, "printerIppUrl": "ipp://10.0.0.1/ipp/print", "ipReaderAddress": "aa:bb:cc", "serviceIds": []any{3.0, 4.0}, "accountId": got["accountId"]}
		require.Equal(t, want, got)

		// What is absent of a change stays.
		require.EqualValues(t, id, admin.ok("PUT", "/outputports", "Id", fmt.Sprint(id), "portname", "Great hall", "printerippurl", "")["id"])
		want["name"], want["printerIppUrl"] = "Great hall", ""
		require.Equal(t, want, byID(admin.list("/outputports"), id))
		require.Equal(t, "Global", byID(admin.list("/outputports?enrichPorts=true"), id)["accountName"])

		require.Contains(t, admin.coded(1009, "PUT", "/outputports", "domainname", "global.example", "portname", "GREAT HALL", "address", "a", "porttype", "0"), "taken")
		admin.coded(1009, "PUT", "/outputports", "id", "1000000", "portname", "x")
		admin.coded(1006, "PUT", "/outputports", "domainname", "no.such.example", "portname", "x", "address", "a", "porttype", "0")
		for says, pairs := range map[string][]string{
			"domainname is required; portname is required; address is required; porttype is required": {},
			"porttype must be one of":      {"domainname", "global.example", "portname", "x", "address", "a", "porttype", "7"},
			"outputtype must be one of":    {"domainname", "global.example", "portname", "x", "address", "a", "porttype", "0", "outputtype", "2"},
			"address must be a host":       {"domainname", "global.example", "portname", "x", "address", "a b", "porttype", "0"},
			"vendor must be one of":        {"domainname", "global.example", "portname", "x", "address", "a", "porttype", "0", "vendor", "acme"},
			"modelfamily is none":          {"domainname", "global.example", "portname", "x", "address", "a", "porttype", "0", "modelfamily", "3"},
			"serviceid[1] must be a whole": {"domainname", "global.example", "portname", "x", "address", "a", "porttype", "0", "serviceid", "1,b"},
			"id must be a whole number":    {"id", "x"},
			"domainname can't change":      {"id", fmt.Sprint(id), "domainname", "acme.example"},
		} {
			admin.refused(400, says, "PUT", "/outputports", pairs...)
		}

		made := admin.call("POST", "/outputports", form("domainname", "global.example", "portname", "Push", "address", "10.0.0.2", "porttype", "0", "matchinginputport", "true")).Is(200).Map()
		require.EqualValues(t, 0, made["errorCode"])
		queues := admin.list("/inputports")
		require.Len(t, queues, 1)
		require.Equal(t, []any{"Push", 1.0, "Push", made["id"]}, []any{queues[0]["name"], queues[0]["portType"], queues[0]["outputPort"], queues[0]["outputPortId"]})
		require.Contains(t, admin.coded(1009, "PUT", "/outputports", "domainname", "global.example", "portname", "push", "address", "10.0.0.2", "porttype", "0", "matchinginputport", "true"), "already")

		admin.ok("DELETE", "/outputports/"+fmt.Sprint(id))
		admin.coded(1017, "DELETE", "/outputports/"+fmt.Sprint(id))
		admin.refused(400, "outputportid", "DELETE", "/outputports/x")
		require.Nil(t, byID(admin.list("/outputports"), id))
	})

	t.Run("input ports", func(t *testing.T) {
		admin := admin.in(t)
		printer := admin.printer("global.example", "Desk", "10.0.0.3")
		below := admin.printer("acme.example", "Cellar", "10.0.0.4")
		id := int(admin.ok("PUT", "/inputports", "domainname", "acme.example", "portname", "Straight", "porttype", "1", "outputportid", fmt.Sprint(printer), "PORTFLAGS", "1", "locationid", "5")["id"].(float64))
		got := byID(admin.list("/inputports"), id)
		require.Equal(t, object{"id": float64(id), "name": "Straight", "portType": 1.0, "portFlags": 1.0, "outputPort": "Desk", "outputPortId": float64(printer), "locationId": 5.0, "accountId": got["accountId"]}, got)
		require.Equal(t, "acme", byID(admin.list("/inputports?enrichports=TRUE"), id)["containerName"])

		admin.ok("PUT", "/inputports", "id", fmt.Sprint(id), "porttype", "0", "locationid", "")
		got = byID(admin.list("/inputports"), id)
		require.Equal(t, []any{"Straight", 0.0, "", 5.0}, []any{got["name"], got["portType"], got["outputPort"], got["locationId"]}, "a pull queue has no printer")

		admin.coded(1015, "PUT", "/inputports", "domainname", "acme.example", "portname", "straight", "porttype", "0")
		admin.coded(1015, "PUT", "/inputports", "domainname", "acme.example", "portname", "x", "porttype", "1", "outputportid", "1000000")
		admin.coded(1006, "PUT", "/inputports", "domainname", "no.such.example", "portname", "x", "porttype", "0")
		admin.coded(1015, "PUT", "/inputports", "id", "1000000", "portname", "x")
		admin.refused(400, "outputportid is needed", "PUT", "/inputports", "domainname", "global.example", "portname", "x", "porttype", "1")
		admin.refused(400, "outputportid does not exist", "PUT", "/inputports", "domainname", "global.example", "portname", "x", "porttype", "1", "outputportid", fmt.Sprint(below))
		admin.refused(400, "portname is required", "PUT", "/inputports", "domainname", "global.example", "porttype", "1")
		admin.refused(400, "portFlags", "PUT", "/inputports", "domainname", "global.example", "portname", "x", "porttype", "0", "portflags", "-1")

		hidden := admin.ok("PUT", "/inputports", "domainname", "global.example", "portname", "Hidden", "porttype", "0")["id"].(float64)
		shown := admin.queue("global.example", "Shown")
		names := func(path string) (names []string) {
			for _, q := range admin.list(path) {
				names = append(names, q["name"].(string))
			}
			return names
		}
		require.Equal(t, []string{"Shown"}, names("/inputports?username=ada"))
		require.Equal(t, []string{"Straight", "Shown"}, names("/inputports?username=bob&providerid=1"))
		require.Equal(t, []string{"Straight"}, names("/inputports?locationids=5&locationids=6"))
		admin.get("/inputports?username=nobody").Is(400)
		admin.get("/outputports?username=bob&providerid=9").Is(400)
		require.Contains(t, fmt.Sprint(names("/outputports?username=bob")), "Cellar")
		require.NotContains(t, fmt.Sprint(names("/outputports?username=ada")), "Cellar")
		require.NotNil(t, byID(admin.at("acme.example").list("/inputports"), shown), "what is above serves those below")

		admin.ok("DELETE", fmt.Sprintf("/inputports/%d", int(hidden)))
		admin.coded(1016, "DELETE", fmt.Sprintf("/inputports/%d", int(hidden)))
	})

	t.Run("who may", func(t *testing.T) {
		s := s.in(t)
		keys := map[string]*client{"plain": s.key(flags{unauthenticated: true, untrusted: true}), "view": s.key(flags{unauthenticated: true, untrusted: true, rights: []string{"ViewOutputPort", "ViewInputPort"}}),
			"create": s.key(flags{unauthenticated: true, untrusted: true, rights: []string{"ViewOutputPort", "ViewInputPort", "CreateOutputPort", "CreateInputPort"}})}
		keys["plain"].get("/inputports").Is(200)
		keys["plain"].get("/outputports").Is(403)
		keys["view"].get("/outputports").Is(200)
		keys["view"].refused(403, "CreateOutputPort", "PUT", "/outputports", "domainname", "global.example", "portname", "p", "address", "a", "porttype", "0")
		id := keys["create"].printer("global.example", "p", "a")
		keys["create"].refused(403, "ModifyOutputPort", "PUT", "/outputports", "id", fmt.Sprint(id), "portname", "q")
		keys["create"].refused(403, "DeleteOutputPort", "DELETE", fmt.Sprintf("/outputports/%d", id))
		queue := keys["create"].queue("global.example", "q")
		keys["create"].refused(403, "ModifyInputPort", "PUT", "/inputports", "id", fmt.Sprint(queue), "portname", "r")
		ofAcme := s.key(flags{unauthenticated: true, untrusted: true, organization: acme, rights: everyRight}).at("acme.example")
		ofAcme.coded(1009, "PUT", "/outputports", "id", fmt.Sprint(id), "portname", "mine")
		ofAcme.coded(1017, "DELETE", fmt.Sprintf("/outputports/%d", id))
		ofAcme.coded(1006, "PUT", "/outputports", "domainname", "global.example", "portname", "x", "address", "a", "porttype", "0")
	})

	t.Run("again with the same key", func(t *testing.T) {
		admin := admin.in(t)
		body := form("domainname", "global.example", "portname", "Once", "address", "a", "porttype", "0")
		first := admin.call("PUT", "/outputports", body, "Idempotency-Key", "once")
		second := admin.call("PUT", "/outputports", body, "Idempotency-Key", "once")
		require.Equal(t, string(first.Body), string(second.Body))
		require.Equal(t, "true", second.Header.Get("Idempotent-Replayed"))
		admin.coded(1009, "PUT", "/outputports", "domainname", "global.example", "portname", "Once", "address", "a", "porttype", "0")
		xml := admin.call("PUT", "/outputports", body, "Idempotency-Key", "once", "Accept", "application/xml").Is(200)
		require.Contains(t, string(xml.Body), "<response><errorCode>0</errorCode><id>")
		admin.call("PUT", "/outputports", form("domainname", "other"), "Idempotency-Key", "once").Is(422)
	})
}

// A card at the reader beside a printer releases what waits for its owner.
func TestCard(t *testing.T) {
	s := start(t)
	s.account(servertest.GlobalID, "global.example", 2)
	admin := s.open()
	admin.user("ada")
	admin.user("bob")
	admin.queue("global.example", "Secure")
	admin.printer("global.example", "Corridor", "10.0.0.9", "ipreaderaddress", "AA-BB")
	plain := s.key(flags{unauthenticated: true, untrusted: true})
	plain.ok("POST", "/users/ada/cards", "cardid", "CARD-1")
	plain.ok("POST", "/users/ada/cards", "cardid", "card-1")
	plain.coded(1005, "POST", "/users/nobody/cards", "cardid", "CARD-2")
	plain.coded(1005, "POST", "/users/bob/cards", "cardid", "CARD-1")
	plain.refused(400, "cardid", "POST", "/users/bob/cards", "cardid", "")
	plain.refused(400, "cardid", "POST", "/users/bob/cards")

	ada, bob := s.key(flags{untrusted: true}).login("ada"), s.key(flags{untrusted: true}).login("bob")
	upload := func(c *client, user string) string {
		id := c.upload(user, "Secure", "t.pdf", pdf(1)).Is(200).Map()["uuid"].(string)
		c.await(id, 0)
		return id
	}
	mine, others := []string{upload(ada, "ada"), upload(ada, "ada")}, upload(bob, "bob")
	for _, path := range []string{"/card?cd=CARD-9&Mac=AA-BB", "/card?cd=CARD-1&Mac=CC", "/card?cd=CARD-1", "/card?Mac=AA-BB", "/card", "/card?cd=&Mac=AA-BB", "/card?cd=%00&Mac=AA-BB"} {
		plain.get(path).Is(400)
	}
	plain.call("HEAD", "/card?cd=CARD-1&Mac=AA-BB", nil).Is(405)
	plain.call("POST", "/card", form("cd", "CARD-1", "Mac", "AA-BB")).Is(400)
	s.key(flags{untrusted: true}).get("/card?cd=CARD-1&Mac=AA-BB").Is(403)
	ada.await(mine[0], 0)

	plain.get("/card/?cd=card-1&mac=aa-bb").Is(200)
	for _, id := range mine {
		ada.await(id, 1)
	}
	bob.await(others, 0)
	last := upload(ada, "ada")
	plain.call("POST", "/card?CD=CARD-1&MAC=AA-BB", nil).Is(200)
	ada.await(last, 1)
	plain.get("/card?cd=CARD-1&Mac=AA-BB").Is(200) // nothing waits

	var events struct {
		Items []struct{ Type, Actor, APIKey string }
	}
	s.Get("/admin/v1/streams/document-" + last + "/events").Is(200).JSON(&events)
	for _, e := range events.Items {
		if e.Type == "printing.document-release-requested" {
			require.Equal(t, plain.keyID, e.APIKey)
			require.Equal(t, events.Items[0].Actor, e.Actor, "the owner of the card")
			return
		}
	}
	t.Fatal("nothing was released")
}
