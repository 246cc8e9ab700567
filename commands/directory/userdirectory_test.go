package directory

import (
	"testing"
	"time"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"

	"github.com/stretchr/testify/require"
)

var dir, run = id(0x160), id(0x161)

// directoryKeeper may do with user directories what one may.
var directoryKeeper = with(clerk, func(a *domain.Actor) {
	a.Permissions = permissions("userDirectories.create", "userDirectories.edit", "userDirectories.delete", "tasks.view")
})

func ldapSettings(changes ...func(*directory.DirectorySettings)) directory.DirectorySettings {
	s := directory.DirectorySettings{Type: directory.ActiveDirectory, Name: "Staff", HostName: "dc1.example.com", UserName: "reader", Synchronization: directory.SynchronizeManually, Active: true}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func entraSettings() directory.DirectorySettings {
	return directory.DirectorySettings{Type: directory.AzureAD, Name: "Cloud", AzureClientID: "c", AzureTenantID: "t", Synchronization: directory.SynchronizeManually, Active: true}
}

func userDirectory() directory.UserDirectoryCreated {
	return directory.UserDirectoryCreated{ID: dir, Number: 1, OrganizationID: sales, Settings: ldapSettings(), Password: []byte("sealed"), CreatedAt: before}
}

func TestCreateUserDirectory(t *testing.T) {
	begin := given[directory.UserDirectory](t).As(directoryKeeper)
	cmd := CreateUserDirectory{ID: dir, OrganizationID: sales, Settings: ldapSettings(), Password: []byte("sealed")}
	created := with(userDirectory(), func(e *directory.UserDirectoryCreated) { e.Number, e.CreatedAt = spec.Number, spec.Now })
	begin.When(cmd).Then(created)
	begin.When(with(cmd, func(c *CreateUserDirectory) { c.OrganizationID = domain.ID{} })).Then(created)
	begin.When(with(cmd, func(c *CreateUserDirectory) {
		c.Settings = ldapSettings(func(s *directory.DirectorySettings) {
			s.Type, s.Name, s.Synchronization, s.Frequency, s.FrequencyTime, s.TimeZone = "activedirectory", " Staff ", "scheduled", "daily", "3:30", " Europe/Berlin "
		})
	})).Then(with(created, func(e *directory.UserDirectoryCreated) {
		e.Settings.Synchronization, e.Settings.Frequency, e.Settings.FrequencyTime, e.Settings.TimeZone = directory.SynchronizeByClock, directory.Daily, "03:30", "Europe/Berlin"
	}))
	entra := CreateUserDirectory{ID: dir, OrganizationID: sales, Settings: entraSettings(), AzureClientSecret: []byte("sealed")}
	begin.When(entra).Then(directory.UserDirectoryCreated{ID: dir, Number: spec.Number, OrganizationID: sales, Settings: entraSettings(), AzureClientSecret: []byte("sealed"), CreatedAt: spec.Now})

	for name, c := range map[string]struct {
		change func(*directory.DirectorySettings)
		fields []string
	}{
		"type":          {func(s *directory.DirectorySettings) { s.Type = "NIS" }, []string{"type"}},
		"name":          {func(s *directory.DirectorySettings) { s.Name = " " }, []string{"name"}},
		"no host":       {func(s *directory.DirectorySettings) { s.HostName = "" }, []string{"hostName"}},
		"another API":   {func(s *directory.DirectorySettings) { s.HostName = "https://dc1" }, []string{"hostName"}},
		"a user":        {func(s *directory.DirectorySettings) { s.HostName = "ldap://me:pw@dc1" }, []string{"hostName"}},
		"a path":        {func(s *directory.DirectorySettings) { s.HostName = "dc1/dc=example" }, []string{"hostName"}},
		"port":          {func(s *directory.DirectorySettings) { s.Port = 70_000 }, []string{"port"}},
		"filter":        {func(s *directory.DirectorySettings) { s.Filter = "(cn=" }, []string{"filter"}},
		"schedule":      {func(s *directory.DirectorySettings) { s.Synchronization = "Scheduled" }, []string{"frequency", "frequencyTime"}},
		"frequency":     {func(s *directory.DirectorySettings) { s.Frequency = "Yearly" }, []string{"frequency"}},
		"time":          {func(s *directory.DirectorySettings) { s.FrequencyTime = "25:00" }, []string{"frequencyTime"}},
		"zone":          {func(s *directory.DirectorySettings) { s.TimeZone = "Nowhere/Land" }, []string{"timeZone"}},
		"local zone":    {func(s *directory.DirectorySettings) { s.TimeZone = "Local" }, []string{"timeZone"}},
		"mode":          {func(s *directory.DirectorySettings) { s.Synchronization = "Often" }, []string{"synchronization"}},
		"role":          {func(s *directory.DirectorySettings) { s.DefaultUserRole = &gone }, []string{"defaultUserRole"}},
		"unseen role":   {func(s *directory.DirectorySettings) { s.DefaultUserRole = &labRole }, []string{"defaultUserRole"}},
		"control":       {func(s *directory.DirectorySettings) { s.Prefix = "a\nb" }, []string{"prefix"}},
		"no Entra data": {func(s *directory.DirectorySettings) { s.Type = directory.AzureAD }, []string{"azureClientId", "azureTenantId", "azureClientSecret"}},
	} {
		t.Run(name, func(t *testing.T) {
			given[directory.UserDirectory](t).As(directoryKeeper).When(with(cmd, func(c2 *CreateUserDirectory) { c.change(&c2.Settings) })).ThenFault(fault.Invalid, c.fields...)
		})
	}
	for _, host := range []string{"dc1", "10.0.0.1", "::1", "[::1]:389", "ldap://dc1", "ldaps://dc1:636/OU=People,DC=example,DC=com"} {
		begin.When(with(cmd, func(c *CreateUserDirectory) { c.Settings.HostName = host })).
			Then(with(created, func(e *directory.UserDirectoryCreated) { e.Settings.HostName = host }))
	}
	begin.When(with(cmd, func(c *CreateUserDirectory) { c.Password = nil })).ThenFault(fault.Invalid, "password")
	begin.When(with(cmd, func(c *CreateUserDirectory) { c.Settings.DefaultUserRole = &boss })).ThenFault(fault.Denied, "defaultUserRole")
	begin.When(with(cmd, func(c *CreateUserDirectory) { c.Settings.DefaultUserRole = &reader })).
		Then(with(created, func(e *directory.UserDirectoryCreated) { e.Settings.DefaultUserRole = &reader }))
	begin.When(with(cmd, func(c *CreateUserDirectory) { c.OrganizationID = lab })).ThenFault(fault.Invalid, "organizationId")
	given[directory.UserDirectory](t, userDirectory()).As(directoryKeeper).When(cmd).ThenFault(fault.Conflict)
}

func TestUpdateUserDirectory(t *testing.T) {
	begin := given[directory.UserDirectory](t, userDirectory()).As(directoryKeeper)
	begin.When(UpdateUserDirectory{ID: dir, OrganizationID: sales, Settings: ldapSettings()}).ThenNothing()
	renamed := ldapSettings(func(s *directory.DirectorySettings) { s.Name = "People" })
	state := begin.When(UpdateUserDirectory{ID: dir, Settings: renamed}).Then(directory.UserDirectoryChanged{ID: dir, Settings: renamed, At: spec.Now})
	require.Equal(t, "sealed", string(state.Password), "what is not said stays")
	require.Equal(t, before, state.ScheduledSince)
	off := false
	state = begin.When(UpdateUserDirectory{ID: dir, Settings: ldapSettings(), Active: &off}).
		Then(directory.UserDirectoryChanged{ID: dir, Settings: ldapSettings(func(s *directory.DirectorySettings) { s.Active = false }), At: spec.Now})
	require.Equal(t, spec.Now, state.ScheduledSince, "due times begin anew")
	state = begin.When(UpdateUserDirectory{ID: dir, Settings: ldapSettings(), Password: []byte("new")}).Then(directory.UserDirectorySecretsChanged{ID: dir, Password: []byte("new"), At: spec.Now})
	require.Equal(t, "new", string(state.Password))
	begin.When(UpdateUserDirectory{ID: dir, Settings: entraSettings()}).ThenFault(fault.Invalid, "azureClientSecret")
	begin.When(UpdateUserDirectory{ID: dir, OrganizationID: lab, Settings: ldapSettings()}).ThenFault(fault.Invalid, "organizationId")
	// Who may not give the role may leave it where it was.
	given[directory.UserDirectory](t, with(userDirectory(), func(e *directory.UserDirectoryCreated) { e.Settings.DefaultUserRole = &boss })).As(directoryKeeper).
		When(UpdateUserDirectory{ID: dir, Settings: ldapSettings(func(s *directory.DirectorySettings) { s.DefaultUserRole = &boss })}).ThenNothing()
	given[directory.UserDirectory](t).As(directoryKeeper).When(UpdateUserDirectory{ID: dir, Settings: ldapSettings()}).ThenFault(fault.NotFound)
}

func TestDeleteUserDirectory(t *testing.T) {
	given[directory.UserDirectory](t, userDirectory()).As(directoryKeeper).When(DeleteUserDirectory{ID: dir}).Then(directory.UserDirectoryDeleted{ID: dir, DeletedAt: spec.Now})
	given[directory.UserDirectory](t).As(directoryKeeper).When(DeleteUserDirectory{ID: dir}).ThenFault(fault.NotFound)
}

func started() directory.SyncRunStarted {
	return directory.SyncRunStarted{ID: run, DirectoryID: dir, OrganizationID: sales, At: before}
}

func TestSyncRuns(t *testing.T) {
	there := func(events ...domain.Event) any { return domain.Fold(directory.UserDirectory{}, events...) }
	begin := given[directory.SyncRun](t).As(directoryKeeper).Ref(directory.UserDirectoryStream(dir), there(userDirectory()))
	cmd := StartSyncRun{ID: run, DirectoryID: dir}
	state := begin.When(cmd).Then(with(started(), func(e *directory.SyncRunStarted) { e.At = spec.Now }))
	require.Equal(t, []domain.Key{{Kind: directory.SyncRunKey, Value: dir.String()}}, state.Keys())
	due := spec.Now.Add(-time.Minute)
	begin.When(StartSyncRun{ID: run, DirectoryID: dir, Due: &due}).Then(with(started(), func(e *directory.SyncRunStarted) { e.At, e.Due = spec.Now, &due }))
	given[directory.SyncRun](t).As(directoryKeeper).When(cmd).ThenFault(fault.NotFound)
	given[directory.SyncRun](t).As(directoryKeeper).Ref(directory.UserDirectoryStream(dir), there(with(userDirectory(), func(e *directory.UserDirectoryCreated) { e.OrganizationID = lab }))).
		When(cmd).ThenFault(fault.NotFound)
	given[directory.SyncRun](t).As(directoryKeeper).Ref(directory.UserDirectoryStream(dir), there(with(userDirectory(), func(e *directory.UserDirectoryCreated) { e.Settings.Active = false }))).
		When(cmd).ThenFault(fault.Conflict)

	going := given[directory.SyncRun](t, started())
	going.When(cmd).ThenNothing()
	going.As(directoryKeeper).When(StopSyncRun{ID: run}).Then(directory.SyncRunStopRequested{ID: run, At: spec.Now})
	given[directory.SyncRun](t, started(), directory.SyncRunStopRequested{ID: run, At: before}).When(StopSyncRun{ID: run}).ThenNothing()
	given[directory.SyncRun](t).When(StopSyncRun{ID: run}).ThenFault(fault.NotFound)

	counts := directory.SyncCounts{Users: directory.Tally{Added: 3, Failed: 1}}
	going.When(RecordSyncProgress{ID: run, Counts: counts}).Then(directory.SyncRunProgressed{ID: run, Counts: counts, At: spec.Now})
	going.When(RecordSyncProgress{ID: run}).ThenNothing()
	errors := []directory.EntryError{{Kind: "user", ExternalID: "x", Code: "c", Message: "m"}}
	state = going.When(EndSyncRun{ID: run, Counts: &counts, Errors: errors}).Then(directory.SyncRunFinished{ID: run, Counts: counts, Errors: errors, At: spec.Now})
	require.Empty(t, state.Keys(), "the next one may begin")
	require.Equal(t, directory.SyncSucceeded, state.Status)
	going.When(EndSyncRun{ID: run, Stopped: true}).Then(directory.SyncRunStopped{ID: run, Errors: []directory.EntryError{}, At: spec.Now})
	farther := given[directory.SyncRun](t, started(), directory.SyncRunProgressed{ID: run, Counts: counts, At: before})
	farther.When(EndSyncRun{ID: run, Code: "c", Reason: "r"}).Then(directory.SyncRunFailed{ID: run, Code: "c", Reason: "r", Counts: counts, Errors: []directory.EntryError{}, At: spec.Now})

	over := given[directory.SyncRun](t, started(), directory.SyncRunFinished{ID: run, Errors: errors, At: before})
	over.When(EndSyncRun{ID: run, Code: "c"}).ThenNothing()
	over.When(RecordSyncProgress{ID: run, Counts: counts}).ThenNothing()
	over.When(StopSyncRun{ID: run}).ThenFault(fault.Conflict)
	operator := with(clerk, func(a *domain.Actor) { a.Permissions = permissions("operations.edit") })
	going.As(operator).When(EndSyncRun{ID: run}).ThenFault(fault.Denied)
	going.As(operator).When(RecordSyncProgress{ID: run}).ThenFault(fault.Denied)
}

func TestSyncUser(t *testing.T) {
	name, from := "ann", Origin{DirectoryID: dir, OrganizationID: sales}
	of := id(0x170) // a group of the directory
	there := func(s spec.Scenario[directory.User]) spec.Scenario[directory.User] {
		g := directory.Group{}.Apply(group(of, sales)).Apply(directory.GroupLinked{ID: of, Source: dir.String(), ExternalID: "g"})
		return s.Ref(directory.GroupStream(of), g)
	}
	cmd := SyncUser{ID: ann, From: from, ExternalID: "x", Person: Person{UserName: &name, FirstName: "Ann", LastName: "Lee", Email: "ann@example.com"},
		Department: "Dep", Active: true, Groups: ids(of), Role: &reader, Invite: true}
	added := directory.UserCreated{ID: ann, Number: spec.Number, Kind: directory.KindUser, UserName: "ann", FirstName: "Ann", LastName: "Lee", Email: "ann@example.com",
		Active: true, Language: "en", Roles: ids(reader), Organizations: ids(sales), Groups: ids(of), Source: dir.String(), Invite: true, CreatedAt: spec.Now}
	details := directory.UserDetailsChanged{ID: ann, Department: "Dep", ExternalID: "x", At: spec.Now}
	begin := there(given[directory.User](t))
	state := begin.When(cmd).Then(added, details)
	require.True(t, cmd.Settled(state, func(g domain.ID) bool { return g == of }))
	require.Contains(t, state.Keys(), domain.Key{Kind: "user-externalId", Value: dir.String() + "\x00x"})
	begin.When(with(cmd, func(c *SyncUser) { c.Role, c.Person.Email, c.Groups = &gone, "", ids(of, gone) })).Then(with(added, func(e *directory.UserCreated) {
		e.Roles, e.Email, e.Invite = ids(), "", false
	}), details)
	begin.When(with(cmd, func(c *SyncUser) { c.ExternalID = "" })).ThenFault(fault.Invalid, "externalId")
	begin.When(with(cmd, func(c *SyncUser) { c.Groups = many(MaxGroups + 1) })).ThenFault(fault.Invalid, "groups")
	begin.As(with(clerk, func(a *domain.Actor) { a.Permissions = permissions("operations.edit") })).When(cmd).ThenFault(fault.Denied)

	known := func(more ...domain.Event) spec.Scenario[directory.User] {
		return there(given[directory.User](t, append([]domain.Event{added, details}, more...)...))
	}
	known().When(cmd).ThenNothing()
	local := directory.UserGroupsChanged{ID: ann, Joined: ids(staff), Left: ids(), At: before}
	known(local).When(cmd).ThenNothing()
	known(local).When(with(cmd, func(c *SyncUser) { c.Groups, c.Active = ids(), false })).
		Then(directory.UserDeactivated{ID: ann, At: spec.Now}, directory.UserGroupsChanged{ID: ann, Joined: ids(), Left: ids(of), At: spec.Now})
	known().When(with(cmd, func(c *SyncUser) { c.Groups = ids(of, staff) })).ThenNothing() // staff is no group of the directory
	moved := directory.UserOrganizationsChanged{ID: ann, Organizations: ids(lab), At: before}
	known(moved).When(cmd).Then(directory.UserGroupsChanged{ID: ann, Joined: ids(), Left: ids(of), At: spec.Now})
	known(directory.UserDeleted{ID: ann}).When(cmd).ThenFault(fault.NotFound)
	there(given[directory.User](t, user(ann, sales))).When(cmd).ThenFault(fault.Conflict)

	drop := DropUser{ID: ann, From: from}
	known().When(drop).Then(directory.UserDeactivated{ID: ann, At: spec.Now})
	known(directory.UserDeactivated{ID: ann}).When(drop).ThenNothing()
	given[directory.User](t, user(ann, sales)).When(drop).ThenFault(fault.Conflict)
}

func TestSyncGroup(t *testing.T) {
	from := Origin{DirectoryID: dir, OrganizationID: sales}
	cmd := SyncGroup{ID: staff, From: from, ExternalID: "g", DisplayName: "Staff"}
	added := directory.GroupCreated{ID: staff, Number: spec.Number, OrganizationID: sales, Name: "Staff", Active: true, Roles: ids(), CreatedAt: spec.Now}
	linked := directory.GroupLinked{ID: staff, Source: dir.String(), ExternalID: "g", At: spec.Now}
	given[directory.Group](t).When(cmd).Then(added, linked)
	known := given[directory.Group](t, added, linked)
	known.When(cmd).ThenNothing()
	known.When(with(cmd, func(c *SyncGroup) { c.DisplayName = "All" })).Then(directory.GroupDetailsChanged{ID: staff, Name: "All", ChangedAt: spec.Now})
	known.When(with(cmd, func(c *SyncGroup) { c.DisplayName, c.ExternalID = "", "" })).ThenFault(fault.Invalid, "externalId", "name")
	known.When(DropGroup{ID: staff, From: from}).Then(directory.GroupDeactivated{ID: staff, At: spec.Now})
	inactive := given[directory.Group](t, added, linked, directory.GroupDeactivated{ID: staff})
	inactive.When(DropGroup{ID: staff, From: from}).ThenNothing()
	inactive.When(cmd).Then(directory.GroupActivated{ID: staff, At: spec.Now})
	given[directory.Group](t, group(staff, sales)).When(cmd).ThenFault(fault.Conflict)
	given[directory.Group](t, group(staff, sales)).When(DropGroup{ID: staff, From: from}).ThenFault(fault.Conflict)
	given[directory.Group](t).As(with(clerk, func(a *domain.Actor) { a.Permissions = permissions("operations.edit") })).When(cmd).ThenFault(fault.Denied)
}
