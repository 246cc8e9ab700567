package directory

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/spec"
	"docket/domain/directory"
	"docket/eventstore"
	"docket/eventstore/memory"
	"github.com/stretchr/testify/require"
)

func TestBootstrapCommands(t *testing.T) {
	root := directory.OrganizationCreated{ID: directory.GlobalID, Number: spec.Number, Ancestors: ids(), Name: "Global", DisplayName: "Global", CreatedAt: spec.Now}
	given[directory.Organization](t).When(createRoot{}).Then(root)
	given[directory.Organization](t, root).When(createRoot{}).ThenNothing()

	system := directory.SystemRoles()[1]
	created := directory.RoleCreated{ID: system.ID, Number: spec.Number, OrganizationID: directory.GlobalID, Name: system.Name, Description: system.Description, System: true,
		AllProjects: true, Projects: ids(), Permissions: system.Permissions, Active: true, CreatedAt: spec.Now}
	given[directory.Role](t).When(createSystemRole{system}).Then(created)
	given[directory.Role](t, created).When(createSystemRole{system}).ThenNothing()
	given[directory.Role](t, created).When(refreshSystemRole{system}).ThenNothing()
	newer := system
	newer.Description, newer.Permissions = "newer", []string{"tasks.view"}
	given[directory.Role](t, created).When(refreshSystemRole{newer}).Then(
		directory.RoleDetailsChanged{ID: system.ID, Name: system.Name, Description: "newer", At: spec.Now},
		directory.RolePermissionsChanged{ID: system.ID, Permissions: []string{"tasks.view"}, At: spec.Now})

	made := given[directory.User](t).When(createAdministrator{}).Then(directory.UserCreated{ID: directory.AdministratorID, Number: spec.Number, Kind: directory.KindUser,
		UserName: "administrator", FirstName: "System", LastName: "Administrator", Active: true, Language: "en", Roles: ids(directory.AdministratorsID),
		Organizations: ids(directory.GlobalID), Groups: ids(), CreatedAt: spec.Now})
	require.True(t, made.Exists())

	key := directory.APIKeyCreated{ID: directory.BootstrapKeyID, UserID: directory.AdministratorID, OrganizationID: directory.GlobalID, Name: "Bootstrap key",
		Description: "Set by the configuration", Hash: []byte("1"), ExpiresAt: noExpiry, CreatedAt: spec.Now}
	revoked := directory.APIKeyRevoked{ID: directory.BootstrapKeyID, At: spec.Now}
	another := key
	another.Hash = []byte("2")
	given[directory.APIKey](t).When(setBootstrapKey{[]byte("1")}).Then(key)
	given[directory.APIKey](t, key).When(setBootstrapKey{[]byte("1")}).ThenNothing()
	given[directory.APIKey](t, key, revoked).When(setBootstrapKey{[]byte("1")}).ThenNothing()
	given[directory.APIKey](t, key).When(setBootstrapKey{[]byte("2")}).Then(revoked, another)
	again := given[directory.APIKey](t, key, revoked).When(setBootstrapKey{[]byte("2")}).Then(another)
	require.True(t, again.Exists())
	require.Equal(t, []byte("2"), again.Hash)
}

// TestBootstrap runs it as a start does, over a store.
func TestBootstrap(t *testing.T) {
	store := memory.New()
	start := func(hash string) (appended int) {
		b := commands.NewBus(commands.Config{Store: store, Codec: eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events())...),
			Digest: func(purpose, value string) string { return purpose + value }, Wait: time.Second})
		Register(b)
		ctx := commands.WithRequest(context.Background(), commands.NewRequest("test", spec.Now))
		was := events(t, store)
		require.NoError(t, Bootstrap(ctx, b, []byte(hash)))
		admin, _, err := commands.Load[directory.User](ctx, b, directory.UserStream(directory.AdministratorID))
		require.NoError(t, err)
		require.True(t, admin.Exists())
		k, _, err := commands.Load[directory.APIKey](ctx, b, directory.APIKeyStream(directory.BootstrapKeyID))
		require.NoError(t, err)
		require.Equal(t, hash, string(k.Hash))
		for _, r := range directory.SystemRoles() {
			role, _, err := commands.Load[directory.Role](ctx, b, directory.RoleStream(r.ID))
			require.NoError(t, err)
			require.True(t, role.Exists() && role.System, r.Name)
		}
		return len(events(t, store)) - len(was)
	}
	require.Positive(t, start("first"))
	require.Zero(t, start("first"), "a second start appended something")
	require.Equal(t, 2, start("second"), "the old key is revoked, the new one made")
	require.Zero(t, start("second"))
}

func events(t *testing.T, store eventstore.Store) (all []eventstore.Recorded) {
	for r, err := range store.ReadAll(context.Background(), 0, eventstore.Filter{}) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

func TestPermissions(t *testing.T) {
	for name, permission := range Permissions() {
		// Sessions and devices are for holders of an access key, which Decide looks at.
		open := strings.HasSuffix(name, "-session") || slices.Contains([]string{"directory.register-device", "directory.issue-device-token", "directory.refresh-device"}, name)
		require.Equal(t, open, permission == "", "%s needs %q", name, permission)
		require.True(t, open || directory.KnownPermission(permission), "%s needs %q", name, permission)
	}
}
