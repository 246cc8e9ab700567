package usersync

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/commands/effects"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/userdir"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

const (
	batchSize   = 500 // entries between two waits for the read models
	concurrency = 64  // commands at once: they share the waits for the disk
)

// run is an attempt at a run under way. It implements userdir.Visitor.
type run struct {
	*Sync
	was       directory.SyncRun
	directory directory.UserDirectory
	source    userdir.Source
	from      commanded.Origin
	ctx       context.Context // of the attempt, for the visitor's methods

	users, groups map[string]Link          // that are known, by their ids there
	seen          map[string]bool          // users of this reading
	listed        map[string]userdir.Group // groups of this reading
	ready         map[string]*domain.ID    // groups that were taken care of; nil: it could not be taken over
	ids           map[domain.ID]bool       // of groups of the directory
	repeat        bool                     // an earlier attempt may have changed things that this one has to count
	checked       bool                     // that not too many groups are gone
	batch         []userdir.User
	batchGroups   []userdir.Group // to be taken care of with the next batch
	again         []userdir.User  // whose names others had, who may have given them up since; guarded by mu

	mu     sync.Mutex // over what follows
	counts directory.SyncCounts
	errors []directory.EntryError
}

// begin gathers what a run needs. Without an error source is set; run.end works
// with one, too.
func (s *Sync) begin(ctx context.Context, was directory.SyncRun, repeat bool) (*run, error) {
	r := &run{Sync: s, was: was, ctx: ctx, seen: map[string]bool{}, listed: map[string]userdir.Group{}, ready: map[string]*domain.ID{}, ids: map[domain.ID]bool{}, repeat: repeat}
	var err error
	if err = r.stillThere(ctx); err != nil {
		return r, err
	}
	r.from = commanded.Origin{DirectoryID: was.DirectoryID, OrganizationID: was.OrganizationID}
	if r.source, err = s.source(r.directory); err != nil {
		return r, err
	}
	if r.users, err = links(ctx, was.DirectoryID, s.Known.Users); err != nil {
		return r, err
	}
	r.groups, err = links(ctx, was.DirectoryID, s.Known.Groups)
	for _, g := range r.groups {
		r.ids[g.ID] = true
	}
	return r, err
}

func links(ctx context.Context, directory domain.ID, list func(context.Context, domain.ID) ([]Link, error)) (map[string]Link, error) {
	all, err := list(ctx, directory)
	if err != nil {
		return nil, effects.OfPostgres(err)
	}
	by := make(map[string]Link, len(all))
	for _, l := range all {
		by[l.ExternalID] = l
	}
	return by, nil
}

// stillThere ends the run of a directory that was deleted or switched off.
func (r *run) stillThere(ctx context.Context) (err error) {
	r.directory, _, err = commands.Load[directory.UserDirectory](ctx, r.Bus, directory.UserDirectoryStream(r.was.DirectoryID))
	switch {
	case err != nil:
		return err
	case !r.directory.Exists():
		return failed("userdirectory.deleted", "the user directory was deleted")
	case !r.directory.Settings.Active:
		return failed("userdirectory.inactive", "the user directory was made inactive")
	}
	return nil
}

