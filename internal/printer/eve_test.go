package printer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"docket/internal/printer/printertest"

	"github.com/stretchr/testify/require"
)

// evePrinter runs CUPS' reference printer; see printertest.Eve.
func evePrinter(t *testing.T, script string, args ...string) Target {
	return Target{Protocol: IPP, URL: printertest.Eve(t, script, args...)}
}

func TestEvePrints(t *testing.T) {
	dir := t.TempDir()
	target := evePrinter(t, fmt.Sprintf("cp \"$1\" %s/document; env | grep ^IPP_ | sort >%s/env", dir, dir), "-2")
	content := "%PDF-1.7 " + strings.Repeat("x", 300_000)
	j := Job{ID: "0198c1c0-1111-7000-8000-000000000001", Name: "Q3 figures", User: "ada", Format: "application/pdf", Copies: 2, Duplex: LongEdge, Grayscale: true, Media: "A4"}
	receipt, err := quick.deliver(t.Context(), target, j, from(content))
	require.NoError(t, err)
	require.True(t, receipt.Confirmed)
	require.NotEmpty(t, receipt.PrinterJob)
	require.EqualValues(t, len(content), receipt.Bytes)
	require.Equal(t, content, file(t, dir, "document"))
	env := file(t, dir, "env")
	for _, option := range []string{"IPP_COPIES=2", "IPP_SIDES=two-sided-long-edge", "IPP_PRINT_COLOR_MODE=monochrome", "IPP_MEDIA=iso_a4_210x297mm", "Q3 figures #" + j.ID} {
		require.Contains(t, env, option)
	}

	// The same delivery once more, as after a crash: it is found, and nothing is printed.
	require.NoError(t, os.Remove(filepath.Join(dir, "document")))
	j.Repeat = true
	again, err := quick.deliver(t.Context(), target, j, from(content))
	require.NoError(t, err)
	require.Equal(t, Receipt{PrinterJob: receipt.PrinterJob, Found: true, Confirmed: true}, again)
	require.NoFileExists(t, filepath.Join(dir, "document"))

	// Another one is printed, of unknown size.
	j.ID = "0198c1c0-1111-7000-8000-000000000002"
	receipt, err = quick.deliver(t.Context(), target, j, stream(200_000))
	require.NoError(t, err)
	require.False(t, receipt.Found)
	require.Len(t, file(t, dir, "document"), 200_000)

	j.Format = "application/msword"
	_, err = quick.deliver(t.Context(), target, j, from("x"))
	requireError(t, err, false, "does not take this format")
}

// What a printer cannot do is left out, and the receipt says so.
func TestEveIgnores(t *testing.T) {
	target := evePrinter(t, "exit 0")
	j := Job{ID: "1", Name: "x", Format: "application/pdf", Duplex: LongEdge, Copies: 5000, Media: "A0"}
	receipt, err := quick.deliver(t.Context(), target, j, from("x"))
	require.NoError(t, err)
	require.True(t, receipt.Confirmed)
	require.ElementsMatch(t, []string{"copies", "duplex", "media"}, receipt.Ignored)
}

func TestEveGivesUp(t *testing.T) {
	target := evePrinter(t, "exit 1")
	_, err := quick.deliver(t.Context(), target, Job{ID: "1", Name: "x", Format: "application/pdf"}, from("x"))
	e := requireError(t, err, false, "gave up the job")
	require.True(t, e.Reached)
}

// A job that takes longer than the caller waits is found when it asks again.
func TestEveTakesLong(t *testing.T) {
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	require.NoError(t, exec.Command("mkfifo", gate).Run())
	target := evePrinter(t, fmt.Sprintf("cat %s >/dev/null; echo printed >>%s/printed", gate, dir))
	j := Job{ID: "A-1", Name: "x", Format: "application/pdf"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := quick.deliver(ctx, target, j, from("x"))
	require.True(t, requireError(t, err, true, "not finished the job in time").Reached)

	opened := make(chan error, 1)
	go func() { opened <- os.WriteFile(gate, []byte("go"), 0o600) }()
	j.Repeat = true
	receipt, err := quick.deliver(t.Context(), target, j, from("x"))
	require.NoError(t, err)
	require.NoError(t, <-opened)
	require.True(t, receipt.Found && receipt.Confirmed)
	require.Equal(t, "printed\n", file(t, dir, "printed"))
}
