package reactors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"docket/eventstore"
	"docket/internal/postgres"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	schema     = "reactors"
	lockRetry  = 500 * time.Millisecond // how often a standby asks for a reactor
	writeEvery = 100 * time.Millisecond // how often a checkpoint without Writes is written at most
	maxWrites  = 1000                   // that wait for the checkpoint
	pingEvery  = 2 * time.Second        // how soon the loss of a connection is noticed
	talkWithin = 5 * time.Second        // what Postgres gets for a checkpoint or ping
)

// steps are the tables that the log cannot give back: which events were acted
// upon is known nowhere else.
var steps = []string{`create table checkpoint (
	name text primary key,
	position bigint not null,
	updated_at timestamptz not null default now()
) with (fillfactor = 50)`, `
create table failure ( -- the event a reactor is stopped at
	name text primary key,
	event_id uuid not null,
	event_type text not null,
	stream text not null,
	revision bigint not null,
	position bigint not null,
	error text not null,
	at timestamptz not null
);
create table skip ( -- events that an operator had a reactor leave out, for ever
	name text not null,
	event_id uuid not null,
	event_type text not null,
	stream text not null,
	revision bigint not null,
	position bigint not null,
	error text not null,
	actor text not null,
	reason text not null,
	at timestamptz not null default now(),
	primary key (name, event_id)
)`}

// Forget takes back the places of all reactors, so that each begins where it is declared to begin. It is for a log whose
// positions have changed: a copy on another server. What was skipped stays so.
func Forget(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `do $$ begin
		if to_regclass('reactors.checkpoint') is not null then
			delete from reactors.checkpoint;
			delete from reactors.failure;
		end if; end $$`)
	return err
}

// errMoved says that somebody else wrote the checkpoint.
var errMoved = errors.New("the checkpoint was moved by somebody else")

// lease is a reactor's ownership among all processes, which ends with the
// connection that holds the lock, and its place in the log.
type lease struct {
	name   string
	skips  map[uuid.UUID]bool // events to leave out
	failed *Failure           // what it was stopped at when it was taken; nil if nothing

	// Only who tends the lease uses these: first take, then keep, then flush.
	conn    *pgx.Conn
	written eventstore.Position // as stored
	talked  time.Time           // to Postgres, successfully
	wrote   time.Time
	broken  bool // a write failed: what is due is not complete any more

	wake  chan struct{} // to keep: there are Writes
	moved chan struct{} // from keep: there is room for Writes
	mu    sync.Mutex    // of everything below
	due
}

// due is what is done and not stored yet.
type due struct {
	seen   eventstore.Position // everything up to here is done
	writes []Write             // of the events up to there, in order
}

// take waits until no other process has the reactor. waiting is called when
// one has. start tells the place of a reactor that has none yet.
func take(ctx context.Context, pool *pgxpool.Pool, name string, waiting func(), start func(context.Context) (eventstore.Position, error)) (*lease, error) {
	if err := postgres.Migrate(ctx, pool, schema, steps); err != nil {
		return nil, err
	}
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	l := &lease{name: name, conn: pooled.Hijack(), wake: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
	if err := l.lock(ctx, waiting); err != nil {
		l.close()
		return nil, err
	}
	if err := l.find(ctx, start); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// lock asks again and again rather than wait in the server, where a waiting
// statement would hold back vacuum. Keepalives make the server notice a dead
// machine and free its lock.
func (l *lease) lock(ctx context.Context, waiting func()) error {
	_, err := l.conn.PgConn().Exec(ctx, `set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set synchronous_commit = on;
		set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3`).ReadAll()
	for err == nil {
		var locked bool
		err = l.conn.QueryRow(ctx, "select pg_try_advisory_lock(hashtextextended($1, 2))", l.name).Scan(&locked)
		if err != nil || locked {
			return err
		}
		waiting()
		err = sleep(ctx, lockRetry)
	}
	return err
}

// find reads the checkpoint, or makes the first, and what stands in the way.
func (l *lease) find(ctx context.Context, start func(context.Context) (eventstore.Position, error)) error {
	const read = "select position from reactors.checkpoint where name = $1"
	err := l.conn.QueryRow(ctx, read, l.name).Scan(&l.written)
	if errors.Is(err, pgx.ErrNoRows) {
		if l.written, err = start(ctx); err != nil {
			return err
		}
		_, err = l.conn.Exec(ctx, "insert into reactors.checkpoint (name, position) values ($1, $2)", l.name, l.written)
	}
	if err != nil {
		return err
	}
	if l.failed, err = readFailure(ctx, l.conn, l.name); err != nil {
		return err
	}
	l.skips, err = readSkips(ctx, l.conn, l.name)
	l.seen, l.talked = l.written, time.Now()
	return err
}

// advance says that everything up to a position is done but for the writes,
// which are stored together with the position: at once, or, while others are
// being stored, together with those that follow.
func (l *lease) advance(ctx context.Context, to eventstore.Position, writes []Write) error {
	l.mu.Lock()
	l.seen, l.writes = to, append(l.writes, writes...)
	full := len(l.writes) >= maxWrites
	l.mu.Unlock()
	if len(writes) > 0 {
		signal(l.wake)
	}
	for full {
		select {
		case <-l.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
		l.mu.Lock()
		full = len(l.writes) >= maxWrites
		l.mu.Unlock()
	}
	return nil
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// collect takes over what is due.
func (l *lease) collect() due {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.due
	l.writes = nil
	return d
}

// store moves the checkpoint, with what has to happen together with that, also
// when everything else is being stopped. After an error the lease is no good any
// more: what was to be written comes again with its events. A failure that the
// checkpoint is past is one no more.
func (l *lease) store(d due) error {
	if d.seen == l.written || l.broken {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), talkWithin)
	defer cancel()
	if err := pgx.BeginFunc(ctx, l.conn, func(tx pgx.Tx) error { return l.move(ctx, tx, d) }); err != nil {
		l.broken = true
		return fmt.Errorf("checkpoint: %w", err)
	}
	l.written, l.wrote, l.talked = d.seen, time.Now(), time.Now()
	signal(l.moved)
	return nil
}

// move compares and sets the checkpoint: two processes that handled the same
// event cannot both get past this.
func (l *lease) move(ctx context.Context, tx pgx.Tx, d due) error {
	tag, err := tx.Exec(ctx, `with past as (delete from reactors.failure where name = $1 and position <= $2)
		update reactors.checkpoint set position = $2, updated_at = now() where name = $1 and position = $3`, l.name, d.seen, l.written)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return errMoved
	}
	for _, write := range d.writes {
		if err := write(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// keep stores what advance left and watches the connection, and with it the
// lock, until ctx ends or the lease is lost.
func (l *lease) keep(ctx context.Context) error {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		woken := false
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
			woken = true
		case <-tick.C:
		}
		if err := l.tend(ctx, woken); err != nil {
			return err
		}
	}
}

func (l *lease) tend(ctx context.Context, now bool) error {
	if now || time.Since(l.wrote) >= writeEvery {
		if err := l.store(l.collect()); err != nil {
			return err
		}
	}
	if time.Since(l.talked) < pingEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), talkWithin)
	defer cancel()
	if err := l.conn.Ping(ctx); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	l.talked = time.Now()
	return nil
}

// flush stores what is left, once keep has ended.
func (l *lease) flush() error { return l.store(l.collect()) }

// close ends the ownership.
func (l *lease) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.Close(ctx) // it is gone either way
}

// sleep waits; its error is that of a context that ended before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
