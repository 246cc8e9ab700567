package printing

import (
	"strings"
	"time"

	"docket/domain"
)

// Status is where a document is in its life. The values are those of SAFEQ's
// document status.
type Status int

const (
	Ready              Status = 0 // can be released
	Printed            Status = 1 // done; its content is gone
	Deleted            Status = 2
	Expired            Status = 3 // waited too long; its content is gone
	Failed             Status = 4 // the last delivery failed; can be released again
	Received           Status = 5 // not looked at yet
	AwaitingConversion Status = 6
	Converting         Status = 7
	ConversionFailed   Status = 8 // can't be printed, unless an operator has it prepared again
	Stored             Status = 9 // printed and retained; can be released again
)

// Duplex is how sheets are printed. The values are those of SAFEQ's duplex.
type Duplex int

const (
	Simplex   Duplex = 0
	LongEdge  Duplex = 1
	ShortEdge Duplex = 2
)

// JobType is what was done with paper: "PRINT", "COPY", "SCAN" or "FAX".
type JobType string

const (
	Print JobType = "PRINT"
	Copy  JobType = "COPY"
	Scan  JobType = "SCAN"
	Fax   JobType = "FAX"
)

// Blob is content in the blob store.
type Blob struct {
	SHA256 string `json:"sha256"` // lower-case hexadecimal; its address
	Size   int64  `json:"size"`   // bytes
}

// JobOptions say how a document is to be printed.
type JobOptions struct {
	Copies    int32  `json:"copies"`
	Grayscale bool   `json:"grayscale"`
	Duplex    Duplex `json:"duplex"`
}

// PageOptions only act when a push queue sends a document on.
type PageOptions struct {
	PageSize    string `json:"pageSize,omitempty"` // "A4", "595x842" in points; "" as it is
	Orientation int32  `json:"orientation"`        // 0 portrait, 1 landscape
	Scale       int32  `json:"scale,omitempty"`    // percent; 0 as it is
}

// DocumentReceived takes a document into a queue.
type DocumentReceived struct {
	ID             domain.ID   `json:"id"`
	OrganizationID domain.ID   `json:"organizationId"`
	UserID         domain.ID   `json:"userId"`
	InputPortID    domain.ID   `json:"inputPortId"`
	Title          string      `json:"title" pii:"UserID"`
	Extension      string      `json:"extension"` // of the title, lower case: "pdf"; tells the format
	Convert        bool        `json:"convert"`   // has to become a PDF first
	Content        Blob        `json:"content"`   // as uploaded
	Options        JobOptions  `json:"options"`
	Page           PageOptions `json:"page"`
	At             time.Time   `json:"at"`
}

// DocumentConversionStarted says that a converter works on a document.
type DocumentConversionStarted struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// DocumentConversionFailed says why a document can't be printed.
type DocumentConversionFailed struct {
	ID     domain.ID `json:"id"`
	Reason string    `json:"reason"` // for users
	At     time.Time `json:"at"`
}

// DocumentReady makes a document one that can be released.
type DocumentReady struct {
	ID         domain.ID `json:"id"`
	Content    Blob      `json:"content"` // what is printed; another than uploaded when it was converted
	Format     string    `json:"format"`  // media type of Content
	TotalPages int32     `json:"totalPages"`
	ColorPages int32     `json:"colorPages"`
	PaperSize  string    `json:"paperSize"`
	At         time.Time `json:"at"`
}

// DocumentReleaseRequested sends a document to a printer.
type DocumentReleaseRequested struct {
	ID           domain.ID  `json:"id"`
	ReleaseID    domain.ID  `json:"releaseId"`
	OutputPortID domain.ID  `json:"outputPortId"`
	Options      JobOptions `json:"options"`
	Retain       bool       `json:"retain"`         // keep the content after printing
	Push         bool       `json:"push,omitempty"` // by the queue, not by a person
	At           time.Time  `json:"at"`
}

