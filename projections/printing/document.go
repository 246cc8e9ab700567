package printing

import (
	"time"

	"docket/domain"
	"docket/domain/printing"
	"docket/projections"
)

// DocumentRow is a document or a job that a device reported, as long as there is a
// history: rows are never removed. Names of queue and printer are those at the
// time; the user's are in Users.
type DocumentRow struct {
	ID               domain.ID  `db:"id,pk"`
	OrganizationID   domain.ID  `db:"organization_id"`
	UserID           domain.ID  `db:"user_id"`
	InputPortID      *domain.ID `db:"input_port_id"` // null for a reported job
	InputPortName    string     `db:"input_port_name"`
	OutputPortID     *domain.ID `db:"output_port_id"` // where it was sent last
	OutputPortNumber int32      `db:"output_port_number"`
	OutputPortName   string     `db:"output_port_name"`
	Title            string     `db:"title"`
	JobType          string     `db:"job_type"` // printing.JobType
	Status           int16      `db:"status"`   // printing.Status
	Reason           string     `db:"reason"`   // why preparing it or the last delivery failed
	Format           string     `db:"format"`   // media type, once it is ready
	Size             int64      `db:"size"`     // bytes, of what was uploaded or, once it is ready, is printed
	TotalPages       int32      `db:"total_pages"`
	ColorPages       int32      `db:"color_pages"`
	PaperSize        string     `db:"paper_size"`
	Copies           int32      `db:"copies"` // these three: as wished until it is printed, then as printed
	Grayscale        bool       `db:"grayscale"`
	Duplex           int16      `db:"duplex"`       // printing.Duplex
	Release          *Release   `db:"release,json"` // under way
	PrinterJob       string     `db:"printer_job"`
	// Content is the SHA-256 of what has to be kept for it, "" for nothing.
	Content    string    `db:"content"`
	HasContent bool      `db:"has_content"`
	CreatedAt  time.Time `db:"created_at"` // of a reported job: when it was done
	ModifiedAt time.Time `db:"modified_at"`
}

// Release is a delivery under way.
type Release struct {
	ID      domain.ID           `json:"id"`
	Options printing.JobOptions `json:"options"`
	Retain  bool                `json:"retain"`
}

// Documents are all documents. The history is read in the order of created_at and
// id: of organizations, of users, of a printer by its name, of statuses. The last
// two indexes are the expiry's and the blob collector's.
var Documents = projections.NewTable[DocumentRow]("documents",
	projections.Index("created_at", "id"), projections.Index("organization_id", "created_at", "id"),
	projections.Index("user_id", "created_at", "id"), projections.Index("user_id", "status", "created_at", "id"),
	projections.IndexWhere("output_port_name <> ''", "output_port_name", "created_at", "id"),
	projections.Index("organization_id", "status", "created_at", "id"),
	projections.IndexWhere("job_type <> 'PRINT'", "organization_id", "job_type", "created_at", "id"),
	projections.IndexWhere("has_content", "organization_id", "created_at"), projections.IndexWhere("content <> ''", "content"),
	projections.CountBy("organization_id"))

// status sets the status and lets go of content that it needs no more.
func (r *DocumentRow) status(s printing.Status, at time.Time) {
	r.Status, r.HasContent, r.ModifiedAt = int16(s), s.HasContent(), at
	if !r.HasContent {
		r.Content = ""
	}
}

// sentTo copies what the history shows of a printer.
func (r *DocumentRow) sentTo(rec projections.Rec, id domain.ID) {
	port, _ := projections.Get(rec, OutputPorts, id)
	r.OutputPortID, r.OutputPortNumber, r.OutputPortName = &id, port.Number, port.Name
}

func (r *DocumentRow) options(o printing.JobOptions) {
	r.Copies, r.Grayscale, r.Duplex = o.Copies, o.Grayscale, int16(o.Duplex)
}

func (r *DocumentRow) content(b printing.Blob) { r.Content, r.Size = b.SHA256, b.Size }

func documentHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(Documents, received, projections.Prefetch(InputPorts, func(e printing.DocumentReceived, _ projections.Rec) []domain.ID { return []domain.ID{e.InputPortID} })),
		projections.Put(Documents, recorded, projections.Prefetch(OutputPorts, func(e printing.DocumentRecorded, _ projections.Rec) []domain.ID {
			if e.OutputPortID == nil {
				return nil
			}
			return []domain.ID{*e.OutputPortID}
		})),
		projections.Update(Documents, projections.ByStream, func(r *DocumentRow, e printing.DocumentConversionStarted, _ projections.Rec) {
			r.status(printing.Converting, e.At)
		}),
		projections.Update(Documents, projections.ByStream, func(r *DocumentRow, e printing.DocumentConversionFailed, _ projections.Rec) {
			r.status(printing.ConversionFailed, e.At)
			r.Reason = e.Reason
		}),
		projections.Update(Documents, projections.ByStream, func(r *DocumentRow, e printing.DocumentReady, _ projections.Rec) {
			r.status(printing.Ready, e.At)
			r.content(e.Content)
			r.Reason, r.Format, r.TotalPages, r.ColorPages, r.PaperSize = "", e.Format, e.TotalPages, e.ColorPages, e.PaperSize
		}),
		projections.Update(Documents, projections.ByStream, func(r *DocumentRow, e printing.DocumentReleaseRequested, rec projections.Rec) {
			r.Release = &Release{ID: e.ReleaseID, Options: e.Options, Retain: e.Retain}
			r.sentTo(rec, e.OutputPortID)
			r.ModifiedAt = e.At
		}, projections.Prefetch(OutputPorts, func(e printing.DocumentReleaseRequested, _ projections.Rec) []domain.ID {
			return []domain.ID{e.OutputPortID}
		})),
		projections.Update(Documents, projections.ByStream, printed),
		projections.Update(Documents, projections.ByStream, func(r *DocumentRow, e printing.DocumentDeliveryFailed, _ projections.Rec) {
			r.status(printing.Failed, e.At)
			r.Reason, r.Release = e.Reason, nil
		}),
		projections.Update(Documents, projections.ByStream, func(r *DocumentRow, e printing.DocumentDeleted, _ projections.Rec) {
			r.status(printing.Deleted, e.At)
			r.Release = nil
		}),
		projections.Update(Documents, projections.ByStream, func(r *DocumentRow, e printing.DocumentExpired, _ projections.Rec) {
			r.status(printing.Expired, e.At)
			r.Release = nil
		}),
	}
}

func received(e printing.DocumentReceived, rec projections.Rec) DocumentRow {
	port, _ := projections.Get(rec, InputPorts, e.InputPortID)
	row := DocumentRow{ID: e.ID, OrganizationID: e.OrganizationID, UserID: e.UserID, InputPortID: &e.InputPortID, InputPortName: port.Name,
		Title: e.Title, JobType: string(printing.Print), CreatedAt: e.At}
	row.options(e.Options)
	row.content(e.Content)
	if e.Convert {
		row.status(printing.AwaitingConversion, e.At)
	} else {
		row.status(printing.Received, e.At)
	}
	return row
}

func recorded(e printing.DocumentRecorded, rec projections.Rec) DocumentRow {
	row := DocumentRow{ID: e.ID, OrganizationID: e.OrganizationID, UserID: e.UserID, Title: e.Title, JobType: string(e.JobType),
		TotalPages: e.TotalPages, ColorPages: e.ColorPages, PaperSize: e.PaperSize, CreatedAt: e.DoneAt}
	row.options(printing.JobOptions{Copies: 1, Duplex: e.Duplex})
	row.status(printing.Printed, e.At)
	if e.OutputPortID != nil {
		row.sentTo(rec, *e.OutputPortID)
	}
	return row
}

func printed(r *DocumentRow, e printing.DocumentPrinted, _ projections.Rec) {
	next := printing.Printed
	if r.Release != nil {
		r.options(r.Release.Options)
		if r.Release.Retain {
			next = printing.Stored
		}
	}
	r.status(next, e.At)
	r.Reason, r.Release, r.PrinterJob = "", nil, e.PrinterJob
}
