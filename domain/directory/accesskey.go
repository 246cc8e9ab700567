package directory

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"docket/domain"
)

// AccessKeyKind is what a key is for. The words are those of SAFEQ's key types.
type AccessKeyKind string

const (
	GeneralKey  AccessKeyKind = "General"
	EmbeddedKey AccessKeyKind = "Embedded"
	ChromeKey   AccessKeyKind = "Chrome"
	EdgeKey     AccessKeyKind = "Edge"
)

// AccessKeyKinds lists them.
var AccessKeyKinds = []AccessKeyKind{GeneralKey, EmbeddedKey, ChromeKey, EdgeKey}

// AccessKeySettings say what requests with a key may do (contract: SAFEQ API
// access keys). Both Allow flags are off by default.
type AccessKeySettings struct {
	Name                 string        `json:"name"`
	Kind                 AccessKeyKind `json:"kind"`
	Active               bool          `json:"active"`
	AllowUnauthenticated bool          `json:"allowUnauthenticated"` // requests need no user token
	AllowUntrusted       bool          `json:"allowUntrusted"`       // logins need no device token
	AutomaticTrust       bool          `json:"automaticTrust"`       // devices that register with the key are approved at once
	Advanced             bool          `json:"advanced"`             // the key has rights of its own
	Rights               []string      `json:"rights"`               // SAFEQ's names, sorted; count only when Advanced
	AllowedAddresses     []string      `json:"allowedAddresses"`     // addresses or networks (CIDR); empty allows all
	ExpiresAt            *time.Time    `json:"expiresAt,omitempty"`
}

// Insecure tells whether requests with the key are as good as anonymous: neither
// a user's nor a device's token is asked for, and users' rights are not looked at
// (contract safeq 4.2: "insecure API key").
func (s AccessKeySettings) Insecure() bool { return s.AllowUnauthenticated && s.AllowUntrusted }

// Usable tells whether the key may be used at a time from an address. Addresses
// are compared without their zone; IPv4 in IPv6 is IPv4.
func (s AccessKeySettings) Usable(now time.Time, from netip.Addr) bool {
	if !s.Active || s.ExpiresAt != nil && !now.Before(*s.ExpiresAt) {
		return false
	}
	from = from.Unmap().WithZone("")
	return len(s.AllowedAddresses) == 0 || slices.ContainsFunc(s.AllowedAddresses, func(allowed string) bool {
		network, err := ParseNetwork(allowed)
		return err == nil && network.Contains(from)
	})
}

// ParseNetwork reads an address, or a network in CIDR notation.
func ParseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return p, err
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// AccessKeyCreated lets clients of the SAFEQ API in. It belongs to an account,
// not to a user, and works for the accounts below. Only the hash is known.
type AccessKeyCreated struct {
	ID             domain.ID         `json:"id"`
	OrganizationID domain.ID         `json:"organizationId"`
	Hash           []byte            `json:"hash"` // SHA-256 of the key
	Settings       AccessKeySettings `json:"settings"`
	CreatedAt      time.Time         `json:"createdAt"`
}

// AccessKeyChanged replaces what a key may do.
type AccessKeyChanged struct {
	ID       domain.ID         `json:"id"`
	Settings AccessKeySettings `json:"settings"`
	At       time.Time         `json:"at"`
}

// AccessKeyDeleted ends a key, and every session that was opened with it.
type AccessKeyDeleted struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

func (AccessKeyCreated) EventType() string { return "directory.accesskey-created" }
func (AccessKeyChanged) EventType() string { return "directory.accesskey-changed" }
func (AccessKeyDeleted) EventType() string { return "directory.accesskey-deleted" }

// AccessKey is a key as it is.
type AccessKey struct {
	ID             domain.ID
	OrganizationID domain.ID
	Hash           []byte `json:"-"`
	Settings       AccessKeySettings
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (k AccessKey) Apply(e domain.Event) AccessKey {
	switch e := e.(type) {
	case AccessKeyCreated:
		return AccessKey{ID: e.ID, OrganizationID: e.OrganizationID, Hash: e.Hash, Settings: e.Settings, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case AccessKeyChanged:
		k.Settings, k.ModifiedAt = e.Settings, e.At
	case AccessKeyDeleted:
		k.Live = false
	}
	return k
}

// Exists implements domain.State.
func (k AccessKey) Exists() bool { return k.Live }

// Organizations implements domain.State.
func (k AccessKey) Organizations() []domain.ID { return []domain.ID{k.OrganizationID} }

// Keys implements domain.State: a key's name differs within its account, and
// its value (chosen by an operator, maybe) is nobody else's.
func (k AccessKey) Keys() []domain.Key {
	if !k.Live {
		return nil
	}
	return []domain.Key{{Kind: "accesskey-name", Scope: k.OrganizationID.String(), Value: domain.Normal(k.Settings.Name)}, {Kind: "accesskey-value", Value: string(k.Hash)}}
}
