// Package client speaks to a running Docket over HTTP.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Client calls one server with one API key.
type Client struct {
	URL  string // without a slash at the end
	Key  string
	HTTP *http.Client
}

// New makes a client that keeps up to conns connections open.
func New(url, key string, conns int) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = conns, conns
	return &Client{URL: strings.TrimRight(url, "/"), Key: key, HTTP: &http.Client{Transport: transport}}
}

// Unreachable says that no server answered.
type Unreachable struct {
	URL   string
	Cause error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("no Docket answers at %s: %v (start one with \"docket serve\", or name one with --url)", e.URL, e.Cause)
}

func (e *Unreachable) Unwrap() error { return e.Cause }

// Refused is an answer that is no success.
type Refused struct {
	Status  int
	Message string
	Fields  []Field
	After   time.Duration // when to try again, 0 if not said
}

// Field is one problem with one part of a request.
type Field struct{ Path, Message string }

func (e *Refused) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the server refuses (%d): %s", e.Status, e.Message)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "\n  %s: %s", f.Path, f.Message)
	}
	return b.String()
}

// Is tells whether an error is an answer with this status.
func Is(err error, status int) bool {
	var r *Refused
	return errors.As(err, &r) && r.Status == status
}

// Request is a call with everything said.
type Request struct {
	Method, Path string
	Body         any // nil, an io.Reader as it is, or anything else as JSON
	ContentType  string
	Key          string // Idempotency-Key, "" for none
}

// Do calls and decodes a successful answer into out, unless that is nil. Its
// errors are *Unreachable and *Refused.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	body, err := c.Raw(ctx, r)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s was answered with something else than the expected JSON: %w", r.Method, r.Path, err)
	}
	return nil
}

// Raw calls and returns the body of a successful answer.
func (c *Client) Raw(ctx context.Context, r Request) ([]byte, error) {
	request, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if answer.StatusCode >= 300 {
		return nil, refused(answer, body)
	}
	return body, nil
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Unreachable{URL: c.URL, Cause: rootCause(err)}
}

// rootCause drops what repeats the address.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	body, contentType, err := encode(r)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, c.URL+r.Path, body)
	if err != nil {
		return nil, err
	}
	if c.Key != "" {
		request.Header.Set("Authorization", "Bearer "+c.Key)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if r.Key != "" {
		request.Header.Set("Idempotency-Key", r.Key)
	}
	return request, nil
}

func encode(r Request) (body io.Reader, contentType string, err error) {
	switch b := r.Body.(type) {
	case nil:
		return nil, r.ContentType, nil
	case io.Reader:
		return b, r.ContentType, nil
	}
	data, err := json.Marshal(r.Body)
	return bytes.NewReader(data), "application/json", err
}

// refused reads an error in the words of any dialect.
func refused(answer *http.Response, body []byte) *Refused {
	out := &Refused{Status: answer.StatusCode, Message: http.StatusText(answer.StatusCode)}
	if seconds, err := time.ParseDuration(answer.Header.Get("Retry-After") + "s"); err == nil {
		out.After = seconds
	}
	var said struct {
		Detail string `json:"detail"` // problem details
		Errors []struct{ Path, Message string }
		Error  string                            // Qalyptus
		Fields []struct{ Field, Message string } `json:"errorDetails"`
	}
	if json.Unmarshal(body, &said) != nil {
		return out // a proxy's page
	}
	if text := said.Detail + said.Error; text != "" {
		out.Message = text
	}
	for _, f := range said.Errors {
		out.Fields = append(out.Fields, Field(f))
	}
	for _, f := range said.Fields {
		out.Fields = append(out.Fields, Field{f.Field, f.Message})
	}
	return out
}
