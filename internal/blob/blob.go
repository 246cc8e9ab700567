// Package blob keeps files by their content: a file's name is the SHA-256 of
// what is in it, so the same content is kept once and never changes.
package blob

import (
	"context"
	"errors"
	"io"
)

// ErrNotFound says that no such content is kept.
var ErrNotFound = errors.New("blob: not found")

// Ref names stored content.
type Ref struct {
	SHA256 string // lower-case hexadecimal
	Size   int64  // bytes
}

// Store keeps content.
type Store interface {
	// Put keeps what it reads, whole or not at all. Content that is there already
	// is kept once. The error of the reader is in the chain of Put's.
	Put(ctx context.Context, content io.Reader) (Ref, error)
	// Open reads content. Errors: ErrNotFound, also for what is no SHA-256.
	Open(ctx context.Context, sha256 string) (io.ReadCloser, error)
	// Stat tells the size of content. Errors: as of Open.
	Stat(ctx context.Context, sha256 string) (Ref, error)
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
