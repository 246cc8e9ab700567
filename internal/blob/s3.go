package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Options say where an S3 store keeps its content.
type S3Options struct {
	Endpoint string // host or host:port
	Bucket   string // has to exist
	Prefix   string // before every key; empty, or ending in a slash
	Region   string // empty: asked for
	TLS      bool
	// Key and Secret are the credentials. Without a key they come from where
	// Amazon's tools look: AWS_* variables, ~/.aws/credentials, the machine's role.
	Key, Secret string
	// Staging is a local folder with room for the uploads that are under way.
	Staging string
}

// S3 keeps content in a bucket of an S3-compatible server: "sha256/abcdef...".
// Any number of processes may use a bucket. It relies on reads that see earlier
// writes, as Amazon's, MinIO's and Ceph's do.
type S3 struct {
	client    minio.Core
	bucket    string
	prefix    string
	staging   string
	transport *http.Transport
}

const (
	// deleteWithin is how long the removal of one content may take, see guard.
	deleteWithin = 20 * time.Second
	// outwait is how long a Put watches a guard until it takes it for abandoned.
	outwait   = 2 * deleteWithin
	guardPoll = 100 * time.Millisecond
	// largestCopy is the largest object that one copy request takes.
	largestCopy = 5 << 30
)

// OpenS3 connects to a bucket and makes the staging folder. It fails if the bucket
// does not exist or cannot be reached.
func OpenS3(ctx context.Context, o S3Options) (*S3, error) {
	if err := os.MkdirAll(o.Staging, 0o700); err != nil {
		return nil, fmt.Errorf("blob staging: %w", err)
	}
	transport, err := minio.DefaultTransport(o.TLS)
	if err != nil {
		return nil, fmt.Errorf("blob s3: %w", err)
	}
	client, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds: o.credentials(), Secure: o.TLS, Region: o.Region, Transport: transport, MaxRetries: 4,
	})
	if err != nil {
		return nil, fmt.Errorf("blob s3: %w", err)
	}
	s := &S3{*client, o.Bucket, o.Prefix, o.Staging, transport}
	exists, err := s.client.BucketExists(ctx, o.Bucket)
	if err == nil && !exists {
		err = fmt.Errorf("bucket %q does not exist", o.Bucket)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob s3: %w", err), s.Close())
	}
	return s, nil
}

