package httpx

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"unicode/utf8"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
)

// Bounds of what an upload holds beside its file.
const (
	maxPart  = 64 << 10 // bytes of one field
	maxParts = 200
)

// File is the part of an upload that is handed on while it arrives.
type File[F any] struct {
	Name string // of the part
	// Take reads the content to its end and makes of it what the handler is given.
	// It may be called before the other fields have arrived, and for an upload that
	// is refused in the end.
	Take func(ctx context.Context, fileName string, content io.Reader) (F, error)
}

// upload is a File whatever is made of it.
type upload struct {
	name string
	take func(ctx context.Context, fileName string, content io.Reader) (any, error)
}

// RegisterUpload is Register for a multipart/form-data body with one file, which
// is read as it arrives, in any order of the parts. The other parts are the
// members of the input's Body, under the rules of a form (Op.Form). Raise
// Op.MaxBody and Op.Timeout.
func RegisterUpload[F, I, O any](a *API, op Op, file File[F], handle func(context.Context, *I, F) (*O, error)) {
	u := &upload{name: file.Name, take: func(ctx context.Context, name string, content io.Reader) (any, error) {
		return file.Take(ctx, name, content)
	}}
	op.Form = true
	registerWith(a, op, u, func(ctx context.Context, in *I) (*O, error) {
		taken, _ := From(ctx).file.(F)
		return handle(ctx, in, taken)
	})
}

// uploadBody takes the file of an upload and makes JSON of the rest.
func (c *jsonCheck) uploadBody(r *http.Request, contentType string, req *Request) ([]byte, error) {
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	pairs, err := c.upload.read(r.Context(), body, contentType, req)
	if err != nil {
		return nil, err
	}
	for i, p := range pairs {
		if !utf8.ValidString(p.name) || !utf8.ValidString(p.value) {
			req.problems = append(req.problems, fault.Field{In: "body", Path: strings.ToValidUTF8(p.name, "?"), Message: "is not UTF-8"})
			pairs[i] = pair{}
		}
	}
	fields, problems := c.form.gather(pairs, c.foldNames, "body")
	req.problems = append(req.problems, problems...)
	return asJSON(fields), nil
}

// read takes the file and gathers the other parts. Problems of fields go to req.
func (u *upload) read(ctx context.Context, body io.Reader, contentType string, req *Request) ([]pair, error) {
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/form-data" {
		return nil, WithStatus(415, fault.New(fault.Invalid, "body.type", "the body must be multipart/form-data").On(u.name, "comes in a multipart/form-data body"))
	}
	if parameters["boundary"] == "" {
		return nil, fault.New(fault.Invalid, "body.malformed", "the multipart body names no boundary").On(u.name, "comes in a multipart/form-data body with a boundary")
	}
	parts := multipart.NewReader(body, parameters["boundary"])
	var pairs []pair
	for {
		part, err := parts.NextPart()
		if err == io.EOF { //nolint:errorlint // wrapped, it means that the form broke off
			break
		}
		if err != nil {
			return nil, u.broken(req, u.missing(req, pairs), err)
		}
		if len(pairs) >= maxParts {
			return nil, fault.New(fault.TooLarge, "body.too-large", "the body has more than %d parts", maxParts)
		}
		if fold(part.FormName()) != fold(u.name) {
			value, err := readField(part)
			if err != nil {
				return nil, u.broken(req, part.FormName(), err)
			}
			pairs = append(pairs, pair{part.FormName(), value})
			continue
		}
		if req.fileSeen {
			return nil, fault.New(fault.Invalid, "invalid", "%s is sent twice", u.name).On(u.name, "is sent twice")
		}
		req.fileSeen = true
		content := &watched{Reader: part}
		if req.file, err = u.take(ctx, part.FileName(), content); content.err != nil {
			return nil, u.broken(req, u.name, content.err)
		} else if err != nil {
			return nil, err
		}
	}
	if !req.fileSeen {
		req.problems = append(req.problems, fault.Field{In: "body", Path: u.name, Message: "is required"})
	}
	// The body's end has to be seen, or the time for its next piece stays running.
	_, err = io.Copy(io.Discard, body)
	return pairs, err
}

// missing is the part that a body which ends early is most likely short of.
func (u *upload) missing(req *Request, pairs []pair) string {
	if req.fileSeen && len(pairs) > 0 {
		return pairs[len(pairs)-1].name
	}
	return u.name
}

// broken names the part in which a body can't be read on.
func (u *upload) broken(req *Request, part string, err error) error {
	f := fault.New(fault.Invalid, "body.malformed", "the multipart body is malformed or ended early")
	var own *fault.Error
	if errors.As(err, &own) {
		f = fault.New(own.Kind, own.Code, "%s", own.Public)
	}
	req.body = f.Because(err).On(part, "could not be read to its end")
	return f
}

func readField(part io.Reader) (string, error) {
	value, err := io.ReadAll(io.LimitReader(part, maxPart+1))
	if err == nil && len(value) > maxPart {
		err = fault.New(fault.TooLarge, "body.too-large", "a field is larger than %d bytes", maxPart)
	}
	return string(value), err
}

// watched remembers why a reader failed, whatever the one who read makes of it.
type watched struct {
	io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// describeForms documents that a body is a form or an upload. JSON is taken as
// well where a form is.
func (a *API) describeForms(hop *huma.Operation, u *upload) {
	op := a.operation(hop)
	media := op.RequestBody.Content["application/json"]
	if u == nil {
		op.RequestBody.Content["application/x-www-form-urlencoded"] = media
		return
	}
	schema := media.Schema
	if schema.Ref != "" {
		schema = a.huma.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	whole := *schema
	whole.Properties = map[string]*huma.Schema{u.name: {Type: huma.TypeString, Format: "binary"}}
	for name, property := range schema.Properties {
		whole.Properties[name] = property
	}
	whole.Required = append([]string{u.name}, schema.Required...)
	op.RequestBody.Required = true
	op.RequestBody.Content = map[string]*huma.MediaType{"multipart/form-data": {Schema: &whole}}
}
