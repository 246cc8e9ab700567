// Package safeq is the writing half of the SAFEQ Cloud API v1: logins and tokens,
// documents, ports, users and groups. The reading half says who may do what.
package safeq

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/blob"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/access"
	"docket/readapi/safeq"
)

// Config is what the writes need.
type Config struct {
	API       *httpx.API
	Bus       *commands.Bus
	Reads     *safeq.Reads
	Gate      *safeq.Gate
	Vault     *vault.Vault
	Uploads   blob.Store // refuses what is too large
	MaxUpload int64      // bytes
	// DirectoryLogin tells whether a password is that of a user who came from a user
	// directory. Nil: such users can't log in by password.
	DirectoryLogin DirectoryLogin
	// Background runs work that outlives its request, with a context that ends with
	// the process.
	Background func(work func(ctx context.Context))
	Logger     *slog.Logger
}

// DirectoryLogin asks a user's own directory.
type DirectoryLogin func(ctx context.Context, user directory.User, password string) (bool, error)

type writes struct {
	Config
	failures *httpx.Limiter
	hashing  chan struct{} // bounds how many passwords are verified at once
}

// Register adds all operations that change something.
func Register(c Config) {
	w := &writes{Config: c, failures: httpx.NewLimiter(failureTiers), hashing: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
	for _, add := range []func(*writes){registerLogin, registerTokens, registerOAuth, registerDocuments, registerCard, registerPorts, registerUsers, registerImport, registerGroups} {
		add(w)
	}
}

// add registers an operation with what it needs.
func add[I, O any](w *writes, op httpx.Op, n safeq.Needs, handle func(context.Context, *I) (*O, error)) {
	safeq.Register(w.API, op, n, handle)
}

type codeAnswer struct{ Body safeq.ErrorCodeInfo }

type idAnswer struct{ Body safeq.ErrorCodeInfoID }

// businesslike tells refusals that are answered 200 with an error code from those
// that have a status of their own (contract safeq 8).
func businesslike(err error) (*fault.Error, bool) {
	f := fault.Of(err)
	if f == nil {
		return nil, false
	}
	switch f.Kind {
	case fault.NotFound, fault.Conflict, fault.Unique, fault.Precondition:
		return f, true
	}
	return f, false
}

// coded answers a change without an id.
func coded(code int, err error) (*codeAnswer, error) {
	if err == nil {
		return &codeAnswer{}, nil
	}
	if f, ok := businesslike(err); ok {
		return &codeAnswer{safeq.ErrorCodeInfo{ErrorCode: code, ErrorMessage: safeq.Message(f)}}, nil
	}
	return nil, err
}

// codedID answers a change that makes something with an id.
func codedID(code int, id int32, err error) (*idAnswer, error) {
	if err == nil {
		return &idAnswer{safeq.ErrorCodeInfoID{ID: id}}, nil
	}
	if f, ok := businesslike(err); ok {
		return &idAnswer{safeq.ErrorCodeInfoID{ErrorCode: code, ErrorMessage: safeq.Message(f)}}, nil
	}
	return nil, err
}

// sent is the error of a command.
func sent[S domain.State[S]](ctx context.Context, w *writes, cmd commands.Command[S]) error {
	_, err := commands.Send(ctx, w.Bus, cmd)
	return err
}

// account finds the account that a port is to belong to, by its domain name.
// Whoever does not see it is told that it is not there.
func (w *writes) account(ctx context.Context, name string) (*access.Account, error) {
	a, err := w.Gate.AccountByDomain(ctx, name)
	if err != nil {
		return nil, err
	}
	if actor, _ := domain.ActorOf(ctx); !actor.Sees(a.ID) {
		return nil, fault.New(fault.NotFound, "account.not-found", "there is no account with the domain %.100q", name)
	}
	return a, nil
}

// ordinary is what every ordinary user may do: who manages users gives that on.
var ordinary = permissionsOf(directory.UsersID)

func permissionsOf(role domain.ID) []string {
	for _, r := range directory.SystemRoles() {
		if r.ID == role {
			return r.Permissions
		}
	}
	panic(fmt.Sprintf("there is no system role %s", role))
}

// asUser makes a user who proved who they are the actor of a context.
func (w *writes) asUser(ctx context.Context, p access.Person) (context.Context, error) {
	actor, err := w.Gate.Resolver.User(ctx, p.ID, p.AccountID)
	if err != nil {
		return ctx, err
	}
	key := safeq.CallerOf(ctx).Key.ID
	actor.KeyID = &key
	return domain.WithActor(ctx, actor), nil
}

const (
	put    = http.MethodPut
	post   = http.MethodPost
	get    = http.MethodGet
	remove = http.MethodDelete
)

// text is what a pointer points at, or "".
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (w *writes) now() time.Time { return w.Gate.Now() }
