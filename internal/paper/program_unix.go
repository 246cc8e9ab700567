//go:build unix

package paper

import (
	"os/exec"
	"syscall"
)

// killGroup lets the program's end be the end of what it started, too: soffice is a
// script that starts the program proper.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
