// Package qalyptus is the writing half of the Qalyptus Server API v2: bodies in,
// commands out, answers in the dialect's envelope.
package qalyptus

import (
	"context"
	"net/http"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/access"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

// Config is what the writes need.
type Config struct {
	API        *httpx.API
	Bus        *commands.Bus
	Reads      *qalyptus.Reads
	Contents   Contents
	Vault      *vault.Vault
	MaxKeyLife time.Duration // of API keys
	Forget     func()        // what is remembered of callers' rights
}

// Contents knows what a command can't, because it stands in other aggregates.
type Contents interface {
	// Empty is a Conflict fault for an organization that still holds something.
	// What stands in those apart from it does not count.
	Empty(ctx context.Context, organization domain.ID, apart []domain.ID) error
	// Members of a group.
	Members(ctx context.Context, group domain.ID) ([]domain.ID, error)
	// Names of things by their ids.
	Names(ctx context.Context, ids []domain.ID) (map[domain.ID]access.Named, error)
}

type writes struct{ Config }

// Register adds all operations that change something.
func Register(c Config) {
	w := &writes{c}
	for _, add := range []func(*writes){
		registerAPIKeys, registerGroups, registerOrganizations, registerProjects, registerRoles, registerTasks, registerUsers,
	} {
		add(w)
	}
}

// names are those of what an answer refers to, for answers that the read models
// can't give yet. The write is done: what can't be named now is shown by its id.
func (w *writes) names(ctx context.Context, ids ...domain.ID) qalyptus.Names {
	known, err := w.Contents.Names(ctx, ids)
	if err != nil {
		known = nil
	}
	return qalyptus.NamesFor(ctx, known)
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
