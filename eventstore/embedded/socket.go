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

const (
	socketName = "es.sock"
	// socketPlace is a file that says where the socket is when its path in the store's folder would be too long.
	socketPlace = "es.sock.path"
)

// SocketOf is the gRPC address of the server that serves the store in dir.
func SocketOf(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("event store socket: %w", err)
	}
	path := filepath.Join(abs, socketName)
	if elsewhere, err := os.ReadFile(filepath.Join(abs, socketPlace)); err == nil {
		path = string(elsewhere)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("event store socket: %w", err)
	}
	return (&socket{path: path}).target(), nil
}

// socket is a listening unix socket that only the user running the process can reach.
type socket struct {
	net.Listener
	path    string
	private string // temporary folder made for it, "" for none
	place   string // file that says where the socket is, "" for none
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
		if err := s.tell(dir); err != nil {
			return nil, errors.Join(fmt.Errorf("event store socket: %w", err), s.remove())
		}
	} else if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, fmt.Errorf("event store socket: %w", err)
	}
	// What a killed process left behind refuses everybody, or leads astray. The log's lock says that nobody serves it.
	err := os.Remove(s.path)
	if dir != "" && s.private == "" && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		err = os.Remove(filepath.Join(dir, socketPlace))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// tell notes in dir, if there is one, where the socket is.
func (s *socket) tell(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.place = filepath.Join(dir, socketPlace)
	return os.WriteFile(s.place, []byte(s.path), 0o600)
}

// target is the address a gRPC client dials.
func (s *socket) target() string {
	return (&url.URL{Scheme: "unix", Path: filepath.ToSlash(s.path)}).String()
}

// remove deletes what listenSocket made.
func (s *socket) remove() error {
	if s.private != "" {
		err := os.RemoveAll(s.private)
		if s.place != "" {
			err = errors.Join(err, os.Remove(s.place))
		}
		return err
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
