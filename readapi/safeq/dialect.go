// Package safeq is the reading half of the SAFEQ Cloud API v1, and what both
// halves share: the dialect, who may do what (Decide), who asks (Caller) and the
// shapes of answers.
//
// SAFEQ's account is an organization, an input port a queue, an output port a
// printer. Its ids are the numbers that organizations, users, groups and ports
// have beside their own ids.
package safeq

import (
	"context"
	"strings"

	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/danielgtaylor/huma/v2"
)

// Bases of the operations: their paths are whole.
const (
	Base      = "/api/v1"
	OAuthBase = "/oauth/v1"
)

// Describe fills in what makes a dialect this one. Middleware is the caller's.
func Describe(d httpx.Dialect, g *Gate) httpx.Dialect {
	d.Name, d.Title, d.Version = "safeq", "SAFEQ Cloud API", "v1"
	d.Description = "Documents, the queues and printers they go through, and the users who own them. " +
		"Answers are JSON, or XML for who prefers it. A refusal of the business kind is an answer 200 with an errorCode that is not 0."
	d.Prefix, d.OwnListener = "/safeq", true
	d.RenderError, d.ErrorExample = renderError, ErrorCodeInfo{}
	d.Authenticate, d.Allow = g.Authenticate, nil
	d.FoldNames, d.XML, d.NoChallenge = true, true, true
	d.Security = map[string]*huma.SecurityScheme{
		"key":   {Type: "apiKey", In: "header", Name: KeyHeader, Description: "API key"},
		"token": {Type: "http", Scheme: "bearer", Description: "Token of a user or device"},
	}
	d.Credentials = [][]string{{"key"}, {"key", "token"}}
	return d
}

// Error codes of the API (contract safeq 5). Those for creating stand for changing
// ports too, which has none of its own.
const (
	CodeOK               = 0
	CodeOutputDocument   = 1001
	CodeDeleteDocument   = 1002
	CodeCreateUser       = 1003
	CodeDeleteUser       = 1004
	CodeEnrollCard       = 1005
	CodeAccountNotFound  = 1006
	CodeOutputPort       = 1009
	CodeUpdateUser       = 1013
	CodeInputPort        = 1015
	CodeDeleteInputPort  = 1016
	CodeDeleteOutputPort = 1017
	CodeNotReady         = 1042
	CodeCreateGroup      = 1043
	CodeDeleteGroup      = 1044
	CodeImportUsers      = 1060
	CodeUnknown          = 10000
)

// ErrorCodeInfo tells how a change went: 0 when it went well. It is the body of
// every other error, too.
type ErrorCodeInfo struct {
	ErrorCode    int    `json:"errorCode"`
	ErrorMessage string `json:"errorMessage,omitempty" doc:"Not documented by the vendor."`
}

// ErrorCodeInfoID is ErrorCodeInfo with the id of what was made.
type ErrorCodeInfoID struct {
	ErrorCode    int    `json:"errorCode"`
	ID           int32  `json:"id"`
	ErrorMessage string `json:"errorMessage,omitempty" doc:"Not documented by the vendor."`
}

// OAuthError is the error body of the operations below OAuthBase.
type OAuthError struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

func renderError(ctx context.Context, f *fault.Error, status int) httpx.ErrorAnswer {
	op := httpx.From(ctx).Operation
	if op != nil && strings.HasPrefix(op.Full, OAuthBase+"/") {
		return httpx.ErrorAnswer{Body: OAuthError{Error: oauthCode(f), ErrorDescription: Message(f)}}
	}
	code := CodeUnknown
	if op != nil {
		if n, ok := op.Meta.(Needs); ok && n.Code != 0 {
			code = n.Code
		}
	}
	return httpx.ErrorAnswer{Body: ErrorCodeInfo{ErrorCode: code, ErrorMessage: Message(f)}}
}

// OAuth marks the codes of faults that are codes of the OAuth operations.
const OAuth = "oauth."

func oauthCode(f *fault.Error) string {
	if code, own := strings.CutPrefix(f.Code, OAuth); own {
		return code
	}
	switch f.Kind {
	case fault.Invalid, fault.TooLarge:
		return "invalid_parameters"
	case fault.Internal, fault.Unavailable:
		return "token_create_error"
	}
	return "access_denied"
}

// Message is a fault in a line: every problem with every parameter.
func Message(f *fault.Error) string {
	if len(f.Fields) == 0 {
		return f.Public
	}
	problems := make([]string, len(f.Fields))
	for i, x := range f.Fields {
		problems[i] = strings.TrimSpace(x.Path + " " + x.Message)
	}
	return strings.Join(problems, "; ")
}
