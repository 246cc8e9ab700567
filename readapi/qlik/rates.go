package qlik

import (
	"context"
	"time"

	"docket/domain"
	"docket/internal/httpx"

	"github.com/maypok86/otter/v2"
)

// Tiers of the documented request rates.
const (
	Tier1   = "tier1"   // 1,000 requests a minute
	Tier2   = "tier2"   // 100 requests a minute
	Special = "special" // 200 requests a minute
)

// sizeAge is how long the number of a tenant's users is used before it is
// counted again.
const sizeAge = time.Minute

// Rates are Qlik's documented rates: per minute, averaged over five of them, for
// each user of a tenant and for the tenant as a whole.
type Rates struct {
	limiter *httpx.Limiter
	count   func(ctx context.Context, tenant domain.ID) (int64, error)
	sizes   *otter.Cache[domain.ID, int64]
}

// NewRates makes full budgets. count tells how many users a tenant has.
func NewRates(count func(ctx context.Context, tenant domain.ID) (int64, error)) *Rates {
	minutes := func(n int) httpx.Rate { return httpx.Rate{PerMinute: n, Window: 5 * time.Minute} }
	return &Rates{
		limiter: httpx.NewLimiter(map[string]httpx.Rate{Tier1: minutes(1000), Tier2: minutes(100), Special: minutes(200)}),
		count:   count,
		sizes: otter.Must(&otter.Options[domain.ID, int64]{MaximumSize: 10_000,
			ExpiryCalculator: otter.ExpiryWriting[domain.ID, int64](sizeAge)}),
	}
}

// Take takes a request of the caller in ctx from the budgets of a tier; it is a
// Dialect.Limit. A tenant may send half of what its users may send together, but
// never less than one of them: alone, a user would not get the user's rate.
func (r *Rates) Take(ctx context.Context, tier string) error {
	c := caller(ctx)
	tenant := c.Tenant.String()
	if err := r.limiter.Take(tenant+"/"+c.UserID.String(), tier); err != nil {
		return err
	}
	users, err := r.size(ctx, c.Tenant)
	if err != nil {
		return err
	}
	return r.limiter.TakeTimes(tenant, tier, max(1, float64(users)/2))
}

func (r *Rates) size(ctx context.Context, tenant domain.ID) (int64, error) {
	if n, ok := r.sizes.GetIfPresent(tenant); ok {
		return n, nil
	}
	n, err := r.count(ctx, tenant)
	if err == nil {
		r.sizes.Set(tenant, n)
	}
	return n, err
}
