package esdb

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// operation is one use of the client.
type operation[T any] func(ctx context.Context, c *client.Client) (T, error)

// call says what an operation is for.
type call struct {
	what  string
	limit time.Duration // for all attempts
	begun bool          // part of it was done: it waits for the server until its limit
}

// do runs an operation over the current connection, waiting for one if the
// server is away. ctx must have a deadline; it holds even where the client
// ignores it.
func do[T any](ctx context.Context, sv *supervisor, patient bool, op operation[T]) (T, error) {
	conn, err := sv.acquire(ctx, patient)
	if err != nil {
		var none T
		return none, err
	}
	return doOver(ctx, sv, conn, op)
}

type outcome[T any] struct {
	value T
	err   error
}

// doOver runs an operation in a goroutine of its own, so that the caller can
// leave when ctx ends, and releases the connection when the operation returns.
func doOver[T any](ctx context.Context, sv *supervisor, conn *connection, op operation[T]) (T, error) {
	done := make(chan outcome[T], 1)
	sv.inFlight.Add(1)
	go func() {
		defer sv.release(conn)
		defer sv.inFlight.Add(-1)
		r := guarded(ctx, conn.client, op)
		sv.judge(conn, r.err)
		done <- r
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	case <-sv.closed:
		var none T
		return none, errClosed
	}
}

// guarded turns the client's panic in a call that was under way when it was
// closed into an error. Other panics go on.
func guarded[T any](ctx context.Context, c *client.Client, op operation[T]) (r outcome[T]) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			if p.Error() != "send on closed channel" {
				panic(p)
			}
			r.err = errClientGone
		default:
			panic(p)
		}
	}()
	r.value, r.err = op(ctx, c)
	return r
}

// retry repeats an operation until it succeeds, fails for a reason that waiting
// does not cure, or runs into its deadline. An operation that has not begun
// fails sooner when the server is known to be away: nothing is in doubt, and the
// caller learns it while somebody still waits for the answer.
func retry[T any](ctx context.Context, s *Store, c call, op operation[T]) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	var pause pauses
	var cause error // of the last attempt that had time to fail by itself
	for {
		value, err := do(ctx, s.supervisor, c.begun, op)
		if err == nil {
			return value, nil
		}
		if permanent(err) {
			return value, fmt.Errorf("%s: %w", c.what, err)
		}
		if ctx.Err() == nil || cause == nil {
			cause = err
		}
		if errors.As(err, new(*awayError)) || ctx.Err() != nil || !pause.wait(ctx, s.supervisor.closed) {
			return value, unavailable(ctx, c.what, cause)
		}
		c.begun = true // the server may have done it
		s.supervisor.retries.Add(1)
	}
}
