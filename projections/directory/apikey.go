package directory

import (
	"encoding/hex"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// APIKeyRow is a key that was not revoked.
type APIKeyRow struct {
	ID             domain.ID `db:"id,pk"`
	UserID         domain.ID `db:"user_id"`
	OrganizationID domain.ID `db:"organization_id"`
	Name           string    `db:"name"`
	NameF          string    `db:"name_f,fold"`
	Description    string    `db:"description"`
	DescriptionF   string    `db:"description_f,fold"`
	Hash           string    `db:"hash"` // SHA-256 of the key, hexadecimal
	ExpiresAt      time.Time `db:"expires_at"`
	CreatedAt      time.Time `db:"created_at"`
	ModifiedAt     time.Time `db:"modified_at"`
}

// APIKeys are all keys in force and expired ones.
var APIKeys = projections.NewTable[APIKeyRow]("api_keys",
	projections.Index("hash"), projections.Index("user_id", "name_f", "id"), projections.Index("name_f", "id"), projections.Index("created_at", "id"),
	projections.Index("expires_at", "id"), projections.Trigram("name_f"))

func apiKeyHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(APIKeys, func(e directory.APIKeyCreated, _ projections.Rec) APIKeyRow {
			return APIKeyRow{ID: e.ID, UserID: e.UserID, OrganizationID: e.OrganizationID, Name: e.Name, Description: e.Description,
				Hash: hex.EncodeToString(e.Hash), ExpiresAt: e.ExpiresAt, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
		}),
		projections.Update(APIKeys, projections.ByStream, func(k *APIKeyRow, e directory.APIKeyDetailsChanged, _ projections.Rec) {
			k.Name, k.Description, k.ModifiedAt = e.Name, e.Description, e.At
		}),
		projections.Delete(APIKeys, func(e directory.APIKeyRevoked, _ projections.Rec) domain.ID { return e.ID }),
	}
}
