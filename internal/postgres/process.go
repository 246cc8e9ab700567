package postgres

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a running child. done closes when it has ended, err says how.
type process struct {
	pid  int
	done chan struct{}
	err  error
}

// startProcess starts cmd from an operating system thread that lives as long
// as the child: Linux ties the parent-death signal to the thread that forked.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// alive reports whether a process with this id exists, whoever owns it.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// stop asks the server to end its sessions and go, then insists. One that has
// ended is left alone: its id may be somebody else's.
func (p *process) stop() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, 30 * time.Second}, {syscall.SIGQUIT, 10 * time.Second}, {syscall.SIGKILL, 10 * time.Second}} {
		if err := syscall.Kill(p.pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		timer := time.NewTimer(step.wait)
		select {
		case <-p.done:
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
	return errors.New("the PostgreSQL server does not end")
}
