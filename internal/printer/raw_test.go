package printer

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listen serves connections one after the other and gives the printer's address.
func listen(t *testing.T, serve func(c *net.TCPConn)) Target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c.(*net.TCPConn))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return Target{Protocol: TCP, Address: l.Addr().String()}
}

// recorder is a raw printer that gives what it has read.
func recorder(t *testing.T) (Target, <-chan string) {
	got := make(chan string, 1)
	return listen(t, func(c *net.TCPConn) {
		data, _ := io.ReadAll(c)
		got <- string(data)
	}), got
}

func TestRawBare(t *testing.T) {
	target, got := recorder(t)
	content := strings.Repeat("page ", 100_000)
	receipt, err := quick.deliver(t.Context(), target, Job{Name: "x", Format: "application/pdf"}, from(content))
	require.NoError(t, err)
	require.Equal(t, Receipt{Bytes: 500_000}, receipt)
	require.Equal(t, content, <-got)
	receipt, err = quick.deliver(t.Context(), target, Job{}, stream(0))
	require.NoError(t, err)
	require.Zero(t, receipt)
	require.Empty(t, <-got)
}

func TestRawOptions(t *testing.T) {
	target, got := recorder(t)
	job := Job{Name: "Q3 \"figures\"\r\n@PJL RESET \x1b é", Format: "application/pdf", Copies: 2, Duplex: LongEdge, Grayscale: true, Media: "a4"}
	receipt, err := quick.deliver(t.Context(), target, job, from("%PDF-1.7"))
	require.NoError(t, err)
	require.Equal(t, Receipt{Bytes: 8}, receipt)
	require.Equal(t, "\x1b%-12345X@PJL\r\n@PJL JOB NAME=\"Q3 _figures___@PJL RESET _ _\"\r\n@PJL SET QTY=2\r\n@PJL SET DUPLEX=ON\r\n@PJL SET BINDING=LONGEDGE\r\n"+
		"@PJL SET RENDERMODE=GRAYSCALE\r\n@PJL SET PAPER=A4\r\n@PJL ENTER LANGUAGE=PDF\r\n%PDF-1.7\x1b%-12345X@PJL EOJ\r\n\x1b%-12345X", <-got)

	// Where PJL does not fit, the document goes out as it is, and the receipt says so.
	all := []string{"copies", "duplex", "grayscale", "media"}
	for name, variant := range map[string]func(*Job, *Target) string{
		"a driver's data":  func(j *Job, _ *Target) string { j.Format = ""; return "x" },
		"PJL of its own":   func(j *Job, _ *Target) string { return uel + "@PJL" },
		"printer without":  func(_ *Job, target *Target) string { target.NoPJL = true; return "x" },
		"unknown language": func(j *Job, _ *Target) string { j.Format = "image/png"; return "x" },
	} {
		job, target := job, target
		content := variant(&job, &target)
		receipt, err := quick.deliver(t.Context(), target, job, from(content))
		require.NoError(t, err, name)
		require.Equal(t, all, receipt.Ignored, name)
		require.Equal(t, content, <-got, name)
	}
}

func TestRawIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("NOT TESTED: raw printing over IPv6, which this machine lacks: ", err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	receipt, err := quick.deliver(t.Context(), Target{Protocol: TCP, Address: l.Addr().String()}, Job{}, from("x"))
	require.NoError(t, err)
	require.EqualValues(t, 1, receipt.Bytes)
}

func TestRawUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	_, err = quick.deliver(t.Context(), Target{Protocol: TCP, Address: l.Addr().String()}, Job{}, from("x"))
	e := requireError(t, err, true, "refuses connections")
	require.False(t, e.Reached)
	require.NotContains(t, e.Reason, "127.0.0.1")
}

// A printer without paper takes no more data.
func TestRawStalls(t *testing.T) {
	over := make(chan struct{})
	target := listen(t, func(c *net.TCPConn) { <-over })
	defer close(over)
	c := quick
	c.stall = 100 * time.Millisecond
	_, err := c.deliver(t.Context(), target, Job{}, stream(64<<20))
	e := requireError(t, err, true, "stopped taking data")
	require.True(t, e.Reached)
}

func TestRawResets(t *testing.T) {
	target := listen(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1000))
		c.SetLinger(0)
	})
	_, err := quick.deliver(t.Context(), target, Job{}, stream(64<<20))
	e := requireError(t, err, true, "broke off")
	require.True(t, e.Reached)
	// Also after the last byte, while the printer is waited for.
	target = listen(t, func(c *net.TCPConn) {
		io.Copy(io.Discard, c)
		c.SetLinger(0)
	})
	_, err = quick.deliver(t.Context(), target, Job{}, from("x"))
	requireError(t, err, true, "broke off")
}

// A printer that keeps the connection open is not waited for forever.
func TestRawDoesNotClose(t *testing.T) {
	over := make(chan struct{})
	target := listen(t, func(c *net.TCPConn) {
		io.Copy(io.Discard, c)
		io.WriteString(c, "@PJL USTATUS\r\n")
		<-over
	})
	defer close(over)
	c := quick
	c.settle = 50 * time.Millisecond
	receipt, err := c.deliver(t.Context(), target, Job{}, from("x"))
	require.NoError(t, err)
	require.EqualValues(t, 1, receipt.Bytes)
}

func TestRawEndsWithItsContext(t *testing.T) {
	over := make(chan struct{})
	target := listen(t, func(c *net.TCPConn) { <-over })
	defer close(over)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := quick.deliver(ctx, target, Job{}, stream(64<<20))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, Temporary(err))
	require.True(t, Reached(err))
}

// The printer must not take half a document for a whole one.
func TestRawDocumentBreaksOff(t *testing.T) {
	end := make(chan error, 1)
	target := listen(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		end <- err
	})
	_, err := quick.deliver(t.Context(), target, Job{}, broken)
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, <-end, "reset")
}
