package printing

import (
	"time"

	"docket/domain"
	"docket/domain/printing"
	"docket/projections"
)

// OutputPortRow is a printer.
type OutputPortRow struct {
	ID             domain.ID `db:"id,pk"`
	Number         int32     `db:"number"`
	OrganizationID domain.ID `db:"organization_id"`
	Name           string    `db:"name"`
	NameF          string    `db:"name_f,fold"`

	Address          string  `db:"address"`
	AddressF         string  `db:"address_f,fold"`
	Type             int16   `db:"type"` // printing.PortType
	ServiceIDs       []int32 `db:"service_ids,json"`
	Vendor           string  `db:"vendor"`
	Embedded         bool    `db:"embedded"`
	Protocol         int16   `db:"protocol"`    // printing.Protocol
	OutputType       int16   `db:"output_type"` // printing.OutputType
	ReverseFinisher  bool    `db:"reverse_finisher"`
	IPPURL           string  `db:"ipp_url"`
	ModelFamily      int32   `db:"model_family"`
	Monochrome       bool    `db:"monochrome"`
	IPReaderAddress  string  `db:"ip_reader_address"`
	IPReaderAddressF string  `db:"ip_reader_address_f,fold"`
	EmbeddedConfig   int32   `db:"embedded_config"`
	Serial           string  `db:"serial"`
	SerialF          string  `db:"serial_f,fold"`
	Description      string  `db:"description"`

	CreatedAt  time.Time `db:"created_at"`
	ModifiedAt time.Time `db:"modified_at"`
}

// OutputPorts are all printers. Several may have one address, serial number or
// card reader; whoever looks for one takes that with the lowest number.
var OutputPorts = projections.NewTable[OutputPortRow]("output_ports",
	projections.Index("number"), projections.Index("organization_id", "number"), projections.Index("name_f", "id"),
	projections.Index("address_f", "number"), projections.IndexWhere("serial_f <> ''", "serial_f", "number"),
	projections.IndexWhere("ip_reader_address_f <> ''", "ip_reader_address_f", "number"), projections.CountBy("organization_id"))

func (r *OutputPortRow) set(name string, s printing.OutputPortSettings, at time.Time) {
	r.Name, r.Address, r.Type, r.ServiceIDs, r.Vendor, r.Embedded = name, s.Address, int16(s.Type), s.ServiceIDs, s.Vendor, s.Embedded
	r.Protocol, r.OutputType, r.ReverseFinisher, r.IPPURL = int16(s.Protocol), int16(s.OutputType), s.ReverseFinisher, s.IPPURL
	r.ModelFamily, r.Monochrome, r.IPReaderAddress, r.EmbeddedConfig = s.ModelFamily, s.Monochrome, s.IPReaderAddress, s.EmbeddedConfig
	r.Serial, r.Description, r.ModifiedAt = s.Serial, s.Description, at
}

func outputPortHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(OutputPorts, func(e printing.OutputPortCreated, _ projections.Rec) OutputPortRow {
			row := OutputPortRow{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, CreatedAt: e.CreatedAt}
			row.set(e.Name, e.Settings, e.CreatedAt)
			return row
		}),
		projections.Update(OutputPorts, projections.ByStream, func(r *OutputPortRow, e printing.OutputPortChanged, _ projections.Rec) {
			r.set(e.Name, e.Settings, e.At)
		}),
		projections.Delete(OutputPorts, func(e printing.OutputPortDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}

// InputPortRow is a queue.
type InputPortRow struct {
	ID             domain.ID  `db:"id,pk"`
	Number         int32      `db:"number"`
	OrganizationID domain.ID  `db:"organization_id"`
	Name           string     `db:"name"`
	NameF          string     `db:"name_f,fold"`
	Type           int16      `db:"type"` // printing.QueueType
	OutputPortID   *domain.ID `db:"output_port_id"`
	Flags          int64      `db:"flags"`
	LocationID     int32      `db:"location_id"` // 0: none
	CreatedAt      time.Time  `db:"created_at"`
	ModifiedAt     time.Time  `db:"modified_at"`
}

// InputPorts are all queues.
var InputPorts = projections.NewTable[InputPortRow]("input_ports",
	projections.Index("number"), projections.Index("organization_id", "number"), projections.Index("organization_id", "name_f"),
	projections.Index("name_f", "id"), projections.CountBy("organization_id"))

func (r *InputPortRow) set(name string, s printing.InputPortSettings, at time.Time) {
	r.Name, r.Type, r.OutputPortID, r.Flags, r.LocationID, r.ModifiedAt = name, int16(s.Type), s.OutputPortID, s.Flags, s.LocationID, at
}

func inputPortHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(InputPorts, func(e printing.InputPortCreated, _ projections.Rec) InputPortRow {
			row := InputPortRow{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, CreatedAt: e.CreatedAt}
			row.set(e.Name, e.Settings, e.CreatedAt)
			return row
		}),
		projections.Update(InputPorts, projections.ByStream, func(r *InputPortRow, e printing.InputPortChanged, _ projections.Rec) {
			r.set(e.Name, e.Settings, e.At)
		}),
		projections.Delete(InputPorts, func(e printing.InputPortDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}
