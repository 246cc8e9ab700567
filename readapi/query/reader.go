package query

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"docket/domain/fault"
	"docket/internal/postgres"
)

// Querier is what a Counter reads from: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Options of a Reader; all may be left out.
type Options struct {
	// Counter sums the counts a projection keeps beside a table; see
	// Resource.Counters for the keys. ReadCounters when nil. Not ok means that
	// the rows must be counted.
	Counter func(ctx context.Context, db Querier, table string, keys []string) (n int64, ok bool, err error)

	// Points is the pool for single rows by their key. Their plan is always the
	// same, so that it pays to keep it: a pool that plans anew for every value
	// spends more on planning than on reading. The Reader's pool when nil.
	Points *pgxpool.Pool

	// Version changes whenever the rows of a table do, and before a writer is
	// told that they did: the position of its projection. It makes totals and
	// the places of deep pages reusable; without it nothing is cached.
	Version func(table string) (version uint64, ok bool)
}

// Reader runs requests on one pool, which should plan with the values at hand
// (plan_cache_mode=force_custom_plan), without jit and parallel workers. It
// owns the caches and no goroutines that outlive a call.
type Reader struct {
	pool    *pgxpool.Pool
	options Options
	tuning  tuning

	totals  *cache[int64]
	sizes   *cache[float64]
	anchors *cache[*anchors]

	letters atomic.Pointer[bool] // trigrams cover letters beyond ASCII; nil while unknown

	trace func(*statement) // for tests
}

// tuning holds the thresholds of the strategies; tests lower them.
type tuning struct {
	filterFirst float64 // estimated matches up to which a filter goes first
	overflow    int64   // rows filter-first collects before it gives up
	probeKeys   int64   // keys of the sort index a probe reads
	countFirst  int64   // offset from which the total is worth knowing first
	anchorFrom  int64   // offset from which anchors are used
	anchorEvery int64   // rows between two anchors
}

var defaultTuning = tuning{
	filterFirst: 20_000, overflow: 40_000, probeKeys: 20_000,
	countFirst: 10_000, anchorFrom: 5000, anchorEvery: 1000,
}

// cacheAge bounds how long a total or an anchor is used even when the version
// stays the same.
const cacheAge = 30 * time.Second

// NewReader makes a Reader.
func NewReader(pool *pgxpool.Pool, options Options) *Reader {
	if options.Counter == nil {
		options.Counter = ReadCounters
	}
	if options.Points == nil {
		options.Points = pool
	}
	return &Reader{
		pool: pool, options: options, tuning: defaultTuning,
		totals: newCache[int64](4096, cacheAge), sizes: newCache[float64](256, time.Minute),
		anchors: newCache[*anchors](64, cacheAge),
	}
}

func (rd *Reader) statement() *statement {
	letters := rd.letters.Load()
	return &statement{unicode: letters != nil && *letters}
}

// learnLetters asks the server whether its trigrams know letters beyond ASCII;
// that depends on the database's locale. Requests that come before there is an
// answer all ask, rather than wait for one whose connection may hang.
func (rd *Reader) learnLetters(ctx context.Context) error {
	if rd.letters.Load() != nil {
		return nil
	}
	var has, letters bool
	err := rd.pool.QueryRow(ctx, "select exists (select from pg_extension where extname = 'pg_trgm')").Scan(&has)
	if err == nil && has {
		err = rd.pool.QueryRow(ctx, "select cardinality(show_trgm('жжж')) > 0").Scan(&letters)
	}
	if err != nil {
		return storageFault(err)
	}
	rd.letters.Store(&letters)
	return nil
}

// tableRows is how many rows the planner believes a table to have; 0 when it
// does not know yet.
func (rd *Reader) tableRows(ctx context.Context, table string) (float64, error) {
	if n, ok := rd.sizes.get(table); ok {
		return n, nil
	}
	var n float64
	err := rd.pool.QueryRow(ctx, "select coalesce(max(greatest(reltuples, 0)), 0)::float8 from pg_class where oid = to_regclass($1)", table).Scan(&n)
	if err != nil {
		return 0, storageFault(err)
	}
	rd.sizes.put(table, n)
	return n, nil
}

// query runs a statement in the binary format and hands every row to each.
func (rd *Reader) query(ctx context.Context, db Querier, s *statement, each rowFunc) error {
	if rd.trace != nil {
		rd.trace(s)
	}
	if _, pooled := db.(*pgxpool.Pool); !pooled {
		return runQuery(ctx, db, s, each)
	}
	return againIfOutdated(each, func(each rowFunc) error { return runQuery(ctx, db, s, each) })
}

// rowFunc takes a row, which is valid only during the call.
type rowFunc = func(raw [][]byte) error

// againIfOutdated runs a query, and a second time if the first met a rebuilt
// table before there were rows.
func againIfOutdated(each rowFunc, run func(rowFunc) error) error {
	started := false
	watch := func(raw [][]byte) error {
		started = true
		return each(raw)
	}
	err := run(watch)
	if !started && outdated(err) {
		err = run(watch)
	}
	return err
}

func runQuery(ctx context.Context, db Querier, s *statement, each rowFunc) error {
	rows, err := db.Query(ctx, s.String(), append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, s.args...)...)
	if err != nil {
		return storageFault(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.RawValues()); err != nil {
			return err
		}
	}
	return storageFault(rows.Err())
}

// outdated tells that a connection's prepared statement does not fit the table
// any more: a rebuilt read model took its place. The driver has dropped the
// statement by now.
func outdated(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "0A000" || pg.Code == "26000")
}

// storageFault gives the errors that pass with time their kind. All others
// become Internal where they are rendered.
func storageFault(err error) error {
	if !postgres.IsUnavailable(err) {
		return err
	}
	code, public := "query.unavailable", "the read models cannot be reached right now"
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "57014" {
		code, public = "query.too-slow", "the query took too long; narrow the filter"
	}
	e := fault.New(fault.Unavailable, code, "%s", public).Because(err)
	e.RetryAfter = 2 * time.Second
	return e
}
