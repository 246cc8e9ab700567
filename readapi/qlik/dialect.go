// Package qlik is the reading half of the Qlik Cloud Groups API v1, and what
// both halves share: the dialect, its errors and the shapes of answers.
//
// Qlik's tenant is the organization in which the caller's key works. Ids are 24
// hexadecimal digits, as Qlik's are; they stand for our own without a look-up.
package qlik

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"strings"

	"docket/domain"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Reads answers the reading operations.
type Reads struct {
	api    *httpx.API
	reader *query.Reader
}

// Describe fills in what makes a dialect this one. Authentication, permissions
// and middleware are the caller's.
func Describe(d httpx.Dialect) httpx.Dialect {
	d.Name, d.Title, d.Version = "qlik", "Qlik Cloud Groups API", "v1"
	d.Description = "Groups and the settings of groups."
	d.Base, d.Prefix = "/api/v1/groups", "/qlik"
	d.RenderError, d.ErrorExample = renderError, Errors{}
	return d
}

// Register adds the reading operations to an API and returns what answers of
// writes are read with.
func Register(api *httpx.API, reader *query.Reader) *Reads {
	r := &Reads{api: api, reader: reader}
	r.registerGroups()
	r.registerSettings()
	return r
}

// Errors is the documented error body.
type Errors struct {
	Errors  []Error `json:"errors"`
	TraceID string  `json:"traceId"`
}

// Error is one of its entries.
type Error struct {
	Code   string         `json:"code"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Meta   map[string]any `json:"meta,omitempty"`
	Source *Source        `json:"source,omitempty"`
}

// Source says which part of the request an error is about.
type Source struct {
	Pointer   string `json:"pointer,omitempty"`   // into the body
	Parameter string `json:"parameter,omitempty"` // of the query
}

// Codes of errors. GROUPS-7 and HTTP-429 are known of Qlik; the others follow
// their pattern.
const (
	CodeBody    = "GROUPS-1"
	CodeValue   = "GROUPS-2"
	CodeFilter  = "GROUPS-3"
	CodePatch   = "GROUPS-4"
	CodeRole    = "GROUPS-5"
	CodeQuery   = "GROUPS-6"
	CodeMissing = "GROUPS-7"
	CodeName    = "GROUPS-8"
	CodeQuota   = "GROUPS-9"
	CodeDenied  = "GROUPS-10"
)

var titles = map[string]string{
	CodeBody: "Malformed body", CodeValue: "Invalid value", CodeFilter: "Invalid filter", CodePatch: "Invalid patch", CodeRole: "Unknown role",
	CodeQuery: "Invalid query parameter", CodeMissing: "Not found", CodeName: "Name conflict", CodeQuota: "Too many groups", CodeDenied: "Forbidden",
	"HTTP-429": "API rate limit reached.",
}

// NoSuchRole is the message of a field that refers to a role which is not there
// for the caller; it gets a code of its own.
const NoSuchRole = "there is no such role"

func renderError(ctx context.Context, f *fault.Error, status int) httpx.ErrorAnswer {
	request := httpx.From(ctx)
	patch := request.Operation != nil && request.Operation.Method == http.MethodPatch
	body := Errors{TraceID: request.TraceID()}
	if len(f.Fields) == 0 {
		body.Errors = []Error{newError(code(f, status), status, detail(f), nil)}
	}
	for _, field := range f.Fields {
		body.Errors = append(body.Errors, fieldError(f, status, field, patch))
	}
	return httpx.ErrorAnswer{Status: status, Body: body}
}

func newError(code string, status int, detail string, source *Source) Error {
	title := titles[code]
	if title == "" {
		title = http.StatusText(status)
	}
	return Error{Code: code, Title: title, Status: status, Detail: detail, Source: source}
}

func fieldError(f *fault.Error, status int, field fault.Field, patch bool) Error {
	c, text := code(f, status), f.Public
	if c == CodeBody {
		c = fieldCode(field, patch)
	}
	source := sourceOf(field)
	if source != nil && (f.Kind == fault.Invalid || f.Kind == fault.Denied) {
		text = field.Message // the source says where
	}
	return newError(c, status, text, source)
}

func detail(f *fault.Error) string {
	if f.Kind == fault.Limited {
		return fmt.Sprintf("You need to wait %d seconds until limit is lifted.", int(math.Ceil(f.RetryAfter.Seconds())))
	}
	return f.Public
}

// code of a whole fault. CodeBody is refined by the field at fault.
func code(f *fault.Error, status int) string {
	switch {
	case strings.HasPrefix(f.Code, "GROUPS-"):
		return f.Code
	case f.Kind == fault.NotFound:
		return CodeMissing
	case f.Kind == fault.Unique:
		return CodeName
	case f.Kind == fault.Denied:
		return CodeDenied
	case f.Kind != fault.Invalid || status != http.StatusBadRequest:
		return fmt.Sprintf("HTTP-%d", status)
	}
	return CodeBody
}

func fieldCode(field fault.Field, patch bool) string {
	inBody := field.In == "" || field.In == "body"
	switch {
	case field.Message == NoSuchRole:
		return CodeRole
	case field.Path == "filter":
		return CodeFilter
	case field.In == "query":
		return CodeQuery
	case inBody && patch:
		return CodePatch
	case field.Path == "":
		return CodeBody
	}
	return CodeValue
}

// sourceOf is nil for what has no place in Qlik's errors: the whole body, a
// header, the path.
func sourceOf(field fault.Field) *Source {
	switch {
	case field.Path == "":
		return nil
	case field.In == "query":
		return &Source{Parameter: field.Path}
	case field.In == "" || field.In == "body":
		return &Source{Pointer: pointer(field.Path)}
	}
	return nil
}

// pointer turns the path of a field ("assignedRoles[1].id") into a JSON Pointer
// ("/assignedRoles/1/id").
func pointer(path string) string {
	path = strings.NewReplacer("~", "~0", "/", "~1", "[", "/", "]", "", ".", "/").Replace(path)
	return "/" + strings.TrimPrefix(path, "/")
}

// tenantID is how this API names an organization.
func tenantID(organization domain.ID) string { return hex.EncodeToString(organization[:]) }

// caller is the actor of a request; authentication made sure there is one.
func caller(ctx context.Context) domain.Actor {
	actor, _ := domain.ActorOf(ctx)
	return actor
}

// scope is the caller's tenant and nothing below it.
func scope(ctx context.Context) query.Scope { return query.Organizations(caller(ctx).Tenant) }

// GroupID reads the id of a group in a path. One that is no id at all is told
// like one that does not exist (documented: 404 for an invalid format).
func GroupID(text string) (domain.ID, error) {
	id, err := domain.ParseShortID(text)
	if err != nil || text != strings.ToLower(text) {
		return id, NoSuchGroup(text)
	}
	return id, nil
}

// NoSuchGroup is the fault about a group that is not there for the caller.
func NoSuchGroup(id string) error {
	return fault.New(fault.NotFound, CodeMissing, "there is no group %.40q", id)
}
