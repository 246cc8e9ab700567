// Package fault is the one error type that may reach a client. Its kind decides
// the status in every dialect; its text is written for the client; its cause is
// for the operator's log only.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what went wrong in terms of the caller.
type Kind uint8

const (
	Internal        Kind = iota // our failure; the client learns nothing more
	Invalid                     // the request breaks a rule; Fields say which
	Unauthenticated             // no credential, or one that is unknown, expired or revoked
	Denied                      // the credential lacks the right
	NotFound                    // the addressed thing does not exist, or not for this caller
	Conflict                    // the thing changed meanwhile, or its state forbids this
	Unique                      // a name or address is taken
	Precondition                // an If-Match or expected revision did not hold
	Limited                     // too many requests, or a quota is used up
	TooLarge                    // the body exceeds what is accepted
	Unavailable                 // a store is down, or others were faster every time; try again after RetryAfter
)

var kindNames = [...]string{"internal", "invalid", "unauthenticated", "denied", "not_found", "conflict", "unique", "precondition", "limited", "too_large", "unavailable"}

func (k Kind) String() string { return kindNames[k] }

// Field is one problem with one part of the request. Path is the field's name
// as the client wrote it: "name", "reports[0].type", or a parameter's name.
type Field struct {
	Path    string
	Message string
	// In tells where the field stands: "body", "query", "path" or "header".
	// Empty means body.
	In string
}

// Error is a fault. The zero Kind is Internal.
type Error struct {
	Kind       Kind
	Code       string        // stable machine word, "task.name-taken"
	Public     string        // for the client
	Fields     []Field       // for Invalid and Unique
	RetryAfter time.Duration // for Limited and Unavailable
	Cause      error         // for the log; never shown
}

// Error is the operator's text: kind, code, public text, fields. The cause is
// reached by errors.Unwrap and not printed, since it may hold storage text.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", e.Kind, e.Code, e.Public)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Path, f.Message)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Cause }

// New makes a fault.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Public: fmt.Sprintf(format, args...)}
}

// Because sets the cause and returns the fault.
func (e *Error) Because(cause error) *Error {
	e.Cause = cause
	return e
}

// On names a field of the body and returns the fault.
func (e *Error) On(path, format string, args ...any) *Error {
	e.Fields = append(e.Fields, Field{Path: path, Message: fmt.Sprintf(format, args...)})
	return e
}

// InvalidField is an Invalid fault about one field of the body.
func InvalidField(path, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{Kind: Invalid, Code: "invalid", Public: path + ": " + message, Fields: []Field{{Path: path, Message: message}}}
}

// InvalidQuery is an Invalid fault about one query parameter.
func InvalidQuery(name, format string, args ...any) *Error {
	e := InvalidField(name, format, args...)
	e.Fields[0].In = "query"
	return e
}

// Missing is a NotFound fault about one thing: Missing("task", id).
func Missing(what string, id any) *Error {
	return New(NotFound, what+".not-found", "%s %v does not exist", what, id)
}

// Of finds the fault in err. An error that is none becomes Internal with the
// error as its cause. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{Kind: Internal, Code: "internal", Public: "something went wrong on our side", Cause: err}
}

// Is tells whether err is a fault of this kind.
func Is(err error, kind Kind) bool {
	var f *Error
	return errors.As(err, &f) && f.Kind == kind
}

// Problems collects field problems of one request, so that the client learns of
// all of them at once.
type Problems struct{ fields []Field }

// Add records a problem.
func (p *Problems) Add(path, format string, args ...any) {
	p.fields = append(p.fields, Field{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Check records a problem unless ok.
func (p *Problems) Check(ok bool, path, format string, args ...any) {
	if !ok {
		p.Add(path, format, args...)
	}
}

// Err is nil without problems, otherwise one Invalid fault with all of them.
func (p *Problems) Err() error {
	if len(p.fields) == 0 {
		return nil
	}
	e := InvalidField(p.fields[0].Path, "%s", p.fields[0].Message)
	e.Fields = p.fields
	return e
}
