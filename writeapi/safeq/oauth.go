package safeq

import (
	"bytes"
	"cmp"
	"context"
	"slices"
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

const (
	// userClient is the client id under which tokens of users are refreshed.
	userClient = "api"
	// codeLife is how long a device may wait for its approval.
	codeLife = 72 * time.Hour
	// SignatureHeader holds a device's signature of the raw body, in base64.
	SignatureHeader = "HCP-Request-Signature"
)

// oauth is a fault with one of the documented codes.
func oauth(code, format string, args ...any) *fault.Error {
	kind := fault.Invalid
	if code == "access_denied" {
		kind = fault.Denied
	}
	return fault.New(kind, safeq.OAuth+code, format, args...)
}

type deviceCode struct {
	DeviceCode string `json:"device_code"`
	State      string `json:"state,omitempty"`
	ExpiresIn  int    `json:"expires_in" doc:"Seconds."`
}

type oauthTokens struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    int32  `json:"expires_in" doc:"Seconds."`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
}

type registration struct {
	ClientID     string  `json:"client_id" doc:"The device's own name for itself, the same each time."`
	ClientSecret string  `json:"client_secret" writeOnly:"true" doc:"An API key."`
	ClientType   string  `json:"client_type" doc:"printer, chrome_extension, desktop_client, mobile_device or server."`
	ResponseType string  `json:"response_type" doc:"device_code."`
	Description  *string `json:"client_description,omitempty"`
	State        *string `json:"state,omitempty" maxLength:"1024" doc:"Sent back as it is."`
	PublicKey    *string `json:"public_key,omitempty" doc:"Base64. With key_type, or not at all."`
	KeyType      *string `json:"key_type,omitempty" doc:"rsa, x509 or ed25519."`
}

type tokenRequest struct {
	ClientID     string  `json:"client_id" doc:"As registered; \"api\" for the token of a user."`
	ClientSecret string  `json:"client_secret" writeOnly:"true" doc:"An API key."`
	GrantType    string  `json:"grant_type" doc:"device_code or refresh_token."`
	DeviceCode   *string `json:"device_code,omitempty"`
	RefreshToken *string `json:"refresh_token,omitempty"`
}

func registerOAuth(w *writes) {
	tags := []string{"OAuth"}
	type registered struct{ Body deviceCode }
	httpx.Register(w.API, httpx.Op{ID: "oauth-register", Extra: true, Method: post, Path: safeq.OAuthBase + "/register", Summary: "Register a device", Tags: tags, Public: true, Form: true,
		Description: "The device is approved by an administrator, or at once if the API key says so."},
		func(ctx context.Context, in *struct{ Body registration }) (*registered, error) {
			out, err := w.register(ctx, in.Body)
			if err != nil {
				return nil, oauthFault(err)
			}
			return &registered{*out}, nil
		})
	type issued struct{ Body oauthTokens }
	httpx.Register(w.API, httpx.Op{ID: "oauth-token", Extra: true, Method: post, Path: safeq.OAuthBase + "/token", Summary: "Get or refresh a token", Tags: tags, Public: true, Form: true},
		func(ctx context.Context, in *struct{ Body tokenRequest }) (*issued, error) {
			out, err := w.token(ctx, in.Body)
			if err != nil {
				return nil, oauthFault(err)
			}
			return &issued{*out}, nil
		})
}

// oauthCodes are the documented codes of what commands refuse.
var oauthCodes = map[string]string{
	"device.pending": "authorization_pending", "device.code": "invalid_device_code", "device.code-expired": "expired_device_code", "device.ended": "invalid_client_id",
	"device.expired": "token_refresh_error", "device.duplicate": "duplicate_client_id", "accesskey.other": "invalid_client_secret",
	"session.unknown": "token_refresh_error", "session.revoked": "token_refresh_error", "session.ended": "token_refresh_error", "session.expired": "token_refresh_error",
	"session.answered": "token_refresh_error", "device.answered": "token_create_error",
}

