package paper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Options of a Converter and a Renderer. The zero value is usable.
type Options struct {
	Program string        // path or name; empty: looked up in PATH
	Timeout time.Duration // for one document; 0: 2 minutes
	Limit   int           // documents at a time; 0: 1
	TempDir string        // where working files lie; empty: the system's
}

// program is another program that documents are given to.
type program struct {
	path    string
	missing error // why there is none
	timeout time.Duration
	running chan struct{}
	temp    string
}

// find looks for the first of the names that exists. what tells people what for.
func find(o Options, what string, names ...string) *program {
	p := &program{timeout: o.Timeout, running: make(chan struct{}, max(o.Limit, 1)), temp: o.TempDir}
	if p.timeout <= 0 {
		p.timeout = 2 * time.Minute
	}
	if o.Program != "" {
		names = []string{o.Program}
	}
	var causes []error
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			p.path = path
			return p
		}
		causes = append(causes, err)
	}
	p.missing = &Error{ErrNoConverter, what + " is not installed on the server", errors.Join(causes...)}
	return p
}

// killDelay is how long an ended program's pipes are waited for.
const killDelay = 5 * time.Second

// run runs the program on one document, with all that it starts killed when
// the time is over. what says what failed.
func (p *program) run(ctx context.Context, what string, env []string, args ...string) error {
	timed, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var output bytes.Buffer
	cmd := exec.CommandContext(timed, p.path, args...)
	cmd.Env = env
	said := &tail{&output}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = killDelay
	killGroup(cmd)
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case timed.Err() != nil:
		return &Error{ErrTimeout, fmt.Sprintf("%s took longer than %v", what, p.timeout), err}
	}
	return &Error{ErrConversion, what + " failed", fmt.Errorf("%w: %s", err, strings.TrimSpace(output.String()))}
}

// acquire waits for a turn.
func (p *program) acquire(ctx context.Context) (release func(), err error) {
	if p.missing != nil {
		return nil, p.missing
	}
	select {
	case p.running <- struct{}{}:
		return func() { <-p.running }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
