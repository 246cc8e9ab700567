package reactors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"docket/eventstore"
	"docket/internal/postgres"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	schema     = "reactors"
	lockRetry  = 500 * time.Millisecond // how often a standby asks for a reactor
	writeEvery = 100 * time.Millisecond // how often a checkpoint is written at most
	pingEvery  = 2 * time.Second        // how soon the loss of a connection is noticed
	talkWithin = 5 * time.Second        // what Postgres gets for a checkpoint or ping
)

// steps are the tables that the log cannot give back: which events were acted
// upon is known nowhere else.
var steps = []string{`create table checkpoint (
	name text primary key,
	position bigint not null,
	updated_at timestamptz not null default now()
) with (fillfactor = 50)`}

// errMoved says that somebody else wrote the checkpoint.
var errMoved = errors.New("the checkpoint was moved by somebody else")

// lease is a reactor's ownership among all processes, which ends with the
// connection that holds the lock, and its place in the log.
type lease struct {
	name string

	mu      sync.Mutex // of everything below
	conn    *pgx.Conn
	written eventstore.Position // as stored
	seen    eventstore.Position // everything up to here is done
	talked  time.Time           // to Postgres, successfully
	wrote   time.Time
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
	l := &lease{name: name, conn: pooled.Hijack()}
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

// find reads the checkpoint, or makes the first.
func (l *lease) find(ctx context.Context, start func(context.Context) (eventstore.Position, error)) error {
	const read = "select position from reactors.checkpoint where name = $1"
	err := l.conn.QueryRow(ctx, read, l.name).Scan(&l.written)
	if errors.Is(err, pgx.ErrNoRows) {
		if l.written, err = start(ctx); err != nil {
			return err
		}
		_, err = l.conn.Exec(ctx, "insert into reactors.checkpoint (name, position) values ($1, $2)", l.name, l.written)
	}
	l.seen, l.talked = l.written, time.Now()
	return err
}

// advance says that everything up to a position is done. What follows another
// write closely is written a moment later, by keep or flush.
func (l *lease) advance(to eventstore.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = to
	if time.Since(l.wrote) < writeEvery {
		return nil
	}
	return l.write()
}

// write stores the checkpoint, also when everything else is being stopped.
func (l *lease) write() error {
	if l.seen == l.written {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), talkWithin)
	defer cancel()
	tag, err := l.conn.Exec(ctx, "update reactors.checkpoint set position = $2, updated_at = now() where name = $1 and position = $3", l.name, l.seen, l.written)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errMoved
	}
	l.written, l.wrote, l.talked = l.seen, time.Now(), time.Now()
	return nil
}

// keep writes what advance left and watches the connection, and with it the
// lock, until ctx ends or the lease is lost.
func (l *lease) keep(ctx context.Context) error {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := l.tend(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (l *lease) tend(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(); err != nil || time.Since(l.talked) < pingEvery {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), talkWithin)
	defer cancel()
	if err := l.conn.Ping(ctx); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	l.talked = time.Now()
	return nil
}

// flush writes the last checkpoint.
func (l *lease) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write()
}

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
