package usersync

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/internal/userdir"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestRuns(t *testing.T) {
	w := newWorld(t)
	w.source.groups = []userdir.Group{{ExternalID: "g1", Name: "Staff"}, {ExternalID: "g2", Name: "Board"}, {ExternalID: "g3", Name: "Nobody"}}
	w.source.users = []userdir.User{person("ada", "g1", "g2", "gone"), person("bob", "g1"), person("cy")}
	w.source.users[2].Active, w.source.users[2].Email = false, ""
	w.start()

	r := w.run()
	require.Equal(t, directory.SyncCounts{Users: directory.Tally{Added: 3}, Groups: directory.Tally{Added: 2}}, r.Counts)
	require.Empty(t, r.Errors)
	require.False(t, r.EndedAt.Before(r.StartedAt))
	require.Equal(t, "unsealed", w.source.settings.Password)
	ada := w.user("x-ada")
	require.Equal(t, "ada", ada.UserName)
	require.Equal(t, "First ada", ada.FirstName)
	require.Equal(t, "Dep", ada.Details.Department)
	require.Equal(t, staffDirectory.String(), ada.Source)
	require.Equal(t, []domain.ID{role}, ada.Roles)
	require.Equal(t, []domain.ID{org}, ada.InOrgs)
	require.ElementsMatch(t, []domain.ID{w.group("g1").ID, w.group("g2").ID}, ada.Groups)
	require.False(t, w.user("x-cy").Active)
	require.Zero(t, w.group("g3").ID, "nobody is in it")
	require.Equal(t, "Staff", w.group("g1").Name)

	t.Run("again: nothing but its own events", func(t *testing.T) {
		before := w.log()
		r := w.run()
		require.Equal(t, directory.SyncCounts{Users: directory.Tally{Unchanged: 3}, Groups: directory.Tally{Unchanged: 2}}, r.Counts)
		require.Equal(t, before, w.log())
	})

	t.Run("what belongs to Docket stays", func(t *testing.T) {
		ctx := acting(t.Context())
		local := commands.NewID(ctx)
		send(w, commanded.CreateGroup{ID: local, OrganizationID: org, Details: commanded.Details{Name: "Local"}, Active: true})
		send(w, commanded.JoinGroup{UserID: ada.ID, GroupID: local})
		send(w, commanded.UpdateUser{ID: ada.ID, Person: with(commanded.PersonOf(ada), func(p *commanded.Person) { p.Language, p.DomainAccount = "fr", `L\ada` }), Roles: []domain.ID{}})
		before := w.log()
		w.run()
		require.Equal(t, before, w.log())
		u := w.user("x-ada")
		require.Contains(t, u.Groups, local)
		require.Equal(t, "fr", u.Language)
		require.Empty(t, u.Roles, "the role is given once")
	})

	t.Run("what belongs to the directory follows it", func(t *testing.T) {
		w.source.users[0] = person("ada", "g3")
		w.source.users[0].LastName, w.source.users[0].Department, w.source.users[0].DomainAccount = "King", "", `CORP\ada`
		w.source.users[1].Active = false
		w.source.users[2].Active = true
		w.source.groups[0].Name = "All staff"
		r := w.run()
		require.Equal(t, directory.SyncCounts{Users: directory.Tally{Changed: 2, Deactivated: 1}, Groups: directory.Tally{Added: 1, Changed: 1, Unchanged: 1}}, r.Counts)
		u := w.user("x-ada")
		require.Equal(t, []string{"King", "", `CORP\ada`}, []string{u.LastName, u.Details.Department, u.DomainAccount})
		require.Contains(t, u.Groups, w.group("g3").ID)
		require.NotContains(t, u.Groups, w.group("g1").ID)
		require.False(t, w.user("x-bob").Active)
		require.True(t, w.user("x-cy").Active)
		require.Equal(t, "All staff", w.group("g1").Name)
	})

	t.Run("who is gone is deactivated, and comes back", func(t *testing.T) {
		users, groups := w.source.users, w.source.groups
		w.source.users, w.source.groups = users[1:], groups[1:]
		r := w.run()
		// Bob leaves the group that is gone.
		require.Equal(t, directory.SyncCounts{Users: directory.Tally{Deactivated: 1, Changed: 1, Unchanged: 1}, Groups: directory.Tally{Deactivated: 1, Unchanged: 2}}, r.Counts)
		require.False(t, w.user("x-ada").Active)
		require.False(t, w.group("g1").Active)
		require.Zero(t, w.run().Counts.Users.Deactivated, "once")
		w.source.users, w.source.groups = users, groups
		r = w.run()
		require.Equal(t, directory.SyncCounts{Users: directory.Tally{Changed: 2, Unchanged: 1}, Groups: directory.Tally{Changed: 1, Unchanged: 2}}, r.Counts)
		require.Equal(t, ada.ID, w.user("x-ada").ID)
		require.True(t, w.user("x-ada").Active)
		require.True(t, w.group("g1").Active)
	})

	t.Run("a user who was deleted here is added anew", func(t *testing.T) {
		send(w, commanded.DeleteUser{ID: ada.ID})
		require.Equal(t, 1, w.run().Counts.Users.Added)
		require.NotEqual(t, ada.ID, w.user("x-ada").ID)
	})
}

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func TestEntriesThatCannotBeTakenOver(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := acting(t.Context())
	local, group := commands.NewID(ctx), commands.NewID(ctx)
	taken := "taken"
	send(w, commanded.CreateUser{ID: local, Person: commanded.Person{UserName: &taken, FirstName: "L", LastName: "L", Email: "local@example.com"}, Active: true,
		Membership: commanded.Membership{Organizations: []domain.ID{org}}})
	send(w, commanded.CreateGroup{ID: group, OrganizationID: org, Details: commanded.Details{Name: "Staff"}, Active: true})

	w.source.groups = []userdir.Group{{ExternalID: "g1", Name: "Staff"}}
	bad := person("bad")
	bad.Email = "not an address"
	mail := person("mail")
	mail.Email = "LOCAL@example.com"
	nobody := person("nobody")
	nobody.ExternalID = ""
	w.source.users = []userdir.User{person("taken", "g1"), bad, person("good", "g1"), mail, nobody, person("good", "g1")}
	r := w.run()
	require.Equal(t, directory.SyncCounts{Users: directory.Tally{Added: 1, Failed: 4}, Groups: directory.Tally{Failed: 1}}, r.Counts)
	require.Equal(t, []directory.EntryError{
		{Kind: "group", ExternalID: "g1", Code: "group-name.taken", Message: "name is already taken"},
		{Kind: "user", ExternalID: "", Code: "invalid", Message: "externalId must not be empty"},
		{Kind: "user", ExternalID: "x-bad", Code: "invalid", Message: "email is not a mail address"},
		{Kind: "user", ExternalID: "x-mail", Code: "user-email.taken", Message: "email is already taken"},
		{Kind: "user", ExternalID: "x-taken", Code: "user-userName.taken", Message: "userName is already taken"},
	}, r.Errors)
	require.Empty(t, w.user("x-good").Groups, "nobody gets into somebody else's group by its name")
	u, _, err := commands.Load[directory.User](t.Context(), w.bus, directory.UserStream(local))
	require.NoError(t, err)
	require.Empty(t, u.Source, "a local account is nobody's to take over")

	// Only so many are named, all are counted.
	w.source.users = nil
	for i := range 150 {
		u := person(fmt.Sprintf("bad%d", i))
		u.Email = "not an address"
		w.source.users = append(w.source.users, u)
	}
	w.source.users = append(w.source.users, person("good"))
	r = w.run()
	require.Equal(t, 150, r.Counts.Users.Failed)
	require.Len(t, r.Errors, directory.MaxEntryErrors)
}

