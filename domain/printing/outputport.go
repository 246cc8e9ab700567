package printing

import (
	"time"

	"docket/domain"
)

// PortType tells a real printer from one that swallows what it gets. The values
// are those of SAFEQ's porttype.
type PortType int

const (
	Dummy   PortType = 0
	Printer PortType = 1
)

// Protocol is how documents reach a printer. The values are those of SAFEQ's
// printprotocol.
type Protocol int

const (
	RawTCP  Protocol = 0
	IPP     Protocol = 1
	Spooler Protocol = 2 // CUPS on the machine of Docket
)

// OutputType is the language a printer gets. The values are those of SAFEQ's
// outputtype; 2 was given up by the vendor.
type OutputType int

const (
	AsReceived OutputType = 0
	PDF        OutputType = 1
	PCL6       OutputType = 3
	PostScript OutputType = 4
	PS2        OutputType = 5
)

// Known tells whether a printer can be given this language.
func (t OutputType) Known() bool { return t >= AsReceived && t <= PS2 && t != 2 }

// UnknownVendor is the vendor of a printer of which none is said.
const UnknownVendor = "unknown"

// Vendors are the names that SAFEQ has for vendors.
func Vendors() []string {
	return []string{UnknownVendor, "fujifilm", "ricoh", "km", "sharp", "hp", "lexmark", "xerox", "kyocera", "toshiba", "canon", "brother", "epson", "eop"}
}

// ModelFamilies is how many families of models a vendor has, from 0. Ricoh: SDK/J,
// SOP; Xerox: WorkCentre, AltaLink, VersaLink; others: one.
func ModelFamilies(vendor string) int32 {
	switch vendor {
	case "ricoh":
		return 2
	case "xerox":
		return 3
	}
	return 1
}

// OutputPortSettings is everything about a printer but its name.
type OutputPortSettings struct {
	Address         string     `json:"address"` // host or host:port; the name of the queue for the spooler
	Type            PortType   `json:"type"`
	ServiceIDs      []int32    `json:"serviceIds"`
	Vendor          string     `json:"vendor"` // "unknown" or one of SAFEQ's names, lower case
	Embedded        bool       `json:"embedded"`
	Protocol        Protocol   `json:"protocol"`
	OutputType      OutputType `json:"outputType"`
	ReverseFinisher bool       `json:"reverseFinisher"`
	IPPURL          string     `json:"ippUrl"`
	ModelFamily     int32      `json:"modelFamily"`
	Monochrome      bool       `json:"monochrome"`
	IPReaderAddress string     `json:"ipReaderAddress"` // of the card reader beside it
	EmbeddedConfig  int32      `json:"embeddedConfig"`  // terminal configuration
	Serial          string     `json:"serial"`
	Description     string     `json:"description"`
}

// OutputPortCreated adds a printer.
type OutputPortCreated struct {
	ID             domain.ID          `json:"id"`
	Number         int32              `json:"number"`
	OrganizationID domain.ID          `json:"organizationId"`
	Name           string             `json:"name"`
	Settings       OutputPortSettings `json:"settings"`
	CreatedAt      time.Time          `json:"createdAt"`
}

// OutputPortChanged replaces what is known of a printer.
type OutputPortChanged struct {
	ID       domain.ID          `json:"id"`
	Name     string             `json:"name"`
	Settings OutputPortSettings `json:"settings"`
	At       time.Time          `json:"at"`
}

// OutputPortDeleted ends a printer.
type OutputPortDeleted struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

func (OutputPortCreated) EventType() string { return "printing.outputport-created" }
func (OutputPortChanged) EventType() string { return "printing.outputport-changed" }
func (OutputPortDeleted) EventType() string { return "printing.outputport-deleted" }

// OutputPort is a printer as it is.
type OutputPort struct {
	ID             domain.ID
	Number         int32
	OrganizationID domain.ID
	Name           string
	Settings       OutputPortSettings
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (p OutputPort) Apply(e domain.Event) OutputPort {
	switch e := e.(type) {
	case OutputPortCreated:
		return OutputPort{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, Name: e.Name, Settings: e.Settings,
			CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case OutputPortChanged:
		p.Name, p.Settings, p.ModifiedAt = e.Name, e.Settings, e.At
	case OutputPortDeleted:
		p.Live = false
	}
	return p
}

// Exists implements domain.State.
func (p OutputPort) Exists() bool { return p.Live }

// Organizations implements domain.State.
func (p OutputPort) Organizations() []domain.ID { return []domain.ID{p.OrganizationID} }

// Keys implements domain.State.
func (p OutputPort) Keys() []domain.Key {
	if !p.Live {
		return nil
	}
	return []domain.Key{{Kind: "outputport-name", Scope: p.OrganizationID.String(), Value: domain.Normal(p.Name)}}
}
