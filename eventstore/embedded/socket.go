package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
)

// maxSocketPath keeps below the limit of the address structure, which is 104 bytes on some systems.
const maxSocketPath = 100

const socketName = "es.sock"

// socket is a listening unix socket that only the user running the process can reach.
type socket struct {
	net.Listener
	path    string
	private string // temporary folder made for it, "" for none
}

// listenSocket listens in dir, or in a private temporary folder when dir is empty or its path too long.
func listenSocket(dir string) (*socket, error) {
	s := &socket{}
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("event store socket: %w", err)
		}
		s.path = filepath.Join(abs, socketName)
	}
	if s.path == "" || len(s.path) > maxSocketPath {
		tmp, err := os.MkdirTemp("", "docket-es-") // made with mode 0700
		if err != nil {
			return nil, fmt.Errorf("event store socket: %w", err)
		}
		s.private, s.path = tmp, filepath.Join(tmp, socketName)
	} else if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, fmt.Errorf("event store socket: %w", err)
	}
	// A socket left behind by a killed process refuses everybody. The log's lock says that nobody serves it any more.
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("event store socket: %w", err), s.remove())
	}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("event store socket: %w", err), s.remove())
	}
	s.Listener = l
	if err := os.Chmod(s.path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("event store socket: %w", err), l.Close(), s.remove())
	}
	return s, nil
}

// target is the address a gRPC client dials.
func (s *socket) target() string {
	return (&url.URL{Scheme: "unix", Path: filepath.ToSlash(s.path)}).String()
}

// remove deletes what listenSocket made.
func (s *socket) remove() error {
	if s.private != "" {
		return os.RemoveAll(s.private)
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
