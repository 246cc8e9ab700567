// Package slapdtest runs OpenLDAP's slapd for tests: one of its own per test, in a
// folder that goes with it, on free ports.
package slapdtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"
)

// What every server has. The reader may read everything, the small one gets five
// entries at most.
const (
	Base     = "dc=example,dc=com"
	Admin    = "cn=admin," + Base
	Reader   = "cn=reader," + Base
	Small    = "cn=small," + Base
	Password = "re4d-m3"
)

// Options of a server. Zero values mean OpenLDAP's own ways, with TLS on offer.
type Options struct {
	Microsoft bool   // attributes as of Active Directory, which the server claims to be
	LDIF      string // entries below Base, beside those that every server has
	NoTLS     bool   // no StartTLS
}

// Server is a slapd.
type Server struct {
	Host      string // 127.0.0.1
	Port      int    // ldap://
	TLSPort   int    // ldaps://; 0 without TLS
	Authority *x509.CertPool
	CAFile    string

	t   testing.TB
	dir string
	cmd *exec.Cmd
}

// Start runs a server until the test ends. Without slapd the test is skipped.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	slapd, slapadd := program(t, "slapd"), program(t, "slapadd")
	dir, err := os.MkdirTemp("", "slapd")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{Host: "127.0.0.1", t: t, dir: dir, CAFile: filepath.Join(dir, "ca.pem")}
	s.certify()
	require.NoError(t, os.Mkdir(s.file("db"), 0o700))
	s.write("root.ldif", "dn:\nsupportedCapabilities: 1.2.840.113556.1.4.800\n")
	s.write("slapd.conf", s.configuration(o))
	s.write("data.ldif", base+o.LDIF)
	out, err := exec.CommandContext(t.Context(), slapadd, "-q", "-f", s.file("slapd.conf"), "-l", s.file("data.ldif")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.Port = freePort(t)
	if !o.NoTLS {
		s.TLSPort = freePort(t)
	}
	s.run(slapd)
	t.Cleanup(s.Kill)
	return s
}

func program(t testing.TB, name string) string {
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Skipf("NOT TESTED: %s is not installed (Debian package slapd)", name)
	return ""
}

func (s *Server) run(slapd string) {
	addresses := fmt.Sprintf("ldap://127.0.0.1:%d", s.Port)
	if s.TLSPort != 0 {
		addresses += fmt.Sprintf(" ldaps://127.0.0.1:%d", s.TLSPort)
	}
	s.cmd = exec.CommandContext(context.Background(), slapd, "-f", s.file("slapd.conf"), "-h", addresses, "-d", "0")
	endWithParent(s.cmd)
	var log bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, 20*time.Second, 10*time.Millisecond, "slapd does not answer")
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Restart starts a server that was killed, on the same ports.
func (s *Server) Restart() { s.run(program(s.t, "slapd")) }

// Do changes entries as the administrator.
func (s *Server) Do(do func(c *ldap.Conn) error) {
	s.t.Helper()
	c, err := ldap.DialURL(fmt.Sprintf("ldap://127.0.0.1:%d", s.Port))
	require.NoError(s.t, err)
	defer func() { _ = c.Close() }()
	require.NoError(s.t, c.Bind(Admin, Password))
	require.NoError(s.t, do(c))
}

// Replace sets an attribute of an entry.
func (s *Server) Replace(dn, attribute string, values ...string) {
	s.t.Helper()
	s.Do(func(c *ldap.Conn) error {
		m := ldap.NewModifyRequest(dn, nil)
		m.Replace(attribute, values)
		return c.Modify(m)
	})
}

// Delete removes an entry.
func (s *Server) Delete(dn string) {
	s.t.Helper()
	s.Do(func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(dn, nil)) })
}

