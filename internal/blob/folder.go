package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/google/uuid"
)

// Folder keeps content in files below one folder: "ab/abcdef...". It never leaves
// that folder, whatever names it is asked for.
type Folder struct{ root *os.Root }

// partial holds files that are still being written.
const partial = "partial"

// OpenFolder makes the folder if need be and removes what an earlier process
// did not finish. One process at a time may use a folder.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	f := &Folder{root}
	err = root.RemoveAll(partial)
	if err == nil {
		err = root.Mkdir(partial, 0o700)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob folder: %w", err), root.Close())
	}
	return f, nil
}

// Close lets go of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Put implements Store. The file is on disk before it has its name.
func (f *Folder) Put(ctx context.Context, content io.Reader) (Ref, error) {
	temporary := path.Join(partial, uuid.NewString())
	file, err := f.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Ref{}, fmt.Errorf("blob: %w", err)
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, sum), &cancellable{ctx, content})
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	ref := Ref{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}
	if err == nil {
		err = f.settle(temporary, ref.SHA256)
	}
	if err != nil {
		return Ref{}, errors.Join(fmt.Errorf("blob: %w", err), ignoreMissing(f.root.Remove(temporary)))
	}
	return ref, nil
}

// settle gives a finished file its name, for good.
func (f *Folder) settle(temporary, name string) error {
	shelf := name[:2]
	if err := f.root.Mkdir(shelf, 0o700); err == nil {
		if err := f.sync("."); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := f.root.Rename(temporary, place(name)); err != nil {
		return err
	}
	return f.sync(shelf)
}

// sync makes what was named in a folder outlast a power cut.
func (f *Folder) sync(folder string) error {
	d, err := f.root.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open implements Store.
func (f *Folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	if !valid(name) {
		return nil, ErrNotFound
	}
	file, err := f.root.Open(place(name))
	if err != nil {
		return nil, known(err)
	}
	return file, nil
}

// Stat implements Store.
func (f *Folder) Stat(_ context.Context, name string) (Ref, error) {
	if !valid(name) {
		return Ref{}, ErrNotFound
	}
	info, err := f.root.Stat(place(name))
	if err != nil {
		return Ref{}, known(err)
	}
	return Ref{SHA256: name, Size: info.Size()}, nil
}

func place(name string) string { return path.Join(name[:2], name) }

func known(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return fmt.Errorf("blob: %w", err)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// cancellable ends a copy when ctx does.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
