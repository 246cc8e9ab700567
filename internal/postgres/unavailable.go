package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// IsUnavailable reports whether a database call failed because the server
// could not be reached or could not serve it now, so that the same call may
// succeed later: no connection, a connection lost, a server that is starting,
// stopping or full, a statement that ran out of time. The answer to the caller
// is then 503. A call given up by its own caller (context.Canceled) is not
// that. Whether a lost commit took effect is not known.
func IsUnavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var server *pgconn.PgError
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return true // a refused password as well: nothing the caller can mend
	}
	if errors.As(err, &server) {
		return isUnavailableCode(server.Code)
	}
	for _, sign := range []error{
		context.DeadlineExceeded, os.ErrDeadlineExceeded, // also: no free connection in time
		puddle.ErrClosedPool, pgconn.ErrConnClosed, net.ErrClosed,
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENOTCONN,
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	var network net.Error
	return errors.As(err, &network) || pgconn.Timeout(err)
}

// isUnavailableCode sorts PostgreSQL's error codes ("Appendix A. PostgreSQL
// Error Codes" of its manual).
func isUnavailableCode(code string) bool {
	switch code {
	case "57014", // query_canceled: statement_timeout
		"57P01", "57P02", "57P03", "57P05", // admin and crash shutdown, cannot connect now, idle session
		"25006", // read_only_sql_transaction: a standby during a failover
		"25P03": // idle_in_transaction_session_timeout
		return true
	}
	if len(code) < 2 {
		return false
	}
	return code[:2] == "08" || code[:2] == "53" // connection exceptions, insufficient resources
}

// readable reports whether reading from an idle connection would return
// something: data, the end or an error.
func readable(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return true // unknown: have it asked
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return true
	}
	quiet := false
	err = control.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
	})
	return err != nil || !quiet
}
