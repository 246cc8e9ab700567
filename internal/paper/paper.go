// Package paper reads what printing a document takes (pages, colour, paper size)
// and turns documents of other formats into PDF, and PDF into what printers take.
//
// Documents come from anybody. So PDFs are read in a child process of limited time
// and memory, and converters run as programs of their own that end when they take
// too long.
package paper

import (
	"errors"
	"fmt"
)

// Kinds of failure. They are found in an *Error with errors.Is.
var (
	ErrNotPDF      = errors.New("not a PDF")
	ErrDamaged     = errors.New("damaged PDF")
	ErrEncrypted   = errors.New("encrypted PDF")
	ErrTooComplex  = errors.New("PDF takes too much to read") // time or memory
	ErrFormat      = errors.New("format cannot be printed")
	ErrNoConverter = errors.New("no converter")
	ErrConversion  = errors.New("conversion failed")
	ErrTimeout     = errors.New("conversion took too long")
)

// Error says why a document cannot be used.
type Error struct {
	Kind   error  // one of the errors above
	Reason string // a short sentence for the user, without paths or internals
	Cause  error  // for the log; may be nil
}

// Error is the kind and the reason. The cause is reached by errors.Is and errors.As.
func (e *Error) Error() string { return fmt.Sprintf("%v: %s", e.Kind, e.Reason) }

// Unwrap gives kind and cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Reason is the public reason in err's chain, or a general one.
func Reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return "the document could not be processed"
}
