// Package cascade holds the reactors that end what ends with something else: the
// tasks of a deleted project, the API keys of a deleted user or organization, the
// access keys and devices of a deleted organization,
// the recipients whose user or group was deleted. Reads leave these out at once;
// the reactors write their ends into the log, with the deletion as the cause.
package cascade

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"docket/commands"
	commandeddirectory "docket/commands/directory"
	"docket/commands/reactors"
	commandedreporting "docket/commands/reporting"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
	"docket/eventstore"
)

// Models are the read models as far as the work lists need them.
type Models interface {
	commands.Waiter
	// Committed is up to where the tables of a group are complete.
	Committed(group string) (eventstore.Position, bool)
}

// Work are the work lists, kept by the read models. Lists are in the order of
// ids, begin after an id and hold at most limit entries.
type Work interface {
	// OrphanedTasks are tasks of a deleted project.
	OrphanedTasks(ctx context.Context, project, after domain.ID, limit int) ([]domain.ID, error)
	// OrphanedKeys are API keys of a deleted user or organization.
	OrphanedKeys(ctx context.Context, owner, after domain.ID, limit int) ([]domain.ID, error)
	// TasksWithRecipient are tasks that have a deleted user or group as recipient.
	TasksWithRecipient(ctx context.Context, recipient, after domain.ID, limit int) ([]domain.ID, error)
	// LateTask tells whether a task was created after the end of its project, and
	// whether there is any such task.
	LateTask(ctx context.Context, task domain.ID) (late, any bool, err error)
	// LateKey is the same for API keys and the end of their users and organizations.
	LateKey(ctx context.Context, key domain.ID) (late, any bool, err error)
	// OrphanedAccessKeys and OrphanedDevices are those of a deleted organization.
	OrphanedAccessKeys(ctx context.Context, organization, after domain.ID, limit int) ([]domain.ID, error)
	OrphanedDevices(ctx context.Context, organization, after domain.ID, limit int) ([]domain.ID, error)
	// LateAccess is LateTask for both and the end of their organizations.
	LateAccess(ctx context.Context, id domain.ID) (late, any bool, err error)
}

// Config is what the reactors need.
type Config struct {
	Bus    *commands.Bus
	Models Models
	Work   Work
}

const (
	// chunk is how many entries of a list are worked off between two looks.
	chunk = 500
	// patience is how long read models may take before the event is tried again.
	patience = 10 * time.Second
)

// Reactors are all of this package. They begin at the beginning of the log.
func Reactors(c Config) []reactors.Reactor {
	return []reactors.Reactor{c.endTasks(), c.revokeKeys(), c.endAccess(), c.removeRecipients()}
}

func (c Config) endTasks() reactors.Reactor {
	end := func(ctx context.Context, task domain.ID) error {
		_, err := commands.Send(ctx, c.Bus, commandedreporting.EndOrphanedTask{ID: task})
		return err
	}
	late := &lateness{Config: c, group: "reporting", look: c.Work.LateTask, end: end}
	return reactors.New("reporting.end-orphaned-tasks", reactors.AtBeginning,
		reactors.On(func(ctx context.Context, e reporting.ProjectDeleted, in reactors.Event) error {
			return c.workOff(ctx, in, e.ID, c.Work.OrphanedTasks, end)
		}),
		reactors.On(func(ctx context.Context, e reporting.TaskCreated, in reactors.Event) error {
			return late.check(ctx, in, e.ID)
		}))
}

func (c Config) revokeKeys() reactors.Reactor {
	revoke := func(ctx context.Context, key domain.ID) error {
		_, err := commands.Send(ctx, c.Bus, commandeddirectory.RevokeOrphanedKey{ID: key})
		return err
	}
	late := &lateness{Config: c, group: "directory", look: c.Work.LateKey, end: revoke}
	return reactors.New("directory.revoke-orphaned-keys", reactors.AtBeginning,
		reactors.On(func(ctx context.Context, e directory.UserDeleted, in reactors.Event) error {
			return c.workOff(ctx, in, e.ID, c.Work.OrphanedKeys, revoke)
		}),
		reactors.On(func(ctx context.Context, e directory.OrganizationDeleted, in reactors.Event) error {
			return c.workOff(ctx, in, e.ID, c.Work.OrphanedKeys, revoke)
		}),
		reactors.On(func(ctx context.Context, e directory.APIKeyCreated, in reactors.Event) error {
			return late.check(ctx, in, e.ID)
		}))
}

