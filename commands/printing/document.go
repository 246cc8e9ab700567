package printing

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/printing"
)

// Bounds of what is said of a document.
const (
	maxTitle  = 1_000
	maxCopies = 9_999
	maxPages  = 10_000_000
	maxPaper  = 64
	maxReason = 1_000
)

// ReceiveDocument takes a document into a queue. Its content must be in the blob
// store already. Problems: username, portname, domainname, title, data, copies,
// duplex; on a push queue also outputpagesize, pageorientation, scale, which a
// pull queue ignores. Who uploads for somebody else needs documents.create.
type ReceiveDocument struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	UserID         domain.ID // whose document it is
	InputPortID    domain.ID // of the organization or one above
	Title          string    // with the extension that tells the format, unless it is a PDF
	Convert        bool      // the format has to become a PDF first
	Content        printing.Blob
	Options        printing.JobOptions // zero copies mean one
	Page           printing.PageOptions
}

func (c ReceiveDocument) Name() string       { return "printing.receive-document" }
func (c ReceiveDocument) Stream() string     { return printing.DocumentStream(c.ID) }
func (c ReceiveDocument) Permission() string { return "" }

// Refs implements commands.Referring.
func (c ReceiveDocument) Refs() []commands.Ref {
	return []commands.Ref{commands.RefTo[directory.User](directory.UserStream(c.UserID)), inputPortRef(c.InputPortID)}
}

// Explore implements commands.Exploring.
func (c ReceiveDocument) Explore(_ printing.Document, env commands.Env) []commands.Ref {
	return []commands.Ref{organizationRef(orTenant(env.Actor, c.OrganizationID))}
}

// begin checks what all new documents have in common and gives their organization.
func begin(d printing.Document, env commands.Env, problems *fault.Problems, id, owner, organization domain.ID) (directory.Organization, error) {
	if d.Exists() {
		return directory.Organization{}, exists("document", id)
	}
	if err := owns(env, owner, "documents.create"); err != nil {
		return directory.Organization{}, err
	}
	its := account(env, problems, organization)
	user(env, problems, owner)
	return its, nil
}

// Decide implements commands.Command.
func (c ReceiveDocument) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	var problems fault.Problems
	organization, err := begin(d, env, &problems, c.ID, c.UserID, c.OrganizationID)
	if err != nil {
		return nil, err
	}
	port := commands.Lookup[printing.InputPort](env, printing.InputPortStream(c.InputPortID))
	problems.Check(port.Exists() && serves(port.OrganizationID, organization), "portname", "does not exist")
	title := rule.Line(&problems, "title", c.Title, maxTitle)
	problems.Check(title != "", "title", "must not be empty")
	problems.Check(c.Content.Size > 0 && c.Content.SHA256 != "", "data", "must not be empty")
	options := options(&problems, c.Options)
	var page printing.PageOptions
	if port.Settings.Type == printing.Push {
		page = pageOptions(&problems, c.Page)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{printing.DocumentReceived{
		ID: c.ID, OrganizationID: organization.ID, UserID: c.UserID, InputPortID: c.InputPortID, Title: title, Extension: printing.Extension(title),
		Convert: c.Convert, Content: c.Content, Options: options, Page: page, At: env.Now,
	}}, nil
}

// user checks the user that a document is to belong to.
func user(env commands.Env, p *fault.Problems, id domain.ID) {
	u := commands.Lookup[directory.User](env, directory.UserStream(id))
	seen := env.Actor.UserID == id || env.Actor.SeesAny(u.Organizations())
	p.Check(u.Exists() && seen, "username", "does not exist")
	p.Check(!u.Exists() || !seen || u.Active, "username", "is not active")
}

func options(p *fault.Problems, o printing.JobOptions) printing.JobOptions {
	if o.Copies == 0 {
		o.Copies = 1
	}
	p.Check(o.Copies >= 1 && o.Copies <= maxCopies, "copies", "must lie between 1 and %d", maxCopies)
	p.Check(o.Duplex.Known(), "duplex", "must be 0 (simplex), 1 (long edge) or 2 (short edge)")
	return o
}

var pageSizes = []string{"A3", "A4", "A5", "A6", "Letter", "Legal", "Ledger", "Tabloid"}

var pointSize = regexp.MustCompile(`^([0-9]{1,5})[xX]([0-9]{1,5})$`)

// maxPoints is the largest side of a page: 200 inches, as of PDF.
const maxPoints = 14_400

