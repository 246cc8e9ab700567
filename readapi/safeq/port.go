package safeq

import (
	"context"
	"net/http"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/printing"
	"docket/internal/httpx"
	"docket/readapi/access"
	"docket/readapi/query"
)

// OutputPortInfo is a printer.
type OutputPortInfo struct {
	ID                      int32   `json:"id"`
	Name                    string  `json:"name"`
	Address                 string  `json:"address"`
	PortType                int     `json:"portType" doc:"0 dummy, 1 printer."`
	Vendor                  string  `json:"vendor"`
	LogoutTimeout           int     `json:"logoutTimeout"`
	AutoRelease             bool    `json:"autoRelease"`
	Embedded                bool    `json:"embedded"`
	Monochrome              bool    `json:"monochrome"`
	TrimCardID              bool    `json:"trimCardId"`
	Description             string  `json:"description"`
	EmbeddedConfigurationID int32   `json:"embeddedConfigurationId"`
	PrintProtocol           int     `json:"printProtocol" doc:"0 tcp, 1 ipp, 2 spooler."`
	ModelFamily             int32   `json:"modelFamily"`
	OutputType              int     `json:"outputType" doc:"0 raw, 1 PDF, 3 PCL6, 4 PS3, 5 PS2."`
	DeviceSerial            string  `json:"deviceSerial"`
	ReverseFinisher         bool    `json:"reverseFinisher"`
	PrinterIPPURL           string  `json:"printerIppUrl"`
	IPReaderAddress         string  `json:"ipReaderAddress"`
	ServiceIDs              []int32 `json:"serviceIds"`
	AccountID               int32   `json:"accountId"`
	Enrichment
}

// InputPortInfo is a queue.
type InputPortInfo struct {
	ID           int32  `json:"id"`
	Name         string `json:"name"`
	PortType     int    `json:"portType" doc:"0 pull, 1 push."`
	PortFlags    int64  `json:"portFlags" doc:"Bit 0: available by default."`
	OutputPort   string `json:"outputPort" doc:"Name of the printer of a push queue."`
	OutputPortID int32  `json:"outputPortId"`
	LocationID   int32  `json:"locationId"`
	AccountID    int32  `json:"accountId"`
	Enrichment
}

// Enrichment is what a port list says with enrichPorts=true.
type Enrichment struct {
	AccountName   string `json:"accountName,omitempty"`
	ContainerName string `json:"containerName,omitempty"`
}

// OutputPort is what has to be known of a printer to send something to it.
type OutputPort struct {
	ID              domain.ID `json:"id" col:"id"`
	Number          int32     `json:"number" col:"number"`
	OrganizationID  domain.ID `json:"organizationId" col:"organization_id"`
	Name            string    `json:"name" col:"name"`
	Address         string    `json:"address" col:"address"`
	Type            int       `json:"type" col:"type"`
	ServiceIDs      []int32   `json:"serviceIds" col:"service_ids,json"`
	Vendor          string    `json:"vendor" col:"vendor"`
	Embedded        bool      `json:"embedded" col:"embedded"`
	Protocol        int       `json:"protocol" col:"protocol"`
	OutputType      int       `json:"outputType" col:"output_type"`
	ReverseFinisher bool      `json:"reverseFinisher" col:"reverse_finisher"`
	IPPURL          string    `json:"ippUrl" col:"ipp_url"`
	ModelFamily     int32     `json:"modelFamily" col:"model_family"`
	Monochrome      bool      `json:"monochrome" col:"monochrome"`
	IPReaderAddress string    `json:"ipReaderAddress" col:"ip_reader_address"`
	EmbeddedConfig  int32     `json:"embeddedConfig" col:"embedded_config"`
	Serial          string    `json:"serial" col:"serial"`
	Description     string    `json:"description" col:"description"`
	AccountNumber   int32     `json:"accountNumber" col:"organization.number"`
	AccountName     string    `json:"accountName" col:"organization.display_name"`
	AccountType     int       `json:"accountType" col:"organization.account_type"`
}

var organizationJoin = query.Join{Name: "organization", Table: "rm_directory.organizations", FK: "organization_id"}

var outputPortShape = query.MustShape[OutputPort](query.MustDefine(query.Resource{
	Name: "output port", Table: "rm_printing.output_ports", ScopeColumn: "organization_id", Joins: []query.Join{organizationJoin},
	Fields: []query.Field{
		{Name: "number", Column: "number", Kind: query.Int, Ops: query.Eq, Sortable: true},
		{Name: "organization", Column: "organization_id", Kind: query.UUID, Ops: query.In},
		{Name: "address", Column: "address", Folded: "address_f", Ops: query.Eq | query.Starts},
		{Name: "serial", Column: "serial", Folded: "serial_f", Ops: query.Eq},
		{Name: "reader", Column: "ip_reader_address", Folded: "ip_reader_address_f", Ops: query.Eq},
	},
	DefaultSort: query.Sort{Field: "number"},
}))

