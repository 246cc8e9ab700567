package safeq

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/access"
)

// Headers of requests.
const (
	KeyHeader    = "X-Api-Key"
	DomainHeader = "X-Account-Domain"
)

// Gate finds out who asks, for which account, and whether they may.
type Gate struct {
	Directory *access.Directory
	Resolver  *access.Resolver
	Tokens    *Tokens
	Account   domain.ID // of requests that name none
	Now       func() time.Time
}

// Caller is who asks.
type Caller struct {
	Key      *access.AccessKey
	Account  access.Account // that the request is about
	UserID   *domain.ID     // of a user token
	DeviceID *domain.ID     // of a device token, or of the device that the user logged in at
	Decision Decision

	needs       Needs
	credentials Credentials
	user        domain.Actor // of a user token
	gate        *Gate
}

type callerKey struct{}

// CallerOf is the caller of a request that was authenticated.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// errors of accounts that are not there.
func noAccount(name string) *fault.Error {
	return fault.New(fault.NotFound, "account.not-found", "there is no account with the domain %.100q", name)
}

// AccountOf finds the account of a request: the header X-Account-Domain, the
// host, or the configured one. Its errors are faults of kind NotFound.
func (g *Gate) AccountOf(ctx context.Context) (*access.Account, error) {
	request := httpx.From(ctx)
	if name := request.Header(DomainHeader); name != "" {
		return g.AccountByDomain(ctx, name)
	}
	host := request.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := g.AccountByDomain(ctx, strings.Trim(host, "[]"))
	if err == nil || !fault.Is(err, fault.NotFound) {
		return a, err
	}
	if a, err = g.Directory.AccountByID(ctx, g.Account); err != nil {
		return nil, err
	}
	if a == nil {
		return nil, fault.New(fault.NotFound, "account.not-found", "the request names no account, and the one for such requests does not exist")
	}
	return a, nil
}

// AccountByDomain finds an account by a domain name.
func (g *Gate) AccountByDomain(ctx context.Context, name string) (*access.Account, error) {
	if !Storable(name) {
		return nil, noAccount(name)
	}
	a, err := g.Directory.AccountByDomain(ctx, name)
	if err == nil && a == nil {
		err = noAccount(name)
	}
	return a, err
}

// Authenticate implements httpx.Dialect.Authenticate: the Caller and the actor go
// into the context.
func (g *Gate) Authenticate(ctx context.Context, r *http.Request) (context.Context, error) {
	n, _ := httpx.From(ctx).Operation.Meta.(Needs)
	c, err := g.caller(ctx, r, n)
	if err != nil {
		return ctx, err
	}
	return c.enter(ctx)
}

// caller looks everything up that Decide needs.
func (g *Gate) caller(ctx context.Context, r *http.Request, n Needs) (*Caller, error) {
	c := &Caller{gate: g, needs: n}
	if value := r.Header.Get(KeyHeader); value != "" {
		var err error
		if c.Key, err = g.Directory.AccessKey(ctx, value); err != nil {
			return nil, err
		}
	}
	if c.Key == nil {
		return c, nil
	}
	account, err := g.AccountOf(ctx)
	if err != nil {
		return nil, accountFault(err, n)
	}
	c.Account = *account
	c.credentials = Credentials{Key: &c.Key.Settings, Usable: c.Key.Settings.Usable(g.Now(), Address(ctx)), Covers: c.Key.Covers(c.Account), Holds: c.holds}
	if header := r.Header.Get("Authorization"); header != "" && n.Class != KeyOnly {
		c.credentials.Token = BadToken
		return c, c.token(ctx, header)
	}
	return c, nil
}

// accountFault is 404 where the operation is about the account, and 403 elsewhere.
func accountFault(err error, n Needs) error {
	if f := fault.Of(err); f.Kind == fault.NotFound && !n.Account {
		return denied(f.Code, "%s", f.Public)
	}
	return err
}

// Address is where a request came from. A proxy's word is not taken for it: the
// client could have written it.
func Address(ctx context.Context) netip.Addr {
	at, err := netip.ParseAddrPort(httpx.From(ctx).Remote)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr()
}

