package safeq

import (
	"bufio"
	"context"
	"errors"
	"io"
	"mime"
	"slices"
	"time"

	"docket/commands"
	commanded "docket/commands/printing"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/printing"
	"docket/internal/blob"
	"docket/internal/httpx"
	"docket/internal/paper"
	"docket/readapi/access"
	"docket/readapi/safeq"

	"github.com/google/uuid"
)

// uploadTime bounds an upload as a whole; one that stands still ends long before.
const uploadTime = 2 * time.Hour

// aroundFile is how much an upload may hold beside its file.
const aroundFile = 1 << 20

type upload struct {
	Body struct {
		ProviderID  int32   `json:"providerid,omitempty" doc:"0 or absent: any."`
		UserName    string  `json:"username" minLength:"1"`
		PortName    string  `json:"portname" minLength:"1" doc:"The queue."`
		Title       string  `json:"title" minLength:"1" doc:"With the file's extension, unless it is a PDF."`
		Copies      int32   `json:"copies,omitempty" minimum:"1"`
		Grayscale   bool    `json:"grayscale,omitempty"`
		Duplex      int     `json:"duplex,omitempty" enum:"0,1,2" doc:"0 simplex, 1 long edge, 2 short edge."`
		PageSize    *string `json:"outputpagesize,omitempty" doc:"Original, A3, A4, A5, A6, Letter, Legal, Ledger, Tabloid, or width x height in points. This and the next two count for push queues only."`
		Orientation int32   `json:"pageorientation,omitempty" enum:"0,1" doc:"0 portrait, 1 landscape."`
		Scale       int32   `json:"scale,omitempty" minimum:"1" maximum:"100" doc:"Percent."`
	}
}

type documentAnswer struct{ Body safeq.DocumentInfo }

func registerDocuments(w *writes) {
	tags := []string{"Documents"}
	needs := safeq.Needs{Rights: []string{"AddJob"}, Trusted: true}
	httpx.RegisterUpload(w.API, safeq.Op(httpx.Op{ID: "11", Method: put, Path: safeq.Base + "/documents", Summary: "Upload a document", Tags: tags,
		MaxBody: w.MaxUpload + aroundFile, Timeout: uploadTime}, needs), httpx.File[blob.Ref]{Name: "data", Take: w.keep}, w.upload)

	type one struct {
		UUID uuid.UUID `path:"uuid"`
	}
	add(w, httpx.Op{ID: "12", Method: remove, Path: safeq.Base + "/documents/{uuid}", Summary: "Delete a document", Tags: tags},
		safeq.Needs{Rights: []string{"ViewJob", "DeleteJob"}, Owner: true, Trusted: true, Code: safeq.CodeDeleteDocument},
		func(ctx context.Context, in *one) (*codeAnswer, error) {
			err := w.mayTouch(ctx, in.UUID)
			if err == nil {
				err = sent(ctx, w, commanded.DeleteDocument{ID: in.UUID})
			}
			return coded(safeq.CodeDeleteDocument, err)
		})
	add(w, httpx.Op{ID: "13", Method: post, Path: safeq.Base + "/documents/{uuid}/{addressOrSerial}", Summary: "Send a document to an output port", Tags: tags, Form: true,
		Description: "The answer 0 means that it is on its way; the document's status tells what came of it. The content type of a form is needed even without a body."},
		safeq.Needs{Rights: []string{"ReleaseJob"}, Owner: true, Secure: true, Trusted: true, Code: safeq.CodeOutputDocument}, w.release)
	add(w, httpx.Op{ID: "10", Method: post, Path: safeq.Base + "/documents/history", Summary: "Record a job", Tags: tags, Form: true},
		safeq.Needs{Class: safeq.Job, Gives: []string{"documents.create"}}, w.record)
}

// keep puts a file into the blob store while it arrives.
func (w *writes) keep(ctx context.Context, _ string, content io.Reader) (blob.Ref, error) {
	buffered := bufio.NewReaderSize(content, 64<<10)
	if _, err := buffered.Peek(1); err == io.EOF {
		return blob.Ref{}, fault.InvalidField("data", "must not be empty")
	}
	ref, err := w.Uploads.Put(ctx, buffered)
	var large *blob.TooLargeError
	switch {
	case errors.As(err, &large):
		f := fault.New(fault.TooLarge, "document.too-large", "the document is larger than %d bytes, which is the limit here", large.Limit)
		return ref, f.On("data", "is larger than %d bytes, which is the limit here", large.Limit).Because(err)
	case errors.Is(err, blob.ErrFull):
		return ref, fault.New(fault.Unavailable, "blob.full", "there is no space left to keep documents").Because(err)
	}
	return ref, err
}

