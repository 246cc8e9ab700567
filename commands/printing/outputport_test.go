package printing

import (
	"slices"
	"strings"
	"testing"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/printing"

	"github.com/stretchr/testify/require"
)

func newPort() OutputPortDetails {
	return OutputPortDetails{Name: to(" Hall "), Address: to("10.0.0.1:9100"), Type: to(printing.Printer)}
}

func settings() printing.OutputPortSettings {
	return printing.OutputPortSettings{Address: "10.0.0.1:9100", Type: printing.Printer, ServiceIDs: []int32{}, Vendor: "unknown"}
}

func TestCreateOutputPort(t *testing.T) {
	begin := given[printing.OutputPort](t)
	cmd := CreateOutputPort{ID: printer, Details: newPort()}
	event := printing.OutputPortCreated{ID: printer, Number: spec.Number, OrganizationID: print, Name: "Hall", Settings: settings(), CreatedAt: spec.Now}
	begin.When(cmd).Then(event)
	begin.When(with(cmd, func(c *CreateOutputPort) { c.OrganizationID = floor })).Then(with(event, func(e *printing.OutputPortCreated) { e.OrganizationID = floor }))
	given[printing.OutputPort](t, event).When(cmd).ThenFault(fault.Conflict)
	given[printing.OutputPort](t, event, printing.OutputPortDeleted{ID: printer, At: before}).When(cmd).ThenFault(fault.Conflict)
	for _, o := range []domain.ID{vendorOrg, other, gone, id(9)} {
		begin.When(with(cmd, func(c *CreateOutputPort) { c.OrganizationID = o })).ThenFault(fault.Invalid, "domainname")
	}
	full := OutputPortDetails{Name: to("Full"), Address: to("queue_1"), Type: to(printing.Dummy), ServiceIDs: []int32{3, 1, 3}, Vendor: to(" Xerox"), Embedded: to(true),
		Protocol: to(printing.Spooler), OutputType: to(printing.PS2), ReverseFinisher: to(true), IPPURL: to("ipps://p.example/ipp/print"), ModelFamily: to[int32](2),
		Monochrome: to(true), IPReaderAddress: to("00:11:22:aa"), EmbeddedConfig: to[int32](7), Serial: to("SN 1"), Description: to("By the\ndoor")}
	begin.When(CreateOutputPort{ID: printer, Details: full}).Then(printing.OutputPortCreated{ID: printer, Number: spec.Number, OrganizationID: print, Name: "Full",
		Settings: printing.OutputPortSettings{Address: "queue_1", ServiceIDs: []int32{3, 1}, Vendor: "xerox", Embedded: true, Protocol: printing.Spooler, OutputType: printing.PS2,
			ReverseFinisher: true, IPPURL: "ipps://p.example/ipp/print", ModelFamily: 2, Monochrome: true, IPReaderAddress: "00:11:22:aa", EmbeddedConfig: 7, Serial: "SN 1", Description: "By the\ndoor"},
		CreatedAt: spec.Now})
	begin.When(CreateOutputPort{ID: printer, OrganizationID: id(9)}).ThenFault(fault.Invalid, "domainname", "porttype", "portname", "address")
}

