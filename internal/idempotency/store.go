// Package idempotency makes a write that is sent twice happen once. A client
// names its request with the header Idempotency-Key; the name, what was asked
// and what was answered are kept in PostgreSQL for a day.
//
// A request is reserved before it runs, with an id and a time that stay the same
// however often it has to be run: commands derive their event ids from the id, so
// that a second run after a crash decides and appends the same again, which the
// event store takes for the first one.
package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"docket/internal/postgres"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Times of life.
const (
	// Kept is how long a key is remembered after its first request.
	Kept = 24 * time.Hour
	// lease is how long a running request may be silent before it counts as dead;
	// it is renewed every third of it, by the database's clock.
	lease = 30 * time.Second
	// releaseRetry is how often a release that failed is tried again.
	releaseRetry = 100 * time.Millisecond
)

// Sealer protects stored answers, which may hold anything that the client may
// see. *vault.Vault is one.
type Sealer interface {
	Seal(context string, plain []byte) []byte
	Open(context string, sealed []byte) ([]byte, error)
}

// Store keeps the requests.
type Store struct {
	pool   *pgxpool.Pool
	sealer Sealer
	logger *slog.Logger
	lease  time.Duration

	process *string // see Resume

	mu        sync.Mutex
	unsettled []unsettled
}

// unsettled is a run that has ended but whose row still says that it runs, since
// the database did not answer.
type unsettled struct {
	n      name
	holder uuid.UUID
	until  time.Time // when the lease has run out in any case
}

// migrations are append-only; see postgres.Migrate.
var migrations = []string{`
create table request (
	principal    text not null,
	route        text not null,
	key          text collate "C" not null,
	asked        bytea not null,       -- hash of what was asked
	request_id   uuid not null,
	decided_at   timestamptz not null, -- "now" of every run
	holder       uuid not null,        -- the run that may answer
	lease_until  timestamptz not null,
	expires_at   timestamptz not null,
	answer       bytea,                -- sealed; null while running
	primary key (principal, route, key)
);
create index request_expires on request (expires_at);
`, `
alter table request add column process text; -- whose run it is
`}

const schema = "idempotency"

// Open makes the store and its table. The pool must commit synchronously: a
// reservation that a crash forgets would let a request run twice.
func Open(ctx context.Context, pool *pgxpool.Pool, sealer Sealer, logger *slog.Logger) (*Store, error) {
	if err := postgres.Migrate(ctx, pool, schema, migrations); err != nil {
		return nil, err
	}
	return &Store{pool: pool, sealer: sealer, logger: logger, lease: lease}, nil
}

// Resume names the process that runs requests from now on, and gives up what an
// earlier process of the same name left running when it died, so that a client
// need not wait for the lease. The name must be held by one process at a time,
// as a locked folder is. Without a name leases alone tell the dead.
func (s *Store) Resume(ctx context.Context, process string) error {
	s.process = &process
	_, err := s.pool.Exec(ctx, `update idempotency.request set lease_until = '-infinity' where process = $1 and answer is null`, process)
	return err
}

// name identifies a request: whose, for what, and the client's key.
type name struct{ principal, route, key string }

func (n name) context() string {
	return fmt.Sprintf("idempotency/%d:%s/%d:%s/%s", len(n.principal), n.principal, len(n.route), n.route, n.key)
}

// state is what a reservation found.
type state int

const (
	run      state = iota // ours to run
	finished              // answered before
	busy                  // running elsewhere
	other                 // the key belongs to another request
)

// reservation is the outcome of reserve.
type reservation struct {
	state  state
	id     uuid.UUID // of the request
	now    time.Time
	retry  bool      // an earlier run did not finish
	holder uuid.UUID // of this run
	hold   *hold     // its lease; nil unless ours to run
	answer answer
}

// answer is a stored response.
type answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// synchronous runs f in a transaction that is on disk when it returns, whatever
// the pool's setting.
func (s *Store) synchronous(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local synchronous_commit = on"); err != nil {
			return err
		}
		return f(tx)
	})
}

