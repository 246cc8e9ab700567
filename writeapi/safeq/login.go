package safeq

import (
	"bytes"
	"context"
	"sync"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/access"
	"docket/readapi/safeq"

	"github.com/google/uuid"
)

// How one identifies oneself at a login.
const (
	byPassword = 0
	byCard     = 1
	byShortID  = 2
	byName     = 3
	byEmail    = 4
)

// Budgets of failed attempts: of one id, which keeps passwords and PINs from being
// guessed, and of one address, which keeps cards and short ids from it.
var failureTiers = map[string]httpx.Rate{
	"id":      {PerMinute: 2, Window: 5 * time.Minute},
	"address": {PerMinute: 40, Window: 5 * time.Minute},
}

// loginFields are what a login is made with.
type loginFields struct {
	AuthType int     `json:"authtype" enum:"0,1,2,3,4" doc:"0 password, 1 card, 2 short id, 3 name only, 4 mail address."`
	UserID   string  `json:"userid" minLength:"1" maxLength:"256"`
	Password *string `json:"password,omitempty" maxLength:"1024" writeOnly:"true" doc:"The password, or the PIN of a card."`
}

type loginAnswer struct{ Body safeq.UserInfo }

func registerLogin(w *writes) {
	needs := safeq.Needs{Class: safeq.Login}
	tags := []string{"Login"}
	add(w, httpx.Op{ID: "7", Method: post, Path: safeq.Base + "/login", Summary: "Authenticate a user", Tags: tags, Form: true}, needs,
		func(ctx context.Context, in *struct{ Body loginFields }) (*loginAnswer, error) {
			return w.login(ctx, in.Body)
		})
	add(w, httpx.Op{ID: "login-get", Extra: true, Method: get, Path: safeq.Base + "/login", Summary: "Authenticate a user (GET)", Tags: tags, Changes: true, Deprecated: true,
		Description: "Not documented by the vendor. Passwords in addresses end up in logs: use POST."}, needs,
		func(ctx context.Context, in *struct {
			AuthType int    `query:"authtype" minimum:"0" maximum:"4" required:"true"`
			UserID   string `query:"userid" minLength:"1" maxLength:"256" required:"true"`
			Password string `query:"password" maxLength:"1024"`
		}) (*loginAnswer, error) {
			fields := loginFields{AuthType: in.AuthType, UserID: in.UserID}
			if in.Password != "" {
				fields.Password = &in.Password
			}
			return w.login(ctx, fields)
		})
}

// login finds the user, checks what they prove it with, and opens a session.
func (w *writes) login(ctx context.Context, in loginFields) (*loginAnswer, error) {
	caller := safeq.CallerOf(ctx)
	switch {
	case in.AuthType == byPassword && text(in.Password) == "":
		return nil, fault.InvalidField("password", "is required")
	case in.AuthType != byPassword && !caller.Decision.InsecureLogin:
		return nil, fault.New(fault.Denied, "login.insecure", "a login without a password needs the token of a device, or an API key that allows unauthenticated requests and untrusted endpoints")
	case (in.AuthType == byName || in.AuthType == byEmail) && !caller.Account.Settings.NameLogins:
		return nil, fault.New(fault.Denied, "login.name", "this account allows no logins by name or mail address alone")
	}
	id := caller.Account.ID.String() + "/" + domain.Normal(in.UserID)
	if err := w.patience(ctx, id); err != nil {
		return nil, err
	}
	person, err := w.identify(ctx, in.AuthType, in.UserID)
	if err != nil {
		return nil, err
	}
	proved, err := w.prove(ctx, in, person)
	if err != nil {
		return nil, err
	}
	if !proved {
		w.failed(ctx, id)
		return nil, fault.New(fault.Unauthenticated, "login.wrong", "the user is unknown, may not log in, or proved it wrongly")
	}
	tokens, err := w.open(ctx, *person)
	if err != nil {
		return nil, err
	}
	providers, err := w.Reads.Providers(ctx)
	if err != nil {
		return nil, err
	}
	info := safeq.UserInfoOf(*person, providers)
	info.Token = tokens
	return &loginAnswer{info}, nil
}

