package safeq_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	s := &site{servertest.Start(t, func(c *config.Config) { c.MaxUploadMiB, c.DataDir = 1, dir }), t}
	s.account(servertest.GlobalID, "print.example", 2)
	admin := s.open()
	admin.user("ada")
	admin.user("bob")
	admin.user("chief", "detailtype", "1", "detaildata", "chief@example.com")
	admin.user("assistant", "detailtype", "7", "detaildata", "chief#1")
	admin.queue("print.example", "Secure")
	admin.printer("print.example", "Corridor", "10.0.0.9", "deviceserial", "SN-1")
	untrusted := s.key(flags{untrusted: true})
	ada, bob := untrusted.login("ada"), untrusted.login("bob")
	ready := func(c *client, user string) string {
		id := c.upload(user, "Secure", "report.pdf", pdf(1)).Is(200).Map()["uuid"].(string)
		c.await(id, 0)
		return id
	}

	t.Run("uploads that are wrong", func(t *testing.T) {
		ada := ada.in(t)
		big := bytes.Repeat([]byte("x"), 3<<20)
		whole, contentType := multipartBody(t, "username", "ada", "portname", "Secure", "title", "t.pdf", "@data", string(pdf(1)))
		for name, c := range map[string]struct {
			answer servertest.Answer
			status int
			says   string
		}{
			"zero bytes":      {ada.upload("ada", "Secure", "t.pdf", nil), 400, "data must not be empty"},
			"no such user":    {ada.upload("nobody", "Secure", "t.pdf", pdf(1)), 400, "username there is no user"},
			"somebody else":   {ada.upload("bob", "Secure", "t.pdf", pdf(1)), 403, "username is not the user of the token"},
			"no such queue":   {ada.upload("ada", "Nowhere", "t.pdf", pdf(1)), 400, "portname there is no queue"},
			"no title":        {ada.upload("ada", "Secure", "", pdf(1)), 400, "title must have at least 1"},
			"copies":          {ada.upload("ada", "Secure", "t.pdf", pdf(1), "copies", "many"), 400, "copies must be a whole number"},
			"no copies":       {ada.upload("ada", "Secure", "t.pdf", pdf(1), "copies", "-1"), 400, "copies must be at least 1"},
			"duplex":          {ada.upload("ada", "Secure", "t.pdf", pdf(1), "duplex", "3"), 400, "duplex must be one of"},
			"grayscale":       {ada.upload("ada", "Secure", "t.pdf", pdf(1), "grayscale", "perhaps"), 400, "grayscale must be true or false"},
			"control letters": {ada.upload("ada", "Secure", "a\x07b.pdf", pdf(1)), 400, "title"},
			"too large":       {ada.upload("ada", "Secure", "t.pdf", big), 413, "larger than"},
			"a little larger": {ada.upload("ada", "Secure", "t.pdf", big[:1<<20+1]), 413, "data is larger than 1048576 bytes"},
			"cut short":       {ada.call("PUT", "/documents", whole[:len(whole)-200], "Content-Type", contentType), 400, "data could not be read to its end"},
			"no boundary":     {ada.call("PUT", "/documents", whole, "Content-Type", "multipart/form-data"), 400, "data"},
			"a form":          {ada.call("PUT", "/documents", form("username", "ada")), 415, "multipart/form-data"},
			"no parts at all": {ada.call("PUT", "/documents", []byte("--x--\r\n"), "Content-Type", "multipart/form-data; boundary=x"), 400, "data is required"},
		} {
			require.Equal(t, c.status, c.answer.Status, "%s: %s", name, c.answer.Body)
			require.Contains(t, c.answer.Map()["errorMessage"], c.says, name)
		}
		var list []object
		ada.get("/documents?status=0,1,2,3,4,5,6,7,8,9").Is(200).JSON(&list)
		require.Empty(t, list, "nothing is half recorded")
	})

	t.Run("an upload that ends in the middle", func(t *testing.T) {
		ada := ada.in(t)
		whole, contentType := multipartBody(t, "username", "ada", "portname", "Secure", "title", "t.pdf", "@data", string(bytes.Repeat([]byte("x"), 100_000)))
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		require.NoError(t, err)
		fmt.Fprintf(conn, "PUT /safeq/api/v1/documents HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", ada.key, ada.token, contentType, len(whole))
		_, err = conn.Write(whole[:50_000])
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Contains(t, string(answer), "400 Bad Request")
		require.Contains(t, string(answer), "data could not be read to its end")
		require.NoError(t, conn.Close())
	})

	t.Run("what is no PDF", func(t *testing.T) {
		ada := ada.in(t)
		id := ada.upload("ada", "Secure", "fake.pdf", []byte("this is no PDF at all")).Is(200).Map()["uuid"].(string)
		failed := ada.await(id, 8)
		require.NotEmpty(t, failed["statusMessage"])
		require.Contains(t, ada.coded(1042, "POST", "/documents/"+id+"/10.0.0.9"), "can't be printed")
	})

	t.Run("a path in the title", func(t *testing.T) {
		ada := ada.in(t)
		const title = "../../../../tmp/docket-was-here.pdf"
		require.Equal(t, title, ada.upload("ada", "Secure", title, pdf(1)).Is(200).Map()["documentName"])
		require.NoFileExists(t, "/tmp/docket-was-here.pdf")
		require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			require.NotContains(t, d.Name(), "docket-was-here")
			return err
		}))
	})

	t.Run("whose documents one may touch", func(t *testing.T) {
		ada, bob := ada.in(t), bob.in(t)
		id := ready(ada, "ada")
		bob.refused(403, "somebody else's", "POST", "/documents/"+id+"/10.0.0.9")
		bob.refused(403, "somebody else's", "DELETE", "/documents/"+id)
		ada.await(id, 0)
		var list []object
		bob.get("/documents").Is(200).JSON(&list)
		require.Empty(t, list)

		strong := s.in(t).key(flags{untrusted: true, rights: everyRight}).login("bob")
		strong.ok("DELETE", "/documents/"+id)
		ada.await(id, 2)
		strong.coded(1002, "DELETE", "/documents/"+id)
		strong.coded(1002, "DELETE", "/documents/"+uuid.NewString())
		strong.refused(400, "uuid", "DELETE", "/documents/nonsense")
		weak := s.in(t).key(flags{untrusted: true, rights: []string{"AddJob", "ViewJob"}}).login("ada")
		id = ready(weak, "ada")
		weak.refused(403, "DeleteJob", "DELETE", "/documents/"+id) // a key's rights count once it has some
		weak.refused(403, "ReleaseJob", "POST", "/documents/"+id+"/10.0.0.9")

		// The assistant's alias is the chief.
		chief, assistant := untrusted.in(t).login("chief@example.com"), untrusted.in(t).login("assistant")
		id = ready(chief, "chief")
		assistant.await(id, 0)
		assistant.ok("POST", "/documents/"+id+"/SN-1")
		chief.await(id, 1)
	})

	t.Run("releases", func(t *testing.T) {
		ada := ada.in(t)
		id := ready(ada, "ada")
		release := "/documents/" + id + "/"
		ada.call("POST", release+"10.0.0.9", nil).Is(415)
		ada.call("POST", release+"10.0.0.9", "x", "Content-Type", "text/plain").Is(415)
		require.Contains(t, ada.coded(1001, "POST", release+"10.9.9.9"), "no printer")
		ada.coded(1001, "POST", "/documents/"+uuid.NewString()+"/10.0.0.9")
		ada.refused(400, "copies", "POST", release+"10.0.0.9", "copies", "0")
		ada.refused(400, "duplex", "POST", release+"10.0.0.9", "duplex", "9")
		ada.refused(400, "retain", "POST", release+"10.0.0.9", "retain", "maybe")
		ada.ok("POST", release+url.PathEscape("sn-1"), "Retain", "TRUE", "grayscale", "true", "duplex", "2", "copies", "3")
		stored := ada.await(id, 9)
		require.Equal(t, []any{true, 2.0, 3.0}, []any{stored["grayscale"], stored["duplex"], stored["copies"]})
		ada.ok("POST", release+"10.0.0.9") // what is stored can be printed again
		ada.await(id, 1)

		open := s.in(t).key(flags{unauthenticated: true, untrusted: true, rights: everyRight})
		open.refused(403, "insecure", "POST", release+"10.0.0.9")
		open.login("ada").refused(403, "insecure", "POST", release+"10.0.0.9")
		require.Equal(t, 403, open.login("ada").get("/documents").Status)
	})

	t.Run("lists", func(t *testing.T) {
		ada := ada.in(t)
		for _, path := range []string{"/documents?status=10", "/documents?status=x", "/documents?maxRecords=501", "/documents?maxrecords=0", "/documents?maxrecords=1&maxRecords=2"} {
			ada.get(path).Is(400)
		}
		var all, some []object
		ada.get("/documents?status=0,1,2&status=8").Is(200).JSON(&all)
		ada.get("/documents?STATUS=0,1,2,8&MAXRECORDS=2").Is(200).JSON(&some)
		require.Greater(t, len(all), 2)
		require.Equal(t, all[:2], some)
		require.GreaterOrEqual(t, all[0]["dateTime"], all[1]["dateTime"])
		untrusted.in(t).get("/documents").Is(403)
	})

	t.Run("reported jobs", func(t *testing.T) {
		ada := ada.in(t)
		ada.ok("POST", "/documents/history", "jobtype", "COPY", "totalpages", "4", "colorpages", "1", "papersize", "A3", "duplex", "true", "title", "Copy", "serialnumber", "SN-1")
		untrusted.in(t).refused(401, "token", "POST", "/documents/history", "jobtype", "COPY")
		untrusted.in(t).with("bad").refused(401, "token", "POST", "/documents/history", "jobtype", "COPY")
		ada.refused(400, "jobtype", "POST", "/documents/history", "jobtype", "DANCE")
		ada.refused(400, "totalpages", "POST", "/documents/history", "jobtype", "COPY", "totalpages", "-1")
		ada.refused(400, "colorpages", "POST", "/documents/history", "jobtype", "COPY", "totalpages", "1", "colorpages", "2")
		ada.refused(400, "serialnumber", "POST", "/documents/history", "jobtype", "COPY", "serialnumber", "SN-9")
		ada.refused(400, "address", "POST", "/documents/history", "jobtype", "COPY", "address", "10.9.9.9")
		ada.refused(400, "datetime", "POST", "/documents/history", "jobtype", "COPY", "datetime", "yesterday")

		device := s.in(t).key(flags{trust: true}).trusted("copier")
		device.refused(400, "username", "POST", "/documents/history", "jobtype", "SCAN")
		device.refused(400, "username", "POST", "/documents/history", "jobtype", "SCAN", "username", "nobody", "providerid", "1")
		at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
		device.ok("POST", "/documents/history", "jobtype", "SCAN", "username", "bob", "providerid", "1", "datetime", at.Format(time.RFC3339), "address", "10.0.0.9")
		open := s.in(t).key(flags{unauthenticated: true, untrusted: true, rights: everyRight, trust: true})
		open.trusted("any").refused(403, "insecure", "POST", "/documents/history", "jobtype", "SCAN", "username", "bob")

		history := open.get("/documents/history?jobtype=COPY").Is(200).Map()["documents"].([]any)
		require.Len(t, history, 1)
		job := history[0].(object)
		require.Equal(t, []any{"ada", 4.0, 1.0, "A3", 1.0, "Copy", 1.0, "Corridor"},
			[]any{job["userName"], job["totalPages"], job["colorPages"], job["paperSize"], job["duplex"], job["documentName"], job["status"], job["outputPortName"]})
		history = open.get("/documents/history?jobtype=SCAN&username=BOB").Is(200).Map()["documents"].([]any)
		require.Len(t, history, 1)
		require.EqualValues(t, at.UnixMilli(), history[0].(object)["dateTime"])
	})

	t.Run("a device behind it", func(t *testing.T) {
		strict := s.in(t).key(flags{trust: true})
		ada := untrusted.in(t).login("ada")
		require.Equal(t, 403, strict.with(ada.token).get("/documents").Status)
		device := strict.trusted("kiosk")
		require.Equal(t, 403, device.get("/documents").Status)
		ofUser := device.login("ada")
		ofUser.get("/documents").Is(200)
		ofUser.await(ofUser.upload("ada", "Secure", "t.pdf", pdf(1)).Is(200).Map()["uuid"].(string), 0)
	})

	t.Run("pages of the history", func(t *testing.T) { historyPages(t, s, admin, untrusted) })

	t.Run("who did it", func(t *testing.T) {
		s, ada := s.in(t), ada.in(t)
		id := ready(ada, "ada")
		ada.ok("DELETE", "/documents/"+id)
		var events struct {
			Items []struct{ Type, Actor, APIKey, Dialect string }
		}
		s.Get("/admin/v1/streams/document-" + id + "/events").Is(200).JSON(&events)
		last := events.Items[len(events.Items)-1]
		require.Equal(t, "printing.document-deleted", last.Type)
		require.Equal(t, ada.keyID, last.APIKey)
		require.Equal(t, "safeq", last.Dialect)
		require.NotEqual(t, ada.keyID, last.Actor, "the user did, by the key")
		require.Equal(t, events.Items[0].Actor, last.Actor)

		open := admin.in(t)
		id = open.upload("ada", "Secure", "t.pdf", pdf(1)).Is(200).Map()["uuid"].(string)
		s.Get("/admin/v1/streams/document-" + id + "/events").Is(200).JSON(&events)
		require.Equal(t, []string{open.keyID, open.keyID}, []string{events.Items[0].Actor, events.Items[0].APIKey}, "nobody but the key is known")
	})
}

