package blob_test

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"docket/internal/blob"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
)

var _ blob.Store = (*blob.S3)(nil)

// clock is a fake server's clock, which can be put back.
type clock struct{ behind atomic.Int64 }

func (c *clock) Now() time.Time {
	return time.Now().UTC().Add(-time.Duration(c.behind.Load()))
}
func (c *clock) Since(at time.Time) time.Duration { return c.Now().Sub(at) }

// fake is an S3 server within the test, by TLS and in the clear.
type fake struct {
	clock   clock
	backend *s3mem.Backend
	server  *httptest.Server
	plain   *httptest.Server
	handler http.Handler
	// between, if set, sees every request first and answers it or passes it on.
	between atomic.Pointer[func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc)]
}

func newFake(t *testing.T) *fake {
	f := &fake{}
	f.backend = s3mem.New(s3mem.WithTimeSource(&f.clock))
	f.handler = gofakes3.New(f.backend, gofakes3.WithTimeSource(&f.clock), gofakes3.WithTimeSkewLimit(0)).Server()
	require.NoError(t, f.backend.CreateBucket("bucket"))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if between := f.between.Load(); between != nil {
			(*between)(w, r, f.handler.ServeHTTP)
			return
		}
		f.handler.ServeHTTP(w, r)
	})
	f.server, f.plain = httptest.NewTLSServer(handler), httptest.NewServer(handler)
	t.Cleanup(f.server.Close)
	t.Cleanup(f.plain.Close)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	require.NoError(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw}), 0o600))
	t.Setenv("SSL_CERT_FILE", roots)
	return f
}

func (f *fake) address() string {
	return "s3://KEY:s%2Fecret@" + strings.TrimPrefix(f.server.URL, "https://") + "/bucket/some/where?region=eu-west-1"
}

func (f *fake) open(t *testing.T) blob.Store {
	s, err := blob.Open(t.Context(), f.address(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (f *fake) underTest(t *testing.T) kept {
	s := f.open(t)
	return kept{
		Store: s,
		again: func() blob.Store { return f.open(t) },
		age: func(name string) {
			// Put again while the clock is behind.
			content := string(read(t, s, name))
			require.NoError(t, s.Delete(t.Context(), name))
			f.clock.behind.Store(int64(3 * time.Hour))
			put(t, s, content)
			f.clock.behind.Store(0)
		},
		stray: func(t *testing.T) []string {
			var stray []string
			all, err := f.backend.ListBucket("bucket", nil, gofakes3.ListBucketPage{})
			require.NoError(t, err)
			for _, o := range all.Contents {
				if path.Dir(o.Key) != "some/where/sha256" {
					stray = append(stray, o.Key)
				}
			}
			return stray
		},
	}
}

// A removal has looked at the time of a content; the same content is put before
// the removal goes on.
func TestS3PutDuringARemoval(t *testing.T) {
	f := newFake(t)
	s := f.underTest(t)
	ref := put(t, s, "x")
	s.age(ref.SHA256)
	wrote, done := make(chan bool, 8), make(chan error, 1)
	var once atomic.Bool
	between := func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		content := strings.HasSuffix(r.URL.Path, "/sha256/"+ref.SHA256)
		if content && r.Method == http.MethodDelete && !once.Swap(true) {
			go func() {
				_, err := s.Put(context.Background(), strings.NewReader("x"))
				done <- err
			}()
			<-wrote
		}
		pass(w, r)
		if content && r.Method == http.MethodPut {
			wrote <- true
		}
	}
	f.between.Store(&between)
	removed, err := s.again().DeleteBefore(t.Context(), ref.SHA256, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.True(t, removed)
	require.NoError(t, <-done)
	require.Equal(t, "x", string(read(t, s, ref.SHA256)))
	require.Empty(t, s.stray(t))
}

func TestS3SweepsGuards(t *testing.T) {
	f := newFake(t)
	s := f.underTest(t)
	guard := func(name string) {
		_, err := f.backend.PutObject("bucket", "some/where/deleting/"+name, map[string]string{}, strings.NewReader(""), 0, nil)
		require.NoError(t, err)
	}
	f.clock.behind.Store(int64(3 * time.Hour))
	guard("left")
	f.clock.behind.Store(0)
	guard("under-way")
	_, err := blob.Collect(t.Context(), s.Store, func(context.Context, []string) (map[string]bool, error) { return nil, nil }, time.Hour)
	require.NoError(t, err)
	require.Equal(t, []string{"some/where/deleting/under-way"}, s.stray(t))
}

func TestS3InTheClear(t *testing.T) {
	f := newFake(t)
	s, err := blob.Open(t.Context(), "s3://KEY:secret@"+strings.TrimPrefix(f.plain.URL, "http://")+"/bucket?tls=false", t.TempDir())
	require.NoError(t, err)
	for _, content := range []string{"", "x", strings.Repeat("x", 100_000)} {
		require.Equal(t, content, string(read(t, s, put(t, s, content).SHA256)))
	}
	require.Len(t, list(t, s), 3)
	require.NoError(t, s.Close())
}

func TestS3Full(t *testing.T) {
	f := newFake(t)
	s := f.open(t)
	between := func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		if r.Method != http.MethodPut {
			pass(w, r)
			return
		}
		w.WriteHeader(http.StatusInsufficientStorage)
		io.WriteString(w, `<Error><Code>XMinioStorageFull</Code><Message>full</Message></Error>`)
	}
	f.between.Store(&between)
	_, err := s.Put(t.Context(), strings.NewReader("x"))
	require.ErrorIs(t, err, blob.ErrFull)
	require.NotContains(t, err.Error(), "ecret")
}

func TestS3Unreachable(t *testing.T) {
	f := newFake(t)
	_, err := blob.Open(t.Context(), strings.Replace(f.address(), "/bucket/", "/other/", 1), t.TempDir())
	require.ErrorContains(t, err, `"other" does not exist`)
	f.server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = blob.Open(ctx, f.address(), t.TempDir())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "ecret")
}

func TestS3HoldsNoFileInMemory(t *testing.T) {
	const size = 16 << 20 // the most that is sent as one part
	f := newFake(t)
	s := f.open(t)
	var taken atomic.Int64
	between := func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		switch {
		case r.Method == http.MethodPut:
			n, _ := io.Copy(io.Discard, r.Body)
			taken.Store(n)
		case r.Method == http.MethodHead && taken.Load() > 0:
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			w.Header().Set("ETag", `"x"`)
		default:
			pass(w, r)
		}
	}
	f.between.Store(&between)
	require.Less(t, allocated(func() {
		_, err := s.Put(t.Context(), io.LimitReader(endless{}, size))
		require.NoError(t, err)
	}), uint64(4<<20))
	require.GreaterOrEqual(t, taken.Load(), int64(size))
}