// patience refuses whoever failed too often a moment ago.
func (w *writes) patience(ctx context.Context, id string) error {
	if err := w.failures.Left(id, "id"); err != nil {
		return err
	}
	return w.failures.Left(safeq.Address(ctx).String(), "address")
}

func (w *writes) failed(ctx context.Context, id string) {
	// A budget that is used up already is no matter.
	_ = w.failures.Take(id, "id")
	_ = w.failures.Take(safeq.Address(ctx).String(), "address")
}

// identify finds who an id stands for: somebody who may log in, and nobody when
// there are several.
func (w *writes) identify(ctx context.Context, how int, id string) (*access.Person, error) {
	keys := map[int][]access.PersonKey{byPassword: {access.ByUserName, access.ByEmail}, byCard: {access.ByCard}, byShortID: {access.ByShortID},
		byName: {access.ByUserName}, byEmail: {access.ByEmail}}[how]
	account := safeq.CallerOf(ctx).Account.ID
	for _, key := range keys {
		people, err := w.people(ctx, account, key, id)
		if err != nil {
			return nil, err
		}
		if len(people) == 1 || len(people) > 1 && people[0].AccountID == account && people[1].AccountID != account {
			return &people[0], nil
		}
	}
	return nil, nil
}

// people are those behind an id who may log in.
func (w *writes) people(ctx context.Context, account domain.ID, by access.PersonKey, id string) ([]access.Person, error) {
	if !safeq.Storable(id) {
		return nil, nil
	}
	found, err := w.Gate.Directory.People(ctx, account, by, id)
	var usable []access.Person
	for _, p := range found {
		if safeq.Usable(p, w.now()) {
			usable = append(usable, p)
		}
	}
	return usable, err
}

// prove checks the password or PIN. It takes about as long for users who are not
// there as for others.
func (w *writes) prove(ctx context.Context, in loginFields, person *access.Person) (bool, error) {
	if in.AuthType != byPassword && in.AuthType != byCard {
		return person != nil, nil
	}
	var user directory.User
	if person != nil {
		var err error
		if user, _, err = commands.Load[directory.User](ctx, w.Bus, directory.UserStream(person.ID)); err != nil {
			return false, err
		}
	}
	switch {
	case in.AuthType == byCard && person != nil && user.PINHash == "" && in.Password == nil:
		return true, nil
	case in.AuthType == byCard:
		return w.verify(ctx, user.PINHash, text(in.Password))
	case person != nil && user.Source != "":
		if w.DirectoryLogin == nil {
			return false, nil
		}
		return w.DirectoryLogin(ctx, user, *in.Password)
	}
	return w.verify(ctx, user.PasswordHash, *in.Password)
}

// nobody is the hash of a password that nobody has.
var nobody = sync.OnceValue(func() string { return vault.HashPassword(uuid.NewString()) })