// endAccess ends what lets clients of the SAFEQ API in.
func (c Config) endAccess() reactors.Reactor {
	endKey := func(ctx context.Context, id domain.ID) error {
		_, err := commands.Send(ctx, c.Bus, commandeddirectory.EndOrphanedAccessKey{ID: id})
		return err
	}
	endDevice := func(ctx context.Context, id domain.ID) error {
		_, err := commands.Send(ctx, c.Bus, commandeddirectory.EndOrphanedDevice{ID: id})
		return err
	}
	lateKey := &lateness{Config: c, group: "directory", look: c.Work.LateAccess, end: endKey}
	lateDevice := &lateness{Config: c, group: "directory", look: c.Work.LateAccess, end: endDevice}
	return reactors.New("directory.end-orphaned-access", reactors.AtBeginning,
		reactors.On(func(ctx context.Context, e directory.OrganizationDeleted, in reactors.Event) error {
			if err := c.workOff(ctx, in, e.ID, c.Work.OrphanedAccessKeys, endKey); err != nil {
				return err
			}
			return c.workOff(ctx, in, e.ID, c.Work.OrphanedDevices, endDevice)
		}),
		reactors.On(func(ctx context.Context, e directory.AccessKeyCreated, in reactors.Event) error {
			return lateKey.check(ctx, in, e.ID)
		}),
		reactors.On(func(ctx context.Context, e directory.DeviceRegistered, in reactors.Event) error {
			return lateDevice.check(ctx, in, e.ID)
		}))
}

func (c Config) removeRecipients() reactors.Reactor {
	remove := func(who domain.ID, kind string) func(context.Context, domain.ID) error {
		return func(ctx context.Context, task domain.ID) error {
			_, err := commands.Send(ctx, c.Bus, commandedreporting.RemoveGoneRecipient{TaskID: task, RecipientID: who, Type: kind})
			return err
		}
	}
	return reactors.New("reporting.remove-gone-recipients", reactors.AtBeginning,
		reactors.On(func(ctx context.Context, e directory.UserDeleted, in reactors.Event) error {
			return c.workOff(ctx, in, e.ID, c.Work.TasksWithRecipient, remove(e.ID, reporting.RecipientUser))
		}),
		reactors.On(func(ctx context.Context, e directory.GroupDeleted, in reactors.Event) error {
			return c.workOff(ctx, in, e.ID, c.Work.TasksWithRecipient, remove(e.ID, reporting.RecipientGroup))
		}),
		// Added, or copied from another task, while the user or group was being
		// deleted.
		reactors.On(func(ctx context.Context, e reporting.TaskRecipientsAdded, _ reactors.Event) error {
			for _, r := range e.Recipients {
				there, err := c.there(ctx, r)
				if err == nil && !there {
					err = remove(r.ID, r.Type)(ctx, e.TaskID)
				}
				if err != nil {
					return fmt.Errorf("%s %s: %w", r.Type, r.ID, err)
				}
			}
			return nil
		}))
}

// there tells whether the user or group behind a recipient exists. It asks the
// log: who exists is known in no read model of tasks. A deletion that this does
// not see yet comes after the addition and finds the recipient in its list.
func (c Config) there(ctx context.Context, r reporting.Recipient) (bool, error) {
	if r.Type == reporting.RecipientGroup {
		g, _, err := commands.Load[directory.Group](ctx, c.Bus, directory.GroupStream(r.ID))
		return g.Exists(), err
	}
	u, _, err := commands.Load[directory.User](ctx, c.Bus, directory.UserStream(r.ID))
	return u.Exists(), err
}

// current waits until the work lists know of an event.
func (c Config) current(ctx context.Context, in reactors.Event) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !c.Models.Await(ctx, in.Position, []string{in.Type}) {
		return fault.New(fault.Unavailable, "projections.late", "the read models have not taken in the event at position %d", in.Position)
	}
	return nil
}

// workOff does something to all entries of an owner's list. It asks for the
// list by pages rather than until it is empty: an entry stays until the read
// models have seen its end.
func (c Config) workOff(ctx context.Context, in reactors.Event, owner domain.ID,
	list func(ctx context.Context, owner, after domain.ID, limit int) ([]domain.ID, error), do func(context.Context, domain.ID) error) error {
	if err := c.current(ctx, in); err != nil {
		return err
	}
	var after domain.ID
	for {
		page, err := list(ctx, owner, after, chunk)
		if err != nil || len(page) == 0 {
			return err
		}
		// Together keeps a long list from outrunning the read models.
		if _, err := commands.Together(ctx, c.Bus, func(ctx context.Context) error { return each(ctx, page, do) }); err != nil {
			return err
		}
		after = page[len(page)-1]
	}
}

func each(ctx context.Context, ids []domain.ID, do func(context.Context, domain.ID) error) error {
	for _, id := range ids {
		if err := do(ctx, id); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

// lateness ends what was created while the thing it belongs to was being
// deleted: a command's look at other streams may be a moment old. No deletion
// follows that could be the cause, so the creation is.
type lateness struct {
	Config
	group string
	look  func(ctx context.Context, id domain.ID) (late, any bool, err error)
	end   func(ctx context.Context, id domain.ID) error
	clear atomic.Uint64 // nothing created up to this position was late
}

// check looks at one creation. Nearly all are in order, and one look at the read
// models clears all those they have taken in.
func (l *lateness) check(ctx context.Context, in reactors.Event, id domain.ID) error {
	if uint64(in.Position) <= l.clear.Load() {
		return nil
	}
	if err := l.current(ctx, in); err != nil {
		return err
	}
	committed, _ := l.Models.Committed(l.group)
	late, any, err := l.look(ctx, id)
	switch {
	case err != nil:
		return err
	case late:
		return l.end(ctx, id)
	case !any:
		l.clear.Store(uint64(committed))
	}
	return nil
}
