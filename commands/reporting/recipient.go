package reporting

import (
	"fmt"
	"slices"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// Most recipients of one command and of one task. The latter keeps all of a
// task's recipients within one append, which a copy of the task needs.
const (
	MaxRecipientsAtOnce = 1_000
	MaxRecipients       = 10_000
)

// AddRecipients gives a task more recipients. Problems: recipients, [i].id,
// [i].type: the request is a list.
type AddRecipients struct {
	TaskID     domain.ID
	Recipients []reporting.Recipient
}

func (c AddRecipients) Name() string       { return "reporting.add-recipients" }
func (c AddRecipients) Stream() string     { return reporting.TaskStream(c.TaskID) }
func (c AddRecipients) Permission() string { return "tasks.edit" }

// Refs implements commands.Referring. A list longer than Decide accepts is not
// looked at.
func (c AddRecipients) Refs() []commands.Ref {
	if len(c.Recipients) > MaxRecipientsAtOnce {
		return nil
	}
	var all []commands.Ref
	for _, r := range c.Recipients {
		switch r.Type {
		case reporting.RecipientUser:
			all = append(all, commands.RefTo[directory.User](directory.UserStream(r.ID)))
		case reporting.RecipientGroup:
			all = append(all, commands.RefTo[directory.Group](directory.GroupStream(r.ID)))
		}
	}
	return all
}

// Explore implements commands.Exploring.
func (c AddRecipients) Explore(t reporting.Task, _ commands.Env) []commands.Ref {
	return exploreProject(t)
}

// Decide implements commands.Command.
func (c AddRecipients) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := taskThere(c.Permission(), c.TaskID, t, env); err != nil {
		return nil, err
	}
	if err := tooMany(c.Recipients); err != nil {
		return nil, err
	}
	var problems fault.Problems
	seen := make(map[reporting.Recipient]bool, len(c.Recipients))
	for i, r := range c.Recipients {
		if problem := addressable(env, r, t.OrganizationID); problem != "" {
			problems.Add(element(i, "id"), "%s", problem)
		}
		problems.Check(knownType(r), element(i, "type"), "must be user or group")
		problems.Check(!seen[identity(r)], element(i, "id"), "is named twice")
		seen[identity(r)] = true
	}
	problems.Check(len(t.Recipients)+len(c.Recipients) <= MaxRecipients, "recipients", "a task has at most %d", MaxRecipients)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if err := alreadyThere(t, c.Recipients); err != nil || len(c.Recipients) == 0 {
		return nil, err
	}
	return []domain.Event{reporting.TaskRecipientsAdded{TaskID: c.TaskID, Recipients: c.Recipients, At: env.Now}}, nil
}

// addressable says why a user or group can't be a recipient in an
// organization, "" if they can.
func addressable(env commands.Env, r reporting.Recipient, organization domain.ID) string {
	there, belongs := true, true
	switch r.Type {
	case reporting.RecipientUser:
		u := commands.Lookup[directory.User](env, directory.UserStream(r.ID))
		there, belongs = visible(env, u), slices.Contains(u.InOrgs, organization)
	case reporting.RecipientGroup:
		g := commands.Lookup[directory.Group](env, directory.GroupStream(r.ID))
		there, belongs = visible(env, g), g.OrganizationID == organization
	}
	switch {
	case !there:
		return "does not exist"
	case !belongs:
		return "does not belong to the project's organization"
	}
	return ""
}

// alreadyThere names the recipients that a task has.
func alreadyThere(t reporting.Task, recipients []reporting.Recipient) error {
	has := byIdentity(t)
	var taken *fault.Error
	for i, r := range recipients {
		if _, there := has[identity(r)]; !there {
			continue
		}
		if taken == nil {
			taken = fault.New(fault.Conflict, "recipient.exists", "%s %s is a recipient of the task already", r.Type, r.ID)
		}
		taken = taken.On(element(i, "id"), "is a recipient already")
	}
	if taken == nil {
		return nil
	}
	return taken
}

