// Package printer brings documents to printers: over raw TCP, IPP, the CUPS
// spooler, or nowhere (dummy).
//
// A delivery is tried once. Its error says whether another attempt makes sense, and
// whether this one may have reached the printer; waiting and trying again is the
// caller's business.
package printer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

// Protocol is the way to a printer.
type Protocol string

const (
	TCP     Protocol = "tcp"     // raw stream, port 9100
	IPP     Protocol = "ipp"     // Print-Job of RFC 8011
	Spooler Protocol = "spooler" // lp of the local CUPS
	Dummy   Protocol = "dummy"   // reads and forgets
)

// Duplex says which sides are printed on. Empty leaves it to the printer.
type Duplex string

const (
	Simplex   Duplex = "simplex"
	LongEdge  Duplex = "long"
	ShortEdge Duplex = "short"
)

// Target is a printer.
type Target struct {
	Protocol Protocol
	// Address is host or host:port for TCP (port 9100 without one; IPv6 in brackets
	// if a port follows), the name of a queue for Spooler.
	Address string
	// URL is ipp://, ipps://, http:// or https:// for IPP; without a path /ipp/print.
	// User and password in it are sent as HTTP basic authentication.
	URL string
	// AnyCertificate takes an IPP printer's certificate unseen. Most printers made
	// theirs themselves.
	AnyCertificate bool
	// NoPJL keeps a raw stream free of PJL, for printers that would print it.
	NoPJL bool
}

// Job is one delivery of a document.
type Job struct {
	// ID is unique for good; letters, digits and dashes. Attempts at the same
	// delivery share it; whoever prints a document once more on purpose takes another.
	ID        string
	Name      string // for people
	User      string
	Format    string // media type of the document; empty: application/octet-stream
	Copies    int    // 0 means 1
	Duplex    Duplex
	Grayscale bool
	Media     string // "A4", "Letter", a PWG name, or empty for the printer's default
	// Repeat says that an earlier attempt may have reached the printer. IPP looks
	// for that job before it prints; the other protocols have no way to.
	Repeat bool
}

// Receipt says what became of a delivered job.
type Receipt struct {
	PrinterJob string // the printer's or spooler's id of the job; empty if it gives none
	Bytes      int64  // bytes of the document sent; 0 if it had been delivered before
	Found      bool   // an earlier attempt had delivered it
	Confirmed  bool   // the printer says that it is printed, rather than taken
	// Ignored are the options that could not be passed on: "copies", "duplex",
	// "grayscale", "media".
	Ignored []string
}

// Source opens the document once more from its start, with its size in bytes
// (-1: not known).
type Source func() (io.ReadCloser, int64, error)

// Error says why a job was not delivered.
type Error struct {
	// Temporary says that the same attempt may succeed later: unreachable, busy, too slow.
	Temporary bool
	// Reached says that the printer may have got the job all the same.
	Reached bool
	Reason  string // a short sentence for the user, without secrets
	Cause   error  // for the log; may be nil
}

// Error is the reason. The cause is reached by errors.Unwrap.
func (e *Error) Error() string { return "printer: " + e.Reason }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Temporary tells whether another attempt makes sense. It does after every error
// that is not known to be for good.
func Temporary(err error) bool {
	var e *Error
	return !errors.As(err, &e) || e.Temporary
}

// Reached tells whether the printer may have got the job in spite of an error.
func Reached(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reached
}

// Reason is the public reason in err's chain, or a general one.
func Reason(err error) string {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Reason
	case errors.Is(err, context.DeadlineExceeded):
		return "the printer took too long"
	}
	return "the document could not be delivered"
}

// carrier holds the times that a delivery allows. Tests shorten them.
type carrier struct {
	dial   time.Duration // until a connection stands
	stall  time.Duration // without a byte going either way: no paper, perhaps
	settle time.Duration // for a raw printer to close the connection after the end
	poll   time.Duration // between the first looks at a job; grows
	slow   time.Duration // up to this
}

var standard = carrier{dial: 10 * time.Second, stall: 3 * time.Minute, settle: 5 * time.Second, poll: 500 * time.Millisecond, slow: 5 * time.Second}

