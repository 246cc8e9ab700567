package qalyptus

import (
	"context"
	"slices"
	"testing"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/eventstore/memory"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// nothing is in any organization.
type nothing struct{ Contents }

func (nothing) Empty(context.Context, domain.ID, []domain.ID) error { return nil }

// A request that deleted an organization before its answer got lost is finished
// by its second run, for which the organization is not there any more.
func TestDeletionOfAnOrganizationRunAgain(t *testing.T) {
	store := memory.New()
	bus := commands.NewBus(commands.Config{Store: store, Codec: eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events())...),
		Digest: func(purpose, value string) string { return purpose + value }})
	commanded.Register(bus)
	w := &writes{Config{Bus: bus, Contents: nothing{}}}

	now, one, two := time.Now(), domain.WellKnownID(0x100), domain.WellKnownID(0x101)
	actor := domain.Actor{UserID: domain.WellKnownID(0x110), Tenant: one, Permissions: map[string]bool{"organizations.delete": true}}
	run := func(request uuid.UUID, again bool, sees ...domain.ID) context.Context {
		actor.Organizations = sees
		return domain.WithActor(commands.WithRequest(t.Context(), &commands.Request{ID: request, Now: now, Retry: again}), actor)
	}
	system := domain.WithActor(commands.WithRequest(t.Context(), commands.NewRequest("test", now)), domain.System(directory.GlobalID))
	require.NoError(t, commanded.Bootstrap(system, bus, []byte("key")))
	for id, name := range map[domain.ID]string{one: "One", two: "Two"} {
		_, err := commands.Send(system, bus, commanded.CreateOrganization{ID: id, Details: commanded.OrganizationDetails{DisplayName: name}})
		require.NoError(t, err)
	}

	single, several := uuid.New(), uuid.New()
	_, err := w.deleteOrganization(run(single, false, one), &byID{one})
	require.NoError(t, err)
	_, err = w.deleteOrganization(run(single, true), &byID{one})
	require.NoError(t, err)
	_, err = w.deleteOrganizations(run(several, false, two), &ids{Body: []uuid.UUID{two}})
	require.NoError(t, err)
	_, err = w.deleteOrganizations(run(several, true), &ids{Body: []uuid.UUID{two}})
	require.NoError(t, err)

	// Another request learns nothing of it, run again or not.
	for _, again := range []bool{false, true} {
		_, err = w.deleteOrganization(run(uuid.New(), again), &byID{one})
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		_, err = w.deleteOrganization(run(uuid.New(), again), &byID{directory.GlobalID})
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	}
}
