package directory

import (
	"encoding/hex"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// AccessKeyRow is a key of the SAFEQ API that was not deleted.
type AccessKeyRow struct {
	ID                   domain.ID  `db:"id,pk"`
	OrganizationID       domain.ID  `db:"organization_id"`
	Name                 string     `db:"name"`
	NameF                string     `db:"name_f,fold"`
	Kind                 string     `db:"kind"` // directory.AccessKeyKind
	Hash                 string     `db:"hash"` // SHA-256 of the key, hexadecimal
	IsActive             bool       `db:"is_active"`
	AllowUnauthenticated bool       `db:"allow_unauthenticated"`
	AllowUntrusted       bool       `db:"allow_untrusted"`
	AutomaticTrust       bool       `db:"automatic_trust"`
	Advanced             bool       `db:"advanced"`
	Rights               []string   `db:"rights"` // SAFEQ's names
	AllowedAddresses     []string   `db:"allowed_addresses"`
	ExpiresAt            *time.Time `db:"expires_at"` // null: never
	CreatedAt            time.Time  `db:"created_at"`
	ModifiedAt           time.Time  `db:"modified_at"`
}

// AccessKeys are all keys, also expired and inactive ones.
var AccessKeys = projections.NewTable[AccessKeyRow]("access_keys",
	projections.Index("hash"), projections.Index("name_f", "id"), projections.Index("organization_id", "name_f", "id"))

func (k *AccessKeyRow) set(s directory.AccessKeySettings) {
	k.Name, k.Kind, k.IsActive, k.AllowUnauthenticated, k.AllowUntrusted = s.Name, string(s.Kind), s.Active, s.AllowUnauthenticated, s.AllowUntrusted
	k.AutomaticTrust, k.Advanced, k.Rights, k.AllowedAddresses, k.ExpiresAt = s.AutomaticTrust, s.Advanced, s.Rights, s.AllowedAddresses, s.ExpiresAt
}

func accessKeyHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(AccessKeys, func(e directory.AccessKeyCreated, _ projections.Rec) AccessKeyRow {
			k := AccessKeyRow{ID: e.ID, OrganizationID: e.OrganizationID, Hash: hex.EncodeToString(e.Hash), CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
			k.set(e.Settings)
			return k
		}),
		projections.Update(AccessKeys, projections.ByStream, func(k *AccessKeyRow, e directory.AccessKeyChanged, _ projections.Rec) {
			k.set(e.Settings)
			k.ModifiedAt = e.At
		}),
		projections.Delete(AccessKeys, func(e directory.AccessKeyDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}

// RevokedSessionRow is a session that ended before its time, so that access tokens
// of it count no more although they have not expired.
type RevokedSessionRow struct {
	SessionID domain.ID `db:"session_id,pk"`
	RevokedAt time.Time `db:"revoked_at"`
}

// RevokedSessions are all such sessions. Others have no rows: refresh tokens name
// their sessions, and access tokens expire.
var RevokedSessions = projections.NewTable[RevokedSessionRow]("revoked_sessions")

func sessionHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(RevokedSessions, func(e directory.SessionRevoked, _ projections.Rec) RevokedSessionRow {
			return RevokedSessionRow{SessionID: e.ID, RevokedAt: e.At}
		}),
		projections.Ignore(directory.SessionOpened{}),
		projections.Ignore(directory.SessionRefreshed{}),
	}
}
