// Package qalyptus is the reading half of the Qalyptus Server API v2, and what
// both halves share: the dialect, the envelope and the shapes of answers.
package qalyptus

import (
	"context"

	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Reads answers the GETs.
type Reads struct {
	api    *httpx.API
	reader *query.Reader
}

// Describe fills in what makes a dialect this one. Authentication, permissions
// and middleware are the caller's.
func Describe(d httpx.Dialect) httpx.Dialect {
	d.Name, d.Title, d.Version = "qalyptus", "Qalyptus Server API", "v2"
	d.Description = "Projects, reports, tasks and their recipients; users, groups, roles and organizations."
	d.Base, d.Prefix = "/api/v2", "/qalyptus"
	d.RenderError, d.ErrorExample = renderError, Failure{}
	return d
}

// Register adds all GET operations to an API and returns what answers of writes
// are read with.
func Register(api *httpx.API, reader *query.Reader) *Reads {
	r := &Reads{api: api, reader: reader}
	for _, add := range []func(*Reads){
		registerGroups, registerRoles, registerOrganizations, registerUsers, registerAPIKeys, registerProjects, registerTasks, registerUserDirectories,
	} {
		add(r)
	}
	return r
}

// Envelope is what every answer is wrapped in. Version 2 documents no answer;
// this is the shape that the vendor's cloud edition is known to use.
type Envelope[T any] struct {
	Data         T       `json:"data"`
	IsSuccess    bool    `json:"isSuccess"`
	Error        *string `json:"error"`
	ErrorDetails *string `json:"errorDetails"`
}

// List is the envelope of a paged list. Clients of both earlier editions read
// the array from data, so the counts stand beside it.
type List[T any] struct {
	Data         []T        `json:"data"`
	IsSuccess    bool       `json:"isSuccess"`
	Error        *string    `json:"error"`
	ErrorDetails *string    `json:"errorDetails"`
	Pagination   Pagination `json:"pagination"`
}

// Pagination says which part of a list an answer holds.
type Pagination struct {
	Page       int   `json:"page"`
	PageSize   int   `json:"pageSize"`
	TotalItems int64 `json:"totalItems"`
	TotalPages int64 `json:"totalPages"`
}

// Failure is the envelope of an error.
type Failure struct {
	Data         *string  `json:"data"`
	IsSuccess    bool     `json:"isSuccess"`
	Error        string   `json:"error"`
	ErrorDetails []Detail `json:"errorDetails"`
}

// Detail is one problem with one field or parameter.
type Detail struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func renderError(_ context.Context, f *fault.Error, _ int) httpx.ErrorAnswer {
	body := Failure{Error: f.Public, ErrorDetails: make([]Detail, len(f.Fields))}
	for i, x := range f.Fields {
		body.ErrorDetails[i] = Detail{Field: x.Path, Message: x.Message}
	}
	if len(f.Fields) == 0 {
		body.ErrorDetails = nil
	}
	return httpx.ErrorAnswer{Body: body}
}

// success is what follows the data of every answer that is no error.
const success = `,"isSuccess":true,"error":null,"errorDetails":null`

// Wrap puts JSON into the envelope of a success.
func Wrap(data []byte) []byte {
	out := make([]byte, 0, len(data)+64)
	out = append(out, `{"data":`...)
	out = append(out, data...)
	return append(out, success+"}"...)
}
