package embedded

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
)

// plainHTTP tells callers of the HTTP interface, which is not offered, so in words instead of cutting them off.
type plainHTTP struct{ net.Listener }

func (l plainHTTP) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &sniffed{Conn: c}, nil
}

// sniffed looks at the first line of a connection: gRPC begins with "PRI * HTTP/2.0".
type sniffed struct {
	net.Conn
	once sync.Once
	rest io.Reader
	err  error
}

const noHTTP = "The embedded event store does not offer the HTTP interface. It speaks gRPC here; use an EventStoreDB client.\n"

func (c *sniffed) Read(b []byte) (int, error) {
	c.once.Do(c.sniff)
	if c.err != nil {
		return 0, c.err
	}
	return c.rest.Read(b)
}

// Write waits for the first line too: a gRPC server greets before it has read anything, which no caller of HTTP would
// understand.
func (c *sniffed) Write(b []byte) (int, error) {
	c.once.Do(c.sniff)
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Write(b)
}

// sniff reads no further than what tells the two apart.
func (c *sniffed) sniff() {
	start := make([]byte, 4)
	n, err := io.ReadFull(c.Conn, start)
	if err != nil && n == 0 {
		c.err = err
		return
	}
	c.rest = io.MultiReader(bytes.NewReader(start[:n]), c.Conn)
	switch string(start[:n]) {
	case "GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC":
		c.refuse()
	}
}

// refuse answers 501 once the request's head is there.
func (c *sniffed) refuse() {
	head := bufio.NewReader(io.LimitReader(c.rest, 64<<10))
	for {
		line, err := head.ReadString('\n')
		if err != nil || line == "\n" || line == "\r\n" {
			break
		}
	}
	_, c.err = fmt.Fprintf(c.Conn, "HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(noHTTP), noHTTP)
	if c.err == nil {
		c.err = io.EOF
	}
}
