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

// EndOrphanedAccessKey ends an access key whose organization was deleted. It does
// nothing to one that has ended or whose organization is there. No API sends it.
type EndOrphanedAccessKey struct{ ID domain.ID }

func (c EndOrphanedAccessKey) Name() string       { return "directory.end-orphaned-access-key" }
func (c EndOrphanedAccessKey) Stream() string     { return directory.AccessKeyStream(c.ID) }
func (c EndOrphanedAccessKey) Permission() string { return onlySystem }

// Explore implements commands.Exploring.
func (c EndOrphanedAccessKey) Explore(k directory.AccessKey, _ commands.Env) []commands.Ref {
	return organizationRefs(k.OrganizationID)
}

// Decide implements commands.Command.
func (c EndOrphanedAccessKey) Decide(k directory.AccessKey, env commands.Env) ([]domain.Event, error) {
	if orphaned, err := orphan(k, k.OrganizationID, env); !orphaned {
		return nil, err
	}
	return []domain.Event{directory.AccessKeyDeleted{ID: c.ID, At: env.Now}}, nil
}

// EndOrphanedDevice is EndOrphanedAccessKey for devices.
type EndOrphanedDevice struct{ ID domain.ID }

func (c EndOrphanedDevice) Name() string       { return "directory.end-orphaned-device" }
func (c EndOrphanedDevice) Stream() string     { return directory.DeviceStream(c.ID) }
func (c EndOrphanedDevice) Permission() string { return onlySystem }

// Explore implements commands.Exploring.
func (c EndOrphanedDevice) Explore(d directory.Device, _ commands.Env) []commands.Ref {
	return organizationRefs(d.OrganizationID)
}

// Decide implements commands.Command.
func (c EndOrphanedDevice) Decide(d directory.Device, env commands.Env) ([]domain.Event, error) {
	if orphaned, err := orphan(d, d.OrganizationID, env); !orphaned {
		return nil, err
	}
	return []domain.Event{directory.DeviceRemoved{ID: c.ID, At: env.Now}}, nil
}

// orphan tells whether something has outlived its organization.
func orphan[S domain.State[S]](s S, organization domain.ID, env commands.Env) (bool, error) {
	if env.Actor.UserID != domain.SystemID {
		return false, fault.New(fault.Denied, "denied", "only the system does this")
	}
	return s.Exists() && !looked[directory.Organization](env, directory.OrganizationStream(organization)).Exists(), nil
}