// oauthFault gives faults of commands the codes that clients of this API know.
func oauthFault(err error) error {
	f := fault.Of(err)
	if code, ok := oauthCodes[f.Code]; ok {
		return oauth(code, "%s", f.Public)
	}
	if f.Kind == fault.Unique {
		return oauth("duplicate_client_id", "%s", f.Public)
	}
	if f.Kind == fault.Invalid && len(f.Fields) > 0 && f.Code == "invalid" {
		return oauth("invalid_parameters", "%s", safeq.Message(f))
	}
	return err
}

// enter finds the API key and the account of a request, and makes the key its actor.
func (w *writes) enter(ctx context.Context, secret string) (context.Context, *access.AccessKey, *access.Account, error) {
	key, err := w.Gate.Directory.AccessKey(ctx, secret)
	if err != nil {
		return ctx, nil, nil, err
	}
	if key == nil {
		return ctx, nil, nil, oauth("invalid_client_secret", "client_secret is no known API key")
	}
	account, err := w.Gate.AccountOf(ctx)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return ctx, nil, nil, err
	}
	if err != nil || !key.Settings.Usable(w.now(), safeq.Address(ctx)) || !key.Covers(*account) {
		return ctx, nil, nil, oauth("access_denied", "the API key may not be used here")
	}
	below, err := w.Gate.Directory.Subtree(ctx, account.ID)
	return domain.WithActor(ctx, domain.Actor{UserID: key.ID, KeyID: &key.ID, Tenant: account.ID, Organizations: below}), key, account, err
}

func (w *writes) register(ctx context.Context, in registration) (*deviceCode, error) {
	keyType, publicKey := text(in.KeyType), text(in.PublicKey)
	switch {
	case in.ResponseType != "device_code":
		return nil, oauth("invalid_response_type", "response_type must be device_code")
	case in.ClientID == "" || in.ClientID == userClient || !safeq.Storable(in.ClientID):
		return nil, oauth("invalid_client_id", "client_id must be the device's own id")
	case !slices.Contains(directory.ClientTypes, in.ClientType):
		return nil, oauth("invalid_endpoint", "client_type must be printer, chrome_extension, desktop_client, mobile_device or server")
	case keyType != "" && !slices.Contains(directory.KeyTypes, keyType):
		return nil, oauth("invalid_key_type", "key_type must be rsa, x509 or ed25519")
	case (keyType == "") != (publicKey == ""):
		return nil, oauth("invalid_parameters", "public_key and key_type come together or not at all")
	}
	if publicKey != "" {
		if _, err := parsePublicKey(keyType, publicKey); err != nil {
			return nil, oauth("invalid_parameters", "public_key is no %s key in base64", keyType).Because(err)
		}
	}
	ctx, key, account, err := w.enter(ctx, in.ClientSecret)
	if err != nil {
		return nil, err
	}
	known, err := w.Gate.Directory.DeviceByClient(ctx, account.ID, in.ClientID)
	if err != nil {
		return nil, err
	}
	signed, err := w.signed(ctx, known)
	if err != nil {
		return nil, err
	}
	id := commands.NewID(ctx)
	if known != nil {
		id = known.ID
	}
	code, hash := vault.NewToken("dc_")
	result, err := commands.Send(ctx, w.Bus, commanded.RegisterDevice{ID: id, OrganizationID: account.ID, AccessKeyID: key.ID, ClientID: in.ClientID, ClientType: in.ClientType,
		Description: text(in.Description), KeyType: keyType, PublicKey: publicKey, Signed: signed, CodeHash: hash, CodeUntil: w.now().Add(codeLife)})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(result.State.CodeHash, hash) {
		return nil, fault.New(fault.Conflict, "device.answered", "this request was carried out before and its code is lost: register again")
	}
	return &deviceCode{DeviceCode: code, State: text(in.State), ExpiresIn: int(codeLife.Seconds())}, nil
}

// signed checks the signature of a registration: its presence means that the
// device is one which is known by its public key.
func (w *writes) signed(ctx context.Context, known *access.Device) (bool, error) {
	request := httpx.From(ctx)
	signature := request.Header(SignatureHeader)
	switch {
	case signature == "":
		return false, nil
	case known == nil || known.PublicKey == "":
		return false, oauth("invalid_client_for_signature_verification", "no public key is known of this client_id")
	case !verifySignature(known.KeyType, known.PublicKey, signature, request.RawForm()):
		return false, oauth("invalid_signature", "the signature is not that of the body by the device's key")
	}
	return true, nil
}

