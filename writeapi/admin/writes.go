// Package admin is the writing half of Docket's own administration API: it
// publishes projects and tends the read models.
package admin

import (
	"context"
	"log/slog"
	"time"

	"docket/commands"
	"docket/internal/blob"
	"docket/internal/httpx"
	"docket/internal/vault"

	"github.com/google/uuid"
)

// Config is what the writes need.
type Config struct {
	API        *httpx.API
	Bus        *commands.Bus
	Blobs      blob.Store
	Operations Operations
	Reactors   Reactors
	Jobs       Jobs
	Vault      *vault.Vault
	MaxKeyLife time.Duration // of API keys
	Logger     *slog.Logger
}

// Operations work on read models. They change no fact, so they are no commands.
// An unknown group is a NotFound fault, a group that is being rebuilt or verified
// already a Conflict.
type Operations interface {
	// Rebuild starts to build a group anew and returns once that is under way.
	Rebuild(ctx context.Context, group string) error
	// Verify compares a group with the log and returns when it is done.
	Verify(ctx context.Context, group string) (Verification, error)
	// Skip makes a stopped group leave out the event it is stopped at.
	Skip(ctx context.Context, group string, event uuid.UUID, reason string) error
}

type writes struct {
	Config
	decode func(data []byte) (document, error)
}

// Register adds all operations that change something.
func Register(c Config) {
	w := &writes{Config: c, decode: httpx.Decoder[document](c.API)}
	registerProjects(w)
	registerAPIKeys(w)
	registerProjections(w)
	registerReactors(w)
	registerJobs(w)
	registerAccounts(w)
	registerAccessKeys(w)
	registerDevices(w)
	registerSyncRuns(w)
}
