//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// patience bounds what has to happen by itself.
const patience = 60 * time.Second

const testKey = "dk_test_administrator_0123456789abcdef"

// instance is a running `docket serve`.
type instance struct {
	cmd    *exec.Cmd
	errs   bytes.Buffer // complete once exited is closed
	exited chan struct{}
	err    error
}

// serveIn starts the program on a data folder and waits for its announcement,
// unless it ends before.
func serveIn(t *testing.T, dir, addr string) *instance {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	i := &instance{cmd: exec.Command(self, "serve"), exited: make(chan struct{})}
	i.cmd.Env = append(os.Environ(), asProgram+"=1", "DOCKET_DATA_DIR="+dir, "DOCKET_HTTP_ADDR="+addr, "DOCKET_SAFEQ_ADDR=off", "DOCKET_BOOTSTRAP_KEY="+testKey,
		"DOCKET_RATE_LIMITS=off", "DOCKET_POSTGRES_URL=", "DOCKET_EVENTSTORE_URL=", "DOCKET_LOG_LEVEL=warn")
	i.cmd.Stderr = &i.errs
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := i.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, i.cmd.Start())
	announced := make(chan struct{})
	go func() {
		defer close(i.exited)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "Docket listens on") {
				close(announced)
			}
		}
		i.err = i.cmd.Wait()
	}()
	t.Cleanup(func() {
		i.signal(t, syscall.SIGKILL)
		<-i.exited
	})
	select {
	case <-announced:
	case <-i.exited:
	case <-time.After(patience):
		t.Fatal("docket serve does not start")
	}
	return i
}

func (i *instance) signal(t *testing.T, s syscall.Signal) {
	if err := i.cmd.Process.Signal(s); err != nil {
		require.ErrorIs(t, err, os.ErrProcessDone)
	}
}

// end waits for the exit.
func (i *instance) end(t *testing.T) {
	t.Helper()
	select {
	case <-i.exited:
	case <-time.After(patience):
		t.Fatal("docket serve does not end")
	}
}

// stop ends the program as a supervisor does.
func (i *instance) stop(t *testing.T) {
	t.Helper()
	i.signal(t, syscall.SIGTERM)
	i.end(t)
	require.NoError(t, i.err, "%s", i.errs.String())
}

// processesOf are the command lines of all processes that work in a folder.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(dir)) { // others may end meanwhile
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// load creates things for ever, each under one Idempotency-Key until it is
// acknowledged, whatever happens to the server.
type load struct {
	url     string
	http    http.Client
	project string
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{}
	acked    map[string]bool
	problems []string
}

func newLoad(t *testing.T, url string) *load {
	l := &load{url: url, http: http.Client{Timeout: patience}, changed: make(chan struct{}), acked: map[string]bool{}}
	t.Cleanup(l.http.CloseIdleConnections)
	return l
}

func (l *load) begin(t *testing.T, writers int) {
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(t.Context()))
	for i := range writers {
		l.running.Go(func() {
			for n := i; l.ctx.Err() == nil; n++ {
				l.create(n)
			}
		})
	}
	t.Cleanup(l.stop)
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.running.Wait()
	require.Empty(t, l.problems)
}

// do sends a request once. Without a body in the answer nothing is known.
func (l *load) do(method, path, key string, body any) (int, []byte, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequest(method, l.url+path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	answer, err := l.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	data, err = io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 400 && answer.Header.Get("Retry-After") == "" {
		return answer.StatusCode, data, fmt.Errorf("refused for good: %d %s", answer.StatusCode, data)
	}
	return answer.StatusCode, data, err
}

func (l *load) create(n int) {
	name, key, path := "L "+uuid.NewString(), uuid.NewString(), "/api/v2/groups"
	body := map[string]any{"name": name}
	if n%2 == 0 {
		path, body["projectId"] = "/api/v2/tasks", l.project
	}
	for begun := time.Now(); ; <-time.After(20 * time.Millisecond) {
		status, _, err := l.do(http.MethodPost, path, key, body)
		if err == nil && status == http.StatusCreated {
			l.acknowledge(name)
			return
		}
		// A server that was killed gives no answer; one that starts knows no keys
		// yet; all others ask to come again.
		if err != nil && status != 0 && status != http.StatusUnauthorized || time.Since(begun) > 3*patience {
			l.mu.Lock()
			l.problems = append(l.problems, fmt.Sprintf("%s after %v: %d %v", path, time.Since(begun), status, err))
			l.mu.Unlock()
			return
		}
	}
}

func (l *load) acknowledge(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[name] = true
	close(l.changed)
	l.changed = make(chan struct{})
}

// more waits for n more acknowledgements.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	want := -1
	for {
		l.mu.Lock()
		if want < 0 {
			want = len(l.acked) + n
		}
		enough, changed := len(l.acked) >= want, l.changed
		problems := l.problems
		l.mu.Unlock()
		require.Empty(t, problems)
		if enough {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatal("writes are not acknowledged any more")
		}
	}
}

// ready waits until the server is.
func (l *load) ready(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, _, err := l.do(http.MethodGet, "/readyz", "", nil)
		return err == nil && status == http.StatusOK
	}, patience, 20*time.Millisecond)
}

