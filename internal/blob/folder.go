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
	"time"

	"github.com/google/uuid"
)

// Folder keeps content in files below one folder: "ab/abcdef...". It never leaves
// that folder, whatever names it is asked for. Several processes of one machine
// may use a folder.
type Folder struct{ root *os.Root }

const (
	partial  = "partial" // holds files that are still being written
	lockFile = "lock"    // see locked
	// stale is how long a partial file lies untouched until it counts as left behind.
	stale = time.Hour
)

// OpenFolder makes the folder if need be and removes what an earlier process
// did not finish.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	f := &Folder{root}
	if err = root.Mkdir(partial, 0o700); errors.Is(err, fs.ErrExist) {
		err = f.sweep(context.Background(), time.Now().Add(-stale))
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
		return Ref{}, failed(err)
	}
	ref, err := copyHashing(ctx, file, content)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = f.settle(temporary, ref.SHA256)
	}
	if err != nil {
		return Ref{}, errors.Join(failed(err), ignoreMissing(f.root.Remove(temporary)))
	}
	return ref, nil
}

// copyHashing copies content and names what it copied.
func copyHashing(ctx context.Context, to io.Writer, content io.Reader) (Ref, error) {
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(to, sum), &cancellable{ctx, content})
	return Ref{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}, err
}

// settle gives a finished file its name, for good. A file that has the name
// already is replaced, so that the content counts as put now.
func (f *Folder) settle(temporary, name string) error {
	shelf := name[:2]
	if err := f.root.Mkdir(shelf, 0o700); err == nil {
		if err := f.sync("."); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := f.locked(false, func() error {
		now := time.Now()
		if err := f.root.Chtimes(temporary, now, now); err != nil {
			return err
		}
		return f.root.Rename(temporary, place(name))
	})
	if err != nil {
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
	info, err := f.stat(name)
	if err != nil {
		return Ref{}, known(err)
	}
	return Ref{SHA256: name, Size: info.Size()}, nil
}

func (f *Folder) stat(name string) (fs.FileInfo, error) {
	if !valid(name) {
		return nil, fs.ErrNotExist
	}
	return f.root.Stat(place(name))
}

// List implements Store.
func (f *Folder) List(ctx context.Context, yield func(Entry) error) error {
	for shelf := range 256 {
		err := f.each(ctx, hex.EncodeToString([]byte{byte(shelf)}), func(file string) error {
			info, err := f.stat(file)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // no content, or deleted meanwhile
			}
			if err != nil {
				return known(err)
			}
			return yield(Entry{Ref{SHA256: file, Size: info.Size()}, info.ModTime()})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls visit with the names of the files of a folder, if it exists.
func (f *Folder) each(ctx context.Context, folder string, visit func(string) error) error {
	d, err := f.root.Open(folder)
	if err != nil {
		return ignoreMissing(err)
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := visit(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
}

// Delete implements Store.
func (f *Folder) Delete(_ context.Context, name string) error {
	if !valid(name) {
		return nil
	}
	if err := ignoreMissing(f.root.Remove(place(name))); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	return nil
}

// DeleteBefore implements Store. The lock keeps a Put of the same content from
// coming between the look at the time and the removal.
func (f *Folder) DeleteBefore(_ context.Context, name string, before time.Time) (bool, error) {
	removed := false
	err := f.locked(true, func() error {
		info, err := f.stat(name)
		if err != nil || !info.ModTime().Before(before) {
			return err
		}
		err = f.root.Remove(place(name))
		removed = err == nil
		return err
	})
	if err := ignoreMissing(err); err != nil {
		return false, fmt.Errorf("blob: %w", err)
	}
	return removed, nil
}

// sweep removes partial files that nothing was written to since a time.
func (f *Folder) sweep(ctx context.Context, before time.Time) error {
	return f.each(ctx, partial, func(name string) error {
		name = path.Join(partial, name)
		info, err := f.root.Lstat(name)
		if err == nil && info.ModTime().Before(before) {
			err = f.root.RemoveAll(name)
		}
		return ignoreMissing(err)
	})
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
