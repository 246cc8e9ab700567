package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

// outcome is what a call of the program gave.
type outcome struct {
	out, errs string
	err       error
}

func call(ctx context.Context, in io.Reader, args ...string) outcome {
	var out, errs bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetIn(in)
	c.SetOut(&out)
	c.SetErr(&errs)
	err := c.ExecuteContext(ctx)
	return outcome{out.String(), errs.String(), err}
}

// docket calls the program and wants it to work.
func docket(t *testing.T, s *servertest.Server, args ...string) string {
	t.Helper()
	o := call(t.Context(), nil, append(args, "--url", s.URL, "--key", s.Key)...)
	require.NoError(t, o.err, o.errs)
	return o.out
}

// fails calls the program and wants this exit code.
func fails(t *testing.T, s *servertest.Server, code int, args ...string) string {
	t.Helper()
	o := call(t.Context(), nil, append(args, "--url", s.URL, "--key", s.Key)...)
	require.Error(t, o.err)
	require.Equal(t, code, exitCode(o.err), "%v", o.err)
	return o.err.Error()
}

func file(t *testing.T, name string, content []byte) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestKeys(t *testing.T) {
	s := servertest.Start(t)
	key := strings.TrimSpace(docket(t, s, "key", "create", "for the night job", "--days", "3"))
	s.As(key).Get("/api/v2/users/profile").Is(http.StatusOK)
	require.Contains(t, docket(t, s, "key", "list"), "for the night job")

	var made newKey
	user := s.Post("/api/v2/users", map[string]any{"firstName": "A", "lastName": "B", "email": "a@example.com", "isActive": true,
		"organizations": []any{map[string]any{"id": servertest.GlobalID}}}).Is(http.StatusCreated).ID()
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "key", "create", "service", "--user", user, "--organization", servertest.GlobalID, "--json")), &made))
	require.NotEmpty(t, made.Key)
	require.NotContains(t, docket(t, s, "key", "list"), made.ID)
	require.Contains(t, docket(t, s, "key", "list", "--all"), made.ID)
	fails(t, s, exitRefused, "key", "revoke", made.ID)
	docket(t, s, "key", "revoke", "--any", made.ID)
	require.NotContains(t, docket(t, s, "key", "list", "--all"), made.ID)

	require.Contains(t, fails(t, s, exitRefused, "key", "create", "x", "--days", "9999"), "expiryDate")
	fails(t, s, exitUsage, "key", "create")
	fails(t, s, exitUsage, "key", "create", "x", "--organization", servertest.GlobalID)
	fails(t, s, exitUsage, "key", "revoke")
}

func TestImport(t *testing.T) {
	s := servertest.Start(t)
	document := `{"name":"P","reports":[{"name":"Revenue","type":"Excel"}]}`
	require.Contains(t, docket(t, s, "import", file(t, "p.json", []byte(document))), "Revenue")
	require.Contains(t, fails(t, s, exitRefused, "import", file(t, "p.json", []byte(document))), "name: is already taken")

	var z bytes.Buffer
	w := zip.NewWriter(&z)
	for name, content := range map[string]string{"project.json": `{"name":"Z","reports":[{"name":"a","type":"Word","template":"a.docx"}]}`, "a.docx": "x"} {
		e, err := w.Create(name)
		require.NoError(t, err)
		_, err = e.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	var made struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, "import", "--json", file(t, "z", z.Bytes()))), &made))
	require.NotEmpty(t, made.ID)

	o := call(t.Context(), strings.NewReader(`{"name":"from standard input"}`), "import", "-", "--url", s.URL, "--key", s.Key)
	require.NoError(t, o.err)
	require.Contains(t, fails(t, s, exitFailed, "import", filepath.Join(t.TempDir(), "none.json")), "none.json")
	fails(t, s, exitRefused, "import", file(t, "empty", nil))
}

