package directory

import (
	"net/url"
	"strings"
	"time"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"

	"github.com/go-ldap/ldap/v3"
)

// checkDirectory checks the settings of a user directory and returns them in
// their normal form. The secrets say whether there is one of each.
func (v *verdict) checkDirectory(s directory.DirectorySettings, was directory.UserDirectory, hasPassword, hasSecret bool) directory.DirectorySettings {
	line := func(path, text string) string { return rule.Line(&v.Problems, path, text, rule.MaxName) }
	s.Type = directory.DirectoryType(word(string(s.Type), string(directory.ActiveDirectory), string(directory.AzureAD)))
	s.Name = rule.Name(&v.Problems, "name", s.Name)
	s.Prefix, s.UserDirectoryName = line("prefix", s.Prefix), line("userDirectoryName", s.UserDirectoryName)
	s.AzureClientID, s.AzureTenantID = line("azureClientId", s.AzureClientID), line("azureTenantId", s.AzureTenantID)
	s.HostName, s.UserName = line("hostName", s.HostName), line("userName", s.UserName)
	s.Filter = rule.Line(&v.Problems, "filter", s.Filter, rule.MaxDescription)
	v.Check(s.Port >= 0 && s.Port <= 65535, "port", "must lie between 1 and 65535, or be 0 for the usual one")
	switch s.Type {
	case directory.ActiveDirectory:
		v.checkLDAP(s, hasPassword)
	case directory.AzureAD:
		v.Check(s.AzureClientID != "", "azureClientId", "is needed for the type AzureAD")
		v.Check(s.AzureTenantID != "", "azureTenantId", "is needed for the type AzureAD")
		v.Check(hasSecret, "azureClientSecret", "is needed for the type AzureAD")
	default:
		v.Add("type", "must be %s or %s", directory.ActiveDirectory, directory.AzureAD)
	}
	v.checkDefaultRole(s.DefaultUserRole, was.Settings.DefaultUserRole)
	return v.checkSchedule(s)
}

func (v *verdict) checkLDAP(s directory.DirectorySettings, hasPassword bool) {
	switch {
	case s.HostName == "":
		v.Add("hostName", "is needed for the type ActiveDirectory")
	case strings.Contains(s.HostName, "://"):
		u, err := url.Parse(s.HostName)
		v.Check(err == nil && (u.Scheme == "ldap" || u.Scheme == "ldaps") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "",
			"hostName", "must be a host, or an address such as ldaps://host:636/dc=example,dc=com")
	default:
		v.Check(!strings.ContainsAny(s.HostName, " /?#@"), "hostName", "must be a host, or an address such as ldaps://host:636/dc=example,dc=com")
	}
	v.Check(s.UserName == "" || hasPassword, "password", "is needed for a userName")
	if s.Filter != "" {
		_, err := ldap.CompileFilter(s.Filter)
		v.Check(err == nil, "filter", "is no LDAP filter such as (memberOf=cn=staff,dc=example,dc=com)")
	}
}

// checkDefaultRole stops people from giving a role by way of a directory that
// they could not give by themselves.
func (v *verdict) checkDefaultRole(id, was *domain.ID) {
	if id == nil || was != nil && *id == *was {
		return
	}
	r := looked[directory.Role](v.env, directory.RoleStream(*id))
	if !visible(v.env, r) {
		v.Add("defaultUserRole", "does not exist")
		return
	}
	if right := exceeds(v.env.Actor, r); right != "" {
		v.deny("defaultUserRole", "gives the right %s, which you do not hold", right)
	}
}

// checkSchedule checks when a directory is synchronised. Without a time zone
// times are UTC.
func (v *verdict) checkSchedule(s directory.DirectorySettings) directory.DirectorySettings {
	s.Synchronization = directory.Synchronization(word(string(s.Synchronization), string(directory.SynchronizeManually), string(directory.SynchronizeByClock)))
	s.Frequency = word(s.Frequency, directory.Hourly, directory.Daily, directory.Weekly, directory.Monthly)
	s.FrequencyTime, s.TimeZone = strings.TrimSpace(s.FrequencyTime), strings.TrimSpace(s.TimeZone)
	scheduled := s.Synchronization == directory.SynchronizeByClock
	v.Check(scheduled || s.Synchronization == directory.SynchronizeManually, "synchronization", "must be %s or %s", directory.SynchronizeManually, directory.SynchronizeByClock)
	switch s.Frequency {
	case directory.Hourly, directory.Daily, directory.Weekly, directory.Monthly:
	default:
		v.Check(s.Frequency == "" && !scheduled, "frequency", "must be %s, %s, %s or %s", directory.Hourly, directory.Daily, directory.Weekly, directory.Monthly)
	}
	if s.FrequencyTime != "" || scheduled {
		at, err := parseClock(s.FrequencyTime)
		v.Check(err == nil, "frequencyTime", "must be a time of day such as 03:30")
		if err == nil {
			s.FrequencyTime = at
		}
	}
	_, err := time.LoadLocation(s.TimeZone)
	v.Check(err == nil && s.TimeZone != "Local", "timeZone", "must be a time zone of the IANA database such as Europe/Berlin")
	return s
}

// parseClock brings a time of day to the form 15:04.
func parseClock(text string) (string, error) {
	at, err := time.Parse("15:04", text)
	if err != nil {
		at, err = time.Parse("15:04:05", text)
	}
	return at.Format("15:04"), err
}

