package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the operating system user that the server runs as. PostgreSQL
// refuses to run as root, so root hands it to another user.
type account struct {
	uid, gid int
	other    bool // not our own user: processes need a Credential, files a chown
}

// serverAccount chooses the account for a cluster below base. Root takes the
// owner of a cluster that is already there (it may have been made by a user
// who has since been renamed, or before root came along), else a user that
// exists for this.
func serverAccount(base string) (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, c := range clusters(base) {
		info, err := os.Stat(filepath.Join(c.dir, "data"))
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return account{uid: int(st.Uid), gid: int(st.Gid), other: true}, nil
		}
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if errors.Join(err1, err2) == nil && uid != 0 {
			return account{uid: uid, gid: gid, other: true}, nil
		}
	}
	return account{}, errors.New("PostgreSQL refuses to run as root and there is no user postgres, _postgres or nobody to run it as: " +
		"create one, run Docket as another user, or set DOCKET_POSTGRES_URL")
}

// command prepares a child that runs as the account, in dir, in a process
// group of its own (Ctrl-C must reach us, not the server), and that dies with
// us where the system can do that. It sees none of our environment but what a
// server needs: that holds secrets and PG* settings meant for others.
func (a account) command(dir, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	for _, key := range []string{"LD_LIBRARY_PATH", "TMPDIR"} {
		if v := os.Getenv(key); v != "" {
			cmd.Env = append(cmd.Env, key+"="+v)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.other {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	dieWithParent(cmd.SysProcAttr)
	return cmd
}

// reaches reports whether the account can enter dir. The kernel is asked, not
// the mode bits of the parents, so that access lists count too.
func (a account) reaches(dir string) bool {
	p, err := startProcess(a.command(dir, "/bin/sh", "-c", ":"))
	if err != nil {
		return false
	}
	<-p.done
	return p.err == nil
}

// mkdir makes sure that dir exists, belongs to the account and is closed to
// everybody else.
func (a account) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != a.uid {
		if !a.other {
			return fmt.Errorf("%s belongs to user id %d, but this process runs as %d: run it as that user, or choose another data folder", dir, st.Uid, a.uid)
		}
		if err := os.Chown(dir, a.uid, a.gid); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700)
}