// TestOutputPortParameters goes through every parameter, with what is taken and
// what is refused.
func TestOutputPortParameters(t *testing.T) {
	set := func(change func(*OutputPortDetails)) spec.Outcome[printing.OutputPort] {
		return given[printing.OutputPort](t).When(CreateOutputPort{ID: printer, Details: with(newPort(), change)})
	}
	refused := func(field string, change func(*OutputPortDetails)) { set(change).ThenFault(fault.Invalid, field) }
	taken := func(change func(*OutputPortDetails), check func(printing.OutputPortSettings) bool) {
		event := printing.OutputPortCreated{ID: printer, Number: spec.Number, OrganizationID: print, Name: "Hall", CreatedAt: spec.Now}
		name, want := with(newPort(), change).check(&fault.Problems{}, "", printing.OutputPortSettings{ServiceIDs: []int32{}})
		event.Name, event.Settings = name, want
		set(change).Then(event)
		require.True(t, check(want), "%+v", want)
	}
	for _, v := range []printing.PortType{-1, 2} {
		refused("porttype", func(d *OutputPortDetails) { d.Type = &v })
	}
	refused("porttype", func(d *OutputPortDetails) { d.Type = nil })
	for _, v := range []printing.Protocol{-1, 3} {
		refused("printprotocol", func(d *OutputPortDetails) { d.Protocol = &v })
	}
	for v := printing.OutputType(-1); v <= 6; v++ {
		if slices.Contains([]printing.OutputType{0, 1, 3, 4, 5}, v) {
			taken(func(d *OutputPortDetails) { d.OutputType = &v }, func(s printing.OutputPortSettings) bool { return s.OutputType == v })
		} else {
			refused("outputtype", func(d *OutputPortDetails) { d.OutputType = &v })
		}
	}
	require.Len(t, printing.Vendors(), 14)
	for _, v := range printing.Vendors() {
		taken(func(d *OutputPortDetails) { d.Vendor = to(strings.ToUpper(v)) }, func(s printing.OutputPortSettings) bool { return s.Vendor == v })
		families := map[string]int32{"ricoh": 2, "xerox": 3}[v]
		for family := int32(-1); family < 4; family++ {
			change := func(d *OutputPortDetails) { d.Vendor, d.ModelFamily = &v, &family }
			if family >= 0 && family < max(families, 1) {
				taken(change, func(s printing.OutputPortSettings) bool { return s.ModelFamily == family })
			} else {
				refused("modelfamily", change)
			}
		}
	}
	refused("vendor", func(d *OutputPortDetails) { d.Vendor = to("acme") })
	taken(func(d *OutputPortDetails) { d.Vendor = to("") }, func(s printing.OutputPortSettings) bool { return s.Vendor == "unknown" })
	refused("serviceid", func(d *OutputPortDetails) { d.ServiceIDs = []int32{0} })
	refused("serviceid", func(d *OutputPortDetails) { d.ServiceIDs = make([]int32, 101) })
	refused("portname", func(d *OutputPortDetails) { d.Name = to(strings.Repeat("x", 257)) })
	refused("description", func(d *OutputPortDetails) { d.Description = to("\x00") })
	refused("deviceserial", func(d *OutputPortDetails) { d.Serial = to(strings.Repeat("x", 129)) })
	refused("ipreaderaddress", func(d *OutputPortDetails) { d.IPReaderAddress = to("a b") })
	refused("embeddedconfiguration", func(d *OutputPortDetails) { d.EmbeddedConfig = to[int32](-1) })
	for _, v := range []string{"printer", "http:///x", "ftp://p/x", "ipp://p/x?a=b", "ipp://p#x", "::"} {
		refused("printerippurl", func(d *OutputPortDetails) { d.IPPURL = &v })
	}
	refused("printerippurl", func(d *OutputPortDetails) { d.IPPURL = to("ipp://me:secret@p/x") })
	for _, v := range []string{"ipp://p", "http://10.1.1.1:631/ipp/print", "ipps://[fe80::1]/x", ""} {
		taken(func(d *OutputPortDetails) { d.IPPURL = &v }, func(s printing.OutputPortSettings) bool { return s.IPPURL == v })
	}
	for _, v := range []string{"p", "p.example", "p_1:515", "10.0.0.1", "fe80::1%eth0", "[::1]:9100", "::1", "büro"} {
		taken(func(d *OutputPortDetails) { d.Address = &v }, func(s printing.OutputPortSettings) bool { return s.Address == v })
	}
	for _, v := range []string{"", " ", "p:0", "p:x", "p:70000", "a b", "http://p", "p/x", "user@p", "1:2:3", "-p", strings.Repeat("x", 256)} {
		refused("address", func(d *OutputPortDetails) { d.Address = &v })
	}
	for _, v := range []string{"-oraw", "a b", "a/b", "a#b", "", strings.Repeat("x", 128)} {
		refused("address", func(d *OutputPortDetails) { d.Protocol, d.Address = to(printing.Spooler), &v })
	}
}

