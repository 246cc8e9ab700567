// Package blob keeps files by their content: a file's name is the SHA-256 of
// what is in it, so the same content is kept once and never changes.
//
// Content passes through in pieces; no store holds a whole file in memory.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// ErrNotFound says that no such content is kept.
var ErrNotFound = errors.New("blob: not found")

// ErrFull says that the store has no space left.
var ErrFull = errors.New("blob: no space left")

// TooLargeError says that content is larger than a limit.
type TooLargeError struct {
	Limit int64 // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("blob: larger than %d bytes", e.Limit)
}

// Ref names stored content.
type Ref struct {
	SHA256 string // lower-case hexadecimal
	Size   int64  // bytes
}

// Entry is stored content with the time it was last put, by the store's clock.
type Entry struct {
	Ref
	Put time.Time
}

// Store keeps content.
type Store interface {
	// Put keeps what it reads, whole or not at all. Content that is there already
	// is kept once, and counts as put now. The error of the reader is in the chain
	// of Put's. Errors: ErrFull.
	Put(ctx context.Context, content io.Reader) (Ref, error)
	// Open reads content. Errors: ErrNotFound, also for what is no SHA-256.
	Open(ctx context.Context, sha256 string) (io.ReadCloser, error)
	// Stat tells the size of content. Errors: as of Open.
	Stat(ctx context.Context, sha256 string) (Ref, error)
	// List calls yield for everything kept, in no certain order, until yield fails.
	// What is put or deleted meanwhile may be listed or not; yield may delete.
	List(ctx context.Context, yield func(Entry) error) error
	// Delete removes content at once. Content that isn't there is no error. Whoever
	// cannot rule out that somebody puts the same content uses DeleteBefore.
	Delete(ctx context.Context, sha256 string) error
	// DeleteBefore removes content that was last put before a time, and tells whether
	// it did. What a Put has returned is never removed by a DeleteBefore with an
	// earlier time, however the two overlap.
	DeleteBefore(ctx context.Context, sha256 string, before time.Time) (bool, error)
	// Close lets go of what the store holds open.
	Close() error
}

// valid tells whether a name is 64 lower-case hexadecimal digits.
func valid(name string) bool {
	if len(name) != 64 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// failed wraps an error of a Put: as ErrFull if that is what it is.
func failed(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("blob: %w", err)
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
