package printer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/OpenPrinting/goipp"
)

// client speaks to one printer for one delivery.
type client struct {
	carrier
	http     *http.Client
	endpoint string // where requests go
	printer  string // the printer's own name of itself, without credentials
	user     *url.Userinfo
	version  goipp.Version
	job      Job
	id       uint32          // of the last request
	without  map[string]bool // options that the printer does not have, by IPP's names
}

// ipp validates, prints, and waits for the end of the job.
func (c carrier) ipp(ctx context.Context, target Target, job Job, open Source) (Receipt, error) {
	p, err := c.client(target, job)
	if err != nil {
		return Receipt{}, err
	}
	defer p.http.CloseIdleConnections()
	// A printer that refuses a job may close while the document is still being sent,
	// and the refusal is lost. So it is asked first.
	if err := p.validate(ctx); err != nil {
		return Receipt{}, err
	}
	if job.Repeat {
		found, err := p.find(ctx)
		if err != nil {
			return Receipt{}, err
		}
		if found != 0 {
			return p.await(ctx, Receipt{PrinterJob: strconv.Itoa(found), Found: true}, found)
		}
	}
	return p.print(ctx, open)
}

func (c carrier) client(target Target, job Job) (*client, error) {
	u, err := parseURL(target.URL)
	if err != nil {
		return nil, err
	}
	p := &client{carrier: c, user: u.User, version: goipp.MakeVersion(2, 0), job: job, without: map[string]bool{}}
	u.User = nil
	at := *u
	secure := u.Scheme == "ipps" || u.Scheme == "https"
	at.Scheme = "http"
	if secure {
		at.Scheme = "https"
	}
	if at.Port() == "" && (u.Scheme == "ipp" || u.Scheme == "ipps") {
		at.Host = net.JoinHostPort(u.Hostname(), "631")
	}
	u.Scheme = strings.Replace(strings.Replace(u.Scheme, "https", "ipps", 1), "http", "ipp", 1)
	p.endpoint, p.printer = at.String(), u.String()
	p.http = &http.Client{
		Transport: &http.Transport{
			DialContext:           c.connect,
			TLSClientConfig:       &tls.Config{InsecureSkipVerify: target.AnyCertificate}, // the administrator's choice
			TLSHandshakeTimeout:   c.dial,
			ResponseHeaderTimeout: c.stall,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// jobName is how the job is found again. Printers cut long names.
func (p *client) jobName() string {
	name := strings.ToValidUTF8(spoolTitle(p.job), "_")
	for len(name) > 80 {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name + " #" + p.job.ID
}

// request begins a request to the printer.
func (p *client) request(op goipp.Op) *goipp.Message {
	p.id++
	m := goipp.NewRequest(p.version, op, p.id)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String(p.printer)))
	return m
}

// requester says on whose behalf a request is made. In requests about a job it
// has to come after the job's id.
func (p *client) requester(m *goipp.Message) {
	if p.job.User != "" {
		m.Operation.Add(goipp.MakeAttribute("requesting-user-name", goipp.TagName, goipp.String(p.job.User)))
	}
}

// ticket is a request with the job's options.
func (p *client) ticket(op goipp.Op) *goipp.Message {
	m := p.request(op)
	p.requester(m)
	m.Operation.Add(goipp.MakeAttribute("job-name", goipp.TagName, goipp.String(p.jobName())))
	m.Operation.Add(goipp.MakeAttribute("ipp-attribute-fidelity", goipp.TagBoolean, goipp.Boolean(false)))
	m.Operation.Add(goipp.MakeAttribute("document-format", goipp.TagMimeType, goipp.String(p.job.Format)))
	option := func(wanted bool, name string, tag goipp.Tag, value goipp.Value) {
		if wanted && !p.without[name] {
			m.Job.Add(goipp.MakeAttribute(name, tag, value))
		}
	}
	sides, media := sides(p.job.Duplex), mediaName(p.job.Media)
	option(p.job.Copies > 1, "copies", goipp.TagInteger, goipp.Integer(p.job.Copies))
	option(sides != "", "sides", goipp.TagKeyword, goipp.String(sides))
	option(media != "", "media", goipp.TagKeyword, goipp.String(media))
	option(p.job.Grayscale, "print-color-mode", goipp.TagKeyword, goipp.String("monochrome"))
	return m
}

// validate asks whether the printer would take the job. It settles on a version
// of the protocol, and leaves out options that make the printer refuse the job. A
// printer that cannot be asked is taken to say yes.
func (p *client) validate(ctx context.Context) error {
	for {
		answer, err := p.send(ctx, p.ticket(goipp.OpValidateJob), nil)
		if err != nil {
			return err
		}
		switch status := goipp.Status(answer.Code); {
		case status == goipp.StatusErrorOperationNotSupported:
			return nil
		case status == goipp.StatusErrorVersionNotSupported && p.version.Major() > 1:
			p.version = goipp.MakeVersion(1, 1)
			continue
		case status == goipp.StatusErrorAttributesOrValues && p.leaveOut(answer):
			continue
		}
		if err := statusError(answer); err != nil {
			return err
		}
		return nil
	}
}

// leaveOut notes the options that a printer refuses, and tells whether there is one
// that it has not refused before.
func (p *client) leaveOut(answer *goipp.Message) bool {
	more := false
	for _, a := range answer.Unsupported {
		if _, ours := options[a.Name]; ours && !p.without[a.Name] {
			p.without[a.Name], more = true, true
		}
	}
	return more
}

// print sends the document. What comes after it has a job's id, or may have one.
func (p *client) print(ctx context.Context, open Source) (Receipt, error) {
	d, err := openDocument(ctx, open)
	if err != nil {
		return Receipt{}, err
	}
	defer d.Close()
	answer, err := p.send(ctx, p.ticket(goipp.OpPrintJob), d)
	if err != nil {
		if d.err != nil && ctx.Err() == nil {
			return Receipt{}, fmt.Errorf("printer: document: %w", d.err)
		}
		return Receipt{}, err
	}
	if err := statusError(answer); err != nil {
		return Receipt{}, err
	}
	receipt := Receipt{Bytes: d.sent, Ignored: p.ignored(answer)}
	id := integer(answer.Job, "job-id")
	if id == 0 {
		return receipt, nil // taken, and nothing to ask for
	}
	receipt.PrinterJob = strconv.Itoa(id)
	return p.await(ctx, receipt, id)
}

// options are ours by IPP's names.
var options = map[string]string{"copies": "copies", "sides": "duplex", "print-color-mode": "grayscale", "media": "media"}

// ignored are the options that were left out, or that the printer says it did not regard.
func (p *client) ignored(answer *goipp.Message) (ignored []string) {
	p.leaveOut(answer)
	if p.job.Media != "" && mediaName(p.job.Media) == "" {
		p.without["media"] = true
	}
	for name := range p.without {
		ignored = append(ignored, options[name])
	}
	slices.Sort(ignored)
	return ignored
}

// find looks for the job of an earlier attempt; 0 if there is none. A printer that
// does not list its jobs cannot be helped: the job is printed, perhaps again.
func (p *client) find(ctx context.Context) (int, error) {
	for _, which := range []string{"not-completed", "completed"} {
		m := p.request(goipp.OpGetJobs)
		p.requester(m)
		m.Operation.Add(goipp.MakeAttribute("which-jobs", goipp.TagKeyword, goipp.String(which)))
		m.Operation.Add(goipp.MakeAttr("requested-attributes", goipp.TagKeyword, goipp.String("job-id"), goipp.String("job-name")))
		answer, err := p.send(ctx, m, nil)
		if err != nil {
			return 0, err
		}
		if err := statusError(answer); err != nil {
			if err.Temporary {
				return 0, err
			}
			continue
		}
		for _, group := range answer.AttrGroups() {
			if group.Tag == goipp.TagJobGroup && strings.HasSuffix(text(group.Attrs, "job-name"), "#"+p.job.ID) {
				return integer(group.Attrs, "job-id"), nil
			}
		}
	}
	return 0, nil
}

// States of a job, RFC 8011 5.3.7.
const (
	jobCanceled  = 7
	jobAborted   = 8
	jobCompleted = 9
)

// patience is how many looks at a job in a row may fail.
const patience = 5

// await looks at a job until it has ended.
func (p *client) await(ctx context.Context, receipt Receipt, id int) (Receipt, error) {
	failures, said := 0, "" // what the printer said at the last look that it answered
	var last error
	for wait := p.poll; ; wait = min(wait*3/2, p.slow) {
		state, reasons, err := p.look(ctx, id)
		var e *Error
		switch {
		case err == nil && state == jobCompleted:
			receipt.Confirmed = true
			return receipt, nil
		case err == nil && state == jobCanceled:
			return Receipt{}, &Error{Reached: true, Reason: "the job was canceled at the printer" + reasons}
		case err == nil && state == jobAborted:
			return Receipt{}, &Error{Reached: true, Reason: "the printer gave up the job" + reasons}
		case errors.As(err, &e) && !e.Temporary:
			return receipt, nil // forgotten already, or not ours to see: it was taken
		case err != nil:
			if failures, last = failures+1, err; failures >= patience {
				return Receipt{}, &Error{Temporary: true, Reached: true, Reason: "the printer took the job and no longer answers", Cause: err}
			}
		default:
			failures, last, said = 0, nil, reasons
		}
		select {
		case <-ctx.Done():
			return Receipt{}, &Error{Temporary: true, Reached: true, Reason: "the printer has not finished the job in time" + said, Cause: errors.Join(ctx.Err(), last)}
		case <-time.After(wait):
		}
	}
}

// look asks for the state of a job.
func (p *client) look(ctx context.Context, id int) (state int, reasons string, err error) {
	m := p.request(goipp.OpGetJobAttributes)
	m.Operation.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(id)))
	p.requester(m)
	m.Operation.Add(goipp.MakeAttr("requested-attributes", goipp.TagKeyword, goipp.String("job-state"), goipp.String("job-state-reasons")))
	answer, err := p.send(ctx, m, nil)
	if err != nil {
		return 0, "", err
	}
	if err := statusError(answer); err != nil {
		return 0, "", err
	}
	return integer(answer.Job, "job-state"), because(answer.Job), nil
}

