package projections

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"

	"docket/eventstore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sink reads and writes the tables of one group in one schema over one
// connection.
type sink struct {
	ctx        context.Context
	conn       *pgx.Conn
	group      *Group
	schema     string
	statements []*statements
	// careful lists tables where a put met a row that was not expected; from
	// then on their rows are fetched before puts.
	careful map[*core]bool
}

func newSink(ctx context.Context, conn *pgx.Conn, g *Group, schema string) *sink {
	s := &sink{ctx: ctx, conn: conn, group: g, schema: schema, careful: map[*core]bool{}}
	for _, t := range g.tables {
		s.statements = append(s.statements, newStatements(t, schema))
	}
	return s
}

// byKey implements loader.
func (s *sink) byKey(t *core, keys []key) ([]any, error) {
	rows, err := s.conn.Query(s.ctx, s.statements[t.place].selectByKey, keyArgs(t, keys)...)
	if err != nil {
		return nil, err
	}
	return scan(t, rows)
}

// byColumn implements loader.
func (s *sink) byColumn(t *core, c *column, value any) ([]any, error) {
	rows, err := s.conn.Query(s.ctx, s.statements[t.place].selectBy[c.name], value)
	if err != nil {
		return nil, err
	}
	return scan(t, rows)
}

// mayMeet implements loader.
func (s *sink) mayMeet(t *core) bool { return s.careful[t] }

func keyArgs(t *core, keys []key) []any {
	args := make([]any, len(t.pk))
	for i := range t.pk {
		args[i] = keyCells{i, keys}
	}
	return args
}

func scan(t *core, rows pgx.Rows) ([]any, error) {
	defer rows.Close()
	var out []any
	for rows.Next() {
		row := reflect.New(t.rowType)
		if err := rows.Scan(t.targets(row.Elem())...); err != nil {
			return nil, err
		}
		out = append(out, row.Interface())
	}
	return out, rows.Err()
}

// begin is a fold that holds what the items are known to need.
func (s *sink) begin(items []item) (*fold, error) {
	w := newWants(s.group, s.careful)
	for i := range items {
		w.plan(&items[i])
	}
	f := newFold(s.group, s)
	b := &pgx.Batch{}
	for i, c := range f.tables {
		keys := w.keys(c.t)
		if len(keys) == 0 {
			continue
		}
		b.Queue(s.statements[i].selectByKey, keyArgs(c.t, keys)...).Query(func(rows pgx.Rows) error {
			found, err := scan(c.t, rows)
			if err != nil {
				return err
			}
			c.admit(found)
			for _, k := range keys {
				c.known(k)
			}
			return nil
		})
	}
	if b.Len() == 0 {
		return f, nil
	}
	return f, s.conn.SendBatch(s.ctx, b).Close()
}

// errUnexpectedRow says that a put met an existing row; the sink has learned it
// and the batch must be done again.
var errUnexpectedRow = errors.New("a row exists that was taken as new")

// write sends a fold's changes, after the statements queued by before, as one
// transaction in one round trip. It returns how many rows changed.
func (s *sink) write(f *fold, to eventstore.Position, before func(*pgx.Batch, eventstore.Position)) (int, error) {
	b := &pgx.Batch{}
	if before != nil {
		before(b, to)
	}
	for _, op := range f.ops {
		sql, args := op.sql(s.schema)
		b.Queue(sql, args...)
	}
	deltas, rows := map[counter]int64{}, 0
	for i, c := range f.tables {
		rows += s.queueRows(b, s.statements[i], c, deltas)
	}
	s.queueCounts(b, f, deltas)
	if b.Len() == 0 {
		return 0, nil
	}
	return rows, s.explain(s.conn.SendBatch(s.ctx, b).Close())
}

