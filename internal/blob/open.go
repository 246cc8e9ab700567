package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Open opens the store that an address names: nothing for the folder dir,
// file:///path for another folder, or
// s3://KEY:SECRET@host:port/bucket/prefix?tls=false&region=name for an S3 server, with
// KEY and SECRET escaped as in any address. Uploads to S3 are staged below dir.
func Open(ctx context.Context, address, dir string) (Store, error) {
	folder, s3, err := parse(address)
	switch {
	case err != nil:
		return nil, err
	case s3 != nil:
		s3.Staging = filepath.Join(dir, "staging")
		return OpenS3(ctx, *s3)
	case folder != "":
		return OpenFolder(folder)
	}
	return OpenFolder(dir)
}

// Check tells what is wrong with an address of Open, without opening anything
// and without repeating secrets.
func Check(address string) error {
	_, _, err := parse(address)
	return err
}

// parse gives the folder or the bucket that an address names; neither for none.
func parse(address string) (folder string, s3 *S3Options, err error) {
	if address == "" {
		return "", nil, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, errors.New("must be an address") // url's own error repeats it
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(u.Path) {
			return "", nil, errors.New("must be file:///path with an absolute path")
		}
		return u.Path, nil, nil
	case "s3":
		s3, err = parseS3(u)
		return "", s3, err
	}
	return "", nil, errors.New("must begin with file:// or s3://")
}

func parseS3(u *url.URL) (*S3Options, error) {
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if u.Host == "" || bucket == "" {
		return nil, errors.New("must name a server and a bucket: s3://host/bucket")
	}
	if prefix != "" {
		prefix += "/"
	}
	o := &S3Options{Endpoint: u.Host, Bucket: bucket, Prefix: prefix, TLS: true}
	o.Key = u.User.Username()
	o.Secret, _ = u.User.Password()
	if (o.Key == "") != (o.Secret == "") {
		return nil, errors.New("must have both key and secret, or neither")
	}
	for name, values := range u.Query() {
		switch name {
		case "region":
			o.Region = values[0]
		case "tls":
			tls, err := strconv.ParseBool(values[0])
			if err != nil {
				return nil, errors.New("tls must be true or false")
			}
			o.TLS = tls
		default:
			return nil, fmt.Errorf("does not know the option %q", name)
		}
	}
	return o, nil
}

// Limited is a store that takes no content larger than max bytes: its Put then fails
// with *TooLargeError and keeps nothing.
func Limited(store Store, max int64) Store { return &limited{store, max} }

type limited struct {
	Store
	max int64
}

func (l *limited) Put(ctx context.Context, content io.Reader) (Ref, error) {
	return l.Store.Put(ctx, &capped{content, l.max, l.max})
}

// capped fails once more than so many bytes were read.
type capped struct {
	r         io.Reader
	left, max int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(int64(len(p)), c.left+1)])
	if c.left -= int64(n); c.left < 0 {
		return 0, &TooLargeError{c.max}
	}
	return n, err
}

// Fetch copies content into a new file in the folder dir and gives the file, at
// its start. Content that does not match its name is an error. The caller closes and
// removes the file.
func Fetch(ctx context.Context, store Store, sha256, dir string) (*os.File, error) {
	content, err := store.Open(ctx, sha256)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	file, err := os.CreateTemp(dir, "blob-")
	if err != nil {
		return nil, failed(err)
	}
	ref, err := copyHashing(ctx, file, content)
	if err == nil && ref.SHA256 != sha256 {
		err = fmt.Errorf("content of %s is damaged", sha256)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(failed(err), file.Close(), os.Remove(file.Name()))
	}
	return file, nil
}