// identity is a recipient without its flags.
func identity(r reporting.Recipient) reporting.Recipient {
	return reporting.Recipient{ID: r.ID, Type: r.Type}
}

// byIdentity finds a task's recipients whatever their flags.
func byIdentity(t reporting.Task) map[reporting.Recipient]reporting.Recipient {
	all := make(map[reporting.Recipient]reporting.Recipient, len(t.Recipients))
	for _, r := range t.Recipients {
		all[identity(r)] = r
	}
	return all
}

func knownType(r reporting.Recipient) bool {
	return r.Type == reporting.RecipientUser || r.Type == reporting.RecipientGroup
}

func element(i int, field string) string { return fmt.Sprintf("[%d].%s", i, field) }

func tooMany(recipients []reporting.Recipient) error {
	if len(recipients) > MaxRecipientsAtOnce {
		return fault.InvalidField("recipients", "must not hold more than %d entries", MaxRecipientsAtOnce)
	}
	return nil
}

// UpdateRecipient replaces the flags of one recipient. Problems: id, type.
type UpdateRecipient struct {
	TaskID    domain.ID
	Recipient reporting.Recipient
}

func (c UpdateRecipient) Name() string       { return "reporting.update-recipient" }
func (c UpdateRecipient) Stream() string     { return reporting.TaskStream(c.TaskID) }
func (c UpdateRecipient) Permission() string { return "tasks.edit" }

// Explore implements commands.Exploring.
func (c UpdateRecipient) Explore(t reporting.Task, _ commands.Env) []commands.Ref {
	return exploreProject(t)
}

// Decide implements commands.Command.
func (c UpdateRecipient) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := taskThere(c.Permission(), c.TaskID, t, env); err != nil {
		return nil, err
	}
	if !knownType(c.Recipient) {
		return nil, fault.InvalidField("type", "must be user or group")
	}
	i := t.Find(c.Recipient)
	switch {
	case i < 0:
		return nil, fault.Missing("recipient", c.Recipient.ID).On("id", "is no recipient of the task")
	case t.Recipients[i] == c.Recipient:
		return nil, nil
	}
	return []domain.Event{reporting.TaskRecipientChanged{TaskID: c.TaskID, Recipient: c.Recipient, At: env.Now}}, nil
}

// RemoveRecipients takes recipients from a task; all of them must be there.
// Flags don't matter. Problems: recipients, [i].type.
type RemoveRecipients struct {
	TaskID     domain.ID
	Recipients []reporting.Recipient
}

func (c RemoveRecipients) Name() string       { return "reporting.remove-recipients" }
func (c RemoveRecipients) Stream() string     { return reporting.TaskStream(c.TaskID) }
func (c RemoveRecipients) Permission() string { return "tasks.edit" }

// Explore implements commands.Exploring.
func (c RemoveRecipients) Explore(t reporting.Task, _ commands.Env) []commands.Ref {
	return exploreProject(t)
}

// Decide implements commands.Command.
func (c RemoveRecipients) Decide(t reporting.Task, env commands.Env) ([]domain.Event, error) {
	if err := taskThere(c.Permission(), c.TaskID, t, env); err != nil {
		return nil, err
	}
	if err := tooMany(c.Recipients); err != nil {
		return nil, err
	}
	var problems fault.Problems
	var unknown *fault.Error
	has, gone := byIdentity(t), make([]reporting.Recipient, 0, len(c.Recipients))
	for i, r := range c.Recipients {
		problems.Check(knownType(r), element(i, "type"), "must be user or group")
		there, found := has[identity(r)]
		if !found {
			if unknown == nil {
				unknown = fault.Missing("recipient", r.ID)
			}
			unknown = unknown.On(element(i, "id"), "is no recipient of the task")
		} else if !slices.Contains(gone, there) {
			gone = append(gone, there)
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if unknown != nil {
		return nil, unknown
	}
	if len(gone) == 0 {
		return nil, nil
	}
	return []domain.Event{reporting.TaskRecipientsRemoved{TaskID: c.TaskID, Recipients: gone, At: env.Now}}, nil
}
