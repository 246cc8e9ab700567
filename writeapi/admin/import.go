package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"time"

	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/danielgtaylor/huma/v2"
)

// importTime bounds an import, most of which is waiting for a slow client.
const importTime = 10 * time.Minute

// importProject is a body in any of the accepted types, unread.
type importProject struct {
	contentType string
	body        io.Reader
}

// Resolve implements huma.Resolver.
func (in *importProject) Resolve(ctx huma.Context) []error {
	in.contentType, in.body = ctx.Header("Content-Type"), ctx.BodyReader()
	return nil
}

func registerImport(w *writes) {
	httpx.Register(w.API, httpx.Op{ID: "import-project", Method: http.MethodPost, Path: "/projects/import", Summary: "Import a project with its templates", Tags: []string{"Project"},
		Description: "Takes the document of POST /projects as JSON, or a zip of it (project.json) with the template files that its reports name in \"template\"; " +
			"a form (multipart/form-data) with one such file is taken as well.",
		Permission: "projects.create", Success: http.StatusCreated, MaxBody: maxUpload, Timeout: importTime, Returns: published{}}, w.importProject)
	binary := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	w.API.OpenAPI().Paths["/admin/v1/projects/import"].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": w.API.OpenAPI().Paths["/admin/v1/projects"].Post.RequestBody.Content["application/json"],
		"application/zip":  {Schema: binary},
		"multipart/form-data": {Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"file"},
			Properties: map[string]*huma.Schema{"file": binary}}},
	}}
}

func (w *writes) importProject(ctx context.Context, in *importProject) (*httpx.Raw, error) {
	media, parameters, err := mime.ParseMediaType(in.contentType)
	if err == nil && media == "multipart/form-data" {
		return w.importForm(ctx, multipart.NewReader(in.body, parameters["boundary"]))
	}
	switch {
	case err == nil && (media == "application/zip" || media == "application/x-zip-compressed"):
		return w.importZip(ctx, in.body)
	case in.contentType == "", err == nil && (media == "application/json" || strings.HasSuffix(media, "+json")):
		return w.importJSON(ctx, in.body)
	}
	return nil, httpx.WithStatus(http.StatusUnsupportedMediaType,
		fault.New(fault.Invalid, "body.type", "the body must be application/json, application/zip or multipart/form-data"))
}

// importForm takes the one file of a form, JSON or zip by its first bytes.
func (w *writes) importForm(ctx context.Context, form *multipart.Reader) (*httpx.Raw, error) {
	for {
		part, err := form.NextPart()
		if err == io.EOF { //nolint:errorlint // wrapped, it means that the form broke off
			return nil, fault.InvalidField("file", "the form holds no file")
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if part.FileName() == "" {
			continue
		}
		head := make([]byte, 2)
		n, err := io.ReadFull(part, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, unreadable(err)
		}
		content := io.MultiReader(bytes.NewReader(head[:n]), part)
		if string(head[:n]) == "PK" {
			return w.importZip(ctx, content)
		}
		return w.importJSON(ctx, content)
	}
}

// unreadable keeps the fault of a body that is too large or ended early.
func unreadable(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	return fault.New(fault.Invalid, "body.malformed", "the form could not be read").Because(err)
}

func (w *writes) importJSON(ctx context.Context, body io.Reader) (*httpx.Raw, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxDocument+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if len(data) > maxDocument {
		return nil, fault.New(fault.TooLarge, "body.too-large", "a project document may not be larger than %d MiB", maxDocument>>20)
	}
	return w.importDocument(ctx, data, nil)
}

// importZip keeps the zip in a file of its own while it is looked at: a zip is
// read from its end.
func (w *writes) importZip(ctx context.Context, body io.Reader) (answer *httpx.Raw, err error) {
	file, err := os.CreateTemp("", "docket-import-*")
	if err != nil {
		return nil, err
	}
	// The name is not needed any more; the file goes with its descriptor.
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := os.Remove(file.Name()); err != nil {
		return nil, err
	}
	size, err := io.Copy(file, body)
	if err != nil {
		return nil, uploadFailed(err)
	}
	files, err := openArchive(file, size)
	if err != nil {
		return nil, err
	}
	data, err := files.document()
	if err != nil {
		return nil, err
	}
	return w.importDocument(ctx, data, files)
}

// uploadFailed tells the client's failures from the disk's.
func uploadFailed(err error) error {
	var disk *os.PathError
	if errors.As(err, &disk) {
		return err
	}
	return unreadable(err)
}

func (w *writes) importDocument(ctx context.Context, data []byte, files *archive) (*httpx.Raw, error) {
	d, err := w.decode(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))) // editors put it there
	if err != nil {
		return nil, err
	}
	return w.publish(ctx, d, files)
}
