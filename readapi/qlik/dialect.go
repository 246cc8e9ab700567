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

// Tiers of the documented request rates.
const (
	Tier1   = "tier1"   // 1,000 requests a minute
	Tier2   = "tier2"   // 100 requests a minute
	Special = "special" // 200 requests a minute
)

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

func renderError(ctx context.Context, f *fault.Error, status int) httpx.ErrorAnswer {
	if f.Code == CodeQuota {
		status = http.StatusForbidden
	}
	body := Errors{TraceID: httpx.From(ctx).TraceID()}
	if len(f.Fields) == 0 {
		body.Errors = []Error{entry(f, status, nil)}
	}
	for _, field := range f.Fields {
		body.Errors = append(body.Errors, entry(f, status, &field))
	}
	return httpx.ErrorAnswer{Status: status, Body: body}
}

func entry(f *fault.Error, status int, field *fault.Field) Error {
	e := Error{Code: code(f, status, field), Status: status, Detail: f.Public}
	if e.Title = titles[e.Code]; e.Title == "" {
		e.Title = http.StatusText(status)
	}
	if f.Kind == fault.Limited {
		e.Detail = fmt.Sprintf("You need to wait %d seconds until limit is lifted.", int(math.Ceil(f.RetryAfter.Seconds())))
	}
	if field == nil {
		return e
	}
	if f.Kind == fault.Invalid {
		e.Detail = field.Message // the source says where
	}
	switch field.In {
	case "query":
		e.Source = &Source{Parameter: field.Path}
	case "", "body":
		e.Source = &Source{Pointer: pointer(field.Path)}
	}
	return e
}

func code(f *fault.Error, status int, field *fault.Field) string {
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
	case field == nil || field.Path == "":
		return CodeBody
	case field.Path == "filter":
		return CodeFilter
	case field.In == "query":
		return CodeQuery
	case strings.HasPrefix(pointer(field.Path), "/assignedRoles/"):
		return CodeRole
	}
	return CodeValue
}

// pointer turns the path of a field ("roles[1].id") into a JSON Pointer into
// this API's body ("/assignedRoles/1/id").
func pointer(path string) string {
	path = strings.NewReplacer("[", "/", "]", "", ".", "/").Replace(path)
	path = "/" + strings.TrimPrefix(path, "/")
	if rest, ok := strings.CutPrefix(path, "/roles"); ok {
		return "/assignedRoles" + rest
	}
	return path
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
		return id, fault.New(fault.NotFound, CodeMissing, "there is no group %.40q", text)
	}
	return id, nil
}
