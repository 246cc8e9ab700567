package printer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// conn is a connection that fails when nothing moves for a while. It hides the
// shortcuts of a TCPConn, which would pass the deadlines by.
type conn struct {
	net.Conn
	stall time.Duration
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write puts off the deadline of a Read, too: whoever waits for an answer waits for
// the question to be out.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c carrier) connect(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: c.dial}
	connection, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &conn{connection, c.stall}, nil
}

// connectionError says what a failure of the network means to the user. reached
// says that part of the document was on its way.
func connectionError(err error, reached bool) *Error {
	var lookup *net.DNSError
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &certificate):
		return &Error{Reason: "the printer's certificate is not trusted", Cause: err}
	case errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return &Error{Reason: "the printer does not speak TLS", Cause: err}
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return &Error{Temporary: true, Reason: "the printer's host name is not known", Cause: err}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Temporary: true, Reached: reached, Reason: "the printer refuses connections", Cause: err}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Temporary: true, Reached: reached, Reason: "the printer broke off the connection", Cause: err}
	case timedOut(err):
		reason := "the printer does not answer"
		if reached {
			reason = "the printer has stopped taking data"
		}
		return &Error{Temporary: true, Reached: reached, Reason: reason, Cause: err}
	}
	return &Error{Temporary: true, Reached: reached, Reason: "the printer cannot be reached", Cause: err}
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
