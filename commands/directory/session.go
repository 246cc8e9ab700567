package directory

import (
	"crypto/subtle"
	"slices"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// OpenSession begins the session of a user who logged in through the SAFEQ API.
// Who proves what is the caller's affair; that user, key and account are in force
// is checked here. Only holders of the access key and the system may send it.
//
// Refusals are Denied: session.user (not an active, unexpired user of the
// account), accesskey.ended, accesskey.foreign, accesskey.other, organization.ended,
// device.ended.
type OpenSession struct {
	ID             domain.ID
	UserID         domain.ID
	OrganizationID domain.ID // one that the user is in, or one below such
	AccessKeyID    domain.ID
	DeviceID       *domain.ID // the login came with its token
	RefreshHash    []byte     // SHA-256 of the refresh token
	RefreshUntil   time.Time
}

func (c OpenSession) Name() string       { return "directory.open-session" }
func (c OpenSession) Stream() string     { return directory.SessionStream(c.ID) }
func (c OpenSession) Permission() string { return "" }

// Refs implements commands.Referring.
func (c OpenSession) Refs() []commands.Ref {
	return sessionRefs(c.UserID, c.AccessKeyID, c.OrganizationID, c.DeviceID)
}

// Decide implements commands.Command.
func (c OpenSession) Decide(s directory.Session, env commands.Env) ([]domain.Event, error) {
	if s.ID != (domain.ID{}) {
		return nil, exists("session", c.ID)
	}
	if err := byKey(env, c.AccessKeyID); err != nil {
		return nil, err
	}
	if err := sessionGoes(env, c.UserID, c.AccessKeyID, c.OrganizationID, c.DeviceID); err != nil {
		return nil, err
	}
	if !within(env, c.RefreshUntil) {
		return nil, fault.InvalidField("refreshUntil", "must be in the future")
	}
	return []domain.Event{directory.SessionOpened{ID: c.ID, UserID: c.UserID, OrganizationID: c.OrganizationID, AccessKeyID: c.AccessKeyID, DeviceID: c.DeviceID,
		RefreshHash: c.RefreshHash, RefreshUntil: *storedTime(c.RefreshUntil), At: env.Now}}, nil
}

func sessionRefs(user, key, organization domain.ID, device *domain.ID) []commands.Ref {
	all := append(accessRefs(key, organization), commands.RefTo[directory.User](directory.UserStream(user)))
	if device != nil {
		all = append(all, commands.RefTo[directory.Device](directory.DeviceStream(*device)))
	}
	return all
}

// sessionGoes checks that everything a session hangs on is in force.
func sessionGoes(env commands.Env, user, key, organization domain.ID, device *domain.ID) error {
	if err := admitted(env, key, organization); err != nil {
		return err
	}
	o := looked[directory.Organization](env, directory.OrganizationStream(organization))
	u := looked[directory.User](env, directory.UserStream(user))
	belongs := slices.ContainsFunc(u.InOrgs, func(id domain.ID) bool { return id == organization || slices.Contains(o.Ancestors, id) })
	if !u.Exists() || u.Kind != directory.KindUser || !u.Active || u.Details.Expired(env.Now) || !belongs {
		return fault.New(fault.Denied, "session.user", "the user may not act in this account")
	}
	if device == nil {
		return nil
	}
	if d := looked[directory.Device](env, directory.DeviceStream(*device)); !d.Exists() || !d.Approved {
		return fault.New(fault.Denied, "device.ended", "the device is not trusted any more")
	}
	return nil
}

// RefreshSession spends a session's refresh token and sets the next. A token that
// was spent before means that somebody has a copy: the session is revoked, which
// the result's State.Live tells, and nobody gets a token. Only text that was made
// as a token of this session may come here (vault.ParseNamedToken).
//
// Refusals are Denied: session.ended, session.expired and those of OpenSession.
type RefreshSession struct {
	ID           domain.ID
	AccessKeyID  domain.ID // of the request
	Spent        []byte    // SHA-256 of the refresh token that came
	RefreshHash  []byte    // SHA-256 of the next one
	RefreshUntil time.Time
}

func (c RefreshSession) Name() string       { return "directory.refresh-session" }
func (c RefreshSession) Stream() string     { return directory.SessionStream(c.ID) }
func (c RefreshSession) Permission() string { return "" }

// Explore implements commands.Exploring.
func (c RefreshSession) Explore(s directory.Session, _ commands.Env) []commands.Ref {
	if !s.Exists() {
		return nil
	}
	return sessionRefs(s.UserID, s.AccessKeyID, s.OrganizationID, s.DeviceID)
}

// Decide implements commands.Command.
func (c RefreshSession) Decide(s directory.Session, env commands.Env) ([]domain.Event, error) {
	if !s.Exists() {
		return nil, fault.New(fault.Denied, "session.ended", "the session has ended: log in again")
	}
	if c.AccessKeyID != s.AccessKeyID {
		return nil, fault.New(fault.Denied, "accesskey.other", "the token belongs to another API key")
	}
	if err := byKey(env, s.AccessKeyID); err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(c.Spent, s.RefreshHash) != 1 {
		return []domain.Event{directory.SessionRevoked{ID: c.ID, Reason: "a spent refresh token was used again", At: env.Now}}, nil
	}
	if !env.Now.Before(s.RefreshUntil) {
		return nil, fault.New(fault.Denied, "session.expired", "the refresh token has expired: log in again")
	}
	if err := sessionGoes(env, s.UserID, s.AccessKeyID, s.OrganizationID, s.DeviceID); err != nil {
		return nil, err
	}
	if !within(env, c.RefreshUntil) {
		return nil, fault.InvalidField("refreshUntil", "must be in the future")
	}
	return []domain.Event{directory.SessionRefreshed{ID: c.ID, RefreshHash: c.RefreshHash, RefreshUntil: *storedTime(c.RefreshUntil), At: env.Now}}, nil
}

// RevokeSession ends a session. Its user, holders of its access key and the system
// may send it; one that has ended is no change. Problems: reason.
type RevokeSession struct {
	ID     domain.ID
	Reason string
}

func (c RevokeSession) Name() string       { return "directory.revoke-session" }
func (c RevokeSession) Stream() string     { return directory.SessionStream(c.ID) }
func (c RevokeSession) Permission() string { return "" }

// Decide implements commands.Command.
func (c RevokeSession) Decide(s directory.Session, env commands.Env) ([]domain.Event, error) {
	if !s.Exists() {
		return nil, nil
	}
	if err := byKey(env, s.AccessKeyID); err != nil && env.Actor.UserID != s.UserID {
		return nil, err
	}
	return []domain.Event{directory.SessionRevoked{ID: c.ID, Reason: c.Reason, At: env.Now}}, nil
}
