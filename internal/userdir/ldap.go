package userdir

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// activeDirectoryOnly is a capability of Active Directory.
const activeDirectoryOnly = "1.2.840.113556.1.4.800"

// ldapSource is a server that speaks LDAP.
type ldapSource struct {
	settings Settings
	options  Options
}

// ldapAddress is what Settings say about where a server is.
type ldapAddress struct {
	host, port string
	base       string // "": the server says
	tls        bool   // from the first byte
	plain      bool   // may do without TLS when the server offers none
}

// address reads Host and Port. Ports 636 and 3269 speak TLS from the first byte,
// as ldaps:// does. Anywhere else TLS begins when the server offers it. A server
// that offers none is left alone, unless the address says ldap:// or is this
// machine's: the password would be there for all to read.
func (s Settings) address() (ldapAddress, error) {
	a := ldapAddress{host: s.Host}
	if strings.Contains(s.Host, "://") {
		u, err := url.Parse(s.Host)
		if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" {
			return a, failure(Refused, false, nil, "the address is no host and no ldap:// or ldaps:// address")
		}
		a.host, a.port, a.base = u.Hostname(), u.Port(), strings.Trim(u.Path, "/")
		a.tls, a.plain = u.Scheme == "ldaps", u.Scheme == "ldap"
	} else if host, port, err := net.SplitHostPort(s.Host); err == nil {
		a.host, a.port = host, port
	}
	a.host = strings.Trim(a.host, "[]")
	if s.Port != 0 {
		a.port = strconv.Itoa(s.Port)
	}
	a.tls = a.tls || a.port == "636" || a.port == "3269"
	if a.port == "" {
		a.port = ldap.DefaultLdapPort
		if a.tls {
			a.port = ldap.DefaultLdapsPort
		}
	}
	if ip := net.ParseIP(a.host); a.host == "localhost" || ip != nil && ip.IsLoopback() {
		a.plain = true
	}
	return a, nil
}

// ldapConn is a connection whose account is bound.
type ldapConn struct {
	*ldap.Conn
	source *ldapSource
	base   string
	schema ldapSchema
}

// connect opens a connection that closes when ctx ends, and binds.
func (s *ldapSource) connect(ctx context.Context) (*ldapConn, error) {
	a, err := s.settings.address()
	if err != nil {
		return nil, err
	}
	c, err := s.secure(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := c.prepare(); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// secure opens a connection with TLS, or without where the server offers none and
// that is all right.
func (s *ldapSource) secure(ctx context.Context, a ldapAddress) (*ldapConn, error) {
	config := &tls.Config{ServerName: a.host, RootCAs: s.options.RootCAs, MinVersion: tls.VersionTLS12}
	c, err := s.dial(ctx, a, config)
	if err != nil || a.tls {
		return c, err
	}
	err = c.StartTLS(config)
	if err == nil {
		return c, nil
	}
	c.end()
	var result *ldap.Error
	switch {
	case !errors.As(err, &result) || result.ResultCode < ldap.ErrorNetwork:
		// The server's answer: it does not do that.
	case strings.Contains(err.Error(), "TLS handshake failed"):
		return nil, tlsTrouble(a.host, err)
	default:
		return nil, c.trouble(err)
	}
	if !a.plain {
		return nil, failure(Certificate, false, err, "%s offers no TLS; write ldap://%s to do without", a.host, a.host)
	}
	return s.dial(ctx, a, config) // the library can't go on with the first one
}

func (s *ldapSource) dial(ctx context.Context, a ldapAddress, config *tls.Config) (*ldapConn, error) {
	address := net.JoinHostPort(a.host, a.port)
	raw, err := (&net.Dialer{Timeout: s.options.Timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, failure(Unreachable, true, err, "the server at %s does not answer", address)
	}
	if a.tls {
		within, cancel := context.WithTimeout(ctx, s.options.Timeout)
		defer cancel()
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(within); err != nil {
			raw.Close()
			return nil, tlsTrouble(a.host, err)
		}
		raw = secure
	}
	c := &ldapConn{Conn: ldap.NewConn(raw, a.tls), source: s, base: a.base}
	c.SetTimeout(s.options.Timeout)
	c.Start()
	return c, nil
}

// prepare binds, and learns what kind of server it is.
func (c *ldapConn) prepare() error {
	if err := c.bind(); err != nil {
		return err
	}
	root, err := c.rootDSE()
	if err != nil {
		return err
	}
	c.schema = schemaOf(root)
	for _, name := range []string{"defaultNamingContext", "namingContexts"} {
		if values := root.GetAttributeValues(name); c.base == "" && len(values) > 0 {
			c.base = values[0]
		}
	}
	if c.base == "" {
		return failure(Refused, false, nil, "the server does not say where its entries are; write ldap://host/dc=example,dc=com")
	}
	return nil
}

func (c *ldapConn) bind() error {
	s := c.source.settings
	if s.BindName == "" {
		return nil // anonymous until bound
	}
	if s.Password == "" {
		return failure(Credentials, false, nil, "there is no password for the account that reads")
	}
	err := c.Bind(s.BindName, s.Password)
	if err == nil {
		return nil
	}
	if refused(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultNoSuchObject, ldap.LDAPResultUnwillingToPerform,
		ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired, ldap.LDAPResultConstraintViolation) {
		return failure(Credentials, false, err, "the server refuses the account that reads (%s)", resultName(err))
	}
	return c.trouble(err)
}

// end closes the connection. That it could not be closed matters to nobody: it is
// not used any more.
func (c *ldapConn) end() { _ = c.Close() }

// rootDSE is what a server says of itself.
func (c *ldapConn) rootDSE() (*ldap.Entry, error) {
	found, err := c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)",
		[]string{"supportedCapabilities", "defaultNamingContext", "namingContexts"}, nil))
	silent := refused(err, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultOperationsError)
	switch {
	case silent, err == nil && len(found.Entries) == 0:
		return &ldap.Entry{}, nil // it does not tell strangers
	case err != nil:
		return nil, c.trouble(err)
	}
	return found.Entries[0], nil
}

