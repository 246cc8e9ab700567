package directory

import (
	"bytes"
	"context"
	"slices"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
)

// Bootstrap makes what every installation has: the root organization, the
// system roles, the first administrator and their key. It sends only what is
// missing, so that running it again appends nothing. hash is the SHA-256 of the
// key; another one than before takes the key's place, also when the key was
// revoked. A key that was revoked stays so while its hash is the same.
//
// The context carries the request; the actor is the system.
func Bootstrap(ctx context.Context, b *commands.Bus, hash []byte) error {
	ctx = domain.WithActor(ctx, domain.System(directory.GlobalID))
	if err := ensure(ctx, b, createRoot{}, nil); err != nil {
		return err
	}
	for _, r := range directory.SystemRoles() {
		if err := ensure(ctx, b, createSystemRole{r}, refreshSystemRole{r}); err != nil {
			return err
		}
	}
	if err := ensure(ctx, b, createAdministrator{}, nil); err != nil {
		return err
	}
	_, err := commands.Send(ctx, b, setBootstrapKey{hash})
	return err
}

// ensure creates an aggregate or refreshes it. It looks before
// it sends, since a command that creates would use up a number.
func ensure[S domain.State[S]](ctx context.Context, b *commands.Bus, create, refresh commands.Command[S]) error {
	state, _, err := commands.Load[S](ctx, b, create.Stream())
	if err != nil {
		return err
	}
	cmd := refresh
	if !state.Exists() {
		cmd = create
	}
	if cmd == nil {
		return nil
	}
	_, err = commands.Send(ctx, b, cmd)
	return err
}

// onlySystem refuses bootstrap commands from anybody else. No API sends them.
const onlySystem = "operations.edit"

// createRoot makes the organization everything is in.
type createRoot struct{}

func (createRoot) Name() string       { return "directory.create-root" }
func (createRoot) Stream() string     { return directory.OrganizationStream(directory.GlobalID) }
func (createRoot) Permission() string { return onlySystem }
func (createRoot) NumberKind() string { return "organization" }

func (createRoot) Decide(o directory.Organization, env commands.Env) ([]domain.Event, error) {
	if o.Exists() {
		return nil, nil
	}
	return []domain.Event{directory.OrganizationCreated{
		ID: directory.GlobalID, Number: env.Number, Ancestors: []domain.ID{}, Name: "Global", DisplayName: "Global", CreatedAt: env.Now,
	}}, nil
}

// createSystemRole makes one of the roles that come with Docket.
type createSystemRole struct{ Role directory.SystemRole }

func (c createSystemRole) Name() string       { return "directory.create-system-role" }
func (c createSystemRole) Stream() string     { return directory.RoleStream(c.Role.ID) }
func (c createSystemRole) Permission() string { return onlySystem }
func (c createSystemRole) NumberKind() string { return "role" }

func (c createSystemRole) Decide(r directory.Role, env commands.Env) ([]domain.Event, error) {
	if r.Exists() {
		return nil, nil
	}
	return []domain.Event{directory.RoleCreated{
		ID: c.Role.ID, Number: env.Number, OrganizationID: directory.GlobalID, Name: c.Role.Name, Description: c.Role.Description, System: true,
		AllProjects: true, Projects: []domain.ID{}, Permissions: c.Role.Permissions, Active: true, CreatedAt: env.Now,
	}}, nil
}

// refreshSystemRole follows a newer release that words or gives more.
type refreshSystemRole struct{ Role directory.SystemRole }

func (c refreshSystemRole) Name() string       { return "directory.refresh-system-role" }
func (c refreshSystemRole) Stream() string     { return directory.RoleStream(c.Role.ID) }
func (c refreshSystemRole) Permission() string { return onlySystem }

func (c refreshSystemRole) Decide(r directory.Role, env commands.Env) ([]domain.Event, error) {
	var events []domain.Event
	if r.Name != c.Role.Name || r.Description != c.Role.Description {
		events = append(events, directory.RoleDetailsChanged{ID: c.Role.ID, Name: c.Role.Name, Description: c.Role.Description, At: env.Now})
	}
	if !slices.Equal(r.Permissions, c.Role.Permissions) {
		events = append(events, directory.RolePermissionsChanged{ID: c.Role.ID, Permissions: c.Role.Permissions, At: env.Now})
	}
	return events, nil
}

// createAdministrator makes the user that the bootstrap key acts for.
type createAdministrator struct{}

func (createAdministrator) Name() string       { return "directory.create-administrator" }
func (createAdministrator) Stream() string     { return directory.UserStream(directory.AdministratorID) }
func (createAdministrator) Permission() string { return onlySystem }
func (createAdministrator) NumberKind() string { return "user" }

func (createAdministrator) Decide(u directory.User, env commands.Env) ([]domain.Event, error) {
	if u.Exists() {
		return nil, nil
	}
	return []domain.Event{directory.UserCreated{
		ID: directory.AdministratorID, Number: env.Number, Kind: directory.KindUser, UserName: "administrator", FirstName: "System", LastName: "Administrator",
		Active: true, Language: "en", Roles: []domain.ID{directory.AdministratorsID}, Organizations: []domain.ID{directory.GlobalID},
		Groups: []domain.ID{}, CreatedAt: env.Now,
	}}, nil
}

// noExpiry is when the bootstrap key ends: it is renewed by the configuration.
var noExpiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// setBootstrapKey makes the operator's key, or puts another in its place.
type setBootstrapKey struct{ Hash []byte }

func (c setBootstrapKey) Name() string       { return "directory.set-bootstrap-key" }
func (c setBootstrapKey) Stream() string     { return directory.APIKeyStream(directory.BootstrapKeyID) }
func (c setBootstrapKey) Permission() string { return onlySystem }

func (c setBootstrapKey) Decide(k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	if k.ID == directory.BootstrapKeyID && bytes.Equal(k.Hash, c.Hash) {
		return nil, nil
	}
	var events []domain.Event
	if k.Exists() { // another key takes its place
		events = append(events, directory.APIKeyRevoked{ID: directory.BootstrapKeyID, At: env.Now})
	}
	return append(events, directory.APIKeyCreated{
		ID: directory.BootstrapKeyID, UserID: directory.AdministratorID, OrganizationID: directory.GlobalID,
		Name: "Bootstrap key", Description: "Set by the configuration", Hash: c.Hash, ExpiresAt: noExpiry, CreatedAt: env.Now,
	}), nil
}
