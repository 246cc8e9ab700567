package directory

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// DeviceRow is a device that was not removed.
type DeviceRow struct {
	ID             domain.ID  `db:"id,pk"`
	OrganizationID domain.ID  `db:"organization_id"`
	AccessKeyID    domain.ID  `db:"access_key_id"`
	ClientID       string     `db:"client_id"`
	ClientIDF      string     `db:"client_id_f,fold"`
	ClientType     string     `db:"client_type"`
	Description    string     `db:"description"`
	KeyType        string     `db:"key_type"`   // "" without a public key
	PublicKey      string     `db:"public_key"` // base64
	IsApproved     bool       `db:"is_approved"`
	CodeUntil      *time.Time `db:"code_until"`    // null when the code was spent
	RefreshUntil   *time.Time `db:"refresh_until"` // null without tokens
	RegisteredAt   time.Time  `db:"registered_at"`
	ModifiedAt     time.Time  `db:"modified_at"`
}

// Devices are all devices, approved or not. Those of a deleted access key stay,
// since their client ids are taken; they can't do anything.
var Devices = projections.NewTable[DeviceRow]("devices",
	projections.Index("organization_id", "client_id"), projections.Index("client_id_f", "id"), projections.Index("registered_at", "id"))

func deviceHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(Devices, func(e directory.DeviceRegistered, _ projections.Rec) DeviceRow {
			return DeviceRow{ID: e.ID, OrganizationID: e.OrganizationID, AccessKeyID: e.AccessKeyID, ClientID: e.ClientID, ClientType: e.ClientType,
				Description: e.Description, KeyType: e.KeyType, PublicKey: e.PublicKey, CodeUntil: &e.CodeUntil, RegisteredAt: e.At, ModifiedAt: e.At}
		}),
		projections.Update(Devices, projections.ByStream, func(d *DeviceRow, e directory.DeviceCodeIssued, _ projections.Rec) {
			d.CodeUntil, d.ModifiedAt = &e.CodeUntil, e.At
		}),
		projections.Update(Devices, projections.ByStream, func(d *DeviceRow, e directory.DeviceApproved, _ projections.Rec) {
			d.IsApproved, d.ModifiedAt = true, e.At
		}),
		projections.Update(Devices, projections.ByStream, func(d *DeviceRow, e directory.DeviceTokenIssued, _ projections.Rec) {
			d.CodeUntil, d.RefreshUntil, d.ModifiedAt = nil, &e.RefreshUntil, e.At
		}),
		projections.Update(Devices, projections.ByStream, func(d *DeviceRow, e directory.DeviceTokensRevoked, _ projections.Rec) {
			d.IsApproved, d.CodeUntil, d.RefreshUntil, d.ModifiedAt = false, nil, nil, e.At
		}),
		projections.Delete(Devices, func(e directory.DeviceRemoved, _ projections.Rec) domain.ID { return e.ID }),
	}
}
