// Package goclients_test runs the tests that the Go clients of EventStoreDB publish with their modules against the
// embedded event store: make test-conformance. The modules come from the module proxy, exact versions, and are compiled
// and run in a temporary folder as published, except for what says where a server is.
package goclients_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"docket/eventstore/embedded"
	"docket/eventstore/embedded/eventlog"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// suite is the tests of one client.
type suite struct {
	module, version string
	folder          string                                   // of its tests
	prepare         func(t *testing.T, dir string)           // changes the copy to find our servers
	populate        func(t *testing.T, module, store string) // makes a store with the publisher's test data
	groups          []group
	leftOut         []reason // not run: pattern of tests and why
	skips           []reason // the tests skip themselves
}

// ends are the servers of one run.
type ends struct {
	plain, secure string
	// The same with the publisher's test data, "" when a suite has none.
	populated, populatedSecure string
}

// group is tests that run together against servers of their own.
type group struct {
	name, run string
	skip      string // parts that another group runs
	env       func(ends) []string
}

// reason is why tests that match do not run.
type reason struct{ pattern, why string }

func (r reason) matches(test string) bool { return regexp.MustCompile(r.pattern).MatchString(test) }

// result is how a test ended.
type result struct {
	test, action string
	output       string
}

func TestConformance(t *testing.T) {
	if os.Getenv("DOCKET_TEST_CONFORMANCE") == "" {
		t.Skip("NOT TESTED: the Go clients' own tests only run with DOCKET_TEST_CONFORMANCE=1 (make test-conformance)")
	}
	for _, s := range []suite{eventStoreClient, kurrentClient} {
		t.Run(s.version, func(t *testing.T) { s.conform(t) })
	}
}

// conform runs all groups and prints the table.
func (s suite) conform(t *testing.T) {
	dir := s.copyModule(t)
	config := certificates(t, dir)
	s.prepare(t, dir)
	var table strings.Builder
	var all []result
	fmt.Fprintf(&table, "%s %s\n%-28s %6s %6s %7s\n", s.module, s.version, "group", "passed", "failed", "skipped")
	program := s.compile(t, dir)
	for _, g := range s.groups {
		at := s.servers(t, dir, config)
		results := s.run(t, dir, program, g, at)
		all = append(all, results...)
		fmt.Fprintf(&table, "%-28s %6d %6d %7d\n", g.name, count(results, "pass"), count(results, "fail"), count(results, "skip"))
	}
	fmt.Fprintf(&table, "%-28s %6d %6d %7d\n", "all", count(all, "pass"), count(all, "fail"), count(all, "skip"))
	for _, r := range all {
		if r.action == "skip" {
			fmt.Fprintf(&table, "skipped   %s: %s\n", r.test, s.whySkipped(t, r))
		}
	}
	for _, l := range s.leftOut {
		fmt.Fprintf(&table, "left out  %s: %s\n", l.pattern, l.why)
	}
	fmt.Print(table.String())
	for _, r := range all {
		if r.action == "fail" {
			t.Errorf("%s failed:\n%s", r.test, r.output)
		}
	}
	require.NotZero(t, count(all, "pass"))
}

// whySkipped fails the test for a skip nobody has thought about.
func (s suite) whySkipped(t *testing.T, r result) string {
	for _, known := range s.skips {
		if known.matches(r.test) {
			return known.why
		}
	}
	t.Errorf("%s skips itself and nobody knows why:\n%s", r.test, r.output)
	return "?"
}

func count(results []result, action string) int {
	n := 0
	for _, r := range results {
		if r.action == action {
			n++
		}
	}
	return n
}

// servers starts one of each kind.
func (s suite) servers(t *testing.T, dir string, config *tls.Config) (at ends) {
	t.Helper()
	at.plain = serve(t, t.TempDir(), embedded.Options{})
	secure := embedded.Options{TLS: config, User: "admin", Password: "changeit"}
	at.secure = serve(t, t.TempDir(), secure)
	if s.populate != nil {
		store, copied := t.TempDir(), t.TempDir()
		s.populate(t, dir, store)
		s.populate(t, dir, copied)
		at.populated, at.populatedSecure = serve(t, store, embedded.Options{}), serve(t, copied, secure)
	}
	return at
}