// Two who exchange their names stand in each other's way only for a moment.
func TestNamesThatMove(t *testing.T) {
	w := newWorld(t)
	w.source.users = []userdir.User{person("ada"), person("bob")}
	w.start()
	w.run()
	a, b := w.source.users[0], w.source.users[1]
	a.UserName, a.Email = "cy", "cy@example.com"
	b.UserName, b.Email = "ada", "ada@example.com"
	w.source.users = []userdir.User{b, a} // the one who wants the other's name comes first
	r := w.run()
	require.Equal(t, directory.Tally{Changed: 2}, r.Counts.Users, "%v", r.Errors)
	require.Equal(t, "ada", w.user("x-bob").UserName)
}

func TestTooManyGone(t *testing.T) {
	w := newWorld(t)
	w.source.groups = []userdir.Group{{ExternalID: "g1", Name: "Staff"}}
	for i := range 10 {
		w.source.users = append(w.source.users, person(fmt.Sprintf("u%d", i), "g1"))
	}
	w.start()
	w.run()
	all := w.source.users
	refused := func(says string) {
		t.Helper()
		before := w.log()
		r := w.ended(w.begin())
		require.Equal(t, directory.SyncError, r.Status)
		require.Equal(t, "sync.too-many-gone", r.Code)
		require.Contains(t, r.Reason, says)
		require.Zero(t, r.Counts.Users.Deactivated)
		require.Equal(t, before, w.log(), "nobody is touched")
	}
	w.source.users = nil
	refused("10 of 10 active users")
	w.source.users, w.source.groups = nil, nil
	refused("1 of 1 active groups")
	// Who may not read groups any more must not take everybody out of theirs.
	w.source.users = all
	for i := range all {
		all[i].Groups = nil
	}
	refused("1 of 1 active groups")

	w.source.groups = []userdir.Group{{ExternalID: "g1", Name: "Staff"}}
	for i := range all {
		all[i].Groups = []string{"g1"}
	}
	w.source.users = all[:5]
	w.sync.MaxLoss = 50
	refused("5 of 10 active users")
	w.source.users = all[:6]
	require.Equal(t, 4, w.run().Counts.Users.Deactivated)
	w.sync.MaxLoss = 0
	w.source.users, w.source.groups = nil, nil
	r := w.run()
	require.Equal(t, directory.SyncCounts{Users: directory.Tally{Deactivated: 6}, Groups: directory.Tally{Deactivated: 1}}, r.Counts)
	require.Empty(t, w.active())
}

