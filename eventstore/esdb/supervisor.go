package esdb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cenkalti/backoff/v4"
)

const (
	// retireGrace is how long a client that was replaced may finish its calls. It is
	// long: calls find the server again or end by their deadlines, and only those that
	// hang inside the client for ever are broken off.
	retireGrace = time.Minute
	// closeGrace is the same when the store is closed: all calls were cancelled.
	closeGrace = 3 * time.Second
	// longestPause between two attempts to reach the server, before jitter of half
	// of it. It bounds how late the server's return is noticed.
	longestPause = 500 * time.Millisecond
	// returnGrace is how long a new call waits for a server that is known to be
	// away: long enough for a server that is back to be found again, so that a
	// short outage is ridden out.
	returnGrace = 1500 * time.Millisecond
)

// supervisor owns the client. It hands out a connection only after the server
// has answered over it, and replaces it at the first sign that the client lost
// the server:
//
//   - a client that looks for the server blocks every call, whatever its
//     deadline, and does not close its old connection when it found it;
//   - a client that did not find it is closed for good, and calls that were
//     under way may hang inside it for ever.
type supervisor struct {
	conf   client.Configuration
	probe  time.Duration
	logger *slog.Logger

	closed  chan struct{}
	lost    chan struct{} // wakes run when the current connection broke
	running sync.WaitGroup

	inFlight atomic.Int64
	retries  atomic.Uint64

	mu          sync.Mutex
	closing     bool
	current     *connection   // nil while the server is away
	gate        chan struct{} // closed when current is set
	away        chan struct{} // closed when the lost server was looked for in vain
	cause       error         // why the server is away
	connections uint64
}

// connection is one client and the calls that use it.
type connection struct {
	client *client.Client

	// Guarded by supervisor.mu.
	calls   int
	retired bool
	idle    chan struct{} // closed when retired and without calls
}

func supervise(conf client.Configuration, probe time.Duration, logger *slog.Logger) *supervisor {
	sv := &supervisor{
		conf: conf, probe: probe, logger: logger,
		closed: make(chan struct{}),
		lost:   make(chan struct{}, 1),
		gate:   make(chan struct{}),
		away:   make(chan struct{}),
		cause:  errors.New("not connected yet"),
	}
	sv.running.Add(1)
	go sv.run()
	return sv
}

func (sv *supervisor) run() {
	defer sv.running.Done()
	for sv.connect() {
		select {
		case <-sv.lost:
		case <-sv.closed:
			return
		}
	}
}

// connect tries until a connection stands. False means that the store closes.
func (sv *supervisor) connect() bool {
	var pause pauses
	for failures := 0; ; failures++ {
		conn, err := sv.attempt()
		if err == nil {
			return sv.publish(conn)
		}
		sv.missing(err, failures == 0)
		if failures == 0 {
			sv.logger.Warn("event store does not answer, trying on", "error", err)
		} else {
			sv.logger.Debug("event store does not answer", "error", err, "attempt", failures+1)
		}
		if !pause.wait(context.Background(), sv.closed) {
			return false
		}
	}
}

// missing notes that the server does not answer, the first time since it was
// lost or once more.
func (sv *supervisor) missing(cause error, first bool) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.cause = cause
	if first {
		close(sv.away)
	}
}

// attempt makes a connection over which the server answers. A scout asks
// first: its only attempt at discovery ends at once and harmlessly, whereas a
// client meant for use must not give up (see clientConfiguration).
func (sv *supervisor) attempt() (*connection, error) {
	scout := sv.conf
	scout.MaxDiscoverAttempts = 1
	scout.DiscoveryInterval = 1
	conn, err := sv.open(scout)
	if err != nil {
		return nil, err
	}
	sv.retire(conn)
	return sv.open(sv.conf)
}

// open makes a connection and asks the server over it.
func (sv *supervisor) open(conf client.Configuration) (*connection, error) {
	c, err := client.NewClient(&conf)
	if err != nil {
		return nil, err
	}
	conn := &connection{client: c, calls: 1, idle: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), sv.probe)
	defer cancel()
	if _, err := doOver(ctx, sv, conn, lastPosition); err != nil {
		sv.retire(conn)
		return nil, err
	}
	return conn, nil
}

// publish opens the gate to a new connection.
func (sv *supervisor) publish(conn *connection) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.closing {
		sv.retireLocked(conn)
		return false
	}
	sv.current = conn
	sv.connections++
	close(sv.gate)
	if sv.connections > 1 {
		sv.logger.Info("event store answers again")
	}
	return true
}

