package printing

import (
	"strings"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/spec"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/printing"

	"github.com/stretchr/testify/require"
)

func upload() ReceiveDocument {
	return ReceiveDocument{ID: doc, UserID: ann, InputPortID: pull, Title: " a.pdf ", Content: content}
}

func TestReceiveDocument(t *testing.T) {
	begin := given[printing.Document](t).As(plain(ann))
	event := with(received(pull), func(e *printing.DocumentReceived) { e.Options, e.At = once, spec.Now })
	begin.When(upload()).Then(event)
	begin.When(with(upload(), func(c *ReceiveDocument) { c.Convert, c.Title = true, "Q1.DOCX" })).
		Then(with(event, func(e *printing.DocumentReceived) { e.Convert, e.Title, e.Extension = true, "Q1.DOCX", "docx" }))
	options := printing.JobOptions{Copies: 9999, Grayscale: true, Duplex: printing.ShortEdge}
	begin.When(with(upload(), func(c *ReceiveDocument) { c.Options = options })).Then(with(event, func(e *printing.DocumentReceived) { e.Options = options }))
	begin.When(with(upload(), func(c *ReceiveDocument) { c.InputPortID = pullAbove })).Then(with(event, func(e *printing.DocumentReceived) { e.InputPortID = pullAbove }))
	begin.When(with(upload(), func(c *ReceiveDocument) { c.OrganizationID = floor })).Then(with(event, func(e *printing.DocumentReceived) { e.OrganizationID = floor }))

	begin.As(operator).When(upload()).Then(event)
	begin.As(plain(bob)).When(upload()).ThenFault(fault.Denied)
	given[printing.Document](t, received(pull)).When(upload()).ThenFault(fault.Conflict)
	given[printing.Document](t, received(pull), deleted).When(upload()).ThenFault(fault.Conflict)

	refused := func(field string, change func(*ReceiveDocument)) {
		t.Helper()
		given[printing.Document](t).When(with(upload(), change)).ThenFault(fault.Invalid, field)
	}
	for _, u := range []domain.ID{idle, zoe, id(9)} {
		refused("username", func(c *ReceiveDocument) { c.UserID = u })
	}
	for _, q := range []domain.ID{pullElsewhere, closed, id(9)} {
		refused("portname", func(c *ReceiveDocument) { c.InputPortID = q })
	}
	refused("domainname", func(c *ReceiveDocument) { c.OrganizationID = gone })
	refused("data", func(c *ReceiveDocument) { c.Content.Size = 0 })
	for _, title := range []string{" ", strings.Repeat("x", 1001), "a\nb"} {
		refused("title", func(c *ReceiveDocument) { c.Title = title })
	}
	for _, n := range []int32{-1, 10000} {
		refused("copies", func(c *ReceiveDocument) { c.Options.Copies = n })
	}
	for _, d := range []printing.Duplex{-1, 3} {
		refused("duplex", func(c *ReceiveDocument) { c.Options.Duplex = d })
	}
	begin.As(operator).When(ReceiveDocument{ID: doc, OrganizationID: other, Options: printing.JobOptions{Copies: -1, Duplex: 7}}).
		ThenFault(fault.Invalid, "domainname", "username", "portname", "title", "data", "copies", "duplex")
}

// Page options count for push queues only.
func TestPageOptions(t *testing.T) {
	begin := given[printing.Document](t)
	event := with(received(push), func(e *printing.DocumentReceived) { e.Options, e.At = once, spec.Now })
	pushed := func(page printing.PageOptions) spec.Outcome[printing.Document] {
		return begin.When(with(upload(), func(c *ReceiveDocument) { c.InputPortID, c.Page = push, page }))
	}
	for said, kept := range map[string]string{"": "", "original": "", "a4": "A4", "LEDGER": "Ledger", "Tabloid": "Tabloid", "595X842": "595x842", "14400x1": "14400x1"} {
		page := printing.PageOptions{PageSize: said, Orientation: 1, Scale: 100}
		pushed(page).Then(with(event, func(e *printing.DocumentReceived) {
			e.Page = printing.PageOptions{PageSize: kept, Orientation: 1, Scale: 100}
		}))
	}
	for _, size := range []string{"A7", "0x10", "14401x1", "10x", "axb", "1x2x3", "-1x5"} {
		pushed(printing.PageOptions{PageSize: size}).ThenFault(fault.Invalid, "outputpagesize")
	}
	pushed(printing.PageOptions{PageSize: "A9", Orientation: 2, Scale: 101}).ThenFault(fault.Invalid, "outputpagesize", "pageorientation", "scale")
	begin.When(with(upload(), func(c *ReceiveDocument) { c.Page = printing.PageOptions{PageSize: "A9", Orientation: 2, Scale: 101} })).
		Then(with(event, func(e *printing.DocumentReceived) { e.InputPortID = pull }))
}