// word is the spelling of a known word; others stay as they are.
func word(text string, known ...string) string {
	text = strings.TrimSpace(text)
	for _, k := range known {
		if strings.EqualFold(text, k) {
			return k
		}
	}
	return text
}

func defaultRoleRefs(s directory.DirectorySettings) []commands.Ref {
	if s.DefaultUserRole == nil {
		return nil
	}
	return roleRefs([]domain.ID{*s.DefaultUserRole})
}

// CreateUserDirectory adds a user directory. Secrets are sealed for
// directory.SecretContext. Problems: the members of DirectorySettings by their
// names in JSON, password, azureClientSecret, organizationId.
type CreateUserDirectory struct {
	ID                domain.ID
	OrganizationID    domain.ID // zero: the one the actor works in
	Settings          directory.DirectorySettings
	Password          []byte
	AzureClientSecret []byte
}

func (c CreateUserDirectory) Name() string         { return "directory.create-user-directory" }
func (c CreateUserDirectory) Stream() string       { return directory.UserDirectoryStream(c.ID) }
func (c CreateUserDirectory) Permission() string   { return "userDirectories.create" }
func (c CreateUserDirectory) NumberKind() string   { return "userdirectory" }
func (c CreateUserDirectory) Refs() []commands.Ref { return defaultRoleRefs(c.Settings) }

// Explore implements commands.Exploring: the organization may be the actor's.
func (c CreateUserDirectory) Explore(_ directory.UserDirectory, env commands.Env) []commands.Ref {
	return organizationRefs(orTenant(env.Actor, c.OrganizationID))
}

// Decide implements commands.Command.
func (c CreateUserDirectory) Decide(d directory.UserDirectory, env commands.Env) ([]domain.Event, error) {
	if d.ID != (domain.ID{}) {
		return nil, exists("userdirectory", c.ID)
	}
	v := &verdict{env: env}
	settings := v.checkDirectory(c.Settings, d, c.Password != nil, c.AzureClientSecret != nil)
	organization := v.organization("organizationId", c.OrganizationID)
	if err := v.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{directory.UserDirectoryCreated{ID: c.ID, Number: env.Number, OrganizationID: organization, Settings: settings,
		Password: c.Password, AzureClientSecret: c.AzureClientSecret, CreatedAt: env.Now}}, nil
}

// UpdateUserDirectory makes a user directory what the command says; only what
// differs is recorded. Problems as of CreateUserDirectory.
type UpdateUserDirectory struct {
	ID                domain.ID
	OrganizationID    domain.ID // zero: not said; a directory stays in its organization
	Settings          directory.DirectorySettings
	Active            *bool  // in place of Settings.Active; nil: as it is
	Password          []byte // nil: as it is
	AzureClientSecret []byte // nil: as it is
}

func (c UpdateUserDirectory) Name() string         { return "directory.update-user-directory" }
func (c UpdateUserDirectory) Stream() string       { return directory.UserDirectoryStream(c.ID) }
func (c UpdateUserDirectory) Permission() string   { return "userDirectories.edit" }
func (c UpdateUserDirectory) Refs() []commands.Ref { return defaultRoleRefs(c.Settings) }

// Decide implements commands.Command.
func (c UpdateUserDirectory) Decide(d directory.UserDirectory, env commands.Env) ([]domain.Event, error) {
	if !d.Exists() {
		return nil, fault.Missing("userdirectory", c.ID)
	}
	v := &verdict{env: env}
	settings := c.Settings
	settings.Active = d.Settings.Active
	if c.Active != nil {
		settings.Active = *c.Active
	}
	settings = v.checkDirectory(settings, d, c.Password != nil || d.Password != nil, c.AzureClientSecret != nil || d.AzureClientSecret != nil)
	v.Check(c.OrganizationID == domain.ID{} || c.OrganizationID == d.OrganizationID, "organizationId", "can't change: a user directory stays in its organization")
	if err := v.Err(); err != nil {
		return nil, err
	}
	var events []domain.Event
	if !settings.Same(d.Settings) {
		events = append(events, directory.UserDirectoryChanged{ID: c.ID, Settings: settings, At: env.Now})
	}
	if c.Password != nil || c.AzureClientSecret != nil {
		events = append(events, directory.UserDirectorySecretsChanged{ID: c.ID, Password: c.Password, AzureClientSecret: c.AzureClientSecret, At: env.Now})
	}
	return events, nil
}

// DeleteUserDirectory ends a user directory. Its users and groups stay; a run
// under way ends as failed.
type DeleteUserDirectory struct{ ID domain.ID }

func (c DeleteUserDirectory) Name() string       { return "directory.delete-user-directory" }
func (c DeleteUserDirectory) Stream() string     { return directory.UserDirectoryStream(c.ID) }
func (c DeleteUserDirectory) Permission() string { return "userDirectories.delete" }

// Decide implements commands.Command.
func (c DeleteUserDirectory) Decide(d directory.UserDirectory, env commands.Env) ([]domain.Event, error) {
	if !d.Exists() {
		return nil, fault.Missing("userdirectory", c.ID)
	}
	return []domain.Event{directory.UserDirectoryDeleted{ID: c.ID, DeletedAt: env.Now}}, nil
}
