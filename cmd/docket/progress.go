package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress shows how far something is, in one line that is written over on a terminal.
type progress struct {
	out   io.Writer
	live  bool          // a terminal, where a line can be written over
	every time.Duration // where it is none: a line so often; 0 for finished ones only
	last  time.Time
	open  bool // a line is not finished
}

func newProgress(out io.Writer, every time.Duration) *progress {
	return &progress{out: out, live: terminal(out), every: every, last: time.Now()}
}

// line shows a state. The last one, with done, always appears.
func (p *progress) line(done bool, format string, args ...any) {
	if !done && !p.due() {
		return
	}
	p.last = time.Now()
	if p.live {
		say(p.out, "\r\x1b[K")
	}
	say(p.out, format, args...)
	p.open = p.live && !done
	if !p.open {
		say(p.out, "\n")
	}
}

func (p *progress) due() bool {
	if p.live {
		return time.Since(p.last) >= 100*time.Millisecond
	}
	return p.every > 0 && time.Since(p.last) >= p.every
}

// bar shows how much of a whole is done, and what in words.
func (p *progress) bar(done, total uint64, what string) {
	part := 1.0
	if total > 0 {
		part = float64(done) / float64(total)
	}
	const width = 30
	full := int(part * width)
	p.line(false, "[%s%s] %3.0f %%  %s", strings.Repeat("=", full), strings.Repeat(" ", width-full), part*100, what)
}

// end takes away, or finishes, the line of what has ended or broken off.
func (p *progress) end() {
	if p.open {
		say(p.out, "\n")
		p.open = false
	}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// megabytes is an amount of bytes for people.
func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