func (w *writes) token(ctx context.Context, in tokenRequest) (*oauthTokens, error) {
	if in.GrantType != "device_code" && in.GrantType != "refresh_token" {
		return nil, oauth("invalid_grant", "grant_type must be device_code or refresh_token")
	}
	ctx, key, account, err := w.enter(ctx, in.ClientSecret)
	if err != nil {
		return nil, err
	}
	if in.ClientID == userClient {
		return w.userTokens(ctx, key, in)
	}
	device, err := w.device(ctx, account, in.ClientID)
	if err != nil {
		return nil, err
	}
	refresh, hash := w.Vault.NewNamedToken(safeq.DeviceRefresh, device.ID.String())
	until := w.refreshUntil(account)
	var cmd commands.Command[directory.Device]
	if in.GrantType == "device_code" {
		cmd = commanded.IssueDeviceToken{ID: device.ID, AccessKeyID: key.ID, ClientID: in.ClientID, Code: vault.HashToken(text(in.DeviceCode)), RefreshHash: hash, RefreshUntil: until}
	} else {
		name, spent, ok := w.Vault.ParseNamedToken(safeq.DeviceRefresh, text(in.RefreshToken))
		if of, err := uuid.Parse(name); !ok || err != nil || of != device.ID {
			return nil, oauth("token_refresh_error", "the refresh token is not known")
		}
		cmd = commanded.RefreshDevice{ID: device.ID, AccessKeyID: key.ID, ClientID: in.ClientID, Spent: spent, RefreshHash: hash, RefreshUntil: until}
	}
	result, err := commands.Send(ctx, w.Bus, cmd)
	switch {
	case err != nil && fault.Of(err).Code == "device.ended" && in.GrantType == "refresh_token":
		return nil, oauth("token_refresh_error", "%s", fault.Of(err).Public)
	case err != nil:
		return nil, err
	case !result.State.Approved:
		return nil, oauth("token_refresh_error", "the refresh token was used before, so the device is not trusted any more: register again")
	case !bytes.Equal(result.State.RefreshHash, hash):
		return nil, fault.New(fault.Conflict, "device.answered", "this request was carried out before and its tokens are lost: register again")
	}
	signed, err := w.sign(safeq.Claims{DeviceID: &device.ID, AccountID: account.ID, KeyID: key.ID}, account)
	return &oauthTokens{TokenType: "Bearer", ExpiresIn: account.Settings.AccessSeconds, AccessToken: signed, RefreshToken: refresh}, err
}

// device finds who asks. One that registered with a public key has to sign.
func (w *writes) device(ctx context.Context, account *access.Account, clientID string) (*access.Device, error) {
	if !safeq.Storable(clientID) {
		clientID = ""
	}
	device, err := w.Gate.Directory.DeviceByClient(ctx, account.ID, clientID)
	if err != nil {
		return nil, err
	}
	if device == nil {
		return nil, oauth("invalid_client_id", "no device has registered under this client_id")
	}
	if device.PublicKey == "" {
		return device, nil
	}
	request := httpx.From(ctx)
	signature := request.Header(SignatureHeader)
	switch {
	case signature == "":
		return nil, oauth("missing_signature", "the header %s is needed", SignatureHeader)
	case !verifySignature(device.KeyType, device.PublicKey, signature, request.RawForm()):
		return nil, oauth("invalid_signature", "the signature is not that of the body by the device's key")
	}
	return device, nil
}

// userTokens refreshes the token of a user.
func (w *writes) userTokens(ctx context.Context, key *access.AccessKey, in tokenRequest) (*oauthTokens, error) {
	if in.GrantType != "refresh_token" {
		return nil, oauth("invalid_grant", "a user's token is refreshed only")
	}
	t, err := w.refresh(ctx, key.ID, cmp.Or(text(in.RefreshToken), "-"))
	if err != nil {
		return nil, err
	}
	return &oauthTokens{TokenType: "Bearer", ExpiresIn: t.ExpiresIn, AccessToken: t.AccessToken, RefreshToken: t.RefreshToken}, nil
}