// queueRows queues the changed rows of a table.
func (s *sink) queueRows(b *pgx.Batch, sql *statements, c *cache, deltas map[counter]int64) int {
	var gone []key
	var fresh, changed []any
	for _, e := range c.rows {
		if !e.dirty || e.now == nil && e.old == nil {
			continue
		}
		switch {
		case e.now == nil:
			gone = append(gone, e.key)
		case e.old == nil:
			fresh = append(fresh, e.now)
		case c.t.equal(e.old, e.now):
			continue
		default:
			changed = append(changed, e.now)
		}
		c.t.count(deltas, e.old, -1)
		c.t.count(deltas, e.now, 1)
	}
	if len(gone) > 0 {
		b.Queue(sql.deleteByKey, keyArgs(c.t, gone)...)
	}
	queueAll(b, sql.insert, c.t, fresh)
	queueAll(b, sql.upsert, c.t, changed)
	return len(gone) + len(fresh) + len(changed)
}

func queueAll(b *pgx.Batch, sql string, t *core, rows []any) {
	if len(rows) == 0 {
		return
	}
	args := make([]any, len(t.columns))
	for i, col := range t.columns {
		args[i] = cells{col, rows}
	}
	b.Queue(sql, args...)
}

// queueCounts queues the changes of counts and drops counts of zero.
func (s *sink) queueCounts(b *pgx.Batch, f *fold, deltas map[counter]int64) {
	maps.DeleteFunc(deltas, func(_ counter, n int64) bool { return n == 0 })
	var tables, keys, gone, goneKeys []string
	var counts []int64
	for c, n := range deltas {
		tables, keys, counts = append(tables, c.table), append(keys, c.key), append(counts, n)
		if n < 0 {
			gone, goneKeys = append(gone, c.table), append(goneKeys, c.key)
		}
	}
	if len(tables) > 0 {
		b.Queue("insert into "+s.schema+".counters as c (table_name, key, n) select * from unnest($1::text[], $2::text[], $3::bigint[])"+
			" on conflict (table_name, key) do update set n = c.n + excluded.n", tables, keys, counts)
	}
	if len(gone) > 0 {
		b.Queue("delete from "+s.schema+".counters c using unnest($1::text[], $2::text[]) as k(table_name, key)"+
			" where c.table_name = k.table_name and c.key = k.key and c.n = 0", gone, goneKeys)
	}
	var operated []string
	for _, op := range f.ops {
		if !slices.Contains(operated, op.table.name) {
			operated = append(operated, op.table.name)
		}
	}
	if len(operated) > 0 {
		b.Queue("delete from "+s.schema+".counters where table_name = any($1::text[]) and n = 0", operated)
	}
}

// explain recognises a put on an existing row.
func (s *sink) explain(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "23505" || pg.SchemaName != s.schema {
		return err
	}
	for _, t := range s.group.tables {
		if t.name == pg.TableName && pg.ConstraintName == t.keyName() && !s.careful[t] {
			s.careful[t] = true
			return errUnexpectedRow
		}
	}
	return err
}

// copyAll brings the rows of a whole fold, and their counts, into empty tables.
func (s *sink) copyAll(f *fold) error {
	deltas := map[counter]int64{}
	for _, c := range f.tables {
		source := &copySource{t: c.t, rows: make([]any, 0, len(c.rows)), at: -1}
		for _, e := range c.rows {
			if e.now != nil {
				source.rows = append(source.rows, e.now)
				c.t.count(deltas, e.now, 1)
			}
		}
		names := make([]string, len(c.t.columns))
		for i, col := range c.t.columns {
			names[i] = col.name
		}
		if _, err := s.conn.CopyFrom(s.ctx, pgx.Identifier{s.schema, c.t.name}, names, source); err != nil {
			return err
		}
	}
	b := &pgx.Batch{}
	s.queueCounts(b, f, deltas)
	if b.Len() == 0 {
		return nil
	}
	return s.conn.SendBatch(s.ctx, b).Close()
}

// copySource hands rows to COPY.
type copySource struct {
	t    *core
	rows []any
	at   int
}

func (c *copySource) Next() bool { c.at++; return c.at < len(c.rows) }

func (c *copySource) Err() error { return nil }

func (c *copySource) Values() ([]any, error) {
	row := reflect.ValueOf(c.rows[c.at]).Elem()
	values := make([]any, len(c.t.columns))
	for i, col := range c.t.columns {
		if values[i] = col.parameter(row.FieldByIndex(col.field)); col.form == array {
			values[i] = col.list(row.FieldByIndex(col.field))
		}
	}
	return values, nil
}
