package printer

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/stretchr/testify/require"
)

// fakePrinter answers IPP as a test tells it to: by operation, then by what a plain
// printer would say.
type fakePrinter struct {
	*httptest.Server
	answers map[goipp.Op]func(r *goipp.Message) *goipp.Message

	mu       sync.Mutex
	requests []*goipp.Message
	printed  []string
}

func newPrinter(t *testing.T) *fakePrinter {
	f := &fakePrinter{answers: map[goipp.Op]func(*goipp.Message) *goipp.Message{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakePrinter) target() Target {
	return Target{Protocol: IPP, URL: strings.Replace(f.URL, "http://", "http://ada:secret@", 1)}
}

func (f *fakePrinter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m goipp.Message
	if user, password, _ := r.BasicAuth(); user != "ada" || password != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path != "/ipp/print" || m.Decode(r.Body) != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, &m)
	f.mu.Unlock()
	answer := f.answers[goipp.Op(m.Code)]
	if answer == nil {
		answer = f.plain
	}
	if goipp.Op(m.Code) == goipp.OpPrintJob {
		document, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.printed = append(f.printed, string(document))
		f.mu.Unlock()
	}
	reply := answer(&m)
	if reply == nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", goipp.ContentType)
	reply.Encode(w)
}

func (f *fakePrinter) plain(r *goipp.Message) *goipp.Message {
	switch goipp.Op(r.Code) {
	case goipp.OpPrintJob:
		return job(r, 12, 5)
	case goipp.OpGetJobAttributes:
		return job(r, 12, jobCompleted)
	}
	return reply(r, goipp.StatusOk)
}

func reply(r *goipp.Message, status goipp.Status) *goipp.Message {
	return goipp.NewResponse(r.Version, status, r.RequestID)
}

func job(r *goipp.Message, id, state int, reasons ...string) *goipp.Message {
	m := reply(r, goipp.StatusOk)
	m.Job.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(id)))
	m.Job.Add(goipp.MakeAttribute("job-state", goipp.TagEnum, goipp.Integer(state)))
	for _, reason := range reasons {
		m.Job.Add(goipp.MakeAttribute("job-state-reasons", goipp.TagKeyword, goipp.String(reason)))
	}
	return m
}

// always answers with a status.
func always(status goipp.Status) func(*goipp.Message) *goipp.Message {
	return func(r *goipp.Message) *goipp.Message { return reply(r, status) }
}

// ops are the operations that were asked for, in order.
func (f *fakePrinter) ops() (all []goipp.Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		all = append(all, goipp.Op(r.Code))
	}
	return all
}

func TestIPPRequests(t *testing.T) {
	f := newPrinter(t)
	j := Job{ID: "0198-7", Name: strings.Repeat("ü", 100), User: "ada", Format: "application/pdf", Copies: 2, Duplex: Simplex, Grayscale: true, Media: "Letter"}
	receipt, err := quick.deliver(t.Context(), f.target(), j, from("%PDF"))
	require.NoError(t, err)
	require.Equal(t, Receipt{PrinterJob: "12", Bytes: 4, Confirmed: true}, receipt)
	require.Equal(t, []string{"%PDF"}, f.printed)
	require.Equal(t, []goipp.Op{goipp.OpValidateJob, goipp.OpPrintJob, goipp.OpGetJobAttributes}, f.ops())
	r := f.requests[1]
	require.Equal(t, "ipp://"+strings.TrimPrefix(f.URL, "http://")+"/ipp/print", text(r.Operation, "printer-uri"))
	require.Equal(t, strings.Repeat("ü", 40)+" #0198-7", text(r.Operation, "job-name"))
	require.Equal(t, "ada", text(r.Operation, "requesting-user-name"))
	require.Equal(t, "application/pdf", text(r.Operation, "document-format"))
	require.Equal(t, 2, integer(r.Job, "copies"))
	require.Equal(t, "one-sided", text(r.Job, "sides"))
	require.Equal(t, "monochrome", text(r.Job, "print-color-mode"))
	require.Equal(t, "na_letter_8.5x11in", text(r.Job, "media"))
	require.Equal(t, 12, integer(f.requests[2].Operation, "job-id"))
}

