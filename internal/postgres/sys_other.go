//go:build unix && !linux

package postgres

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has no equivalent here: a server that outlives a killed
// supervisor is stopped by the next start.
func dieWithParent(*syscall.SysProcAttr) {}

// asUser needs user namespaces.
func asUser(*syscall.SysProcAttr, account, int) error {
	return errors.New("this user id has no line in the password file")
}

// seesBackends says that processesIn lists backends as well as the postmaster.
const seesBackends = false

// processesIn lists the server processes of the data folder dir. Only the
// postmaster shows the folder, in its command line.
func processesIn(dir string) []int {
	out, err := exec.Command("ps", "-axww", "-o", "pid=,command=").Output()
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		pid, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(pid); err == nil && strings.Contains(command, "/postgres -D "+dir+" ") {
			pids = append(pids, n)
		}
	}
	return pids
}
