// Package qalyptus is the writing half of the Qalyptus Server API v2: bodies in,
// commands out, answers in the dialect's envelope.
package qalyptus

import (
	"context"
	"net/http"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/access"
	"docket/readapi/qalyptus"
	"docket/readapi/query"

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
		registerAPIKeys, registerGroups, registerOrganizations, registerProjects, registerRoles, registerTasks, registerUsers, registerUserDirectories,
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

// create registers a POST that makes a T and answers 201 with it.
func create[T, I any](w *writes, op httpx.Op, run func(context.Context, *I) (*httpx.Raw, error)) {
	op.Method, op.Success, op.Returns = http.MethodPost, http.StatusCreated, qalyptus.Envelope[T]{}
	httpx.Register(w.API, op, run)
}

// update registers a PUT that answers with the T it changed.
func update[T, I any](w *writes, op httpx.Op, run func(context.Context, *I) (*httpx.Raw, error)) {
	op.Method, op.Returns = http.MethodPut, qalyptus.Envelope[T]{}
	httpx.Register(w.API, op, run)
}

// remove registers a DELETE, which leaves nothing to show.
func remove[I any](w *writes, op httpx.Op, run func(context.Context, *I) (*httpx.Raw, error)) {
	op.Method, op.Returns = http.MethodDelete, qalyptus.Envelope[*string]{}
	httpx.Register(w.API, op, run)
}

// removeOne registers a DELETE of one thing by {id}.
func removeOne[S domain.State[S]](w *writes, op httpx.Op, command func(id domain.ID) commands.Command[S]) {
	remove(w, op, func(ctx context.Context, in *byID) (*httpx.Raw, error) {
		return blank(commands.Send(ctx, w.Bus, command(in.ID)))
	})
}

// removeMany registers a DELETE of several things by a list of ids.
func removeMany[S domain.State[S]](w *writes, op httpx.Op, command func(id domain.ID) commands.Command[S]) {
	remove(w, op, func(ctx context.Context, in *ids) (*httpx.Raw, error) {
		return blank(commands.SendAll(ctx, w.Bus, each(in.Body, command)...))
	})
}

// each makes a command of every entry of a list.
func each[S domain.State[S], E any](list []E, command func(E) commands.Command[S]) []commands.Command[S] {
	all := make([]commands.Command[S], len(list))
	for i, x := range list {
		all[i] = command(x)
	}
	return all
}

// blank answers a write that leaves nothing to show. What came of the commands
// is a parameter so that their call can stand in its place.
func blank[R any](_ R, err error) (*httpx.Raw, error) {
	if err != nil {
		return nil, err
	}
	return qalyptus.Done(), nil
}

// on says which member of the body a refusal is about.
func on(path string, err error) error {
	f := fault.Of(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		return err
	}
	named, message := *f, f.Public
	if len(f.Fields) > 0 {
		message = f.Fields[0].Message
	}
	named.Fields = []fault.Field{{Path: path, Message: message}}
	return &named
}

// answer shows a thing that was written, as a GET reads it; while the read
// models are behind, by what the command knows of it.
func answer[S domain.State[S], T any](ctx context.Context, w *writes, status int, shape *query.Shape[T], id domain.ID,
	written commands.Result[S], err error, of func(S) T) (*httpx.Raw, error) {
	if err != nil {
		return nil, err
	}
	return qalyptus.Written(ctx, w.Reads, status, shape, id, written.Current, func() T { return of(written.State) })
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