// reserve claims the request or tells who has it.
func (s *Store) reserve(ctx context.Context, n name, asked []byte) (reservation, error) {
	var out reservation
	fresh := reservation{id: uuid.New(), holder: uuid.New()}
	err := s.synchronous(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			insert into idempotency.request as r (principal, route, key, asked, request_id, decided_at, holder, lease_until, expires_at, process)
			values ($1, $2, $3, $4, $5, clock_timestamp(), $6, clock_timestamp() + $7, clock_timestamp() + $8, $9)
			on conflict (principal, route, key) do update
			set asked = excluded.asked, request_id = excluded.request_id, decided_at = excluded.decided_at,
			    holder = excluded.holder, lease_until = excluded.lease_until, expires_at = excluded.expires_at, process = excluded.process, answer = null
			where r.expires_at < clock_timestamp() and (r.answer is not null or r.lease_until < clock_timestamp())
			returning request_id, decided_at`,
			n.principal, n.route, n.key, asked, fresh.id, fresh.holder, s.lease, Kept, s.process).Scan(&fresh.id, &fresh.now)
		if err == nil {
			out = fresh
			return nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		// The insert has locked the row that stands in its way.
		return s.found(ctx, tx, n, asked, &out)
	})
	if err != nil { // the commit may have come through all the same
		for _, holder := range []uuid.UUID{fresh.holder, out.holder} {
			s.releaseLater(n, holder)
		}
	}
	return out, err
}

// found decides about a row that is there.
func (s *Store) found(ctx context.Context, tx pgx.Tx, n name, asked []byte, out *reservation) error {
	var same, alive bool
	var sealed []byte
	err := tx.QueryRow(ctx, `
		select request_id, decided_at, asked = $4, lease_until >= clock_timestamp(), answer
		from idempotency.request where (principal, route, key) = ($1, $2, $3) for update`,
		n.principal, n.route, n.key, asked).Scan(&out.id, &out.now, &same, &alive, &sealed)
	switch {
	case err != nil:
		return err
	case !same:
		out.state = other
		return nil
	case sealed != nil:
		out.state = finished
		return s.open(n, sealed, &out.answer)
	case alive:
		out.state = busy
		return nil
	}
	out.retry, out.holder = true, uuid.New()
	_, err = tx.Exec(ctx, `
		update idempotency.request set holder = $4, lease_until = clock_timestamp() + $5, process = $6
		where (principal, route, key) = ($1, $2, $3)`, n.principal, n.route, n.key, out.holder, s.lease, s.process)
	return err
}

func (s *Store) open(n name, sealed []byte, a *answer) error {
	plain, err := s.sealer.Open(n.context(), sealed)
	if err != nil {
		return fmt.Errorf("stored answer: %w", err)
	}
	return json.Unmarshal(plain, a)
}

// renew prolongs the lease of a run. It is false when another run has taken over.
func (s *Store) renew(ctx context.Context, n name, holder uuid.UUID) (bool, error) {
	tag, err := s.pool.Exec(ctx, `
		update idempotency.request set lease_until = clock_timestamp() + $5
		where (principal, route, key, holder) = ($1, $2, $3, $4) and answer is null`,
		n.principal, n.route, n.key, holder, s.lease)
	return tag.RowsAffected() == 1, err
}

// complete stores the answer of a run. A run that has lost its lease stores
// nothing, and it is false: the one that took over answers.
func (s *Store) complete(ctx context.Context, n name, holder uuid.UUID, a answer) (held bool, err error) {
	plain, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	err = s.synchronous(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			update idempotency.request set answer = $5
			where (principal, route, key, holder) = ($1, $2, $3, $4) and answer is null`,
			n.principal, n.route, n.key, holder, s.sealer.Seal(n.context(), plain))
		held = tag.RowsAffected() == 1
		return err
	})
	return held, err
}

// release gives a request up for a later run with the same id and time.
func (s *Store) release(ctx context.Context, n name, holder uuid.UUID) (held bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		update idempotency.request set lease_until = '-infinity'
		where (principal, route, key, holder) = ($1, $2, $3, $4) and answer is null`,
		n.principal, n.route, n.key, holder)
	return tag.RowsAffected() == 1, err
}

// releaseLater has Run release a request that could not be settled.
func (s *Store) releaseLater(n name, holder uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsettled = append(s.unsettled, unsettled{n, holder, time.Now().Add(s.lease)})
}

// releaseUnsettled tries again to release what could not be settled, and keeps
// what still cannot.
func (s *Store) releaseUnsettled(ctx context.Context) {
	s.mu.Lock()
	todo := s.unsettled
	s.unsettled = nil
	s.mu.Unlock()
	for i, u := range todo {
		if time.Now().After(u.until) {
			continue
		}
		if _, err := s.release(ctx, u.n, u.holder); err != nil {
			s.mu.Lock()
			s.unsettled = append(s.unsettled, todo[i:]...)
			s.mu.Unlock()
			return
		}
	}
}

// forget removes a request that was refused before it had any effect, so that
// the client may correct it under the same key.
func (s *Store) forget(ctx context.Context, n name, holder uuid.UUID) (held bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		delete from idempotency.request
		where (principal, route, key, holder) = ($1, $2, $3, $4) and answer is null`,
		n.principal, n.route, n.key, holder)
	return tag.RowsAffected() == 1, err
}

// Sweep removes what has expired and tells how many rows that were.
func (s *Store) Sweep(ctx context.Context) (int64, error) {
	tag, err := s.pool.Exec(ctx, `
		delete from idempotency.request
		where expires_at < clock_timestamp() and (answer is not null or lease_until < clock_timestamp())`)
	return tag.RowsAffected(), err
}

// Run sweeps every so often until ctx ends, and settles what an outage of the
// database left unsettled.
func (s *Store) Run(ctx context.Context, every time.Duration) {
	tick, retry := time.NewTicker(every), time.NewTicker(releaseRetry)
	defer tick.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
			s.releaseUnsettled(ctx)
		case <-tick.C:
			if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.logger.Warn("expired idempotency keys were not removed", "cause", err)
			}
		}
	}
}
