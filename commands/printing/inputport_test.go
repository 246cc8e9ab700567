package printing

import (
	"testing"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/printing"
)

func newQueue() InputPortDetails {
	return InputPortDetails{Name: to(" Follow me "), Type: to(printing.Pull)}
}

func TestCreateInputPort(t *testing.T) {
	begin := given[printing.InputPort](t)
	cmd := CreateInputPort{ID: pull, Details: newQueue()}
	event := printing.InputPortCreated{ID: pull, Number: spec.Number, OrganizationID: print, Name: "Follow me", CreatedAt: spec.Now}
	begin.When(cmd).Then(event)
	begin.When(with(cmd, func(c *CreateInputPort) {
		c.Details.Flags, c.Details.LocationID = to(printing.AvailableByDefault), to[int32](4)
	})).
		Then(with(event, func(e *printing.InputPortCreated) { e.Settings.Flags, e.Settings.LocationID = 1, 4 }))
	given[printing.InputPort](t, event).When(cmd).ThenFault(fault.Conflict)
	begin.When(CreateInputPort{ID: pull, OrganizationID: other, Details: InputPortDetails{Flags: to[int64](-1), LocationID: to[int32](-1)}}).
		ThenFault(fault.Invalid, "domainname", "porttype", "portname", "portFlags", "locationid")
	begin.When(with(cmd, func(c *CreateInputPort) { c.Details.Type = to(printing.QueueType(2)) })).ThenFault(fault.Invalid, "porttype")

	direct := func(port *domain.ID) CreateInputPort {
		return with(cmd, func(c *CreateInputPort) { c.Details.Type, c.Details.OutputPortID = to(printing.Push), port })
	}
	for _, p := range []domain.ID{printer, above} {
		begin.When(direct(&p)).Then(with(event, func(e *printing.InputPortCreated) { e.Settings.Type, e.Settings.OutputPortID = printing.Push, &p }))
	}
	for _, p := range []*domain.ID{nil, &elsewhere, &onFloor, &dismantled, to(id(9))} {
		begin.When(direct(p)).ThenFault(fault.Invalid, "outputportid")
	}
	// A pull queue has no printer.
	begin.When(with(cmd, func(c *CreateInputPort) { c.Details.OutputPortID = &elsewhere })).Then(event)
}

func TestUpdateInputPort(t *testing.T) {
	created := printing.InputPortCreated{ID: push, OrganizationID: print, Name: "Direct", Settings: printing.InputPortSettings{Type: printing.Push, OutputPortID: &printer, Flags: 1}, CreatedAt: before}
	changed := printing.InputPortChanged{ID: push, Name: "Direct", Settings: created.Settings, At: spec.Now}
	begin := given[printing.InputPort](t, created)
	begin.When(UpdateInputPort{ID: push}).ThenNothing()
	begin.When(UpdateInputPort{ID: push, OrganizationID: print, Details: InputPortDetails{Name: to("Direct"), OutputPortID: &printer}}).ThenNothing()
	begin.When(UpdateInputPort{ID: push, Details: InputPortDetails{Name: to("D"), OutputPortID: &above}}).
		Then(with(changed, func(e *printing.InputPortChanged) { e.Name, e.Settings.OutputPortID = "D", &above }))
	begin.When(UpdateInputPort{ID: push, Details: InputPortDetails{Type: to(printing.Pull), Flags: to[int64](0)}}).
		Then(with(changed, func(e *printing.InputPortChanged) { e.Settings = printing.InputPortSettings{} }))
	begin.When(UpdateInputPort{ID: push, OrganizationID: floor, Details: InputPortDetails{Name: to(""), OutputPortID: &elsewhere}}).
		ThenFault(fault.Invalid, "domainname", "portname", "outputportid")
	// The printer may have been deleted; the queue can be renamed all the same.
	begin.Ref(printing.OutputPortStream(printer), printing.OutputPort{}).When(UpdateInputPort{ID: push, Details: InputPortDetails{Flags: to[int64](0)}}).
		Then(with(changed, func(e *printing.InputPortChanged) { e.Settings.Flags = 0 }))
	waiting := given[printing.InputPort](t, with(created, func(e *printing.InputPortCreated) { e.Settings = printing.InputPortSettings{} }))
	waiting.When(UpdateInputPort{ID: push, Details: InputPortDetails{Type: to(printing.Push)}}).ThenFault(fault.Invalid, "outputportid")
	given[printing.InputPort](t).When(UpdateInputPort{ID: push}).ThenFault(fault.NotFound)
}

func TestDeleteInputPort(t *testing.T) {
	created := printing.InputPortCreated{ID: push, OrganizationID: print, Name: "Direct", CreatedAt: before}
	given[printing.InputPort](t, created).When(DeleteInputPort{push}).Then(printing.InputPortDeleted{ID: push, At: spec.Now})
	given[printing.InputPort](t, created, printing.InputPortDeleted{ID: push, At: before}).When(DeleteInputPort{push}).ThenFault(fault.NotFound)
}
