package printing

import (
	"strings"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
)

// Ids of the tests. Print is an account below Vendor; Floor is a container below
// Print, Other an account beside it.
var (
	vendorOrg, print, floor, other, gone           = id(0x100), id(0x101), id(0x102), id(0x103), id(0x104)
	ann, bob, idle, zoe                            = id(0x110), id(0x111), id(0x112), id(0x113)
	doc, release                                   = id(0x120), id(0x121)
	printer, above, onFloor, elsewhere, dismantled = id(0x130), id(0x131), id(0x132), id(0x133), id(0x134)
	pull, push, pullAbove, pullElsewhere, closed   = id(0x140), id(0x141), id(0x142), id(0x143), id(0x144)
	before                                         = spec.Now.Add(-time.Hour)
	content                                        = printing.Blob{SHA256: strings.Repeat("ab", 32), Size: 1234}
	made                                           = printing.Blob{SHA256: strings.Repeat("cd", 32), Size: 4321}
	once                                           = printing.JobOptions{Copies: 1}
)

func id(n uint32) domain.ID { return domain.WellKnownID(n) }

func to[T any](v T) *T { return &v }

// operator works in Print with all rights and sees what is below.
var operator = domain.Actor{UserID: id(0x119), Tenant: print, Organizations: []domain.ID{print, floor}, Permissions: map[string]bool{
	"documents.create": true, "documents.release": true, "documents.delete": true,
	"outputPorts.create": true, "outputPorts.edit": true, "outputPorts.delete": true,
	"inputPorts.create": true, "inputPorts.edit": true, "inputPorts.delete": true}}

// plain is somebody of Print without any right.
func plain(who domain.ID) domain.Actor {
	return domain.Actor{UserID: who, Tenant: print, Organizations: []domain.ID{print, floor}}
}

// given is a scenario in which all aggregates of the tests are there.
func given[S domain.State[S]](t *testing.T, events ...domain.Event) spec.Scenario[S] {
	s := spec.Given[S](t, events...).As(operator)
	for o, ancestors := range map[domain.ID][]domain.ID{vendorOrg: {}, print: {vendorOrg}, floor: {vendorOrg, print}, other: {vendorOrg}, gone: {vendorOrg, print}} {
		state := directory.Organization{}.Apply(directory.OrganizationCreated{ID: o, Ancestors: ancestors})
		if o == gone {
			state = state.Apply(directory.OrganizationDeleted{ID: o})
		}
		s = s.Ref(directory.OrganizationStream(o), state)
	}
	for u, in := range map[domain.ID]domain.ID{ann: print, bob: floor, idle: print, zoe: other} {
		s = s.Ref(directory.UserStream(u), directory.User{}.Apply(directory.UserCreated{ID: u, Organizations: []domain.ID{in}, Active: u != idle}))
	}
	for p, in := range map[domain.ID]domain.ID{printer: print, above: vendorOrg, onFloor: floor, elsewhere: other, dismantled: print} {
		state := printing.OutputPort{}.Apply(printing.OutputPortCreated{ID: p, OrganizationID: in})
		if p == dismantled {
			state = state.Apply(printing.OutputPortDeleted{ID: p})
		}
		s = s.Ref(printing.OutputPortStream(p), state)
	}
	for p, in := range map[domain.ID]domain.ID{pull: print, push: print, pullAbove: vendorOrg, pullElsewhere: other, closed: print} {
		settings := printing.InputPortSettings{}
		if p == push {
			settings = printing.InputPortSettings{Type: printing.Push, OutputPortID: &printer}
		}
		state := printing.InputPort{}.Apply(printing.InputPortCreated{ID: p, OrganizationID: in, Settings: settings})
		if p == closed {
			state = state.Apply(printing.InputPortDeleted{ID: p})
		}
		s = s.Ref(printing.InputPortStream(p), state)
	}
	return s
}

// with changes a command or event.
func with[E any](e E, change func(*E)) E {
	change(&e)
	return e
}

// Events of a document's life.
func received(queue domain.ID) printing.DocumentReceived {
	return printing.DocumentReceived{ID: doc, OrganizationID: print, UserID: ann, InputPortID: queue, Title: "a.pdf", Extension: "pdf", Content: content,
		Options: printing.JobOptions{Copies: 2, Duplex: printing.LongEdge}, At: before}
}

var (
	converting = printing.DocumentConversionStarted{ID: doc, At: before}
	hopeless   = printing.DocumentConversionFailed{ID: doc, Reason: "damaged", At: before}
	ready      = printing.DocumentReady{ID: doc, Content: content, Format: "application/pdf", TotalPages: 3, ColorPages: 1, PaperSize: "A4", At: before}
	released   = printing.DocumentReleaseRequested{ID: doc, ReleaseID: release, OutputPortID: printer, Options: once, At: before}
	retained   = with(released, func(e *printing.DocumentReleaseRequested) { e.Retain = true })
	printed    = printing.DocumentPrinted{ID: doc, ReleaseID: release, At: before}
	failed     = printing.DocumentDeliveryFailed{ID: doc, ReleaseID: release, Reason: "no paper", At: before}
	deleted    = printing.DocumentDeleted{ID: doc, At: before}
	expired    = printing.DocumentExpired{ID: doc, At: before}
)

// lives are documents in every status, by what happened to them.
func lives() map[printing.Status][]domain.Event {
	start := received(pull)
	return map[printing.Status][]domain.Event{
		printing.Received:           {start},
		printing.AwaitingConversion: {with(start, func(e *printing.DocumentReceived) { e.Convert = true })},
		printing.Converting:         {start, converting},
		printing.ConversionFailed:   {start, hopeless},
		printing.Ready:              {start, ready},
		printing.Printed:            {start, ready, released, printed},
		printing.Stored:             {start, ready, retained, printed},
		printing.Failed:             {start, ready, released, failed},
		printing.Deleted:            {start, ready, deleted},
		printing.Expired:            {start, ready, expired},
	}
}

func TestEveryStatusIsReached(t *testing.T) {
	for status, events := range lives() {
		d := domain.Fold(printing.Document{}, events...)
		if d.Status != status || d.Release != nil {
			t.Errorf("want %d, have %+v", status, d)
		}
	}
}

// TestPermissions pins what each command needs.
func TestPermissions(t *testing.T) {
	bus := commands.NewBus(commands.Config{})
	Register(bus)
	for name, p := range Permissions() {
		if p != "" && !directory.KnownPermission(p) {
			t.Errorf("%s needs %s, which is in no catalogue", name, p)
		}
	}
}
