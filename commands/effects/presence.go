package effects

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// cutOff is what stands in the list of errors of a job whose process died.
const cutOff = "cut off: the process that ran it is gone"

// presence is the connection whose session locks say that this process lives,
// and that it is the first of all. They end with the process at the latest.
type presence struct {
	engine *Engine
	conn   *pgx.Conn
	first  bool                 // it runs the timers
	gone   map[string]time.Time // since when others are not seen
}

// talkWithin is what Postgres gets for a lock or a ping.
const talkWithin = 5 * time.Second

// keep sees to it that the locks are held.
func (p *presence) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, talkWithin)
	defer cancel()
	if p.conn == nil {
		if err := p.appear(ctx); err != nil {
			p.leave()
			return err
		}
	}
	// The second ones of a lock that is held count up to nothing but an unlock.
	query := "select true"
	if !p.first {
		query = "select pg_try_advisory_lock(hashtextextended('docket timers', 3))"
	}
	if err := p.conn.QueryRow(ctx, query).Scan(&p.first); err != nil {
		p.leave()
		return err
	}
	return nil
}

// appear takes a connection for good and the lock that says that this process
// lives. Keepalives make the server notice a dead machine.
func (p *presence) appear(ctx context.Context) error {
	pooled, err := p.engine.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	p.conn = pooled.Hijack()
	if _, err := p.conn.PgConn().Exec(ctx, `set statement_timeout = 0;
		set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3`).ReadAll(); err != nil {
		return err
	}
	_, err = p.conn.Exec(ctx, "select pg_advisory_lock(hashtextextended($1, 3))", p.engine.id)
	return err
}

// leave gives up the locks.
func (p *presence) leave() {
	if p.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.conn.Close(ctx) // it is gone either way
	}
	p.conn, p.first = nil, false
}

// absent are the clients that hold running jobs and no lock.
const absent = `with holder as (select distinct attempted_by[array_upper(attempted_by, 1)] as id from effects.river_job where state = 'running')
	select id from holder where id <> $1 and not exists (
		select from pg_locks l where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
			and l.database = (select oid from pg_database where datname = current_database())
			and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(holder.id, 3))`

// release makes running jobs available again. What they did before counts as an attempt.
const release = `update effects.river_job set state = 'available', scheduled_at = now(),
		errors = array_append(errors, jsonb_build_object('at', now(), 'attempt', attempt, 'error', $2::text, 'trace', ''))
	where state = 'running' and `

// rescue frees the jobs of processes that are gone, so that they run again: at
// once those of this process's predecessors (nobody else has our data folder),
// after a while those of others, which may have lost their connection only. It
// also frees jobs of this process whose end could not be stored.
func (e *Engine) rescue(ctx context.Context, p *presence) error {
	rows, err := e.Pool.Query(ctx, absent, e.id)
	if err != nil {
		return err
	}
	clients, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	gone := make(map[string]time.Time, len(clients))
	var dead []string
	for _, c := range clients {
		gone[c] = time.Now()
		if since, known := p.gone[c]; known {
			gone[c] = since
		}
		if strings.HasPrefix(c, e.Process+"/") || time.Since(gone[c]) >= e.grace {
			dead = append(dead, c)
		}
	}
	p.gone = gone
	if len(dead) > 0 {
		tag, err := e.Pool.Exec(ctx, release+"attempted_by[array_upper(attempted_by, 1)] = any($1)", dead, cutOff)
		if err != nil {
			return err
		}
		e.Logger.Warn("effects: jobs of processes that are gone begin again", "processes", dead, "jobs", tag.RowsAffected())
	}
	return e.rescueOwn(ctx)
}

// rescueOwn frees jobs that ended here without Postgres having learned it.
func (e *Engine) rescueOwn(ctx context.Context) error {
	e.mu.Lock()
	var ended []int64
	for id, a := range e.active {
		if !a.ended.IsZero() && time.Since(a.ended) > e.settle {
			ended = append(ended, id)
		}
	}
	e.mu.Unlock()
	if len(ended) == 0 {
		return nil
	}
	tag, err := e.Pool.Exec(ctx, release+"id = any($1) and attempted_by[array_upper(attempted_by, 1)] = $3", ended, "cut off: how it ended could not be stored", e.id)
	if err != nil {
		return err
	}
	if n := tag.RowsAffected(); n > 0 {
		e.Logger.Warn("effects: jobs whose end could not be stored begin again", "jobs", n)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ended {
		if a := e.active[id]; a != nil && !a.ended.IsZero() && time.Since(a.ended) > e.settle {
			delete(e.active, id)
		}
	}
	return nil
}