// Add adds an entry. attributes are pairs of a name and a value.
func (s *Server) Add(dn string, attributes ...string) {
	s.t.Helper()
	a := ldap.NewAddRequest(dn, nil)
	for i := 0; i+1 < len(attributes); i += 2 {
		a.Attribute(attributes[i], []string{attributes[i+1]})
	}
	s.Do(func(c *ldap.Conn) error { return c.Add(a) })
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) write(name, text string) {
	require.NoError(s.t, os.WriteFile(s.file(name), []byte(text), 0o600))
}

const base = `dn: dc=example,dc=com
objectClass: domain
dc: example

dn: cn=reader,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: re4d-m3

dn: cn=small,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: small
userPassword: re4d-m3

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

`

// microsoft are the parts of Active Directory's schema that are looked at.
const microsoft = `attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.782 NAME 'objectCategory' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.141 NAME 'department' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.1455 NAME 'supportedCapabilities' SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP organizationalPerson STRUCTURAL MUST ( objectGUID $ sAMAccountName )
  MAY ( userAccountControl $ objectCategory $ department $ givenName $ mail $ displayName ) )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MUST ( cn $ objectGUID ) MAY ( sAMAccountName $ member $ description ) )
`

func (s *Server) configuration(o Options) string {
	var c strings.Builder
	for _, schema := range []string{"core", "cosine", "nis", "inetorgperson"} {
		fmt.Fprintf(&c, "include /etc/ldap/schema/%s.schema\n", schema)
	}
	class := "groupOfNames"
	if o.Microsoft {
		c.WriteString(microsoft)
		fmt.Fprintf(&c, "rootDSE %s\n", s.file("root.ldif"))
		class = "group"
	}
	fmt.Fprintf(&c, "modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\nmoduleload ppolicy\npidfile %s\nargsfile %s\nsizelimit unlimited\n", s.file("pid"), s.file("args"))
	if !o.NoTLS {
		fmt.Fprintf(&c, "TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\n", s.CAFile, s.file("cert.pem"), s.file("key.pem"))
	}
	fmt.Fprintf(&c, `database mdb
suffix "%s"
rootdn "%s"
rootpw %s
directory %s
maxsize 1073741824
dbnosync
index objectClass,uid,entryUUID,member,memberUid eq
limits dn.exact="%s" size=5
overlay memberof
memberof-group-oc %s
overlay ppolicy
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth
`, Base, Admin, Password, s.file("db"), Small, class)
	return c.String()
}

// certify makes a certificate for 127.0.0.1 and who signed it.
func (s *Server) certify() {
	authority, authorityKey := s.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "Test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}, nil, nil, "ca.pem", "ca-key.pem")
	s.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "slapd"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, authority, authorityKey, "cert.pem", "key.pem")
	s.Authority = x509.NewCertPool()
	s.Authority.AddCert(authority)
}

func (s *Server) certificate(c, parent *x509.Certificate, signer *ecdsa.PrivateKey, certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	require.NoError(s.t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	s.write(certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.write(keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	made, err := x509.ParseCertificate(der)
	require.NoError(s.t, err)
	return made, key
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Person is LDIF of somebody below ou=people, whose password is "pw-" and the
// user name.
func Person(uid, first, last string, more ...string) string {
	lines := append([]string{"dn: " + DN(uid), "objectClass: inetOrgPerson", "uid: " + uid, "cn: " + first + " " + last, "givenName: " + first, "sn: " + last,
		"mail: " + uid + "@example.com", "userPassword: pw-" + uid}, more...)
	return strings.Join(lines, "\n") + "\n\n"
}

// DN of somebody that Person wrote.
func DN(uid string) string { return "uid=" + uid + ",ou=people," + Base }

// GroupOf is LDIF of a group below ou=groups.
func GroupOf(name string, members ...string) string {
	text := fmt.Sprintf("dn: %s\nobjectClass: groupOfNames\ncn: %s\n", GroupDN(name), name)
	for _, m := range members {
		text += "member: " + m + "\n"
	}
	return text + "\n"
}

// GroupDN is the name of a group that GroupOf wrote.
func GroupDN(name string) string { return "cn=" + name + ",ou=groups," + Base }
