package reactors

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"docket/domain/fault"
	"docket/eventstore"
	"docket/internal/postgres"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"
)

// handle is the watermill handler: it reads the event and runs the reaction.
func (r *runner) handle(m *message.Message) error {
	in, err := recorded(m)
	if err != nil {
		return err
	}
	event, meta, err := r.engine.Codec.DecodeRecorded(in.Recorded)
	if err != nil {
		return err
	}
	in.Meta = meta
	writes, err := r.reactor.reactions[in.Type](r.reactor.acting(m.Context(), in), event, in)
	if err == nil {
		if out, ok := m.Context().Value(outcomeKey{}).(*outcome); ok {
			out.writes = writes
		}
	}
	return err
}

// outcome is what a handler leaves to be written with the checkpoint. It travels
// in the message's context: the router hands on nothing but messages.
type outcome struct{ writes []Write }

type outcomeKey struct{}

// again is the middleware that retries for ever what waiting may cure.
func (r *runner) again(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		ctx := m.Context()
		wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
		for try := 1; ; try++ {
			m.SetContext(ctx) // the one of the try before may have ended
			out, err := next(m)
			if err == nil || !passing(err) {
				return out, err
			}
			r.log.Debug("reactor: will try the event again", "event", m.UUID, "try", try, "error", err)
			r.update(func(s *Status) { s.State, s.Retry = Retrying, err.Error() })
			if sleep(ctx, wait.NextBackOff()) != nil {
				return nil, err
			}
		}
	}
}

// recoverer is the middleware that makes a panic an error.
func recoverer(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) (out []*message.Message, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = &panicked{p, debug.Stack()}
			}
		}()
		return next(m)
	}
}

// panicked is a panic of a handler.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("the handler panicked: %v", p.value) }

// passing tells whether the same reaction may succeed later.
func passing(err error) bool {
	var f *fault.Error
	switch {
	case errors.Is(err, eventstore.ErrUnavailable), postgres.IsUnavailable(err), errors.Is(err, context.Canceled):
		return true
	case errors.As(err, &f):
		return f.Kind == fault.Unavailable || f.Kind == fault.Limited
	}
	return false
}

// judge is the outermost middleware. An error that reaches it stops the reactor,
// unless the reactor is being stopped anyway. To the router it says what makes it
// refuse the message without another line in the log.
func (r *runner) judge(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		ctx := m.Context() // before others put theirs in
		out, err := next(m)
		if err == nil {
			return out, nil
		}
		if ctx.Err() == nil {
			e, unreadable := recorded(m)
			r.stopped(&e.Recorded, errors.Join(err, unreadable))
		}
		return nil, context.Canceled
	}
}