func (o S3Options) credentials() *credentials.Credentials {
	if o.Key != "" {
		return credentials.NewStaticV4(o.Key, o.Secret, "")
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}

// Close lets go of idle connections.
func (s *S3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Put implements Store. Content is staged in a local file, because its name is
// known only at its end. A temporary key that is copied to its final one would do
// too, but uploading without knowing the size buffers parts in memory, a file
// can be sent again when the connection breaks, content that is there already
// needs no upload, and a process that dies leaves nothing in the bucket.
func (s *S3) Put(ctx context.Context, content io.Reader) (Ref, error) {
	file, err := s.stage()
	if err != nil {
		return Ref{}, failed(err)
	}
	defer file.Close()
	ref, err := copyHashing(ctx, file, content)
	if err != nil {
		return Ref{}, failed(err)
	}
	for {
		err := s.write(ctx, ref, file)
		if err != nil {
			return Ref{}, failed(err)
		}
		kept, err := s.settled(ctx, ref.SHA256)
		if err != nil {
			return Ref{}, failed(err)
		}
		if kept {
			return ref, nil
		}
	}
}

// stage makes a file that has no name, so that it is gone with the process.
func (s *S3) stage() (*os.File, error) {
	file, err := os.CreateTemp(s.staging, "upload-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// write uploads content, or makes what is there already count as put now.
func (s *S3) write(ctx context.Context, ref Ref, file io.ReaderAt) error {
	there, err := s.stat(ctx, ref.SHA256)
	if err == nil && there.Size == ref.Size && ref.Size < largestCopy {
		err = s.touch(ctx, ref.SHA256)
		if err == nil {
			return nil
		}
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return s.upload(ctx, s.key(ref.SHA256), io.NewSectionReader(file, 0, ref.Size), ref.Size)
}

func (s *S3) upload(ctx context.Context, key string, content io.Reader, size int64) error {
	_, err := s.client.Client.PutObject(ctx, s.bucket, key, content, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream",
		// The client signs plain HTTP piece by piece, and sends no length if there is no piece.
		DisableContentSha256: size == 0,
	})
	return known3(err)
}

// touch copies an object onto itself, which S3 allows if its metadata is replaced.
func (s *S3) touch(ctx context.Context, name string) error {
	_, err := s.client.Client.CopyObject(ctx,
		minio.CopyDestOptions{Bucket: s.bucket, Object: s.key(name), ReplaceMetadata: true, ContentType: "application/octet-stream"},
		minio.CopySrcOptions{Bucket: s.bucket, Object: s.key(name)})
	return known3(err)
}

// settled waits until no DeleteBefore of an earlier time is under way and tells
// whether the content outlived it. A DeleteBefore that sets its guard after that
// sees the content as put now.
func (s *S3) settled(ctx context.Context, name string) (bool, error) {
	started := time.Now()
	for {
		guards, err := s.guards(ctx, name)
		if err != nil {
			return false, err
		}
		if len(guards) == 0 {
			_, err := s.stat(ctx, name)
			if errors.Is(err, ErrNotFound) {
				return false, nil
			}
			return err == nil, err
		}
		if time.Since(started) > outwait {
			if err := s.remove(ctx, guards...); err != nil {
				return false, err
			}
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(guardPoll):
		}
	}
}

// guards are the keys of the guards of a content.
func (s *S3) guards(ctx context.Context, name string) ([]string, error) {
	var keys []string
	err := s.list(ctx, s.guard(name), func(o minio.ObjectInfo) error {
		keys = append(keys, o.Key)
		return nil
	})
	return keys, err
}

// Open implements Store.
func (s *S3) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if !valid(name) {
		return nil, ErrNotFound
	}
	body, _, _, err := s.client.GetObject(ctx, s.bucket, s.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, known3(err)
	}
	return body, nil
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, name string) (Ref, error) {
	info, err := s.stat(ctx, name)
	if err != nil {
		return Ref{}, err
	}
	return Ref{SHA256: name, Size: info.Size}, nil
}

func (s *S3) stat(ctx context.Context, name string) (minio.ObjectInfo, error) {
	if !valid(name) {
		return minio.ObjectInfo{}, ErrNotFound
	}
	info, err := s.client.StatObject(ctx, s.bucket, s.key(name), minio.StatObjectOptions{})
	return info, known3(err)
}

// List implements Store.
func (s *S3) List(ctx context.Context, yield func(Entry) error) error {
	return s.list(ctx, s.key(""), func(o minio.ObjectInfo) error {
		name := strings.TrimPrefix(o.Key, s.key(""))
		if !valid(name) {
			return nil
		}
		return yield(Entry{Ref{SHA256: name, Size: o.Size}, o.LastModified})
	})
}

func (s *S3) list(ctx context.Context, prefix string, yield func(minio.ObjectInfo) error) error {
	for o := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return known3(o.Err)
		}
		if err := yield(o); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, name string) error {
	if !valid(name) {
		return nil
	}
	return s.remove(ctx, s.key(name))
}

func (s *S3) remove(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		err := known3(s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// DeleteBefore implements Store. S3 has no "delete if not modified since", so a
// guard object announces the removal while it lasts: a Put that wrote the same
// content meanwhile sees the guard, waits for its end, and writes once more if
// the removal was the later of the two.
func (s *S3) DeleteBefore(ctx context.Context, name string, before time.Time) (bool, error) {
	if old, err := s.putBefore(ctx, name, before); err != nil || !old {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, deleteWithin)
	defer cancel()
	guard := s.guard(name) + uuid.NewString()
	if err := s.upload(ctx, guard, strings.NewReader(""), 0); err != nil {
		return false, err
	}
	old, err := s.putBefore(ctx, name, before)
	if err == nil && old {
		err = s.Delete(ctx, name)
	}
	lift, stop := context.WithTimeout(context.WithoutCancel(ctx), deleteWithin)
	defer stop()
	// A guard that stays is outwaited by every Put and removed by sweep.
	return old && err == nil, errors.Join(err, s.remove(lift, guard))
}

// putBefore tells whether content is there and was put before a time. S3 tells
// times in whole seconds, rounded down.
func (s *S3) putBefore(ctx context.Context, name string, before time.Time) (bool, error) {
	info, err := s.stat(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && !info.LastModified.Add(time.Second).After(before), err
}

// sweep removes uploads and guards that were begun before a time and never ended.
func (s *S3) sweep(ctx context.Context, before time.Time) error {
	err := s.list(ctx, s.guard(""), func(o minio.ObjectInfo) error {
		if o.LastModified.Before(before) {
			return s.remove(ctx, o.Key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	listing, cancel := context.WithCancel(ctx)
	defer cancel()
	for upload := range s.client.ListIncompleteUploads(listing, s.bucket, s.key(""), true) {
		err := upload.Err
		if err == nil && upload.Initiated.Before(before) {
			err = s.client.AbortMultipartUpload(ctx, s.bucket, upload.Key, upload.UploadID)
		}
		if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
			return known3(err)
		}
	}
	return nil
}

func (s *S3) key(name string) string   { return s.prefix + "sha256/" + name }
func (s *S3) guard(name string) string { return s.prefix + "deleting/" + name }

// fullCodes are how servers say that there is no room.
var fullCodes = []string{"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"}

func known3(err error) error {
	if err == nil {
		return nil
	}
	answer := minio.ToErrorResponse(err)
	switch {
	case answer.Code == minio.NoSuchKey:
		return ErrNotFound
	case answer.StatusCode == http.StatusInsufficientStorage || slices.Contains(fullCodes, answer.Code):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("blob s3: %w", err)
}