// DocumentPrinted says that a printer took a document.
type DocumentPrinted struct {
	ID         domain.ID `json:"id"`
	ReleaseID  domain.ID `json:"releaseId"`
	PrinterJob string    `json:"printerJob,omitempty"` // the printer's own name for the job, where it gives one
	At         time.Time `json:"at"`
}

// DocumentDeliveryFailed says that a printer did not take a document, after all
// tries.
type DocumentDeliveryFailed struct {
	ID        domain.ID `json:"id"`
	ReleaseID domain.ID `json:"releaseId"`
	Reason    string    `json:"reason"` // for users
	At        time.Time `json:"at"`
}

// DocumentDeleted takes a document back. Its row stays in the history, its
// content goes.
type DocumentDeleted struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// DocumentExpired ends a document that nobody released in time.
type DocumentExpired struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// DocumentRecorded reports a job that a device did without Docket.
type DocumentRecorded struct {
	ID             domain.ID  `json:"id"`
	OrganizationID domain.ID  `json:"organizationId"`
	UserID         domain.ID  `json:"userId"`
	OutputPortID   *domain.ID `json:"outputPortId,omitempty"`
	JobType        JobType    `json:"jobType"`
	Title          string     `json:"title" pii:"UserID"`
	TotalPages     int32      `json:"totalPages"`
	ColorPages     int32      `json:"colorPages"`
	PaperSize      string     `json:"paperSize"`
	Duplex         Duplex     `json:"duplex"`
	DoneAt         time.Time  `json:"doneAt"` // by the device's clock
	At             time.Time  `json:"at"`
}

func (DocumentReceived) EventType() string          { return "printing.document-received" }
func (DocumentConversionStarted) EventType() string { return "printing.document-conversion-started" }
func (DocumentConversionFailed) EventType() string  { return "printing.document-conversion-failed" }
func (DocumentReady) EventType() string             { return "printing.document-ready" }
func (DocumentReleaseRequested) EventType() string  { return "printing.document-release-requested" }
func (DocumentPrinted) EventType() string           { return "printing.document-printed" }
func (DocumentDeliveryFailed) EventType() string    { return "printing.document-delivery-failed" }
func (DocumentDeleted) EventType() string           { return "printing.document-deleted" }
func (DocumentExpired) EventType() string           { return "printing.document-expired" }
func (DocumentRecorded) EventType() string          { return "printing.document-recorded" }

// Release is one attempt to print a document.
type Release struct {
	ID           domain.ID
	OutputPortID domain.ID
	Options      JobOptions
	Retain       bool
	Push         bool
}

// Document is a document as it is.
type Document struct {
	ID             domain.ID
	OrganizationID domain.ID
	UserID         domain.ID
	InputPortID    domain.ID
	Title          string
	Extension      string
	JobType        JobType
	Status         Status
	Reason         string // why the conversion or the last delivery failed
	Content        Blob   // as uploaded until Ready, then what is printed
	Format         string
	Options        JobOptions
	Page           PageOptions
	TotalPages     int32
	ColorPages     int32
	PaperSize      string
	OutputPortID   *domain.ID // where it was sent last
	Release        *Release   // under way
	LastFailed     *Release   // the last one, if it failed
	CreatedAt      time.Time
	ModifiedAt     time.Time
}

