package postgres

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has the kernel send the child a fast shutdown when we die,
// even of SIGKILL.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// asUser runs the child in a user namespace where our user has the id of one
// that the password file knows; initdb insists on a name for its user.
func asUser(attr *syscall.SysProcAttr, a account, uid int) error {
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: a.uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: a.gid, Size: 1}}
	return nil
}

// seesBackends says that processesIn lists backends as well as the postmaster.
const seesBackends = true

// processesIn lists the server processes of the data folder dir, backends
// included: each has the folder as its working folder.
func processesIn(dir string) []int {
	want, err := os.Stat(dir)
	if err != nil {
		return nil
	}
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(filepath.Base(e))
		if err != nil {
			continue
		}
		name, err := os.ReadFile(e + "/comm")
		if err != nil || strings.TrimSpace(string(name)) != "postgres" {
			continue // somebody's shell, or gone
		}
		if got, err := os.Stat(e + "/cwd"); err == nil && os.SameFile(want, got) {
			pids = append(pids, pid)
		}
	}
	return pids
}