func (w *writes) upload(ctx context.Context, in *upload, ref blob.Ref) (*documentAnswer, error) {
	person, err := w.recipient(ctx, in.Body.UserName, in.Body.ProviderID)
	if err != nil {
		return nil, err
	}
	account, err := w.accountByID(ctx, person.AccountID)
	if err != nil {
		return nil, err
	}
	queue, err := w.Reads.Queue(ctx, *account, in.Body.PortName)
	if err != nil {
		return nil, err
	}
	if queue == nil {
		return nil, fault.InvalidField("portname", "there is no queue %.100q", in.Body.PortName)
	}
	class, _, _ := paper.Classify("." + printing.Extension(in.Body.Title)) // what it can't tell is told when the document is prepared
	result, err := commands.Send(ctx, w.Bus, commanded.ReceiveDocument{ID: commands.NewID(ctx), OrganizationID: person.AccountID, UserID: person.ID, InputPortID: queue.ID,
		Title: in.Body.Title, Convert: class == paper.Office, Content: printing.Blob{SHA256: ref.SHA256, Size: ref.Size},
		Options: printing.JobOptions{Copies: in.Body.Copies, Grayscale: in.Body.Grayscale, Duplex: printing.Duplex(in.Body.Duplex)},
		Page:    printing.PageOptions{PageSize: text(in.Body.PageSize), Orientation: in.Body.Orientation, Scale: in.Body.Scale}})
	if err != nil {
		return nil, err
	}
	if result.Current {
		if info, err := w.Reads.Document(ctx, result.State.ID); err == nil {
			return &documentAnswer{info}, nil
		}
	}
	return &documentAnswer{safeq.DocumentOf(result.State, safeq.LoginName(*person))}, nil
}

// recipient is whose document an upload is to be. The user of a token uploads for
// themselves, or for whoever they release for.
func (w *writes) recipient(ctx context.Context, name string, provider int32) (*access.Person, error) {
	person, err := w.Reads.Person(ctx, name, provider)
	switch {
	case err != nil:
		return nil, err
	case person == nil:
		return nil, fault.InvalidField("username", "there is no user %.100q", name)
	case !safeq.Usable(*person, w.now()):
		return nil, fault.InvalidField("username", "is not active")
	}
	caller := safeq.CallerOf(ctx)
	if caller.UserID == nil || !caller.Decision.ByUser {
		return person, nil
	}
	owners, err := w.Reads.Owners(ctx, *caller.UserID)
	if err == nil && !slices.Contains(owners, person.ID) {
		err = fault.New(fault.Denied, "document.other", "the token is of another user").On("username", "is not the user of the token")
	}
	return person, err
}

// mayTouch holds a document against a key without rights of its own: its owner
// must be the user of the token. What somebody else's account holds is not there.
func (w *writes) mayTouch(ctx context.Context, id domain.ID) error {
	document, _, err := commands.Load[printing.Document](ctx, w.Bus, printing.DocumentStream(id))
	if err != nil {
		return err
	}
	actor, _ := domain.ActorOf(ctx)
	if !document.Exists() || !actor.SeesAny(document.Organizations()) {
		return fault.Missing("document", id)
	}
	caller := safeq.CallerOf(ctx)
	if !caller.Decision.OwnerOnly {
		return nil
	}
	owners, err := w.Reads.Owners(ctx, *caller.UserID)
	if err == nil && !slices.Contains(owners, document.UserID) {
		err = fault.New(fault.Denied, "document.other", "the document is somebody else's: the API key needs advanced permissions for that")
	}
	return err
}

type releaseIn struct {
	UUID    uuid.UUID `path:"uuid"`
	Address string    `path:"addressOrSerial" doc:"Serial number of the printer, or its address."`
	Body    struct {
		Copies    *int32 `json:"copies,omitempty" minimum:"1"`
		Grayscale *bool  `json:"grayscale,omitempty"`
		Retain    bool   `json:"retain,omitempty" doc:"Keep the document after printing."`
		Duplex    *int   `json:"duplex,omitempty" enum:"0,1,2" doc:"0 simplex, 1 long edge, 2 short edge."`
	}
}

