package httpx

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"docket/domain/fault"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Raw is an answer that is written as it is.
type Raw struct {
	Status      int // 0 = the operation's status of success
	ContentType string
	Header      http.Header
	Body        []byte
	// Stream, when set, writes the body instead of Body. An error before the
	// first bytes have left is answered like any other; later it aborts the
	// connection, so that no client takes a part for the whole.
	Stream func(w io.Writer) error
}

// Stream is an answer that is produced while it is sent.
type Stream struct {
	Status      int
	ContentType string
	Header      http.Header
	Write       func(w io.Writer) error
}

// JSON makes a Raw of a value, for operations that answer now with JSON and now
// with something else.
func JSON(status int, v any) (*Raw, error) {
	var out bytes.Buffer
	if err := encodeJSON(&out, v); err != nil {
		return nil, err
	}
	return &Raw{Status: status, ContentType: "application/json", Body: out.Bytes()}, nil
}

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// streamBuffer is how much of a stream may be held back to answer a failure properly.
const streamBuffer = 32 << 10

// write sends the answer to the writer that huma was given: a middleware may
// have put its own there.
func (raw *Raw) write(op *Operation, hctx huma.Context) {
	r, w := humago.Unwrap(hctx)
	h := w.Header()
	for name, values := range raw.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if raw.ContentType != "" {
		h.Set("Content-Type", raw.ContentType)
	}
	status := raw.Status
	if status == 0 {
		status = op.successStatus(raw.Stream != nil || len(raw.Body) > 0)
	}
	if raw.Stream == nil {
		if len(raw.Body) > 0 {
			h.Set("Content-Length", strconv.Itoa(len(raw.Body)))
		}
		w.WriteHeader(status)
		if len(raw.Body) > 0 {
			// A client that is gone cannot be told.
			_, _ = w.Write(raw.Body)
		}
		return
	}
	w.WriteHeader(status)
	out := bufio.NewWriterSize(w, streamBuffer)
	err := raw.Stream(out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		From(r.Context()).broken = err
	}
}

func (o *Operation) successStatus(body bool) int {
	switch {
	case o.Success != 0:
		return o.Success
	case body:
		return http.StatusOK
	}
	return http.StatusNoContent
}

// ETag is the strong entity tag of a revision.
func ETag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// IfMatch reads an If-Match header: ok is false when there is none or it is "*"
// (any existing state). A header that names no revision of ours is an Invalid
// fault.
func IfMatch(header string) (revision int64, ok bool, err error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return 0, false, nil
	}
	inner, found := strings.CutPrefix(header, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	n, bad := strconv.ParseInt(inner, 10, 64)
	if !found || !closed || bad != nil || n < 0 {
		f := fault.InvalidField("If-Match", "must be one entity tag as it was answered, or *")
		f.Fields[0].In = "header"
		return 0, false, f
	}
	return n, true, nil
}

// NoneMatch tells whether an If-None-Match header names the tag: answer 304.
func NoneMatch(header, tag string) bool {
	for _, one := range strings.Split(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == "*" || (one == tag && tag != "") {
			return true
		}
	}
	return false
}