// serve starts an event store and returns its address by name, which is what certificates are for.
func serve(t *testing.T, dir string, opts embedded.Options) string {
	t.Helper()
	opts.Addr, opts.Advertise = "127.0.0.1:0", "localhost"
	s, err := embedded.Open(dir, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	if s.Log().LastPosition() == 0 {
		// The suites wait for the list of users, which a store without user management does not keep.
		_, err = s.Log().Append(t.Context(), "$users", eventlog.NoStream, eventlog.EventData{ID: uuid.New(), Type: "$User", Data: []byte("admin")})
		require.NoError(t, err)
	}
	return "localhost" + strings.TrimPrefix(s.Addr().String(), "127.0.0.1")
}

// command runs a program and returns what it prints.
func command(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	require.NoError(t, err, "%s\n%s%s", c, out, errs.String())
	return out
}

// copyModule downloads the module and copies it to where it can be changed.
func (s suite) copyModule(t *testing.T) string {
	t.Helper()
	work := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(work, "go.mod"), []byte("module download\n\ngo 1.26\n"), 0o600))
	var m struct{ Dir string }
	require.NoError(t, json.Unmarshal(command(t, work, "go", "mod", "download", "-json", s.module+"@"+s.version), &m))
	dir := filepath.Join(work, "module")
	require.NoError(t, os.CopyFS(dir, os.DirFS(m.Dir)))
	return dir
}

func (s suite) compile(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "conformance.test")
	command(t, dir, "go", "test", "-c", "-o", program, "./"+s.folder)
	return program
}

// run runs a group and returns how its tests, those without tests below them, ended.
func (s suite) run(t *testing.T, dir, program string, g group, at ends) []result {
	t.Helper()
	var skip []string
	if g.skip != "" {
		skip = append(skip, g.skip) // first: patterns of parts of a test would hide it
	}
	for _, l := range s.leftOut {
		skip = append(skip, l.pattern)
	}
	args := []string{"tool", "test2json", program, "-test.v=test2json", "-test.timeout=5m", "-test.run=" + g.run}
	if len(skip) > 0 {
		args = append(args, "-test.skip="+strings.Join(skip, "|"))
	}
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = filepath.Join(dir, s.folder)
	c.Env = os.Environ()
	if g.env != nil {
		c.Env = append(c.Env, g.env(at)...)
	}
	out, err := c.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		require.NoError(t, err)
	}
	results, whole := parse(t, out)
	if len(results) == 0 || err != nil && count(results, "fail") == 0 {
		t.Errorf("group %s did not run to its end: %v\n%s", g.name, err, whole)
	}
	return results
}

// parse reads what test2json says. whole is what belongs to no test.
func parse(t *testing.T, out []byte) (results []result, whole string) {
	t.Helper()
	output := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // printed by the tested program past the test's output
		}
		switch e.Action {
		case "output":
			output[e.Test] += e.Output
		case "pass", "fail", "skip":
			if e.Test != "" {
				results = append(results, result{test: e.Test, action: e.Action})
			}
		}
	}
	leaves := slices.DeleteFunc(slices.Clone(results), func(r result) bool {
		return r.action != "fail" && slices.ContainsFunc(results, func(o result) bool { return strings.HasPrefix(o.test, r.test+"/") })
	})
	// A test that fails because of one below it says nothing new.
	leaves = slices.DeleteFunc(leaves, func(r result) bool {
		return slices.ContainsFunc(results, func(o result) bool { return o.action == "fail" && strings.HasPrefix(o.test, r.test+"/") })
	})
	for i := range leaves {
		leaves[i].output = output[leaves[i].test]
	}
	return leaves, output[""]
}