func TestExtension(t *testing.T) {
	for title, want := range map[string]string{"a.pdf": "pdf", "A.DocX": "docx", "report": "pdf", "notes.": "pdf", "Dr. Smith's letter": "pdf", `C:\x.y\file`: "pdf", "/a.b/c.txt": "txt",
		"../../etc/passwd": "pdf", ".txt": "txt", "a.veryverylong": "pdf", "a.t/xt": "pdf", "a.übel": "pdf", "Invoice 3.14": "14"} {
		require.Equal(t, want, printing.Extension(title), title)
	}
}

// outcomes are the commands of the workers, on a document in Print.
func outcomes() map[string]commands.Command[printing.Document] {
	return map[string]commands.Command[printing.Document]{
		"start": StartConversion{ID: doc}, "ready": MarkReady{ID: doc, Content: made, Format: "f"}, "fail": FailConversion{doc, "r"},
		"printed": RecordDelivery{ID: doc, ReleaseID: release}, "undelivered": RecordDelivery{ID: doc, ReleaseID: release, Failure: "r"},
		"expire": ExpireDocument{doc, spec.Now},
	}
}

// TestOutcomes says for every status and with a release under way which outcomes
// still count. All others change nothing.
func TestOutcomes(t *testing.T) {
	system := domain.System(print)
	count := map[printing.Status]string{
		printing.Received: "start ready fail expire", printing.AwaitingConversion: "start ready fail expire", printing.Converting: "ready fail expire",
		printing.Ready: "expire", printing.Failed: "expire", printing.Stored: "expire",
		printing.Printed: "", printing.Deleted: "", printing.Expired: "", printing.ConversionFailed: "expire",
	}
	require.Len(t, count, len(lives()))
	for status, events := range lives() {
		for name, cmd := range outcomes() {
			o := given[printing.Document](t, events...).As(system).When(cmd)
			if strings.Contains(count[status], name) {
				o.ThenSome()
			} else {
				o.ThenNothing()
			}
		}
	}
	everything := with(operator, func(a *domain.Actor) { a.Everything = true })
	for _, cmd := range outcomes() {
		given[printing.Document](t).As(system).When(cmd).ThenNothing()
		given[printing.Document](t, lives()[printing.Received]...).As(everything).When(cmd).ThenFault(fault.Denied)
	}
	under := given[printing.Document](t, received(pull), ready, released).As(system)
	under.When(StartConversion{ID: doc, Again: true}).ThenNothing()
	under.When(MarkReady{ID: doc, Again: true}).ThenNothing()
	under.When(FailConversion{doc, "r"}).ThenNothing()
	under.When(RecordDelivery{ID: doc, ReleaseID: id(9)}).ThenNothing()
	under.When(RecordDelivery{ID: doc, ReleaseID: id(9), Failure: "r"}).ThenNothing()
}

func TestConversion(t *testing.T) {
	begin := given[printing.Document](t, received(pull)).As(domain.System(print))
	begin.When(StartConversion{ID: doc}).Then(printing.DocumentConversionStarted{ID: doc, At: spec.Now})
	begin.When(FailConversion{doc, " damaged\n file "}).Then(printing.DocumentConversionFailed{ID: doc, Reason: "damaged file", At: spec.Now})
	begin.When(FailConversion{doc, strings.Repeat("é", 2000)}).Then(printing.DocumentConversionFailed{ID: doc, Reason: strings.Repeat("é", 999) + "…", At: spec.Now})
	cmd := MarkReady{ID: doc, Content: made, Format: "application/pdf", TotalPages: 3, ColorPages: 1, PaperSize: "A4"}
	event := with(ready, func(e *printing.DocumentReady) { e.Content, e.At = made, spec.Now })
	d := begin.When(cmd).Then(event)
	require.Equal(t, printing.Ready, d.Status)
	require.Nil(t, d.Release)

	// An operator has a failed one prepared again.
	again := given[printing.Document](t, received(pull), hopeless).As(domain.System(print))
	require.Empty(t, again.When(with(cmd, func(c *MarkReady) { c.Again = true })).Then(event).Reason)
	again.When(StartConversion{ID: doc, Again: true}).Then(printing.DocumentConversionStarted{ID: doc, At: spec.Now})
	given[printing.Document](t, received(pull), converting).As(domain.System(print)).When(StartConversion{ID: doc, Again: true}).ThenNothing()
	given[printing.Document](t, received(pull), ready, deleted).As(domain.System(print)).When(with(cmd, func(c *MarkReady) { c.Again = true })).ThenNothing()
}

