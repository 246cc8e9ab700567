package projections

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"docket/eventstore"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	chunkSize  = 512 // events decoded ahead in one piece
	nearEnough = 500 // events left when the last of them may hold up live writing
)

// logEnd stands for the end of the log where a position is asked for.
const logEnd = eventstore.Position(math.MaxUint64)

// Schemas beside the live one. No group name holds a dollar sign.
func shadowSchema(group string) string { return liveSchema(group) + "$new" }
func verifySchema(group string) string { return liveSchema(group) + "$verify" }
func oldSchema(group string) string {
	return fmt.Sprintf("%s$old%d", liveSchema(group), time.Now().UnixMicro())
}

// Progress is how far a rebuild is.
type Progress struct {
	Phase    string // "reading", "indexing", "catching up", "swapping", "comparing"
	Events   int64  // handled so far
	Position eventstore.Position
	Started  time.Time
}

// ErrBusy says that a group is being rebuilt or verified already.
var ErrBusy = errors.New("projections: the group is being rebuilt or verified already")

// Rebuild builds a group's tables anew from the whole log, beside the live ones,
// and swaps them in. Reads and live updates go on meanwhile, in this process or
// another. progress may be nil. The replaced tables are dropped a little later.
func (e *Engine) Rebuild(ctx context.Context, group string, progress func(Progress)) error {
	r, err := e.runner(group)
	if err != nil {
		return err
	}
	b, err := r.newBuilder(ctx, shadowSchema(group), progress)
	if err != nil {
		return err
	}
	defer b.close()
	c, err := readCheckpoint(ctx, b.conn, group)
	if err != nil {
		return err
	}
	if c == nil {
		return fmt.Errorf("projections: group %s has no live tables yet", group)
	}
	if err := b.rebuild(c); err != nil {
		return err
	}
	if _, err := b.conn.Exec(ctx, "select pg_notify($1, $2)", channel, wakeUp(group)); err != nil {
		return fmt.Errorf("projections: rebuilt, but the running engine was not told: %w", err)
	}
	return nil
}

// build makes the first live tables, or those of a new version. Reads of the old
// version go on from tables that stand still.
func (r *runner) build(ctx context.Context, c *checkpoint) (eventstore.Position, error) {
	r.enter(Rebuilding)
	schema := liveSchema(r.group.name) // nothing is there to be disturbed
	if c != nil {
		schema = shadowSchema(r.group.name)
		r.gate.advance(c.position)
		r.gate.giveUp(true)
		r.log.Info("projections: building a changed version", "old", c.version, "new", r.group.version)
	}
	b, err := r.newBuilder(ctx, schema, nil)
	if err != nil {
		return 0, err
	}
	defer b.close()
	if c != nil {
		err = b.rebuild(c)
	} else if err = b.fill(logEnd); err == nil {
		err = b.firstCheckpoint()
	}
	return b.position, err
}

// builder fills the tables of one group in a schema of their own.
type builder struct {
	*runner
	ctx      context.Context
	conn     *pgx.Conn
	schema   string
	skips    map[uuid.UUID]bool
	applier  *applier
	position eventstore.Position // everything up to here is in
	report   func(Progress)
	done     Progress
	reported time.Time
}

// newBuilder connects and makes sure that it is the only builder of the group.
func (r *runner) newBuilder(ctx context.Context, schema string, report func(Progress)) (*builder, error) {
	conn, err := r.engine.connect(ctx)
	if err != nil {
		return nil, err
	}
	b := &builder{runner: r, ctx: ctx, conn: conn, schema: schema, report: report, done: Progress{Started: time.Now()}}
	if err := b.open(); err != nil {
		closeConn(conn)
		return nil, err
	}
	return b, nil
}

