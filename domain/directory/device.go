package directory

import (
	"time"

	"docket/domain"
)

// ClientTypes are the kinds of devices (contract safeq section 2).
var ClientTypes = []string{"printer", "chrome_extension", "desktop_client", "mobile_device", "server"}

// KeyTypes are how devices may sign their requests.
var KeyTypes = []string{"rsa", "x509", "ed25519"}

// DeviceRegistered asks to be trusted: an OAuth client of the SAFEQ API (a
// printer, a desktop client, a browser extension).
type DeviceRegistered struct {
	ID             domain.ID `json:"id"`
	OrganizationID domain.ID `json:"organizationId"`
	AccessKeyID    domain.ID `json:"accessKeyId"`
	ClientID       string    `json:"clientId"` // the device's own name for itself
	ClientType     string    `json:"clientType"`
	Description    string    `json:"description"`
	KeyType        string    `json:"keyType,omitempty"`   // rsa, x509 or ed25519
	PublicKey      string    `json:"publicKey,omitempty"` // base64
	CodeHash       []byte    `json:"codeHash"`            // SHA-256 of the device code
	CodeUntil      time.Time `json:"codeUntil"`
	At             time.Time `json:"at"`
}

// DeviceCodeIssued gives a known device another device code.
type DeviceCodeIssued struct {
	ID        domain.ID `json:"id"`
	CodeHash  []byte    `json:"codeHash"`
	CodeUntil time.Time `json:"codeUntil"`
	At        time.Time `json:"at"`
}

// DeviceApproved trusts a device.
type DeviceApproved struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// DeviceTokenIssued spends the device code or the refresh token before.
type DeviceTokenIssued struct {
	ID           domain.ID `json:"id"`
	RefreshHash  []byte    `json:"refreshHash"`
	RefreshUntil time.Time `json:"refreshUntil"`
	At           time.Time `json:"at"`
}

// DeviceTokensRevoked makes a device register again.
type DeviceTokensRevoked struct {
	ID     domain.ID `json:"id"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// DeviceRemoved ends the trust in a device, or refuses it.
type DeviceRemoved struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

func (DeviceRegistered) EventType() string    { return "directory.device-registered" }
func (DeviceCodeIssued) EventType() string    { return "directory.device-code-issued" }
func (DeviceApproved) EventType() string      { return "directory.device-approved" }
func (DeviceTokenIssued) EventType() string   { return "directory.device-token-issued" }
func (DeviceTokensRevoked) EventType() string { return "directory.device-tokens-revoked" }
func (DeviceRemoved) EventType() string       { return "directory.device-removed" }

// Device is a device as it is.
type Device struct {
	ID             domain.ID
	OrganizationID domain.ID
	AccessKeyID    domain.ID
	ClientID       string
	ClientType     string
	Description    string
	KeyType        string
	PublicKey      string
	Approved       bool
	CodeHash       []byte `json:"-"` // nil when spent
	CodeUntil      time.Time
	RefreshHash    []byte `json:"-"` // nil until a token was issued
	RefreshUntil   time.Time
	RegisteredAt   time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (d Device) Apply(e domain.Event) Device {
	switch e := e.(type) {
	case DeviceRegistered:
		return Device{ID: e.ID, OrganizationID: e.OrganizationID, AccessKeyID: e.AccessKeyID, ClientID: e.ClientID, ClientType: e.ClientType,
			Description: e.Description, KeyType: e.KeyType, PublicKey: e.PublicKey, CodeHash: e.CodeHash, CodeUntil: e.CodeUntil,
			RegisteredAt: e.At, ModifiedAt: e.At, Live: true}
	case DeviceCodeIssued:
		d.CodeHash, d.CodeUntil, d.ModifiedAt = e.CodeHash, e.CodeUntil, e.At
	case DeviceApproved:
		d.Approved, d.ModifiedAt = true, e.At
	case DeviceTokenIssued:
		d.CodeHash, d.RefreshHash, d.RefreshUntil, d.ModifiedAt = nil, e.RefreshHash, e.RefreshUntil, e.At
	case DeviceTokensRevoked:
		d.Approved, d.CodeHash, d.RefreshHash, d.ModifiedAt = false, nil, nil, e.At
	case DeviceRemoved:
		d.Live = false
	}
	return d
}

// Exists implements domain.State.
func (d Device) Exists() bool { return d.Live }

// Organizations implements domain.State.
func (d Device) Organizations() []domain.ID { return []domain.ID{d.OrganizationID} }

// Keys implements domain.State: a client id names one device of an account.
func (d Device) Keys() []domain.Key {
	if !d.Live {
		return nil
	}
	return []domain.Key{{Kind: "device-clientId", Scope: d.OrganizationID.String(), Value: d.ClientID}}
}
