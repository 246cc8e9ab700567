package printer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var requestID = regexp.MustCompile(`request id is (\S+-\d+)`)

// spool gives a job to the local CUPS by lp, which knows its queues, its servers
// and how to speak to them.
func spool(ctx context.Context, queue string, job Job, open Source) (Receipt, error) {
	lp, err := exec.LookPath("lp")
	if err != nil {
		return Receipt{}, &Error{Reason: "the program lp of CUPS is not installed on the server", Cause: err}
	}
	d, err := openDocument(ctx, open)
	if err != nil {
		return Receipt{}, err
	}
	defer d.Close()
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, lp, lpArguments(queue, job)...)
	cmd.Env = lpEnvironment()
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.WaitDelay = 5 * time.Second
	killGroup(cmd)
	err = feed(cmd, d)
	switch {
	case ctx.Err() != nil:
		return Receipt{}, &Error{Temporary: true, Reached: d.sent > 0, Reason: "the spooler took too long", Cause: errors.Join(ctx.Err(), err)}
	case d.err != nil:
		return Receipt{}, fmt.Errorf("printer: document: %w", d.err)
	case err != nil:
		return Receipt{}, lpError(complaints.String(), err)
	}
	receipt := Receipt{Bytes: d.sent}
	if match := requestID.FindSubmatch(out.Bytes()); match != nil {
		receipt.PrinterJob = string(match[1])
	}
	return receipt, nil
}

// feed runs lp with a document as its input. lp prints what it has got when the
// input ends, so it is killed first if the document breaks off.
func feed(cmd *exec.Cmd, d *document) error {
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = io.Copy(in, d)
	if d.err != nil {
		err = errors.Join(err, cmd.Cancel())
	}
	closed := in.Close()
	if waited := cmd.Wait(); waited != nil {
		return waited // says more than a broken pipe
	}
	return errors.Join(err, closed)
}

func lpArguments(queue string, job Job) []string {
	args := []string{"-d", queue, "-n", strconv.Itoa(job.Copies), "-t", spoolTitle(job)}
	option := func(name, value string) {
		if value != "" {
			args = append(args, "-o", name+"="+value)
		}
	}
	option("sides", sides(job.Duplex))
	if job.Grayscale {
		option("print-color-mode", "monochrome")
	}
	option("media", mediaName(job.Media))
	if job.User != "" && !strings.HasPrefix(job.User, "-") {
		args = append(args, "-U", job.User)
	}
	return append(args, "--", "-")
}

// spoolTitle keeps control characters out of a title.
func spoolTitle(job Job) string {
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 {
			return ' '
		}
		return r
	}, job.Name)
	if name == "" {
		return job.ID
	}
	return name
}

// lpEnvironment is what lp gets to know: nothing of our settings. Its messages are
// in English, so that they can be told apart.
func lpEnvironment() []string {
	env := []string{"LC_ALL=C", "LANG=C"}
	for _, key := range []string{"PATH", "HOME", "USER", "TMPDIR", "CUPS_SERVER", "IPP_PORT", "CUPS_ENCRYPTION"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// lpRefusals are messages that say more. lp does not know a queue either when the
// spooler is not running, so that passes.
var lpRefusals = []struct {
	message   string
	temporary bool
	reason    string
}{
	{"does not exist", true, "the spooler does not run, or does not know the queue"},
	{"unsupported document-format", false, "the printer does not take this format"},
	{"unsupported format", false, "the printer does not take this format"},
	{"forbidden", false, "the spooler does not allow this user to print"},
	{"unauthorized", false, "the spooler does not allow this user to print"},
	{"not allowed to print", false, "the spooler does not allow this user to print"},
	{"unknown option", false, "the spooler does not understand the request"},
}

func lpError(complaints string, err error) *Error {
	cause := fmt.Errorf("%w: %s", err, strings.TrimSpace(complaints))
	for _, refusal := range lpRefusals {
		if strings.Contains(strings.ToLower(complaints), refusal.message) {
			return &Error{Temporary: refusal.temporary, Reason: refusal.reason, Cause: cause}
		}
	}
	return &Error{Temporary: true, Reason: "the spooler did not take the job", Cause: cause}
}
