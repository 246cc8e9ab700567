package config

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of keys into docs/configuration.md")

func TestDefaults(t *testing.T) {
	c, err := FromEnviron([]string{"PATH=/bin", "DOCKET_SAFEQ_ADDR=", "DOCKET_PUBLIC_URL= "})
	require.NoError(t, err)
	require.Equal(t, &Config{
		DataDir: "./.docket", HTTPAddr: "127.0.0.1:8080", SafeqAddr: "127.0.0.1:7300", Roles: Roles{API, Projections, Reactors},
		CacheStreams: 50_000, WriteWait: 2 * time.Second, RateLimits: true, SyncMaxLoss: 100, GraphURL: "https://graph.microsoft.com", EntraLoginURL: "https://login.microsoftonline.com",
		APIKeyMaxDays: 180, MaxUploadMiB: 256, PrintAttempts: 5, PrintRetryWait: 8 * time.Second, PrintTimeout: 10 * time.Minute, LogLevel: slog.LevelInfo, LogFormat: "json",
	}, c)
}

func TestValues(t *testing.T) {
	c, err := FromEnviron([]string{"DOCKET_ROLES= api, Reactors,api", "DOCKET_RATE_LIMITS=off", "DOCKET_LOG_LEVEL=warn",
		"DOCKET_SAFEQ_ADDR=off", "DOCKET_PUBLIC_URL=https://docket.example/print/", "DOCKET_WRITE_WAIT=0", "DOCKET_HTTP_ADDR=:0"})
	require.NoError(t, err)
	require.Equal(t, Roles{API, Reactors}, c.Roles)
	require.True(t, c.Roles.Has(API))
	require.False(t, c.Roles.Has(Projections))
	require.False(t, bool(c.RateLimits))
	require.Equal(t, slog.LevelWarn, c.LogLevel)
	require.Equal(t, Off, c.SafeqAddr)
	require.Equal(t, "https://docket.example/print", c.PublicURL)
	require.Zero(t, c.WriteWait)
}

func TestErrorsNameEveryKeyAndNoSecret(t *testing.T) {
	wrong := map[string]string{
		"DOCKET_HTTP_ADDR": "8080", "DOCKET_SAFEQ_ADDR": "host:none", "DOCKET_PUBLIC_URL": "docket.example", "DOCKET_OTLP_ENDPOINT": "localhost:4318",
		"DOCKET_WRITE_WAIT": "61s", "DOCKET_API_KEY_MAX_DAYS": "366", "DOCKET_LOG_FORMAT": "xml", "DOCKET_BLOB_URL": "ftp://hunter2", "DOCKET_MAX_UPLOAD_MIB": "0", "DOCKET_PRINT_ATTEMPTS": "0", "DOCKET_PRINT_RETRY_WAIT": "1ms", "DOCKET_PRINT_TIMEOUT": "25h", "DOCKET_SECRET_KEY": "hunter2", "DOCKET_BOOTSTRAP_KEY": "hunter2",
	}
	environ := func(m map[string]string) (out []string) {
		for k, v := range m {
			out = append(out, k+"="+v)
		}
		return out
	}
	_, err := FromEnviron(environ(wrong))
	require.Error(t, err)
	for key := range wrong {
		require.Contains(t, err.Error(), key+": ")
	}
	require.NotContains(t, err.Error(), "hunter2")

	unreadable := map[string]string{"DOCKET_WRITE_WAIT": "soon", "DOCKET_API_KEY_MAX_DAYS": "many", "DOCKET_LOG_LEVEL": "loud", "DOCKET_RATE_LIMITS": "perhaps", "DOCKET_ROLES": "api,cook"}
	_, err = FromEnviron(environ(unreadable))
	require.Error(t, err)
	for key, value := range unreadable {
		require.Contains(t, err.Error(), key+": must be")
		require.NotContains(t, err.Error(), value)
	}
	_, err = FromEnviron([]string{"DOCKET_HTTP_ADDR=:8080", "DOCKET_SAFEQ_ADDR=:8080"})
	require.ErrorContains(t, err, "DOCKET_SAFEQ_ADDR")
}

func TestSecretsAreNotPrinted(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))
	c, err := FromEnviron([]string{"DOCKET_SECRET_KEY=" + key, "DOCKET_BOOTSTRAP_KEY=hunter2" + strings.Repeat("x", 32),
		"DOCKET_POSTGRES_URL=postgres://jane:hunter2@db:5432/docket?sslpassword=hunter2", "DOCKET_EVENTSTORE_URL=user=hunter2 host=x"})
	require.NoError(t, err)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "config", c)
	for _, text := range []string{strings.Join(c.Redacted(), "\n"), logged.String()} {
		require.NotContains(t, text, "hunter2")
		require.NotContains(t, text, "jane")
		require.NotContains(t, text, key)
		require.Contains(t, text, "postgres://db:5432/docket")
		require.Contains(t, text, "DOCKET_SECRET_KEY")
	}
	require.Contains(t, c.Redacted(), "DOCKET_EVENTSTORE_URL=(set)")
	require.Contains(t, c.Redacted(), "DOCKET_ROLES=api,projections,reactors")
	require.Contains(t, c.Redacted(), "DOCKET_LOG_LEVEL=INFO")
}

func TestUnknownKeys(t *testing.T) {
	require.Equal(t, []string{"DOCKET_HTTP_ADRR"}, Unknown([]string{"DOCKET_HTTP_ADRR=x", "DOCKET_HTTP_ADDR=x", "DOCKET_TEST_POSTGRES_URL=x", "HOME=/"}))
}

func TestEveryKeyIsDocumented(t *testing.T) {
	typ := reflect.TypeFor[Config]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		require.True(t, strings.HasPrefix(f.Tag.Get("env"), "DOCKET_"), f.Name)
		require.True(t, strings.HasSuffix(f.Tag.Get("doc"), "."), "%s needs a doc tag", f.Name)
	}
	const path, begin, end = "../../docs/configuration.md", "<!-- keys: generated -->\n", "<!-- keys: end -->"
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(data), begin)
	require.True(t, ok)
	table, tail, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(fmt.Sprint(head, begin, Table(), end, tail)), 0o644))
		return
	}
	require.Equal(t, Table(), table, "run: go test ./internal/config -update")
}
