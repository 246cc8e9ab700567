package admin_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"docket/cmd/server/servertest"
	"docket/internal/config"

	"github.com/stretchr/testify/require"
)

// entry is a file in a zip.
type entry struct{ name, content string }

func zipOf(t *testing.T, files ...entry) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		e, err := w.Create(f.name)
		require.NoError(t, err)
		_, err = e.Write([]byte(f.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func importZip(s *servertest.Server, data []byte) servertest.Answer {
	return s.Post("/admin/v1/projects/import", data, "Content-Type", "application/zip")
}

// blobs are the files below a data folder's blobs.
func blobs(t *testing.T, dir string) []string {
	var names []string
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			names = append(names, d.Name())
		}
		return err
	}))
	return names
}

func start(t *testing.T) (s *servertest.Server, dir string) {
	s = servertest.Start(t, func(c *config.Config) { dir = c.DataDir })
	return s, dir
}

const twoReports = `{"name":"P","reports":[{"name":"a","type":"Excel","template":"t/sales.xlsx"},{"name":"b","type":"Excel","template":"t/sales.xlsx"},{"name":"c","type":"Word"}]}`

func TestImport(t *testing.T) {
	s, dir := start(t)
	template := strings.Repeat("template ", 200_000) // more than is held in memory
	sum := sha256.Sum256([]byte(template))
	data := zipOf(t, entry{"project.json", "\xef\xbb\xbf" + twoReports}, entry{"t/", ""}, entry{"t/sales.xlsx", template}, entry{"README.txt", "not needed"})
	id := importZip(s, data).Is(http.StatusCreated).ID()
	require.Equal(t, []string{hex.EncodeToString(sum[:])}, blobs(t, dir), "one file for two reports, nothing else")

	var page struct {
		Items []struct {
			Data struct {
				Reports []struct {
					Template *struct {
						SHA256, Name string
						Size         int64
					}
				}
			}
		}
	}
	s.Get("/admin/v1/streams/project-" + id + "/events").Is(http.StatusOK).JSON(&page)
	reports := page.Items[0].Data.Reports
	require.Equal(t, hex.EncodeToString(sum[:]), reports[0].Template.SHA256)
	require.Equal(t, "sales.xlsx", reports[0].Template.Name)
	require.Equal(t, int64(len(template)), reports[0].Template.Size)
	require.Equal(t, reports[0].Template, reports[1].Template)
	require.Nil(t, reports[2].Template)

	t.Run("as a form", func(t *testing.T) {
		for name, content := range map[string]string{
			"p.zip":  string(zipOf(t, entry{"project.json", `{"name":"Form"}`})),
			"p.json": `{"name":"Form of JSON"}`,
		} {
			var b bytes.Buffer
			w := multipart.NewWriter(&b)
			require.NoError(t, w.WriteField("comment", "a field that is no file"))
			f, err := w.CreateFormFile("file", name)
			require.NoError(t, err)
			_, err = f.Write([]byte(content))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			s.Post("/admin/v1/projects/import", b.Bytes(), "Content-Type", w.FormDataContentType()).Is(http.StatusCreated)
		}
	})
	t.Run("as JSON", func(t *testing.T) {
		s.Post("/admin/v1/projects/import", `{"name":"JSON","reports":[{"name":"a","type":"Html"}]}`).Is(http.StatusCreated)
	})
	t.Run("once", func(t *testing.T) {
		data := zipOf(t, entry{"project.json", `{"name":"Once","reports":[{"name":"a","type":"Word","template":"a"}]}`}, entry{"a", "x"})
		post := func() servertest.Answer {
			return s.Post("/admin/v1/projects/import", data, "Content-Type", "application/zip", "Idempotency-Key", "k")
		}
		require.Equal(t, post().Is(http.StatusCreated).Body, post().Is(http.StatusCreated).Body)
	})
}

