package query

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/jackc/pgx/v5"
)

// chunk is how many bytes Stream gathers before it writes.
const chunk = 32 << 10

// Stream writes all rows that match, in order, as a JSON array. It holds one
// chunk in memory however many rows there are, and returns how many there
// were. After an error w holds half an array: over HTTP the connection must be
// cut, which Respond does.
func (rd *Reader) Stream(ctx context.Context, w io.Writer, req Request) (int64, error) {
	n := int64(0)
	buf := append(make([]byte, 0, chunk+4096), '[')
	err := rd.stream(ctx, req, func(raw [][]byte) error {
		if n > 0 {
			buf = append(buf, ',')
		}
		n++
		buf = req.Shape.append(buf, RawRow{raw: raw, Env: req.Env})
		if len(buf) < chunk {
			return nil
		}
		_, err := w.Write(buf)
		buf = buf[:0]
		return err
	})
	if err != nil {
		return n, err
	}
	_, err = w.Write(append(buf, ']'))
	return n, err
}

// Respond streams all rows that match as an HTTP answer: before, the array,
// and what after gives for the number of rows. An error before the first byte
// is returned, for the caller to render; later the connection is cut
// (http.ErrAbortHandler), since a list that ends early must not look whole.
func (rd *Reader) Respond(ctx context.Context, w http.ResponseWriter, req Request, before []byte, after func(rows int64) []byte) error {
	lazy := &lazyWriter{w: w, before: before}
	n, err := rd.Stream(ctx, lazy, req)
	if err == nil {
		_, err = lazy.Write(after(n))
	}
	if err != nil && lazy.started {
		panic(http.ErrAbortHandler)
	}
	return err
}

// lazyWriter writes nothing before the first chunk is there.
type lazyWriter struct {
	w       io.Writer
	before  []byte
	started bool
}

func (l *lazyWriter) Write(p []byte) (int, error) {
	if !l.started {
		l.started = true
		if _, err := l.w.Write(l.before); err != nil {
			return 0, err
		}
	}
	return l.w.Write(p)
}

// stream hands all rows that match to each, from one snapshot.
func (rd *Reader) stream(ctx context.Context, req Request, each rowFunc) error {
	q, err := rd.plan(ctx, req)
	if err != nil || q.nothing() {
		return err
	}
	return againIfOutdated(each, func(each rowFunc) error { return rd.streamPlan(ctx, q, each) })
}

func (rd *Reader) streamPlan(ctx context.Context, q *plan, each rowFunc) error {
	// Cancelled before the rows are closed, so that giving up does not read the
	// rest of them.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tx, err := rd.pool.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return storageFault(err)
	}
	// Nothing was written: ending by rollback loses nothing, and its error
	// says nothing about the rows.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// A slow reader must not run into the statement timeout; ctx bounds it.
	settings := "set local statement_timeout = 0"
	if q.direct() {
		// Following the index shows the first row at once; sorting does not.
		settings += "; set local enable_sort = off"
	}
	if _, err := tx.Exec(ctx, settings, pgx.QueryExecModeSimpleProtocol); err != nil {
		return storageFault(fmt.Errorf("query: prepare to stream: %w", err))
	}
	s := rd.statement()
	s.page(q, true, func() { s.ordered(q, q.order, q.filter, nil, true, -1, 0) })
	n := len(q.shape.columns())
	return rd.query(ctx, tx, s, func(raw [][]byte) error {
		err := each(raw[:n])
		if err != nil {
			cancel()
		}
		return err
	})
}