var (
	lost    = &userdir.Error{Code: userdir.Lost, Reason: "the connection to the server was lost", Passing: true, Cause: errors.New("EOF")}
	refused = &userdir.Error{Code: userdir.Credentials, Reason: "the server refuses the account that reads", Cause: errors.New("49")}
)

func many(n int) []userdir.User {
	users := make([]userdir.User, n)
	for i := range users {
		users[i] = person(fmt.Sprintf("u%05d", i))
	}
	return users
}

func TestDirectoryIsLostInTheMiddle(t *testing.T) {
	w := newWorld(t)
	w.source.users = many(batch + 10)
	w.start()

	// Twice, and then it is there: the same run, and every entry is counted once.
	w.source.before = func(_ context.Context, reading, n int) error {
		if reading < attempts && n == batch+5 {
			return lost
		}
		return nil
	}
	r := w.run()
	require.Equal(t, attempts, w.source.reads)
	require.Equal(t, directory.Tally{Added: batch + 10}, r.Counts.Users)

	// For good, after some were changed and before the rest was seen.
	w.source.users = append([]userdir.User{}, w.source.users...)
	w.source.users[0].LastName = "Changed"
	w.source.reads = 0
	w.source.before = func(_ context.Context, reading, n int) error {
		if n == batch+5 || reading > 1 && n == 0 {
			return lost
		}
		return nil
	}
	r = w.ended(w.begin())
	require.Equal(t, directory.SyncError, r.Status)
	require.Equal(t, []string{userdir.Lost, lost.Reason}, []string{r.Code, r.Reason})
	require.Equal(t, directory.Tally{Changed: 1, Unchanged: batch - 1}, r.Counts.Users, "as far as it came")
	require.Len(t, w.active(), batch+10, "nobody was deactivated")
	require.Equal(t, attempts, w.source.reads)

	// The next run goes on as if nothing had been.
	w.source.before = nil
	require.Equal(t, directory.Tally{Unchanged: batch + 10}, w.run().Counts.Users)

	// What trying again would not change is not tried again.
	w.source.reads = 0
	w.source.before = func(context.Context, int, int) error { return refused }
	r = w.ended(w.begin())
	require.Equal(t, userdir.Credentials, r.Code)
	require.Equal(t, 1, w.source.reads)
	// A mistake of ours does not leave the run running.
	w.source.before = func(context.Context, int, int) error { panic("a mistake") }
	r = w.ended(w.begin())
	require.Equal(t, "sync.given-up", r.Code)
	require.NotContains(t, r.Reason, "a mistake")
}