func TestImportIsRefused(t *testing.T) {
	s, dir := start(t)
	document := entry{"project.json", twoReports}
	template := entry{"t/sales.xlsx", "x"}
	good := zipOf(t, document, template)
	symlink := func() []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		h := &zip.FileHeader{Name: "t/sales.xlsx"}
		h.SetMode(fs.ModeSymlink | 0o777)
		e, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = e.Write([]byte("/etc/passwd"))
		require.NoError(t, err)
		e, err = w.Create("project.json")
		require.NoError(t, err)
		_, err = e.Write([]byte(twoReports))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	many := make([]entry, 4001)
	for i := range many {
		many[i] = entry{name: "f" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(i)))}
	}
	for name, c := range map[string]struct {
		data   []byte
		status int
		says   string
		fields []string
	}{
		"no zip":             {[]byte("this is text"), http.StatusBadRequest, "not a zip", nil},
		"nothing":            {nil, http.StatusBadRequest, "not a zip", nil},
		"half a zip":         {good[:len(good)/2], http.StatusBadRequest, "not a zip", nil},
		"no document":        {zipOf(t, template), http.StatusBadRequest, "project.json", nil},
		"document below":     {zipOf(t, entry{"p/project.json", twoReports}, template), http.StatusBadRequest, "project.json", nil},
		"document malformed": {zipOf(t, entry{"project.json", "{"}, template), http.StatusBadRequest, "JSON", nil},
		"document invalid":   {zipOf(t, entry{"project.json", `{"reports":[{"name":"a"}]}`}), http.StatusBadRequest, "", []string{"name", "reports[0].type"}},
		"template missing":   {zipOf(t, document), http.StatusBadRequest, "not among the files", []string{"reports[0].template", "reports[1].template"}},
		"traversal":          {zipOf(t, document, template, entry{"../../evil", "x"}), http.StatusBadRequest, "not allowed", nil},
		"hidden traversal":   {zipOf(t, document, template, entry{"a/../../evil", "x"}), http.StatusBadRequest, "not allowed", nil},
		"absolute":           {zipOf(t, document, template, entry{"/etc/passwd", "x"}), http.StatusBadRequest, "not allowed", nil},
		"backslashes":        {zipOf(t, document, template, entry{`..\evil`, "x"}), http.StatusBadRequest, "not allowed", nil},
		"drive":              {zipOf(t, document, template, entry{`c:evil`, "x"}), http.StatusBadRequest, "not allowed", nil},
		"zero byte":          {zipOf(t, document, template, entry{"evil\x00.txt", "x"}), http.StatusBadRequest, "not allowed", nil},
		"same name twice":    {zipOf(t, document, template, template), http.StatusBadRequest, "twice", nil},
		"same but for case":  {zipOf(t, document, template, entry{"T/SALES.xlsx", "y"}), http.StatusBadRequest, "twice", nil},
		"link":               {symlink(), http.StatusBadRequest, "plain file", nil},
		"too many files":     {zipOf(t, many...), http.StatusRequestEntityTooLarge, "more than 4000 files", nil},
		"bomb":               {bomb(t, 600<<20), http.StatusRequestEntityTooLarge, "unpacks to more", nil},
		"lying about size":   {bomb(t, 10), http.StatusBadRequest, "damaged", nil},
		"damaged content":    {flipped(t, zipOf(t, document, entry{"t/sales.xlsx", strings.Repeat("abc", 1000)}), "t/sales.xlsx"), http.StatusBadRequest, "damaged", nil},
		"encrypted":          {encrypted(t, good), http.StatusBadRequest, "encrypted", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := refused(t, importZip(s, c.data), c.status, c.fields...)
			require.Contains(t, p.Detail, c.says)
		})
	}
	require.Empty(t, blobs(t, dir), "nothing is kept of what was refused")
	refused(t, s.Post("/admin/v1/projects/import", "<x/>", "Content-Type", "application/xml"), http.StatusUnsupportedMediaType)
	refused(t, s.Post("/admin/v1/projects/import", "--b--\r\n", "Content-Type", "multipart/form-data; boundary=b"), http.StatusBadRequest, "file")
	refused(t, s.Post("/admin/v1/projects/import", "nonsense", "Content-Type", "multipart/form-data; boundary=b"), http.StatusBadRequest)
	refused(t, s.As("").Post("/admin/v1/projects/import", good, "Content-Type", "application/zip"), http.StatusUnauthorized)
	refused(t, importZip(s.Member(servertest.GlobalID, "projects.view"), good), http.StatusForbidden)
	require.Equal(t, float64(0), s.Get("/api/v2/projects").Map()["pagination"].(object)["totalItems"])

	importZip(s, good).Is(http.StatusCreated)
	kept := blobs(t, dir)
	other := zipOf(t, entry{"project.json", strings.Replace(twoReports, `"P"`, `"p"`, 1)}, entry{"t/sales.xlsx", "other"})
	refused(t, importZip(s, other), http.StatusConflict, "name")
	require.Len(t, blobs(t, dir), len(kept)+1, "a taken name is found out last; the template is content that nothing refers to")
}

// A body that is announced as too large is not read.
func TestImportTooLarge(t *testing.T) {
	s, dir := start(t)
	r, err := http.NewRequest(http.MethodPost, s.URL+"/admin/v1/projects/import", http.NoBody)
	require.NoError(t, err)
	r.Body, r.ContentLength = neverRead{}, 300<<20
	r.Header.Set("Authorization", "Bearer "+s.Key)
	r.Header.Set("Content-Type", "application/zip")
	r.Header.Set("Expect", "100-continue")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode)
	require.Empty(t, blobs(t, dir))
}

type neverRead struct{}

func (neverRead) Read([]byte) (int, error) { return 0, os.ErrInvalid }
func (neverRead) Close() error             { return nil }

// bomb is a zip whose template declares to unpack to so many bytes.
func bomb(t *testing.T, size uint32) []byte {
	data := zipOf(t, entry{"project.json", twoReports}, entry{"t/sales.xlsx", strings.Repeat("\x00", 1<<20)})
	binary.LittleEndian.PutUint32(data[directoryEntry(t, data, "t/sales.xlsx")+24:], size)
	return data
}

// encrypted marks the template as encrypted.
func encrypted(t *testing.T, data []byte) []byte {
	data = bytes.Clone(data)
	data[directoryEntry(t, data, "t/sales.xlsx")+8] |= 1
	return data
}

// flipped changes the check sum of a file.
func flipped(t *testing.T, data []byte, name string) []byte {
	data[directoryEntry(t, data, name)+16] ^= 0xff
	return data
}

// directoryEntry is where a file's entry in the central directory begins.
func directoryEntry(t *testing.T, data []byte, name string) int {
	at := bytes.LastIndex(data, []byte(name)) - 46
	require.Equal(t, "PK\x01\x02", string(data[at:at+4]))
	return at
}
