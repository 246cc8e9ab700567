package projections

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"docket/eventstore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// applier brings batches of events into tables.
type applier struct {
	sink *sink
	// before queues statements that belong into the same transaction as the
	// rows. It may be nil, like done.
	before func(b *pgx.Batch, to eventstore.Position)
	done   func(commit)
}

// commit is a finished transaction.
type commit struct {
	items []item
	to    eventstore.Position
	rows  int
	took  time.Duration
}

// process applies events and commits them together with the position after
// them. When that fails because of an event, all before it are committed and
// the event is named.
func (a *applier) process(items []item, to eventstore.Position) error {
	start := time.Now()
	fold, err := a.sink.begin(items)
	for i := 0; err == nil && i < len(items); i++ {
		if err = fold.apply(&items[i]); err == nil {
			continue
		}
		var poison *eventError
		named := errors.As(err, &poison)
		if i == 0 && errors.Is(err, errCut) {
			return &eventError{items[0].rec.Recorded, err}
		}
		if !named && !errors.Is(err, errCut) {
			break
		}
		if i > 0 {
			if before := a.process(items[:i], items[i-1].position); before != nil {
				return before
			}
		}
		if named {
			return err
		}
		return a.inSteps(items[i:], to, 2*i)
	}
	rows := 0
	if err == nil {
		rows, err = a.sink.write(fold, to, a.before)
	}
	if err != nil {
		return a.failed(err, items, to)
	}
	if a.done != nil {
		a.done(commit{items, to, rows, time.Since(start)})
	}
	return nil
}

// inSteps processes items in smaller batches.
func (a *applier) inSteps(items []item, to eventstore.Position, size int) error {
	for len(items) > size {
		if err := a.process(items[:size], items[size-1].position); err != nil {
			return err
		}
		items = items[size:]
	}
	return a.process(items, to)
}

// failed deals with an error of the database about a batch. One that the data
// cause is narrowed down to an event by halving.
func (a *applier) failed(err error, items []item, to eventstore.Position) error {
	switch {
	case fenced(err):
		return errFenced
	case errors.Is(err, errUnexpectedRow):
		return a.process(items, to)
	case a.sink.conn.IsClosed() || a.sink.ctx.Err() != nil || curable(err):
		return err
	case len(items) == 1:
		return &eventError{items[0].rec.Recorded, publicCause(err)}
	}
	return a.inSteps(items, to, (len(items)+1)/2)
}

// publicCause leaves out what the database says about values: they may be
// personal data.
func publicCause(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	message := pg.Message
	if strings.HasPrefix(pg.Code, "22") { // data exceptions quote the value
		message = "the database refuses a value"
	}
	return fmt.Errorf("SQLSTATE %s: %s", pg.Code, strings.Join([]string{message, pg.TableName, pg.ColumnName, pg.ConstraintName}, " "))
}