func pageOptions(p *fault.Problems, o printing.PageOptions) printing.PageOptions {
	size, known := pageSize(o.PageSize)
	p.Check(known, "outputpagesize", "must be Original, %s, or width x height in points", strings.Join(pageSizes, ", "))
	o.PageSize = size
	p.Check(o.Orientation == 0 || o.Orientation == 1, "pageorientation", "must be 0 (portrait) or 1 (landscape)")
	p.Check(o.Scale >= 0 && o.Scale <= 100, "scale", "must lie between 1 and 100 percent")
	return o
}

// pageSize is a size as it is kept: "A4", "595x842", or "" for the original's.
func pageSize(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.EqualFold(s, "Original") {
		return "", true
	}
	if i := slices.IndexFunc(pageSizes, func(name string) bool { return strings.EqualFold(name, s) }); i >= 0 {
		return pageSizes[i], true
	}
	sides := pointSize.FindStringSubmatch(s)
	if sides == nil {
		return s, false
	}
	width, _ := strconv.Atoi(sides[1])
	height, _ := strconv.Atoi(sides[2])
	return sides[1] + "x" + sides[2], width >= 1 && width <= maxPoints && height >= 1 && height <= maxPoints
}

// StartConversion says that a converter works on a document. It does nothing to a
// document that is not waiting for that.
type StartConversion struct {
	ID    domain.ID
	Again bool // an operator has a failed preparation tried again
}

func (c StartConversion) Name() string       { return "printing.start-conversion" }
func (c StartConversion) Stream() string     { return printing.DocumentStream(c.ID) }
func (c StartConversion) Permission() string { return bySystem }

// Decide implements commands.Command.
func (c StartConversion) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	if err := systemOnly(env); err != nil {
		return nil, err
	}
	if !preparable(d, c.Again) || d.Status == printing.Converting {
		return nil, nil
	}
	return []domain.Event{printing.DocumentConversionStarted{ID: c.ID, At: env.Now}}, nil
}

// MarkReady makes a document one that can be released. In a push queue it is sent
// to the queue's printer in the same append. It does nothing to a document that was
// prepared before or has ended.
type MarkReady struct {
	ID         domain.ID
	Content    printing.Blob // what is printed
	Format     string        // its media type
	TotalPages int32         // 0: not known
	ColorPages int32
	PaperSize  string
	Again      bool // as of StartConversion
}

func (c MarkReady) Name() string       { return "printing.mark-ready" }
func (c MarkReady) Stream() string     { return printing.DocumentStream(c.ID) }
func (c MarkReady) Permission() string { return bySystem }

// Explore implements commands.Exploring.
func (c MarkReady) Explore(d printing.Document, _ commands.Env) []commands.Ref {
	if !d.Exists() {
		return nil
	}
	return []commands.Ref{inputPortRef(d.InputPortID)}
}

// Decide implements commands.Command.
func (c MarkReady) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	if err := systemOnly(env); err != nil {
		return nil, err
	}
	if !preparable(d, c.Again) {
		return nil, nil
	}
	events := []domain.Event{printing.DocumentReady{ID: c.ID, Content: c.Content, Format: c.Format, TotalPages: c.TotalPages, ColorPages: c.ColorPages, PaperSize: c.PaperSize, At: env.Now}}
	port := commands.Lookup[printing.InputPort](env, printing.InputPortStream(d.InputPortID))
	if port.Exists() && port.Settings.Type == printing.Push && port.Settings.OutputPortID != nil {
		events = append(events, printing.DocumentReleaseRequested{ID: c.ID, ReleaseID: domain.DerivedID(c.ID, "push"),
			OutputPortID: *port.Settings.OutputPortID, Options: d.Options, Push: true, At: env.Now})
	}
	return events, nil
}

// preparable tells whether a document may still become ready.
func preparable(d printing.Document, again bool) bool {
	return d.Preparing() || again && d.Status == printing.ConversionFailed
}

// FailConversion says why a document can't be printed. It does nothing to a
// document that was prepared before or has ended.
type FailConversion struct {
	ID     domain.ID
	Reason string // for users
}

func (c FailConversion) Name() string       { return "printing.fail-conversion" }
func (c FailConversion) Stream() string     { return printing.DocumentStream(c.ID) }
func (c FailConversion) Permission() string { return bySystem }

// Decide implements commands.Command.
func (c FailConversion) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	if err := systemOnly(env); err != nil {
		return nil, err
	}
	if !d.Preparing() {
		return nil, nil
	}
	return []domain.Event{printing.DocumentConversionFailed{ID: c.ID, Reason: reason(c.Reason), At: env.Now}}, nil
}

// reason is a text for users that fits into a line.
func reason(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if runes := []rune(s); len(runes) > maxReason {
		s = string(runes[:maxReason-1]) + "…"
	}
	return s
}

// CodeNotReady is the code of the fault about a document that can't be sent to a
// printer now: not prepared, ended, or on its way to one already.
const CodeNotReady = "document.not-ready"

