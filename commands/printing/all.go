// Package printing holds the commands on documents, queues (input ports) and
// printers (output ports).
//
// Where things lie: a queue or a printer serves the organization it belongs to and
// those below, and a printer also what is released at it by whoever sees it. A
// document belongs to an organization and to its user, who may delete and release
// it without any right; others need the right and must see the organization. All
// problems of a command are named at once, under the parameter names of SAFEQ's
// documents.
package printing

import (
	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/printing"
)

// Register makes the aggregates of printing known to a bus.
func Register(b *commands.Bus) {
	commands.Register[printing.OutputPort](b, "outputport")
	commands.Register[printing.InputPort](b, "inputport")
	commands.Register[printing.Document](b, "document")
}

// Permissions tells which permission each command needs, by its name. Those with
// none ask for one themselves unless the actor owns the document.
func Permissions() map[string]string {
	all := make(map[string]string)
	for _, c := range []interface {
		Name() string
		Permission() string
	}{
		CreateOutputPort{}, UpdateOutputPort{}, DeleteOutputPort{},
		CreateInputPort{}, UpdateInputPort{}, DeleteInputPort{},
		ReceiveDocument{}, StartConversion{}, MarkReady{}, FailConversion{},
		ReleaseDocument{}, RecordDelivery{}, DeleteDocument{}, ExpireDocument{}, RecordJob{},
	} {
		all[c.Name()] = c.Permission()
	}
	return all
}

// bySystem is the permission of what workers do; no API does it, and Decide
// refuses everybody else.
const bySystem = "operations.edit"

func systemOnly(env commands.Env) error {
	if env.Actor.UserID != domain.SystemID {
		return fault.New(fault.Denied, "denied", "only the system does this")
	}
	return nil
}

// owns refuses what an actor may neither as the user it is about nor by a right.
func owns(env commands.Env, user domain.ID, permission string) error {
	if env.Actor.UserID == user || env.Actor.May(permission) {
		return nil
	}
	return fault.New(fault.Denied, "denied", "the permission %s is needed", permission)
}

func organizationRef(id domain.ID) commands.Ref {
	return commands.RefTo[directory.Organization](directory.OrganizationStream(id))
}

func outputPortRef(id domain.ID) commands.Ref {
	return commands.RefTo[printing.OutputPort](printing.OutputPortStream(id))
}

func inputPortRef(id domain.ID) commands.Ref {
	return commands.RefTo[printing.InputPort](printing.InputPortStream(id))
}

func organizationOf(env commands.Env, id domain.ID) directory.Organization {
	return commands.Lookup[directory.Organization](env, directory.OrganizationStream(id))
}

func orTenant(actor domain.Actor, id domain.ID) domain.ID {
	if id == (domain.ID{}) {
		return actor.Tenant
	}
	return id
}

// account checks the organization that something new is to belong to. None means
// the one the actor works in.
func account(env commands.Env, p *fault.Problems, id domain.ID) directory.Organization {
	o := organizationOf(env, orTenant(env.Actor, id))
	p.Check(o.Exists() && env.Actor.Sees(o.ID), "domainname", "does not exist")
	return o
}

// exists refuses to create what was there before, also if it was deleted: others
// may still refer to it by its id.
func exists(what string, id domain.ID) error {
	return fault.New(fault.Conflict, what+".exists", "%s %s exists already or did", what, id)
}

// or is what was asked for, or else what is there.
func or[T any](asked *T, is T) T {
	if asked == nil {
		return is
	}
	return *asked
}