func (w *writes) release(ctx context.Context, in *releaseIn) (*codeAnswer, error) {
	media, _, err := mime.ParseMediaType(httpx.From(ctx).Header("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" && media != "application/json" {
		return nil, httpx.WithStatus(415, fault.New(fault.Invalid, "body.type", "the content type application/x-www-form-urlencoded is needed"))
	}
	if err := w.mayTouch(ctx, in.UUID); err != nil {
		return coded(safeq.CodeOutputDocument, err)
	}
	printer, err := w.Reads.Printer(ctx, in.Address, in.Address)
	if err == nil && printer == nil {
		err = fault.New(fault.NotFound, "outputport.not-found", "there is no printer with the address or serial number %.100q", in.Address)
	}
	if err != nil {
		return coded(safeq.CodeOutputDocument, err)
	}
	cmd := commanded.ReleaseDocument{ID: in.UUID, ReleaseID: commands.NewID(ctx), OutputPortID: printer.ID, Copies: in.Body.Copies, Grayscale: in.Body.Grayscale, Retain: in.Body.Retain}
	if in.Body.Duplex != nil {
		duplex := printing.Duplex(*in.Body.Duplex)
		cmd.Duplex = &duplex
	}
	err = sent(ctx, w, cmd)
	if f := fault.Of(err); f != nil && f.Code == commanded.CodeNotReady {
		return coded(safeq.CodeNotReady, err)
	}
	return coded(safeq.CodeOutputDocument, err)
}

type recordIn struct {
	Body struct {
		JobType    string     `json:"jobtype" enum:"PRINT,COPY,SCAN,FAX"`
		TotalPages int32      `json:"totalpages,omitempty" minimum:"0"`
		ColorPages int32      `json:"colorpages,omitempty" minimum:"0"`
		PaperSize  *string    `json:"papersize,omitempty"`
		Duplex     *bool      `json:"duplex,omitempty" doc:"true: long edge, false: short edge, absent: simplex."`
		Title      *string    `json:"title,omitempty"`
		Serial     *string    `json:"serialnumber,omitempty" doc:"Of the printer."`
		Address    *string    `json:"address,omitempty" doc:"Of the printer, where there is no serial number."`
		UserName   *string    `json:"username,omitempty" doc:"Needed with the token of a device; the user of a user token otherwise."`
		ProviderID int32      `json:"providerid,omitempty"`
		At         *time.Time `json:"datetime,omitempty" doc:"When it was done. Now, when absent. Not documented by the vendor."`
	}
}

func (w *writes) record(ctx context.Context, in *recordIn) (*codeAnswer, error) {
	person, err := w.jobUser(ctx, text(in.Body.UserName), in.Body.ProviderID)
	if err != nil {
		return nil, err
	}
	cmd := commanded.RecordJob{ID: commands.NewID(ctx), OrganizationID: person.AccountID, UserID: person.ID, JobType: printing.JobType(in.Body.JobType), Title: text(in.Body.Title),
		TotalPages: in.Body.TotalPages, ColorPages: in.Body.ColorPages, PaperSize: text(in.Body.PaperSize), DoneAt: in.Body.At}
	switch long := in.Body.Duplex; {
	case long != nil && *long:
		cmd.Duplex = printing.LongEdge
	case long != nil:
		cmd.Duplex = printing.ShortEdge
	}
	if serial, address := text(in.Body.Serial), text(in.Body.Address); serial != "" || address != "" {
		printer, err := w.Reads.Printer(ctx, serial, address)
		if err != nil {
			return nil, err
		}
		if printer == nil {
			parameter := "serialnumber"
			if serial == "" {
				parameter = "address"
			}
			return nil, fault.InvalidField(parameter, "is no printer's")
		}
		cmd.OutputPortID = &printer.ID
	}
	return coded(safeq.CodeUnknown, sent(ctx, w, cmd))
}

// jobUser is who a reported job was done for.
func (w *writes) jobUser(ctx context.Context, name string, provider int32) (*access.Person, error) {
	if user := safeq.CallerOf(ctx).UserID; user != nil {
		person, err := w.Reads.PersonByID(ctx, *user)
		if err == nil && person == nil {
			err = fault.New(fault.Denied, "user.ended", "the user of the token is not there any more")
		}
		return person, err
	}
	if name == "" {
		return nil, fault.InvalidField("username", "is required with the token of a device")
	}
	person, err := w.Reads.Person(ctx, name, provider)
	if err == nil && person == nil {
		err = fault.InvalidField("username", "there is no user %.100q", name)
	}
	return person, err
}
