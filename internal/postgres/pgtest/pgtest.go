// Package pgtest gives tests a PostgreSQL database of their own.
//
// A test calls [New] or [URL]; nothing has to be set up. The first call of a
// test binary starts a private server in a temporary folder, unless
// DOCKET_TEST_POSTGRES_URL names one to use. That server belongs to a second
// process, the keeper, which removes it as soon as the test binary is gone,
// whatever ended it: success, a panic, a time-out, Ctrl-C or SIGKILL.
//
// To share one server among many packages:
//
//	go run ./internal/postgres/pgtest/serve -- go test ./...
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// EnvURL names the variable with the address of a server to use instead of
// starting one. Its user must be allowed to create databases and extensions.
const EnvURL = "DOCKET_TEST_POSTGRES_URL"

// template is the database that the tests' databases are copied from; it holds
// the extension pg_trgm. On a server named by EnvURL it stays behind.
const template = "docket_pgtest_template"

var shared struct {
	once sync.Once
	url  string
	stop func() error
	err  error
}

// server returns the address of the server that this test binary uses.
func server() (string, error) {
	shared.once.Do(func() {
		if shared.url = os.Getenv(EnvURL); shared.url == "" {
			shared.url, shared.stop, shared.err = StartServer()
		}
		if shared.err == nil {
			shared.err = makeTemplate(shared.url)
		}
	})
	return shared.url, shared.err
}

// Main runs the tests of a package and waits until their server is removed.
// Call it from TestMain; it does not return. Without it the server is removed
// as well, but a moment after the test binary has ended.
func Main(m *testing.M) {
	code := m.Run()
	if shared.stop != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// URL makes a database for this test and returns its address. The database has
// the extension pg_trgm; it is dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	admin, err := server()
	if err != nil {
		t.Fatalf("no PostgreSQL server for tests: %v", err)
	}
	name := databaseName(t)
	exec := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, admin)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, sql)
		return err
	}
	if err := exec(fmt.Sprintf("create database %s template %s", name, template)); err != nil {
		t.Fatalf("creating a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := exec(fmt.Sprintf("drop database %s with (force)", name)); err != nil {
			t.Errorf("dropping the test database: %v", err)
		}
	})
	return withDatabase(admin, name)
}

// New makes a database as URL does and returns a pool of at most 8 connections
// to it, closed when the test ends.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// makeTemplate creates the template database once per server, however many
// test binaries come at the same time.
func makeTemplate(admin string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtext($1))", template); err != nil {
		return err
	}
	var ready bool
	// The comment is written last: a template without it is half made.
	err = conn.QueryRow(ctx, `select exists (select from pg_database
		where datname = $1 and shobj_description(oid, 'pg_database') = 'ready')`, template).Scan(&ready)
	if err != nil || ready {
		return err
	}
	for _, sql := range []string{
		fmt.Sprintf("drop database if exists %s with (force)", template),
		fmt.Sprintf("create database %s template template0", template),
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	inside, err := pgx.Connect(ctx, withDatabase(admin, template))
	if err != nil {
		return err
	}
	_, err = inside.Exec(ctx, "create extension pg_trgm")
	if closeErr := inside.Close(ctx); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("comment on database %s is 'ready'", template))
	return err
}

// databaseName is unique and says which test it belongs to.
func databaseName(t testing.TB) string {
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(t.Name()))
	const most = 63 - 2 - 12 - 1 // PostgreSQL cuts names at 63 bytes
	return "t_" + hex.EncodeToString(random) + "_" + readable[:min(len(readable), most)]
}

// withDatabase is the server's address with another database.
func withDatabase(server, database string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server + " dbname=" + database // key=value form: the last one counts
	}
	if u.Scheme == "" {
		return server + " dbname=" + database
	}
	u.Path = "/" + database
	return u.String()
}
