//go:build unix

package server

import (
	"os"
	"syscall"
)

// tryLock claims a file until it is closed or the process ends, however it ends.
func tryLock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