// ReleaseDocument sends a document to a printer: one of the document's
// organization or one above, or one that the actor sees. Who releases somebody
// else's document needs documents.release. Problems: address, copies, duplex.
// Errors: Conflict with CodeNotReady.
type ReleaseDocument struct {
	ID           domain.ID
	ReleaseID    domain.ID // a new one (commands.NewID)
	OutputPortID domain.ID
	// What overrides the document's own options; nil leaves them.
	Copies    *int32
	Grayscale *bool
	Duplex    *printing.Duplex
	Retain    bool // keep the content after printing
}

func (c ReleaseDocument) Name() string         { return "printing.release-document" }
func (c ReleaseDocument) Stream() string       { return printing.DocumentStream(c.ID) }
func (c ReleaseDocument) Permission() string   { return "" }
func (c ReleaseDocument) Refs() []commands.Ref { return []commands.Ref{outputPortRef(c.OutputPortID)} }

// Explore implements commands.Exploring.
func (c ReleaseDocument) Explore(d printing.Document, _ commands.Env) []commands.Ref {
	if !d.Exists() {
		return nil
	}
	return []commands.Ref{organizationRef(d.OrganizationID)}
}

// Decide implements commands.Command.
func (c ReleaseDocument) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	if !d.Exists() {
		return nil, fault.Missing("document", c.ID)
	}
	if err := owns(env, d.UserID, "documents.release"); err != nil {
		return nil, err
	}
	var problems fault.Problems
	port := commands.Lookup[printing.OutputPort](env, printing.OutputPortStream(c.OutputPortID))
	there := env.Actor.Sees(port.OrganizationID) || serves(port.OrganizationID, organizationOf(env, d.OrganizationID))
	problems.Check(port.Exists() && there, "address", "is no printer's")
	asked := d.Options
	asked.Copies, asked.Grayscale, asked.Duplex = or(c.Copies, asked.Copies), or(c.Grayscale, asked.Grayscale), or(c.Duplex, asked.Duplex)
	options := options(&problems, asked)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if !d.Status.Releasable() || d.Release != nil {
		return nil, fault.New(fault.Conflict, CodeNotReady, "%s", notReady(d))
	}
	return []domain.Event{printing.DocumentReleaseRequested{ID: c.ID, ReleaseID: c.ReleaseID, OutputPortID: c.OutputPortID, Options: options, Retain: c.Retain, At: env.Now}}, nil
}

// notReady says why a document can't be released.
func notReady(d printing.Document) string {
	switch {
	case d.Release != nil:
		return "the document is on its way to a printer already"
	case d.Status.Preparing():
		return "the document is still being prepared"
	case d.Status == printing.ConversionFailed:
		return "the document can't be printed: " + d.Reason
	}
	return "the document's content is gone: it was printed, deleted or has expired"
}

// RecordDelivery says what came of a release. It does nothing when the document
// has ended or another release is under way.
type RecordDelivery struct {
	ID         domain.ID
	ReleaseID  domain.ID
	PrinterJob string // of a printed document, where the printer names its jobs
	Failure    string // why it was not printed, for users; "" if it was
}

func (c RecordDelivery) Name() string       { return "printing.record-delivery" }
func (c RecordDelivery) Stream() string     { return printing.DocumentStream(c.ID) }
func (c RecordDelivery) Permission() string { return bySystem }

// Decide implements commands.Command.
func (c RecordDelivery) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	if err := systemOnly(env); err != nil {
		return nil, err
	}
	if d.Release == nil || d.Release.ID != c.ReleaseID {
		return nil, nil
	}
	if c.Failure != "" {
		return []domain.Event{printing.DocumentDeliveryFailed{ID: c.ID, ReleaseID: c.ReleaseID, Reason: reason(c.Failure), At: env.Now}}, nil
	}
	return []domain.Event{printing.DocumentPrinted{ID: c.ID, ReleaseID: c.ReleaseID, PrinterJob: reason(c.PrinterJob), At: env.Now}}, nil
}

// DeleteDocument takes a document back, also while it waits to be printed. What a
// printer has begun with it prints. Who deletes somebody else's document needs
// documents.delete. Errors: NotFound, also when it was deleted before; Conflict
// when it was printed or has expired: that stays in the history.
type DeleteDocument struct{ ID domain.ID }

func (c DeleteDocument) Name() string       { return "printing.delete-document" }
func (c DeleteDocument) Stream() string     { return printing.DocumentStream(c.ID) }
func (c DeleteDocument) Permission() string { return "" }

