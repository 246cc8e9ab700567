package admin

import (
	"context"
	"net/http"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/internal/httpx"
	"docket/internal/vault"

	"github.com/google/uuid"
)

type issueAPIKey struct {
	Body struct {
		UserID         uuid.UUID  `json:"userId"`
		OrganizationID *uuid.UUID `json:"organizationId,omitempty" nullable:"true" doc:"That the key sees, with those below it. The caller's own unless given."`
		Name           string     `json:"name" minLength:"1"`
		Description    *string    `json:"description,omitempty" nullable:"true"`
		ExpiryDate     time.Time  `json:"expiryDate"`
	}
}

// issued is a key with its secret, which is shown this once.
type issued struct {
	ID             domain.ID `json:"id"`
	Key            string    `json:"key" doc:"Shown this once."`
	UserID         domain.ID `json:"userId"`
	OrganizationID domain.ID `json:"organizationId"`
	Name           string    `json:"name"`
	ExpiryDate     time.Time `json:"expiryDate"`
}

type issuedAnswer struct{ Body issued }

func registerAPIKeys(w *writes) {
	httpx.Register(w.API, httpx.Op{ID: "issue-api-key", Method: http.MethodPost, Path: "/api-keys", Summary: "Issue an API key to a user", Tags: []string{"API keys"},
		Description: "For service users, and for users who cannot log in to make one. Users with rights that the caller lacks are refused.",
		Permission:  "apiKeys.manageAll", Success: http.StatusCreated}, w.issueAPIKey)
}

func (w *writes) issueAPIKey(ctx context.Context, in *issueAPIKey) (*issuedAnswer, error) {
	// Fixed by the request, so that one repeated after a crash shows the same key.
	key := "dk_" + w.Vault.HMAC("issued api key", commands.RequestOf(ctx).ID.String())
	command := commanded.IssueAPIKey{ID: commands.NewID(ctx), UserID: in.Body.UserID, Hash: vault.HashToken(key), ExpiresAt: in.Body.ExpiryDate, MaxLife: w.MaxKeyLife,
		Details: commanded.Details{Name: in.Body.Name, Description: text(in.Body.Description)}}
	if in.Body.OrganizationID != nil {
		command.OrganizationID = *in.Body.OrganizationID
	}
	done, err := commands.Send(ctx, w.Bus, command)
	if err != nil {
		return nil, err
	}
	k := done.State
	return &issuedAnswer{issued{ID: k.ID, Key: key, UserID: k.UserID, OrganizationID: k.OrganizationID, Name: k.Name, ExpiryDate: k.ExpiresAt}}, nil
}