// do reads the directory to its end, and then drops who is gone.
func (r *run) do(ctx context.Context) error {
	if err := r.progress(ctx); err != nil { // it may have been stopped before it began
		return err
	}
	if err := r.source.Read(ctx, r); err != nil {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	if err := r.checkGroups(); err != nil {
		return err
	}
	if err := inBatches(r, r.again, func(ctx context.Context, u userdir.User) error { return r.takeUser(ctx, u, false) }); err != nil {
		return err
	}
	return r.dropGone()
}

// Group implements userdir.Visitor. A group that is not known waits until
// somebody turns out to be in it.
func (r *run) Group(g userdir.Group) error {
	if _, twice := r.listed[g.ExternalID]; twice {
		return nil
	}
	r.listed[g.ExternalID] = g
	if _, known := r.groups[g.ExternalID]; known {
		r.batchGroups = append(r.batchGroups, g)
	}
	if len(r.batchGroups) >= r.batchSize {
		return r.flush()
	}
	return nil
}

// User implements userdir.Visitor.
func (r *run) User(u userdir.User) error {
	if err := r.checkGroups(); err != nil {
		return err
	}
	if u.ExternalID != "" && r.seen[u.ExternalID] {
		return nil // pages may overlap
	}
	r.seen[u.ExternalID] = true
	r.batch = append(r.batch, u)
	for _, id := range u.Groups {
		g, listed := r.listed[id]
		_, known := r.groups[id]
		if _, taken := r.ready[id]; listed && !known && !taken {
			r.ready[id] = nil // until it is
			r.batchGroups = append(r.batchGroups, g)
		}
	}
	if len(r.batch) >= r.batchSize {
		return r.flush()
	}
	return nil
}

// checkGroups stops, before people leave them, a run to which too many groups are
// gone: who can't read groups any more sees none.
func (r *run) checkGroups() error {
	if r.checked {
		return nil
	}
	r.checked = true
	gone, active := r.gone(r.groups, func(id string) bool { _, there := r.listed[id]; return there })
	return r.checkLoss("groups", len(gone), active)
}

// gone are the active ones among known entries that this reading did not have.
func (r *run) gone(known map[string]Link, there func(externalID string) bool) (gone []Link, active int) {
	for id, l := range known {
		if !l.Active {
			continue
		}
		active++
		if !there(id) {
			gone = append(gone, l)
		}
	}
	slices.SortFunc(gone, func(a, b Link) int { return strings.Compare(a.ExternalID, b.ExternalID) })
	return gone, active
}

func (r *run) checkLoss(what string, gone, active int) error {
	if gone > 0 && r.MaxLoss > 0 && gone*100 >= r.MaxLoss*active {
		return failed("sync.too-many-gone", "%d of %d active %s are no longer in the directory's answer; nobody was deactivated (DOCKET_SYNC_MAX_LOSS allows less than %d percent)", gone, active, what, r.MaxLoss)
	}
	return nil
}

// flush takes over what was gathered, groups first, and says how far the run is.
func (r *run) flush() error {
	groups, users := r.batchGroups, r.batch
	r.batchGroups, r.batch = nil, nil
	_, err := commands.Together(r.ctx, r.Bus, func(ctx context.Context) error {
		if err := each(ctx, groups, r.takeGroup); err != nil {
			return err
		}
		return each(ctx, users, func(ctx context.Context, u userdir.User) error { return r.takeUser(ctx, u, true) })
	})
	if err != nil {
		return err
	}
	if err := r.stillThere(r.ctx); err != nil {
		return err
	}
	return r.progress(r.ctx)
}

// each does something to all entries, several at once. The first error counts.
func each[E any](ctx context.Context, all []E, do func(context.Context, E) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(concurrency)
	for _, e := range all {
		work.Go(func() error { return do(ctx, e) })
	}
	return work.Wait()
}

// id is that of a thing of the directory: the one that is known, or one fixed by
// the run, so that an attempt after a crash makes the same.
func (r *run) id(known map[string]Link, kind, externalID string) domain.ID {
	if l, ok := known[externalID]; ok {
		return l.ID
	}
	return domain.DerivedID(r.was.ID, kind+"/"+externalID)
}

// current is the state of a thing that is known, the zero state of others. It also
// has the bus know it before a command that would make it: the bus decides on what
// it knows first, and making takes names.
func current[S domain.State[S]](ctx context.Context, r *run, known map[string]Link, externalID string, stream func(domain.ID) string) (S, error) {
	l, ok := known[externalID]
	if !ok {
		return *new(S), nil
	}
	s, _, err := commands.Load[S](ctx, r.Bus, stream(l.ID))
	return s, err
}

func (r *run) takeGroup(ctx context.Context, g userdir.Group) error {
	if _, err := current[directory.Group](ctx, r, r.groups, g.ExternalID, directory.GroupStream); err != nil {
		return err
	}
	id := r.id(r.groups, "group", g.ExternalID)
	done, err := commands.Send(ctx, r.Bus, commanded.SyncGroup{ID: id, From: r.from, ExternalID: g.ExternalID, DisplayName: g.Name})
	if err := r.count("group", g.ExternalID, &r.counts.Groups, done.Events, err); err != nil {
		return err
	}
	if err == nil {
		r.mu.Lock()
		r.ready[g.ExternalID], r.ids[id] = &id, true
		r.mu.Unlock()
	}
	return nil
}

func (r *run) takeUser(ctx context.Context, u userdir.User, first bool) error {
	was, err := current[directory.User](ctx, r, r.users, u.ExternalID, directory.UserStream)
	if err != nil {
		return err
	}
	set := r.directory.Settings
	command := commanded.SyncUser{
		ID: r.id(r.users, "user", u.ExternalID), From: r.from, ExternalID: u.ExternalID,
		Person:     commanded.Person{UserName: &u.UserName, DomainAccount: u.DomainAccount, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email},
		Department: u.Department, Active: u.Active, Groups: r.memberships(u), Role: set.DefaultUserRole, Invite: set.SendNotification,
	}
	if !r.repeat && command.Settled(was, r.ours) { // nearly all, nearly always
		return r.count("user", u.ExternalID, &r.counts.Users, nil, nil)
	}
	done, err := commands.Send(ctx, r.Bus, command)
	if first && fault.Is(err, fault.Unique) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.again = append(r.again, u)
		return nil
	}
	return r.count("user", u.ExternalID, &r.counts.Users, done.Events, err)
}

