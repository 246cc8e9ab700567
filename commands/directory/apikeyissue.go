package directory

import (
	"slices"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
)

// IssueAPIKey gives another user a key for an organization they belong to, or
// one below. Who issues it learns the key, so the user must hold no right that
// the actor lacks. Problems: userId, organizationId, name, description,
// expiryDate.
type IssueAPIKey struct {
	ID             domain.ID
	UserID         domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	Details        Details
	Hash           []byte // SHA-256 of the key
	ExpiresAt      time.Time
	MaxLife        time.Duration // how long a key may live at most, by the configuration
}

func (c IssueAPIKey) Name() string       { return "directory.issue-api-key" }
func (c IssueAPIKey) Stream() string     { return directory.APIKeyStream(c.ID) }
func (c IssueAPIKey) Permission() string { return "apiKeys.manageAll" }

// Explore implements commands.Exploring: the user with everything that gives
// them rights, and the organizations from the root to the key's.
func (c IssueAPIKey) Explore(_ directory.APIKey, env commands.Env) []commands.Ref {
	all := append(organizationRefs(orTenant(env.Actor, c.OrganizationID)), commands.RefTo[directory.User](directory.UserStream(c.UserID)))
	if u, known := commands.Known[directory.User](env, directory.UserStream(c.UserID)); known {
		all = append(all, around(u, env, nil)...)
	}
	for _, o := range c.path(env) {
		all = append(all, commands.RefTo[directory.GroupSettings](directory.GroupSettingsStream(o)))
		if s, known := commands.Known[directory.GroupSettings](env, directory.GroupSettingsStream(o)); known {
			all = append(all, roleRefs(s.EveryoneRoles)...)
		}
	}
	return all
}

// path are the organizations from the root to the key's, once it was looked at.
func (c IssueAPIKey) path(env commands.Env) []domain.ID {
	id := orTenant(env.Actor, c.OrganizationID)
	o, _ := commands.Known[directory.Organization](env, directory.OrganizationStream(id))
	return append(slices.Clone(o.Ancestors), id)
}

// Decide implements commands.Command.
func (c IssueAPIKey) Decide(k directory.APIKey, env commands.Env) ([]domain.Event, error) {
	if k.ID != (domain.ID{}) {
		return nil, exists("apikey", c.ID)
	}
	v := &verdict{env: env}
	organization := v.organization("organizationId", c.OrganizationID)
	u, path := looked[directory.User](env, directory.UserStream(c.UserID)), c.path(env)
	belongs := slices.ContainsFunc(u.InOrgs, func(o domain.ID) bool { return slices.Contains(path, o) })
	switch {
	case !visible(env, u):
		v.Add("userId", "does not exist")
	case u.Kind != directory.KindUser || !u.Active:
		v.Add("userId", "is not an active user")
	case v.Problems.Err() == nil:
		v.Check(belongs, "organizationId", "is not one that the user belongs to")
	}
	v.actingAs("userId", u, path)
	details, expires := c.Details.check(v), v.lifetime(c.ExpiresAt, c.MaxLife)
	if err := v.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{directory.APIKeyCreated{
		ID: c.ID, UserID: c.UserID, OrganizationID: organization, Name: details.Name, Description: details.Description,
		Hash: c.Hash, ExpiresAt: expires, CreatedAt: env.Now,
	}}, nil
}

// actingAs denies what would let the actor act with rights that they lack: those
// of a user's roles, of their groups, and of everybody in these organizations.
func (v *verdict) actingAs(field string, u directory.User, organizations []domain.ID) {
	roles := slices.Clone(u.Roles)
	for _, g := range u.Groups {
		roles = append(roles, looked[directory.Group](v.env, directory.GroupStream(g)).Roles...)
	}
	for _, o := range organizations {
		roles = append(roles, looked[directory.GroupSettings](v.env, directory.GroupSettingsStream(o)).EveryoneRoles...)
	}
	for _, id := range roles {
		r := looked[directory.Role](v.env, directory.RoleStream(id))
		if right := exceeds(v.env.Actor, r); r.Exists() && right != "" {
			v.deny(field, "has the right %s, which you do not hold", right)
			return
		}
	}
}

// lifetime checks when a key is to end.
func (v *verdict) lifetime(expires time.Time, most time.Duration) time.Time {
	v.Check(expires.After(v.env.Now), "expiryDate", "must be in the future")
	v.Check(!expires.After(v.env.Now.Add(most)), "expiryDate", "must be within %d days", int(most/(24*time.Hour)))
	return expires.UTC().Truncate(time.Microsecond) // as exact as read models are
}