func (p OutputPort) info(enrich bool) OutputPortInfo {
	out := OutputPortInfo{ID: p.Number, Name: p.Name, Address: p.Address, PortType: p.Type, Vendor: p.Vendor, Embedded: p.Embedded, Monochrome: p.Monochrome,
		Description: p.Description, EmbeddedConfigurationID: p.EmbeddedConfig, PrintProtocol: p.Protocol, ModelFamily: p.ModelFamily, OutputType: p.OutputType,
		DeviceSerial: p.Serial, ReverseFinisher: p.ReverseFinisher, PrinterIPPURL: p.IPPURL, IPReaderAddress: p.IPReaderAddress, ServiceIDs: p.ServiceIDs,
		AccountID: p.AccountNumber}
	if enrich {
		out.Enrichment = enrichment(p.AccountName, p.AccountType)
	}
	return out
}

// enrichment names the account of a port, and the container if it is one.
func enrichment(name string, kind int) Enrichment {
	e := Enrichment{AccountName: name}
	if directory.AccountType(kind) == directory.Container {
		e.ContainerName = name
	}
	return e
}

// InputPort is what has to be known of a queue to put something into it.
type InputPort struct {
	ID               domain.ID  `json:"id" col:"id"`
	Number           int32      `json:"number" col:"number"`
	OrganizationID   domain.ID  `json:"organizationId" col:"organization_id"`
	Name             string     `json:"name" col:"name"`
	Type             int        `json:"type" col:"type"`
	Flags            int64      `json:"flags" col:"flags"`
	LocationID       int32      `json:"locationId" col:"location_id"`
	OutputPortID     *domain.ID `json:"outputPortId" col:"output_port_id"`
	OutputPortNumber *int32     `json:"outputPortNumber" col:"port.number"`
	OutputPortName   *string    `json:"outputPortName" col:"port.name"`
	AccountNumber    int32      `json:"accountNumber" col:"organization.number"`
	AccountName      string     `json:"accountName" col:"organization.display_name"`
	AccountType      int        `json:"accountType" col:"organization.account_type"`
}

var inputPortShape = query.MustShape[InputPort](query.MustDefine(query.Resource{
	Name: "input port", Table: "rm_printing.input_ports", ScopeColumn: "organization_id",
	Joins: []query.Join{organizationJoin, {Name: "port", Table: "rm_printing.output_ports", FK: "output_port_id"}},
	Fields: []query.Field{
		{Name: "number", Column: "number", Kind: query.Int, Ops: query.Eq, Sortable: true},
		{Name: "organization", Column: "organization_id", Kind: query.UUID, Ops: query.In},
		{Name: "name", Column: "name", Folded: "name_f", Ops: query.Eq},
		{Name: "location", Column: "location_id", Kind: query.Int, Ops: query.In},
	},
	DefaultSort: query.Sort{Field: "number"},
}))

func (p InputPort) info(enrich bool) InputPortInfo {
	out := InputPortInfo{ID: p.Number, Name: p.Name, PortType: p.Type, PortFlags: p.Flags, LocationID: p.LocationID, AccountID: p.AccountNumber}
	if p.OutputPortName != nil && p.OutputPortNumber != nil {
		out.OutputPort, out.OutputPortID = *p.OutputPortName, *p.OutputPortNumber
	}
	if enrich {
		out.Enrichment = enrichment(p.AccountName, p.AccountType)
	}
	return out
}

// OutputPortByNumber finds a printer of the caller's accounts; nil for none.
func (r *Reads) OutputPortByNumber(ctx context.Context, number int32) (*OutputPort, error) {
	return firstOf(query.FetchAll(ctx, r.reader, outputPortShape, query.Request{Scope: scope(ctx), Filter: query.Equals("number", int64(number))}))
}

// OutputPortAround finds a printer that serves the caller's accounts; nil for none.
func (r *Reads) OutputPortAround(ctx context.Context, number int32) (*OutputPort, error) {
	around, err := r.around(ctx)
	if err != nil {
		return nil, err
	}
	return firstOf(query.FetchAll(ctx, r.reader, outputPortShape, query.Request{Scope: around, Filter: query.Equals("number", int64(number))}))
}

// InputPortByNumber finds a queue of the caller's accounts; nil for none.
func (r *Reads) InputPortByNumber(ctx context.Context, number int32) (*InputPort, error) {
	return firstOf(query.FetchAll(ctx, r.reader, inputPortShape, query.Request{Scope: scope(ctx), Filter: query.Equals("number", int64(number))}))
}

