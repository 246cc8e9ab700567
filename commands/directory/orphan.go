package directory

import (
	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// RevokeOrphanedKey ends a key whose user or organization was deleted. It does
// nothing to a key that has ended or whose user and organization are there. No
// API sends it, and Decide refuses everybody but the system.
type RevokeOrphanedKey struct{ ID domain.ID }

func (c RevokeOrphanedKey) Name() string       { return "directory.revoke-orphaned-key" }
func (c RevokeOrphanedKey) Stream() string     { return directory.APIKeyStream(c.ID) }
func (c RevokeOrphanedKey) Permission() string { return onlySystem }

// Explore implements commands.Exploring.
func (c RevokeOrphanedKey) Explore(k directory.APIKey, _ commands.Env) []commands.Ref {
	if !k.Exists() {
		return nil
	}
	return []commands.Ref{
		commands.RefTo[directory.User](directory.UserStream(k.UserID)),
		commands.RefTo[directory.Organization](directory.OrganizationStream(k.OrganizationID)),
	}
}

// Decide implements commands.Command.
func (c RevokeOrphanedKey) Decide(k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	if env.Actor.UserID != domain.SystemID {
		return nil, fault.New(fault.Denied, "denied", "only the system does this")
	}
	if !k.Exists() {
		return nil, nil
	}
	user := looked[directory.User](env, directory.UserStream(k.UserID))
	organization := looked[directory.Organization](env, directory.OrganizationStream(k.OrganizationID))
	if user.Exists() && organization.Exists() {
		return nil, nil
	}
	return []domain.Event{directory.APIKeyRevoked{ID: c.ID, At: env.Now}}, nil
}