// verify compares a password with its hash. Without one it takes the same time.
func (w *writes) verify(ctx context.Context, hash, password string) (bool, error) {
	select {
	case w.hashing <- struct{}{}:
		defer func() { <-w.hashing }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	known := hash != ""
	if !known {
		hash = nobody()
	}
	right, err := vault.VerifyPassword(hash, password)
	return right && known, err
}

// open begins a session and makes its tokens.
func (w *writes) open(ctx context.Context, p access.Person) (*safeq.TokenInfo, error) {
	caller := safeq.CallerOf(ctx)
	account, err := w.accountByID(ctx, p.AccountID)
	if err != nil {
		return nil, err
	}
	id := commands.NewID(ctx)
	refresh, hash := w.Vault.NewNamedToken(safeq.SessionRefresh, id.String())
	result, err := commands.Send(ctx, w.Bus, commanded.OpenSession{ID: id, UserID: p.ID, OrganizationID: p.AccountID, AccessKeyID: caller.Key.ID,
		DeviceID: caller.AtDevice(), RefreshHash: hash, RefreshUntil: w.refreshUntil(account)})
	if fault.Is(err, fault.Denied) {
		return nil, fault.New(fault.Unauthenticated, "login.ended", "%s", fault.Of(err).Public)
	}
	if err != nil {
		return nil, err
	}
	return w.tokens(result.State, account, refresh, hash)
}

func (w *writes) accountByID(ctx context.Context, id domain.ID) (*access.Account, error) {
	a, err := w.Gate.Directory.AccountByID(ctx, id)
	if err == nil && a == nil {
		err = fault.New(fault.Denied, "account.ended", "the account does not exist any more")
	}
	return a, err
}

func (w *writes) refreshUntil(a *access.Account) time.Time {
	return w.now().Add(time.Duration(a.Settings.RefreshDays) * 24 * time.Hour)
}

// tokens are those of a session whose refresh token was just set.
func (w *writes) tokens(s directory.Session, account *access.Account, refresh string, hash []byte) (*safeq.TokenInfo, error) {
	if !bytes.Equal(s.RefreshHash, hash) {
		// The request ran before and its answer got lost, and with it the token.
		return nil, fault.New(fault.Conflict, "session.answered", "this request was carried out before and its tokens are lost: log in again")
	}
	access, err := w.sign(safeq.Claims{UserID: &s.UserID, SessionID: &s.ID, DeviceID: s.DeviceID, AccountID: s.OrganizationID, KeyID: s.AccessKeyID}, account)
	return &safeq.TokenInfo{AccessToken: access, RefreshToken: refresh, ExpiresIn: account.Settings.AccessSeconds}, err
}

func (w *writes) sign(c safeq.Claims, account *access.Account) (string, error) {
	c.IssuedAt = w.now()
	c.ExpiresAt = c.IssuedAt.Add(time.Duration(account.Settings.AccessSeconds) * time.Second)
	return w.Gate.Tokens.Sign(c)
}

func registerTokens(w *writes) {
	type answer struct{ Body safeq.TokenInfo }
	add(w, httpx.Op{ID: "51", Method: get, Path: safeq.Base + "/token", Summary: "Refresh a user token", Tags: []string{"Token"}, Changes: true,
		Description: "A refresh token is good once. One that comes again ends its session: somebody has a copy."}, safeq.Needs{Class: safeq.KeyOnly},
		func(ctx context.Context, in *struct {
			RefreshToken string `query:"refresh_token" required:"true" minLength:"1"`
		}) (*answer, error) {
			t, err := w.refresh(ctx, safeq.CallerOf(ctx).Key.ID, in.RefreshToken)
			if err != nil {
				return nil, err
			}
			return &answer{*t}, nil
		})
}

// refresh spends a refresh token of a session. What is wrong with it is Denied.
func (w *writes) refresh(ctx context.Context, key domain.ID, spent string) (*safeq.TokenInfo, error) {
	name, hash, ok := w.Vault.ParseNamedToken(safeq.SessionRefresh, spent)
	id, err := uuid.Parse(name)
	if !ok || err != nil {
		return nil, fault.New(fault.Denied, "session.unknown", "the refresh token is not known")
	}
	before, _, err := commands.Load[directory.Session](ctx, w.Bus, directory.SessionStream(id))
	if err != nil {
		return nil, err
	}
	account, err := w.accountByID(ctx, before.OrganizationID)
	if err != nil {
		return nil, err
	}
	next, nextHash := w.Vault.NewNamedToken(safeq.SessionRefresh, name)
	result, err := commands.Send(ctx, w.Bus, commanded.RefreshSession{ID: id, AccessKeyID: key, Spent: hash, RefreshHash: nextHash, RefreshUntil: w.refreshUntil(account)})
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, fault.New(fault.Denied, "session.unknown", "the refresh token is not known")
	case err != nil:
		return nil, err
	case !result.State.Live:
		w.Gate.Directory.Forget() // its access tokens end with it
		return nil, fault.New(fault.Denied, "session.revoked", "the refresh token was used before, so its session was ended: log in again")
	}
	return w.tokens(result.State, account, next, nextHash)
}