// Read implements Source.
func (s *ldapSource) Read(ctx context.Context, visit Visitor) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.end()
	defer context.AfterFunc(ctx, c.end)()
	groups := newLDAPGroups(c.schema)
	err = c.pages(ctx, c.schema.groups, c.schema.groupAttributes(), func(e *ldap.Entry) error { return visit.Group(groups.add(e)) })
	if err != nil {
		return err
	}
	return c.pages(ctx, s.userFilter(c.schema), c.schema.userAttributes(), func(e *ldap.Entry) error {
		return visit.User(s.user(c.schema, groups, e))
	})
}

func (s *ldapSource) userFilter(schema ldapSchema) string {
	filter := strings.TrimSpace(s.settings.Filter)
	if filter == "" {
		return schema.users
	}
	return "(&" + schema.users + filter + ")"
}

func (s *ldapSource) user(schema ldapSchema, groups *ldapGroups, e *ldap.Entry) User {
	plain := first(e, schema.name...)
	u := User{ExternalID: schema.id(e), FirstName: first(e, "givenName"), LastName: first(e, "sn"), Email: first(e, "mail"),
		Department: first(e, schema.department...), Active: schema.active(e), Groups: groups.of(e, plain)}
	u.fallbackName(first(e, "displayName", "cn"))
	s.settings.name(&u, plain, plain)
	return u
}

// pages searches below the base and hands over entries as pages arrive.
func (c *ldapConn) pages(ctx context.Context, filter string, attributes []string, each func(*ldap.Entry) error) error {
	paging := ldap.NewControlPaging(uint32(c.source.options.PageSize))
	request := ldap.NewSearchRequest(c.base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, []ldap.Control{paging})
	for {
		found, err := c.Search(request)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return c.trouble(err)
		}
		for _, e := range found.Entries {
			if err := each(e); err != nil {
				return err
			}
		}
		// Referrals to other servers are left aside.
		next, ok := ldap.FindControl(found.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return nil
		}
		paging.SetCookie(next.Cookie)
	}
}

// Authenticate implements Source: it looks for the user as the account that
// reads, and binds as who was found.
func (s *ldapSource) Authenticate(ctx context.Context, externalID, password string) (bool, error) {
	if password == "" || externalID == "" {
		return false, nil // a bind without a password always goes well
	}
	c, err := s.connect(ctx)
	if err != nil {
		return false, err
	}
	defer c.end()
	defer context.AfterFunc(ctx, c.end)()
	filter := "(&" + s.userFilter(c.schema) + c.schema.idFilter(externalID) + ")"
	found, err := c.Search(ldap.NewSearchRequest(c.base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 0, false, filter, []string{"1.1"}, nil))
	if err != nil {
		return false, c.trouble(err)
	}
	if len(found.Entries) != 1 {
		return false, nil
	}
	err = c.Bind(found.Entries[0].DN, password)
	switch {
	case err == nil:
		return true, nil
	case refused(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultConstraintViolation, ldap.LDAPResultInappropriateAuthentication):
		return false, nil
	}
	return false, c.trouble(err)
}

// trouble says in our words why a server did not do what it was asked.
func (c *ldapConn) trouble(err error) error {
	switch {
	case refused(err, ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultAdminLimitExceeded):
		return failure(SizeLimit, false, err, "the server gives the account that reads only a part of the entries (%s)", resultName(err))
	case refused(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultTimeLimitExceeded):
		return failure(Lost, true, err, "the server does not answer now (%s)", resultName(err))
	case ldap.IsErrorAnyOf(err, ldap.ErrorNetwork) || c.IsClosing() || !isResult(err):
		return failure(Lost, true, err, "the connection to the server was lost")
	}
	return failure(Refused, false, err, "the server refuses (%s)", resultName(err))
}

func isResult(err error) bool {
	var e *ldap.Error
	return errors.As(err, &e)
}

// refused tells whether a server's answer is one of these results.
func refused(err error, codes ...uint16) bool { return ldap.IsErrorAnyOf(err, codes...) }

func resultName(err error) string {
	var e *ldap.Error
	if !errors.As(err, &e) {
		return "no result"
	}
	return fmt.Sprintf("LDAP result %d, %s", e.ResultCode, ldap.LDAPResultCodeMap[e.ResultCode])
}

// tlsTrouble says in our words why there is no TLS. The library hides the cause in
// a text.
func tlsTrouble(host string, err error) error {
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	var invalid x509.CertificateInvalidError
	text := err.Error()
	var what string
	switch {
	case errors.As(err, &unknown) || strings.Contains(text, "unknown authority"):
		what = "it is signed by nobody we know"
	case errors.As(err, &other) || strings.Contains(text, "certificate is valid for") || strings.Contains(text, "not valid for any names") || strings.Contains(text, "doesn't contain any IP SANs"):
		what = "it is for another host"
	case errors.As(err, &invalid) || strings.Contains(text, "x509: certificate"):
		what = "it has expired or must not be used for this"
	default:
		return failure(Unreachable, true, err, "the TLS handshake with %s failed", host)
	}
	return failure(Certificate, false, err, "the certificate of %s can't be trusted: %s", host, what)
}