func TestIPPEndsOfAJob(t *testing.T) {
	for state, reason := range map[int]string{jobCanceled: "the job was canceled at the printer (media-jam-error)", jobAborted: "the printer gave up the job (media-jam-error)"} {
		f := newPrinter(t)
		looks := 0
		f.answers[goipp.OpGetJobAttributes] = func(r *goipp.Message) *goipp.Message {
			if looks++; looks < 4 {
				return job(r, 12, 5)
			}
			return job(r, 12, state, "media-jam-error", "none")
		}
		_, err := quick.deliver(t.Context(), f.target(), Job{ID: "1"}, from("x"))
		e := requireError(t, err, false, reason)
		require.True(t, e.Reached)
		require.Equal(t, 4, looks)
	}
	// A printer that has forgotten the job has taken it.
	f := newPrinter(t)
	f.answers[goipp.OpGetJobAttributes] = always(goipp.StatusErrorNotFound)
	receipt, err := quick.deliver(t.Context(), f.target(), Job{ID: "1"}, from("x"))
	require.NoError(t, err)
	require.Equal(t, Receipt{PrinterJob: "12", Bytes: 1}, receipt)
	// One that is gone for good has not said so.
	f.answers[goipp.OpGetJobAttributes] = always(goipp.StatusErrorServiceUnavailable)
	_, err = quick.deliver(t.Context(), f.target(), Job{ID: "1"}, from("x"))
	require.True(t, requireError(t, err, true, "no longer answers").Reached)
	// And one that is out of paper may print later.
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	f.answers[goipp.OpGetJobAttributes] = func(r *goipp.Message) *goipp.Message {
		if looks++; looks == 3 {
			cancel()
		}
		return job(r, 12, 6, "printer-stopped")
	}
	_, err = quick.deliver(ctx, f.target(), Job{ID: "1"}, from("x"))
	require.True(t, requireError(t, err, true, "not finished the job in time (printer-stopped)").Reached)
	require.ErrorIs(t, err, context.Canceled)
}

func TestIPPPrintsOnce(t *testing.T) {
	jobs := func(r *goipp.Message) *goipp.Message {
		var groups goipp.Groups
		groups.Add(goipp.Group{Tag: goipp.TagOperationGroup})
		if text(r.Operation, "which-jobs") == "completed" {
			for id, name := range []string{"other #A", "mine #A-1", "mine #A-2"} {
				g := goipp.Group{Tag: goipp.TagJobGroup}
				g.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(id)))
				g.Add(goipp.MakeAttribute("job-name", goipp.TagName, goipp.String(name)))
				groups.Add(g)
			}
		}
		return goipp.NewMessageWithGroups(r.Version, goipp.Code(goipp.StatusOk), r.RequestID, groups)
	}
	f := newPrinter(t)
	f.answers[goipp.OpGetJobs] = jobs
	receipt, err := quick.deliver(t.Context(), f.target(), Job{ID: "A-1", Name: "mine", Repeat: true}, from("x"))
	require.NoError(t, err)
	require.Equal(t, Receipt{PrinterJob: "1", Found: true, Confirmed: true}, receipt)
	require.Empty(t, f.printed)
	// Another's job is not ours; the first attempt doesn't look.
	for _, j := range []Job{{ID: "A-3", Repeat: true}, {ID: "A-1"}} {
		receipt, err = quick.deliver(t.Context(), f.target(), j, from("x"))
		require.NoError(t, err)
		require.False(t, receipt.Found)
	}
	require.Len(t, f.printed, 2)
	// What can't be known for the moment is asked again; what never can, is printed.
	f.answers[goipp.OpGetJobs] = always(goipp.StatusErrorBusy)
	_, err = quick.deliver(t.Context(), f.target(), Job{ID: "A-1", Repeat: true}, from("x"))
	requireError(t, err, true, "busy")
	f.answers[goipp.OpGetJobs] = always(goipp.StatusErrorNotAuthorized)
	_, err = quick.deliver(t.Context(), f.target(), Job{ID: "A-1", Repeat: true}, from("x"))
	require.NoError(t, err)
	require.Len(t, f.printed, 3)
}

func TestIPPRefusals(t *testing.T) {
	for status, temporary := range map[goipp.Status]bool{
		goipp.StatusErrorDocumentFormatNotSupported: false, goipp.StatusErrorNotAuthorized: false, goipp.StatusErrorNotFound: false, goipp.StatusErrorBadRequest: false,
		goipp.StatusErrorBusy: true, goipp.StatusErrorNotAcceptingJobs: true, goipp.StatusErrorTemporary: true, goipp.StatusErrorServiceUnavailable: true,
	} {
		for _, op := range []goipp.Op{goipp.OpValidateJob, goipp.OpPrintJob} {
			f := newPrinter(t)
			f.answers[op] = always(status)
			_, err := quick.deliver(t.Context(), f.target(), Job{ID: "1"}, stream(100_000))
			require.Equal(t, temporary, Temporary(err), status)
			require.False(t, Reached(err), status)
			require.NotContains(t, err.Error(), "secret")
			require.Equal(t, op == goipp.OpPrintJob, len(f.printed) > 0)
		}
	}
}

func TestIPPOldPrinters(t *testing.T) {
	f := newPrinter(t)
	f.answers[goipp.OpValidateJob] = func(r *goipp.Message) *goipp.Message {
		if r.Version.Major() > 1 {
			return reply(r, goipp.StatusErrorVersionNotSupported)
		}
		return reply(r, goipp.StatusErrorOperationNotSupported)
	}
	f.answers[goipp.OpPrintJob] = func(r *goipp.Message) *goipp.Message {
		require.Equal(t, goipp.MakeVersion(1, 1), r.Version)
		m := job(r, 12, 9)
		m.Code = goipp.Code(goipp.StatusOkIgnoredOrSubstituted)
		m.Unsupported.Add(goipp.MakeAttribute("sides", goipp.TagKeyword, goipp.String("two-sided-long-edge")))
		m.Unsupported.Add(goipp.MakeAttribute("something", goipp.TagKeyword, goipp.String("else")))
		return m
	}
	receipt, err := quick.deliver(t.Context(), f.target(), Job{ID: "1", Duplex: LongEdge}, from("x"))
	require.NoError(t, err)
	require.Equal(t, []string{"duplex"}, receipt.Ignored)
}

