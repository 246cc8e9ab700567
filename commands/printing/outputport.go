package printing

import (
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/printing"
)

// Longest texts and lists of a printer.
const (
	maxAddress  = 255
	maxURL      = 2_000
	maxSerial   = 128
	maxServices = 100
)

// OutputPortDetails are what is said of a printer. Nil leaves it as it is, and is
// the default of a new printer: porttype is then missing, the vendor "unknown",
// everything else zero.
type OutputPortDetails struct {
	Name            *string
	Address         *string // host, host:port, or the name of a queue of the spooler
	Type            *printing.PortType
	ServiceIDs      []int32 // empty but not nil: none
	Vendor          *string
	Embedded        *bool
	Protocol        *printing.Protocol
	OutputType      *printing.OutputType
	ReverseFinisher *bool
	IPPURL          *string
	ModelFamily     *int32
	Monochrome      *bool
	IPReaderAddress *string // of the card reader: an IP, host or MAC address
	EmbeddedConfig  *int32
	Serial          *string
	Description     *string
}

// check merges the details with what is there and names what is wrong.
func (d OutputPortDetails) check(p *fault.Problems, name string, is printing.OutputPortSettings) (string, printing.OutputPortSettings) {
	name = rule.Name(p, "portname", or(d.Name, name))
	s := printing.OutputPortSettings{
		Address: or(d.Address, is.Address), Type: or(d.Type, is.Type), ServiceIDs: is.ServiceIDs, Vendor: or(d.Vendor, is.Vendor),
		Embedded: or(d.Embedded, is.Embedded), Protocol: or(d.Protocol, is.Protocol), OutputType: or(d.OutputType, is.OutputType),
		ReverseFinisher: or(d.ReverseFinisher, is.ReverseFinisher), IPPURL: or(d.IPPURL, is.IPPURL), ModelFamily: or(d.ModelFamily, is.ModelFamily),
		Monochrome: or(d.Monochrome, is.Monochrome), IPReaderAddress: or(d.IPReaderAddress, is.IPReaderAddress),
		EmbeddedConfig: or(d.EmbeddedConfig, is.EmbeddedConfig), Serial: or(d.Serial, is.Serial), Description: or(d.Description, is.Description),
	}
	s.Address = rule.Line(p, "address", s.Address, maxAddress)
	p.Check(reachable(s.Protocol, s.Address), "address", "%s", addressRule(s.Protocol))
	p.Check(s.Type == printing.Dummy || s.Type == printing.Printer, "porttype", "must be 0 (dummy) or 1 (printer)")
	s.ServiceIDs = services(p, d.ServiceIDs, s.ServiceIDs)
	s.Vendor = vendor(p, s.Vendor)
	p.Check(s.Protocol >= printing.RawTCP && s.Protocol <= printing.Spooler, "printprotocol", "must be 0 (tcp), 1 (ipp) or 2 (spooler)")
	p.Check(s.OutputType.Known(), "outputtype", "must be 0 (as received), 1 (PDF), 3 (PCL6), 4 (PS3) or 5 (PS2)")
	s.IPPURL = ippURL(p, s.IPPURL)
	p.Check(s.ModelFamily >= 0 && s.ModelFamily < printing.ModelFamilies(s.Vendor), "modelfamily", "is none of this vendor's")
	s.IPReaderAddress = rule.Line(p, "ipreaderaddress", s.IPReaderAddress, maxAddress)
	p.Check(!strings.ContainsFunc(s.IPReaderAddress, unicode.IsSpace), "ipreaderaddress", "must be an IP or MAC address, or a host")
	p.Check(s.EmbeddedConfig >= 0, "embeddedconfiguration", "must not be negative")
	s.Serial = rule.Line(p, "deviceserial", s.Serial, maxSerial)
	s.Description = rule.Description(p, "description", s.Description)
	return name, s
}

func vendor(p *fault.Problems, name string) string {
	if name = domain.Normal(name); name == "" {
		name = printing.UnknownVendor
	}
	p.Check(slices.Contains(printing.Vendors(), name), "vendor", "must be one of %s", strings.Join(printing.Vendors(), ", "))
	return name
}

// services are the ids of document output or terminal services, each once.
func services(p *fault.Problems, asked, is []int32) []int32 {
	if asked == nil {
		return append([]int32{}, is...)
	}
	if len(asked) > maxServices {
		p.Add("serviceid", "must not be said more than %d times", maxServices)
		return nil
	}
	kept := make([]int32, 0, len(asked))
	for _, id := range asked {
		p.Check(id > 0, "serviceid", "must be a positive number")
		if !slices.Contains(kept, id) {
			kept = append(kept, id)
		}
	}
	return kept
}

func addressRule(protocol printing.Protocol) string {
	if protocol == printing.Spooler {
		return "must be the name of a queue of the spooler"
	}
	return "must be a host, or a host and a port"
}

