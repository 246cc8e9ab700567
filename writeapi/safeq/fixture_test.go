package safeq_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// How long tests wait for what takes effect soon, and how often they look.
const (
	patience = 20 * time.Second
	tick     = 20 * time.Millisecond
)

type object = map[string]any

// site is a running Docket with what the tests of this dialect need.
type site struct {
	*servertest.Server
	t *testing.T
}

func start(t *testing.T) *site { return &site{servertest.Start(t), t} }

func (s *site) in(t *testing.T) *site { return &site{s.For(t), t} }

// flags of API keys.
type flags struct {
	unauthenticated, untrusted, trust bool
	rights                            []string // advanced, unless nil
	organization                      string
	addresses                         []string
}

var everyRight = []string{"AddJob", "CardManagement", "CreateInputPort", "CreateOutputPort", "CreateUser", "DeleteInputPort", "DeleteJob", "DeleteOutputPort", "DeleteUser",
	"GenerateShortID", "ModifyInputPort", "ModifyOutputPort", "ModifyUser", "ReleaseJob", "ViewAccount", "ViewInputPort", "ViewJob", "ViewOutputPort", "ViewReport", "ViewUser"}

// key makes an API key and returns a client with it.
func (s *site) key(f flags) *client {
	s.t.Helper()
	body := object{"name": uuid.NewString(), "allowUnauthenticated": f.unauthenticated, "allowUntrusted": f.untrusted, "automaticTrust": f.trust,
		"advanced": f.rights != nil, "rights": f.rights, "allowedAddresses": f.addresses}
	if f.organization != "" {
		body["organizationId"] = f.organization
	}
	answer := s.Post("/admin/v1/access-keys", body).Is(http.StatusCreated).Map()
	return &client{s: s, key: answer["key"].(string), keyID: answer["id"].(string)}
}

// open is a key that may do everything without tokens, advanced rights included.
func (s *site) open() *client {
	return s.key(flags{unauthenticated: true, untrusted: true, rights: everyRight})
}

// account gives an organization a domain name and a type.
func (s *site) account(organization, domain string, kind int) {
	s.t.Helper()
	s.Put("/admin/v1/accounts/"+organization, object{"type": kind, "domainNames": []string{domain}}).Is(http.StatusOK)
}

// client calls the dialect with a key and perhaps a token.
type client struct {
	s              *site
	key, keyID     string
	token, refresh string
	domain         string // of X-Account-Domain
}

func (c *client) in(t *testing.T) *client {
	other := *c
	other.s = c.s.in(t)
	return &other
}

func (c *client) with(token string) *client {
	other := *c
	other.token = token
	return &other
}

func (c *client) at(domain string) *client {
	other := *c
	other.domain = domain
	return &other
}

// call sends a request to the dialect on the main listener. A body of url.Values is
// a form.
func (c *client) call(method, path string, body any, headers ...string) servertest.Answer {
	c.s.t.Helper()
	if strings.HasPrefix(path, "/oauth") {
		path = "/safeq" + path
	} else if !strings.HasPrefix(path, "http") {
		path = "/safeq/api/v1" + path
	}
	headers = append([]string{"Authorization", ""}, headers...)
	if c.token != "" {
		headers[1] = "Bearer " + c.token
	}
	if c.key != "" {
		headers = append(headers, "X-Api-Key", c.key)
	}
	if c.domain != "" {
		headers = append(headers, "X-Account-Domain", c.domain)
	}
	if form, ok := body.(url.Values); ok {
		body, headers = form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
	}
	return c.s.As("").Do(method, path, body, headers...)
}

func (c *client) get(path string) servertest.Answer { c.s.t.Helper(); return c.call("GET", path, nil) }

// form makes url.Values of pairs, repeated names in order.
func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// ok sends a form and expects the error code 0.
func (c *client) ok(method, path string, pairs ...string) object {
	c.s.t.Helper()
	answer := c.call(method, path, form(pairs...)).Is(http.StatusOK).Map()
	require.EqualValues(c.s.t, 0, answer["errorCode"], "%v", answer)
	return answer
}