// token judges the Authorization header. What is wrong with a token makes it a bad
// one; the error is one of ours.
func (c *Caller) token(ctx context.Context, header string) error {
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	claims, err := c.gate.Tokens.Parse(strings.TrimSpace(text), c.gate.Now())
	if err != nil || claims.KeyID != c.Key.ID {
		return nil //nolint:nilerr // the token is bad, which Decide judges
	}
	account, err := c.gate.Directory.AccountByID(ctx, claims.AccountID)
	if err != nil || account == nil {
		return err
	}
	// One acts in the lower of the two accounts, if one lies below the other.
	switch {
	case slices.Contains(account.Path, c.Account.ID):
		c.Account = *account
	case !slices.Contains(c.Account.Path, account.ID):
		return nil
	}
	if claims.DeviceID != nil {
		device, err := c.gate.Directory.DeviceByID(ctx, *claims.DeviceID)
		if err != nil || device == nil || !device.Approved || device.AccessKeyID != c.Key.ID {
			return err
		}
		c.DeviceID = claims.DeviceID
	}
	if claims.UserID == nil {
		c.credentials.Token = DeviceToken
		return nil
	}
	return c.userToken(ctx, claims)
}

func (c *Caller) userToken(ctx context.Context, claims Claims) error {
	revoked, err := c.gate.Directory.SessionRevoked(ctx, *claims.SessionID)
	if err != nil || revoked {
		return err
	}
	user, err := c.gate.Resolver.User(ctx, *claims.UserID, c.Account.ID)
	switch {
	case fault.Is(err, fault.Unauthenticated):
		return nil
	case err != nil:
		return err
	}
	c.user, c.UserID = user, claims.UserID
	c.credentials.Token, c.credentials.Trusted = UserToken, claims.DeviceID != nil
	return nil
}

// AtDevice is the device whose token the request carries, nil without one.
func (c *Caller) AtDevice() *domain.ID {
	if c.credentials.Token != DeviceToken {
		return nil
	}
	return c.DeviceID
}

// holds tells whether the token's user has a right of SAFEQ's names.
func (c *Caller) holds(right string) bool {
	permissions, known := directory.SAFEQRights[right]
	return known && !slices.ContainsFunc(permissions, func(p string) bool { return !c.user.May(p) })
}

// enter decides and puts caller and actor into a context.
func (c *Caller) enter(ctx context.Context) (context.Context, error) {
	c.Decision = Decide(c.needs, c.credentials)
	if c.Decision.Refused != nil {
		return ctx, c.Decision.Refused
	}
	actor, err := c.actor(ctx)
	if err != nil {
		return ctx, err
	}
	return domain.WithActor(context.WithValue(ctx, callerKey{}, c), actor), nil
}

// actor is who commands are sent by.
func (c *Caller) actor(ctx context.Context) (domain.Actor, error) {
	key := c.Key.ID
	permissions := map[string]bool{}
	if c.Decision.ByUser {
		actor := c.user
		actor.KeyID = &key
		for p := range c.user.Permissions {
			permissions[p] = true
		}
		for _, p := range c.needs.Gives {
			permissions[p] = true
		}
		actor.Permissions = permissions
		return actor, nil
	}
	below, err := c.gate.Directory.Subtree(ctx, c.Account.ID)
	if err != nil {
		return domain.Actor{}, err
	}
	for _, p := range append(directory.SAFEQPermissions(c.needs.Rights...), c.needs.Gives...) {
		permissions[p] = true
	}
	return domain.Actor{UserID: key, KeyID: &key, Tenant: c.Account.ID, Organizations: below, Permissions: permissions}, nil
}

// Also asks for rights that turn out to be needed once the request was read, and
// returns the context to go on with.
func Also(ctx context.Context, rights ...string) (context.Context, error) {
	c := *CallerOf(ctx)
	c.needs.Rights = append(slices.Clone(c.needs.Rights), rights...)
	return c.enter(ctx)
}

// Storable tells whether a text can be compared with what is kept.
func Storable(text string) bool {
	return strings.ToValidUTF8(text, "\x00") == text && !strings.ContainsRune(text, 0)
}