func (b *builder) open() error {
	if err := createMetadata(b.ctx, b.conn); err != nil {
		return err
	}
	_, err := b.conn.Exec(b.ctx, "set lock_timeout = '"+lockTimeout+"'")
	if err == nil {
		_, err = b.conn.Exec(b.ctx, "select pg_advisory_lock(hashtextextended($1, 2))", b.group.name)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "55P03" { // lock_not_available
		err = ErrBusy
	}
	if err != nil {
		return err
	}
	b.skips, err = readSkips(b.ctx, b.conn, b.group.name)
	if err != nil {
		return err
	}
	_, err = b.conn.Exec(b.ctx, "set lock_timeout = 0; set maintenance_work_mem = '256MB'", pgx.QueryExecModeSimpleProtocol)
	return err
}

func (b *builder) close() {
	closeConn(b.conn)
	b.update(func(s *Status) { s.Progress = nil })
}

// rebuild fills the schema and swaps it in for the live one.
func (b *builder) rebuild(live *checkpoint) error {
	err := b.fill(logEnd)
	if err == nil {
		err = b.swapIn(live)
	}
	if err != nil {
		b.discard()
	}
	return err
}

// discard drops the schema; what cannot be dropped now is dropped at next start.
func (b *builder) discard() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), finishWithin)
	defer cancel()
	if err := b.engine.dropSchema(ctx, b.schema); err != nil {
		b.log.Warn("projections: an unfinished build is left for later", "schema", b.schema, "error", err)
	}
}

// fill reads the log up to a position into new tables with all
// their indexes.
func (b *builder) fill(upTo eventstore.Position) error {
	err := b.fillFast(upTo)
	var poison *eventError
	if err == nil || errors.As(err, &poison) || b.conn.IsClosed() || !fromDatabase(err) || curable(err) {
		return err
	}
	// The database refuses rows that came of many events. Batches with all
	// indexes in place find the one.
	b.log.Warn("projections: the rows do not fit their tables; looking for the event", "error", publicCause(err))
	if err := b.create(true); err != nil {
		return err
	}
	if err := b.catchUp(upTo); err != nil {
		return err
	}
	return b.vacuum()
}

func fromDatabase(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg)
}

// create makes empty tables, dropping leftovers.
func (b *builder) create(indexed bool) error {
	b.position, b.done.Events = 0, 0
	sql := "drop schema if exists " + b.schema + " cascade;" + b.group.tablesSQL(b.schema) + createCounters(b.schema)
	if indexed {
		sql += b.group.keysSQL(b.schema) + b.group.indexesSQL(b.schema)
	}
	b.applier = &applier{sink: newSink(b.ctx, b.conn, b.group, b.schema)}
	return execAll(b.ctx, b.conn, sql)
}

// fillFast folds in memory and copies, as long as that fits, and makes indexes
// last.
func (b *builder) fillFast(upTo eventstore.Position) error {
	if err := b.create(false); err != nil {
		return err
	}
	b.tell("reading", true)
	whole := newFold(b.group, nil)
	full := errors.New("full")
	err := b.read(upTo, func(items []item) error {
		for i := range items {
			if err := whole.apply(&items[i]); err != nil {
				return err
			}
		}
		if whole.size() > b.engine.RebuildRows {
			return full
		}
		return nil
	})
	if err != nil && !errors.Is(err, full) {
		return err
	}
	if err := b.applier.sink.copyAll(whole); err != nil {
		return err
	}
	whole = nil // frees its memory before the rest
	if err := execAll(b.ctx, b.conn, b.group.keysSQL(b.schema)); err != nil {
		return err
	}
	if errors.Is(err, full) {
		if err := b.goOn(upTo); err != nil {
			return err
		}
	}
	b.tell("indexing", true)
	if sql := b.group.indexesSQL(b.schema); sql != "" {
		if err := execAll(b.ctx, b.conn, sql); err != nil {
			return err
		}
	}
	return b.vacuum()
}

