package safeq

import (
	"context"

	"docket/commands"
	commanded "docket/commands/printing"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/printing"
	"docket/internal/httpx"
	"docket/readapi/access"
	"docket/readapi/safeq"
)

type outputPortIn struct {
	Body struct {
		ID              *int32  `json:"id,omitempty" doc:"Of the port to change; absent to create one. What is absent of a change stays."`
		DomainName      *string `json:"domainname,omitempty" doc:"Of the account. Needed to create."`
		Name            *string `json:"portname,omitempty" doc:"Needed to create."`
		Address         *string `json:"address,omitempty" doc:"Needed to create."`
		Type            *int    `json:"porttype,omitempty" enum:"0,1" doc:"0 dummy, 1 printer. Needed to create."`
		ServiceIDs      []int32 `json:"serviceid,omitempty"`
		Vendor          *string `json:"vendor,omitempty"`
		Embedded        *bool   `json:"embedded,omitempty"`
		Protocol        *int    `json:"printprotocol,omitempty" enum:"0,1,2" doc:"0 tcp, 1 ipp, 2 spooler."`
		OutputType      *int    `json:"outputtype,omitempty" enum:"0,1,3,4,5" doc:"0 raw, 1 PDF, 3 PCL6, 4 PS3, 5 PS2."`
		ReverseFinisher *bool   `json:"reversefinisher,omitempty"`
		IPPURL          *string `json:"printerippurl,omitempty"`
		ModelFamily     *int32  `json:"modelfamily,omitempty"`
		Monochrome      *bool   `json:"monochromeprinter,omitempty"`
		IPReaderAddress *string `json:"ipreaderaddress,omitempty"`
		EmbeddedConfig  *int32  `json:"embeddedconfiguration,omitempty"`
		Serial          *string `json:"deviceserial,omitempty"`
		MatchingInput   bool    `json:"matchinginputport,omitempty" doc:"Create a push queue of the same name for it."`
		Description     *string `json:"description,omitempty"`
	}
}

func (in *outputPortIn) details() commanded.OutputPortDetails {
	b := &in.Body
	return commanded.OutputPortDetails{Name: b.Name, Address: b.Address, Type: as[printing.PortType](b.Type), ServiceIDs: b.ServiceIDs, Vendor: b.Vendor, Embedded: b.Embedded,
		Protocol: as[printing.Protocol](b.Protocol), OutputType: as[printing.OutputType](b.OutputType), ReverseFinisher: b.ReverseFinisher, IPPURL: b.IPPURL,
		ModelFamily: b.ModelFamily, Monochrome: b.Monochrome, IPReaderAddress: b.IPReaderAddress, EmbeddedConfig: b.EmbeddedConfig, Serial: b.Serial, Description: b.Description}
}

// as is a number of the API as one of the domain.
func as[T ~int](n *int) *T {
	if n == nil {
		return nil
	}
	t := T(*n)
	return &t
}

type inputPortIn struct {
	Body struct {
		ID           *int32  `json:"id,omitempty" doc:"Of the port to change; absent to create one. What is absent of a change stays."`
		DomainName   *string `json:"domainname,omitempty" doc:"Of the account. Needed to create."`
		Name         *string `json:"portname,omitempty" doc:"Needed to create."`
		Type         *int    `json:"porttype,omitempty" enum:"0,1" doc:"0 pull, 1 push. Needed to create."`
		OutputPortID *int32  `json:"outputportid,omitempty" doc:"The printer of a push queue."`
		Flags        *int64  `json:"portFlags,omitempty" doc:"Bit 0: available by default."`
		LocationID   *int32  `json:"locationid,omitempty"`
	}
}