// A run that is cut off goes on as the same run in the next process.
func TestRunGoesOnAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.source.users = many(2*batch + 10)
	w.start()
	reached := make(chan struct{})
	w.source.before = func(ctx context.Context, reading, n int) error {
		if reading == 1 && n == 2*batch {
			close(reached)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	run := w.begin()
	<-reached
	w.stop()
	require.True(t, w.state(run).Running())
	require.Equal(t, 2*batch, w.state(run).Counts.Users.Added)

	w.start()
	r := w.ended(run)
	require.Equal(t, directory.SyncSucceeded, r.Status, "%s", r.Reason)
	require.Equal(t, directory.Tally{Added: 2*batch + 10}, r.Counts.Users, "each is counted once")
	require.Len(t, w.active(), 2*batch+10)
	before := w.log()
	require.Equal(t, directory.Tally{Unchanged: 2*batch + 10}, w.run().Counts.Users)
	require.Equal(t, before, w.log())
}

func TestOneRunAtATime(t *testing.T) {
	w := newWorld(t)
	w.source.users = many(3)
	hold := make(chan struct{})
	w.source.before = func(ctx context.Context, _, n int) error {
		if n == 0 {
			<-hold
		}
		return nil
	}
	w.start()
	var group sync.WaitGroup
	var mu sync.Mutex
	var started []domain.ID
	for range 8 {
		group.Go(func() {
			ctx := acting(t.Context())
			id := commands.NewID(ctx)
			_, err := commands.Send(ctx, w.bus, commanded.StartSyncRun{ID: id, DirectoryID: staffDirectory})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				started = append(started, id)
			} else if !fault.Is(err, fault.Unique) {
				t.Errorf("%v", err)
			}
		})
	}
	group.Wait()
	require.Len(t, started, 1)
	// The clock finds one running, and is content.
	w.put(directory.UserDirectoryStream(id(0x141)), directory.UserDirectoryCreated{ID: id(0x141), OrganizationID: org,
		Settings: directory.DirectorySettings{Type: directory.ActiveDirectory, Name: "Other", Active: true}})
	close(hold)
	w.ended(started[0])
	w.run()
}

func TestRunIsStopped(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(w *world, run domain.ID)
		status directory.SyncStatus
		code   string
	}{
		"by somebody":               {func(w *world, run domain.ID) { send(w, commanded.StopSyncRun{ID: run}) }, directory.SyncStopped, ""},
		"by the directory's end":    {func(w *world, _ domain.ID) { send(w, commanded.DeleteUserDirectory{ID: staffDirectory}) }, directory.SyncError, "userdirectory.deleted"},
		"by its being switched off": {func(w *world, _ domain.ID) { switchOff(w) }, directory.SyncError, "userdirectory.inactive"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.source.users = many(2 * batch)
			w.start()
			w.run()
			w.source.users = w.source.users[:batch+10]
			reached, goOn := make(chan struct{}), make(chan struct{})
			w.source.before = func(_ context.Context, _, n int) error {
				if n == batch-1 {
					close(reached)
					<-goOn
				}
				return nil
			}
			run := w.begin()
			<-reached
			c.do(w, run)
			close(goOn)
			r := w.ended(run)
			require.Equal(t, c.status, r.Status)
			require.Equal(t, c.code, r.Code)
			require.Equal(t, directory.Tally{Unchanged: batch}, r.Counts.Users)
			require.Len(t, w.active(), 2*batch, "nobody was deactivated")
			if c.status == directory.SyncStopped {
				w.source.before = nil
				require.Equal(t, batch-10, w.run().Counts.Users.Deactivated, "the next run goes on")
			}
		})
	}
}

