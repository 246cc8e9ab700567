package printing

import (
	"reflect"
	"slices"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/printing"
)

// InputPortDetails are what is said of a queue. Nil leaves it as it is, and is the
// default of a new queue: porttype is then missing, everything else zero.
type InputPortDetails struct {
	Name         *string
	Type         *printing.QueueType
	OutputPortID *domain.ID // of a push queue; a pull queue forgets it
	Flags        *int64
	LocationID   *int32
}

// refs are what checking the details looks at, apart from the organization.
func (d InputPortDetails) refs() []commands.Ref {
	if d.OutputPortID == nil {
		return nil
	}
	return []commands.Ref{outputPortRef(*d.OutputPortID)}
}

// check merges the details with what is there and names what is wrong.
func (d InputPortDetails) check(env commands.Env, p *fault.Problems, in directory.Organization, name string, is printing.InputPortSettings) (string, printing.InputPortSettings) {
	name = rule.Name(p, "portname", or(d.Name, name))
	s := printing.InputPortSettings{Type: or(d.Type, is.Type), OutputPortID: is.OutputPortID, Flags: or(d.Flags, is.Flags), LocationID: or(d.LocationID, is.LocationID)}
	p.Check(s.Type == printing.Pull || s.Type == printing.Push, "porttype", "must be 0 (pull) or 1 (push)")
	if d.OutputPortID != nil {
		s.OutputPortID = d.OutputPortID
	}
	switch {
	case s.Type != printing.Push:
		s.OutputPortID = nil
	case s.OutputPortID == nil:
		p.Add("outputportid", "is needed by a push queue")
	case d.OutputPortID != nil:
		port := commands.Lookup[printing.OutputPort](env, printing.OutputPortStream(*d.OutputPortID))
		p.Check(port.Exists() && serves(port.OrganizationID, in), "outputportid", "does not exist in this account or above")
	}
	p.Check(s.Flags >= 0, "portFlags", "must not be negative")
	p.Check(s.LocationID >= 0, "locationid", "must not be negative")
	return name, s
}

// serves tells whether what belongs to one organization is there for another: the
// same, or one below.
func serves(owner domain.ID, in directory.Organization) bool {
	return owner == in.ID || slices.Contains(in.Ancestors, owner)
}

// CreateInputPort adds a queue. Problems: domainname, portname, porttype,
// outputportid, portFlags, locationid.
type CreateInputPort struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	Details        InputPortDetails
}

func (c CreateInputPort) Name() string         { return "printing.create-inputport" }
func (c CreateInputPort) Stream() string       { return printing.InputPortStream(c.ID) }
func (c CreateInputPort) Permission() string   { return "inputPorts.create" }
func (c CreateInputPort) NumberKind() string   { return "inputport" }
func (c CreateInputPort) Refs() []commands.Ref { return c.Details.refs() }

// Explore implements commands.Exploring.
func (c CreateInputPort) Explore(_ printing.InputPort, env commands.Env) []commands.Ref {
	return []commands.Ref{organizationRef(orTenant(env.Actor, c.OrganizationID))}
}

// Decide implements commands.Command.
func (c CreateInputPort) Decide(i printing.InputPort, env commands.Env) ([]domain.Event, error) {
	if i.ID != (domain.ID{}) {
		return nil, exists("inputport", c.ID)
	}
	var problems fault.Problems
	organization := account(env, &problems, c.OrganizationID)
	problems.Check(c.Details.Type != nil, "porttype", "is needed")
	name, settings := c.Details.check(env, &problems, organization, "", printing.InputPortSettings{})
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{printing.InputPortCreated{ID: c.ID, Number: env.Number, OrganizationID: organization.ID, Name: name, Settings: settings, CreatedAt: env.Now}}, nil
}

// UpdateInputPort changes what is known of a queue. A queue can't move to another
// organization. Problems: as of CreateInputPort.
type UpdateInputPort struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: not said
	Details        InputPortDetails
}

func (c UpdateInputPort) Name() string         { return "printing.update-inputport" }
func (c UpdateInputPort) Stream() string       { return printing.InputPortStream(c.ID) }
func (c UpdateInputPort) Permission() string   { return "inputPorts.edit" }
func (c UpdateInputPort) Refs() []commands.Ref { return c.Details.refs() }

// Explore implements commands.Exploring.
func (c UpdateInputPort) Explore(i printing.InputPort, _ commands.Env) []commands.Ref {
	if !i.Exists() {
		return nil
	}
	return []commands.Ref{organizationRef(i.OrganizationID)}
}

// Decide implements commands.Command.
func (c UpdateInputPort) Decide(i printing.InputPort, env commands.Env) ([]domain.Event, error) {
	if !i.Exists() {
		return nil, fault.Missing("inputport", c.ID)
	}
	var problems fault.Problems
	stays(&problems, c.OrganizationID, i.OrganizationID)
	name, settings := c.Details.check(env, &problems, organizationOf(env, i.OrganizationID), i.Name, i.Settings)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if name == i.Name && reflect.DeepEqual(settings, i.Settings) {
		return nil, nil
	}
	return []domain.Event{printing.InputPortChanged{ID: c.ID, Name: name, Settings: settings, At: env.Now}}, nil
}

// DeleteInputPort ends a queue. Documents in it stay and can be released.
type DeleteInputPort struct{ ID domain.ID }

func (c DeleteInputPort) Name() string       { return "printing.delete-inputport" }
func (c DeleteInputPort) Stream() string     { return printing.InputPortStream(c.ID) }
func (c DeleteInputPort) Permission() string { return "inputPorts.delete" }

// Decide implements commands.Command.
func (c DeleteInputPort) Decide(i printing.InputPort, env commands.Env) ([]domain.Event, error) {
	if !i.Exists() {
		return nil, fault.Missing("inputport", c.ID)
	}
	return []domain.Event{printing.InputPortDeleted{ID: c.ID, At: env.Now}}, nil
}