func registerPorts(w *writes) {
	output := safeq.Needs{Rights: []string{"ViewOutputPort"}, Advanced: true, Gives: []string{"inputPorts.create"}, Code: safeq.CodeOutputPort}
	tags := []string{"Output ports"}
	add(w, httpx.Op{ID: "15", Also: []string{"16"}, Method: put, Path: safeq.Base + "/outputports", Summary: "Create or update an output port", Tags: tags, Form: true,
		Description: "Permissions: CreateOutputPort, or ModifyOutputPort when there is an id."}, output, w.putOutputPort)
	add(w, httpx.Op{ID: "outputports-create", Extra: true, Method: post, Path: safeq.Base + "/outputports", Summary: "Create an output port (POST)", Tags: tags, Form: true,
		Description: "Not documented by the vendor; public clients use it."}, output, w.putOutputPort)
	type byOutputID struct {
		ID int32 `path:"outputportid"`
	}
	add(w, httpx.Op{ID: "17", Method: remove, Path: safeq.Base + "/outputports/{outputportid}", Summary: "Delete an output port", Tags: tags},
		safeq.Needs{Rights: []string{"ViewOutputPort", "DeleteOutputPort"}, Advanced: true, Code: safeq.CodeDeleteOutputPort},
		func(ctx context.Context, in *byOutputID) (*codeAnswer, error) {
			port, err := w.outputPort(ctx, in.ID)
			if err == nil {
				err = sent(ctx, w, commanded.DeleteOutputPort{ID: port.ID})
			}
			return coded(safeq.CodeDeleteOutputPort, err)
		})

	tags = []string{"Input ports"}
	add(w, httpx.Op{ID: "18", Also: []string{"19"}, Method: put, Path: safeq.Base + "/inputports", Summary: "Create or update an input port", Tags: tags, Form: true,
		Description: "Permissions: CreateInputPort, or ModifyInputPort when there is an id."},
		safeq.Needs{Rights: []string{"ViewInputPort"}, Advanced: true, Code: safeq.CodeInputPort}, w.putInputPort)
	type byInputID struct {
		ID int32 `path:"inputportid"`
	}
	add(w, httpx.Op{ID: "21", Method: remove, Path: safeq.Base + "/inputports/{inputportid}", Summary: "Delete an input port", Tags: tags},
		safeq.Needs{Rights: []string{"ViewInputPort", "DeleteInputPort"}, Advanced: true, Code: safeq.CodeDeleteInputPort},
		func(ctx context.Context, in *byInputID) (*codeAnswer, error) {
			port, err := w.inputPort(ctx, in.ID)
			if err == nil {
				err = sent(ctx, w, commanded.DeleteInputPort{ID: port.ID})
			}
			return coded(safeq.CodeDeleteInputPort, err)
		})
}

func noPort(what string, number int32) *fault.Error {
	return fault.New(fault.NotFound, "port.not-found", "there is no %s %d", what, number)
}

func (w *writes) outputPort(ctx context.Context, number int32) (*safeq.OutputPort, error) {
	port, err := w.Reads.OutputPortByNumber(ctx, number)
	if err == nil && port == nil {
		err = noPort("output port", number)
	}
	return port, err
}

func (w *writes) inputPort(ctx context.Context, number int32) (*safeq.InputPort, error) {
	port, err := w.Reads.InputPortByNumber(ctx, number)
	if err == nil && port == nil {
		err = noPort("input port", number)
	}
	return port, err
}

// missing names what a port can't be created without.
func missing(fields map[string]bool) error {
	var problems fault.Problems
	for _, name := range []string{"domainname", "portname", "address", "porttype"} {
		if there, needed := fields[name]; needed {
			problems.Check(there, name, "is required")
		}
	}
	return problems.Err()
}

// inAccount finds the account of a port. It is not asked for when a port is changed
// and the account not said.
func (w *writes) inAccount(ctx context.Context, name *string) (*access.Account, error) {
	if name == nil || *name == "" {
		return &access.Account{}, nil
	}
	return w.account(ctx, *name)
}

func (w *writes) putOutputPort(ctx context.Context, in *outputPortIn) (*idAnswer, error) {
	b := &in.Body
	right := "ModifyOutputPort"
	if b.ID == nil {
		right = "CreateOutputPort"
		if err := missing(map[string]bool{"domainname": text(b.DomainName) != "", "portname": text(b.Name) != "", "address": text(b.Address) != "", "porttype": b.Type != nil}); err != nil {
			return nil, err
		}
	}
	ctx, err := safeq.Also(ctx, right)
	if err != nil {
		return nil, err
	}
	account, err := w.inAccount(ctx, b.DomainName)
	if err != nil {
		return codedID(safeq.CodeAccountNotFound, 0, err)
	}
	var number int32
	_, err = commands.Together(ctx, w.Bus, func(ctx context.Context) (err error) {
		number, err = w.saveOutputPort(ctx, in, account)
		return err
	})
	return codedID(safeq.CodeOutputPort, number, err)
}