// acquire waits for a connection; every acquire needs its release. Who is not
// patient waits only a moment for a server that is known to be away.
func (sv *supervisor) acquire(ctx context.Context, patient bool) (*connection, error) {
	conn, gate, away, err := sv.use()
	if conn != nil || err != nil {
		return conn, err
	}
	grace := time.NewTimer(returnGrace)
	defer grace.Stop()
	for waited := false; ; {
		if patient || !waited {
			away = nil
		}
		select {
		case <-gate:
		case <-sv.closed:
		case <-grace.C:
			waited = true
		case <-away:
			return nil, sv.absence()
		case <-ctx.Done():
			return nil, sv.absence()
		}
		if conn, gate, away, err = sv.use(); conn != nil || err != nil {
			return conn, err
		}
	}
}

// use takes the current connection. There is none while the server is away:
// gate then opens when it is back, and away when it was looked for in vain.
func (sv *supervisor) use() (conn *connection, gate, away <-chan struct{}, err error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.closing {
		return nil, nil, nil, errClosed
	}
	if sv.current != nil {
		sv.current.calls++
	}
	return sv.current, sv.gate, sv.away, nil
}

// await waits until the server has answered. False means that ctx or the store
// ended.
func (sv *supervisor) await(ctx context.Context) bool {
	for {
		conn, gate, _, err := sv.use()
		if err != nil || ctx.Err() != nil {
			if conn != nil {
				sv.release(conn)
			}
			return false
		}
		if conn != nil {
			sv.release(conn)
			return true
		}
		select {
		case <-gate:
		case <-sv.closed:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// absence is why nobody is connected.
func (sv *supervisor) absence() error {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return &awayError{cause: sv.cause}
}

func (sv *supervisor) release(conn *connection) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	conn.calls--
	if conn.retired && conn.calls == 0 {
		close(conn.idle)
	}
}

// judge takes a connection out of use when err shows that its client lost the
// server.
func (sv *supervisor) judge(conn *connection, err error) {
	if err == nil || !connectionLost(err) {
		return
	}
	sv.mu.Lock()
	if sv.current != conn {
		sv.mu.Unlock()
		return
	}
	sv.current = nil
	sv.gate, sv.away = make(chan struct{}), make(chan struct{})
	sv.cause = err
	sv.retireLocked(conn)
	sv.mu.Unlock()
	sv.logger.Warn("event store lost, connecting anew", "error", err)
	sv.lost <- struct{}{} // room for one: only the current connection gets here
}

func (sv *supervisor) retire(conn *connection) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.retireLocked(conn)
}

// retireLocked closes a connection's client after its calls have ended. Closing
// it earlier makes the client panic in them, which is how calls that hang in it
// are released after the grace; guarded recovers.
func (sv *supervisor) retireLocked(conn *connection) {
	conn.retired = true
	if conn.calls == 0 {
		close(conn.idle)
	}
	sv.running.Add(1)
	go func() {
		defer sv.running.Done()
		grace := time.NewTimer(retireGrace)
		defer grace.Stop()
		select {
		case <-conn.idle:
		case <-grace.C:
		case <-sv.closed:
			grace.Reset(closeGrace)
			select {
			case <-conn.idle:
			case <-grace.C:
			}
		}
		if err := conn.client.Close(); err != nil {
			sv.logger.Warn("event store: close client", "error", err)
		}
	}()
}

func (sv *supervisor) close() {
	sv.mu.Lock()
	if !sv.closing {
		sv.closing = true
		close(sv.closed)
		if sv.current != nil {
			sv.retireLocked(sv.current)
			sv.current = nil
		}
	}
	sv.mu.Unlock()
	sv.running.Wait()
}

// pauses are the jittered, growing waits between attempts. The zero value is
// ready.
type pauses struct{ policy *backoff.ExponentialBackOff }

// wait sleeps until the next attempt is due. False means that ctx or the store
// ended first.
func (p *pauses) wait(ctx context.Context, closed <-chan struct{}) bool {
	if p.policy == nil {
		p.policy = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(20*time.Millisecond),
			backoff.WithMaxInterval(longestPause),
			backoff.WithMaxElapsedTime(0))
	}
	t := time.NewTimer(p.policy.NextBackOff())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-closed:
	}
	return false
}

// reset makes the next wait short again.
func (p *pauses) reset() {
	if p.policy != nil {
		p.policy.Reset()
	}
}
