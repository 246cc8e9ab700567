package server_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain/directory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// accessKey is what a client of the SAFEQ API has.
type accessKey struct {
	id, value string
	token     string // of a device
	domain    string // of the account
}

// accessKeys are two of an account, with all rights. The first asks for no tokens;
// the second comes with that of a device, which documents to be released and job
// reports need. With both the key itself is who acts.
func accessKeys(t *testing.T, s *servertest.Server, organization, domain string) []accessKey {
	t.Helper()
	s.Put("/admin/v1/accounts/"+organization, object{"domainNames": []string{domain}}).Is(http.StatusOK)
	var keys []accessKey
	for _, untrusted := range []bool{true, false} {
		made := s.Post("/admin/v1/access-keys", object{"name": uuid.NewString(), "organizationId": organization, "allowUnauthenticated": true, "allowUntrusted": untrusted,
			"automaticTrust": true, "advanced": true, "rights": slices.Sorted(maps.Keys(directory.SAFEQRights))}).Is(http.StatusCreated).Map()
		keys = append(keys, accessKey{id: made["id"].(string), value: made["key"].(string), domain: domain})
	}
	ask := func(r request, answer string) string {
		got := s.As("").Do(http.MethodPost, r.path, r.body, r.headers...).Is(http.StatusOK)
		return member(got.Body, answer)
	}
	device := &keys[1]
	code := ask(device.registration("the test's own"), "device_code")
	device.token = ask(device.exchange("the test's own", "device_code", code), "access_token")
	require.NotEmpty(t, device.token)
	return keys
}

// request is one without a body.
func (k accessKey) request(path string) request {
	r := request{path: "/safeq" + path, actor: k.id, headers: []string{"X-Api-Key", k.value, "X-Account-Domain", k.domain, "Authorization", ""}}
	if k.token != "" {
		r.headers[5] = "Bearer " + k.token
	}
	return r
}

