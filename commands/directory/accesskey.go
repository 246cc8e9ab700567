package directory

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// Lengths of an access key's value.
const (
	MinAccessKey = 16
	MaxAccessKey = 256
)

// maxAddresses of one access key.
const maxAddresses = 100

// CheckAccessKey says what is wrong with a value that an operator chose for an
// access key, "" for nothing. Commands only see hashes.
func CheckAccessKey(value string) string {
	switch {
	case len(value) < MinAccessKey || len(value) > MaxAccessKey:
		return fmt.Sprintf("must have %d to %d characters", MinAccessKey, MaxAccessKey)
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "must hold visible ASCII characters only"
	}
	return ""
}

// CreateAccessKey lets clients of the SAFEQ API into an account and those below
// it. Nobody makes a key that may do without a user what they may not do
// themselves. Problems: organizationId, name, kind, rights, rights[i],
// allowedAddresses, allowedAddresses[i], expiresAt.
type CreateAccessKey struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	Hash           []byte    // SHA-256 of the key
	Settings       directory.AccessKeySettings
}

func (c CreateAccessKey) Name() string       { return "directory.create-access-key" }
func (c CreateAccessKey) Stream() string     { return directory.AccessKeyStream(c.ID) }
func (c CreateAccessKey) Permission() string { return "accessKeys.create" }

// Explore implements commands.Exploring: the organization may be the actor's.
func (c CreateAccessKey) Explore(_ directory.AccessKey, env commands.Env) []commands.Ref {
	return organizationRefs(orTenant(env.Actor, c.OrganizationID))
}

// Decide implements commands.Command.
func (c CreateAccessKey) Decide(k directory.AccessKey, env commands.Env) ([]domain.Event, error) {
	if k.ID != (domain.ID{}) {
		return nil, exists("accesskey", c.ID)
	}
	v := &verdict{env: env}
	organization := v.organization("organizationId", c.OrganizationID)
	settings := v.accessKey(c.Settings, directory.AccessKeySettings{})
	if err := v.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{directory.AccessKeyCreated{ID: c.ID, OrganizationID: organization, Hash: c.Hash, Settings: settings, CreatedAt: env.Now}}, nil
}

// UpdateAccessKey makes what a key may do what the command says. Problems as of
// CreateAccessKey.
type UpdateAccessKey struct {
	ID       domain.ID
	Settings directory.AccessKeySettings
}

func (c UpdateAccessKey) Name() string       { return "directory.update-access-key" }
func (c UpdateAccessKey) Stream() string     { return directory.AccessKeyStream(c.ID) }
func (c UpdateAccessKey) Permission() string { return "accessKeys.edit" }

// Decide implements commands.Command.
func (c UpdateAccessKey) Decide(k directory.AccessKey, env commands.Env) ([]domain.Event, error) {
	if !k.Exists() {
		return nil, fault.Missing("accesskey", c.ID)
	}
	v := &verdict{env: env}
	settings := v.accessKey(c.Settings, k.Settings)
	if err := v.Err(); err != nil {
		return nil, err
	}
	if reflect.DeepEqual(settings, k.Settings) {
		return nil, nil
	}
	return []domain.Event{directory.AccessKeyChanged{ID: c.ID, Settings: settings, At: env.Now}}, nil
}

// accessKey returns settings in their normal form.
func (v *verdict) accessKey(s, was directory.AccessKeySettings) directory.AccessKeySettings {
	s.Name = rule.Name(&v.Problems, "name", s.Name)
	if s.Kind == "" {
		s.Kind = directory.GeneralKey
	}
	v.Check(slices.Contains(directory.AccessKeyKinds, s.Kind), "kind", "must be General, Embedded, Chrome or Edge")
	s.Rights = v.safeqRights(s.Rights)
	s.AllowedAddresses = v.addresses(s.AllowedAddresses)
	if s.ExpiresAt != nil {
		s.ExpiresAt = storedTime(*s.ExpiresAt)
	}
	if !sameTime(s.ExpiresAt, was.ExpiresAt) {
		v.Check(s.ExpiresAt == nil || s.ExpiresAt.After(v.env.Now), "expiresAt", "must be in the future")
	}
	v.givenToKey(s, was)
	return s
}