// A push queue sends a document on in the append that makes it ready.
func TestPushQueuesSendOn(t *testing.T) {
	system := domain.System(print)
	begin := given[printing.Document](t, received(push)).As(system)
	cmd := MarkReady{ID: doc, Content: made, Format: "application/pdf", TotalPages: 3, ColorPages: 1, PaperSize: "A4"}
	event := with(ready, func(e *printing.DocumentReady) { e.Content, e.At = made, spec.Now })
	sent := printing.DocumentReleaseRequested{ID: doc, ReleaseID: domain.DerivedID(doc, "push"), OutputPortID: printer,
		Options: printing.JobOptions{Copies: 2, Duplex: printing.LongEdge}, Push: true, At: spec.Now}
	d := begin.When(cmd).Then(event, sent)
	require.True(t, d.Releasing())
	// What the queue is now counts: it may have become another since.
	begin.Ref(printing.InputPortStream(push), printing.InputPort{ID: push, Live: true}).When(cmd).Then(event)
	begin.Ref(printing.InputPortStream(push), printing.InputPort{ID: push, Settings: printing.InputPortSettings{Type: printing.Push, OutputPortID: &printer}}).When(cmd).Then(event)
}

func TestReleaseDocument(t *testing.T) {
	cmd := ReleaseDocument{ID: doc, ReleaseID: release, OutputPortID: printer}
	event := with(released, func(e *printing.DocumentReleaseRequested) {
		e.Options, e.At = printing.JobOptions{Copies: 2, Duplex: printing.LongEdge}, spec.Now
	})
	begin := given[printing.Document](t, received(pull), ready).As(plain(ann))
	begin.When(cmd).Then(event)
	begin.As(operator).When(cmd).Then(event)
	begin.As(plain(bob)).When(cmd).ThenFault(fault.Denied)
	begin.When(ReleaseDocument{ID: doc, ReleaseID: release, OutputPortID: printer, Copies: to[int32](5), Grayscale: to(true), Duplex: to(printing.Simplex), Retain: true}).
		Then(with(event, func(e *printing.DocumentReleaseRequested) {
			e.Options, e.Retain = printing.JobOptions{Copies: 5, Grayscale: true}, true
		}))
	for _, p := range []domain.ID{above, onFloor} {
		begin.When(with(cmd, func(c *ReleaseDocument) { c.OutputPortID = p })).Then(with(event, func(e *printing.DocumentReleaseRequested) { e.OutputPortID = p }))
	}
	for _, p := range []domain.ID{elsewhere, dismantled, id(9)} {
		begin.When(with(cmd, func(c *ReleaseDocument) { c.OutputPortID = p })).ThenFault(fault.Invalid, "address")
	}
	begin.When(ReleaseDocument{ID: doc, Copies: to[int32](-1), Duplex: to(printing.Duplex(3))}).ThenFault(fault.Invalid, "address", "copies", "duplex")
	given[printing.Document](t).When(cmd).ThenFault(fault.NotFound)
}

// TestReleasable says which documents can be sent to a printer.
func TestReleasable(t *testing.T) {
	cmd := ReleaseDocument{ID: doc, ReleaseID: id(9), OutputPortID: printer}
	for status, events := range lives() {
		o := given[printing.Document](t, events...).When(cmd)
		if status == printing.Ready || status == printing.Failed || status == printing.Stored {
			o.ThenSome()
		} else {
			require.Equal(t, CodeNotReady, o.ThenFault(fault.Conflict).Code, "%d", status)
		}
	}
	require.Equal(t, CodeNotReady, given[printing.Document](t, received(pull), ready, released).When(cmd).ThenFault(fault.Conflict).Code)
}

func TestRecordDelivery(t *testing.T) {
	begin := given[printing.Document](t, received(pull), ready, released).As(domain.System(print))
	d := begin.When(RecordDelivery{ID: doc, ReleaseID: release, PrinterJob: "17"}).Then(printing.DocumentPrinted{ID: doc, ReleaseID: release, PrinterJob: "17", At: spec.Now})
	require.Equal(t, printing.Printed, d.Status)
	require.False(t, d.Status.HasContent())
	require.Equal(t, once, d.Options, "as it was printed")
	kept := given[printing.Document](t, received(pull), ready, retained).As(domain.System(print)).When(RecordDelivery{ID: doc, ReleaseID: release}).
		Then(printing.DocumentPrinted{ID: doc, ReleaseID: release, At: spec.Now})
	require.Equal(t, printing.Stored, kept.Status)
	require.True(t, kept.Status.HasContent())
	d = begin.When(RecordDelivery{ID: doc, ReleaseID: release, Failure: "no\npaper"}).Then(printing.DocumentDeliveryFailed{ID: doc, ReleaseID: release, Reason: "no paper", At: spec.Now})
	require.Equal(t, printing.Failed, d.Status)
	require.True(t, d.Status.Releasable())
	require.False(t, d.Releasing())
}