// Apply implements domain.State.
func (d Document) Apply(e domain.Event) Document {
	switch e := e.(type) {
	case DocumentReceived:
		d = Document{ID: e.ID, OrganizationID: e.OrganizationID, UserID: e.UserID, InputPortID: e.InputPortID, Title: e.Title, Extension: e.Extension,
			JobType: Print, Status: Received, Content: e.Content, Options: e.Options, Page: e.Page, CreatedAt: e.At, ModifiedAt: e.At}
		if e.Convert {
			d.Status = AwaitingConversion
		}
	case DocumentRecorded:
		d = Document{ID: e.ID, OrganizationID: e.OrganizationID, UserID: e.UserID, Title: e.Title, JobType: e.JobType, Status: Printed,
			Options: JobOptions{Copies: 1, Duplex: e.Duplex}, TotalPages: e.TotalPages, ColorPages: e.ColorPages, PaperSize: e.PaperSize,
			OutputPortID: e.OutputPortID, CreatedAt: e.DoneAt, ModifiedAt: e.At}
	case DocumentConversionStarted:
		d.Status, d.ModifiedAt = Converting, e.At
	case DocumentConversionFailed:
		d.Status, d.Reason, d.ModifiedAt = ConversionFailed, e.Reason, e.At
	case DocumentReady:
		d.Status, d.Content, d.Format, d.Reason, d.ModifiedAt = Ready, e.Content, e.Format, "", e.At
		d.TotalPages, d.ColorPages, d.PaperSize = e.TotalPages, e.ColorPages, e.PaperSize
	case DocumentReleaseRequested:
		d.LastFailed, d.Release = nil, &Release{ID: e.ReleaseID, OutputPortID: e.OutputPortID, Options: e.Options, Retain: e.Retain, Push: e.Push}
		d.OutputPortID, d.ModifiedAt = &e.OutputPortID, e.At
	case DocumentPrinted:
		d.Status, d.Reason, d.ModifiedAt = Printed, "", e.At
		if d.Release != nil && d.Release.Retain {
			d.Status = Stored
		}
		if d.Release != nil {
			d.Options = d.Release.Options // history tells how it was printed
		}
		d.Release = nil
	case DocumentDeliveryFailed:
		d.Status, d.Reason, d.LastFailed, d.Release, d.ModifiedAt = Failed, e.Reason, d.Release, nil, e.At
	case DocumentDeleted:
		d.Status, d.Release, d.ModifiedAt = Deleted, nil, e.At
	case DocumentExpired:
		d.Status, d.Release, d.ModifiedAt = Expired, nil, e.At
	}
	return d
}

// Exists implements domain.State: a deleted document is still looked at, as history.
func (d Document) Exists() bool { return d.ID != (domain.ID{}) }

// Organizations implements domain.State.
func (d Document) Organizations() []domain.ID { return []domain.ID{d.OrganizationID} }

// Keys implements domain.State.
func (d Document) Keys() []domain.Key { return nil }

// Preparing tells whether the document waits for what makes it ready.
func (d Document) Preparing() bool { return d.Exists() && d.Status.Preparing() }

// Releasing tells whether the document is on its way to a printer.
func (d Document) Releasing() bool { return d.Release != nil }

// Releasable tells whether a document in this status can be sent to a printer.
func (s Status) Releasable() bool { return s == Ready || s == Failed || s == Stored }

// Preparing tells whether a document in this status waits for what makes it ready.
func (s Status) Preparing() bool { return s == Received || s == AwaitingConversion || s == Converting }

// HasContent tells whether a document in this status still needs its content.
func (s Status) HasContent() bool { return s.Releasable() || s.Preparing() || s == ConversionFailed }

// Known tells whether there is such a way to print on sheets.
func (d Duplex) Known() bool { return d >= Simplex && d <= ShortEdge }

// Known tells whether there is such a type of job.
func (t JobType) Known() bool { return t == Print || t == Copy || t == Scan || t == Fax }

// Extension is what a title says of the format: lower case, without the dot. A
// title that ends in no extension is a PDF's (SAFEQ's documents).
func Extension(title string) string {
	name := title[strings.LastIndexAny(title, `/\`)+1:]
	dot := strings.LastIndexByte(name, '.')
	extension := strings.ToLower(name[dot+1:])
	if dot < 0 || extension == "" || len(extension) > maxExtension || strings.ContainsFunc(extension, notAlphanumeric) {
		return "pdf"
	}
	return extension
}

const maxExtension = 8

func notAlphanumeric(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