// historyPages reads the history in pages while documents arrive.
func historyPages(t *testing.T, s *site, admin, untrusted *client) {
	admin = admin.in(t)
	admin.user("writer")
	writer := untrusted.in(t).login("writer")
	begin := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for i := range 25 {
		writer.ok("POST", "/documents/history", "jobtype", "PRINT", "title", fmt.Sprint(i), "datetime", begin.Add(time.Duration(i)*time.Minute).Format(time.RFC3339))
	}
	query := "/documents/history?username=writer&maxrecords=10&domainname=print.example&portname=&datestart=" + begin.Format(time.RFC3339)
	page := admin.get(query).Is(200).Map()
	var titles []string
	for n := 0; ; n++ {
		require.Equal(t, "print.example", page["domainName"])
		require.Equal(t, "writer", page["userName"])
		require.Equal(t, begin.Format("2006-01-02T15:04:05.000Z"), page["dateStart"])
		require.EqualValues(t, len(page["documents"].([]any)), page["recordsOnPage"])
		for _, d := range page["documents"].([]any) {
			titles = append(titles, d.(object)["documentName"].(string))
		}
		token := page["nextPageToken"].(string)
		if token == "" {
			break
		}
		require.Len(t, page["documents"], 10)
		writer.ok("POST", "/documents/history", "jobtype", "PRINT", "title", "new")
		parameter := []string{"pagetoken", "nextPageToken", "PAGETOKEN"}[n%3]
		page = admin.get("/documents/history?" + parameter + "=" + token).Is(200).Map() // alone
		require.Equal(t, 403, untrusted.in(t).login("writer").get("/documents/history?pagetoken="+token).Status)
	}
	require.Len(t, titles, 25)
	for i, title := range titles {
		require.Equal(t, fmt.Sprint(24-i), title, "newest first, none twice, none left out")
	}

	token := admin.get(query).Is(200).Map()["nextPageToken"].(string)
	acme := s.in(t).Organization("acme")
	s.in(t).account(acme, "acme.example", 2)
	for _, bad := range []string{"x", uuid.NewString(), token[:len(token)-2], "A" + token} {
		admin.get("/documents/history?pagetoken=" + bad).Is(400)
	}
	admin.at("acme.example").get("/documents/history?pagetoken=" + token).Is(400)
	admin.get("/documents/history?maxrecords=3&pagetoken=" + token).Is(200)
	for _, bad := range []string{"maxrecords=2001", "maxrecords=0", "datestart=yesterday", "datestart=2026-01-02T00:00:00Z&dateend=2026-01-01T00:00:00Z",
		"datestart=2026-01-01T00:00:00Z&dateend=2026-01-09T00:00:00Z", "status=11", "jobtype=DANCE", "domainname=no.such.example"} {
		admin.get("/documents/history?" + bad).Is(400)
	}
	admin.at("acme.example").get("/documents/history?domainname=print.example").Is(400)
	require.EqualValues(t, 0, admin.at("acme.example").get("/documents/history").Is(200).Map()["recordsOnPage"])
	for _, nothing := range []string{"username=nobody", "portname=nowhere", "status=3", "username=%00"} {
		require.Empty(t, admin.get("/documents/history?" + nothing).Is(200).Map()["documents"], nothing)
	}
	for _, kind := range []int{1, 3} {
		s.in(t).account(acme, "acme.example", kind)
		admin.at("acme.example").get("/documents/history").Is(http.StatusBadRequest)
	}
}