// Decide implements commands.Command.
func (c DeleteDocument) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	if !d.Exists() || d.Status == printing.Deleted {
		return nil, fault.Missing("document", c.ID)
	}
	if err := owns(env, d.UserID, "documents.delete"); err != nil {
		return nil, err
	}
	if d.Status == printing.Printed || d.Status == printing.Expired {
		return nil, fault.New(fault.Conflict, "document.ended", "the document was printed or has expired; there is nothing left to delete")
	}
	return []domain.Event{printing.DocumentDeleted{ID: c.ID, At: env.Now}}, nil
}

// ExpireDocument ends a document that came before a time and still has content.
// It does nothing to others, and nothing while a release asked for after that time
// is under way.
type ExpireDocument struct {
	ID     domain.ID
	Before time.Time
}

func (c ExpireDocument) Name() string       { return "printing.expire-document" }
func (c ExpireDocument) Stream() string     { return printing.DocumentStream(c.ID) }
func (c ExpireDocument) Permission() string { return bySystem }

// Decide implements commands.Command.
func (c ExpireDocument) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	if err := systemOnly(env); err != nil {
		return nil, err
	}
	if !d.Exists() || !d.Status.HasContent() || !d.CreatedAt.Before(c.Before) || d.Release != nil && !d.ModifiedAt.Before(c.Before) {
		return nil, nil
	}
	return []domain.Event{printing.DocumentExpired{ID: c.ID, At: env.Now}}, nil
}

// RecordJob reports a job that a device did without Docket. Problems: domainname,
// username, jobtype, totalpages, colorpages, papersize, title, serialnumber,
// datetime. Who reports for somebody else needs documents.create.
type RecordJob struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	UserID         domain.ID
	OutputPortID   *domain.ID // the device, if it is known
	JobType        printing.JobType
	Title          string
	TotalPages     int32
	ColorPages     int32
	PaperSize      string
	Duplex         printing.Duplex
	DoneAt         *time.Time // by the device's clock; nil: now
}

func (c RecordJob) Name() string       { return "printing.record-job" }
func (c RecordJob) Stream() string     { return printing.DocumentStream(c.ID) }
func (c RecordJob) Permission() string { return "" }

// Refs implements commands.Referring.
func (c RecordJob) Refs() []commands.Ref {
	refs := []commands.Ref{commands.RefTo[directory.User](directory.UserStream(c.UserID))}
	if c.OutputPortID != nil {
		refs = append(refs, outputPortRef(*c.OutputPortID))
	}
	return refs
}

// Explore implements commands.Exploring.
func (c RecordJob) Explore(_ printing.Document, env commands.Env) []commands.Ref {
	return []commands.Ref{organizationRef(orTenant(env.Actor, c.OrganizationID))}
}

// Decide implements commands.Command.
func (c RecordJob) Decide(d printing.Document, env commands.Env) ([]domain.Event, error) {
	var problems fault.Problems
	organization, err := begin(d, env, &problems, c.ID, c.UserID, c.OrganizationID)
	if err != nil {
		return nil, err
	}
	if c.OutputPortID != nil {
		port := commands.Lookup[printing.OutputPort](env, printing.OutputPortStream(*c.OutputPortID))
		problems.Check(port.Exists() && (env.Actor.Sees(port.OrganizationID) || serves(port.OrganizationID, organization)), "serialnumber", "is no printer's")
	}
	problems.Check(c.JobType.Known(), "jobtype", "must be PRINT, COPY, SCAN or FAX")
	problems.Check(c.TotalPages >= 0 && c.TotalPages <= maxPages, "totalpages", "must lie between 0 and %d", maxPages)
	problems.Check(c.ColorPages >= 0 && c.ColorPages <= c.TotalPages, "colorpages", "must lie between 0 and the number of pages")
	paper := rule.Line(&problems, "papersize", c.PaperSize, maxPaper)
	title := rule.Line(&problems, "title", c.Title, maxTitle)
	problems.Check(c.Duplex.Known(), "duplex", "must be 0 (simplex), 1 (long edge) or 2 (short edge)")
	done := doneAt(&problems, c.DoneAt, env.Now)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{printing.DocumentRecorded{ID: c.ID, OrganizationID: organization.ID, UserID: c.UserID, OutputPortID: c.OutputPortID, JobType: c.JobType,
		Title: title, TotalPages: c.TotalPages, ColorPages: c.ColorPages, PaperSize: paper, Duplex: c.Duplex, DoneAt: done, At: env.Now}}, nil
}

// oldest is a time before which no device did anything.
var oldest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// doneAt allows for clocks that are wrong by a day.
func doneAt(p *fault.Problems, said *time.Time, now time.Time) time.Time {
	if said == nil {
		return now
	}
	p.Check(said.After(oldest) && said.Before(now.Add(24*time.Hour)), "datetime", "must not lie in the future")
	return said.UTC().Truncate(time.Microsecond)
}
