// Package userdir reads users and groups from where an organization keeps them:
// LDAP servers (Active Directory, OpenLDAP and their like) and Microsoft Entra ID
// by Microsoft Graph. It knows nothing of what becomes of them.
package userdir

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// User is a person as a directory knows them.
type User struct {
	ExternalID    string // never changes and is never used again: objectGUID, entryUUID, id
	UserName      string
	DomainAccount string // CORP\ada, "" for none
	FirstName     string
	LastName      string
	Email         string
	Department    string
	Active        bool
	Groups        []string // external ids of the groups that they are in themselves
}

// Group is a group as a directory knows it.
type Group struct {
	ExternalID string
	Name       string
}

// Visitor receives entries. An error of its own ends the reading and comes back.
type Visitor interface {
	Group(Group) error
	User(User) error
}

// Source is a directory that can be read.
type Source interface {
	// Read hands over all groups, then all users. When it returns nil, there were no
	// others.
	Read(ctx context.Context, visit Visitor) error
	// Authenticate tells whether a password is that of the user with an external id.
	// It is false for users whom the directory does not have (any more) or whom the
	// filter leaves out. ErrNoPasswords when the directory can't tell.
	Authenticate(ctx context.Context, externalID, password string) (bool, error)
}

// Kind says how a directory is spoken to.
type Kind string

const (
	LDAP  Kind = "ldap"
	Entra Kind = "entra"
)

// Settings are where a directory is and what of it counts.
type Settings struct {
	Kind   Kind
	Filter string // for users: of LDAP, or of OData
	Prefix string // put before user names
	Domain string // before domain accounts, without the backslash

	// Of LDAP. Host is a host, or ldap://host:port/base or ldaps://host:port/base.
	Host     string
	Port     int    // 0: that of Host, or the usual one
	BindName string // "": anonymous
	Password string

	// Of Entra.
	TenantID     string
	ClientID     string
	ClientSecret string
}

// Options are the same for all directories. Zero values take the defaults.
type Options struct {
	RootCAs  *x509.CertPool // whom certificates of LDAP servers are checked against; nil: the machine's
	Timeout  time.Duration  // for one answer; default 60 s
	PageSize int            // of LDAP searches and Graph's lists; default 1,000 and 999
	GraphURL string         // default https://graph.microsoft.com
	LoginURL string         // default https://login.microsoftonline.com
	HTTP     *http.Client   // default: one of its own, which takes Timeout
	Backoff  time.Duration  // first wait after Graph failed without saying how long; default 1 s
}

func (o Options) filled() Options {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.PageSize == 0 {
		o.PageSize = 1000
	}
	if o.GraphURL == "" {
		o.GraphURL = "https://graph.microsoft.com"
	}
	if o.LoginURL == "" {
		o.LoginURL = "https://login.microsoftonline.com"
	}
	o.GraphURL, o.LoginURL = strings.TrimRight(o.GraphURL, "/"), strings.TrimRight(o.LoginURL, "/")
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	return o
}

// Open makes a source. It does not connect yet.
func Open(s Settings, o Options) Source {
	o = o.filled()
	if s.Kind == Entra {
		return &graph{settings: s, options: o}
	}
	return &ldapSource{settings: s, options: o}
}

// ErrNoPasswords says that a directory does not check passwords for others.
var ErrNoPasswords = errors.New("this kind of user directory does not check passwords")

// Error is why a directory could not be read. Reason is for administrators: it
// holds neither secrets nor what the directory holds.
type Error struct {
	Code    string // stable word: "directory.unreachable"
	Reason  string
	Passing bool // may be otherwise in a moment
	Cause   error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Reason + ": " + e.Cause.Error()
	}
	return e.Reason
}

func (e *Error) Unwrap() error { return e.Cause }

// Codes of errors.
const (
	Unreachable = "directory.unreachable"
	Lost        = "directory.lost"        // while it was being read
	Certificate = "directory.certificate" // no TLS that can be trusted
	Credentials = "directory.credentials"
	Refused     = "directory.refused" // a filter, base or right
	SizeLimit   = "directory.size-limit"
)

func failure(code string, passing bool, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Reason: fmt.Sprintf(format, args...), Passing: passing, Cause: cause}
}

// name fills in how a user is called. plain is their name in the directory.
func (s Settings) name(u *User, plain, domainName string) {
	if plain != "" {
		u.UserName = s.Prefix + plain
	}
	switch {
	case domainName == "":
	case s.Domain != "":
		u.DomainAccount = s.Domain + `\` + domainName
	case strings.HasSuffix(s.Prefix, `\`):
		u.DomainAccount = s.Prefix + domainName
	}
}

// fallbackName makes sure that a person has a name to show.
func (u *User) fallbackName(shown string) {
	if u.FirstName == "" && u.LastName == "" {
		u.FirstName = shown
	}
}