func TestUpdateOutputPort(t *testing.T) {
	created := printing.OutputPortCreated{ID: printer, Number: 7, OrganizationID: print, Name: "Hall", Settings: with(settings(), func(s *printing.OutputPortSettings) {
		s.ServiceIDs, s.Serial, s.Vendor = []int32{1}, "SN", "ricoh"
	}), CreatedAt: before}
	begin := given[printing.OutputPort](t, created)
	begin.When(UpdateOutputPort{ID: printer}).ThenNothing()
	begin.When(UpdateOutputPort{ID: printer, OrganizationID: print, Details: newPort()}).ThenNothing()
	changed := printing.OutputPortChanged{ID: printer, Name: "Hall", Settings: created.Settings, At: spec.Now}
	begin.When(UpdateOutputPort{ID: printer, Details: OutputPortDetails{Serial: to("")}}).Then(with(changed, func(e *printing.OutputPortChanged) { e.Settings.Serial = "" }))
	begin.When(UpdateOutputPort{ID: printer, Details: OutputPortDetails{ServiceIDs: []int32{}}}).Then(with(changed, func(e *printing.OutputPortChanged) { e.Settings.ServiceIDs = []int32{} }))
	begin.When(UpdateOutputPort{ID: printer, Details: OutputPortDetails{Name: to("Lab"), ModelFamily: to[int32](1)}}).
		Then(with(changed, func(e *printing.OutputPortChanged) { e.Name, e.Settings.ModelFamily = "Lab", 1 }))
	begin.When(UpdateOutputPort{ID: printer, OrganizationID: floor, Details: OutputPortDetails{Name: to("")}}).ThenFault(fault.Invalid, "domainname", "portname")
	// What was right for one protocol has to be right for the next.
	begin.When(UpdateOutputPort{ID: printer, Details: OutputPortDetails{Protocol: to(printing.Spooler), Address: to("a/b")}}).ThenFault(fault.Invalid, "address")
	given[printing.OutputPort](t).When(UpdateOutputPort{ID: printer}).ThenFault(fault.NotFound)
	given[printing.OutputPort](t, created, printing.OutputPortDeleted{ID: printer, At: before}).When(UpdateOutputPort{ID: printer}).ThenFault(fault.NotFound)
}

func TestDeleteOutputPort(t *testing.T) {
	created := printing.OutputPortCreated{ID: printer, OrganizationID: print, Name: "Hall", Settings: settings(), CreatedAt: before}
	given[printing.OutputPort](t, created).When(DeleteOutputPort{printer}).Then(printing.OutputPortDeleted{ID: printer, At: spec.Now})
	given[printing.OutputPort](t).When(DeleteOutputPort{printer}).ThenFault(fault.NotFound)
}

func TestPortNamesDifferWithinAnAccount(t *testing.T) {
	a := printing.OutputPort{}.Apply(printing.OutputPortCreated{ID: printer, OrganizationID: print, Name: "Hall"})
	b := printing.OutputPort{}.Apply(printing.OutputPortCreated{ID: above, OrganizationID: print, Name: " HALL"})
	require.Equal(t, a.Keys(), b.Keys())
	require.Empty(t, a.Apply(printing.OutputPortDeleted{ID: printer}).Keys())
	c := printing.InputPort{}.Apply(printing.InputPortCreated{ID: pull, OrganizationID: print, Name: "Hall"})
	require.NotEqual(t, a.Keys(), c.Keys())
	require.Empty(t, c.Apply(printing.InputPortDeleted{ID: pull}).Keys())
}