// Deliver brings a job to a printer and waits until the printer has taken it, IPP
// until it is printed, as long as ctx lasts. Errors: *Error; what open fails with,
// wrapped, which counts as temporary.
func Deliver(ctx context.Context, target Target, job Job, open Source) (Receipt, error) {
	return standard.deliver(ctx, target, job, open)
}

func (c carrier) deliver(ctx context.Context, target Target, job Job, open Source) (Receipt, error) {
	if err := Check(target); err != nil {
		return Receipt{}, &Error{Reason: err.Error()}
	}
	job.Copies = max(job.Copies, 1)
	if job.Format == "" {
		job.Format = "application/octet-stream"
	}
	switch target.Protocol {
	case TCP:
		return c.raw(ctx, target, job, open)
	case IPP:
		return c.ipp(ctx, target, job, open)
	case Spooler:
		return spool(ctx, target.Address, job, open)
	}
	return discard(ctx, job, open)
}

// Check tells what is wrong with a target, in words for its administrator. It
// doesn't connect.
func Check(target Target) error {
	switch target.Protocol {
	case TCP:
		_, err := dialAddress(target.Address)
		return err
	case IPP:
		_, err := parseURL(target.URL)
		return err
	case Spooler:
		return checkQueue(target.Address)
	case Dummy:
		return nil
	}
	return fmt.Errorf("the protocol %q is not known", target.Protocol)
}

// dialAddress adds the default port.
func dialAddress(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "9100"
	}
	// More than one colon belongs to an IPv6 address, which must be one.
	if host == "" || port == "" || strings.ContainsAny(host, " /@?#[]") || strings.Contains(host, ":") && net.ParseIP(withoutZone(host)) == nil {
		return "", errors.New("the printer's address must be a host, or a host and a port")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", errors.New("the printer's port is not one")
	}
	return net.JoinHostPort(host, port), nil
}

func withoutZone(host string) string {
	host, _, _ = strings.Cut(host, "%")
	return host
}

func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("the printer's URL must look like ipp://host/ipp/print") // err repeats it
	}
	switch u.Scheme {
	case "ipp", "ipps", "http", "https":
	default:
		return nil, errors.New("the printer's URL must begin with ipp://, ipps://, http:// or https://")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/ipp/print"
	}
	u.Fragment = ""
	return u, nil
}

func checkQueue(name string) error {
	if name == "" || len(name) > 127 || name[0] == '-' || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 127 || r == '/' || r == '#' }) {
		return errors.New("the name of the queue is not one")
	}
	return nil
}

// discard is the delivery to a dummy.
func discard(ctx context.Context, job Job, open Source) (Receipt, error) {
	d, err := openDocument(ctx, open)
	if err != nil {
		return Receipt{}, err
	}
	defer d.Close()
	if _, err := io.Copy(io.Discard, d); err != nil {
		return Receipt{}, fmt.Errorf("printer: document: %w", err)
	}
	return Receipt{PrinterJob: "dummy-" + job.ID, Bytes: d.sent, Confirmed: true}, nil
}

// document is what is being sent. It ends with ctx, and notices if it is shorter or
// longer than it was said to be.
type document struct {
	io.ReadCloser
	ctx  context.Context
	size int64
	sent int64
	err  error // of the document, rather than of who reads it
}

func openDocument(ctx context.Context, open Source) (*document, error) {
	content, size, err := open()
	if err != nil {
		return nil, fmt.Errorf("printer: document: %w", err)
	}
	return &document{ReadCloser: content, ctx: ctx, size: size}, nil
}

func (d *document) Read(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		d.err = err
		return 0, err
	}
	n, err := d.ReadCloser.Read(p)
	d.sent += int64(n)
	ended := errors.Is(err, io.EOF)
	if d.size >= 0 && (d.sent > d.size || ended && d.sent < d.size) {
		ended = false
		err = fmt.Errorf("document of %d bytes has another size: %w", d.size, io.ErrUnexpectedEOF)
	}
	if err != nil && !ended {
		d.err = err
	}
	return n, err
}