// coded sends a form and expects 200 with an error code.
func (c *client) coded(code int, method, path string, pairs ...string) string {
	c.s.t.Helper()
	answer := c.call(method, path, form(pairs...)).Is(http.StatusOK).Map()
	require.EqualValues(c.s.t, code, answer["errorCode"], "%v", answer)
	message, _ := answer["errorMessage"].(string)
	return message
}

// refused sends a form and expects a status and that the message says something.
func (c *client) refused(status int, says, method, path string, pairs ...string) {
	c.s.t.Helper()
	answer := c.call(method, path, form(pairs...)).Is(status)
	require.Contains(c.s.t, answer.Map()["errorMessage"], says)
}

// user makes a local user with a password.
func (c *client) user(name string, details ...string) {
	c.s.t.Helper()
	c.ok("PUT", "/users", append([]string{"username", name, "detailtype", "3", "detaildata", password}, details...)...)
}

const password = "correct horse"

// login is the client with the tokens of a user.
func (c *client) login(name string) *client {
	c.s.t.Helper()
	token := c.call("POST", "/login", form("authtype", "0", "userid", name, "password", password)).Is(http.StatusOK).Map()["token"].(object)
	other := *c
	other.token, other.refresh = token["access_token"].(string), token["refresh_token"].(string)
	return &other
}

// queue makes a pull queue.
func (c *client) queue(domain, name string) int {
	c.s.t.Helper()
	return int(c.ok("PUT", "/inputports", "domainname", domain, "portname", name, "porttype", "0", "portFlags", "1")["id"].(float64))
}

// printer makes a dummy printer.
func (c *client) printer(domain, name, address string, more ...string) int {
	c.s.t.Helper()
	return int(c.ok("PUT", "/outputports", append([]string{"domainname", domain, "portname", name, "address", address, "porttype", "0"}, more...)...)["id"].(float64))
}

// multipartBody is fields, and files under names that begin with "@".
func multipartBody(t testing.TB, pairs ...string) (body []byte, contentType string) {
	t.Helper()
	var out bytes.Buffer
	m := multipart.NewWriter(&out)
	for i := 0; i+1 < len(pairs); i += 2 {
		create := m.CreateFormField
		name, file := strings.CutPrefix(pairs[i], "@")
		if file {
			create = func(name string) (io.Writer, error) { return m.CreateFormFile(name, "file.bin") }
		}
		w, err := create(name)
		require.NoError(t, err)
		_, err = io.WriteString(w, pairs[i+1])
		require.NoError(t, err)
	}
	require.NoError(t, m.Close())
	return out.Bytes(), m.FormDataContentType()
}

// upload sends a document.
func (c *client) upload(user, queue, title string, content []byte, more ...string) servertest.Answer {
	c.s.t.Helper()
	body, contentType := multipartBody(c.s.t, append([]string{"username", user, "portname", queue, "title", title, "@data", string(content)}, more...)...)
	return c.call("PUT", "/documents", body, "Content-Type", contentType)
}

// await reads a user's documents until one has a status.
func (c *client) await(uuid string, status int) object {
	c.s.t.Helper()
	var found object
	require.Eventually(c.s.t, func() bool {
		var list []object
		c.get("/documents?status=0,1,2,3,4,5,6,7,8,9&maxRecords=500").Is(http.StatusOK).JSON(&list)
		for _, d := range list {
			if d["uuid"] == uuid {
				found = d
				return d["status"].(float64) == float64(status)
			}
		}
		return false
	}, 20*time.Second, 20*time.Millisecond, "document %s is not %d: %v", uuid, status, found)
	return found
}

// pdf is a PDF of so many pages.
func pdf(pages int) []byte {
	var out bytes.Buffer
	offsets := []int{}
	add := func(format string, args ...any) {
		offsets = append(offsets, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", len(offsets), fmt.Sprintf(format, args...))
	}
	out.WriteString("%PDF-1.4\n")
	add("<</Type/Catalog/Pages 2 0 R>>")
	kids := ""
	for i := range pages {
		kids += fmt.Sprintf("%d 0 R ", i+3)
	}
	add("<</Type/Pages/Count %d/Kids[%s]>>", pages, kids)
	for range pages {
		add("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>")
	}
	start := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, at := range offsets {
		fmt.Fprintf(&out, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&out, "trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, start)
	return out.Bytes()
}
