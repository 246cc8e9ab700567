package directory

import (
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// CreateAPIKey gives the actor a key for the organization they work in.
// Problems: name, description, expiryDate.
type CreateAPIKey struct {
	ID        domain.ID
	Details   Details
	Hash      []byte // SHA-256 of the key
	ExpiresAt time.Time
	MaxLife   time.Duration // how long a key may live at most, by the configuration
}

func (c CreateAPIKey) Name() string       { return "directory.create-api-key" }
func (c CreateAPIKey) Stream() string     { return directory.APIKeyStream(c.ID) }
func (c CreateAPIKey) Permission() string { return "apiKeys.use" }

// Explore implements commands.Exploring: whose key it is to be.
func (c CreateAPIKey) Explore(_ directory.APIKey, env commands.Env) []commands.Ref {
	return []commands.Ref{commands.RefTo[directory.User](directory.UserStream(env.Actor.UserID))}
}

// Decide implements commands.Command.
func (c CreateAPIKey) Decide(k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	if k.ID != (domain.ID{}) {
		return nil, exists("apikey", c.ID)
	}
	u := looked[directory.User](env, directory.UserStream(env.Actor.UserID))
	if !u.Exists() || u.Kind != directory.KindUser || !u.Active {
		return nil, fault.New(fault.Denied, "apikey.users-only", "only active users can have API keys")
	}
	v := &verdict{env: env}
	details, expires := c.Details.check(v), v.lifetime(c.ExpiresAt, c.MaxLife)
	if err := v.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{directory.APIKeyCreated{
		ID: c.ID, UserID: u.ID, OrganizationID: env.Actor.Tenant, Name: details.Name, Description: details.Description,
		Hash: c.Hash, ExpiresAt: expires, CreatedAt: env.Now,
	}}, nil
}

// UpdateAPIKey changes what describes a key of the actor's. Problems: name,
// description.
type UpdateAPIKey struct {
	ID      domain.ID
	Details Details
}

func (c UpdateAPIKey) Name() string       { return "directory.update-api-key" }
func (c UpdateAPIKey) Stream() string     { return directory.APIKeyStream(c.ID) }
func (c UpdateAPIKey) Permission() string { return "apiKeys.use" }

// Decide implements commands.Command.
func (c UpdateAPIKey) Decide(k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	if !k.Exists() || k.UserID != env.Actor.UserID {
		return nil, fault.Missing("apikey", c.ID)
	}
	v := &verdict{env: env}
	details := c.Details.check(v)
	if err := v.Err(); err != nil {
		return nil, err
	}
	if details == (Details{k.Name, k.Description}) {
		return nil, nil
	}
	return []domain.Event{directory.APIKeyDetailsChanged{ID: c.ID, Name: details.Name, Description: details.Description, At: env.Now}}, nil
}

// RevokeAPIKey ends a key of the actor's.
type RevokeAPIKey struct{ ID domain.ID }

func (c RevokeAPIKey) Name() string       { return "directory.revoke-api-key" }
func (c RevokeAPIKey) Stream() string     { return directory.APIKeyStream(c.ID) }
func (c RevokeAPIKey) Permission() string { return "apiKeys.use" }

// Decide implements commands.Command.
func (c RevokeAPIKey) Decide(k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	if k.UserID != env.Actor.UserID {
		return nil, fault.Missing("apikey", c.ID)
	}
	return revoke(c.ID, k, env)
}

// RevokeAPIKeyAdmin ends anybody's key.
type RevokeAPIKeyAdmin struct{ ID domain.ID }

func (c RevokeAPIKeyAdmin) Name() string       { return "directory.revoke-api-key-admin" }
func (c RevokeAPIKeyAdmin) Stream() string     { return directory.APIKeyStream(c.ID) }
func (c RevokeAPIKeyAdmin) Permission() string { return "apiKeys.manageAll" }

// Decide implements commands.Command.
func (c RevokeAPIKeyAdmin) Decide(k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	return revoke(c.ID, k, env)
}

func revoke(id domain.ID, k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	if !k.Exists() {
		return nil, fault.Missing("apikey", id)
	}
	return []domain.Event{directory.APIKeyRevoked{ID: id, At: env.Now}}, nil
}