func switchOff(w *world) {
	off := false
	send(w, commanded.UpdateUserDirectory{ID: staffDirectory, Active: &off, Password: []byte("p"),
		Settings: directory.DirectorySettings{Type: directory.ActiveDirectory, Name: "Staff", HostName: "dc", Synchronization: directory.SynchronizeManually}})
}

func TestSecretThatDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.sync.Unseal = func(string, []byte) ([]byte, error) { return nil, errors.New("another key") }
	r := w.ended(w.begin())
	require.Equal(t, "directory.secret", r.Code)
	require.Contains(t, r.Reason, "set it anew")
	require.Zero(t, w.source.reads)
}

func TestScheduledRuns(t *testing.T) {
	w := newWorld(t)
	w.source.users = many(2)
	w.start()
	now := time.Now().UTC()
	scheduled := directory.DirectorySettings{Type: directory.ActiveDirectory, Name: "Staff", HostName: "dc", Synchronization: directory.SynchronizeByClock,
		Frequency: directory.Hourly, FrequencyTime: now.Format("15:04"), Active: true}
	send(w, commanded.UpdateUserDirectory{ID: staffDirectory, Settings: scheduled, Password: []byte("p")})
	runs := func() (n int) {
		require.NoError(t, w.pool.QueryRow(t.Context(), "select count(*) from rm_directory.sync_runs").Scan(&n))
		return n
	}
	ctx := commands.WithRequest(t.Context(), commands.NewRequest("system", now))
	require.NoError(t, w.sync.startDue(ctx, now.Add(time.Minute)))
	require.Zero(t, runs(), "the time that was over when the schedule was made")

	hour := now.Add(time.Hour)
	due, _ := Schedule{directory.Hourly, scheduled.FrequencyTime, ""}.Last(hour)
	require.NoError(t, w.sync.startDue(ctx, hour))
	run := w.ended(RunID(staffDirectory, due))
	require.Equal(t, directory.SyncSucceeded, run.Status)
	require.True(t, due.Equal(*run.Due))
	for _, later := range []time.Duration{0, time.Minute, 59 * time.Minute} {
		require.NoError(t, w.sync.startDue(ctx, hour.Add(later)))
	}
	require.Equal(t, 1, runs(), "one run for a due time")

	// After a downtime, the missed ones are made up for by one.
	require.NoError(t, w.sync.startDue(ctx, hour.Add(26*time.Hour)))
	require.Equal(t, 2, runs())
	due, _ = Schedule{directory.Hourly, scheduled.FrequencyTime, ""}.Last(hour.Add(26 * time.Hour))
	w.ended(RunID(staffDirectory, due))

	// One that is under way is left alone; its successor comes when it has ended.
	hold := make(chan struct{})
	w.source.before = func(context.Context, int, int) error { <-hold; return nil }
	manual := w.begin()
	next := hour.Add(27 * time.Hour)
	require.NoError(t, w.sync.startDue(ctx, next))
	require.Equal(t, 3, runs())
	close(hold)
	w.ended(manual)
	require.NoError(t, w.sync.startDue(ctx, next.Add(time.Minute)))
	require.Equal(t, 4, runs())
	due, _ = Schedule{directory.Hourly, scheduled.FrequencyTime, ""}.Last(next)
	w.ended(RunID(staffDirectory, due))

	scheduled.Active = false
	send(w, commanded.UpdateUserDirectory{ID: staffDirectory, Settings: scheduled, Active: &scheduled.Active})
	require.NoError(t, w.sync.startDue(ctx, next.Add(48*time.Hour)))
	require.Equal(t, 4, runs())
}

