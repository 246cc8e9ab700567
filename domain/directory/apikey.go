package directory

import (
	"time"

	"docket/domain"
)

// APIKeyCreated gives a user a key. Only the hash of the key is known.
type APIKeyCreated struct {
	ID             domain.ID `json:"id"`
	UserID         domain.ID `json:"userId"`
	OrganizationID domain.ID `json:"organizationId"`
	Name           string    `json:"name"`
	Description    string    `json:"description"`
	Hash           []byte    `json:"hash"` // SHA-256 of the key
	ExpiresAt      time.Time `json:"expiresAt"`
	CreatedAt      time.Time `json:"createdAt"`
}

// APIKeyDetailsChanged replaces what describes a key.
type APIKeyDetailsChanged struct {
	ID          domain.ID `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	At          time.Time `json:"at"`
}

// APIKeyRevoked ends a key.
type APIKeyRevoked struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

func (APIKeyCreated) EventType() string        { return "directory.apikey-created" }
func (APIKeyDetailsChanged) EventType() string { return "directory.apikey-details-changed" }
func (APIKeyRevoked) EventType() string        { return "directory.apikey-revoked" }

// APIKey is a key as it is.
type APIKey struct {
	ID             domain.ID
	UserID         domain.ID
	OrganizationID domain.ID
	Name           string
	Description    string
	Hash           []byte `json:"-"`
	ExpiresAt      time.Time
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (k APIKey) Apply(e domain.Event) APIKey {
	switch e := e.(type) {
	case APIKeyCreated:
		return APIKey{ID: e.ID, UserID: e.UserID, OrganizationID: e.OrganizationID, Name: e.Name, Description: e.Description, Hash: e.Hash,
			ExpiresAt: e.ExpiresAt, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case APIKeyDetailsChanged:
		k.Name, k.Description, k.ModifiedAt = e.Name, e.Description, e.At
	case APIKeyRevoked:
		k.Live = false
	}
	return k
}

// Exists implements domain.State.
func (k APIKey) Exists() bool { return k.Live }

// Organizations implements domain.State.
func (k APIKey) Organizations() []domain.ID { return []domain.ID{k.OrganizationID} }

// Keys implements domain.State.
func (k APIKey) Keys() []domain.Key { return nil }