// because are the reasons of a job's state for people.
func because(attrs goipp.Attributes) string {
	var reasons []string
	for _, a := range attrs {
		if a.Name != "job-state-reasons" {
			continue
		}
		for _, v := range a.Values {
			if reason := clean(v.V.String()); reason != "none" && reason != "" {
				reasons = append(reasons, reason)
			}
		}
	}
	if len(reasons) == 0 {
		return ""
	}
	return " (" + strings.Join(reasons, ", ") + ")"
}

// clean keeps what a keyword consists of, and not too much of it: it comes from the
// printer and goes to the user.
func clean(keyword string) string {
	keyword = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, keyword)
	return keyword[:min(len(keyword), 60)]
}

const maxAnswer = 16 << 20

// send makes a request, followed by a document if there is one.
func (p *client) send(ctx context.Context, m *goipp.Message, d *document) (*goipp.Message, error) {
	head, err := m.EncodeBytes()
	if err != nil {
		return nil, &Error{Reason: "the job cannot be described to the printer", Cause: err}
	}
	var content io.Reader = bytes.NewReader(head)
	length := int64(len(head))
	if d != nil {
		content = io.MultiReader(content, io.NopCloser(d))
		length = -1
		if d.size >= 0 {
			length = int64(len(head)) + d.size
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.endpoint, content)
	if err != nil {
		return nil, &Error{Reason: "the printer's URL is not one", Cause: err}
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", goipp.ContentType)
	r.Header.Set("Accept", goipp.ContentType)
	if p.user != nil {
		password, _ := p.user.Password()
		r.SetBasicAuth(p.user.Username(), password)
	}
	var sending *body
	if d != nil {
		// A connection that the printer is about to close would cost the job an attempt.
		p.http.CloseIdleConnections()
		sending = &body{Reader: r.Body, closed: make(chan struct{})}
		r.Body = sending
	}
	answer, err := p.http.Do(r)
	if err != nil {
		sending.wait()
		return nil, connectionError(err, d != nil && d.sent > 0)
	}
	defer sending.wait()
	defer answer.Body.Close()
	return decode(answer, d != nil)
}

// body tells when it is no longer read: answers may come before that.
type body struct {
	io.Reader
	once   sync.Once
	closed chan struct{}
}

func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// wait waits for that. It is nil where there is no document.
func (b *body) wait() {
	if b != nil {
		<-b.closed
	}
}

func decode(answer *http.Response, printed bool) (*goipp.Message, error) {
	if answer.StatusCode != http.StatusOK {
		return nil, httpError(answer.StatusCode)
	}
	var m goipp.Message
	if err := m.Decode(io.LimitReader(answer.Body, maxAnswer)); err != nil {
		if timedOut(err) {
			return nil, connectionError(err, printed)
		}
		return nil, &Error{Temporary: printed, Reached: printed, Reason: "the printer's answer is not IPP", Cause: err}
	}
	return &m, nil
}

func httpError(status int) *Error {
	cause := fmt.Errorf("HTTP status %d", status)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &Error{Reason: "the printer does not accept our credentials", Cause: cause}
	case status == http.StatusNotFound:
		return &Error{Reason: "there is no printer at this URL", Cause: cause}
	case status == http.StatusUpgradeRequired:
		return &Error{Reason: "the printer wants an encrypted connection (ipps)", Cause: cause}
	case status >= 300 && status < 400:
		return &Error{Reason: "the printer's URL leads elsewhere", Cause: cause}
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return &Error{Temporary: true, Reason: "the printer is not ready", Cause: cause}
	}
	return &Error{Reason: "the printer refuses the request", Cause: cause}
}

// temporary are the statuses that pass.
var temporary = map[goipp.Status]bool{
	goipp.StatusErrorTimeout: true, goipp.StatusErrorInternal: true, goipp.StatusErrorServiceUnavailable: true, goipp.StatusErrorDevice: true,
	goipp.StatusErrorTemporary: true, goipp.StatusErrorNotAcceptingJobs: true, goipp.StatusErrorBusy: true, goipp.StatusErrorPrinterIsDeactivated: true,
	goipp.StatusErrorTooManyJobs: true,
}

var refusals = map[goipp.Status]string{
	goipp.StatusErrorDocumentFormatNotSupported: "the printer does not take this format",
	goipp.StatusErrorDocumentFormatError:        "the printer cannot read the document",
	goipp.StatusErrorDocumentUnprintable:        "the printer cannot print the document",
	goipp.StatusErrorForbidden:                  "the printer does not allow this user to print",
	goipp.StatusErrorNotAuthenticated:           "the printer does not accept our credentials",
	goipp.StatusErrorNotAuthorized:              "the printer does not allow this user to print",
	goipp.StatusErrorNotFound:                   "there is no printer at this URL",
	goipp.StatusErrorRequestEntity:              "the document is too large for the printer",
	goipp.StatusErrorBusy:                       "the printer is busy",
	goipp.StatusErrorNotAcceptingJobs:           "the printer takes no jobs at the moment",
}

// statusError is nil for an answer that says yes.
func statusError(answer *goipp.Message) *Error {
	status := goipp.Status(answer.Code)
	if status < goipp.StatusRedirectionOtherSite {
		return nil
	}
	reason, ok := refusals[status]
	if !ok {
		reason = "the printer answers " + status.String()
	}
	if value(answer.Unsupported, "document-format") != nil {
		reason = refusals[goipp.StatusErrorDocumentFormatNotSupported]
	}
	return &Error{Temporary: temporary[status], Reason: reason, Cause: fmt.Errorf("IPP status %s: %s", status, text(answer.Operation, "status-message"))}
}

func value(attrs goipp.Attributes, name string) goipp.Value {
	for _, a := range attrs {
		if a.Name == name && len(a.Values) > 0 {
			return a.Values[0].V
		}
	}
	return nil
}

func integer(attrs goipp.Attributes, name string) int {
	n, _ := value(attrs, name).(goipp.Integer)
	return int(n)
}

func text(attrs goipp.Attributes, name string) string {
	switch v := value(attrs, name).(type) {
	case goipp.String:
		return string(v)
	case goipp.TextWithLang:
		return v.Text
	}
	return ""
}
