package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pools are the program's connections to PostgreSQL, by what they are for.
// They connect when first used and outlive the server: connections that a
// restart broke are sorted out before they are handed out.
type Pools struct {
	// Main is for everything that must be durable once committed.
	Main *pgxpool.Pool
	// Projection commits without waiting for the disk. Only for transactions
	// that carry their checkpoint: a crash loses both and the events come again.
	Projection *pgxpool.Pool
	// List is for reading pages: plans are made for the values at hand, since a
	// generic plan of a filtered list can be a thousand times slower; a
	// statement that takes too long is cancelled.
	List *pgxpool.Pool
}

// PoolOptions size the pools; zero values take the defaults.
type PoolOptions struct {
	MainConns       int32         // default 4 per CPU, at least 8
	ProjectionConns int32         // default 16: they hold locks and subscriptions, too
	ListConns       int32         // default 4 per CPU, at least 8
	ListTimeout     time.Duration // longest statement of the List pool, default 10 s
	Name            string        // application_name, default docket
}

// Connect makes the pools for the server at address. It fails for an address
// that cannot be used, not for a server that is absent; see [Pools.Ping].
func Connect(ctx context.Context, address string, o PoolOptions) (*Pools, error) {
	perCPU := int32(max(8, 4*runtime.NumCPU()))
	timeout := cmp.Or(o.ListTimeout, 10*time.Second)
	p := &Pools{}
	for _, kind := range []struct {
		pool   **pgxpool.Pool
		name   string
		conns  int32
		params map[string]string
	}{
		{&p.Main, "main", cmp.Or(o.MainConns, perCPU), map[string]string{"synchronous_commit": "on"}},
		{&p.Projection, "projection", cmp.Or(o.ProjectionConns, 16), map[string]string{"synchronous_commit": "off"}},
		{&p.List, "list", cmp.Or(o.ListConns, perCPU), map[string]string{
			"plan_cache_mode":                 "force_custom_plan",
			"jit":                             "off",
			"max_parallel_workers_per_gather": "0",
			"statement_timeout":               fmt.Sprint(timeout.Milliseconds()),
		}},
	} {
		config, err := ParseURL(address)
		if err != nil {
			p.Close()
			return nil, err
		}
		config.MaxConns = kind.conns
		maps.Copy(config.ConnConfig.RuntimeParams, kind.params)
		config.ConnConfig.RuntimeParams["application_name"] = cmp.Or(o.Name, "docket") + "-" + kind.name
		if *kind.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Close waits for the connections in use and closes all.
func (p *Pools) Close() {
	for _, pool := range []*pgxpool.Pool{p.List, p.Projection, p.Main} {
		if pool != nil {
			pool.Close()
		}
	}
}

// ParseURL reads the address of a server (a postgres:// URL or libpq's
// key=value form) and adds what every pool of ours has in common. Its errors
// do not repeat the address, which may hold a password.
func ParseURL(address string) (*pgxpool.Config, error) {
	const want = "the PostgreSQL address (DOCKET_POSTGRES_URL) must look like postgres://user:password@host:5432/database, with special characters in the password written as %XX"
	if u := strings.TrimSpace(address); !strings.HasPrefix(u, "postgres://") && !strings.HasPrefix(u, "postgresql://") && !strings.Contains(u, "=") {
		return nil, errors.New(want)
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", want, parseReason(err))
	}
	config.HealthCheckPeriod = 15 * time.Second
	config.MaxConnIdleTime = 5 * time.Minute
	config.MaxConnLifetime = time.Hour
	config.MaxConnLifetimeJitter = 10 * time.Minute
	config.PingTimeout = 2 * time.Second
	config.ShouldPing = func(_ context.Context, c pgxpool.ShouldPingParams) bool {
		return c.IdleDuration > 10*time.Second || disturbed(c.Conn)
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	return config, nil
}

// parseReason is what is wrong with an address, without the address.
func parseReason(err error) string {
	var syntax *url.Error
	if errors.As(err, &syntax) {
		return "it is not a valid URL" // the rest of the message may quote a part of the password
	}
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return "it cannot be read"
	}
	bare := *parse
	bare.ConnString = ""
	return strings.TrimPrefix(bare.Error(), "cannot parse ``: ")
}

// Ping waits until the server answers, for most at longest, and checks that it
// can serve us. It does not wait for what will not change by itself, such as a
// refused password.
func (p *Pools) Ping(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval, policy.MaxElapsedTime = 20*time.Millisecond, time.Second, 0
	var last error
	err := backoff.Retry(func() error {
		if last = p.check(ctx); last == nil || !passing(last) {
			return backoff.Permanent(last)
		}
		return last
	}, backoff.WithContext(policy, ctx))
	if err != nil && last != nil {
		return fmt.Errorf("PostgreSQL: %w", last)
	}
	return err
}

// check asks the server what it is.
func (p *Pools) check(ctx context.Context) error {
	var version int
	var trigrams bool
	err := p.Main.QueryRow(ctx, `select current_setting('server_version_num')::int,
		exists (select from pg_available_extensions where name = 'pg_trgm')`).Scan(&version, &trigrams)
	switch {
	case err != nil:
		return err
	case version < oldestMajor*10000:
		return fmt.Errorf("the server is version %d, too old: %d is the oldest that will do", version/10000, oldestMajor)
	case !trigrams:
		return errors.New("the server lacks the extension pg_trgm (its contrib package)")
	}
	return nil
}

// passing reports whether waiting may help against err.
func passing(err error) bool {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return isUnavailableCode(server.Code)
	}
	return IsUnavailable(err)
}

// disturbed reports whether the server has hung up on an idle connection or
// said something on it. It costs a system call, not a round trip.
func disturbed(conn *pgx.Conn) bool { return readable(conn.PgConn().Conn()) }
