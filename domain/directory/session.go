package directory

import (
	"time"

	"docket/domain"
)

// SessionOpened lets a user act for a while through the SAFEQ API. A session is
// the family of refresh tokens that follow one login, each good once.
type SessionOpened struct {
	ID             domain.ID  `json:"id"`
	UserID         domain.ID  `json:"userId"`
	OrganizationID domain.ID  `json:"organizationId"` // the account logged in to
	AccessKeyID    domain.ID  `json:"accessKeyId"`    // requests must carry the same
	DeviceID       *domain.ID `json:"deviceId,omitempty"`
	RefreshHash    []byte     `json:"refreshHash"` // SHA-256 of the refresh token
	RefreshUntil   time.Time  `json:"refreshUntil"`
	At             time.Time  `json:"at"`
}

// SessionRefreshed replaces the refresh token.
type SessionRefreshed struct {
	ID           domain.ID `json:"id"`
	RefreshHash  []byte    `json:"refreshHash"`
	RefreshUntil time.Time `json:"refreshUntil"`
	At           time.Time `json:"at"`
}

// SessionRevoked ends a session before its time: a spent refresh token came
// again, which means that somebody has a copy.
type SessionRevoked struct {
	ID     domain.ID `json:"id"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

func (SessionOpened) EventType() string    { return "directory.session-opened" }
func (SessionRefreshed) EventType() string { return "directory.session-refreshed" }
func (SessionRevoked) EventType() string   { return "directory.session-revoked" }

// Session is a session as it is.
type Session struct {
	ID             domain.ID
	UserID         domain.ID
	OrganizationID domain.ID
	AccessKeyID    domain.ID
	DeviceID       *domain.ID
	RefreshHash    []byte `json:"-"`
	RefreshUntil   time.Time
	OpenedAt       time.Time
	Live           bool
}

// Apply implements domain.State.
func (s Session) Apply(e domain.Event) Session {
	switch e := e.(type) {
	case SessionOpened:
		return Session{ID: e.ID, UserID: e.UserID, OrganizationID: e.OrganizationID, AccessKeyID: e.AccessKeyID, DeviceID: e.DeviceID,
			RefreshHash: e.RefreshHash, RefreshUntil: e.RefreshUntil, OpenedAt: e.At, Live: true}
	case SessionRefreshed:
		s.RefreshHash, s.RefreshUntil = e.RefreshHash, e.RefreshUntil
	case SessionRevoked:
		s.Live = false
	}
	return s
}

// Exists implements domain.State.
func (s Session) Exists() bool { return s.Live }

// Organizations implements domain.State.
func (s Session) Organizations() []domain.ID { return []domain.ID{s.OrganizationID} }

// Keys implements domain.State.
func (s Session) Keys() []domain.Key { return nil }
