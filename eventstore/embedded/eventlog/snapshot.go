package eventlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
)

const snapshotPrefix = "snapshot-"

// Snapshot is the log as it was at one moment, as files beside it. Tables never change, so they share their disk space
// with the log's until both have gone. Close it.
type Snapshot struct {
	Files []SnapshotFile
	fs    vfs.FS
	dir   string
}

// SnapshotFile is one file of a snapshot. All of them in a folder are a log that can be opened.
type SnapshotFile struct {
	Name string // relative, with slashes
	Size int64  // in bytes
}

// Exists says whether there is a log in dir. disk is nil for the operating system's file system.
func Exists(dir string, disk vfs.FS) (bool, error) {
	if disk == nil {
		disk = vfs.Default
	}
	desc, err := pebble.Peek(disk.PathJoin(dir, dbDir), disk)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the event log: %w", err)
	}
	return desc.Exists, nil
}

// Snapshot takes a snapshot with everything that was acknowledged before the call. Writers go on meanwhile.
func (l *Log) Snapshot() (*Snapshot, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	s := &Snapshot{fs: l.fs, dir: l.fs.PathJoin(l.dir, snapshotPrefix+uuid.NewString())}
	if err := s.take(l); err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot of the event log: %w", err), s.Close())
	}
	return s, nil
}

func (s *Snapshot) take(l *Log) error {
	if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	// The mark first: the tables then reach at least as far.
	if err := l.mark.copyTo(s.fs, s.fs.PathJoin(s.dir, markFile)); err != nil {
		return err
	}
	if err := l.db.Checkpoint(s.fs.PathJoin(s.dir, dbDir), pebble.WithFlushedWAL()); err != nil {
		return err
	}
	names, err := s.fs.List(s.fs.PathJoin(s.dir, dbDir))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.add(dbDir + "/" + name); err != nil {
			return err
		}
	}
	return s.add(markFile)
}

func (s *Snapshot) add(name string) error {
	info, err := s.fs.Stat(s.path(name))
	if err != nil {
		return err
	}
	s.Files = append(s.Files, SnapshotFile{Name: name, Size: info.Size()})
	return nil
}

func (s *Snapshot) path(name string) string {
	return s.fs.PathJoin(append([]string{s.dir}, strings.Split(name, "/")...)...)
}

// Open opens one of Files.
func (s *Snapshot) Open(name string) (io.ReadCloser, error) { return s.fs.Open(s.path(name)) }

// Close removes the snapshot.
func (s *Snapshot) Close() error { return s.fs.RemoveAll(s.dir) }

// removeSnapshots removes what a process that was killed left behind.
func (l *Log) removeSnapshots() error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, snapshotPrefix) {
			if err := l.fs.RemoveAll(l.fs.PathJoin(l.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
