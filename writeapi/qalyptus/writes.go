// Package qalyptus is the writing half of the Qalyptus Server API v2: bodies in,
// commands out, answers in the dialect's envelope.
package qalyptus

import (
	"context"
	"net/http"

	"docket/commands"
	"docket/domain"
	"docket/internal/httpx"
	"docket/readapi/qalyptus"
	"docket/readapi/query"

	"github.com/google/uuid"
)

// Config is what the writes need.
type Config struct {
	API    *httpx.API
	Bus    *commands.Bus
	Reads  *qalyptus.Reads
	Reader *query.Reader // for what a command can't know by itself: who is in a group
}

type writes struct{ Config }

// Register adds all operations that change something.
func Register(c Config) {
	w := &writes{c}
	for _, add := range []func(*writes){
		registerGroups,
	} {
		add(w)
	}
}

// byID is the input of operations on one thing without a body.
type byID struct {
	ID uuid.UUID `path:"id"`
}

// ids is the input of bulk deletes: a JSON array of ids.
type ids struct {
	Body []uuid.UUID `maxItems:"1000"`
}

// deleteOne registers a DELETE of one thing by {id}.
func deleteOne[S domain.State[S]](w *writes, op httpx.Op, command func(id domain.ID) commands.Command[S]) {
	op.Method, op.Returns = http.MethodDelete, qalyptus.Envelope[*string]{}
	httpx.Register(w.API, op, func(ctx context.Context, in *byID) (*httpx.Raw, error) {
		if _, err := commands.Send(ctx, w.Bus, command(in.ID)); err != nil {
			return nil, err
		}
		return qalyptus.Done(), nil
	})
}

// deleteMany registers a DELETE of several things by a list of ids.
func deleteMany[S domain.State[S]](w *writes, op httpx.Op, command func(id domain.ID) commands.Command[S]) {
	op.Method, op.Returns = http.MethodDelete, qalyptus.Envelope[*string]{}
	httpx.Register(w.API, op, func(ctx context.Context, in *ids) (*httpx.Raw, error) {
		if err := sendAll(ctx, w.Bus, in.Body, command); err != nil {
			return nil, err
		}
		return qalyptus.Done(), nil
	})
}

// sendAll sends one command per id, none of them if one would be refused as
// things stand.
func sendAll[S domain.State[S]](ctx context.Context, b *commands.Bus, list []domain.ID, command func(id domain.ID) commands.Command[S]) error {
	all := make([]commands.Command[S], len(list))
	for i, id := range list {
		all[i] = command(id)
	}
	_, err := commands.SendAll(ctx, b, all...)
	return err
}

// text is an optional string; null and absent are empty.
func text(s *string) string { return value(s) }

// value is what a pointer points at, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}