func TestEvents(t *testing.T) {
	s := servertest.Start(t)
	id := s.Post("/api/v2/groups", map[string]any{"name": "Readers"}).Is(http.StatusCreated).ID()
	s.Put("/api/v2/groups/"+id, map[string]any{"name": "Writers", "isActive": true}).Is(http.StatusOK)
	stream := "group-" + id

	text := docket(t, s, "events", "stream", stream)
	require.Contains(t, text, "directory.group-created")
	require.Contains(t, text, stream+"@1")
	require.NotContains(t, docket(t, s, "events", "stream", stream, "--from", "1"), "directory.group-created")
	require.Equal(t, 1, strings.Count(docket(t, s, "events", "stream", stream, "--limit", "1", "--json"), "\n"))
	require.Contains(t, docket(t, s, "events", "state", stream), "Writers")
	require.Contains(t, docket(t, s, "events", "state", stream, "--revision", "0"), "Readers")
	require.Eventually(t, func() bool {
		return strings.Count(docket(t, s, "events", "list", "--stream", stream, "--json"), "\n") == 2
	}, 30*time.Second, 20*time.Millisecond)
	lines := strings.Split(docket(t, s, "events", "list", "--stream", stream, "--newest", "--limit", "1", "--json"), "\n")
	var newest struct {
		ID   string
		Data struct{ Name string }
	}
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &newest))
	require.Equal(t, "Writers", newest.Data.Name)
	require.Contains(t, docket(t, s, "events", "show", newest.ID), "Writers")
	require.Contains(t, docket(t, s, "events", "list", "--limit", "0", "--json"), stream)

	require.Contains(t, fails(t, s, exitRefused, "events", "list", "--type", "nonsense"), "type: names no type of event")
	fails(t, s, exitRefused, "events", "stream", "group-nobody")
	fails(t, s, exitUsage, "events", "list", "--strem", "x")
	fails(t, s, exitUsage, "events", "nonsense")
}

// watched is an output that tells when it holds a text.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	want  string
	found chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.found != nil && strings.Contains(w.text.String(), w.want) {
		close(w.found)
		w.found = nil
	}
	return len(p), nil
}