// get reads an answer that must be good.
func (l *load) get(t *testing.T, method, path string, into any) {
	t.Helper()
	status, body, err := l.do(method, path, "", nil)
	require.NoError(t, err)
	require.Less(t, status, 300, "%s", body)
	require.NoError(t, json.Unmarshal(body, into))
}

// check makes sure that all that was acknowledged is there once: in the log, and
// in read models that are what the log says.
func (l *load) check(t *testing.T) {
	t.Helper()
	l.ready(t)
	logged := map[string]int{}
	for _, kind := range []string{"reporting.task-created", "directory.group-created"} {
		for after := ""; ; {
			var page struct {
				Items []struct {
					Data struct{ Name string }
				}
				Next *string
			}
			l.get(t, http.MethodGet, "/admin/v1/events?limit=1000&type="+kind+"&after="+url.QueryEscape(after), &page)
			for _, e := range page.Items {
				logged[e.Data.Name]++
			}
			if page.Next == nil {
				break
			}
			after = *page.Next
		}
	}
	shown := map[string]int{}
	for _, path := range []string{"/api/v2/tasks?get_all=true", "/api/v2/groups?get_all=true"} {
		var list struct{ Data []struct{ Name string } }
		l.get(t, http.MethodGet, path, &list)
		for _, one := range list.Data {
			shown[one.Name]++
		}
	}
	for name := range l.acked {
		require.Equal(t, 1, logged[name], "events of %s", name)
		require.Equal(t, 1, shown[name], "rows of %s", name)
	}
	require.Len(t, logged, len(l.acked))
	require.Len(t, shown, len(l.acked))
	for _, group := range []string{"directory", "reporting", "audit"} {
		var report struct {
			Rows        int64
			Differences int64
		}
		l.get(t, http.MethodPost, "/admin/v1/projections/"+group+"/verify", &report)
		require.Zero(t, report.Differences, group)
		require.NotZero(t, report.Rows, group)
	}
	t.Logf("%d creates acknowledged, each there once", len(l.acked))
}

// freeAddr is an address that nobody listens on at the moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// The program is killed at any moment, started again and again on what the dead
// one left, stopped under load, and started a second time beside itself.
func TestKillAndStop(t *testing.T) {
	runtime.LockOSThread() // the children end with the thread that started them
	parent, err := os.MkdirTemp("", "docket-kill")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(parent)) })
	require.NoError(t, os.Chmod(parent, 0o755)) // as root, Postgres runs as another user
	dir, addr := filepath.Join(parent, "data"), freeAddr(t)
	l := newLoad(t, "http://"+addr)
	kills := 4
	if os.Getenv("DOCKET_TEST_LONG") != "" {
		kills = 40
	} else {
		t.Log("the long form of this test runs with DOCKET_TEST_LONG=1")
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)

	running := serveIn(t, dir, addr)
	l.ready(t)
	var project struct{ ID string }
	status, body, err := l.do(http.MethodPost, "/admin/v1/projects", "", map[string]any{"name": "P", "reports": []any{map[string]any{"name": "R", "type": "Excel"}}})
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, status)
	require.NoError(t, json.Unmarshal(body, &project))
	l.project = project.ID
	l.begin(t, 4)
	for n := range kills {
		if n != 1 { // the second is killed while it starts
			l.more(t, 1+random.IntN(60))
		}
		running.signal(t, syscall.SIGKILL)
		running.end(t)
		require.FileExists(t, filepath.Join(dir, "lock"))
		begun := time.Now()
		running = serveIn(t, dir, addr)
		if n != 0 {
			l.more(t, 1)
			t.Logf("acknowledges again %v after a kill", time.Since(begun).Round(time.Millisecond))
		}
	}
	l.more(t, 10)
	l.end(t)
	l.check(t)

	t.Run("a second one is refused", func(t *testing.T) {
		second := serveIn(t, dir, freeAddr(t))
		second.end(t)
		require.Equal(t, 1, second.cmd.ProcessState.ExitCode())
		require.Contains(t, second.errs.String(), "another docket uses the data folder")
		l.ready(t)
	})

	l.begin(t, 4)
	l.more(t, 20)
	// A request that is known to be under way: the server has asked for its body.
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	late := "L " + uuid.NewString()
	content := fmt.Sprintf(`{"name":%q}`, late)
	_, err = fmt.Fprintf(conn, "POST /api/v2/groups HTTP/1.1\r\nHost: docket\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		testKey, len(content))
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue")
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	running.signal(t, syscall.SIGTERM)
	require.Eventually(t, func() bool {
		probe, err := net.Dial("tcp", addr)
		if err == nil {
			require.NoError(t, probe.Close())
		}
		return err != nil
	}, patience, time.Millisecond, "still listens")
	_, err = io.WriteString(conn, content)
	require.NoError(t, err)
	answer, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusCreated, answer.StatusCode)
	l.acknowledge(late)
	running.end(t)
	require.NoError(t, running.err, "%s", running.errs.String())
	require.Empty(t, processesOf(t, parent), "a child was left")

	running = serveIn(t, dir, addr)
	l.more(t, 1)
	l.end(t)
	l.check(t)
	require.NotEmpty(t, processesOf(t, parent), "Postgres is looked for by its folder")
	running.stop(t)
	require.Empty(t, processesOf(t, parent), "a child was left")
}
