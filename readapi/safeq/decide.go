package safeq

import (
	"slices"
	"strings"

	"docket/domain/directory"
	"docket/domain/fault"
)

// Class is how an operation treats tokens.
type Class int

// The classes of operations (contract safeq 4).
const (
	// General operations need a user token unless the key allows requests without.
	General Class = iota
	// UserOnly operations are about the user of the token.
	UserOnly
	// Job reports need a token of a user or a device; without one the answer is 401.
	Job
	// Login needs the token of a device unless the key allows untrusted endpoints,
	// and never one of a user.
	Login
	// KeyOnly operations look at no token: the refresh of one.
	KeyOnly
)

// Needs is what an operation asks of who calls it (httpx.Op.Meta).
type Needs struct {
	Class    Class
	Rights   []string // SAFEQ's names: of the token's user, and of the key where Advanced counts
	Advanced bool     // the key must have the rights itself
	Owner    bool     // the key need not, for the owner of the document
	Secure   bool     // an insecure key is refused
	Trusted  bool     // a device must be behind it unless the key allows untrusted endpoints
	Account  bool     // it is about the account, so that one which is not there is 404
	// Gives are permissions of the catalogue that the operation gives on, or holds
	// against those of others: what every ordinary user may do.
	Gives []string

	Code int // of the error body
}

// TokenKind is what the Authorization header turned out to be.
type TokenKind int

// The kinds of tokens.
const (
	NoToken TokenKind = iota
	UserToken
	DeviceToken
	BadToken // malformed, expired, of another key, of a user or device who may not act any more
)

// Credentials are what Decide looks at.
type Credentials struct {
	Key     *directory.AccessKeySettings // nil: none, or unknown
	Usable  bool                         // in force, and the address is allowed
	Covers  bool                         // the key works for the account of the request
	Token   TokenKind
	Trusted bool              // the user token was given to a trusted device
	Holds   func(string) bool // the rights of the token's user
}

// Decision is what comes of it. The zero Decision refuses nothing and gives nothing.
type Decision struct {
	Refused *fault.Error
	// ByUser: the user of the token acts, with rights of their own. Otherwise the
	// key does, with exactly those that the operation needs.
	ByUser bool
	// OwnerOnly: the key has no rights on the document, so its owner must be the
	// token's user.
	OwnerOnly bool
	// InsecureLogin: cards, short ids and names may be used to log in.
	InsecureLogin bool
}

// Decide tells whether an operation may go on (contract safeq 4.2, steps 1 to 6).
// It is the whole rule in one place.
func Decide(n Needs, c Credentials) Decision {
	switch {
	case c.Key == nil:
		return refuse("key.unknown", "send a known API key in the header %s", KeyHeader)
	case !c.Usable:
		return refuse("key.unusable", "the API key is not active, has expired or may not be used from this address")
	case !c.Covers:
		return refuse("key.foreign", "the API key does not work for this account")
	}
	if refused := tokenRules(n, c); refused != nil {
		return Decision{Refused: refused}
	}
	insecure := c.Key.Insecure()
	d := Decision{
		ByUser:        c.Token == UserToken && !insecure && n.Class != Login && n.Class != KeyOnly,
		InsecureLogin: c.Token == DeviceToken || insecure,
	}
	if d.ByUser {
		for _, right := range n.Rights {
			if !c.Holds(right) {
				return refuse("user.right", "the user needs the permission %s", right)
			}
		}
	}
	switch {
	case c.Key.Advanced:
		for _, right := range n.Rights {
			if !slices.Contains(c.Key.Rights, right) {
				return refuse("key.right", "the API key needs the advanced permission %s", right)
			}
		}
	case n.Owner && c.Token == UserToken:
		d.OwnerOnly = true
	case n.Advanced || n.Owner:
		return refuse("key.advanced", "the API key needs advanced permissions: %s", strings.Join(n.Rights, ", "))
	}
	return d
}

// tokenRules are those about tokens: the class of the operation, insecure keys,
// untrusted endpoints.
func tokenRules(n Needs, c Credentials) *fault.Error {
	insecure := c.Key.Insecure()
	switch n.Class {
	case KeyOnly:
		return nil
	case Login:
		switch {
		case c.Token == BadToken:
			return unauthenticated("the token is not in force")
		case !c.Key.AllowUntrusted && c.Token != DeviceToken:
			return denied("device.token", "a login with this API key needs the token of a device")
		}
		return nil
	case Job:
		switch {
		case c.Token == BadToken:
			return unauthenticated("the token is not in force")
		case c.Token == NoToken:
			return unauthenticated("the token of a user or a device is needed")
		case insecure:
			return denied("key.insecure", "an insecure API key is not allowed here")
		}
		return nil
	}
	switch {
	case c.Token == BadToken:
		return denied("token.bad", "the token is not in force")
	case c.Token != UserToken && (n.Class == UserOnly || !c.Key.AllowUnauthenticated):
		return denied("token.missing", "the token of a user is needed")
	case insecure && (n.Secure || n.Class == UserOnly):
		return denied("key.insecure", "an insecure API key is not allowed here")
	case n.Trusted && !c.Key.AllowUntrusted && c.Token != DeviceToken && !c.Trusted:
		return denied("device.token", "this needs the token of a device, or of a user who logged in with one")
	}
	return nil
}

func refuse(code, format string, args ...any) Decision {
	return Decision{Refused: denied(code, format, args...)}
}

func denied(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Denied, code, format, args...)
}

func unauthenticated(text string) *fault.Error {
	return fault.New(fault.Unauthenticated, "token.bad", "%s", text)
}
