package safeq

import (
	"errors"
	"time"

	"docket/domain"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// Prefixes of refresh tokens, so that one is never taken for the other.
const (
	SessionRefresh = "sr_"
	DeviceRefresh  = "sd_"
)

// Tokens signs and reads access tokens: JWTs that nobody but Docket reads.
type Tokens struct{ key []byte }

// NewTokens signs with a key of the vault (SigningKey).
func NewTokens(key []byte) *Tokens { return &Tokens{key} }

// Claims are what an access token says. It counts only with the API key it was
// given for, and while its session or device is in force.
type Claims struct {
	UserID    *domain.ID // of a user token
	SessionID *domain.ID // likewise
	DeviceID  *domain.ID // of a device token, or the device that a user logged in at
	AccountID domain.ID
	KeyID     domain.ID
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// wire is Claims as they stand in the token.
type wire struct {
	jwt.RegisteredClaims
	Kind    string     `json:"knd"` // "user" or "device"
	Account domain.ID  `json:"acc"`
	Key     domain.ID  `json:"key"`
	Session *domain.ID `json:"sid,omitempty"`
	Device  *domain.ID `json:"dev,omitempty"` // beside a user
}

// Sign makes the token.
func (t *Tokens) Sign(c Claims) (string, error) {
	w := wire{Kind: "user", Account: c.AccountID, Key: c.KeyID, Session: c.SessionID, Device: c.DeviceID, RegisteredClaims: jwt.RegisteredClaims{
		ID: uuid.NewString(), IssuedAt: jwt.NewNumericDate(c.IssuedAt), ExpiresAt: jwt.NewNumericDate(c.ExpiresAt)}}
	switch {
	case c.UserID != nil && c.SessionID != nil:
		w.Subject = c.UserID.String()
	case c.DeviceID != nil:
		w.Kind, w.Subject, w.Device = "device", c.DeviceID.String(), nil
	default:
		return "", errors.New("safeq: a token is of a user's session or of a device")
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, w).SignedString(t.key)
}

// Parse reads a token that is in force at a time.
func (t *Tokens) Parse(text string, now time.Time) (Claims, error) {
	var w wire
	_, err := jwt.ParseWithClaims(text, &w, func(*jwt.Token) (any, error) { return t.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }))
	if err != nil {
		return Claims{}, err
	}
	subject, err := uuid.Parse(w.Subject)
	if err != nil {
		return Claims{}, err
	}
	c := Claims{AccountID: w.Account, KeyID: w.Key, SessionID: w.Session, DeviceID: w.Device, ExpiresAt: w.ExpiresAt.Time}
	switch {
	case w.Kind == "user" && w.Session != nil:
		c.UserID = &subject
	case w.Kind == "device":
		c.DeviceID = &subject
	default:
		return Claims{}, errors.New("safeq: a token of no kind")
	}
	return c, nil
}

// TokenInfo is what a login and a refresh answer with.
type TokenInfo struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int32  `json:"expires_in" doc:"Seconds."`
}