func TestFollow(t *testing.T) {
	s := servertest.Start(t)
	before := s.Post("/api/v2/groups", map[string]any{"name": "Before"}).Is(http.StatusCreated).ID()
	require.Eventually(t, func() bool {
		return strings.Contains(docket(t, s, "events", "list", "--stream", "group-"+before), before)
	}, 30*time.Second, 20*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	found := make(chan struct{})
	out := &watched{want: `"name":"Now"`, found: found}
	c := root()
	c.SetArgs([]string{"events", "follow", "--type", "directory.", "--interval", "50ms", "--json", "--url", s.URL, "--key", s.Key, "--after", "0"})
	c.SetOut(out)
	ended := make(chan error, 1)
	go func() { ended <- c.ExecuteContext(ctx) }()
	s.Post("/api/v2/groups", map[string]any{"name": "Now"}).Is(http.StatusCreated)
	<-found
	cancel()
	require.NoError(t, <-ended, "interrupting is how it ends")
	text := out.text.String()
	require.Equal(t, 1, strings.Count(text, `"name":"Now"`))
	require.Less(t, strings.Index(text, before), strings.Index(text, `"name":"Now"`))
	require.NotContains(t, text, "kernel.")
}

func TestProjections(t *testing.T) {
	s := servertest.Start(t)
	text := docket(t, s, "projections", "list")
	for _, group := range []string{"audit", "directory", "reporting"} {
		require.Contains(t, text, group)
	}
	o := call(t.Context(), nil, "projections", "rebuild", "directory", "--url", s.URL, "--key", s.Key)
	require.NoError(t, o.err)
	require.Contains(t, o.errs, "rebuilt directory")
	docket(t, s, "projections", "rebuild", "reporting", "--no-wait")
	require.Contains(t, docket(t, s, "projections", "verify", "directory"), "0 differences")
	require.Contains(t, fails(t, s, exitRefused, "projections", "verify", "nonsense"), "does not exist")
	fails(t, s, exitUsage, "projections", "skip", "directory", "0190b2a4-0000-7000-8000-000000000000")
	fails(t, s, exitRefused, "projections", "skip", "directory", "0190b2a4-0000-7000-8000-000000000000", "--reason", "x")
}

func TestVerificationThatFails(t *testing.T) {
	var out bytes.Buffer
	r := &remote{}
	err := r.printVerification(&out, []byte(`{"group":"g","rows":2,"differences":1,"examples":[{"table":"t","key":"k","kind":"different","columns":["a","b"]}]}`))
	require.Equal(t, exitDifferent, exitCode(err))
	require.Contains(t, out.String(), "different  a b")
}

func TestOpenAPI(t *testing.T) {
	s := servertest.Start(t)
	for _, dialect := range []string{"qalyptus", "qlik", "admin"} {
		require.True(t, json.Valid([]byte(docket(t, s, "openapi", dialect))))
	}
	require.Contains(t, fails(t, s, exitUsage, "openapi", "nonsense"), "nonsense")
}

func TestNobodyAnswers(t *testing.T) {
	o := call(t.Context(), nil, "events", "list", "--url", "http://127.0.0.1:1", "--key", "x")
	require.Equal(t, exitUnreachable, exitCode(o.err))
	require.Contains(t, o.err.Error(), "http://127.0.0.1:1")
}

func TestWhereAndWho(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKET_DATA_DIR", dir)
	t.Setenv("DOCKET_HTTP_ADDR", "0.0.0.0:1234")
	t.Setenv("DOCKET_API_KEY", "")
	t.Setenv("DOCKET_BOOTSTRAP_KEY", "")
	_, err := (&remote{}).client()
	require.ErrorContains(t, err, "--key")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bootstrap.key"), []byte("kept\n"), 0o600))
	key := func(r *remote) string {
		c, err := r.client()
		require.NoError(t, err)
		require.Equal(t, "http://127.0.0.1:1234", c.URL)
		return c.Key
	}
	require.Equal(t, "kept", key(&remote{}))
	configured := strings.Repeat("b", 32)
	t.Setenv("DOCKET_BOOTSTRAP_KEY", configured)
	require.Equal(t, configured, key(&remote{}))
	t.Setenv("DOCKET_API_KEY", "mine")
	require.Equal(t, "mine", key(&remote{}))
	require.Equal(t, "flag", key(&remote{key: "flag"}))
	require.Equal(t, "127.0.0.1:80", reachable(":80"))
	require.Equal(t, "127.0.0.1:80", reachable("[::]:80"))
	require.Equal(t, "docket.example:80", reachable("docket.example:80"))
}

func TestDemo(t *testing.T) {
	s := servertest.Start(t)
	args := []string{"demo", "--organizations", "2", "--groups", "5", "--users", "20", "--projects", "4", "--tasks", "30", "--url", s.URL, "--key", s.Key}
	o := call(t.Context(), nil, args...)
	require.NoError(t, o.err, o.errs)
	require.Contains(t, o.out, "curl -sg")
	total := func(path string) float64 {
		return s.Get("/api/v2" + path).Is(http.StatusOK).Map()["pagination"].(map[string]any)["totalItems"].(float64)
	}
	count := func() map[string]float64 {
		all := map[string]float64{}
		for _, path := range []string{"/organizations", "/groups", "/users", "/projects", "/tasks"} {
			all[path] = total(path)
		}
		return all
	}
	first := count()
	require.Equal(t, 30.0, first["/tasks"])
	require.Equal(t, 4.0, first["/projects"])
	require.Equal(t, 20.0+1, first["/users"], "and the administrator")
	require.Equal(t, 24.0, total("/tasks?is_active=true"))
	require.Len(t, s.Get("/api/v1/groups?filter=" + url.QueryEscape(`name sw "HQ"`)).Is(http.StatusOK).Map()["data"], 1)

	o = call(t.Context(), nil, append(args, "--tasks", "33")...)
	require.NoError(t, o.err, o.errs)
	second := count()
	require.Equal(t, 33.0, second["/tasks"], "only what was missing is made")
	second["/tasks"] = first["/tasks"]
	require.Equal(t, first, second)

	var look struct{ Task string }
	require.NoError(t, json.Unmarshal([]byte(docket(t, s, append(args[:len(args)-4:len(args)-4], "--json")...)), &look))
	require.Positive(t, total("/tasks/"+look.Task+"/recipients"))
	fails(t, s, exitUsage, "demo", "--organizations", "0")
	fails(t, s, exitUsage, "demo", "--projects", "0")
	fails(t, s, exitUsage, "demo", "--concurrency", "0")
}
