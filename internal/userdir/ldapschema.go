package userdir

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// ldapSchema is how a kind of server writes people and groups.
type ldapSchema struct {
	users, groups string   // filters
	ids           []string // attributes with an id that stays; the first there is counts
	binaryID      bool     // it is a GUID of 16 bytes
	name          []string
	department    []string
	status        []string // attributes that tell who may log in
	memberOf      bool     // people name their groups; else groups name their members
}

// schemas of Active Directory, and of what follows RFC 2798, 4519 and 2307
// (OpenLDAP, 389 Directory Server, FreeIPA).
var (
	microsoftSchema = ldapSchema{
		users: "(&(objectCategory=person)(objectClass=user))", groups: "(objectClass=group)",
		ids: []string{"objectGUID"}, binaryID: true, name: []string{"sAMAccountName"}, department: []string{"department"},
		status: []string{"userAccountControl"}, memberOf: true,
	}
	standardSchema = ldapSchema{
		users:  "(&(|(objectClass=inetOrgPerson)(objectClass=posixAccount))(uid=*))",
		groups: "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
		ids:    []string{"entryUUID", "nsUniqueId"}, name: []string{"uid"}, department: []string{"departmentNumber", "ou"},
		status: []string{"pwdAccountLockedTime", "nsAccountLock"},
	}
)

// schemaOf goes by what a server says of itself.
func schemaOf(root *ldap.Entry) ldapSchema {
	if slices.Contains(root.GetAttributeValues("supportedCapabilities"), activeDirectoryOnly) {
		return microsoftSchema
	}
	return standardSchema
}

func (s ldapSchema) userAttributes() []string {
	all := slices.Concat(s.ids, s.name, s.department, s.status, []string{"givenName", "sn", "mail", "displayName", "cn"})
	if s.memberOf {
		all = append(all, "memberOf")
	}
	return all
}

func (s ldapSchema) groupAttributes() []string {
	all := append(slices.Clone(s.ids), "cn")
	if !s.memberOf {
		all = append(all, "member", "uniqueMember", "memberUid")
	}
	return all
}

// id is the id of an entry that stays, "" without one.
func (s ldapSchema) id(e *ldap.Entry) string {
	for _, attribute := range s.ids {
		raw := e.GetEqualFoldRawAttributeValue(attribute)
		switch {
		case len(raw) == 0:
		case !s.binaryID:
			return string(raw)
		case len(raw) == 16:
			return guid(raw)
		}
	}
	return ""
}

// guid is a GUID as Microsoft writes it: the first three groups come with their
// lowest byte first.
func guid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", []byte{b[3], b[2], b[1], b[0]}, []byte{b[5], b[4]}, []byte{b[7], b[6]}, b[8:10], b[10:16])
}

// idFilter finds the entry with an id.
func (s ldapSchema) idFilter(id string) string {
	var any strings.Builder
	for _, attribute := range s.ids {
		value := ldap.EscapeFilter(id)
		if s.binaryID {
			value = escapedGUID(id)
		}
		fmt.Fprintf(&any, "(%s=%s)", attribute, value)
	}
	return "(|" + any.String() + ")"
}

func escapedGUID(id string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(b) != 16 {
		return ldap.EscapeFilter(id) // finds nobody
	}
	b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7] = b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]
	var escaped strings.Builder
	for _, x := range b {
		fmt.Fprintf(&escaped, `\%02x`, x)
	}
	return escaped.String()
}

// permanentlyLocked is how the password policy of OpenLDAP writes an account that
// an administrator locked.
const permanentlyLocked = "000001010000Z"

// accountDisabled is the bit of userAccountControl for it.
const accountDisabled = 2

// active tells whether somebody may log in by what their entry says.
func (s ldapSchema) active(e *ldap.Entry) bool {
	for _, attribute := range s.status {
		switch value := first(e, attribute); attribute {
		case "userAccountControl":
			flags, err := strconv.ParseInt(value, 10, 64)
			if err == nil && flags&accountDisabled != 0 {
				return false
			}
		case "pwdAccountLockedTime":
			if value == permanentlyLocked {
				return false
			}
		case "nsAccountLock":
			if strings.EqualFold(value, "true") {
				return false
			}
		}
	}
	return true
}

// first is the first value there is of some attributes.
func first(e *ldap.Entry, attributes ...string) string {
	for _, name := range attributes {
		if value := strings.TrimSpace(e.GetEqualFoldAttributeValue(name)); value != "" {
			return value
		}
	}
	return ""
}

// ldapGroups knows who is in which group. Groups within groups stay what they
// are: their members are not members of the outer group.
type ldapGroups struct {
	schema   ldapSchema
	byDN     map[string]string   // id of the group with a name
	ofDN     map[string][]string // ids of groups that name somebody
	ofUserID map[string][]string // the same by user name (RFC 2307)
}

func newLDAPGroups(s ldapSchema) *ldapGroups {
	return &ldapGroups{schema: s, byDN: map[string]string{}, ofDN: map[string][]string{}, ofUserID: map[string][]string{}}
}

func (g *ldapGroups) add(e *ldap.Entry) Group {
	id := g.schema.id(e)
	g.byDN[normalDN(e.DN)] = id
	for _, attribute := range []string{"member", "uniqueMember"} {
		for _, dn := range e.GetEqualFoldAttributeValues(attribute) {
			dn = normalDN(dn)
			g.ofDN[dn] = append(g.ofDN[dn], id)
		}
	}
	for _, name := range e.GetEqualFoldAttributeValues("memberUid") {
		g.ofUserID[name] = append(g.ofUserID[name], id)
	}
	return Group{ExternalID: id, Name: first(e, "cn")}
}

// of are the ids of the groups that somebody is in, sorted, each once.
func (g *ldapGroups) of(e *ldap.Entry, name string) []string {
	var ids []string
	for _, dn := range e.GetEqualFoldAttributeValues("memberOf") {
		if id, known := g.byDN[normalDN(dn)]; known && g.schema.memberOf {
			ids = append(ids, id)
		}
	}
	ids = slices.Concat(ids, g.ofDN[normalDN(e.DN)], g.ofUserID[name])
	slices.Sort(ids)
	return slices.Compact(ids)
}

// normalDN is the form in which distinguished names are compared.
func normalDN(text string) string {
	dn, err := ldap.ParseDN(text)
	if err != nil {
		return strings.ToLower(text)
	}
	return strings.ToLower(dn.String())
}