func TestIPPNoPrinter(t *testing.T) {
	f := newPrinter(t)
	target := f.target()
	target.URL = strings.Replace(target.URL, "secret", "wrong", 1)
	_, err := quick.deliver(t.Context(), target, Job{}, from("x"))
	requireError(t, err, false, "credentials")
	target = f.target()
	target.URL += "/printers/none"
	_, err = quick.deliver(t.Context(), target, Job{}, from("x"))
	requireError(t, err, false, "no printer at this URL")
	f.answers[goipp.OpValidateJob] = func(*goipp.Message) *goipp.Message { return nil }
	_, err = quick.deliver(t.Context(), f.target(), Job{}, from("x"))
	require.True(t, Temporary(err))
	for body, temporary := range map[string]bool{"<html>": false, "": false} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }))
		_, err = quick.deliver(t.Context(), Target{Protocol: IPP, URL: web.URL}, Job{}, from("x"))
		requireError(t, err, temporary, "not IPP")
		web.Close()
		_, err = quick.deliver(t.Context(), Target{Protocol: IPP, URL: strings.Replace(web.URL, "http", "ipp", 1)}, Job{}, from("x"))
		requireError(t, err, true, "refuses connections")
	}
	for status, temporary := range map[int]bool{301: false, 403: false, 400: false, 426: false, 503: true, 429: true} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}))
		_, err = quick.deliver(t.Context(), Target{Protocol: IPP, URL: web.URL}, Job{}, from("x"))
		requireError(t, err, temporary, "printer")
		web.Close()
	}
}

func TestIPPBreaksOffWhilePrinting(t *testing.T) {
	f := newPrinter(t)
	f.answers[goipp.OpPrintJob] = func(*goipp.Message) *goipp.Message { return nil }
	_, err := quick.deliver(t.Context(), f.target(), Job{}, from("x"))
	require.True(t, Temporary(err))
	require.True(t, Reached(err))
	// A document that breaks off is not printed.
	f = newPrinter(t)
	_, err = quick.deliver(t.Context(), f.target(), Job{}, broken)
	require.ErrorIs(t, err, errBroken)
	_, err = quick.deliver(t.Context(), f.target(), Job{}, func() (io.ReadCloser, int64, error) {
		r, _, err := broken()
		return r, -1, err
	})
	require.ErrorIs(t, err, errBroken)
	require.Empty(t, f.printed)
}

func TestIPPStalls(t *testing.T) {
	over := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-over }))
	defer web.Close()
	defer close(over)
	c := quick
	c.stall = 100 * time.Millisecond
	_, err := c.deliver(t.Context(), Target{Protocol: IPP, URL: web.URL}, Job{}, from("x"))
	requireError(t, err, true, "does not answer")
}

func TestIPPS(t *testing.T) {
	f := &fakePrinter{answers: map[goipp.Op]func(*goipp.Message) *goipp.Message{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the certificate
	f.StartTLS()
	defer f.Close()
	target := Target{Protocol: IPP, URL: strings.Replace(f.URL, "https://", "ipps://ada:secret@", 1)}
	_, err := quick.deliver(t.Context(), target, Job{}, from("x"))
	requireError(t, err, false, "certificate is not trusted")
	target.AnyCertificate = true
	_, err = quick.deliver(t.Context(), target, Job{}, from("x"))
	require.NoError(t, err)
	require.Equal(t, "ipps://"+strings.TrimPrefix(f.URL, "https://")+"/ipp/print", text(f.requests[0].Operation, "printer-uri"))
	plain := newPrinter(t)
	_, err = quick.deliver(t.Context(), Target{Protocol: IPP, URL: strings.Replace(plain.URL, "http", "ipps", 1)}, Job{}, from("x"))
	requireError(t, err, false, "does not speak TLS")
}

// Answers of any shape end in an error or a receipt.
func TestIPPOddAnswers(t *testing.T) {
	m := goipp.NewResponse(goipp.MakeVersion(2, 0), goipp.StatusOk, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Job.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(3)))
	m.Job.Add(goipp.MakeAttribute("job-state", goipp.TagEnum, goipp.Integer(jobCompleted)))
	m.Job.Add(goipp.MakeAttribute("job-state-reasons", goipp.TagKeyword, goipp.String("none")))
	whole, err := m.EncodeBytes()
	require.NoError(t, err)
	var answer atomic.Value
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(answer.Load().([]byte)) }))
	defer web.Close()
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x15
		for _, variant := range [][]byte{whole[:i], changed} {
			answer.Store(variant)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			receipt, err := quick.deliver(ctx, Target{Protocol: IPP, URL: web.URL}, Job{ID: "1", Repeat: true}, from("x"))
			cancel()
			if err != nil {
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Zero(t, receipt)
			}
		}
	}
}
