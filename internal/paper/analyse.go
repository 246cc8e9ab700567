package paper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// Info is what printing a PDF takes.
type Info struct {
	Pages int
	// ColorPages is how many pages may show colour; see color.go for how that is told.
	ColorPages int
	// Paper is the size of the first page, upright: "A4", "Letter", or
	// "WIDTHxHEIGHT" in points (1/72 inch) for sizes without a name.
	Paper string
}

const (
	// childKey is the variable that makes a process of this program a reader of one
	// PDF; its value is how many bytes of memory that may take.
	childKey = "DOCKET_PAPER_CHILD"
	// exitMemory is how the child ends when it would take more.
	exitMemory = 3
	// readWithin is the longest time for one PDF.
	readWithin = time.Minute
	// memory is what a PDF may take besides a multiple of its size: the library
	// keeps every stream of a file.
	memory       = 256 << 20
	memoryFactor = 3
)

// readers limits how many PDFs are read at a time.
var readers = make(chan struct{}, 2)

// Analyse reads the PDF file at path. Errors: *Error of ErrNotPDF, ErrDamaged,
// ErrEncrypted or ErrTooComplex; ctx's; what the disk says.
//
// The reading is done by this program, started once more: some files take the library
// unreasonable time or memory, and only a process can be stopped from outside.
func Analyse(ctx context.Context, path string) (Info, error) {
	file, err := os.Open(path)
	if err != nil {
		return Info{}, fmt.Errorf("paper: %w", err)
	}
	defer file.Close()
	if err := looksLikePDF(file); err != nil {
		return Info{}, err
	}
	stat, err := file.Stat()
	if err != nil {
		return Info{}, fmt.Errorf("paper: %w", err)
	}
	select {
	case readers <- struct{}{}:
		defer func() { <-readers }()
	case <-ctx.Done():
		return Info{}, ctx.Err()
	}
	return readApart(ctx, file, memory+memoryFactor*stat.Size(), readWithin)
}

// looksLikePDF refuses at once what has no PDF header near its beginning.
func looksLikePDF(file io.ReaderAt) error {
	head := make([]byte, 1024)
	n, err := file.ReadAt(head, 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("paper: %w", err)
	case n == 0:
		return &Error{Kind: ErrNotPDF, Reason: "the file is empty"}
	case !bytes.Contains(head[:n], []byte("%PDF-")):
		return &Error{Kind: ErrNotPDF, Reason: "the file is not a PDF"}
	}
	return nil
}

// answer is what the child writes.
type answer struct {
	Info   Info
	Kind   string
	Reason string
	Cause  string
}

// kinds are the errors that the child may answer.
var kinds = []error{ErrNotPDF, ErrDamaged, ErrEncrypted, ErrTooComplex}

// readApart reads a file in a child that gets nothing but the open file.
func readApart(ctx context.Context, file *os.File, limit int64, within time.Duration) (Info, error) {
	timed, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	program, err := ownProgram()
	if err != nil {
		return Info{}, fmt.Errorf("paper: %w", err)
	}
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(timed, program)
	cmd.Env = []string{childKey + "=" + strconv.FormatInt(limit, 10)}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, &out, &tail{&complaints}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return parseAnswer(out.Bytes())
	case ctx.Err() != nil:
		return Info{}, ctx.Err()
	case timed.Err() != nil:
		return Info{}, &Error{ErrTooComplex, "the PDF takes too long to read", err}
	case errors.As(err, &exit) && exit.ExitCode() == exitMemory:
		return Info{}, &Error{ErrTooComplex, "the PDF takes too much memory to read", err}
	case errors.As(err, &exit):
		return Info{}, damaged(fmt.Errorf("%w: %s", err, complaints.String()))
	}
	return Info{}, fmt.Errorf("paper: %w", err)
}

// ownProgram is this program's file; on Linux also after it was replaced by a newer one.
func ownProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func parseAnswer(out []byte) (Info, error) {
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		return Info{}, fmt.Errorf("paper: %w", err)
	}
	if a.Kind == "" {
		return a.Info, nil
	}
	for _, kind := range kinds {
		if kind.Error() == a.Kind {
			return Info{}, &Error{kind, a.Reason, errors.New(a.Cause)}
		}
	}
	return Info{}, errors.New("paper: " + a.Cause)
}

// tail keeps the last that was written, for the log.
type tail struct{ b *bytes.Buffer }

const tailSize = 2000

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if extra := t.b.Len() - tailSize; extra > 0 {
		t.b.Next(extra)
	}
	return len(p), nil
}

// init turns the process into a reader if that is what it was started for.
func init() {
	value := os.Getenv(childKey)
	if value == "" {
		return
	}
	limit, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		os.Exit(2)
	}
	out := os.Stdout
	os.Stdout = os.Stderr // a library's messages don't get into the answer
	debug.SetMemoryLimit(limit / 4 * 3)
	go watch(limit)
	if json.NewEncoder(out).Encode(answerTo(read(context.Background(), os.Stdin))) != nil {
		os.Exit(2)
	}
	os.Exit(0)
}

func answerTo(info Info, err error) answer {
	a := answer{Info: info}
	var e *Error
	switch {
	case errors.As(err, &e):
		a.Kind, a.Reason = e.Kind.Error(), e.Reason
		if e.Cause != nil {
			a.Cause = e.Cause.Error()
		}
	case err != nil:
		a.Kind, a.Cause = "failure", err.Error()
	}
	return a
}

// watch ends the process when it takes too much memory, or outlives who started it.
func watch(limit int64) {
	used := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	tick := time.NewTicker(10 * time.Millisecond)
	end := time.After(readWithin + 10*time.Second)
	for {
		select {
		case <-end:
			os.Exit(2)
		case <-tick.C:
			metrics.Read(used)
			if int64(used[0].Value.Uint64()-used[1].Value.Uint64()) > limit {
				os.Exit(exitMemory)
			}
		}
	}
}