func (w *writes) saveOutputPort(ctx context.Context, in *outputPortIn, account *access.Account) (int32, error) {
	if in.Body.ID != nil {
		port, err := w.outputPort(ctx, *in.Body.ID)
		if err != nil {
			return 0, err
		}
		result, err := commands.Send(ctx, w.Bus, commanded.UpdateOutputPort{ID: port.ID, OrganizationID: account.ID, Details: in.details()})
		if err == nil && in.Body.MatchingInput {
			err = w.matching(ctx, result.State, false)
		}
		return port.Number, err
	}
	if in.Body.MatchingInput {
		taken, err := w.Reads.Queue(ctx, access.Account{ID: account.ID, Path: []domain.ID{account.ID}}, text(in.Body.Name))
		if err != nil {
			return 0, err
		}
		if taken != nil {
			return 0, fault.New(fault.Unique, "inputport.name-taken", "there is an input port of this name already")
		}
	}
	result, err := commands.Send(ctx, w.Bus, commanded.CreateOutputPort{ID: commands.NewID(ctx), OrganizationID: account.ID, Details: in.details()})
	if err == nil && in.Body.MatchingInput {
		err = w.matching(ctx, result.State, true)
	}
	return result.State.Number, err
}

// matching makes a push queue of a printer's name, if there is none.
func (w *writes) matching(ctx context.Context, port printing.OutputPort, isNew bool) error {
	if !isNew {
		there, err := w.Reads.Queue(ctx, access.Account{ID: port.OrganizationID, Path: []domain.ID{port.OrganizationID}}, port.Name)
		if err != nil || there != nil {
			return err
		}
	}
	push := printing.Push
	return sent(ctx, w, commanded.CreateInputPort{ID: commands.NewID(ctx), OrganizationID: port.OrganizationID,
		Details: commanded.InputPortDetails{Name: &port.Name, Type: &push, OutputPortID: &port.ID}})
}

func (w *writes) putInputPort(ctx context.Context, in *inputPortIn) (*idAnswer, error) {
	b := &in.Body
	right := "ModifyInputPort"
	if b.ID == nil {
		right = "CreateInputPort"
		if err := missing(map[string]bool{"domainname": text(b.DomainName) != "", "portname": text(b.Name) != "", "porttype": b.Type != nil}); err != nil {
			return nil, err
		}
	}
	ctx, err := safeq.Also(ctx, right)
	if err != nil {
		return nil, err
	}
	account, err := w.inAccount(ctx, b.DomainName)
	if err != nil {
		return codedID(safeq.CodeAccountNotFound, 0, err)
	}
	details := commanded.InputPortDetails{Name: b.Name, Type: as[printing.QueueType](b.Type), Flags: b.Flags, LocationID: b.LocationID}
	if b.OutputPortID != nil && *b.OutputPortID != 0 {
		port, err := w.Reads.OutputPortAround(ctx, *b.OutputPortID)
		if err != nil {
			return nil, err
		}
		if port == nil {
			return codedID(safeq.CodeInputPort, 0, noPort("output port", *b.OutputPortID))
		}
		details.OutputPortID = &port.ID
	}
	if b.ID == nil {
		result, err := commands.Send(ctx, w.Bus, commanded.CreateInputPort{ID: commands.NewID(ctx), OrganizationID: account.ID, Details: details})
		return codedID(safeq.CodeInputPort, result.State.Number, err)
	}
	port, err := w.inputPort(ctx, *b.ID)
	if err != nil {
		return codedID(safeq.CodeInputPort, 0, err)
	}
	return codedID(safeq.CodeInputPort, port.Number, sent(ctx, w, commanded.UpdateInputPort{ID: port.ID, OrganizationID: account.ID, Details: details}))
}
