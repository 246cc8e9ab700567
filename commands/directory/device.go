package directory

import (
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"time"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// maxPublicKey is the length of a public key in base64: 16 KiB RSA keys fit.
const maxPublicKey = 8_192

// RegisterDevice asks for trust in a device, and gives it a device code. With a
// key that trusts automatically it is approved at once.
//
// A device that is there already (look it up by its client id) may come again.
// If its request carries a signature by the public key that is known of it, it
// stays approved. Otherwise it begins anew, unless it holds tokens in force: who
// only knows the API key takes no device's place.
//
// Only holders of the access key and the system may send it. Refusals are Denied
// as of OpenSession, Conflict device.duplicate, and Invalid with the problems
// clientId, clientType, description, keyType, publicKey, codeUntil.
type RegisterDevice struct {
	ID             domain.ID
	OrganizationID domain.ID
	AccessKeyID    domain.ID
	ClientID       string
	ClientType     string // one of directory.ClientTypes
	Description    string
	KeyType        string // one of directory.KeyTypes, with PublicKey or not at all
	PublicKey      string // base64
	Signed         bool   // the request was signed with the known public key
	CodeHash       []byte // SHA-256 of the device code
	CodeUntil      time.Time
}

func (c RegisterDevice) Name() string         { return "directory.register-device" }
func (c RegisterDevice) Stream() string       { return directory.DeviceStream(c.ID) }
func (c RegisterDevice) Permission() string   { return "" }
func (c RegisterDevice) Refs() []commands.Ref { return accessRefs(c.AccessKeyID, c.OrganizationID) }

// Explore implements commands.Exploring: the key of the device that was there.
func (c RegisterDevice) Explore(d directory.Device, _ commands.Env) []commands.Ref {
	return deviceRefs(d)
}

// Decide implements commands.Command.
func (c RegisterDevice) Decide(d directory.Device, env commands.Env) ([]domain.Event, error) {
	if d.ID != (domain.ID{}) && !d.Exists() {
		return nil, exists("device", c.ID)
	}
	if err := byKey(env, c.AccessKeyID); err != nil {
		return nil, err
	}
	if err := admitted(env, c.AccessKeyID, c.OrganizationID); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	v.device(&c)
	if err := v.Err(); err != nil {
		return nil, err
	}
	if d.Exists() && (d.ClientID != c.ClientID || d.OrganizationID != c.OrganizationID) {
		return nil, exists("device", c.ID)
	}
	trusted := looked[directory.AccessKey](env, directory.AccessKeyStream(c.AccessKeyID)).Settings.AutomaticTrust
	until := *storedTime(c.CodeUntil)
	switch proven := c.Signed && d.PublicKey != ""; {
	case d.Exists() && proven && d.AccessKeyID == c.AccessKeyID:
		events := []domain.Event{directory.DeviceCodeIssued{ID: c.ID, CodeHash: c.CodeHash, CodeUntil: until, At: env.Now}}
		return approve(events, c.ID, trusted && !d.Approved, env), nil
	case d.Exists() && proven: // the same device with another API key
		trusted, c.KeyType, c.PublicKey = trusted || d.Approved, d.KeyType, d.PublicKey
	case d.Exists() && inForce(d, env):
		return nil, fault.New(fault.Conflict, "device.duplicate", "another device has this client id").On("clientId", "belongs to another device")
	}
	return approve([]domain.Event{directory.DeviceRegistered{ID: c.ID, OrganizationID: c.OrganizationID, AccessKeyID: c.AccessKeyID, ClientID: c.ClientID,
		ClientType: c.ClientType, Description: c.Description, KeyType: c.KeyType, PublicKey: c.PublicKey, CodeHash: c.CodeHash, CodeUntil: until, At: env.Now}},
		c.ID, trusted, env), nil
}

// inForce tells whether a device may act, or will when it fetches its tokens.
func inForce(d directory.Device, env commands.Env) bool {
	token := d.RefreshHash != nil && env.Now.Before(d.RefreshUntil)
	code := d.CodeHash != nil && env.Now.Before(d.CodeUntil)
	return d.Approved && (token || code) && admitted(env, d.AccessKeyID, d.OrganizationID) == nil
}

func approve(events []domain.Event, id domain.ID, trusted bool, env commands.Env) []domain.Event {
	if trusted {
		events = append(events, directory.DeviceApproved{ID: id, At: env.Now})
	}
	return events
}

// device brings what a device says of itself into its normal form.
func (v *verdict) device(c *RegisterDevice) {
	c.ClientID = rule.Name(&v.Problems, "clientId", c.ClientID)
	v.Check(slices.Contains(directory.ClientTypes, c.ClientType), "clientType", "must be one of printer, chrome_extension, desktop_client, mobile_device, server")
	c.Description = rule.Description(&v.Problems, "description", c.Description)
	v.Check((c.KeyType == "") == (c.PublicKey == ""), "keyType", "comes with a public key or not at all")
	v.Check(c.KeyType == "" || slices.Contains(directory.KeyTypes, c.KeyType), "keyType", "must be rsa, x509 or ed25519")
	_, err := base64.StdEncoding.DecodeString(c.PublicKey)
	v.Check(err == nil && len(c.PublicKey) <= maxPublicKey, "publicKey", "must be base64 of at most %d characters", maxPublicKey)
	v.Check(within(v.env, c.CodeUntil), "codeUntil", "must be in the future")
}

// ApproveDevice trusts a device.
type ApproveDevice struct{ ID domain.ID }

func (c ApproveDevice) Name() string       { return "directory.approve-device" }
func (c ApproveDevice) Stream() string     { return directory.DeviceStream(c.ID) }
func (c ApproveDevice) Permission() string { return "devices.approve" }

// Decide implements commands.Command.
func (c ApproveDevice) Decide(d directory.Device, env commands.Env) ([]domain.Event, error) {
	if !d.Exists() {
		return nil, fault.Missing("device", c.ID)
	}
	return approve(nil, c.ID, !d.Approved, env), nil
}

// IssueDeviceToken spends a device code. Only holders of the device's access key
// and the system may send it.
//
// Refusals are Denied: device.pending (not approved yet: ask again), device.code
// (another code, or it was spent), device.code-expired, device.ended, and those
// about the access key of OpenSession.
type IssueDeviceToken struct {
	ID           domain.ID
	AccessKeyID  domain.ID // of the request
	ClientID     string
	Code         []byte // SHA-256 of the device code that came
	RefreshHash  []byte // SHA-256 of the first refresh token
	RefreshUntil time.Time
}

func (c IssueDeviceToken) Name() string       { return "directory.issue-device-token" }
func (c IssueDeviceToken) Stream() string     { return directory.DeviceStream(c.ID) }
func (c IssueDeviceToken) Permission() string { return "" }

// Explore implements commands.Exploring.
func (c IssueDeviceToken) Explore(d directory.Device, _ commands.Env) []commands.Ref {
	return deviceRefs(d)
}

func deviceRefs(d directory.Device) []commands.Ref {
	if !d.Exists() {
		return nil
	}
	return accessRefs(d.AccessKeyID, d.OrganizationID)
}

// Decide implements commands.Command.
func (c IssueDeviceToken) Decide(d directory.Device, env commands.Env) ([]domain.Event, error) {
	if err := deviceGoes(d, c.ClientID, c.AccessKeyID, env); err != nil {
		return nil, err
	}
	switch {
	case d.CodeHash == nil || subtle.ConstantTimeCompare(c.Code, d.CodeHash) != 1:
		return nil, fault.New(fault.Denied, "device.code", "the device code is not in force")
	case !env.Now.Before(d.CodeUntil):
		return nil, fault.New(fault.Denied, "device.code-expired", "the device code has expired")
	case !d.Approved:
		return nil, fault.New(fault.Denied, "device.pending", "the device has not been approved yet")
	}
	return deviceToken(c.ID, c.RefreshHash, c.RefreshUntil, env)
}

func deviceToken(id domain.ID, hash []byte, until time.Time, env commands.Env) ([]domain.Event, error) {
	if !within(env, until) {
		return nil, fault.InvalidField("refreshUntil", "must be in the future")
	}
	return []domain.Event{directory.DeviceTokenIssued{ID: id, RefreshHash: hash, RefreshUntil: *storedTime(until), At: env.Now}}, nil
}

// deviceGoes checks that a device is there and its key in force.
func deviceGoes(d directory.Device, clientID string, keyID domain.ID, env commands.Env) error {
	switch {
	case !d.Exists() || d.ClientID != clientID:
		return fault.New(fault.Denied, "device.ended", "the device is not known")
	case d.AccessKeyID != keyID:
		return fault.New(fault.Denied, "accesskey.other", "the token belongs to another API key")
	}
	if err := byKey(env, d.AccessKeyID); err != nil {
		return err
	}
	return admitted(env, d.AccessKeyID, d.OrganizationID)
}

// RefreshDevice spends a device's refresh token and sets the next. A token that was
// spent before takes all trust from the device, which the result's State.Approved
// tells, and nobody gets a token. Only text that was made as a token of this
// device may come here (vault.ParseNamedToken).
//
// Refusals are Denied: device.ended, device.expired and those about the access key
// of OpenSession.
type RefreshDevice struct {
	ID           domain.ID
	AccessKeyID  domain.ID // of the request
	ClientID     string
	Spent        []byte // SHA-256 of the refresh token that came
	RefreshHash  []byte // SHA-256 of the next one
	RefreshUntil time.Time
}

func (c RefreshDevice) Name() string       { return "directory.refresh-device" }
func (c RefreshDevice) Stream() string     { return directory.DeviceStream(c.ID) }
func (c RefreshDevice) Permission() string { return "" }

// Explore implements commands.Exploring.
func (c RefreshDevice) Explore(d directory.Device, _ commands.Env) []commands.Ref {
	return deviceRefs(d)
}

// Decide implements commands.Command.
func (c RefreshDevice) Decide(d directory.Device, env commands.Env) ([]domain.Event, error) {
	if err := deviceGoes(d, c.ClientID, c.AccessKeyID, env); err != nil {
		return nil, err
	}
	switch {
	case d.RefreshHash == nil || !d.Approved:
		return nil, fault.New(fault.Denied, "device.ended", "the device is not trusted any more: register again")
	case subtle.ConstantTimeCompare(c.Spent, d.RefreshHash) != 1:
		return []domain.Event{directory.DeviceTokensRevoked{ID: c.ID, Reason: "a spent refresh token was used again", At: env.Now}}, nil
	case !env.Now.Before(d.RefreshUntil):
		return nil, fault.New(fault.Denied, "device.expired", "the refresh token has expired: register again")
	}
	return deviceToken(c.ID, c.RefreshHash, c.RefreshUntil, env)
}

// RemoveDevice ends the trust in a device, or refuses it.
type RemoveDevice struct{ ID domain.ID }

func (c RemoveDevice) Name() string       { return "directory.remove-device" }
func (c RemoveDevice) Stream() string     { return directory.DeviceStream(c.ID) }
func (c RemoveDevice) Permission() string { return "devices.delete" }

// Decide implements commands.Command.
func (c RemoveDevice) Decide(d directory.Device, env commands.Env) ([]domain.Event, error) {
	if !d.Exists() {
		return nil, fault.Missing("device", c.ID)
	}
	return []domain.Event{directory.DeviceRemoved{ID: c.ID, At: env.Now}}, nil
}
