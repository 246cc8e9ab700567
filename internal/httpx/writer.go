package httpx

import (
	"net/http"
	"time"
)

// writeStall is how long one write to a client may take; a reader that takes
// nothing for this long is cut off. It replaces a server-wide write timeout,
// which would cut long streams too.
const writeStall = 30 * time.Second

// responseWriter holds the status back until the first byte, so that a failure
// before it can still be answered, and counts what was sent.
type responseWriter struct {
	http.ResponseWriter
	status   int
	sent     bool
	muted    bool // a half-made body follows; swallow it
	bytes    int64
	deadline time.Time
}

func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if !w.sent {
		w.status = status
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.muted {
		return len(p), nil
	}
	w.send()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered.
func (w *responseWriter) Flush() {
	if w.muted {
		return
	}
	w.send()
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// awaitBody gives the client time for the next piece of its body, until a moment
// unless that is zero. The write deadline is for "100 Continue", which net/http
// sends when the body is first read: that of the answer before may have passed.
func (w *responseWriter) awaitBody(until time.Time) {
	now := time.Now()
	late := now.Add(bodyStall)
	if !until.IsZero() && until.Before(late) {
		late = until
	}
	// An error means that the connection has no deadlines (a test's recorder).
	deadline := http.NewResponseController(w.ResponseWriter)
	_ = deadline.SetWriteDeadline(now.Add(writeStall))
	_ = deadline.SetReadDeadline(late)
}

// bodyArrived takes the deadline of awaitBody away.
func (w *responseWriter) bodyArrived() {
	_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Time{})
}

// send writes the header once and keeps the write deadline ahead.
func (w *responseWriter) send() {
	if now := time.Now(); now.After(w.deadline) {
		// The error means that the connection has no deadlines (a test's recorder).
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(writeStall))
		w.deadline = now.Add(writeStall / 3)
	}
	if w.sent {
		return
	}
	w.sent = true
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.ResponseWriter.WriteHeader(w.status)
}

// finish sends a header that no body followed.
func (w *responseWriter) finish() {
	if !w.sent && w.status != 0 {
		w.send()
	}
}

// reset takes back everything that has not been sent. It is false when the
// header is out.
func (w *responseWriter) reset() bool {
	if w.sent {
		return false
	}
	w.muted = false
	w.status = 0
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Type", "Content-Disposition", "Content-Encoding", "Etag", "Location", "Last-Modified", "Cache-Control"} {
		h.Del(name)
	}
	return true
}
