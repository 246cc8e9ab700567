package qlik_test

import (
	"context"
	"net/http"
	"testing"

	"docket/cmd/server/servertest"
	"docket/domain"
	"docket/domain/fault"
	"docket/internal/config"
	"docket/readapi/access"
	"docket/readapi/qlik"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// What the users of a tenant send counts together, too: half of what they may
// send, though never less than one of them.
func TestRatesOfATenant(t *testing.T) {
	users := map[domain.ID]int64{domain.WellKnownID(1): 4, domain.WellKnownID(2): 1}
	rates := qlik.NewRates(func(_ context.Context, tenant domain.ID) (int64, error) { return users[tenant], nil })
	take := func(tenant, user uint32) error {
		ctx := domain.WithActor(t.Context(), domain.Actor{Tenant: domain.WellKnownID(tenant), UserID: domain.WellKnownID(user)})
		return rates.Take(ctx, qlik.Tier2)
	}
	const window = 500 // five minutes' worth of a user
	for tenant, senders := range map[uint32]uint32{1: 2, 2: 1} {
		for sender := range senders {
			for range window {
				require.NoError(t, take(tenant, 100+sender))
			}
		}
	}
	for tenant, user := range map[uint32]uint32{1: 199, 2: 100} {
		err := take(tenant, user)
		require.True(t, fault.Is(err, fault.Limited), "%v", err)
		require.Positive(t, fault.Of(err).RetryAfter)
	}
	require.NoError(t, take(3, 199), "another tenant")
}

func TestRatesNeedTheNumberOfUsers(t *testing.T) {
	rates := qlik.NewRates(func(context.Context, domain.ID) (int64, error) { return 0, context.DeadlineExceeded })
	require.ErrorIs(t, rates.Take(domain.WithActor(t.Context(), domain.Actor{}), qlik.Tier1), context.DeadlineExceeded)
}

func TestUsersOfATenant(t *testing.T) {
	var settings config.Config
	root := servertest.Start(t, func(c *config.Config) { settings = *c })
	pool, err := pgxpool.New(t.Context(), settings.PostgresURL)
	require.NoError(t, err)
	defer pool.Close()
	id := root.Organization("Users")
	root.Member(id)
	root.Member(id)
	root.Post("/api/v2/users/recipients", object{"firstName": "No", "lastName": "User", "email": "no@example.com", "isActive": true,
		"organizations": list{object{"id": id}}}).Is(http.StatusCreated)
	n, err := access.NewContents(pool).Users(t.Context(), uuid.MustParse(id))
	require.NoError(t, err)
	require.EqualValues(t, 2, n, "recipients send no requests")
}
