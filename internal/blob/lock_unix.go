//go:build unix

package blob

import (
	"errors"
	"os"
	"syscall"
)

// locked does something under the folder's lock, which holds between processes
// too: alone, or together with others that ask for less. The kernel lets go of
// it when the process ends, however it ends.
func (f *Folder) locked(alone bool, do func() error) error {
	lock, err := f.root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	for {
		err = syscall.Flock(int(lock.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		err = do()
	}
	return errors.Join(err, lock.Close())
}