// goOn reads what did not fit into memory, against tables that have the indexes
// by which rows are looked up, but no others yet.
func (b *builder) goOn(upTo eventstore.Position) error {
	for _, t := range b.group.tables {
		for _, c := range t.where {
			sql := fmt.Sprintf("create index build_%s_%s on %s.%s (%s)", t.name, c.name, b.schema, t.name, c.name)
			if _, err := b.conn.Exec(b.ctx, sql); err != nil {
				return err
			}
		}
	}
	if err := b.vacuum(); err != nil {
		return err
	}
	if err := b.catchUp(upTo); err != nil {
		return err
	}
	for _, t := range b.group.tables {
		for _, c := range t.where {
			if _, err := b.conn.Exec(b.ctx, fmt.Sprintf("drop index %s.build_%s_%s", b.schema, t.name, c.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// vacuum makes index-only reads and good plans possible from the first moment.
func (b *builder) vacuum() error {
	names := []string{b.schema + "." + countersTable}
	for _, t := range b.group.tables {
		names = append(names, b.schema+"."+t.name)
	}
	_, err := b.conn.Exec(b.ctx, "vacuum (analyze) "+strings.Join(names, ", "))
	return err
}

// catchUp applies batches until little is left, or up to a position.
func (b *builder) catchUp(upTo eventstore.Position) error {
	b.tell("catching up", true)
	for {
		n, err := b.pass(upTo)
		if err != nil || n < nearEnough || upTo < logEnd {
			return err
		}
	}
}

// pass applies what the log holds beyond the builder's position.
func (b *builder) pass(upTo eventstore.Position) (events int, err error) {
	var pending []item
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		err := b.applier.process(pending, pending[len(pending)-1].position)
		pending = nil
		return err
	}
	err = b.read(upTo, func(items []item) error {
		events += len(items)
		if pending = append(pending, items...); len(pending) < b.engine.BatchSize {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return events, err
}

// read hands over the handled events between the builder's position and another
// in order. An outage of the store is waited for.
func (b *builder) read(upTo eventstore.Position, take func([]item) error) error {
	wait := newBackoff()
	for {
		err := b.readOnce(upTo, func(chunk []item, position eventstore.Position) error {
			if len(chunk) > 0 {
				if err := take(chunk); err != nil {
					b.position = position // take has them in, or all is given up
					return err
				}
			}
			b.position, b.done.Events = position, b.done.Events+int64(len(chunk))
			b.tell("", false)
			wait.Reset()
			return nil
		})
		if !errors.Is(err, eventstore.ErrUnavailable) || b.ctx.Err() != nil {
			return err
		}
		b.log.Warn("projections: the event store is unavailable, will go on with the rebuild", "error", err)
		sleep(b.ctx, wait.NextBackOff())
	}
}

// chunk is decoded events and the position after them.
type chunk struct {
	items    []item
	position eventstore.Position
}

// readOnce decodes in one goroutine what take folds in another.
func (b *builder) readOnce(upTo eventstore.Position, take func([]item, eventstore.Position) error) error {
	reading, stop := context.WithCancel(b.ctx)
	defer stop()
	chunks := make(chan chunk, 8)
	ended := make(chan error, 1)
	go func() {
		ended <- b.decode(reading, upTo, chunks)
		close(chunks)
	}()
	var failed error
	for c := range chunks {
		if failed = take(c.items, c.position); failed != nil {
			stop()
			break
		}
	}
	for range chunks { // until the reader has noticed
	}
	if err := <-ended; failed == nil {
		failed = err
	}
	return failed
}

func (b *builder) decode(ctx context.Context, upTo eventstore.Position, chunks chan<- chunk) error {
	var c chunk
	c.position = b.position
	send := func() bool {
		select {
		case chunks <- c:
			c.items = nil
			return true
		case <-ctx.Done():
			return false
		}
	}
	for r, err := range b.engine.Store.ReadAll(ctx, b.position, b.group.filter) {
		if err != nil {
			send() // what was read is not lost
			return err
		}
		if r.Position > upTo {
			break
		}
		if !b.skips[r.ID] {
			if it := newItem(b.group, b.engine.Codec, &r); it.handled() {
				c.items = append(c.items, it)
			}
		}
		if c.position = r.Position; len(c.items) >= chunkSize && !send() {
			return ctx.Err()
		}
	}
	if !send() {
		return ctx.Err()
	}
	return nil
}

// tell reports progress, at least four times a second or when the phase changes.
func (b *builder) tell(phase string, now bool) {
	if phase != "" {
		b.done.Phase = phase
	}
	b.done.Position = b.position
	if !now && time.Since(b.reported) < 250*time.Millisecond {
		return
	}
	b.reported = time.Now()
	done := b.done
	b.update(func(s *Status) { s.Progress = &done })
	if b.report != nil {
		b.report(done)
	}
}

// firstCheckpoint declares tables that were built in place live.
func (b *builder) firstCheckpoint() error {
	batch := &pgx.Batch{}
	batch.Queue("insert into docket_projections.checkpoints (group_name, version, position) values ($1, $2, $3)", b.group.name, b.group.version, b.position)
	b.queueVersion(batch)
	return b.conn.SendBatch(b.ctx, batch).Close()
}

func (b *builder) queueVersion(batch *pgx.Batch) {
	batch.Queue("insert into docket_projections.versions (group_name, version, position, build_seconds) values ($1, $2, $3, $4)",
		b.group.name, b.group.version, b.position, time.Since(b.done.Started).Seconds())
	batch.Queue("select pg_notify($1, $2)", channel, announcement(b.group.name, b.position))
}
