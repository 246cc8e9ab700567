package embedded

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"docket/eventstore/embedded/eventlog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A backup is the files of a snapshot of the log: a folder that can be verified, and served. A server that has the log
// open sends it over its socket as a tar stream, by a service of ours beside EventStoreDB's.
const (
	backupService = "docket.eventstore.Backup"
	backupMethod  = "Take"
	backupSize    = "docket-backup-bytes" // header: the bytes of all files
	backupChunk   = 256 << 10
)

func (s *Server) backupDesc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: backupService, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
		{StreamName: backupMethod, ServerStreams: true, Handler: s.sendBackup},
	}}
}

// sendBackup answers a call for a backup.
func (s *Server) sendBackup(_ any, out grpc.ServerStream) error {
	if err := out.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	snapshot, err := s.log.Snapshot()
	if err != nil {
		return s.status(out.Context(), err)
	}
	header := metadata.Pairs(backupSize, strconv.FormatInt(bytesOf(snapshot), 10))
	if err = out.SendHeader(header); err == nil {
		err = writeTar(snapshot, &chunks{out})
	}
	if cerr := snapshot.Close(); cerr != nil {
		s.logger.Error("event store: a snapshot was left behind", "error", cerr)
	}
	if _, fromTransport := status.FromError(err); err != nil && !fromTransport {
		s.logger.Error("event store: backup failed", "error", err)
		return status.Error(codes.Internal, "the backup failed")
	}
	return err
}

func bytesOf(s *eventlog.Snapshot) (n int64) {
	for _, f := range s.Files {
		n += f.Size
	}
	return n
}

// chunks sends what is written to it as messages.
type chunks struct{ out grpc.ServerStream }

func (c *chunks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), backupChunk)
		if err := c.out.SendMsg(&wrapperspb.BytesValue{Value: rest[:n]}); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func writeTar(s *eventlog.Snapshot, w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, f := range s.Files {
		if err := addFile(archive, s, f); err != nil {
			return err
		}
	}
	return archive.Close()
}

func addFile(archive *tar.Writer, s *eventlog.Snapshot, f eventlog.SnapshotFile) (err error) {
	in, err := s.Open(f.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if err := archive.WriteHeader(&tar.Header{Name: f.Name, Size: f.Size, Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.CopyBuffer(archive, io.LimitReader(in, f.Size), make([]byte, backupChunk))
	return err
}

// Progress hears how many of how many bytes are done.
type Progress func(done, total int64)

// Backup copies the store in dir into the folder target, which must not exist, with everything that was acknowledged
// before the call. The store may be served by another process meanwhile. What is in target afterwards is a store of its
// own; eventlog.Verify checks it. It returns eventlog.ErrNoLog when there is nothing to copy.
func Backup(ctx context.Context, dir, target string, progress Progress) error {
	switch exists, err := eventlog.Exists(dir, nil); {
	case err != nil:
		return err
	case !exists:
		return fmt.Errorf("%s: %w", dir, eventlog.ErrNoLog)
	}
	log, err := eventlog.Open(dir, eventlog.Options{CacheStreams: 2})
	if errors.Is(err, eventlog.ErrLocked) {
		return backupServed(ctx, dir, target, progress)
	}
	if err != nil {
		return err
	}
	return errors.Join(backupStopped(ctx, log, target, progress), log.Close())
}

// backupServed asks the process that serves the store.
func backupServed(ctx context.Context, dir, target string, progress Progress) error {
	address, err := SocketOf(dir)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("reaching the event store's server: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing to lose
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+backupService+"/"+backupMethod)
	if err == nil {
		err = errors.Join(call.SendMsg(&emptypb.Empty{}), call.CloseSend())
	}
	if err != nil {
		return fmt.Errorf("asking the event store's server for a backup: %w", err)
	}
	header, err := call.Header()
	if err != nil {
		return fmt.Errorf("asking the event store's server for a backup: %w", err)
	}
	total, err := strconv.ParseInt(firstOf(header.Get(backupSize)), 10, 64)
	if err != nil {
		return fmt.Errorf("asking the event store's server for a backup: %w", received(call))
	}
	return unpack(target, &messages{call: call}, total, progress)
}

func firstOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// received is the error that ends a call.
func received(call grpc.ClientStream) error {
	for {
		if err := call.RecvMsg(&wrapperspb.BytesValue{}); err != nil {
			return err
		}
	}
}

// messages reads what chunks sent.
type messages struct {
	call grpc.ClientStream
	rest []byte
}

func (m *messages) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		var chunk wrapperspb.BytesValue
		if err := m.call.RecvMsg(&chunk); err != nil {
			return 0, err
		}
		m.rest = chunk.GetValue()
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// backupStopped copies a store that only this process has open.
func backupStopped(ctx context.Context, log *eventlog.Log, target string, progress Progress) error {
	snapshot, err := log.Snapshot()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })
	defer stop()
	go func() { w.CloseWithError(writeTar(snapshot, w)) }()
	err = unpack(target, r, bytesOf(snapshot), progress)
	r.CloseWithError(errors.New("nobody reads any more"))
	return errors.Join(err, snapshot.Close())
}

// unpack writes the files of a tar stream below a new folder and syncs them. After an error the folder is gone.
func unpack(target string, in io.Reader, total int64, progress Progress) (err error) {
	if err := os.Mkdir(target, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(target))
		}
	}()
	if err := os.Mkdir(filepath.Join(target, "log"), 0o700); err != nil {
		return err
	}
	done := int64(0)
	archive := tar.NewReader(in)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the copy broke off: %w", err)
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("the copy has a file of the name %q", h.Name)
		}
		if err := writeSynced(filepath.Join(target, filepath.FromSlash(h.Name)), &counted{archive, &done, total, progress}); err != nil {
			return fmt.Errorf("the copy broke off: %w", err)
		}
	}
	if done != total {
		return fmt.Errorf("the copy has %d bytes of %d", done, total)
	}
	return errors.Join(syncFolder(filepath.Join(target, "log")), syncFolder(target), syncFolder(filepath.Dir(target)))
}

// counted tells the progress of what is read through it.
type counted struct {
	in       io.Reader
	done     *int64
	total    int64
	progress Progress
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	*c.done += int64(n)
	if c.progress != nil {
		c.progress(*c.done, c.total)
	}
	return n, err
}

func writeSynced(name string, in io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(f, in, make([]byte, backupChunk))
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Place moves the store in the folder stage, a verified copy of a backup, to where it is to be served. It returns
// fs.ErrExist when a store is there already.
func Place(stage, dir string) error {
	switch exists, err := eventlog.Exists(dir, nil); {
	case err != nil:
		return err
	case exists:
		return fmt.Errorf("%s holds an event store: %w", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The log last: without it the folder holds no store yet, and with both all is done.
	for _, name := range []string{"watermark", "log"} {
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(dir), os.RemoveAll(stage))
}