func firstOf[T any](rows []T, err error) (*T, error) {
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// Printer finds where something is to be printed, among all printers that serve
// the caller's account or lie below it: by serial number, else by address, else by
// the address without its port. Of several it takes the lowest number. Nil means
// that there is none.
func (r *Reads) Printer(ctx context.Context, serial, address string) (*OutputPort, error) {
	return r.findPrinter(ctx, query.Equals("serial", serial), serial, query.Equals("address", address), address,
		query.Compare{Field: "address", Op: query.Starts, Value: address + ":"}, address)
}

// PrinterOfReader finds the printer beside a card reader.
func (r *Reads) PrinterOfReader(ctx context.Context, reader string) (*OutputPort, error) {
	return r.findPrinter(ctx, query.Equals("reader", reader), reader)
}

// findPrinter takes pairs of a filter and the text in it; an empty text finds nothing.
func (r *Reads) findPrinter(ctx context.Context, ways ...any) (*OutputPort, error) {
	around, err := r.around(ctx)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(ways); i += 2 {
		if text := ways[i+1].(string); text == "" || !Storable(text) {
			continue
		}
		found, err := firstOf(query.FetchAll(ctx, r.reader, outputPortShape, query.Request{Scope: around, Filter: ways[i].(query.Expr)}))
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// Queue finds the queue of a name that serves an account: its own, else the
// nearest above. Nil means that there is none.
func (r *Reads) Queue(ctx context.Context, account access.Account, name string) (*InputPort, error) {
	if name == "" || !Storable(name) {
		return nil, nil
	}
	found, err := query.FetchAll(ctx, r.reader, inputPortShape, query.Request{Scope: query.Organizations(account.Path...), Filter: query.Equals("name", name)})
	var best *InputPort
	depth := -1
	for i, p := range found {
		for d, id := range account.Path {
			if id == p.OrganizationID && d > depth {
				best, depth = &found[i], d
			}
		}
	}
	return best, err
}

// ForUser is the input of a list of what a user may use.
type ForUser struct {
	ProviderID  int32  `query:"providerid" doc:"0 or absent: any."`
	UserName    string `query:"username" doc:"Only what this user may use. Absent: everything of the account, of those below, and what those above offer."`
	EnrichPorts bool   `query:"enrichPorts" doc:"Name the account, too. Not documented by the vendor."`
}

// scopeOf is where to look for ports, and whether for a certain user.
func (r *Reads) scopeOf(ctx context.Context, in ForUser) (query.Scope, bool, error) {
	if in.UserName == "" {
		around, err := r.around(ctx)
		return around, false, err
	}
	p, err := r.Person(ctx, in.UserName, in.ProviderID)
	if err != nil {
		return query.Scope{}, false, err
	}
	if p == nil {
		return query.Scope{}, false, fault.InvalidQuery("username", "is no user's")
	}
	account, err := r.gate.Directory.AccountByID(ctx, p.AccountID)
	if err != nil || account == nil {
		return query.Organizations(), true, err
	}
	return query.Organizations(account.Path...), true, nil
}

func registerPorts(r *Reads) {
	type outputPorts struct{ Body []OutputPortInfo }
	Register(r.api, httpx.Op{ID: "14", Method: http.MethodGet, Path: Base + "/outputports", Summary: "Get output ports", Tags: []string{"Output ports"}},
		Needs{Rights: []string{"ViewOutputPort"}, Advanced: true},
		func(ctx context.Context, in *ForUser) (*outputPorts, error) {
			where, _, err := r.scopeOf(ctx, *in)
			if err != nil {
				return nil, err
			}
			rows, err := query.FetchAll(ctx, r.reader, outputPortShape, query.Request{Scope: where})
			out := make([]OutputPortInfo, len(rows))
			for i, p := range rows {
				out[i] = p.info(in.EnrichPorts)
			}
			return &outputPorts{out}, err
		})

	type list struct {
		ForUser
		LocationIDs []int `query:"locationids"`
	}
	type inputPorts struct{ Body []InputPortInfo }
	Register(r.api, httpx.Op{ID: "20", Method: http.MethodGet, Path: Base + "/inputports", Summary: "Get input ports", Tags: []string{"Input ports"}},
		Needs{Rights: []string{"ViewInputPort"}},
		func(ctx context.Context, in *list) (*inputPorts, error) {
			where, forUser, err := r.scopeOf(ctx, in.ForUser)
			if err != nil {
				return nil, err
			}
			var filter query.Expr
			if len(in.LocationIDs) > 0 {
				ids := make([]int64, len(in.LocationIDs))
				for i, id := range in.LocationIDs {
					ids[i] = int64(id)
				}
				filter = query.OneOf("location", ids...)
			}
			rows, err := query.FetchAll(ctx, r.reader, inputPortShape, query.Request{Scope: where, Filter: filter})
			out := []InputPortInfo{}
			for _, p := range rows {
				if !forUser || p.Flags&printing.AvailableByDefault != 0 {
					out = append(out, p.info(in.EnrichPorts))
				}
			}
			return &inputPorts{out}, err
		})
}