func TestDeleteDocument(t *testing.T) {
	for status, events := range lives() {
		for _, who := range []domain.Actor{plain(ann), operator} {
			o := given[printing.Document](t, events...).As(who).When(DeleteDocument{doc})
			switch status {
			case printing.Deleted:
				o.ThenFault(fault.NotFound)
			case printing.Printed, printing.Expired:
				o.ThenFault(fault.Conflict)
			default:
				require.Equal(t, printing.Deleted, o.Then(printing.DocumentDeleted{ID: doc, At: spec.Now}).Status)
			}
		}
	}
	given[printing.Document](t, received(pull), ready, released).As(plain(ann)).When(DeleteDocument{doc}).Then(printing.DocumentDeleted{ID: doc, At: spec.Now})
	given[printing.Document](t, received(pull)).As(plain(bob)).When(DeleteDocument{doc}).ThenFault(fault.Denied)
	given[printing.Document](t).When(DeleteDocument{doc}).ThenFault(fault.NotFound)
}

func TestExpireDocument(t *testing.T) {
	system := domain.System(print)
	begin := given[printing.Document](t, received(pull), ready).As(system)
	begin.When(ExpireDocument{doc, before.Add(1)}).Then(printing.DocumentExpired{ID: doc, At: spec.Now})
	begin.When(ExpireDocument{doc, before}).ThenNothing()
	// A release that was asked for lately goes on, one that got stuck does not.
	late := with(released, func(e *printing.DocumentReleaseRequested) { e.At = spec.Now })
	given[printing.Document](t, received(pull), ready, late).As(system).When(ExpireDocument{doc, spec.Now}).ThenNothing()
	d := given[printing.Document](t, received(pull), ready, released).As(system).When(ExpireDocument{doc, spec.Now}).Then(printing.DocumentExpired{ID: doc, At: spec.Now})
	require.False(t, d.Releasing())
}

func TestRecordJob(t *testing.T) {
	begin := given[printing.Document](t).As(plain(ann))
	done := spec.Now.Add(-time.Minute)
	cmd := RecordJob{ID: doc, UserID: ann, OutputPortID: &printer, JobType: printing.Copy, Title: " Copy ", TotalPages: 4, ColorPages: 4, PaperSize: "A3", Duplex: printing.LongEdge,
		DoneAt: to(done.Add(77).In(time.FixedZone("east", 3600)))}
	event := printing.DocumentRecorded{ID: doc, OrganizationID: print, UserID: ann, OutputPortID: &printer, JobType: printing.Copy, Title: "Copy", TotalPages: 4, ColorPages: 4,
		PaperSize: "A3", Duplex: printing.LongEdge, DoneAt: done, At: spec.Now}
	d := begin.When(cmd).Then(event)
	require.Equal(t, printing.Printed, d.Status)
	begin.When(RecordJob{ID: doc, UserID: ann, JobType: printing.Fax}).
		Then(printing.DocumentRecorded{ID: doc, OrganizationID: print, UserID: ann, JobType: printing.Fax, DoneAt: spec.Now, At: spec.Now})
	begin.As(operator).When(cmd).Then(event)
	begin.As(plain(bob)).When(cmd).ThenFault(fault.Denied)
	given[printing.Document](t, event).When(cmd).ThenFault(fault.Conflict)
	begin.As(operator).When(RecordJob{ID: doc, OrganizationID: gone, UserID: zoe, OutputPortID: &elsewhere, JobType: "print", TotalPages: -1, ColorPages: 1,
		PaperSize: strings.Repeat("x", 65), Title: "\x00", Duplex: 3, DoneAt: to(spec.Now.Add(25 * time.Hour))}).
		ThenFault(fault.Invalid, "domainname", "username", "serialnumber", "jobtype", "totalpages", "colorpages", "papersize", "title", "duplex", "datetime")
	begin.When(with(cmd, func(c *RecordJob) { c.ColorPages = 5 })).ThenFault(fault.Invalid, "colorpages")
	begin.When(with(cmd, func(c *RecordJob) { c.DoneAt = &time.Time{} })).ThenFault(fault.Invalid, "datetime")
}