// ours tells whether a group is of the directory.
func (r *run) ours(group domain.ID) bool { return r.ids[group] }

// memberships are the groups that somebody is to be in. Groups were taken over
// before users, so that the map is not written to meanwhile.
func (r *run) memberships(u userdir.User) []domain.ID {
	ids := []domain.ID{}
	for _, g := range u.Groups {
		if id := r.ready[g]; id != nil {
			ids = append(ids, *id)
		}
	}
	return ids
}

// count notes what became of an entry. What stands in the way of all entries
// comes back.
func (r *run) count(kind, externalID string, of *directory.Tally, events []domain.Event, err error) error {
	var f *fault.Error
	if err != nil && (!errors.As(err, &f) || f.Kind == fault.Unavailable || f.Kind == fault.Internal) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		of.Failed++
		if len(r.errors) < directory.MaxEntryErrors {
			r.errors = append(r.errors, directory.EntryError{Kind: kind, ExternalID: externalID, Code: f.Code, Message: message(f)})
		}
		return nil
	}
	switch became(events) {
	case "added":
		of.Added++
	case "deactivated":
		of.Deactivated++
	case "changed":
		of.Changed++
	default:
		of.Unchanged++
	}
	return nil
}

func became(events []domain.Event) string {
	what := ""
	for _, e := range events {
		switch e.(type) {
		case directory.UserCreated, directory.GroupCreated:
			return "added"
		case directory.UserDeactivated, directory.GroupDeactivated:
			what = "deactivated"
		default:
			if what == "" {
				what = "changed"
			}
		}
	}
	return what
}

// message tells an administrator what is wrong with an entry, without what it holds.
func message(f *fault.Error) string {
	if len(f.Fields) == 0 {
		return f.Public
	}
	parts := make([]string, len(f.Fields))
	for i, x := range f.Fields {
		parts[i] = x.Path + " " + x.Message
	}
	return strings.Join(parts, "; ")
}

// dropGone deactivates what the directory no longer has, unless that is too much.
func (r *run) dropGone() error {
	users, active := r.gone(r.users, func(id string) bool { return r.seen[id] })
	if err := r.checkLoss("users", len(users), active); err != nil {
		return err
	}
	groups, _ := r.gone(r.groups, func(id string) bool { _, there := r.listed[id]; return there })
	if err := inBatches(r, users, func(ctx context.Context, l Link) error {
		done, err := commands.Send(ctx, r.Bus, commanded.DropUser{ID: l.ID, From: r.from})
		return r.count("user", l.ExternalID, &r.counts.Users, done.Events, err)
	}); err != nil {
		return err
	}
	return inBatches(r, groups, func(ctx context.Context, l Link) error {
		done, err := commands.Send(ctx, r.Bus, commanded.DropGroup{ID: l.ID, From: r.from})
		return r.count("group", l.ExternalID, &r.counts.Groups, done.Events, err)
	})
}

// inBatches does something to all entries, a batch after the other.
func inBatches[E any](r *run, all []E, do func(context.Context, E) error) error {
	for part := range slices.Chunk(all, r.batchSize) {
		if _, err := commands.Together(r.ctx, r.Bus, func(ctx context.Context) error { return each(ctx, part, do) }); err != nil {
			return err
		}
		if err := r.progress(r.ctx); err != nil {
			return err
		}
	}
	return nil
}

// progress records how far the run is, and heeds who wants it to stop. An attempt
// after another says nothing until it has come as far.
func (r *run) progress(ctx context.Context) error {
	done, err := commands.Send(effects.Fresh(ctx), r.Bus, commanded.RecordSyncProgress{ID: r.was.ID, Counts: r.furthest()})
	if err != nil {
		return err
	}
	if done.State.Stopping || !done.State.Running() {
		return &stop{EndSyncRun: commanded.EndSyncRun{Stopped: true}}
	}
	return nil
}

// furthest are the counts of this attempt, or those of an earlier one that came
// further.
func (r *run) furthest() directory.SyncCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts.Total() < r.was.Counts.Total() {
		return r.was.Counts
	}
	return r.counts
}

// end records how the run ended.
func (r *run) end(ctx context.Context, how commanded.EndSyncRun) error {
	counts := r.furthest()
	how.ID, how.Counts, how.Errors = r.was.ID, &counts, r.errors
	slices.SortFunc(how.Errors, func(a, b directory.EntryError) int {
		return strings.Compare(a.Kind+a.ExternalID, b.Kind+b.ExternalID)
	})
	// Now, rather than when the attempt began. A run that has ended stays as it is.
	_, err := commands.Send(effects.Fresh(ctx), r.Bus, how)
	return err
}

func domainID(text string) (domain.ID, error) { return uuid.Parse(text) }
