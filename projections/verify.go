package projections

import (
	"context"
	"fmt"
	"strings"
	"time"

	"docket/eventstore"
	"github.com/jackc/pgx/v5"
)

// maxExamples bounds the differences a report lists.
const maxExamples = 100

// Report is the outcome of Verify.
type Report struct {
	Group       string
	Version     string
	Position    eventstore.Position // at which live and rebuilt tables were compared
	Rows        int64               // live rows, counts included
	Differences int64
	Examples    []Difference // the first of them
	Took        time.Duration
}

// Difference is a row that is not what the log says.
type Difference struct {
	Table   string
	Key     string   // parts of the primary key with slashes between
	Kind    string   // "extra" (only live), "missing" (only rebuilt) or "different"
	Columns []string // that differ; never their values, which may be personal data
}

// Verify builds a group's tables anew beside the live ones and compares them row
// by row, counts included, at the same position. Live updates wait only while
// the last few events are brought in. It leaves nothing behind.
func (e *Engine) Verify(ctx context.Context, group string) (Report, error) {
	r, err := e.runner(group)
	if err != nil {
		return Report{}, err
	}
	b, err := r.newBuilder(ctx, verifySchema(group), nil)
	if err != nil {
		return Report{}, err
	}
	defer b.close()
	defer b.discard()
	report := Report{Group: group, Version: r.group.version}
	if err := b.fillToLive(); err != nil {
		return report, err
	}
	tx, err := b.snapshot()
	if err != nil {
		return report, err
	}
	report.Position = b.position
	b.tell("comparing", true)
	err = b.compareAll(tx, &report)
	report.Took = time.Since(b.done.Started)
	// Nothing was written; ending the snapshot lets the tables be dropped.
	if end := tx.Rollback(context.WithoutCancel(ctx)); err == nil {
		err = end
	}
	return report, err
}

// live reads the live checkpoint, which must be of this version.
func (b *builder) live() (*checkpoint, error) {
	c, err := readCheckpoint(b.ctx, b.conn, b.group.name)
	if err == nil && (c == nil || c.version != b.group.version) {
		return nil, fmt.Errorf("projections: group %s has no live tables of version %s", b.group.name, b.group.version)
	}
	return c, err
}

// fillToLive builds the tables almost up to where the live ones are.
func (b *builder) fillToLive() error {
	c, err := b.live()
	if err != nil {
		return err
	}
	if err := b.fill(c.position); err != nil {
		return err
	}
	for n := nearEnough; n >= nearEnough; {
		if c, err = b.live(); err != nil {
			return err
		}
		if n, err = b.pass(c.position); err != nil {
			return err
		}
	}
	return nil
}

// snapshot brings the tables to exactly where the live ones are, holding live
// writing up for that moment, and returns a transaction that sees both so.
func (b *builder) snapshot() (tx pgx.Tx, err error) {
	conn, err := b.engine.connect(b.ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn) // this is what lets live writing go on
	hold, err := conn.Begin(b.ctx)
	if err != nil {
		return nil, err
	}
	position, err := b.holdLive(hold, b.group.version)
	if err != nil {
		return nil, err
	}
	if _, err := b.pass(position); err != nil {
		return nil, err
	}
	b.position = position
	if tx, err = b.conn.BeginTx(b.ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		return nil, err
	}
	// The first statement takes the snapshot. Whole tables are joined from here.
	_, err = tx.Exec(b.ctx, `select set_config(name, 'on', true) from unnest(array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) name`)
	if err != nil {
		_ = tx.Rollback(context.WithoutCancel(b.ctx)) // the connection is closed by our caller in any case
	}
	return tx, err
}

func (b *builder) compareAll(tx pgx.Tx, report *Report) error {
	for _, t := range b.group.tables {
		names := make([]string, len(t.columns))
		for i, c := range t.columns {
			names[i] = c.name
		}
		if err := b.compare(tx, report, t.name, strings.Split(columnNames(t.pk, ""), ", "), names); err != nil {
			return err
		}
	}
	return b.compare(tx, report, countersTable, []string{"table_name", "key"}, []string{"table_name", "key", "n"})
}

// compare finds the rows of a table that differ between the live and the
// builder's schema.
func (b *builder) compare(tx pgx.Tx, report *Report, table string, pk, columns []string) error {
	live, rebuilt := liveSchema(b.group.name)+"."+table, b.schema+"."+table
	var rows int64
	if err := tx.QueryRow(b.ctx, "select count(*) from "+live).Scan(&rows); err != nil {
		return err
	}
	report.Rows += rows
	var on, keys, differ []string
	for _, k := range pk {
		on = append(on, fmt.Sprintf("l.%[1]s = r.%[1]s", k))
		keys = append(keys, fmt.Sprintf("coalesce(l.%[1]s, r.%[1]s)", k))
	}
	for _, c := range columns {
		differ = append(differ, fmt.Sprintf("case when l.%[1]s is distinct from r.%[1]s then '%[1]s' end", c))
	}
	sql := fmt.Sprintf(`select concat_ws('/', %[3]s),
			case when r.%[6]s is null then 'extra' when l.%[6]s is null then 'missing' else 'different' end,
			array_remove(array[%[4]s], null)
		from %[1]s l full join %[2]s r on %[5]s where row(l.*) is distinct from row(r.*) order by 1`,
		live, rebuilt, strings.Join(keys, ", "), strings.Join(differ, ", "), strings.Join(on, " and "), pk[0])
	found, err := tx.Query(b.ctx, sql)
	if err != nil {
		return err
	}
	d := Difference{Table: table}
	_, err = pgx.ForEachRow(found, []any{&d.Key, &d.Kind, &d.Columns}, func() error {
		if report.Differences++; len(report.Examples) < maxExamples {
			one := d
			if one.Columns = nil; one.Kind == "different" {
				one.Columns = append(one.Columns, d.Columns...)
			}
			report.Examples = append(report.Examples, one)
		}
		return nil
	})
	return err
}
