package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
)

// bodyStall is how long the client may take for the next piece of a body.
const bodyStall = 15 * time.Second

// bodyReader is a request body within its limit. Its errors are faults. The read
// deadline moves on while bytes arrive, though not beyond the operation's time,
// and is taken away at the end: left alone it would cancel the context of a
// handler that works longer than it. A body that is not read to its end keeps the
// deadline, since net/http reads on before it answers.
type bodyReader struct {
	io.ReadCloser
	req   *Request
	limit int64
	left  int64
	until time.Time // zero for no end
}

func (b *bodyReader) Read(p []byte) (int, error) {
	b.req.w.awaitBody(b.until)
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if err == io.EOF {
		b.req.w.bodyArrived()
	}
	switch {
	case b.left < 0:
		return 0, b.stop(fault.New(fault.TooLarge, "body.too-large", "the body is larger than %d bytes", b.limit))
	case err == nil || err == io.EOF:
		return n, err
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return n, b.stop(fault.New(fault.Invalid, "body.late", "the body did not arrive in time"))
	}
	return n, b.stop(fault.New(fault.Invalid, "body.unreadable", "the body ended early or could not be read"))
}

func (b *bodyReader) stop(f *fault.Error) error {
	b.req.body = f
	return f
}

// limitBody puts the operation's limits of size and time on the body. A negative
// size is none.
func limitBody(ctx context.Context, r *http.Request, req *Request, limit int64) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return WithStatus(http.StatusUnsupportedMediaType, fault.New(fault.Invalid, "body.coding", "the body must come without a Content-Encoding"))
	}
	if limit < 0 {
		limit = math.MaxInt64
	}
	if r.ContentLength > limit {
		return fault.New(fault.TooLarge, "body.too-large", "the body is larger than %d bytes", limit)
	}
	until, _ := ctx.Deadline()
	r.Body = &bodyReader{ReadCloser: r.Body, req: req, limit: limit, left: limit, until: until}
	return nil
}

// jsonCheck judges a JSON body before huma decodes it: media type, syntax,
// members written twice, null, and the schema. It is huma's validation with the
// gaps closed, and it collects the problems so that those of parameters can join
// them in one answer.
type jsonCheck struct {
	op       *Operation
	registry huma.Registry
	body     *huma.RequestBody
	shape    *shape

	form      fieldTypes // of a form, else nil
	foldNames bool
	upload    *upload      // that the form comes with
	members   *huma.Schema // of a form
}

var bodyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// run leaves the problems in req and the body in r for the next reader. The
// returned function gives the buffer back.
func (c *jsonCheck) run(r *http.Request, req *Request) (func(), error) {
	buffer := bodyBuffers.Get().(*bytes.Buffer)
	buffer.Reset()
	release := func() {
		if buffer.Cap() <= DefaultMaxBody {
			bodyBuffers.Put(buffer)
		}
	}
	data, err := c.read(r, req, buffer)
	if err != nil {
		return release, err
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	if len(bytes.TrimSpace(data)) == 0 {
		r.Body = http.NoBody
		if c.body.Required {
			return release, fault.New(fault.Invalid, "body.missing", "a JSON body is required")
		}
		return release, nil
	}
	if !c.op.AnyType && !isJSON(r.Header.Get("Content-Type")) {
		return release, WithStatus(http.StatusUnsupportedMediaType, fault.New(fault.Invalid, "body.type", "the body must be application/json"))
	}
	r.Header["Content-Type"] = jsonType
	if !utf8.Valid(data) {
		// A decoder would put replacement characters in place of what was sent.
		return release, fault.New(fault.Invalid, "body.malformed", "the body is not UTF-8")
	}
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return release, malformed(err)
	}
	req.problems = append(req.problems, checkShape(data, c.shape)...)
	c.validate(value, req)
	return release, nil
}

// read gives the body as JSON, whatever it was sent as.
func (c *jsonCheck) read(r *http.Request, req *Request, buffer *bytes.Buffer) ([]byte, error) {
	contentType := r.Header.Get("Content-Type")
	if c.form != nil {
		r.Header = maps.Clone(r.Header) // the handler may ask what was sent
	}
	if c.upload != nil {
		r.Header["Content-Type"] = jsonType
		return c.uploadBody(r, contentType, req)
	}
	if r.Body != nil {
		if _, err := buffer.ReadFrom(r.Body); err != nil {
			return nil, err
		}
	}
	if c.form == nil {
		return buffer.Bytes(), nil
	}
	req.form = buffer.Bytes()
	data, err := c.formBody(req.form, contentType, req)
	if err == nil {
		r.Header["Content-Type"] = jsonType
	}
	return data, err
}

var jsonType = []string{"application/json"}

// maxProblems is how many problems with a body are told: a long list of wrong
// items must not cost more than it did to send.
const maxProblems = 100

// validate adds what the schema refuses, but for what is reported already.
func (c *jsonCheck) validate(value any, req *Request) {
	schema := c.schema()
	if schema == nil {
		return
	}
	path := huma.NewPathBuffer(make([]byte, 0, 64), 0)
	path.Push("body")
	var result huma.ValidateResult
	huma.Validate(c.registry, schema, path, huma.ModeWriteToServer, value, &result)
next:
	for _, err := range result.Errors {
		var d huma.ErrorDetailer
		if !errors.As(err, &d) {
			continue
		}
		x := field(d.ErrorDetail())
		for _, known := range req.problems {
			if known.Path == x.Path && known.In == x.In {
				continue next
			}
		}
		if len(req.problems) >= maxProblems {
			return
		}
		req.problems = append(req.problems, x)
	}
}

func (c *jsonCheck) schema() *huma.Schema {
	if c.members != nil {
		return c.members
	}
	if m := c.body.Content["application/json"]; m != nil {
		return m.Schema
	}
	return nil
}

// isJSON accepts application/json, text/json and anything +json. No type at all
// is taken for JSON.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"))
}

func malformed(err error) *fault.Error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fault.New(fault.Invalid, "body.malformed", "the body is not well-formed JSON (at byte %d)", syntax.Offset)
	}
	return fault.New(fault.Invalid, "body.malformed", "the body is not well-formed JSON")
}