// form is a request with fields: pairs of a name and a value.
func (k accessKey) form(path string, fields ...string) request {
	v := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Add(fields[i], fields[i+1])
	}
	r := k.request("/api/v1" + path)
	if len(v) > 0 {
		r.body, r.headers = v.Encode(), append(r.headers, "Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// upload is a form with a file.
func (k accessKey) upload(path string, file []byte, fields ...string) request {
	const boundary = "between-parts"
	var body bytes.Buffer
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(&body, "--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", boundary, fields[i], fields[i+1])
	}
	fmt.Fprintf(&body, "--%s\r\nContent-Disposition: form-data; name=\"data\"; filename=\"file\"\r\n\r\n%s\r\n--%[1]s--\r\n", boundary, file)
	r := k.request("/api/v1" + path)
	r.body, r.headers = body.String(), append(r.headers, "Content-Type", "multipart/form-data; boundary="+boundary)
	return r
}

// registration is that of a device.
func (k accessKey) registration(client string) request {
	r := k.form("", "client_id", client, "client_secret", k.value, "client_type", "printer", "response_type", "device_code")
	r.path = "/safeq/oauth/v1/register"
	return r
}

// exchange is for new tokens: of a code that a device was given, or of a token to
// refresh.
func (k accessKey) exchange(client, grant, spent string) request {
	r := k.form("", "client_id", client, "client_secret", k.value, "grant_type", grant, grant, spent)
	r.path = "/safeq/oauth/v1/token"
	return r
}

// tokensOf begins the kinds of what is good for one key only.
const tokensOf = "tokens of "

// either is a key, device one that comes with a device.
func (g gen) either() accessKey { return g.access[g.IntN(2)] }
func (g gen) device() accessKey { return g.access[1] }

// hex is a text of which no part is a word, so that errors may repeat it.
func (g gen) hex(before string) string { return before + strconv.FormatUint(g.Uint64(), 16) }

// pair is an entry "first/second" with its parts.
func (g gen) pair(kind string) (entry, first, second string) {
	entry = g.one(kind)
	first, second, _ = strings.Cut(entry, "/")
	return entry, first, cmp.Or(second, "nobody's")
}

// safeqActions are those of the SAFEQ API. Of a user the name is known, to which
// the card "c…" and the short id "s…" lead; of queues and printers "number/name"
// and "number/serial".
func safeqActions() []action {
	return slices.Concat(safeqPeople(), safeqPorts(), safeqDocuments(), safeqTokens(), safeqChanges())
}

func safeqPeople() []action {
	groups := func(g gen) (name string, fields []string) {
		for range 1 + g.IntN(2) {
			fields = append(fields, "groupid", g.one([]string{"localgroup", "localgroup", "group"}[g.IntN(3)]))
		}
		return g.one("username"), fields
	}
	return []action{
		{op: "safeq.23", method: http.MethodPut, weight: 8, make: func(g gen) request {
			name := g.hex("u")
			if g.IntN(8) == 0 {
				name = g.one("username") // which is taken, most likely
			}
			r := g.either().form("/users", "username", name, "detailtype", "0", "detaildata", g.hex("Ada ")+" King", "detailtype", "4", "detaildata", "c"+name, "detailtype", "5", "detaildata", "s"+name)
			r.also = map[string][]string{"username": {name}}
			return r
		}},
		{op: "safeq.27", method: http.MethodPost, weight: 3, make: func(g gen) request {
			return g.either().form("/users/"+g.one("username")+"/cards", "cardid", g.hex("card"))
		}},
		{op: "safeq.45", method: http.MethodPut, weight: 4, make: func(g gen) request {
			fields := []string{"groupname", g.hex("Local ")}
			if g.yes() {
				fields = append(fields, "groupdn", g.hex("cn="))
			}
			r := g.either().form("/groups", fields...)
			r.made = "localgroup"
			return r
		}},
		{op: "safeq.29", method: http.MethodPut, weight: 4, idle: true, make: func(g gen) request {
			name, fields := groups(g)
			r := g.either().form("/users/"+name+"/groups", fields...)
			r.also = map[string][]string{"member": {name + "/" + fields[1]}}
			return r
		}},
		{op: "safeq.30", method: http.MethodPost, weight: 2, idle: true, make: func(g gen) request {
			name, fields := groups(g)
			return g.either().form("/users/"+name+"/groups", fields[:len(fields)*g.IntN(2)]...)
		}},
	}
}

// aPrinter makes one that takes everything, or one that is not there.
func aPrinter(op, method string, there bool) action {
	return action{op: op, method: method, weight: 2, many: true, make: func(g gen) request {
		k, serial, address, kind := g.either(), g.hex("sn"), g.hex("host"), "0"
		if !there {
			address, kind = "127.0.0.1:1", "1"
		}
		r := k.form("/outputports", "domainname", k.domain, "portname", g.hex("Printer "), "address", address, "porttype", kind, "deviceserial", serial, "ipreaderaddress", serial,
			"serviceid", strconv.Itoa(1+g.IntN(9)), "vendor", []string{"ricoh", "hp"}[g.IntN(2)], "monochromeprinter", strconv.FormatBool(g.yes()), "matchinginputport", strconv.FormatBool(g.IntN(4) == 0))
		r.made, r.name = "printer", serial
		return r
	}}
}

// ofPrinter makes a queue that of some printer.
func ofPrinter(g gen) []string {
	_, number, _ := g.pair("printer")
	return []string{"outputportid", number}
}

func safeqPorts() []action {
	queue := func(kind string, fields func(g gen) []string) action {
		return action{op: "safeq.18", method: http.MethodPut, weight: 3, make: func(g gen) request {
			k, name := g.either(), g.hex("Queue ")
			r := k.form("/inputports", append(fields(g), "domainname", k.domain, "portname", name, "portFlags", strconv.Itoa(g.IntN(2)))...)
			r.made, r.name = kind, name
			return r
		}}
	}
	pull := func(gen) []string { return []string{"porttype", "0"} }
	push := func(g gen) []string { return append(ofPrinter(g), "porttype", "1") }
	return []action{
		aPrinter("safeq.15", http.MethodPut, true), aPrinter("safeq.outputports-create", http.MethodPost, true), queue("queue", pull), queue("push", push),
	}
}

// samplePDF is a document that can be prepared.
var samplePDF = sync.OnceValue(func() benchPDF { return newBenchPDF(8 << 10) })

func safeqDocuments() []action {
	upload := func(made, queue string, file func(g gen) (title string, content []byte)) action {
		return action{op: "safeq.11", method: http.MethodPut, weight: 8, make: func(g gen) request {
			_, _, name := g.pair(queue)
			title, content := file(g)
			r := g.either().upload("/documents", content, "username", g.one("username"), "portname", name, "title", title, "copies", strconv.Itoa(1+g.IntN(3)),
				"grayscale", strconv.FormatBool(g.IntN(4) == 0), "duplex", strconv.Itoa(g.IntN(3)), "outputpagesize", "A5")
			r.made, r.id = made, "uuid"
			return r
		}}
	}
	right := func(g gen) (string, []byte) {
		if g.IntN(10) > 0 { // a PDF is read by a process of its own, which takes a while to start
			return g.hex("") + ".pcl", []byte(g.hex("@PJL "))
		}
		content := slices.Clone(samplePDF().content)
		samplePDF().number(content, g.Int64N(1e15))
		return g.hex("") + ".pdf", content
	}
	wrong := func(g gen) (string, []byte) {
		return g.hex("") + []string{".pdf", ".exe"}[g.IntN(2)], []byte(g.hex(""))
	}
	keep := upload("document", "queue", right)
	card := func(op, method string) action {
		return action{op: op, method: method, weight: 1, idle: true, many: true, owner: true, ready: true, before: &keep, make: func(g gen) request {
			_, _, serial := g.pair("printer")
			return g.either().request("/api/v1/card?cd=c" + g.one("username") + "&Mac=" + url.QueryEscape(serial))
		}}
	}
	broken, pushed := upload("broken", "queue", wrong), upload("pushed", "push", right)
	broken.weight, pushed.weight = 1, 3
	return []action{
		keep,
		{op: "safeq.13", method: http.MethodPost, weight: 8, ready: true, before: &keep, make: func(g gen) request {
			id, retain := g.one("document"), g.IntN(3) == 0
			_, _, serial := g.pair("printer")
			r := g.device().form("/documents/"+id+"/"+url.PathEscape(serial), "copies", strconv.Itoa(1+g.IntN(3)), "retain", strconv.FormatBool(retain), "duplex", strconv.Itoa(g.IntN(3)))
			r.kind = "document"
			if !retain {
				r.gone = []string{id}
			}
			if g.yes() { // it may be gone, or just not be ready yet
				r.wrong = []string{id}
			}
			return r
		}},
		card("safeq.43a", http.MethodGet), card("safeq.43b", http.MethodPost), broken, pushed, aPrinter("safeq.15", http.MethodPut, false),
		{op: "safeq.10", method: http.MethodPost, weight: 3, make: func(g gen) request {
			pages := g.IntN(9)
			fields := []string{"jobtype", []string{"PRINT", "COPY", "SCAN", "FAX"}[g.IntN(4)], "username", g.one("username"), "title", g.hex("Job "), "papersize", "A4",
				"totalpages", strconv.Itoa(pages), "colorpages", strconv.Itoa(g.IntN(pages + 1)), "duplex", strconv.FormatBool(g.yes())}
			if _, _, serial := g.pair("printer"); g.yes() {
				fields = append(fields, "serialnumber", serial)
			}
			if g.yes() {
				fields = append(fields, "datetime", time.Now().Add(-time.Duration(g.IntN(1000))*time.Hour).UTC().Format(time.RFC3339))
			}
			return g.device().form("/documents/history", fields...)
		}},
	}
}

func safeqTokens() []action {
	login := func(op, method string, of func(k accessKey, user string) request) action {
		return action{op: op, method: method, weight: 1, make: func(g gen) request {
			k := g.either()
			r := of(k, "s"+g.one("username"))
			r.made, r.id = tokensOf+k.id, "refresh_token"
			return r
		}}
	}
	// A token that is spent twice ends what it belongs to, and is refused.
	spend := func(g gen, r request, kind, token string) request {
		r.made, r.id, r.kind, r.wrong = kind, "refresh_token", kind, []string{token}
		if g.IntN(3) > 0 {
			r.gone = r.wrong
		}
		return r
	}
	return []action{
		login("safeq.7", http.MethodPost, func(k accessKey, user string) request { return k.form("/login", "authtype", "2", "userid", user) }),
		login("safeq.login-get", http.MethodGet, func(k accessKey, user string) request { return k.request("/api/v1/login?authtype=2&userid=" + user) }),
		{op: "safeq.51", method: http.MethodGet, weight: 3, many: true, make: func(g gen) request {
			k := g.either()
			token := g.one(tokensOf + k.id)
			return spend(g, k.request("/api/v1/token?refresh_token="+token), tokensOf+k.id, token)
		}},
		{op: "safeq.oauth-register", method: http.MethodPost, weight: 2, make: func(g gen) request {
			k, client := g.either(), g.hex("device ")
			if g.IntN(4) == 0 {
				client = fmt.Sprintf("device %d", g.IntN(9))
			}
			r := k.registration(client)
			r.made, r.id, r.name = tokensOf+"codes "+k.id, "device_code", client
			return r
		}},
		{op: "safeq.oauth-token", method: http.MethodPost, weight: 2, make: func(g gen) request {
			k := g.either()
			entry, code, client := g.pair(tokensOf + "codes " + k.id)
			r := k.exchange(client, "device_code", code)
			r.made, r.id, r.name = tokensOf+"devices "+k.id, "refresh_token", client
			r.kind, r.gone, r.wrong = tokensOf+"codes "+k.id, []string{entry}, []string{entry}
			return r
		}},
		{op: "safeq.oauth-token", method: http.MethodPost, weight: 3, many: true, make: func(g gen) request {
			k := g.either()
			if g.yes() {
				token := g.one(tokensOf + k.id)
				return spend(g, k.exchange("api", "refresh_token", token), tokensOf+k.id, token)
			}
			entry, token, client := g.pair(tokensOf + "devices " + k.id)
			r := spend(g, k.exchange(client, "refresh_token", token), tokensOf+"devices "+k.id, entry)
			r.name = client
			return r
		}},
	}
}

// safeqChanges are what changes things, and what ends them. An import does both: it
// deactivates who is left out.
func safeqChanges() []action {
	end := func(op, path, kind string) action {
		return action{op: op, method: http.MethodDelete, weight: 1, make: func(g gen) request {
			entry, id, _ := g.pair(kind)
			r := g.either().request("/api/v1" + path + id)
			r.kind, r.gone = kind, []string{entry}
			if g.yes() { // it has ended, or is not to be seen from below
				r.wrong = r.gone
			}
			return r
		}}
	}
	named := func(g gen, fields []string, before string) []string {
		if g.yes() {
			fields = append(fields, "portname", g.hex(before))
		}
		return fields
	}
	return []action{
		end("safeq.12", "/documents/", "document"),
		{op: "safeq.15", method: http.MethodPut, weight: 3, make: func(g gen) request {
			_, number, _ := g.pair("printer")
			return g.either().form("/outputports", named(g, []string{"id", number, "description", g.hex("")}, "Printer ")...)
		}},
		{op: "safeq.18", method: http.MethodPut, weight: 3, make: func(g gen) request {
			kind := []string{"queue", "push"}[g.IntN(2)]
			entry, number, _ := g.pair(kind)
			fields := []string{"id", number, "portFlags", strconv.Itoa(g.IntN(1 << 30)), "locationid", strconv.Itoa(g.IntN(1 << 30))}
			if kind == "push" {
				fields = append(fields, ofPrinter(g)...)
			}
			all := named(g, fields, "Queue ")
			r := g.either().form("/inputports", all...)
			if len(all) > len(fields) { // under the new name it is not used any more
				r.kind, r.gone = kind, []string{entry}
			}
			return r
		}},
		{op: "safeq.25", method: http.MethodPost, weight: 5, idle: true, make: func(g gen) request {
			name := g.one("username")
			details := [][2]string{{"0", g.hex("Bob ")}, {"1", g.hex("m") + "@example.com"}, {"2", g.hex(`\\home\`)}, {"3", g.hex("password ")}, {"4", "c" + name}, {"5", "s" + name}, {"5", ""},
				{"6", "1234"}, {"7", g.one("username") + "#1"}, {"11", g.hex("Department ")}, {"12", "2090-01-01"}, {"12", ""}, {"14", g.hex("e")}}
			d := details[g.IntN(len(details))]
			return g.either().form("/users/"+name, "detailtype", d[0], "detaildata", d[1])
		}},
		{op: "safeq.26", method: http.MethodPost, weight: 1, many: true, make: func(g gen) request {
			name := g.hex("i")
			csv := fmt.Sprintf("%s,Ada,%s\n%s,Bob,%s\n", name, g.hex("L"), g.one("username"), g.hex("L"))
			return g.either().upload("/users/import", []byte(csv), "group", g.one("localgroup"), "mapping", "userName:0,firstName:1,lastName:2")
		}},
		{op: "safeq.31", method: http.MethodDelete, weight: 2, idle: true, make: func(g gen) request {
			entry, name, group := g.pair("member")
			r := g.either().request("/api/v1/users/" + name + "/groups?groupid=" + url.QueryEscape(group))
			r.kind, r.wrong = "member", []string{entry}
			return r
		}},
		end("safeq.24", "/users/", "username"), end("safeq.46", "/groups/", "localgroup"), end("safeq.21", "/inputports/", "queue"), end("safeq.21", "/inputports/", "push"),
		end("safeq.17", "/outputports/", "printer"),
	}
}