// safeqRights checks names of the SAFEQ API and sorts them.
func (v *verdict) safeqRights(names []string) []string {
	kept := []string{}
	for i, name := range names {
		if _, known := directory.SAFEQRights[name]; !known {
			v.Add(fmt.Sprintf("rights[%d]", i), "is no permission of the SAFEQ API")
		} else if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	slices.Sort(kept)
	return kept
}

// addresses checks from where a key may be used.
func (v *verdict) addresses(list []string) []string {
	v.Check(len(list) <= maxAddresses, "allowedAddresses", "must not hold more than %d entries", maxAddresses)
	kept := []string{}
	for i, text := range list[:min(len(list), maxAddresses)] {
		network, err := directory.ParseNetwork(strings.TrimSpace(text))
		if err != nil {
			v.Add(fmt.Sprintf("allowedAddresses[%d]", i), "must be an address or a network such as 10.0.0.0/8")
			continue
		}
		text = network.String()
		if network.IsSingleIP() {
			text = network.Addr().String()
		}
		if !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	return kept
}

// givenToKey denies rights that the key would have without a user and the actor
// lacks. What it had before was given by somebody else.
func (v *verdict) givenToKey(is, was directory.AccessKeySettings) {
	had := was.Permissions()
	if !was.Active || was.ExpiresAt != nil && !v.env.Now.Before(*was.ExpiresAt) {
		had = nil // who revives a key gives what it may do
	}
	for _, p := range is.Permissions() {
		if !slices.Contains(had, p) && !v.env.Actor.May(p) {
			v.deny("rights", "give the right %s, which you do not hold", p)
			return
		}
	}
}

// DeleteAccessKey ends a key. Sessions and devices that came in with it end with
// it: whoever uses them has their key looked at (RefreshSession, RefreshDevice,
// and every request in the SAFEQ API).
type DeleteAccessKey struct{ ID domain.ID }

func (c DeleteAccessKey) Name() string       { return "directory.delete-access-key" }
func (c DeleteAccessKey) Stream() string     { return directory.AccessKeyStream(c.ID) }
func (c DeleteAccessKey) Permission() string { return "accessKeys.delete" }

// Decide implements commands.Command.
func (c DeleteAccessKey) Decide(k directory.AccessKey, env commands.Env) ([]domain.Event, error) {
	if !k.Exists() {
		return nil, fault.Missing("accesskey", c.ID)
	}
	return []domain.Event{directory.AccessKeyDeleted{ID: c.ID, At: env.Now}}, nil
}

// admitted checks that an access key lets somebody into an account now. The key
// and the organization must have been looked at. The address was checked by who
// knows it.
func admitted(env commands.Env, keyID, organizationID domain.ID) error {
	k := looked[directory.AccessKey](env, directory.AccessKeyStream(keyID))
	o := looked[directory.Organization](env, directory.OrganizationStream(organizationID))
	switch {
	case !k.Exists() || !k.Settings.Active || k.Settings.ExpiresAt != nil && !env.Now.Before(*k.Settings.ExpiresAt):
		return fault.New(fault.Denied, "accesskey.ended", "the API key is not in force")
	case !o.Exists():
		return fault.New(fault.Denied, "organization.ended", "the account does not exist any more")
	case k.OrganizationID != o.ID && !slices.Contains(o.Ancestors, k.OrganizationID):
		return fault.New(fault.Denied, "accesskey.foreign", "the API key is one of another account")
	}
	return nil
}

// byKey refuses whoever is neither the system nor a holder of an access key:
// sessions and devices belong to the SAFEQ API.
func byKey(env commands.Env, keyID domain.ID) error {
	if env.Actor.UserID == domain.SystemID || env.Actor.KeyID != nil && *env.Actor.KeyID == keyID {
		return nil
	}
	return fault.New(fault.Denied, "accesskey.other", "the token belongs to another API key")
}

func accessRefs(keyID, organizationID domain.ID) []commands.Ref {
	return append(organizationRefs(organizationID), commands.RefTo[directory.AccessKey](directory.AccessKeyStream(keyID)))
}

// within tells whether a moment lies ahead and no further than a token may live.
func within(env commands.Env, until time.Time) bool {
	return until.After(env.Now) && !until.After(env.Now.Add((maxRefreshDays+1)*24*time.Hour))
}
