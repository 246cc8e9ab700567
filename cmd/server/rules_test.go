package server_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"docket/cmd/server"
	"docket/cmd/server/servertest"
	"docket/internal/inventory"

	"github.com/stretchr/testify/require"
)

// Every operation that the inventory calls done is registered once, and nothing
// else is.
func TestEveryDocumentedOperationIsRegistered(t *testing.T) {
	s := servertest.Start(t)
	for _, api := range s.APIs() {
		if len(inventory.Rows(api.Dialect().Name)) == 0 {
			continue // our own API has no document to follow
		}
		for _, p := range inventory.Check(api.Dialect().Name, api.Operations()) {
			t.Errorf("%s: %v", api.Dialect().Name, p)
		}
	}
}

// Every event type reaches a read model that handles or explicitly ignores it.
func TestEveryEventIsProjected(t *testing.T) {
	for _, e := range server.Events() {
		projected := false
		for _, g := range server.Groups() {
			if g.Name() != "audit" && g.Filter().Matches(e.EventType()) {
				projected = true
				require.True(t, g.Handles(e.EventType()) || g.Ignores(e.EventType()), "group %s says nothing about %s", g.Name(), e.EventType())
			}
		}
		kernel := strings.HasPrefix(e.EventType(), "kernel.")
		require.True(t, projected || kernel, "no group selects %s", e.EventType())
	}
}

// mayImport says which of our packages a folder may use, beside itself. The
// first matching prefix counts.
var mayImport = []struct {
	from string
	to   []string
}{
	{"domain", nil}, // with sub-packages of its own, see below
	{"eventstore", []string{"domain"}},
	{"commands/reactors", []string{"domain", "eventstore", "internal"}}, // keep their place in Postgres
	{"commands/effects", []string{"domain", "eventstore", "internal"}},  // jobs lie in Postgres
	{"commands", []string{"domain", "eventstore"}},
	{"projections", []string{"domain", "eventstore", "internal"}},
	{"readapi", []string{"domain", "internal", "readapi/query", "readapi/access"}},
	{"writeapi", []string{"domain", "commands", "internal", "readapi/query", "readapi/access"}},
	{"internal", []string{"domain/fault"}},
	{"cmd", []string{"domain", "eventstore", "commands", "projections", "readapi", "writeapi", "internal"}},
}

// Imports point down: domain knows nothing of ours, commands know neither read
// models nor HTTP, dialects don't know each other.
func TestImportsPointDown(t *testing.T) {
	const module = "docket/"
	root := filepath.Join("..", "..")
	checked := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		require.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		require.NoError(t, err, rel)
		from := filepath.ToSlash(filepath.Dir(rel))
		for _, i := range file.Imports {
			to, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			if to, ours := strings.CutPrefix(to, module); ours {
				checked++
				require.True(t, allowed(from, to), "%s must not import %s", rel, to)
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, checked, 100)
}

func allowed(from, to string) bool {
	if below(to, top(from)) && !strings.HasPrefix(from, "readapi/") && !strings.HasPrefix(from, "writeapi/") {
		return from != "domain" || below(to, "domain")
	}
	if below(to, from) || below(from, to) && from != to {
		return true
	}
	// The writing half of a dialect answers with the shapes of its reading half.
	if dialect, ok := strings.CutPrefix(from, "writeapi/"); ok && to == "readapi/"+dialect {
		return true
	}
	for _, rule := range mayImport {
		if !below(from, rule.from) {
			continue
		}
		for _, t := range rule.to {
			if below(to, t) {
				return true
			}
		}
		return false
	}
	return false
}

func top(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
