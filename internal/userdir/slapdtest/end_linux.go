package slapdtest

import (
	"os/exec"
	"syscall"
)

// endWithParent kills the server when the test's process dies.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
