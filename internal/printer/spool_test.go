package printer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeLP puts a script into PATH as lp and gives the folder that it runs in.
func fakeLP(t *testing.T, script string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lp"), []byte("#!/bin/sh\ncd '"+dir+"'\n"+script), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func file(t *testing.T, path ...string) string {
	data, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(data)
}

func TestSpool(t *testing.T) {
	t.Setenv("DOCKET_SECRET_KEY", "hidden")
	dir := fakeLP(t, `printf "%s\n" "$@" >args; env >env; cat >document; echo "request id is office-42 (1 file(s))"`)
	job := Job{ID: "id", Name: "-Q3\nfigures", User: "ada", Copies: 3, Duplex: ShortEdge, Grayscale: true, Media: "A4"}
	content := strings.Repeat("x", 300_000)
	receipt, err := Deliver(t.Context(), Target{Protocol: Spooler, Address: "office"}, job, from(content))
	require.NoError(t, err)
	require.Equal(t, Receipt{PrinterJob: "office-42", Bytes: 300_000}, receipt)
	require.Equal(t, content, file(t, dir, "document"))
	require.Equal(t, []string{"-d", "office", "-n", "3", "-t", "-Q3 figures", "-o", "sides=two-sided-short-edge", "-o", "print-color-mode=monochrome",
		"-o", "media=iso_a4_210x297mm", "-U", "ada", "--", "-"}, strings.Split(strings.TrimSpace(file(t, dir, "args")), "\n"))
	require.NotContains(t, file(t, dir, "env"), "hidden")
}

func TestSpoolerRefuses(t *testing.T) {
	for complaint, temporary := range map[string]bool{
		"lp: Error - The printer or class does not exist.": true, "lp: Unsupported document-format \"image/x\".": false, "lp: Forbidden": false,
		"lp: Error - scheduler not responding.": true, "lp: Destination \"office\" is not accepting jobs.": true, "lp: Connection refused": true, "": true,
	} {
		fakeLP(t, "echo '"+complaint+"' >&2; exit 1")
		_, err := Deliver(t.Context(), Target{Protocol: Spooler, Address: "office"}, Job{}, stream(10<<20))
		e := requireError(t, err, temporary, "")
		require.NotContains(t, e.Reason, "lp:")
		require.ErrorContains(t, e.Cause, complaint)
	}
}

func TestSpoolerMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Deliver(t.Context(), Target{Protocol: Spooler, Address: "office"}, Job{}, from("x"))
	requireError(t, err, false, "not installed")
}

// lp would print half a document, so it must not live to see its end.
func TestSpoolDocumentBreaksOff(t *testing.T) {
	dir := fakeLP(t, "cat >/dev/null; touch printed")
	_, err := Deliver(t.Context(), Target{Protocol: Spooler, Address: "office"}, Job{}, broken)
	require.ErrorIs(t, err, errBroken)
	require.NoFileExists(t, filepath.Join(dir, "printed"))
}

func TestSpoolEndsWithItsContext(t *testing.T) {
	fakeLP(t, "sleep 1000 & wait")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := Deliver(ctx, Target{Protocol: Spooler, Address: "office"}, Job{}, stream(64<<20))
	requireError(t, err, true, "took too long")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