// reachable tells whether an address has the form that a protocol needs.
func reachable(protocol printing.Protocol, address string) bool {
	if protocol == printing.Spooler {
		return queueName(address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "1"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return false
	}
	if strings.Contains(host, ":") {
		host, _, _ := strings.Cut(host, "%") // an IPv6 zone
		return net.ParseIP(host) != nil
	}
	return hostName(host)
}

func hostName(s string) bool {
	return s != "" && !strings.HasPrefix(s, "-") && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
	})
}

// queueName follows CUPS.
func queueName(s string) bool {
	return s != "" && len(s) <= 127 && !strings.HasPrefix(s, "-") && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/\#?'"`, r) })
}

// ippURL is where an IPP printer listens. A password in it would stand in the log
// and in lists for everybody who may see printers.
func ippURL(p *fault.Problems, s string) string {
	if s = rule.Line(p, "printerippurl", s, maxURL); s == "" {
		return ""
	}
	u, err := url.Parse(s)
	ok := err == nil && slices.Contains([]string{"ipp", "ipps", "http", "https"}, u.Scheme) && u.Hostname() != "" && u.RawQuery == "" && u.Fragment == ""
	p.Check(ok, "printerippurl", "must be an address such as ipp://printer/ipp/print")
	p.Check(!ok || u.User == nil, "printerippurl", "must not hold a user or a password")
	return s
}

// CreateOutputPort adds a printer. Problems are named domainname, portname and as
// the parameters of SAFEQ's "create output port".
type CreateOutputPort struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	Details        OutputPortDetails
}

func (c CreateOutputPort) Name() string       { return "printing.create-outputport" }
func (c CreateOutputPort) Stream() string     { return printing.OutputPortStream(c.ID) }
func (c CreateOutputPort) Permission() string { return "outputPorts.create" }
func (c CreateOutputPort) NumberKind() string { return "outputport" }

// Explore implements commands.Exploring.
func (c CreateOutputPort) Explore(_ printing.OutputPort, env commands.Env) []commands.Ref {
	return []commands.Ref{organizationRef(orTenant(env.Actor, c.OrganizationID))}
}

// Decide implements commands.Command.
func (c CreateOutputPort) Decide(o printing.OutputPort, env commands.Env) ([]domain.Event, error) {
	if o.ID != (domain.ID{}) {
		return nil, exists("outputport", c.ID)
	}
	var problems fault.Problems
	organization := account(env, &problems, c.OrganizationID)
	problems.Check(c.Details.Type != nil, "porttype", "is needed")
	name, settings := c.Details.check(&problems, "", printing.OutputPortSettings{ServiceIDs: []int32{}})
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{printing.OutputPortCreated{ID: c.ID, Number: env.Number, OrganizationID: organization.ID, Name: name, Settings: settings, CreatedAt: env.Now}}, nil
}

// UpdateOutputPort changes what is known of a printer. A printer can't move to
// another organization. Problems: as of CreateOutputPort.
type UpdateOutputPort struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: not said
	Details        OutputPortDetails
}

func (c UpdateOutputPort) Name() string       { return "printing.update-outputport" }
func (c UpdateOutputPort) Stream() string     { return printing.OutputPortStream(c.ID) }
func (c UpdateOutputPort) Permission() string { return "outputPorts.edit" }

// Decide implements commands.Command.
func (c UpdateOutputPort) Decide(o printing.OutputPort, env commands.Env) ([]domain.Event, error) {
	if !o.Exists() {
		return nil, fault.Missing("outputport", c.ID)
	}
	var problems fault.Problems
	stays(&problems, c.OrganizationID, o.OrganizationID)
	name, settings := c.Details.check(&problems, o.Name, o.Settings)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if name == o.Name && reflect.DeepEqual(settings, o.Settings) {
		return nil, nil
	}
	return []domain.Event{printing.OutputPortChanged{ID: c.ID, Name: name, Settings: settings, At: env.Now}}, nil
}

// stays refuses to move a port.
func stays(p *fault.Problems, asked, is domain.ID) {
	p.Check(asked == domain.ID{} || asked == is, "domainname", "can't change: a port stays in its account")
}

// DeleteOutputPort ends a printer. Push queues that send to it stay, and so do
// documents; what is sent to it from then on fails and says so.
type DeleteOutputPort struct{ ID domain.ID }

func (c DeleteOutputPort) Name() string       { return "printing.delete-outputport" }
func (c DeleteOutputPort) Stream() string     { return printing.OutputPortStream(c.ID) }
func (c DeleteOutputPort) Permission() string { return "outputPorts.delete" }

// Decide implements commands.Command.
func (c DeleteOutputPort) Decide(o printing.OutputPort, env commands.Env) ([]domain.Event, error) {
	if !o.Exists() {
		return nil, fault.Missing("outputport", c.ID)
	}
	return []domain.Event{printing.OutputPortDeleted{ID: c.ID, At: env.Now}}, nil
}