func TestLogin(t *testing.T) {
	w := newWorld(t)
	w.source.users = []userdir.User{person("ada"), person("bob")}
	w.source.users[1].Active = false
	w.start()
	w.run()
	w.source.passwords = map[string]string{"x-ada": "pw", "x-bob": "pw"}
	login := func(u directory.User, password string) bool {
		t.Helper()
		ok, err := w.sync.Login(t.Context(), u, password)
		require.NoError(t, err)
		return ok
	}
	ada := w.user("x-ada")
	require.True(t, login(ada, "pw"))
	require.False(t, login(ada, "other"))
	require.False(t, login(ada, ""))
	require.False(t, login(w.user("x-bob"), "pw"), "inactive")
	require.False(t, login(with(ada, func(u *directory.User) { u.Source = "" }), "pw"), "local")
	require.False(t, login(with(ada, func(u *directory.User) { u.Source = id(0x999).String() }), "pw"), "of a directory that is not there")
	require.False(t, login(with(ada, func(u *directory.User) { u.Details.ExternalID = "" }), "pw"))

	w.source.passwords["down"] = "yes"
	_, err := w.sync.Login(t.Context(), ada, "pw")
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.NotContains(t, fault.Of(err).Public, "down")
	w.source.passwords = nil
	_, err = w.sync.Login(t.Context(), ada, "pw")
	require.True(t, fault.Is(err, fault.Denied), "%v", err)
	w.source.passwords = map[string]string{"x-ada": "pw"}
	switchOff(w)
	require.False(t, login(ada, "pw"), "of a directory that is switched off")
}

// flaky are read models whose database fails for some reads.
type flaky struct {
	Known
	mu       sync.Mutex
	failures []error
}

func (f *flaky) Users(ctx context.Context, directory domain.ID) ([]Link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failures) > 0 {
		err := f.failures[0]
		f.failures = f.failures[1:]
		return nil, err
	}
	return f.Known.Users(ctx, directory)
}

// A database that cannot be asked costs the run no attempt, and nobody but the log
// is told what its driver says.
func TestDatabaseIsAway(t *testing.T) {
	w := newWorld(t)
	w.source.users = []userdir.User{person("ada")}
	known := &flaky{}
	const secret = "user=docket host=db.internal"
	for len(known.failures) < attempts+1 {
		known.failures = append(known.failures, fmt.Errorf(secret+": %w", &net.OpError{Op: "read", Err: syscall.ECONNRESET}), &pgconn.PgError{Code: "53300", Message: secret})
	}
	w.know = func(k Known) Known { known.Known = k; return known }
	w.start()
	run := w.begin()
	job := func() (attempt int, metadata string) {
		err := w.pool.QueryRow(w.t.Context(), "select attempt, metadata::text || coalesce(errors::text, '') from effects.river_job").Scan(&attempt, &metadata)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, ""
		}
		require.NoError(t, err)
		return attempt, metadata
	}
	require.Eventually(t, func() bool { _, said := job(); return strings.Contains(said, "did not answer") }, waiting, 5*time.Millisecond)
	r := w.ended(run)
	require.Equal(t, directory.SyncSucceeded, r.Status, "%s %s", r.Code, r.Reason)
	require.Equal(t, 1, r.Counts.Users.Added)
	attempt, said := job()
	require.LessOrEqual(t, attempt, 1)
	require.NotContains(t, said, secret)
	require.Empty(t, known.failures)
	for e, err := range w.store.ReadAll(t.Context(), 0, eventstore.Filter{}) {
		require.NoError(t, err)
		require.NotContains(t, string(e.Data), secret)
	}
}
