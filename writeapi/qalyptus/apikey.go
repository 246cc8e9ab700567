package qalyptus

import (
	"context"
	"net/http"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

type addAPIKey struct {
	Body struct {
		Name        string    `json:"name" minLength:"1"`
		Description *string   `json:"description,omitempty" nullable:"true"`
		ExpiryDate  time.Time `json:"expiryDate"`
	}
}

type updateAPIKey struct {
	ID   uuid.UUID `path:"id"`
	Body struct {
		Name        string  `json:"name" minLength:"1"`
		Description *string `json:"description,omitempty" nullable:"true"`
	}
}

// newAPIKey is a key with its secret, which is shown this once.
type newAPIKey struct {
	qalyptus.APIKey
	Key string `json:"key"`
}

func registerAPIKeys(w *writes) {
	tags := []string{"API Key"}
	create[newAPIKey](w, httpx.Op{ID: "1", Path: "/api-keys", Summary: "Create API key", Tags: tags, Permission: "apiKeys.use"}, w.addAPIKey)
	update[qalyptus.APIKey](w, httpx.Op{ID: "3", Path: "/api-keys/{id}", Summary: "Update API key", Tags: tags, Permission: "apiKeys.use"}, w.updateAPIKey)
	removeOne(w, httpx.Op{ID: "5", Path: "/api-keys/{id}", Summary: "Delete API key", Tags: tags, Permission: "apiKeys.use"}, revokeOwn)
	removeMany(w, httpx.Op{ID: "6", Path: "/api-keys", Summary: "Delete API keys", Tags: tags, Permission: "apiKeys.use"}, revokeOwn)
	removeOne(w, httpx.Op{ID: "7", Path: "/api-keys/admin/{id}", Summary: "Delete API key (Admin)", Tags: tags, Permission: "apiKeys.manageAll"}, revokeAny)
	removeMany(w, httpx.Op{ID: "8", Path: "/api-keys/admin", Summary: "Delete API keys (Admin)", Tags: tags, Permission: "apiKeys.manageAll"}, revokeAny)
}

func revokeOwn(id domain.ID) commands.Command[directory.APIKey] {
	return commanded.RevokeAPIKey{ID: id}
}

func revokeAny(id domain.ID) commands.Command[directory.APIKey] {
	return commanded.RevokeAPIKeyAdmin{ID: id}
}

func (w *writes) addAPIKey(ctx context.Context, in *addAPIKey) (*httpx.Raw, error) {
	id := commands.NewID(ctx)
	// Fixed by the request, so that one repeated after a crash shows the same key.
	key := "dk_" + w.Vault.HMAC("api key", commands.RequestOf(ctx).ID.String())
	done, err := commands.Send(ctx, w.Bus, commanded.CreateAPIKey{ID: id, Details: commanded.Details{Name: in.Body.Name, Description: text(in.Body.Description)},
		Hash: vault.HashToken(key), ExpiresAt: in.Body.ExpiryDate, MaxLife: w.MaxKeyLife})
	if err != nil {
		return nil, err
	}
	data := newAPIKey{APIKey: w.apiKey(ctx, done.State), Key: key}
	return httpx.JSON(http.StatusCreated, qalyptus.Envelope[newAPIKey]{Data: data, IsSuccess: true})
}

func (w *writes) updateAPIKey(ctx context.Context, in *updateAPIKey) (*httpx.Raw, error) {
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateAPIKey{ID: in.ID, Details: commanded.Details{Name: in.Body.Name, Description: text(in.Body.Description)}})
	return answer(ctx, w, http.StatusOK, qalyptus.APIKeyShape, in.ID, done, err, func(k directory.APIKey) qalyptus.APIKey { return w.apiKey(ctx, k) })
}

func (w *writes) apiKey(ctx context.Context, k directory.APIKey) qalyptus.APIKey {
	return qalyptus.APIKeyOf(k, w.names(ctx, k.UserID, k.OrganizationID))
}
