package printer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// raw writes a job to a TCP port. Such a printer answers nothing that could be
// relied on: that it took the bytes and closed properly is all there is to know.
func (c carrier) raw(ctx context.Context, target Target, job Job, open Source) (Receipt, error) {
	address, err := dialAddress(target.Address)
	if err != nil {
		return Receipt{}, err
	}
	d, err := openDocument(ctx, open)
	if err != nil {
		return Receipt{}, err
	}
	defer d.Close()
	connection, err := c.connect(ctx, "tcp", address)
	if err != nil {
		return Receipt{}, connectionError(err, false)
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { connection.Close() })
	defer stop()

	content := bufio.NewReader(d)
	prolog, epilog, ignored := wrap(target, job, content)
	_, err = io.Copy(connection, io.MultiReader(strings.NewReader(prolog), content, strings.NewReader(epilog)))
	switch {
	case d.err != nil && ctx.Err() == nil:
		// Closing as usual would look like the end of the document.
		return Receipt{}, errors.Join(fmt.Errorf("printer: document: %w", d.err), tcp(connection).SetLinger(0))
	case err == nil:
		err = c.finish(tcp(connection))
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return Receipt{}, connectionError(err, d.sent > 0)
	}
	return Receipt{Bytes: d.sent, Ignored: ignored}, nil
}

func tcp(c net.Conn) *net.TCPConn { return c.(*conn).Conn.(*net.TCPConn) }

// finish ends the stream and gives the printer time to take it and close.
func (c carrier) finish(printer *net.TCPConn) error {
	if err := printer.CloseWrite(); err != nil {
		return err
	}
	end := time.Now().Add(c.settle)
	status := make([]byte, 1024) // what it says on the way
	for {
		if err := printer.SetReadDeadline(end); err != nil {
			return err
		}
		_, err := printer.Read(status)
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// uel ends one language and begins PJL.
const uel = "\x1b%-12345X"

// pjlLanguages are the formats that may be wrapped. What a driver has made
// (application/octet-stream) brings its own.
var pjlLanguages = map[string]string{
	"application/pdf": "PDF", "application/postscript": "POSTSCRIPT", "application/vnd.hp-PCL": "PCL", "application/vnd.hp-PCLXL": "PCLXL",
}

// wrap gives what to send before and after a document so that its options hold,
// and the options that cannot be said so. A job without options is sent bare.
func wrap(target Target, job Job, content *bufio.Reader) (prolog, epilog string, ignored []string) {
	var settings []string
	add := func(option, lines string) {
		settings = append(settings, lines)
		ignored = append(ignored, option)
	}
	if job.Copies > 1 {
		add("copies", fmt.Sprintf("@PJL SET QTY=%d\r\n", job.Copies))
	}
	switch job.Duplex {
	case LongEdge:
		add("duplex", "@PJL SET DUPLEX=ON\r\n@PJL SET BINDING=LONGEDGE\r\n")
	case ShortEdge:
		add("duplex", "@PJL SET DUPLEX=ON\r\n@PJL SET BINDING=SHORTEDGE\r\n")
	case Simplex:
		settings = append(settings, "@PJL SET DUPLEX=OFF\r\n")
	}
	if job.Grayscale {
		add("grayscale", "@PJL SET RENDERMODE=GRAYSCALE\r\n")
	}
	if paper := pjlWord(job.Media); paper != "" {
		add("media", "@PJL SET PAPER="+paper+"\r\n")
	}
	language := pjlLanguages[job.Format]
	start, _ := content.Peek(len(uel)) // a short document is no error here
	if len(settings) == 0 || language == "" || target.NoPJL || bytes.Equal(start, []byte(uel)) {
		return "", "", ignored
	}
	prolog = uel + "@PJL\r\n" + fmt.Sprintf("@PJL JOB NAME=\"%s\"\r\n", pjlText(job.Name)) + strings.Join(settings, "") + "@PJL ENTER LANGUAGE=" + language + "\r\n"
	return prolog, uel + "@PJL EOJ\r\n" + uel, nil
}

// pjlText keeps what PJL allows in a string.
func pjlText(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' {
			return '_'
		}
		return r
	}, text)
	return clean[:min(len(clean), 80)]
}

// pjlWord is a paper's name, or nothing if PJL cannot name it.
func pjlWord(media string) string {
	if strings.ContainsFunc(media, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
		return ""
	}
	if strings.EqualFold(media, "Tabloid") {
		return "LEDGER"
	}
	return strings.ToUpper(media)
}
